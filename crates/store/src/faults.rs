//! Faults on purpose. Only tests and the benchmark make a [`FaultInjector`]; the product opens its databases without one.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;

use crate::Fault;

/// What a database is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    Commit,
    Read,
}

/// How an operation fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FaultMoment {
    /// The database never sees it.
    Before,
    /// The database does it, and the caller gets a fault.
    After,
    /// The database does it, and the answer is withheld until the injector is disarmed: time for the caller to go away.
    Unanswered,
}

/// The `nth` commit or read after arming fails; the first is 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct InjectedFault {
    pub operation: Operation,
    pub nth: u64,
    pub moment: FaultMoment,
}

/// What went through the database since the injector was armed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    pub commits: u64,
    pub reads: u64,
    /// Faults that were due and happened.
    pub faults: u64,
}

/// Counts the operations of the [`Database`](crate::Database) handles that carry it, and fails the chosen ones.
pub struct FaultInjector {
    commits: AtomicU64,
    reads: AtomicU64,
    faults: AtomicU64,
    armed: Mutex<Vec<InjectedFault>>,
    withholds: watch::Sender<bool>,
}

impl Default for FaultInjector {
    fn default() -> Self {
        Self {
            commits: AtomicU64::new(0),
            reads: AtomicU64::new(0),
            faults: AtomicU64::new(0),
            armed: Mutex::default(),
            withholds: watch::Sender::new(false),
        }
    }
}

impl FaultInjector {
    /// Counts from zero, and fails these operations; without any, it only counts.
    pub fn arm(&self, faults: impl Into<Vec<InjectedFault>>) {
        *self.armed.lock().expect("no holder of this lock panics") = faults.into();
        for counter in [&self.commits, &self.reads, &self.faults] {
            counter.store(0, Ordering::SeqCst);
        }
    }

    /// Nothing fails any more, and withheld answers are given.
    pub fn disarm(&self) -> Counted {
        self.armed.lock().expect("no holder of this lock panics").clear();
        self.withholds.send_replace(false);
        let read = |counter: &AtomicU64| counter.load(Ordering::SeqCst);
        Counted { commits: read(&self.commits), reads: read(&self.reads), faults: read(&self.faults) }
    }

    /// Returns as soon as an answer is withheld.
    pub async fn withholds(&self) {
        let mut withholds = self.withholds.subscribe();
        let _sender_lives_as_long_as_self = withholds.wait_for(|withholds| *withholds).await;
    }

    /// What is due for the operation that begins now.
    fn next(&self, operation: Operation) -> Option<FaultMoment> {
        let counter = match operation {
            Operation::Commit => &self.commits,
            Operation::Read => &self.reads,
        };
        let nth = counter.fetch_add(1, Ordering::SeqCst) + 1;
        let armed = self.armed.lock().expect("no holder of this lock panics");
        let due = armed.iter().find(|fault| fault.operation == operation && fault.nth == nth)?;
        self.faults.fetch_add(1, Ordering::SeqCst);
        Some(due.moment)
    }

    pub(crate) async fn run<T>(
        &self,
        operation: Operation,
        work: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, Fault> {
        match self.next(operation) {
            None => work.await,
            Some(FaultMoment::Before) => Err(Fault::unavailable("a fault on purpose, before the database")),
            Some(FaultMoment::After) => {
                work.await.and(Err(Fault::unavailable("a fault on purpose, after the database")))
            }
            Some(FaultMoment::Unanswered) => {
                let answer = work.await;
                let mut released = self.withholds.subscribe();
                self.withholds.send_replace(true);
                let _sender_lives_as_long_as_self = released.wait_for(|withholds| !withholds).await;
                answer
            }
        }
    }
}
