//! Sessions with calls that are not written yet.

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::Mutex;
use tokio::sync::MutexGuard;

use crate::memory::live_sessions::LiveSession;

/// Timers written in one batch at most.
const AT_ONCE: usize = 500;

#[derive(Default)]
pub(crate) struct UnwrittenSessions {
    /// The longest waiting first.
    queue: Mutex<VecDeque<Arc<LiveSession>>>,
    turn: tokio::sync::Mutex<()>,
}

impl UnwrittenSessions {
    pub(crate) fn add(&self, live: &Arc<LiveSession>) {
        if !live.waits.swap(true, Ordering::AcqRel) {
            self.queue.lock().push_back(Arc::clone(live));
        }
    }

    /// Takes the longest waiting, at most so many. Only one caller writes at a time: a caller that has taken and
    /// written all of them knows that all are written.
    pub(crate) async fn take(&self, most: usize) -> WriteBatch<'_> {
        let turn = self.turn.lock().await;
        let mut queue = self.queue.lock();
        let some = queue.len().min(most);
        let mut left: Vec<_> = queue.drain(..some).collect();
        drop(queue);
        for live in &left {
            // Cleared before the unwritten values are read: a later call queues the session again.
            live.waits.swap(false, Ordering::AcqRel);
        }
        left.sort_unstable_by_key(|live| Reverse(live.id));
        WriteBatch { waiting: self, left, _turn: turn }
    }
}

/// Sessions being written. Those that were not written, because of a fault or because the writer was cancelled, are
/// queued again.
pub(crate) struct WriteBatch<'a> {
    waiting: &'a UnwrittenSessions,
    left: Vec<Arc<LiveSession>>,
    _turn: MutexGuard<'a, ()>,
}

impl WriteBatch<'_> {
    /// The sessions of the next batch, ordered by id, as on all nodes, so that batches do not wait for each other.
    pub(crate) fn next(&self) -> Option<Vec<Arc<LiveSession>>> {
        let batch: Vec<_> = self.left.iter().rev().take(AT_ONCE).cloned().collect();
        (!batch.is_empty()).then_some(batch)
    }

    /// The batch was committed.
    pub(crate) fn wrote(&mut self) {
        self.left.truncate(self.left.len().saturating_sub(AT_ONCE));
    }
}

impl Drop for WriteBatch<'_> {
    fn drop(&mut self) {
        for live in self.left.drain(..) {
            self.waiting.add(&live);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use model::seat::SlidingTimer;
    use model::{ApiSessionId, Timestamp, UserId};
    use uuid::Uuid;

    use super::super::CallingApplications;
    use super::*;

    fn session(number: u128) -> Arc<LiveSession> {
        Arc::new(LiveSession {
            id: ApiSessionId(Uuid::from_u128(number)),
            address: None,
            user: UserId(Uuid::nil()),
            timer: SlidingTimer::new(Timestamp(0), None),
            applications: Mutex::new(CallingApplications::default()),
            waits: AtomicBool::new(false),
        })
    }

    fn ids(taken: &WriteBatch<'_>) -> Vec<u128> {
        taken.next().unwrap_or_default().iter().map(|live| live.id.0.as_u128()).collect()
    }

    #[tokio::test]
    async fn those_that_have_waited_longest_are_written_first_and_each_once() {
        let waiting = UnwrittenSessions::default();
        for number in [5, 4, 9, 5, 1] {
            waiting.add(&session(number));
        }
        let again = session(7);
        waiting.add(&again);
        waiting.add(&again);
        let mut first = waiting.take(3).await;
        assert_eq!(ids(&first), [4, 5, 9], "in the order of their ids");
        first.wrote();
        assert_eq!(ids(&first), []);
        drop(first);
        assert_eq!(ids(&waiting.take(usize::MAX).await), [1, 5, 7]);
    }

    #[tokio::test]
    async fn what_was_not_written_down_waits_again() {
        let waiting = UnwrittenSessions::default();
        for number in 0..(AT_ONCE as u128 + 2) {
            waiting.add(&session(number));
        }
        let mut given_up = waiting.take(usize::MAX).await;
        given_up.wrote();
        drop(given_up);
        let left = [AT_ONCE as u128, AT_ONCE as u128 + 1];
        assert_eq!(ids(&waiting.take(usize::MAX).await), left, "a whole batch was written");
        assert_eq!(ids(&waiting.take(usize::MAX).await), left, "nobody wrote them");
    }

    #[tokio::test]
    async fn a_call_while_its_session_is_written_down_waits_again() {
        let (waiting, live) = (UnwrittenSessions::default(), session(1));
        waiting.add(&live);
        let mut taken = waiting.take(usize::MAX).await;
        waiting.add(&live);
        taken.wrote();
        drop(taken);
        assert_eq!(ids(&waiting.take(usize::MAX).await), [1]);
    }
}
