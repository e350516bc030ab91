//! PostgreSQL: a batch is one pipelined flight on its own connection; queries share a few connections.

mod address;
mod connection;
mod places;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use refinery::Target;
use tokio::time::{Instant, timeout};
use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

pub(crate) use self::address::Address;
use self::address::Dialler;
use self::connection::PostgresConnection;
use self::places::{FairPermit, FairPermits};
use crate::batch::{Batch, CommitOutcome, Sql, Statement};
use crate::driver::{Tenant, in_time};
use crate::fault::postgres::fault;
use crate::figures::{CommitFigures, DatabaseFigures};
use crate::value::{SqlRow, SqlValue};
use crate::{Fault, Trouble, migrate};

/// Connections for batches.
const WRITERS: usize = 16;
/// Connections for queries, and the maximum concurrent queries over all of them: on one connection, a query is answered
/// after those sent before it.
const READERS: usize = 4;
const ASKED_AT_ONCE: usize = 8 * READERS;
/// Maximum waiting batches, and maximum waiting queries, each shared fairly between tenants. More is refused at once.
const QUEUE: usize = 1024;
/// Maximum wait for other transactions and nodes.
const WAIT: Duration = Duration::from_secs(5);
/// Maximum sends of a batch that the server cannot serialise with others.
const ATTEMPTS: usize = 5;

pub(crate) struct Postgres(Arc<Shared>);

struct Shared {
    dialler: Dialler,
    /// Permits for the writing connections, and for concurrent queries.
    writers: Arc<FairPermits<Tenant>>,
    questions: Arc<FairPermits<Tenant>>,
    /// Writing connections not in use.
    idle: Mutex<Vec<PostgresConnection>>,
    readers: [tokio::sync::Mutex<Option<Arc<PostgresConnection>>>; READERS],
    turn: AtomicUsize,
    commits: CommitFigures,
}

impl Postgres {
    /// Opens one connection, so that a wrong address or password is reported at once.
    pub(crate) async fn open(address: Address) -> Result<Self, Fault> {
        let shared = Shared {
            dialler: Dialler::new(address)?,
            writers: FairPermits::new(WRITERS, QUEUE),
            questions: FairPermits::new(ASKED_AT_ONCE, QUEUE),
            idle: Mutex::default(),
            readers: Default::default(),
            turn: AtomicUsize::new(0),
            commits: CommitFigures::default(),
        };
        shared.reader().await?;
        Ok(Self(Arc::new(shared)))
    }

    pub(crate) async fn migrate(&self, target: Target) -> Result<Vec<String>, Fault> {
        // Without the time limits of the other connections: another node's migration may take long.
        let client = self.0.dialler.dial().await?;
        migrate::postgres(client, target).await
    }

    /// Runs in its own task, so that a caller that goes away leaves neither half a batch nor a lost connection.
    pub(crate) async fn commit(&self, tenant: Tenant, batch: Batch, until: Instant) -> Result<CommitOutcome, Fault> {
        let shared = Arc::clone(&self.0);
        let waiting = shared.writers.enter(tenant)?;
        let committed = tokio::spawn(async move {
            // A connection that does not answer is closed, and its work with it.
            in_time(until, async {
                let place = in_turn(waiting).await?;
                shared.commit(place, &batch.statements).await
            })
            .await
        });
        committed.await.map_err(Fault::failed)?
    }

    pub(crate) async fn query(
        &self,
        tenant: Tenant,
        sql: Sql,
        params: Vec<SqlValue>,
        until: Instant,
    ) -> Result<Vec<SqlRow>, Fault> {
        let _place = in_turn(self.0.questions.enter(tenant)?).await?;
        let reader = in_time(until, self.0.reader()).await?;
        let answer = in_time(until, reader.query(&sql, &params)).await;
        if Instant::now() >= until {
            // Closes the connection for all queries on it: they have a deadline too.
            reader.give_up();
        }
        answer
    }

    pub(crate) fn figures(&self) -> DatabaseFigures<'_> {
        self.0.commits.figures(self.0.writers.held_or_waiting())
    }

    pub(crate) async fn close(&self) {
        let shared = &self.0;
        shared.writers.close().await;
        shared.questions.close().await;
        shared.idle().clear();
        for reader in &shared.readers {
            reader.lock().await.take();
        }
    }
}

async fn in_turn<T>(waiting: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
    timeout(WAIT, waiting).await.map_err(|_| Fault::because(Trouble::Crowded, "all connections are busy"))?
}

impl Shared {
    async fn reader(&self) -> Result<Arc<PostgresConnection>, Fault> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % READERS;
        let mut reader = self.readers[turn].lock().await;
        if let Some(connected) = reader.as_ref().filter(|connected| !connected.is_closed()) {
            return Ok(Arc::clone(connected));
        }
        let connected = Arc::new(self.dialler.dial_for("READ ONLY").await?);
        Ok(Arc::clone(reader.insert(connected)))
    }

    async fn writer(&self) -> Result<PostgresConnection, Fault> {
        while let Some(connected) = self.last_used() {
            if !connected.is_closed() {
                return Ok(connected);
            }
        }
        self.dialler.dial_for("READ WRITE").await
    }

    /// The most recently used one has its statements prepared; the others are spare.
    fn last_used(&self) -> Option<PostgresConnection> {
        self.idle().pop()
    }

    fn idle(&self) -> MutexGuard<'_, Vec<PostgresConnection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn commit(&self, _place: FairPermit<Tenant>, statements: &[Statement]) -> Result<CommitOutcome, Fault> {
        let writer = self.writer().await?;
        let begun = Instant::now();
        let mut answer = writer.send(statements).await;
        for _ in 1..ATTEMPTS {
            match &answer {
                Err(error) if out_of_order(error) => answer = writer.send(statements).await,
                _ => break,
            }
        }
        if !writer.is_closed() {
            self.idle().push(writer);
        }
        if matches!(answer, Ok(CommitOutcome::Committed)) {
            self.commits.add(1, begun.elapsed());
        }
        answer.map_err(fault)
    }
}

/// The server could not serialise the transaction with others; nothing took effect.
fn out_of_order(error: &Error) -> bool {
    let code = error.code();
    code == Some(&SqlState::T_R_SERIALIZATION_FAILURE) || code == Some(&SqlState::T_R_DEADLOCK_DETECTED)
}
