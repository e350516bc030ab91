//! A database: its URL, and its two operations, commit and query.

use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::InstanceId;
use model::audit::chain::{Chain, ChainId};
use refinery::Target;
use tokio::time::Instant;
use tokio_postgres::config::Host;

use crate::batch::Sql;
use crate::condition::OperationHealth;
use crate::driver::{DEADLINE, Tenant};
use crate::faults::{DatabaseOperation, FaultInjector};
use crate::figures::DatabaseFigures;
use crate::finding::UnreadableRows;
use crate::postgres;
use crate::postgres::Postgres;
use crate::sqlite::Sqlite;
use crate::{Batch, CommitOutcome, Fault, FaultKind, SqlRow, SqlValue, Trouble};

/// The URL of a database: `sqlite:<path>` or `postgres://user:password@host:port/name?sslmode=…`.
///
/// `sslmode` for PostgreSQL: `require` and `verify-full` both mean TLS to a server with a certificate of a public
/// authority; `disable` means no TLS. Without it, TLS is required except on the loopback and on a Unix socket. There is
/// no mode that falls back.
#[derive(Clone)]
pub struct DatabaseUrl(Place);

#[derive(Clone)]
enum Place {
    Sqlite(PathBuf),
    Postgres(Box<postgres::Address>),
}

/// Why a text is not a [`DatabaseUrl`]. Never quotes the text, which contains a password.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseUrlError {
    #[error("a database URL starts with `sqlite:` or `postgres://`")]
    Scheme,
    #[error("`sqlite:` is followed by the path of a file, without options")]
    Path,
    #[error("a `postgres://` URL names a host")]
    Host,
    #[error("not a PostgreSQL URL")]
    Postgres(#[source] tokio_postgres::Error),
}

impl DatabaseUrl {
    pub fn parse(url: &str) -> Result<Self, DatabaseUrlError> {
        if let Some(path) = url.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            if path.is_empty() || path.contains(['?', '\0']) || path.starts_with(':') {
                return Err(DatabaseUrlError::Path);
            }
            return Ok(Self(Place::Sqlite(PathBuf::from(path))));
        }
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Err(DatabaseUrlError::Scheme);
        }
        let verified = url.replace("sslmode=verify-full", "sslmode=require");
        let config: tokio_postgres::Config = verified.parse().map_err(DatabaseUrlError::Postgres)?;
        if config.get_hosts().is_empty() {
            return Err(DatabaseUrlError::Host);
        }
        let address = postgres::Address::new(config);
        Ok(Self(Place::Postgres(Box::new(address))))
    }
}

impl DatabaseUrl {
    /// The path of an embedded database.
    pub fn file(&self) -> Option<&Path> {
        match &self.0 {
            Place::Sqlite(path) => Some(path),
            Place::Postgres(_) => None,
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Place::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Place::Postgres(address) => {
                let config = address.config();
                let hosts = config.get_hosts().iter().map(|host| match host {
                    Host::Tcp(name) => name.as_str().into(),
                    Host::Unix(path) => path.to_string_lossy(),
                });
                let hosts: Vec<Cow<'_, str>> = hosts.collect();
                let name = config.get_dbname().unwrap_or_default();
                write!(f, "postgres://{}/{name}", hosts.join(","))
            }
        }
    }
}

/// An open database. Cheap to clone; all clones share one database.
#[derive(Clone)]
pub struct Database {
    open: Arc<Open>,
    /// The tenant whose share of the queues this handle uses.
    tenant: Tenant,
    faults: Option<Arc<FaultInjector>>,
}

struct Open {
    driver: Driver,
    unreadable: UnreadableRows,
    writes: OperationHealth,
    reads: OperationHealth,
}

pub(crate) enum Driver {
    Sqlite(Sqlite),
    Postgres(Postgres),
}

impl Database {
    /// Free bytes on the disk of an embedded database, as available to unprivileged users. `None` for a database
    /// server.
    pub async fn free_bytes(&self) -> Option<u64> {
        let Driver::Sqlite(sqlite) = &self.open.driver else { return None };
        let path = sqlite.path().to_owned();
        let free = tokio::task::spawn_blocking(move || {
            let disk = rustix::fs::statvfs(&path).ok()?;
            Some(disk.f_bavail.saturating_mul(disk.f_frsize))
        });
        free.await.ok().flatten()
    }

    /// Opens the database, without migrating it. A missing SQLite file is created.
    pub async fn open(url: &DatabaseUrl) -> Result<Self, Fault> {
        let driver = match &url.0 {
            Place::Sqlite(path) => Driver::Sqlite(Sqlite::open(path.clone()).await?),
            Place::Postgres(address) => Driver::Postgres(Postgres::open((**address).clone()).await?),
        };
        let open = Open {
            driver,
            unreadable: UnreadableRows::default(),
            writes: OperationHealth::default(),
            reads: OperationHealth::default(),
        };
        Ok(Self { open: Arc::new(open), tenant: None, faults: None })
    }

    /// The same database, with operations counted and faults injected for this handle and its clones. Only for tests
    /// and the benchmark.
    #[must_use]
    pub fn with_faults(self, injector: Arc<FaultInjector>) -> Self {
        Self { faults: Some(injector), ..self }
    }

    /// Migrates the tables to this version. Returns the names of the applied migrations. Several nodes may call it at
    /// once: one migrates, the others wait.
    pub async fn migrate(&self) -> Result<Vec<String>, Fault> {
        self.migrate_to(None).await
    }

    /// Migrates to an earlier version, for tests of the databases that it wrote.
    pub async fn migrate_to(&self, version: impl Into<Option<i32>>) -> Result<Vec<String>, Fault> {
        let target = version.into().map_or(Target::Latest, Target::Version);
        match self.driver() {
            Driver::Sqlite(sqlite) => sqlite.migrate(target).await,
            Driver::Postgres(postgres) => postgres.migrate(target).await,
        }
    }

    /// Applies a batch, all or nothing. A batch answered with [`CommitOutcome::Committed`] survives a power cut.
    ///
    /// A caller that goes away after the batch was accepted does not undo it. After [`DEADLINE`] the answer is a fault,
    /// and it is unknown whether the batch took effect.
    pub async fn commit(&self, batch: Batch) -> Result<CommitOutcome, Fault> {
        assert!(!batch.announces(), "changes belong to an instance: Store::commit writes them down");
        if batch.is_empty() {
            return Ok(CommitOutcome::Committed);
        }
        let until = Instant::now() + DEADLINE;
        let _work = self.writes().begin();
        let commit = async {
            match self.driver() {
                // Boxed, here and below, so that callers' futures do not include a driver's state.
                Driver::Sqlite(sqlite) => Box::pin(sqlite.commit(self.tenant, batch, until)).await,
                Driver::Postgres(postgres) => Box::pin(postgres.commit(self.tenant, batch, until)).await,
            }
        };
        let answer = self.asked(DatabaseOperation::Commit, commit).await;
        self.writes().note(&answer);
        answer
    }

    /// The only place where faults are injected.
    async fn asked<T>(
        &self,
        operation: DatabaseOperation,
        work: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, Fault> {
        match &self.faults {
            None => work.await,
            Some(faults) => Box::pin(faults.run(operation, work)).await,
        }
    }

    /// Reads rows. A statement that writes is a fault.
    pub async fn query(&self, sql: impl Into<Cow<'static, str>>, params: Vec<SqlValue>) -> Result<Vec<SqlRow>, Fault> {
        let sql = Sql(sql.into());
        let until = Instant::now() + DEADLINE;
        let _work = self.reads().begin();
        let query = async {
            match self.driver() {
                Driver::Sqlite(sqlite) => Box::pin(sqlite.query(self.tenant, sql, params, until)).await,
                Driver::Postgres(postgres) => Box::pin(postgres.query(self.tenant, sql, params, until)).await,
            }
        };
        let answer = self.asked(DatabaseOperation::Read, query).await;
        let answer = answer.map_err(|fault| match fault.trouble() {
            // The connection is read-only, not the database: a query that writes is a bug.
            Trouble::ReadOnly => Fault::failed(fault),
            _ => fault,
        });
        self.reads().note(&answer);
        answer
    }

    /// Whether another process may have changed the database since the last call.
    ///
    /// SQLite knows. On PostgreSQL, which usually has several nodes, the answer is always yes.
    pub async fn changed_elsewhere(&self) -> Result<bool, Fault> {
        match self.driver() {
            Driver::Sqlite(sqlite) => sqlite.changed_elsewhere(Instant::now() + DEADLINE).await,
            Driver::Postgres(_) => Ok(true),
        }
    }

    /// PostgreSQL's timeline, if the server reports one. A new one begins with each promoted standby and each restored
    /// archive.
    pub async fn timeline(&self) -> Result<Option<String>, Fault> {
        let Driver::Postgres(_) = self.driver() else { return Ok(None) };
        let sql = "SELECT CASE WHEN pg_is_in_recovery() THEN NULL \
                   ELSE SUBSTR(pg_walfile_name(pg_current_wal_lsn()), 1, 8) END";
        match self.query(sql, vec![]).await {
            Ok(rows) => Ok(rows.first().map_or(Ok(None), |row| row.opt_text(0))?),
            // Not every server that speaks the protocol has these functions.
            Err(fault) if fault.kind() == FaultKind::Failed => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    /// Whether the database is a file of this process only: then no other process keeps sessions in it while this one
    /// is down.
    pub fn is_embedded(&self) -> bool {
        matches!(self.driver(), Driver::Sqlite(_))
    }

    /// Durable commits since opening, and the batches in them.
    pub fn commits(&self) -> (u64, u64) {
        let figures = self.figures();
        (figures.commits, figures.batches)
    }

    /// See [`DatabaseFigures`].
    pub fn figures(&self) -> DatabaseFigures<'_> {
        match self.driver() {
            Driver::Sqlite(sqlite) => sqlite.figures(),
            Driver::Postgres(postgres) => postgres.figures(),
        }
    }

    pub(crate) fn unreadable(&self) -> &UnreadableRows {
        &self.open.unreadable
    }

    pub(crate) fn driver(&self) -> &Driver {
        &self.open.driver
    }

    /// Health of commits.
    pub fn writes(&self) -> &OperationHealth {
        &self.open.writes
    }

    /// Health of queries.
    pub fn reads(&self) -> &OperationHealth {
        &self.open.reads
    }

    /// Finishes accepted work and closes the database. Later calls fail as unavailable.
    pub async fn close(&self) {
        match self.driver() {
            Driver::Sqlite(sqlite) => sqlite.close().await,
            Driver::Postgres(postgres) => postgres.close().await,
        }
    }
}

/// A database bound to one instance: tables put this instance into every statement.
#[derive(Clone)]
pub struct Store {
    database: Database,
    instance: InstanceId,
    chain: Chain,
}

impl Store {
    /// Uses the instance's share of the queues.
    pub const fn new(mut database: Database, instance: InstanceId) -> Self {
        database.tenant = Some(instance);
        Self { database, instance, chain: Chain::Main }
    }

    pub const fn instance(&self) -> &InstanceId {
        &self.instance
    }

    /// The same store, with another chain of the audit selected instead of the main one.
    #[must_use]
    pub fn with_chain(&self, chain: Chain) -> Self {
        Self { chain, ..self.clone() }
    }

    pub const fn chain(&self) -> Chain {
        self.chain
    }

    /// The chain's id, which begins the hashed content of its seals.
    pub const fn chain_id(&self) -> ChainId {
        ChainId { instance: self.instance, chain: self.chain }
    }

    pub const fn database(&self) -> &Database {
        &self.database
    }

    /// See [`Database::commit`]. The batch's changes are appended to the change feed, after its statements.
    pub async fn commit(&self, mut batch: Batch) -> Result<CommitOutcome, Fault> {
        for (change, at) in std::mem::take(&mut batch.changes) {
            batch.extend(self.announcement(change, at));
        }
        self.database.commit(batch).await
    }

    /// See [`Database::query`].
    pub async fn query(&self, sql: impl Into<Cow<'static, str>>, params: Vec<SqlValue>) -> Result<Vec<SqlRow>, Fault> {
        self.database.query(sql, params).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_url_never_prints_its_password() {
        let url = DatabaseUrl::parse("postgres://gate:hunter2@db.example/house?sslmode=verify-full").expect("a URL");
        assert_eq!(format!("{url:?}"), "postgres://db.example/house");
    }

    #[test]
    fn a_url_that_names_no_database_is_refused() {
        for url in [
            "",
            "mysql://x/y",
            "sqlite:",
            "sqlite::memory:",
            "sqlite:a.db?mode=ro",
            "postgres:///x",
            "postgres://h/x?sslmode=maybe",
        ] {
            assert!(DatabaseUrl::parse(url).is_err(), "{url}");
        }
    }

    #[test]
    fn tls_is_left_out_only_where_nobody_can_listen_or_on_demand() {
        let tls = |url: &str| match DatabaseUrl::parse(url).expect("a URL").0 {
            Place::Postgres(address) => address.tls(),
            Place::Sqlite(_) => panic!("a PostgreSQL URL"),
        };
        assert!(tls("postgres://a@db.example/x"));
        assert!(tls("postgres://a@127.0.0.1,db.example/x"), "one host of many is far away");
        assert!(tls("postgres://a@localhost/x?sslmode=verify-full"));
        assert!(tls("postgres://a@127.0.0.1/x?sslmode=require"));
        assert!(!tls("postgres://a@127.0.0.1/x"));
        assert!(!tls("postgres://a@localhost/x"));
        assert!(!tls("postgres://a@%2Frun%2Fpostgresql/x"));
        assert!(!tls("postgres://a@db.example/x?sslmode=disable"));
    }
}
