//! The thread that owns the writing connection: many callers' batches, one durable commit.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use flume::Receiver;
use rusqlite::ErrorCode;

use super::connection::{Access, Connected, code, fault};
use super::{Counters, Reply, Write, survive};
use crate::Fault;
use crate::batch::{Batch, Outcome, Sql, Statement};

/// Batches that share one commit at most.
const GROUP: usize = 256;

pub(super) struct Writer {
    connected: Connected,
    counters: Arc<Counters>,
    seen: i64,
}

impl Writer {
    pub(super) fn open(path: &Path, counters: Arc<Counters>) -> Result<Self, Fault> {
        let connected = Connected::open(path, Access::Write)?;
        let mut writer = Self { connected, counters, seen: 0 };
        writer.changed_elsewhere()?;
        Ok(writer)
    }

    /// Works until told to stop, or until nobody is left who could ask.
    pub(super) fn serve(mut self, queue: &Receiver<Write>) {
        while self.serve_group(queue) {}
        if let Err(fault) = self.connected.control("PRAGMA wal_checkpoint(TRUNCATE)") {
            tracing::warn!(error = &fault as &dyn std::error::Error, "the last checkpoint is left to the next start");
        }
    }

    /// Takes everything that waits, commits it at once, answers all. Whether to go on.
    fn serve_group(&mut self, queue: &Receiver<Write>) -> bool {
        let Ok(first) = queue.recv() else {
            return false;
        };
        let mut group = Vec::new();
        let mut go_on = true;
        for work in std::iter::once(first).chain(queue.try_iter()) {
            match work {
                Write::Commit(batch, reply) => group.push((batch, reply)),
                Write::Version(reply) => {
                    // A caller that has gone away needs no answer.
                    let _ = reply.send(survive(|| self.changed_elsewhere()));
                }
                Write::Stop => go_on = false,
            }
            if !go_on || group.len() == GROUP {
                break;
            }
        }
        self.answer(group);
        go_on
    }

    fn answer(&mut self, group: Vec<(Batch, Reply<Outcome>)>) {
        if group.is_empty() {
            return;
        }
        let (batches, replies): (Vec<_>, Vec<_>) = group.into_iter().unzip();
        let answers = survive(|| self.commit(&batches)).unwrap_or_else(|fault| {
            self.abandon();
            vec![Err(fault); batches.len()]
        });
        for (reply, answer) in replies.into_iter().zip(answers) {
            // The work is done whether or not somebody still waits for it.
            let _ = reply.send(answer);
        }
    }

    /// One transaction, a savepoint for each batch. An error here is everybody's.
    fn commit(&mut self, batches: &[Batch]) -> Result<Vec<Result<Outcome, Fault>>, Fault> {
        self.connected.control("BEGIN IMMEDIATE")?;
        let mut answers = Vec::with_capacity(batches.len());
        for batch in batches {
            answers.push(self.savepoint(batch)?);
        }
        let committed = answers.iter().filter(|answer| matches!(answer, Ok(Outcome::Committed))).count();
        if committed == 0 {
            self.connected.control("ROLLBACK")?;
            return Ok(answers);
        }
        self.connected.control("COMMIT")?;
        self.counters.commits.fetch_add(1, Ordering::Relaxed);
        self.counters.batches.fetch_add(committed as u64, Ordering::Relaxed);
        Ok(answers)
    }

    fn savepoint(&mut self, batch: &Batch) -> Result<Result<Outcome, Fault>, Fault> {
        self.connected.control("SAVEPOINT batch")?;
        let answer = self.apply(&batch.0);
        if let Err(fault) = &answer
            && self.ends_the_transaction(fault)
        {
            return answer.map(Ok);
        }
        if !matches!(answer, Ok(Outcome::Committed)) {
            self.connected.control("ROLLBACK TO batch")?;
        }
        self.connected.control("RELEASE batch")?;
        Ok(answer)
    }

    fn apply(&mut self, statements: &[Statement]) -> Result<Outcome, Fault> {
        for (index, Statement { sql, params, expected }) in statements.iter().enumerate() {
            let touched = self.connected.run(sql, params, |_| Ok(()))?;
            if expected.is_some_and(|expected| expected != touched) {
                return Ok(Outcome::GuardFailed { statement: index });
            }
        }
        Ok(Outcome::Committed)
    }

    /// Whether SQLite undid, or may have undone, more than the statement that met the fault.
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

    /// Leaves no transaction open. If even that fails, the next group's fault comes here again.
    fn abandon(&mut self) {
        if self.connected.in_transaction()
            && let Err(fault) = self.connected.control("ROLLBACK")
        {
            tracing::error!(error = &fault as &dyn std::error::Error, "rolling back a group of batches");
        }
    }

    fn changed_elsewhere(&mut self) -> Result<bool, Fault> {
        let mut version = self.seen;
        self.connected.run(&Sql(Cow::Borrowed("PRAGMA data_version")), &[], |row| {
            version = row.get(0).map_err(fault)?;
            Ok(())
        })?;
        Ok(std::mem::replace(&mut self.seen, version) != version)
    }
}
