//! A look at a database by somebody who examines an installation: it changes nothing.

use model::Timestamp;

use crate::database::Driver;
use crate::{CommitOutcome, Database, Fault, FaultKind, migrate, statement};

/// What was found.
#[derive(Clone, Debug)]
pub struct DatabaseReport {
    /// `SQLite 3.54.1`, `PostgreSQL 15.18`.
    pub software: String,
    /// The newest migration that was applied; nothing in a database without tables of ours.
    pub applied: Option<i64>,
    /// The newest that this program knows.
    pub known: i64,
    /// The database's own clock, where that is another one.
    pub clock: Option<Timestamp>,
}

impl DatabaseReport {
    /// Are tables missing that this program needs?
    pub fn is_older(&self) -> bool {
        self.applied.is_some_and(|applied| applied < self.known)
    }

    /// Did a newer program bring the tables up?
    pub fn is_newer(&self) -> bool {
        self.applied.is_some_and(|applied| applied > self.known)
    }

    /// The names of the migrations that are still to be applied, in their order.
    pub fn pending(&self) -> Vec<String> {
        migrate::after(self.applied.unwrap_or(0))
    }
}

impl Database {
    pub async fn look(&self) -> Result<DatabaseReport, Fault> {
        let (name, version, clock) = match self.driver() {
            Driver::Sqlite(_) => ("SQLite", "SELECT sqlite_version()", None),
            Driver::Postgres(_) => (
                "PostgreSQL",
                "SELECT current_setting('server_version')",
                Some("SELECT (EXTRACT(EPOCH FROM clock_timestamp()) * 1000000)::BIGINT"),
            ),
        };
        let first = |rows: Vec<crate::SqlRow>| rows.into_iter().next().ok_or_else(|| Fault::failed("no row"));
        let version = first(self.query(version, vec![]).await?)?.text(0)?;
        let clock = match clock {
            Some(sql) => Some(Timestamp(first(self.query(sql, vec![]).await?)?.int(0)?)),
            None => None,
        };
        let applied = match self.query("SELECT MAX(version) FROM refinery_schema_history", vec![]).await {
            Ok(rows) => first(rows)?.opt_int(0)?,
            // There is no such table.
            Err(fault) if fault.kind() == FaultKind::Failed => None,
            Err(fault) => return Err(fault),
        };
        Ok(DatabaseReport { software: format!("{name} {version}"), applied, known: migrate::newest(), clock })
    }

    /// A question whose answer does not matter. Needs tables.
    pub async fn try_read(&self) -> Result<(), Fault> {
        self.query("SELECT MAX(version) FROM refinery_schema_history", vec![]).await.map(drop)
    }

    /// A durable commit that leaves everything as it was. Needs tables.
    pub async fn try_write(&self) -> Result<CommitOutcome, Fault> {
        let sql = "UPDATE refinery_schema_history SET name = name \
                   WHERE version = (SELECT MAX(version) FROM refinery_schema_history)";
        self.commit(vec![statement(sql, vec![]).expect(1)].into()).await
    }
}
