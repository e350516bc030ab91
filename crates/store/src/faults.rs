//! Fault injection. Only tests and the benchmark create a [`FaultInjector`]; the product opens its databases without
//! one.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;

use crate::Fault;

/// An operation of a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DatabaseOperation {
    Commit,
    Read,
}

/// When an operation fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FaultMoment {
    /// The operation never reaches the database.
    Before,
    /// The operation takes effect, and the caller gets a fault.
    After,
    /// The operation takes effect, and the answer is withheld until the injector is disarmed, so that the caller can go
    /// away.
    Unanswered,
}

/// Fails the `nth` commit or read after arming; the first is 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct InjectedFault {
    pub operation: DatabaseOperation,
    pub nth: u64,
    pub moment: FaultMoment,
}

/// Operations since the injector was armed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OperationCounts {
    pub commits: u64,
    pub reads: u64,
    /// Injected faults.
    pub faults: u64,
}

/// Counts the operations of the [`Database`](crate::Database) handles that carry it, and fails the selected ones.
pub struct FaultInjector {
    commits: AtomicU64,
    reads: AtomicU64,
    faults: AtomicU64,
    armed: Mutex<Vec<InjectedFault>>,
    answers: watch::Sender<Answers>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Answers {
    Given,
    /// Armed: the next unanswered operation withholds its answer.
    MayBeWithheld,
    Withheld,
}

impl Default for FaultInjector {
    fn default() -> Self {
        Self {
            commits: AtomicU64::new(0),
            reads: AtomicU64::new(0),
            faults: AtomicU64::new(0),
            armed: Mutex::default(),
            answers: watch::Sender::new(Answers::Given),
        }
    }
}

impl FaultInjector {
    /// Resets the counts, and fails these operations. Without any, it only counts.
    pub fn arm(&self, faults: impl Into<Vec<InjectedFault>>) {
        *self.armed.lock().expect("no holder of this lock panics") = faults.into();
        for counter in [&self.commits, &self.reads, &self.faults] {
            counter.store(0, Ordering::SeqCst);
        }
        self.answers.send_replace(Answers::MayBeWithheld);
    }

    /// Stops injecting faults, and releases withheld answers.
    pub fn disarm(&self) -> OperationCounts {
        self.armed.lock().expect("no holder of this lock panics").clear();
        self.answers.send_replace(Answers::Given);
        let read = |counter: &AtomicU64| counter.load(Ordering::SeqCst);
        OperationCounts { commits: read(&self.commits), reads: read(&self.reads), faults: read(&self.faults) }
    }

    /// Returns once an answer is withheld.
    pub async fn withholds(&self) {
        let mut answers = self.answers.subscribe();
        let _sender_lives_as_long_as_self = answers.wait_for(|answers| *answers == Answers::Withheld).await;
    }

    /// The fault due for the operation that begins now.
    fn next(&self, operation: DatabaseOperation) -> Option<FaultMoment> {
        let counter = match operation {
            DatabaseOperation::Commit => &self.commits,
            DatabaseOperation::Read => &self.reads,
        };
        let nth = counter.fetch_add(1, Ordering::SeqCst) + 1;
        let armed = self.armed.lock().expect("no holder of this lock panics");
        let due = armed.iter().find(|fault| fault.operation == operation && fault.nth == nth)?;
        self.faults.fetch_add(1, Ordering::SeqCst);
        Some(due.moment)
    }

    /// Waits until the injector is disarmed. Returns at once if it was disarmed while the database worked.
    async fn withhold(&self) {
        let mut answers = self.answers.subscribe();
        self.answers.send_if_modified(|answers| {
            let withholds = *answers == Answers::MayBeWithheld;
            if withholds {
                *answers = Answers::Withheld;
            }
            withholds
        });
        let _sender_lives_as_long_as_self = answers.wait_for(|answers| *answers != Answers::Withheld).await;
    }

    pub(crate) async fn run<T>(
        &self,
        operation: DatabaseOperation,
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
                self.withhold().await;
                answer
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(moment: FaultMoment) -> InjectedFault {
        InjectedFault { operation: DatabaseOperation::Read, nth: 2, moment }
    }

    #[tokio::test]
    async fn only_the_nth_operation_of_its_kind_fails_before_or_after_its_work() {
        for (moment, works) in [(FaultMoment::Before, 0), (FaultMoment::After, 1)] {
            let injector = FaultInjector::default();
            injector.arm([one(moment)]);
            assert!(injector.run(DatabaseOperation::Read, async { Ok(()) }).await.is_ok());
            assert!(injector.run(DatabaseOperation::Commit, async { Ok(()) }).await.is_ok());
            let mut worked = 0;
            let work = async {
                worked += 1;
                Ok(())
            };
            assert!(injector.run(DatabaseOperation::Read, work).await.is_err());
            assert_eq!(worked, works, "{moment:?}");
            assert!(injector.run(DatabaseOperation::Read, async { Ok(()) }).await.is_ok(), "once");
            assert_eq!(injector.disarm(), OperationCounts { commits: 1, reads: 3, faults: 1 });
        }
    }

    #[tokio::test]
    async fn an_answer_is_withheld_until_the_injector_is_disarmed() {
        let injector = FaultInjector::default();
        injector.arm([InjectedFault { nth: 1, ..one(FaultMoment::Unanswered) }]);
        let asking = injector.run(DatabaseOperation::Read, async { Ok(7) });
        let disarming = async {
            injector.withholds().await;
            injector.disarm()
        };
        let (answer, counted) = tokio::join!(asking, disarming);
        assert_eq!((answer.ok(), counted.faults), (Some(7), 1));
    }

    #[tokio::test]
    async fn nothing_is_withheld_for_ever_where_disarming_was_first() {
        let injector = FaultInjector::default();
        injector.arm([InjectedFault { nth: 1, ..one(FaultMoment::Unanswered) }]);
        let work = async {
            injector.disarm();
            Ok(7)
        };
        assert_eq!(injector.run(DatabaseOperation::Read, work).await.ok(), Some(7));
    }
}
