//! Queues for the writers of one aggregate on this node, ahead of the database's guards: callers with compatible writes
//! are all served, in the order of arrival. Writers of other nodes only meet the guards.

use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard};
use uuid::Uuid;

/// A fixed number, so that queues need no bookkeeping. Two aggregates may share a queue; they then wait for each other,
/// one commit at a time.
const QUEUES: usize = 256;

/// Maximum wait for a turn.
const MAX_WAIT: Duration = Duration::from_secs(10);

pub(super) struct WriteQueues(Vec<Mutex<()>>);

/// Held while a write is decided and committed.
pub(super) struct WriteTurn<'a> {
    _guard: MutexGuard<'a, ()>,
}

impl Default for WriteQueues {
    fn default() -> Self {
        Self(std::iter::repeat_with(Mutex::default).take(QUEUES).collect())
    }
}

impl WriteQueues {
    /// First come, first served (`tokio::sync::Mutex` is fair); `None` after [`MAX_WAIT`].
    pub(super) async fn turn(&self, root: Uuid) -> Option<WriteTurn<'_>> {
        self.turn_within(MAX_WAIT, root).await
    }

    async fn turn_within(&self, wait: Duration, root: Uuid) -> Option<WriteTurn<'_>> {
        let queue = usize::try_from(root.as_u128() % QUEUES as u128).expect("less than the number of queues");
        let guard = tokio::time::timeout(wait, self.0[queue].lock()).await.ok()?;
        Some(WriteTurn { _guard: guard })
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};

    use super::*;

    fn waits(turn: &mut (impl Future + Unpin)) -> bool {
        std::pin::Pin::new(turn).poll(&mut Context::from_waker(Waker::noop())).is_pending()
    }

    #[tokio::test]
    async fn one_writer_of_an_aggregate_at_a_time_in_the_order_they_came() {
        let (queues, root) = (WriteQueues::default(), Uuid::from_u128(7));
        let first = queues.turn(root).await.expect("nobody is before");
        let mut second = Box::pin(queues.turn(root));
        let mut third = Box::pin(queues.turn(root));
        assert!(waits(&mut second));
        assert!(waits(&mut third));
        assert!(queues.turn(Uuid::from_u128(8)).await.is_some(), "another aggregate waits for nobody");
        drop(first);
        assert!(waits(&mut third));
        let second = second.await.expect("its turn");
        assert!(waits(&mut third));
        drop(second);
        assert!(third.await.is_some());
    }

    #[tokio::test]
    async fn a_caller_waits_so_long_and_no_longer() {
        let queues = WriteQueues::default();
        let _held = queues.turn(Uuid::nil()).await;
        assert!(queues.turn_within(Duration::from_millis(1), Uuid::nil()).await.is_none());
    }
}
