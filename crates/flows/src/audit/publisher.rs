//! Publishes checkpoints outside of Gatehouse. Kept where Gatehouse cannot change them, they also reveal a chain that
//! was restored together with its recorded end.

use model::audit::chain::{Chain, SealHash};
use parking_lot::Mutex;
use tokio::sync::mpsc;

/// Checkpoints that may wait. More are dropped: each vouches for all before it, and sealing must not wait for a reader.
const MAX_WAITING: usize = 1024;

/// A checkpoint to be kept elsewhere.
#[derive(Clone, Debug)]
pub struct PublishedCheckpoint {
    /// The name of the instance.
    pub instance: String,
    pub chain: Chain,
    pub seal: i64,
    /// Hash of that seal.
    pub hash: SealHash,
    pub jws: String,
}

/// Queue of published checkpoints. A reader is optional.
#[derive(Default)]
pub(crate) struct CheckpointPublisher(Mutex<Option<mpsc::Sender<PublishedCheckpoint>>>);

impl CheckpointPublisher {
    pub(crate) fn open(&self) -> mpsc::Receiver<PublishedCheckpoint> {
        let (sender, waiting) = mpsc::channel(MAX_WAITING);
        *self.0.lock() = Some(sender);
        waiting
    }

    /// The reader sees the end once it has read all waiting checkpoints.
    pub(crate) fn close(&self) {
        self.0.lock().take();
    }

    pub(super) fn put(&self, checkpoint: PublishedCheckpoint) {
        let Some(sender) = &*self.0.lock() else { return };
        if let Err(mpsc::error::TrySendError::Full(lost)) = sender.try_send(checkpoint) {
            tracing::error!(
                instance = lost.instance,
                seal = lost.seal,
                "too many checkpoints wait: one is not published"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn checkpoints_wait_up_to_a_bound_and_only_for_a_reader() {
        let board = CheckpointPublisher::default();
        let checkpoint = |seal| {
            let (instance, jws) = (String::new(), String::new());
            PublishedCheckpoint { instance, chain: Chain::Main, seal, hash: SealHash::NONE, jws }
        };
        board.put(checkpoint(0));
        let mut read = board.open();
        for seal in 1..2000 {
            board.put(checkpoint(seal));
        }
        board.close();
        let mut seals = Vec::new();
        while let Some(checkpoint) = read.recv().await {
            seals.push(checkpoint.seal);
        }
        assert_eq!((seals.len(), seals[0]), (MAX_WAITING, 1));
    }
}
