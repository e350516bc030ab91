//! A read-only report on a database, for the examination of an installation.

use model::Timestamp;

use crate::database::Driver;
use crate::{CommitOutcome, Database, Fault, FaultKind, migrate, statement};

/// The report.
#[derive(Clone, Debug)]
pub struct DatabaseReport {
    /// `SQLite 3.54.1`, `PostgreSQL 15.18`.
    pub software: String,
    /// The newest applied migration. `None` in a database without our tables.
    pub applied: Option<i64>,
    /// The newest migration in this program.
    pub known: i64,
    /// The database server's clock. `None` if it is the same clock as ours.
    pub clock: Option<Timestamp>,
}

impl DatabaseReport {
    /// Whether tables that this program needs are missing.
    pub fn is_older(&self) -> bool {
        self.applied.is_some_and(|applied| applied < self.known)
    }

    /// Whether a newer program has migrated the tables.
    pub fn is_newer(&self) -> bool {
        self.applied.is_some_and(|applied| applied > self.known)
    }

    /// The names of the migrations still to be applied, in order.
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
            // The table does not exist.
            Err(fault) if fault.kind() == FaultKind::Failed => None,
            Err(fault) => return Err(fault),
        };
        Ok(DatabaseReport { software: format!("{name} {version}"), applied, known: migrate::newest(), clock })
    }

    /// A query whose result does not matter. Needs tables.
    pub async fn try_read(&self) -> Result<(), Fault> {
        self.query("SELECT MAX(version) FROM refinery_schema_history", vec![]).await.map(drop)
    }

    /// A durable commit that changes nothing. Needs tables.
    pub async fn try_write(&self) -> Result<CommitOutcome, Fault> {
        let sql = "UPDATE refinery_schema_history SET name = name \
                   WHERE version = (SELECT MAX(version) FROM refinery_schema_history)";
        self.commit(vec![statement(sql, vec![]).expect(1)].into()).await
    }
}
