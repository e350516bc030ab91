//! The thread that owns the writing connection: the batches of many callers, one durable commit.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use model::fair::FairReceiver;
use rusqlite::ErrorCode;
use tokio::time::Instant;

use crate::batch::{Batch, CommitOutcome, Sql, Statement};
use crate::driver::Tenant;
use crate::figures::CommitFigures;
use crate::sqlite::connection::{Access, SqliteConnection, code, fault};
use crate::sqlite::file::OpenFile;
use crate::sqlite::{Reply, Write, survive};
use crate::{Fault, Trouble};

/// Maximum batches in one commit.
const GROUP: usize = 256;
/// Minimum batches in a group of several tenants, which is committed as soon as building it took as long as a commit
/// does. A tenant with little work then does not wait for a full group, and at most half of the time goes into commits.
const MIXED_GROUP: usize = 32;

/// With more concurrent callers than this, a group waits briefly until it has [`Writer::expected`] batches: on a fast
/// disk a commit ends before many batches have arrived, and costs as much as building them.
const CROWD: usize = 32;
const NAP: Duration = Duration::from_micros(250);
const MAX_PAUSES: u32 = 16;
/// Consecutive naps without a new batch before a group is committed. A caller may be waiting for a CPU core.
const EMPTY_NAPS: u32 = 2;

/// The batches of one group as they arrive, fair between tenants, and the callers to answer.
struct Arrivals<'a> {
    first: Option<(Tenant, Write)>,
    /// The expected number of batches, and the naps left for them.
    expected: usize,
    naps: u32,
    queue: &'a FairReceiver<Tenant, Write>,
    /// The tenant of the last batch, and whether several tenants have batches.
    tenant: Option<Tenant>,
    is_mixed: bool,
    begun: Instant,
    last_commit: Duration,
    commits: Vec<Reply<CommitOutcome>>,
    versions: Vec<Reply<bool>>,
}

impl<'a> Arrivals<'a> {
    fn new(first: (Tenant, Write), queue: &'a FairReceiver<Tenant, Write>, writer: &Writer) -> Self {
        Self {
            first: Some(first),
            expected: writer.expected(),
            naps: MAX_PAUSES,
            queue,
            tenant: None,
            is_mixed: false,
            begun: Instant::now(),
            last_commit: writer.last_commit,
            commits: Vec::new(),
            versions: Vec::new(),
        }
    }

    /// The next batch, without waiting for callers that have not sent one. With at least two batches, the thread yields
    /// once, to let in callers that only wait for a CPU core: a commit costs more than the yield. With a crowd of one
    /// tenant, it naps as long as more batches arrive.
    fn arrived(&mut self) -> Option<(Tenant, Write)> {
        let at_once = self.first.take().or_else(|| self.queue.try_recv());
        if at_once.is_some() || self.commits.len() < 2 {
            return at_once;
        }
        if self.is_mixed || self.commits.len() >= self.expected {
            std::thread::yield_now();
            return self.queue.try_recv();
        }
        for _ in 0..EMPTY_NAPS.min(self.naps) {
            std::thread::sleep(NAP);
            self.naps -= 1;
            if let Some(after_a_nap) = self.queue.try_recv() {
                return Some(after_a_nap);
            }
        }
        self.naps = 0;
        None
    }

    fn is_complete(&self) -> bool {
        let enough = if self.is_mixed { MIXED_GROUP } else { GROUP };
        let so_many = self.commits.len();
        so_many >= GROUP || so_many >= enough && self.begun.elapsed() >= self.last_commit
    }
}

impl Iterator for Arrivals<'_> {
    type Item = Batch;

    fn next(&mut self) -> Option<Batch> {
        while !self.is_complete() {
            match self.arrived()? {
                (_, Write::Commit(_, reply, until)) if until <= Instant::now() => {
                    let _ = reply.send(Err(Fault::because(Trouble::Silent, "the database was busy for too long")));
                }
                (tenant, Write::Commit(batch, reply, _)) => {
                    self.is_mixed |= self.tenant.replace(tenant).is_some_and(|before| before != tenant);
                    self.commits.push(reply);
                    return Some(batch);
                }
                (_, Write::Version(reply)) => self.versions.push(reply),
            }
        }
        None
    }
}

pub(super) struct Writer {
    connected: SqliteConnection,
    file: Arc<OpenFile>,
    commits: Arc<CommitFigures>,
    seen: i64,
    /// Number of batches in each of the last two groups.
    last_groups: [usize; 2],
    /// Duration of the last `COMMIT`, without the batches.
    last_commit: Duration,
}

impl Writer {
    pub(super) fn open(path: &Path, file: Arc<OpenFile>, commits: Arc<CommitFigures>) -> Result<Self, Fault> {
        let connected = SqliteConnection::open(path, Access::Write)?;
        let mut writer = Self { connected, file, commits, seen: 0, last_groups: [0; 2], last_commit: Duration::ZERO };
        writer.changed_elsewhere()?;
        Ok(writer)
    }

    /// Works until the queue is closed and empty.
    pub(super) fn serve(mut self, queue: &FairReceiver<Tenant, Write>) {
        while let Some(first) = queue.recv() {
            self.serve_group(first, queue);
        }
        if let Err(fault) = self.connected.control("PRAGMA wal_checkpoint(TRUNCATE)") {
            tracing::warn!(error = &fault as &dyn std::error::Error, "the last checkpoint is left to the next start");
        }
    }

    /// The batches that make a group worth its commit. A caller that sends its next batch when answered is in one of
    /// two successive groups.
    fn expected(&self) -> usize {
        let callers = self.last_groups[0] + self.last_groups[1];
        if callers > CROWD { callers * 3 / 4 } else { 0 }
    }

    /// Applies batches until none waits, commits them together, and answers all callers.
    fn serve_group(&mut self, first: (Tenant, Write), queue: &FairReceiver<Tenant, Write>) {
        let mut arrivals = Arrivals::new(first, queue, self);
        let answers = survive(|| self.commit(&mut arrivals));
        if answers.is_err() {
            self.abandon();
        }
        self.last_groups = [arrivals.commits.len(), self.last_groups[0]];
        for (position, reply) in arrivals.commits.into_iter().enumerate() {
            let answer = match &answers {
                Ok(answers) => answers[position].clone(),
                Err(fault) => Err(fault.clone()),
            };
            // The work is done whether or not its caller still waits, here and below.
            let _ = reply.send(answer);
        }
        for reply in arrivals.versions {
            let _ = reply.send(survive(|| self.changed_elsewhere()));
        }
    }

    /// One transaction, with a savepoint per batch. An error here is the answer to all batches.
    fn commit(&mut self, arrivals: &mut Arrivals<'_>) -> Result<Vec<Result<CommitOutcome, Fault>>, Fault> {
        let begun = Instant::now();
        let mut answers = Vec::new();
        let mut next = arrivals.next();
        if next.is_some() {
            self.connected.control("BEGIN IMMEDIATE")?;
        }
        while let Some(batch) = next {
            answers.push(self.savepoint(&batch)?);
            next = arrivals.next();
        }
        let committed = answers.iter().filter(|answer| matches!(answer, Ok(CommitOutcome::Committed))).count();
        if committed > 0 {
            self.file.look()?;
            let made = Instant::now();
            self.connected.control("COMMIT")?;
            self.last_commit = made.elapsed();
            self.commits.add(committed as u64, begun.elapsed());
        } else if !answers.is_empty() {
            self.connected.control("ROLLBACK")?;
        }
        Ok(answers)
    }

    fn savepoint(&mut self, batch: &Batch) -> Result<Result<CommitOutcome, Fault>, Fault> {
        self.connected.control("SAVEPOINT batch")?;
        let answer = self.apply(&batch.statements);
        if let Err(fault) = &answer
            && self.ends_the_transaction(fault)
        {
            return answer.map(Ok);
        }
        if !matches!(answer, Ok(CommitOutcome::Committed)) {
            self.connected.control("ROLLBACK TO batch")?;
        }
        self.connected.control("RELEASE batch")?;
        Ok(answer)
    }

    fn apply(&mut self, statements: &[Statement]) -> Result<CommitOutcome, Fault> {
        for (index, Statement { sql, params, expected }) in statements.iter().enumerate() {
            let touched = self.connected.run(sql, params, |_| Ok(()))?;
            if expected.is_some_and(|expected| expected != touched) {
                return Ok(CommitOutcome::GuardFailed { statement: index });
            }
        }
        Ok(CommitOutcome::Committed)
    }

    /// Whether SQLite has undone, or may have undone, more than the statement with the fault.
    fn ends_the_transaction(&self, fault: &Fault) -> bool {
        use ErrorCode::{
            DatabaseBusy, DatabaseCorrupt, DatabaseLocked, DiskFull, NotADatabase, OperationInterrupted, OutOfMemory,
            SystemIoFailure,
        };
        !self.connected.in_transaction()
            || matches!(
                code(fault),
                Some(
                    DatabaseBusy
                        | DatabaseCorrupt
                        | DatabaseLocked
                        | DiskFull
                        | NotADatabase
                        | OperationInterrupted
                        | OutOfMemory
                        | SystemIoFailure
                )
            )
    }

    /// Leaves no transaction open. If that fails too, the next group meets a fault and comes here again.
    fn abandon(&mut self) {
        if self.connected.in_transaction()
            && let Err(fault) = self.connected.control("ROLLBACK")
        {
            tracing::error!(error = &fault as &dyn std::error::Error, "rolling back a group of batches");
        }
    }

    fn changed_elsewhere(&mut self) -> Result<bool, Fault> {
        self.file.look()?;
        let mut version = self.seen;
        self.connected.run(&Sql(Cow::Borrowed("PRAGMA data_version")), &[], |row| {
            version = row.get(0).map_err(fault)?;
            Ok(())
        })?;
        Ok(std::mem::replace(&mut self.seen, version) != version)
    }
}
