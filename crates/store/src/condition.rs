//! Health of a database, observed from its own work: a readiness check sends no query, but reads the results of earlier
//! commits and queries.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::{Fault, Trouble};

/// Pending operations are stuck if none of them ends for this long.
const STUCK: Duration = Duration::from_secs(2);

/// A success ends a problem only if nothing failed for this long: a commit that writes nothing succeeds on a full disk too.
const PERSISTS: Duration = Duration::from_secs(1);

/// Health of one kind of operation: commits or queries.
pub struct OperationHealth {
    born: Instant,
    /// Time of the newest success, and the last time that no operation was pending; in milliseconds.
    well: AtomicU64,
    busy_since: AtomicU64,
    under_way: AtomicU64,
    ill: Mutex<Option<Failures>>,
}

/// Failures of the database, one after another.
#[derive(Clone, Copy)]
struct Failures {
    /// Of the newest.
    trouble: Trouble,
    first: Instant,
    newest: Instant,
    /// Something succeeded after the newest.
    is_followed_by_success: bool,
}

impl Failures {
    fn last_until(&self, now: Instant) -> bool {
        !self.is_followed_by_success || now.duration_since(self.newest) < PERSISTS
    }
}

/// A problem that keeps a database from working, and its duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outage {
    pub trouble: Trouble,
    pub span: Duration,
}

impl Default for OperationHealth {
    fn default() -> Self {
        Self {
            born: Instant::now(),
            well: AtomicU64::new(0),
            busy_since: AtomicU64::new(0),
            under_way: AtomicU64::new(0),
            ill: Mutex::default(),
        }
    }
}

/// A pending operation.
pub(crate) struct TrackedOperation<'a>(&'a OperationHealth);

impl Drop for TrackedOperation<'_> {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::AcqRel);
    }
}

impl OperationHealth {
    pub(crate) fn begin(&self) -> TrackedOperation<'_> {
        self.begin_at(Instant::now())
    }

    fn begin_at(&self, now: Instant) -> TrackedOperation<'_> {
        if self.under_way.fetch_add(1, Ordering::AcqRel) == 0 {
            self.busy_since.store(self.millis(now), Ordering::Release);
        }
        TrackedOperation(self)
    }

    pub(crate) fn note<T>(&self, answer: &Result<T, Fault>) {
        self.note_at(answer, Instant::now());
    }

    fn note_at<T>(&self, answer: &Result<T, Fault>, now: Instant) {
        match answer {
            Ok(_) => {
                self.well.store(self.millis(now), Ordering::Release);
                if let Some(failures) = self.ill().as_mut() {
                    failures.is_followed_by_success = true;
                }
            }
            Err(fault) if fault.trouble().is_of_the_database() => {
                let mut ill = self.ill();
                let first = ill.filter(|failures| failures.last_until(now)).map_or(now, |failures| failures.first);
                let trouble = fault.trouble();
                *ill = Some(Failures { trouble, first, newest: now, is_followed_by_success: false });
            }
            Err(_) => {}
        }
    }

    /// The current problem: the newest fault, until an operation succeeded and a second passed without another fault; or
    /// operations that do not end.
    pub fn ailment(&self) -> Option<Outage> {
        self.ailment_at(Instant::now())
    }

    fn ailment_at(&self, now: Instant) -> Option<Outage> {
        if let Some(failures) = self.ill().filter(|failures| failures.last_until(now)) {
            return Some(Outage { trouble: failures.trouble, span: now.duration_since(failures.first) });
        }
        let moved = self.well.load(Ordering::Acquire).max(self.busy_since.load(Ordering::Acquire));
        let span = Duration::from_millis(self.millis(now).saturating_sub(moved));
        let is_stuck = self.under_way.load(Ordering::Acquire) > 0 && span > STUCK;
        is_stuck.then_some(Outage { trouble: Trouble::Silent, span })
    }

    /// Time since the last success, or since the database was opened.
    pub fn age(&self) -> Duration {
        Duration::from_millis(self.millis(Instant::now()).saturating_sub(self.well.load(Ordering::Acquire)))
    }

    fn millis(&self, at: Instant) -> u64 {
        u64::try_from(at.duration_since(self.born).as_millis()).unwrap_or(u64::MAX)
    }

    fn ill(&self) -> MutexGuard<'_, Option<Failures>> {
        self.ill.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_of_the_database_shows_until_something_succeeds() {
        let condition = OperationHealth::default();
        let at = |seconds| condition.born + Duration::from_secs(seconds);
        let failed = |trouble| Err::<(), _>(Fault::because(trouble, "on purpose"));
        assert_eq!(condition.ailment_at(at(1)), None);
        condition.note_at(&failed(Trouble::Full), at(2));
        condition.note_at(&failed(Trouble::Disk), at(4));
        let ailment = Outage { trouble: Trouble::Disk, span: Duration::from_secs(3) };
        assert_eq!(condition.ailment_at(at(5)), Some(ailment), "the newest cause, since the first fault");
        condition.note_at(&Ok(()), at(6));
        assert_eq!(condition.ailment_at(at(7)), None);
        for passing in [Trouble::Crowded, Trouble::Passing, Trouble::Defect] {
            condition.note_at(&failed(passing), at(8));
            assert_eq!(condition.ailment_at(at(9)), None, "{passing:?} is a matter of one request");
        }
    }

    #[test]
    fn successes_between_failures_do_not_end_the_problem() {
        let condition = OperationHealth::default();
        let at = |millis| condition.born + Duration::from_millis(millis);
        for start in [1000, 1400, 1800] {
            condition.note_at(&Err::<(), _>(Fault::because(Trouble::Full, "on purpose")), at(start));
            condition.note_at(&Ok(()), at(start + 200));
        }
        let outage = Outage { trouble: Trouble::Full, span: Duration::from_millis(1100) };
        assert_eq!(condition.ailment_at(at(2100)), Some(outage), "since the first of them");
        assert_eq!(condition.ailment_at(at(2800)), None, "a second after the last");
        condition.note_at(&Err::<(), _>(Fault::because(Trouble::Full, "on purpose")), at(5000));
        let outage = Outage { trouble: Trouble::Full, span: Duration::from_millis(500) };
        assert_eq!(condition.ailment_at(at(5500)), Some(outage), "another problem");
    }

    #[test]
    fn work_that_does_not_end_shows_and_idleness_does_not() {
        let condition = OperationHealth::default();
        let at = |seconds| condition.born + Duration::from_secs(seconds);
        assert_eq!(condition.ailment_at(at(60)), None, "idle");
        let work = condition.begin_at(at(60));
        assert_eq!(condition.ailment_at(at(62)), None, "slow");
        let ailment = Outage { trouble: Trouble::Silent, span: Duration::from_secs(3) };
        assert_eq!(condition.ailment_at(at(63)), Some(ailment));
        let _other = condition.begin_at(at(63));
        condition.note_at(&Ok(()), at(64));
        drop(work);
        assert_eq!(condition.ailment_at(at(65)), None, "something ended");
        assert!(condition.ailment_at(at(67)).is_some(), "the other does not");
    }
}
