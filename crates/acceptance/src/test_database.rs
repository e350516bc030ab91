//! A database for each test, copied from one that holds the demo.

#[path = "../../store/tests/common/server.rs"]
mod server;

use std::fs;
use std::path::Path;
use std::sync::{Arc, Weak};

use demo::DemoInstance;
use flows::{Database, DatabaseUrl, MasterKey, Passwords, Platform as _};
use gatehouse::demo::{DemoPasswords, seed};
use model::Moment;
use tempfile::TempDir;
use tokio::sync::{Mutex, OnceCell};

pub use server::{Created, server};

use crate::{Fixture, TestPlatform};

/// The default master key of test servers.
pub const MASTER_KEY: [u8; 32] = *b"the master key of every test hou";

/// The database of a test server, removed on drop.
pub struct TestDatabase {
    pub(crate) url: String,
    keep: Keep,
}

const FILE: &str = "house.db";

enum Keep {
    Folder { folder: TempDir },
    Server { database: Created, _template: Option<Arc<Created>> },
}

impl TestDatabase {
    /// A copy of an SQLite file that is filled once per process.
    pub async fn sqlite() -> Self {
        static FILLED: OnceCell<TempDir> = OnceCell::const_new();
        let filled = FILLED
            .get_or_init(async || {
                let folder = TempDir::new().expect("a folder for the filled database");
                fill(&sqlite_url(folder.path())).await;
                folder
            })
            .await;
        let folder = TempDir::new().expect("a folder for a test");
        for file in fs::read_dir(filled.path()).expect("the filled folder is there") {
            let file = file.expect("its entries can be read");
            fs::copy(file.path(), folder.path().join(file.file_name())).expect("a file can be copied");
        }
        Self { url: sqlite_url(folder.path()), keep: Keep::Folder { folder } }
    }

    /// A database on the configured PostgreSQL server, if there is one. Its template lives as long as tests use it.
    pub async fn postgres() -> Option<Self> {
        static FILLED: Mutex<Weak<Created>> = Mutex::const_new(Weak::new());
        let server = server()?;
        let mut filled = FILLED.lock().await;
        let template = if let Some(template) = filled.upgrade() {
            template
        } else {
            let template = Arc::new(Created::new(&server, None).await);
            fill(&template.url()).await;
            *filled = Arc::downgrade(&template);
            template
        };
        let database = Created::new(&server, Some(&template.name)).await;
        Some(Self { url: database.url(), keep: Keep::Server { database, _template: Some(template) } })
    }

    /// An SQLite database with the contents of a fixture.
    pub async fn sqlite_of(fixture: &Fixture) -> Self {
        let folder = TempDir::new().expect("a folder for a test");
        let place = Self { url: sqlite_url(folder.path()), keep: Keep::Folder { folder } };
        fixture.load(&place).await;
        place
    }

    /// Likewise on the configured PostgreSQL server, if there is one.
    pub async fn postgres_of(fixture: &Fixture) -> Option<Self> {
        let database = Created::new(&server()?, None).await;
        let place = Self { url: database.url(), keep: Keep::Server { database, _template: None } };
        fixture.load(&place).await;
        Some(place)
    }

    /// The SQLite file.
    pub fn file(&self) -> Option<&Path> {
        self.url.strip_prefix("sqlite:").map(Path::new)
    }

    /// Blocks all other writers with a real lock on the database, until the value is dropped or
    /// [`HeldWriter::release`]d. Reads continue. On SQLite a writer gives up after five seconds.
    pub async fn hold_writers(&self) -> HeldWriter {
        match &self.keep {
            Keep::Folder { .. } => {
                let path = self.url.strip_prefix("sqlite:").expect("a file");
                let connection = rusqlite::Connection::open(path).expect("the file of a test opens");
                connection.busy_timeout(std::time::Duration::from_secs(20)).expect("a time-out");
                connection.execute_batch("BEGIN IMMEDIATE").expect("nobody else holds the lock for long");
                HeldWriter::File(connection)
            }
            Keep::Server { database, .. } => {
                let client = database.client().await;
                let lock = "BEGIN; LOCK TABLE seats, identity_sessions, authorizations, api_sessions IN EXCLUSIVE MODE";
                client.batch_execute(lock).await.expect("nobody else holds the locks for long");
                HeldWriter::Server(client)
            }
        }
    }

    /// Copies all rows, to be restored under a running server.
    pub async fn back_up(&self) -> Backup {
        match &self.keep {
            Keep::Folder { folder } => {
                let copy = folder.path().join("backup.db");
                copy_file(&folder.path().join(FILE), &copy);
                Backup::File(copy)
            }
            Keep::Server { database, .. } => {
                let client = database.client().await;
                let copy = |table: &String| format!("CREATE TABLE backup.{table} AS SELECT * FROM public.{table}; ");
                let all: String = tables(&client).await.iter().map(copy).collect();
                let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ; CREATE SCHEMA backup";
                client.batch_execute(&format!("{begin}; {all} COMMIT")).await.expect("rows can be copied");
                Backup::Schema(client)
            }
        }
    }

    /// Replaces all rows by a backup in one transaction, as `sqlite3 .restore` does.
    pub async fn restore(&self, backup: &Backup) {
        match (&self.keep, backup) {
            (Keep::Folder { folder }, Backup::File(copy)) => copy_file(copy, &folder.path().join(FILE)),
            (Keep::Server { .. }, Backup::Schema(client)) => {
                // The rows are inserted in any order, so foreign keys are not checked.
                let put = |table: &String| {
                    format!("DELETE FROM public.{table}; INSERT INTO public.{table} SELECT * FROM backup.{table}; ")
                };
                let all: String = tables(client).await.iter().map(put).collect();
                let begin = "BEGIN; SET LOCAL session_replication_role = replica";
                client.batch_execute(&format!("{begin}; {all} COMMIT")).await.expect("rows can be put back");
            }
            _ => panic!("a backup of another database"),
        }
    }

    pub(crate) async fn open(&self) -> Database {
        let url = DatabaseUrl::parse(&self.url).expect("the URL of a test");
        Database::open(&url).await.expect("the database of a test opens")
    }
}

/// A backup by [`TestDatabase::back_up`].
pub enum Backup {
    File(std::path::PathBuf),
    Schema(tokio_postgres::Client),
}

/// Copies by SQLite's backup API into the existing file.
fn copy_file(from: &Path, to: &Path) {
    let from = rusqlite::Connection::open(from).expect("a file of a test opens");
    let mut to = rusqlite::Connection::open(to).expect("a file of a test opens");
    to.busy_timeout(std::time::Duration::from_secs(20)).expect("a time-out");
    let backup = rusqlite::backup::Backup::new(&from, &mut to).expect("two databases");
    let pause = std::time::Duration::from_millis(1);
    backup.run_to_completion(i32::MAX, pause, None).expect("all pages in one step");
}

async fn tables(client: &tokio_postgres::Client) -> Vec<String> {
    let sql = "SELECT format('%I', tablename) FROM pg_tables WHERE schemaname = 'public' ORDER BY 1";
    client.query(sql, &[]).await.expect("the server answers").iter().map(|row| row.get(0)).collect()
}

/// A lock that blocks all other writers.
pub enum HeldWriter {
    File(rusqlite::Connection),
    Server(tokio_postgres::Client),
}

impl HeldWriter {
    /// The number of blocked writers. SQLite does not tell it.
    pub async fn waiting(&self) -> Option<usize> {
        let Self::Server(client) = self else { return None };
        let waiting = "SELECT DISTINCT l.pid FROM pg_locks l JOIN pg_database d ON d.oid = l.database \
                       WHERE NOT l.granted AND d.datname = current_database()";
        Some(client.query(waiting, &[]).await.expect("the server answers").len())
    }

    pub async fn release(self) {
        match self {
            Self::File(connection) => connection.execute_batch("ROLLBACK").expect("nothing was written"),
            Self::Server(client) => client.batch_execute("ROLLBACK").await.expect("nothing was written"),
        }
    }
}

fn sqlite_url(folder: &Path) -> String {
    format!("sqlite:{}", folder.join(FILE).display())
}

async fn fill(url: &str) {
    let database = Database::open(&DatabaseUrl::parse(url).expect("a URL")).await.expect("an empty database opens");
    database.migrate().await.expect("an empty database migrates");
    let (platform, master) = (TestPlatform::new(), MasterKey::new(&MASTER_KEY));
    let mut rng = platform.rng();
    let mut moment = Moment { now: platform.now(), rng: &mut *rng };
    let passwords = DemoPasswords::hash(&Passwords::new(), &mut moment).await.expect("passwords hash");
    for instance in DemoInstance::ALL {
        seed(&database, &master, instance, &passwords, &mut moment).await.expect("the demo fits");
    }
    database.close().await;
}
