//! Health of the change feed: whether this node's memory may be believed, by when it last followed the database's feed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use model::seat::SLACK;
use parking_lot::Mutex;
use tokio::time::Instant;

/// A node that has not followed the feed for this long asks the database instead of its memory.
pub(crate) const FUSE: Duration = Duration::from_secs(2);

/// After a gap (the node or its database was away), a node waits this long before it takes other nodes' silence for the
/// end of a session: they still have calls to write.
const STEADY: Duration = Duration::from_secs(1);

/// Time of the last read of the feed, by a monotonic clock.
pub(crate) struct FeedHealth {
    /// No other process changes the database unseen.
    alone: bool,
    born: Instant,
    /// Milliseconds since `born`: when the newest read of the feed began, and when the current run of reads without a
    /// gap began.
    followed: AtomicU64,
    steady_since: AtomicU64,
    /// See [`store::Database::timeline`].
    timeline: Mutex<Option<String>>,
}

impl FeedHealth {
    pub(crate) fn new(alone: bool, timeline: Option<String>) -> Self {
        Self {
            alone,
            born: Instant::now(),
            followed: AtomicU64::new(0),
            steady_since: AtomicU64::new(0),
            timeline: Mutex::new(timeline),
        }
    }

    pub(crate) fn timeline(&self) -> Option<String> {
        self.timeline.lock().clone()
    }

    pub(crate) fn set_timeline(&self, found: String) {
        *self.timeline.lock() = Some(found);
    }

    fn millis(&self, at: Instant) -> u64 {
        u64::try_from(at.duration_since(self.born).as_millis()).unwrap_or(u64::MAX)
    }

    /// Memory has taken in everything committed before `begun`.
    pub(crate) fn followed(&self, begun: Instant) {
        let begun = self.millis(begun);
        let before = self.followed.swap(begun, Ordering::AcqRel);
        if begun.saturating_sub(before) >= millis(STEADY) {
            self.steady_since.store(begun, Ordering::Release);
        }
    }

    /// Time since memory last followed the feed; `None` if it need not.
    pub(crate) fn age(&self) -> Option<Duration> {
        (!self.alone).then(|| Duration::from_millis(self.behind(Instant::now())))
    }

    /// Whether memory may answer.
    pub(crate) fn memory_holds(&self) -> bool {
        self.alone || self.held(Instant::now())
    }

    /// For how long an idle timer that ran out in the database is not believed.
    pub(crate) fn slack(&self) -> Duration {
        if self.alone {
            Duration::ZERO
        } else if self.was_steady(Instant::now()) {
            SLACK
        } else {
            Duration::MAX
        }
    }

    fn held(&self, at: Instant) -> bool {
        self.behind(at) <= millis(FUSE)
    }

    /// Whether sessions may be closed because the database knows of no recent call.
    fn was_steady(&self, at: Instant) -> bool {
        let (followed, since) = (self.followed.load(Ordering::Acquire), self.steady_since.load(Ordering::Acquire));
        self.behind(at) < millis(STEADY) && followed.saturating_sub(since) >= millis(STEADY)
    }

    fn behind(&self, at: Instant) -> u64 {
        self.millis(at).saturating_sub(self.followed.load(Ordering::Acquire))
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(feed: &FeedHealth, millis: u64) -> Instant {
        feed.born + Duration::from_millis(millis)
    }

    #[test]
    fn memory_is_believed_for_two_seconds_after_the_feed_was_lost() {
        let feed = FeedHealth::new(false, None);
        feed.followed(after(&feed, 100));
        assert!(feed.held(after(&feed, 2100)));
        assert!(!feed.held(after(&feed, 2101)));
        feed.followed(after(&feed, 2200));
        assert!(feed.held(after(&feed, 2300)));
    }

    #[test]
    fn on_a_database_of_its_own_a_node_needs_no_feed() {
        let feed = FeedHealth { born: Instant::now() - 2 * FUSE, ..FeedHealth::new(true, None) };
        assert!(feed.memory_holds());
        assert_eq!(feed.slack(), Duration::ZERO);
        let feed = FeedHealth { born: Instant::now() - 2 * FUSE, ..FeedHealth::new(false, None) };
        assert!(!feed.memory_holds());
        assert_eq!(feed.slack(), Duration::MAX);
    }

    #[test]
    fn silence_means_nothing_until_the_feed_was_followed_for_a_while() {
        let feed = FeedHealth::new(false, None);
        let mut at = 0;
        let mut follow = || {
            for _ in 0..5 {
                assert!(!feed.was_steady(after(&feed, at)), "not for a second yet");
                at += 200;
                feed.followed(after(&feed, at));
            }
            assert!(feed.was_steady(after(&feed, at)));
            at += 1000;
            assert!(!feed.was_steady(after(&feed, at)), "it may be the database that is silent");
            feed.followed(after(&feed, at));
        };
        follow();
        follow();
    }
}
