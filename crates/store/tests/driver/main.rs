//! What the drivers promise, on real databases.

#![allow(
    clippy::disallowed_methods,
    reason = "tests are told by the environment where PostgreSQL is, and wait with an end"
)]

#[path = "../common/mod.rs"]
mod common;

mod killed;
mod postgres;
mod promises;
mod sqlite;

use common::Place;
use store::{CommitOutcome, Database, Fault, FaultKind, Statement, statement, values};

/// A lock under which nobody else can write a note, though anybody can read.
enum Held {
    File(rusqlite::Connection),
    Server(tokio_postgres::Client),
}

impl Held {
    async fn by_another(place: &Place) -> Self {
        if let Some(path) = place.path() {
            let other = rusqlite::Connection::open(path).expect("another connection");
            other.execute_batch("BEGIN IMMEDIATE").expect("the lock");
            return Self::File(other);
        }
        let other = place.client().await;
        let lock = "BEGIN; LOCK TABLE notes IN EXCLUSIVE MODE";
        other.batch_execute(lock).await.expect("the lock");
        Self::Server(other)
    }

    async fn release(self) {
        match self {
            Self::File(other) => other.execute_batch("ROLLBACK").expect("the end of the lock"),
            Self::Server(other) => {
                let released = other.batch_execute("ROLLBACK").await;
                released.expect("the end of the lock");
            }
        }
    }
}

/// A table of numbered notes.
async fn with_notes(database: Database) -> Database {
    let table = "CREATE TABLE notes (id BIGINT NOT NULL PRIMARY KEY, state TEXT NOT NULL, body BYTEA)";
    let _ = commit(&database, vec![statement(table, values![])]).await.expect("a table");
    database
}

fn note(id: i64) -> Statement {
    statement("INSERT INTO notes (id, state) VALUES ($1, $2)", values![id, "new"])
}

/// Notes in `state`, by number.
async fn notes(database: &Database, state: &str) -> Vec<i64> {
    let sql = "SELECT id FROM notes WHERE state = $1 ORDER BY id";
    let rows = database.query(sql, values![state]).await.expect("a read");
    rows.iter().map(|row| row.int(0).expect("a number")).collect()
}

async fn commit(database: &Database, statements: Vec<Statement>) -> Result<CommitOutcome, Fault> {
    database.commit(statements.into()).await
}

fn kind<T: std::fmt::Debug>(answer: Result<T, Fault>) -> FaultKind {
    answer.expect_err("a fault").kind()
}
