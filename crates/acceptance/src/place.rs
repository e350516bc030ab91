//! A database of its own for each test, a copy of one that holds the demo.

use std::env;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Weak};

use flows::demo::{DemoInstance, DemoPasswords, seed};
use flows::{Database, DatabaseUrl, MasterKey, Passwords, World as _};
use model::Moment;
use tempfile::TempDir;
use tokio::sync::{Mutex, OnceCell};
use tokio_postgres::{Client, NoTls};
use uuid::Uuid;

use crate::TestWorld;

pub(crate) const MASTER_KEY: [u8; 32] = *b"the master key of every test hou";

/// Where a test's house keeps its rows; gone with the value.
pub struct Place {
    pub(crate) url: String,
    _keep: Keep,
}

enum Keep {
    Folder { _folder: TempDir },
    Server { _database: Created, _template: Arc<Created> },
}

impl Place {
    /// A copy of the file that was filled once for this process.
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
        Self { url: sqlite_url(folder.path()), _keep: Keep::Folder { _folder: folder } }
    }

    /// A database on the server of `GATEHOUSE_TEST_POSTGRES` (a `postgres://` URL of a superuser), from a template that
    /// lives as long as tests use it.
    ///
    /// Without it there is nothing to test on: `None`, except where `CI` is `true`.
    pub async fn postgres() -> Option<Self> {
        static FILLED: Mutex<Weak<Created>> = Mutex::const_new(Weak::new());
        let Ok(server) = env::var("GATEHOUSE_TEST_POSTGRES") else {
            let in_ci = env::var("CI").is_ok_and(|ci| ci == "true");
            assert!(!in_ci, "GATEHOUSE_TEST_POSTGRES names the server to test on");
            println!("skipped: GATEHOUSE_TEST_POSTGRES is not set");
            return None;
        };
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
        Some(Self { url: database.url(), _keep: Keep::Server { _database: database, _template: template } })
    }

    pub(crate) async fn open(&self) -> Database {
        let url = DatabaseUrl::parse(&self.url).expect("the URL of a test");
        Database::open(&url).await.expect("the database of a test opens")
    }
}

fn sqlite_url(folder: &Path) -> String {
    format!("sqlite:{}", folder.join("house.db").display())
}

async fn fill(url: &str) {
    let database = Database::open(&DatabaseUrl::parse(url).expect("a URL")).await.expect("an empty database opens");
    database.migrate().await.expect("an empty database migrates");
    let (world, master) = (TestWorld::new(), MasterKey::new(&MASTER_KEY));
    let mut dice = world.dice();
    let mut moment = Moment { now: world.now(), dice: &mut *dice };
    let passwords = DemoPasswords::hash(&Passwords::new(), &mut moment).await.expect("passwords hash");
    for instance in DemoInstance::ALL {
        seed((&database, &master), instance, &passwords, &mut moment).await.expect("the demo fits");
    }
    database.close().await;
}

/// A database on a server, dropped with the value.
struct Created {
    server: String,
    name: String,
}

impl Created {
    async fn new(server: &str, template: Option<&str>) -> Self {
        let name = format!("gh_{}", Uuid::new_v4().simple());
        let copied = template.map(|template| format!(" TEMPLATE {template}")).unwrap_or_default();
        administer(server, &format!("CREATE DATABASE {name}{copied}")).await;
        Self { server: server.to_owned(), name }
    }

    /// The server's URL with this database in its path.
    fn url(&self) -> String {
        let (server, options) = self.server.split_once('?').unwrap_or((&self.server, ""));
        let host = server.find("://").map(|at| at + 3).expect("a postgres:// URL");
        let end = server[host..].find('/').map_or(server.len(), |at| host + at);
        let options = if options.is_empty() { String::new() } else { format!("?{options}") };
        format!("{}/{}{options}", &server[..end], self.name)
    }
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
    connect(server).await.batch_execute(sql).await.expect("a superuser may create and drop databases");
}
