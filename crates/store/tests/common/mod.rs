//! A database of its own for each test, on SQLite and on PostgreSQL.

pub(crate) mod server;

use std::path::Path;

use store::{Database, DatabaseUrl};
use tempfile::TempDir;
use tokio_postgres::Client;

use server::Created;

/// A database that goes away with the value.
pub(crate) struct Place {
    pub(crate) url: String,
    keep: Keep,
}

enum Keep {
    File { _directory: TempDir },
    Server(Created),
}

impl Place {
    pub(crate) async fn open(&self) -> Database {
        let url = DatabaseUrl::parse(&self.url).expect("the URL of a test");
        Database::open(&url).await.expect("the database of a test opens")
    }

    /// Open, and with everything that migrating puts there.
    pub(crate) async fn migrated(&self) -> Database {
        let database = self.open().await;
        database.migrate().await.expect("the database of a test migrates");
        database
    }

    /// The file, on SQLite.
    pub(crate) fn path(&self) -> Option<&Path> {
        self.url.strip_prefix("sqlite:").map(Path::new)
    }

    /// A client of the server that knows nothing of the store, on PostgreSQL.
    pub(crate) async fn client(&self) -> Client {
        match &self.keep {
            Keep::Server(database) => database.client().await,
            Keep::File { .. } => panic!("a file has no server"),
        }
    }
}

pub(crate) fn sqlite() -> Place {
    let directory = TempDir::new().expect("a directory for a test");
    let path = directory.path().join("house.db");
    Place { url: format!("sqlite:{}", path.display()), keep: Keep::File { _directory: directory } }
}

/// A new database on the server to test on, if there is one.
pub(crate) async fn postgres() -> Option<Place> {
    let database = Created::new(&server::server()?, None).await;
    Some(Place { url: database.url(), keep: Keep::Server(database) })
}

/// Makes of each `async fn(Place)` a test on SQLite and a test on PostgreSQL.
#[macro_export]
macro_rules! on_both {
    ($($promise:ident)*) => {
        mod on_sqlite {$(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $promise() {
                super::$promise($crate::common::sqlite()).await;
            }
        )*}
        mod on_postgres {$(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $promise() {
                if let Some(place) = $crate::common::postgres().await {
                    super::$promise(place).await;
                }
            }
        )*}
    };
}
