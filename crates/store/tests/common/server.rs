//! Databases of their own for tests, on the server of `GATEHOUSE_TEST_POSTGRES`. This one file serves the tests of every
//! crate: a crate for it would be one more that the product is built with.

#![allow(unreachable_pub, dead_code, reason = "a library of tests shows it, and not every test needs all of it")]

use std::env;

use tokio_postgres::{Client, NoTls};
use uuid::Uuid;

/// The server to test on (a `postgres://` URL of a superuser).
///
/// Without one there is nothing to test on: `None`, except where `CI` is `true`.
pub fn server() -> Option<String> {
    let server = env::var("GATEHOUSE_TEST_POSTGRES").ok();
    if server.is_none() {
        let in_ci = env::var("CI").is_ok_and(|ci| ci == "true");
        assert!(!in_ci, "GATEHOUSE_TEST_POSTGRES names the server to test on");
        println!("skipped: GATEHOUSE_TEST_POSTGRES is not set");
    }
    server
}

/// A database on a server, dropped with the value.
pub struct Created {
    server: String,
    pub name: String,
}

impl Created {
    /// Empty, or a copy of another database that nobody is connected to.
    pub async fn new(server: &str, template: Option<&str>) -> Self {
        let name = format!("gh_{}", Uuid::new_v4().simple());
        let copied = template.map(|template| format!(" TEMPLATE {template}")).unwrap_or_default();
        administer(server, &format!("CREATE DATABASE {name}{copied}")).await;
        Self { server: server.to_owned(), name }
    }

    /// The server's URL with this database in its path.
    pub fn url(&self) -> String {
        let (server, options) = self.server.split_once('?').unwrap_or((&self.server, ""));
        let host = server.find("://").map(|at| at + 3).expect("a postgres:// URL");
        let end = server[host..].find('/').map_or(server.len(), |at| host + at);
        let options = if options.is_empty() { String::new() } else { format!("?{options}") };
        format!("{}/{}{options}", &server[..end], self.name)
    }

    /// A client of the database that knows nothing of the store.
    pub async fn client(&self) -> Client {
        connect(&self.url()).await
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
