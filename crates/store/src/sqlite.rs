//! SQLite: one thread owns the writing connection and commits the batches of many callers at once; a few threads read.

mod connection;
mod file;
mod writer;

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use model::fair;
use model::fair::{FairReceiver, FairSender, SendError};
use refinery::Target;
use tokio::sync::oneshot;
use tokio::time::Instant;

use self::connection::{Access, SqliteConnection};
use self::file::OpenFile;
use self::writer::Writer;
use crate::batch::{Batch, CommitOutcome, Sql};
use crate::driver::{Tenant, in_time};
use crate::figures::{CommitFigures, DatabaseFigures};
use crate::value::{SqlRow, SqlValue};
use crate::{Fault, Trouble, migrate};

/// Maximum work waiting for a thread, shared fairly between tenants. More is refused at once.
const QUEUE: usize = 1024;

type Reply<T> = oneshot::Sender<Result<T, Fault>>;

enum Write {
    /// Not started after the given time: its caller has already got a fault.
    Commit(Batch, Reply<CommitOutcome>, Instant),
    Version(Reply<bool>),
}

struct Read(Sql, Vec<SqlValue>, Reply<Vec<SqlRow>>);

pub(crate) struct Sqlite {
    path: PathBuf,
    file: Arc<OpenFile>,
    writes: FairSender<Tenant, Write>,
    reads: FairSender<Tenant, Read>,
    writer: Mutex<Option<JoinHandle<()>>>,
    readers: Mutex<Vec<JoinHandle<()>>>,
    commits: Arc<CommitFigures>,
}

impl Sqlite {
    pub(crate) async fn open(path: PathBuf) -> Result<Self, Fault> {
        blocking(move || Self::open_blocking(path)).await
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn open_blocking(path: PathBuf) -> Result<Self, Fault> {
        create(&path).map_err(Fault::failed)?;
        // Two processes that switch a new file to WAL at the same time meet a lock that no timeout waits for.
        let _lock = lock_beside(&path).map_err(Fault::failed)?;
        let commits = Arc::<CommitFigures>::default();

        let (writes, queue) = fair::channel(QUEUE);
        let file = Arc::new(OpenFile::at(&path)?);
        let owner = Writer::open(&path, Arc::clone(&file), Arc::clone(&commits))?;
        let owner = spawn("store-writer", move || owner.serve(&queue))?;

        let (reads, queue) = fair::channel(QUEUE);
        let cores = thread::available_parallelism().map_or(2, usize::from);
        let readers = (0..cores.clamp(2, 4)).map(|_| {
            let reader = SqliteConnection::open(&path, Access::Read)?;
            let queue = queue.clone();
            spawn("store-reader", move || serve_reads(reader, &queue))
        });
        let readers = readers.collect::<Result<_, Fault>>()?;

        Ok(Self { path, file, writes, reads, writer: Mutex::new(Some(owner)), readers: Mutex::new(readers), commits })
    }

    pub(crate) async fn migrate(&self, target: Target) -> Result<Vec<String>, Fault> {
        let path = self.path.clone();
        blocking(move || {
            let _lock = lock_beside(&path).map_err(Fault::failed)?;
            let mut connected = SqliteConnection::open(&path, Access::Write)?;
            migrate::sqlite(connected.raw(), target)
        })
        .await
    }

    pub(crate) async fn commit(&self, tenant: Tenant, batch: Batch, until: Instant) -> Result<CommitOutcome, Fault> {
        in_time(until, ask(&self.writes, tenant, |reply| Write::Commit(batch, reply, until))).await
    }

    pub(crate) async fn query(
        &self,
        tenant: Tenant,
        sql: Sql,
        params: Vec<SqlValue>,
        until: Instant,
    ) -> Result<Vec<SqlRow>, Fault> {
        self.file.is_here()?;
        in_time(until, ask(&self.reads, tenant, |reply| Read(sql, params, reply))).await
    }

    /// Asks the writing connection: `data_version` changes only with commits of other connections, and the only other
    /// connection of this process that writes is the migrating one.
    pub(crate) async fn changed_elsewhere(&self, until: Instant) -> Result<bool, Fault> {
        in_time(until, ask(&self.writes, None, Write::Version)).await
    }

    pub(crate) fn figures(&self) -> DatabaseFigures<'_> {
        self.commits.figures(self.writes.waiting())
    }

    /// Closes readers first, so that the writer's connection is the last one and removes the write-ahead log.
    pub(crate) async fn close(&self) {
        self.reads.close();
        let readers = std::mem::take(&mut *self.readers.lock().expect("no holder of this lock panics"));
        join(readers).await;
        self.writes.close();
        let writer = self.writer.lock().expect("no holder of this lock panics").take();
        join(writer).await;
    }
}

async fn join(threads: impl IntoIterator<Item = JoinHandle<()>> + Send + 'static) {
    let joined = blocking(move || {
        for thread in threads {
            thread.join().map_err(|_| Fault::failed("a thread of the store panicked"))?;
        }
        Ok(())
    });
    if let Err(fault) = joined.await {
        tracing::error!(error = &fault as &dyn std::error::Error, "closing the store");
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Fault> + Send + 'static) -> Result<T, Fault> {
    tokio::task::spawn_blocking(work).await.map_err(Fault::failed)?
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, Fault> {
    thread::Builder::new().name(name.into()).spawn(work).map_err(Fault::failed)
}

/// Queues work and waits for its answer. Refuses at once if the tenant's share of the queue is full.
async fn ask<W, T>(
    queue: &FairSender<Tenant, W>,
    tenant: Tenant,
    work: impl FnOnce(Reply<T>) -> W,
) -> Result<T, Fault> {
    let (reply, answer) = oneshot::channel();
    queue.send(tenant, work(reply)).map_err(|refused| match refused {
        SendError::Full => Fault::because(Trouble::Crowded, "the queue of the database is full"),
        SendError::Closed => Fault::unavailable("the database is closed"),
    })?;
    answer.await.map_err(|_| Fault::unavailable("the database was closed before it got to this"))?
}

fn create(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    if let Some(parent) = parent {
        let mut directory = DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut directory, 0o700);
        directory.recursive(true).create(parent)?;
    }
    private_file(path).map(drop)
}

/// A file with access for this user only. SQLite gives the database's companion files the same mode.
fn private_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.write(true).create(true).truncate(false).open(path)
}

/// Waits until no other process opens or migrates the database. Dropping the file unlocks it.
fn lock_beside(path: &Path) -> io::Result<File> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let file = private_file(Path::new(&name))?;
    file.lock()?;
    Ok(file)
}

fn serve_reads(mut reader: SqliteConnection, queue: &FairReceiver<Tenant, Read>) {
    while let Some((_, Read(sql, params, reply))) = queue.recv() {
        if reply.is_closed() {
            continue;
        }
        let answer = survive(|| reader.read(&sql, &params));
        // A caller that has gone away needs no answer.
        let _ = reply.send(answer);
    }
}

/// Turns a panic into a fault of the work that caused it, so that the thread, which all callers need, survives.
fn survive<T>(work: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(Fault::failed("a thread of the store panicked")))
}
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_a_fault_of_that_work_alone() {
        let answer: Result<(), Fault> = survive(|| panic!("a bug"));
        assert!(answer.is_err());
        assert!(survive(|| Ok(7)).is_ok());
    }
}
