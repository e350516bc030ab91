//! Wrong passwords cost growing time, never a lock-out that somebody could hold against a person (`identity.md` §4).

use std::time::Duration;

use crate::Timestamp;

/// Failures older than this are forgiven.
pub const WINDOW: Duration = Duration::from_mins(10);

const LONGEST: Duration = Duration::from_mins(1);

/// Whether a try may be looked at. Of several counters, the greatest counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Admission {
    Now,
    /// Tries under way hold all places: their outcomes decide.
    AfterOthers,
    Refused(Duration),
}

/// The failures of one account, or of one address.
#[derive(Clone, Copy, Debug, Default)]
pub struct Failures {
    count: u32,
    last: Timestamp,
}

impl Failures {
    /// How long to wait before the next try is looked at; `None` when it may go on at once. The delay starts at a second
    /// and doubles up to a minute.
    pub fn wait(&self, now: Timestamp, free: u32) -> Option<Duration> {
        if self.is_over(now) {
            return None;
        }
        let paid = self.count.checked_sub(free.max(1))?;
        let delay = Duration::from_secs(1 << paid.min(10)).min(LONGEST);
        delay.checked_sub(now.since(self.last)).filter(|wait| !wait.is_zero())
    }

    /// Whether one more try may be looked at beside those under way. Each of them may turn out wrong, so together with the
    /// failures they are never more than are free; after that, one at a time.
    pub fn admit(&self, now: Timestamp, free: u32, under_way: u32) -> Admission {
        let failures = if self.is_over(now) { 0 } else { self.count };
        let places = free.saturating_sub(failures).max(1);
        match self.wait(now, free) {
            Some(wait) if under_way == 0 => Admission::Refused(wait),
            None if under_way < places => Admission::Now,
            _ => Admission::AfterOthers,
        }
    }

    /// Tries end in another order than they began: the latest counts.
    pub fn add(&mut self, now: Timestamp) {
        if self.is_over(now) {
            *self = Self { count: 0, last: now };
        }
        self.count = self.count.saturating_add(1);
        self.last = self.last.max(now);
    }

    /// Nothing left to remember. A clock that stepped back forgives too: a wait must not outlast the clock.
    fn is_over(&self, now: Timestamp) -> bool {
        now.since(self.last) >= WINDOW || self.last.since(now) > LONGEST || self.count == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(failures: u32, free: u32, seconds: i64) -> Option<u64> {
        let mut history = Failures::default();
        for _ in 0..failures {
            history.add(Timestamp::from_seconds(1000));
        }
        history.wait(Timestamp::from_seconds(1000 + seconds), free).map(|wait| wait.as_secs())
    }

    #[test]
    fn the_first_failures_are_free_and_then_the_delay_doubles_to_a_minute() {
        assert_eq!(after(0, 5, 0), None);
        assert_eq!(after(4, 5, 0), None);
        assert_eq!(after(5, 5, 0), Some(1));
        assert_eq!(after(6, 5, 0), Some(2));
        assert_eq!(after(10, 5, 0), Some(32));
        assert_eq!(after(11, 5, 0), Some(60));
        assert_eq!(after(4_000_000, 5, 0), Some(60), "never a lock-out");
    }

    #[test]
    fn tries_under_way_and_failures_are_never_more_than_are_free() {
        let now = Timestamp::from_seconds(1000);
        for failures in 0..12 {
            let mut history = Failures::default();
            for _ in 0..failures {
                history.add(now);
            }
            let free = 5_u32.saturating_sub(failures);
            for under_way in 0..8 {
                let expected = match history.wait(now, 5) {
                    None if under_way < free => Admission::Now,
                    Some(wait) if under_way == 0 => Admission::Refused(wait),
                    _ => Admission::AfterOthers,
                };
                assert_eq!(history.admit(now, 5, under_way), expected, "{failures} {under_way}");
            }
            let later = now.plus(LONGEST);
            assert_eq!(history.admit(later, 5, free.max(1)), Admission::AfterOthers, "then one at a time");
            assert_eq!(history.admit(later, 5, free.max(1) - 1), Admission::Now);
            assert_eq!(history.admit(now.plus(WINDOW), 5, 4), Admission::Now, "ten minutes forgive");
        }
    }

    #[test]
    fn of_two_counters_the_stricter_decides() {
        let wait = |seconds| Admission::Refused(Duration::from_secs(seconds));
        assert!(Admission::Now < Admission::AfterOthers && Admission::AfterOthers < wait(0) && wait(1) < wait(2));
    }

    #[test]
    fn a_failure_that_is_told_late_shortens_no_wait() {
        let mut history = Failures::default();
        for seconds in [1000, 1000, 1000, 1000, 1009, 1000] {
            history.add(Timestamp::from_seconds(seconds));
        }
        assert_eq!(history.wait(Timestamp::from_seconds(1009), 5), Some(Duration::from_secs(2)));
    }

    #[test]
    fn a_clock_that_stepped_back_holds_nobody() {
        let mut history = Failures::default();
        for _ in 0..5 {
            history.add(Timestamp::from_seconds(1000));
        }
        assert!(history.wait(Timestamp::from_seconds(1000), 5).is_some());
        assert!(history.wait(Timestamp::from_seconds(900), 5).is_none());
    }

    #[test]
    fn waiting_pays_and_ten_quiet_minutes_forgive() {
        assert_eq!(after(8, 5, 7), Some(1));
        assert_eq!(after(8, 5, 8), None);
        assert_eq!(after(100, 5, 600), None);
    }
}
