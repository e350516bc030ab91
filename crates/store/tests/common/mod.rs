//! A database of its own for each test, on SQLite and on PostgreSQL.

use std::env;
use std::path::Path;

use store::{Database, DatabaseUrl};
use tempfile::TempDir;
use tokio_postgres::{Client, NoTls};
use uuid::Uuid;

/// A database that goes away with the value.
pub(crate) struct Place {
    pub(crate) url: String,
    _keep: Keep,
}

enum Keep {
    File { _directory: TempDir },
    Server { _database: Created },
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
        connect(&self.url).await
    }
}

pub(crate) fn sqlite() -> Place {
    let directory = TempDir::new().expect("a directory for a test");
    let path = directory.path().join("house.db");
    Place { url: format!("sqlite:{}", path.display()), _keep: Keep::File { _directory: directory } }
}

/// A new database on the server of `GATEHOUSE_TEST_POSTGRES` (a `postgres://` URL of a superuser).
///
/// Without it there is nothing to test on: `None`, except where `CI` is `true`.
pub(crate) async fn postgres() -> Option<Place> {
    let Ok(server) = env::var("GATEHOUSE_TEST_POSTGRES") else {
        let in_ci = env::var("CI").is_ok_and(|ci| ci == "true");
        assert!(!in_ci, "GATEHOUSE_TEST_POSTGRES names the server to test on");
        println!("skipped: GATEHOUSE_TEST_POSTGRES is not set");
        return None;
    };
    let name = format!("gh_{}", Uuid::new_v4().simple());
    administer(&server, &format!("CREATE DATABASE {name}")).await;
    Some(Place { url: with_database(&server, &name), _keep: Keep::Server { _database: Created { server, name } } })
}

struct Created {
    server: String,
    name: String,
}

impl Drop for Created {
    fn drop(&mut self) {
        let (server, name) = (self.server.clone(), self.name.clone());
        let dropped = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime to clean up with");
            runtime.block_on(administer(&server, &format!("DROP DATABASE {name} WITH (FORCE)")));
        });
        // Not another panic while a test is failing.
        if dropped.join().is_err() {
            eprintln!("a database of a test is left on the server");
        }
    }
}

async fn connect(url: &str) -> Client {
    let (client, connection) =
        tokio_postgres::connect(url, NoTls).await.expect("the server of GATEHOUSE_TEST_POSTGRES answers");
    tokio::spawn(connection);
    client
}

async fn administer(server: &str, sql: &str) {
    let client = connect(server).await;
    client.batch_execute(sql).await.expect("a superuser may create and drop databases");
}

/// `server` with another database in its path.
fn with_database(server: &str, name: &str) -> String {
    let (server, options) = server.split_once('?').unwrap_or((server, ""));
    let host = server.find("://").map(|at| at + 3).expect("a postgres:// URL");
    let end = server[host..].find('/').map_or(server.len(), |at| host + at);
    let options = if options.is_empty() { String::new() } else { format!("?{options}") };
    format!("{}/{name}{options}", &server[..end])
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
