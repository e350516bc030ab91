//! Timers of a live session on one node. A call updates memory only; updates are written in batches.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use crate::Timestamp;
use crate::seat::{FUTURE, IDLE, OwnSession, SERVICE_LIFETIME, ends_at};

/// No lifetime applies.
const NEVER: i64 = i64::MAX;

#[derive(Debug)]
pub struct SlidingTimer {
    last_call: AtomicI64,
    /// The last call written to the database.
    written: AtomicI64,
    final_end: AtomicI64,
    calls: AtomicU64,
    calls_written: AtomicU64,
}

/// An update to be written to the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extension {
    pub last_call: Timestamp,
    pub ends_at: Timestamp,
    /// Calls since the previous update.
    pub calls: u64,
}

impl SlidingTimer {
    /// The timer as read from the database.
    pub fn new(last_call: Timestamp, final_end: Option<Timestamp>) -> Self {
        Self {
            last_call: AtomicI64::new(last_call.0),
            written: AtomicI64::new(last_call.0),
            final_end: AtomicI64::new(final_end.map_or(NEVER, |end| end.0)),
            calls: AtomicU64::new(0),
            calls_written: AtomicU64::new(0),
        }
    }

    pub fn called(&self, now: Timestamp) {
        self.last_call.fetch_max(now.0, Ordering::Relaxed);
        self.calls.fetch_add(1, Ordering::Relaxed);
    }

    pub fn is_running(&self, now: Timestamp) -> bool {
        now < self.ends_at()
    }

    pub fn last_call(&self) -> Timestamp {
        Timestamp(self.last_call.load(Ordering::Relaxed))
    }

    pub fn ends_at(&self) -> Timestamp {
        ends_at(self.last_call(), Some(Timestamp(self.final_end.load(Ordering::Relaxed))))
    }

    /// Applies a later call that another node has written.
    pub fn learn(&self, row: OwnSession) {
        self.last_call.fetch_max(row.ends_at.minus(IDLE).0, Ordering::Relaxed);
    }

    /// Resets timers that start in the future, as earlier clock readings do after the clock was set back.
    pub fn mind_the_clock(&self, now: Timestamp) {
        if self.last_call() <= now.plus(FUTURE) {
            return;
        }
        self.last_call.fetch_min(now.0, Ordering::Relaxed);
        if self.final_end.load(Ordering::Relaxed) != NEVER {
            self.final_end.fetch_min(now.plus(SERVICE_LIFETIME).0, Ordering::Relaxed);
        }
    }

    pub fn unwritten(&self) -> Option<Extension> {
        let last_call = self.last_call();
        let calls = self.calls.load(Ordering::Relaxed).saturating_sub(self.calls_written.load(Ordering::Relaxed));
        let moved = last_call.0 != self.written.load(Ordering::Relaxed);
        (moved || calls > 0).then(|| Extension { last_call, ends_at: self.ends_at(), calls })
    }

    pub fn wrote(&self, extension: Extension) {
        self.written.store(extension.last_call.0, Ordering::Relaxed);
        self.calls_written.fetch_add(extension.calls, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minutes: i64) -> Timestamp {
        Timestamp::from_seconds(minutes * 60)
    }

    #[test]
    fn a_call_resets_the_idle_timer_and_not_the_lifetime() {
        let person = SlidingTimer::new(at(0), None);
        person.called(at(19));
        assert!(person.is_running(at(38)) && !person.is_running(at(39)));
        let service = SlidingTimer::new(at(0), Some(at(60)));
        service.called(at(59));
        assert!(service.is_running(Timestamp(at(60).0 - 1)) && !service.is_running(at(60)));
    }

    #[test]
    fn what_was_written_down_is_not_written_again() {
        let timer = SlidingTimer::new(at(0), None);
        assert_eq!(timer.unwritten(), None);
        timer.called(at(1));
        timer.called(at(2));
        let first = timer.unwritten().expect("called");
        assert_eq!(first, Extension { last_call: at(2), ends_at: at(22), calls: 2 });
        timer.called(at(3));
        timer.wrote(first);
        assert_eq!(timer.unwritten().map(|more| (more.last_call, more.calls)), Some((at(3), 1)));
    }

    #[test]
    fn a_clock_set_back_leaves_no_timer_in_the_future() {
        let service = SlidingTimer::new(at(600), Some(at(660)));
        service.mind_the_clock(at(600).minus(FUTURE));
        assert_eq!(service.last_call(), at(600), "only corrected");
        service.mind_the_clock(at(0));
        assert_eq!((service.last_call(), service.ends_at()), (at(0), at(20)));
        for minute in (0..60).step_by(10) {
            service.called(at(minute));
        }
        service.called(at(59));
        assert_eq!(service.ends_at(), at(60), "an hour by the clock that counts");
        assert!(service.unwritten().is_some());
    }

    #[test]
    fn a_later_call_on_another_node_counts() {
        let timer = SlidingTimer::new(at(0), None);
        timer.learn(OwnSession { ends_at: at(30), final_end: None });
        assert_eq!(timer.last_call(), at(10));
        timer.learn(OwnSession { ends_at: at(25), final_end: None });
        assert_eq!(timer.last_call(), at(10));
    }
}
