//! Wrong passwords cost growing time, never a lock-out that somebody could hold against a person (`identity.md` §4).

use std::time::Duration;

use crate::Timestamp;

/// Failures older than this are forgiven.
pub const WINDOW: Duration = Duration::from_mins(10);

const LONGEST: Duration = Duration::from_mins(1);

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

    /// Counts a try before it is looked at, so that many at once are as many.
    pub fn add(&mut self, now: Timestamp) {
        if self.is_over(now) {
            *self = Self { count: 0, last: now };
        }
        self.count = self.count.saturating_add(1);
        self.last = now;
    }

    /// The try turned out right.
    pub fn take_back(&mut self) {
        self.count = self.count.saturating_sub(1);
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
    fn a_right_password_costs_nothing_and_a_clock_that_stepped_back_holds_nobody() {
        let mut history = Failures::default();
        for _ in 0..5 {
            history.add(Timestamp::from_seconds(1000));
        }
        assert!(history.wait(Timestamp::from_seconds(1000), 5).is_some());
        assert!(history.wait(Timestamp::from_seconds(900), 5).is_none());
        history.take_back();
        assert!(history.wait(Timestamp::from_seconds(1000), 5).is_none());
    }

    #[test]
    fn waiting_pays_and_ten_quiet_minutes_forgive() {
        assert_eq!(after(8, 5, 7), Some(1));
        assert_eq!(after(8, 5, 8), None);
        assert_eq!(after(100, 5, 600), None);
    }
}
