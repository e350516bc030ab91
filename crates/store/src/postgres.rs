//! PostgreSQL: a batch is one pipelined flight on a connection of its own; reads share a few connections.

mod address;
mod connection;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit, TryAcquireError};
use tokio::time::{Instant, timeout};
use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

pub(crate) use self::address::Address;
use self::address::Dialler;
use self::connection::Connected;
pub(crate) use self::connection::fault;
use crate::batch::{Batch, Outcome, Sql, Statement};
use crate::database::in_time;
use crate::figures::{Commits, Figures};
use crate::value::{Row, Value};
use crate::{Fault, Trouble, migrate};

/// Connections that write.
const WRITERS: u32 = 16;
/// Connections that read, each with any number of questions under way.
const READERS: usize = 4;
/// Batches, and questions, that may be under way or waiting; more is refused at once.
const QUEUE: u32 = 1024;
/// How long to wait for a connection that others hold.
const WAIT: Duration = Duration::from_secs(5);
/// How often a batch is sent in all, when the server could not put it in order with others.
const ATTEMPTS: usize = 5;

pub(crate) struct Postgres(Arc<Shared>);

struct Shared {
    dialler: Dialler,
    /// Permits to be under way or to wait, for batches and for questions.
    batches: Arc<Semaphore>,
    questions: Semaphore,
    /// Permits to hold a writing connection; the connections that nobody holds.
    writers: Semaphore,
    idle: Mutex<Vec<Connected>>,
    readers: [tokio::sync::Mutex<Option<Arc<Connected>>>; READERS],
    turn: AtomicUsize,
    commits: Commits,
}

impl Postgres {
    /// Makes one connection, so that a wrong address or password shows at once.
    pub(crate) async fn open(address: Address) -> Result<Self, Fault> {
        let shared = Shared {
            dialler: Dialler::new(address)?,
            batches: Arc::new(Semaphore::new(QUEUE as usize)),
            questions: Semaphore::new(QUEUE as usize),
            writers: Semaphore::new(WRITERS as usize),
            idle: Mutex::default(),
            readers: Default::default(),
            turn: AtomicUsize::new(0),
            commits: Commits::default(),
        };
        shared.reader().await?;
        Ok(Self(Arc::new(shared)))
    }

    pub(crate) async fn migrate(&self) -> Result<(), Fault> {
        // Without the time limits of the other connections: another node may be at work for long.
        let client = self.0.dialler.dial().await?;
        migrate::postgres(client).await
    }

    /// Runs in a task of its own: a caller that goes away leaves neither half a batch nor a lost connection.
    pub(crate) async fn commit(&self, batch: Batch, until: Instant) -> Result<Outcome, Fault> {
        let shared = Arc::clone(&self.0);
        let queued = Arc::clone(&shared.batches).try_acquire_owned().map_err(|error| refused(&error))?;
        let committed = tokio::spawn(async move {
            let _queued = queued;
            // A connection that does not answer is closed with the work on it.
            in_time(until, shared.commit(&batch.statements)).await
        });
        committed.await.map_err(Fault::failed)?
    }

    pub(crate) async fn query(&self, sql: Sql, params: Vec<Value>, until: Instant) -> Result<Vec<Row>, Fault> {
        let _queued = self.0.questions.try_acquire().map_err(|error| refused(&error))?;
        let reader = in_time(until, self.0.reader()).await?;
        let answer = in_time(until, reader.query(&sql, &params)).await;
        if Instant::now() >= until {
            // Others that wait on it have a deadline too.
            reader.give_up();
        }
        answer
    }

    pub(crate) fn figures(&self) -> Figures<'_> {
        let free = self.0.batches.available_permits();
        self.0.commits.figures((QUEUE as usize).saturating_sub(free))
    }

    pub(crate) async fn close(&self) {
        let shared = &self.0;
        // All permits, so everything accepted is done; a second call finds them gone.
        if let Ok(all) = shared.batches.acquire_many(QUEUE).await {
            all.forget();
        }
        shared.batches.close();
        shared.questions.close();
        shared.idle().clear();
        for reader in &shared.readers {
            reader.lock().await.take();
        }
    }
}

fn refused(error: &TryAcquireError) -> Fault {
    match error {
        TryAcquireError::NoPermits => Fault::because(Trouble::Crowded, "the queue of the database is full"),
        TryAcquireError::Closed => Fault::unavailable("the database is closed"),
    }
}

impl Shared {
    async fn reader(&self) -> Result<Arc<Connected>, Fault> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % READERS;
        let mut reader = self.readers[turn].lock().await;
        if let Some(connected) = reader.as_ref().filter(|connected| !connected.is_closed()) {
            return Ok(Arc::clone(connected));
        }
        let connected = Arc::new(self.dialler.dial_for("READ ONLY").await?);
        Ok(Arc::clone(reader.insert(connected)))
    }

    async fn writer(&self) -> Result<(Connected, SemaphorePermit<'_>), Fault> {
        let permit = timeout(WAIT, self.writers.acquire())
            .await
            .map_err(|_| Fault::because(Trouble::Crowded, "all connections are busy"))?
            .map_err(|_| Fault::unavailable("the database is closed"))?;
        while let Some(connected) = self.last_used() {
            if !connected.is_closed() {
                return Ok((connected, permit));
            }
        }
        Ok((self.dialler.dial_for("READ WRITE").await?, permit))
    }

    /// Its statements are prepared; the others are spare.
    fn last_used(&self) -> Option<Connected> {
        self.idle().pop()
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Connected>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn commit(&self, statements: &[Statement]) -> Result<Outcome, Fault> {
        let (writer, _permit) = self.writer().await?;
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
        if matches!(answer, Ok(Outcome::Committed)) {
            self.commits.add(1, begun.elapsed());
        }
        answer.map_err(fault)
    }
}

/// The server could not put the transaction in order with others; nothing took effect.
fn out_of_order(error: &Error) -> bool {
    let code = error.code();
    code == Some(&SqlState::T_R_SERIALIZATION_FAILURE) || code == Some(&SqlState::T_R_DEADLOCK_DETECTED)
}
