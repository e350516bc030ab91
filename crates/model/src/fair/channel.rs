//! A [`FairQueue`] between threads and tasks.

use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::fair::FairQueue;

/// Why an item was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendError {
    /// The key already has its share of the places.
    Full,
    /// No receiver is left, or the channel was closed.
    Closed,
}

struct State<K, T> {
    queue: FairQueue<K, T>,
    receivers: usize,
    /// One message per waiting item. Receivers sleep on this channel. `None`: closed.
    arrivals: Option<flume::Sender<()>>,
}

type Shared<K, T> = Arc<Mutex<State<K, T>>>;

fn lock<K, T>(shared: &Shared<K, T>) -> MutexGuard<'_, State<K, T>> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The sending end. Closes the channel when dropped.
pub struct FairSender<K, T>(Shared<K, T>);

/// The receiving end: yields items in turn. Clones share the items.
pub struct FairReceiver<K, T> {
    shared: Shared<K, T>,
    arrivals: flume::Receiver<()>,
}

/// A channel with `max` places.
pub fn channel<K: Clone + Eq + Hash, T>(max: usize) -> (FairSender<K, T>, FairReceiver<K, T>) {
    // Unbounded, because its length is that of the bounded queue.
    let (arrivals, arriving) = flume::unbounded();
    let state = State { queue: FairQueue::new(max), receivers: 1, arrivals: Some(arrivals) };
    let shared = Arc::new(Mutex::new(state));
    (FairSender(Arc::clone(&shared)), FairReceiver { shared, arrivals: arriving })
}

impl<K: Clone + Eq + Hash, T> FairSender<K, T> {
    /// Never blocks.
    pub fn send(&self, key: K, item: T) -> Result<(), SendError> {
        let mut state = lock(&self.0);
        let Some(arrivals) = state.arrivals.clone() else { return Err(SendError::Closed) };
        state.queue.push(key, item).map_err(|_| SendError::Full)?;
        drop(state);
        // If the channel was closed meanwhile, the closing side still receives earlier items. Without receivers the
        // item is dropped with the queue.
        let _ = arrivals.send(());
        Ok(())
    }
}

impl<K, T> FairSender<K, T> {
    /// Number of waiting items.
    pub fn waiting(&self) -> usize {
        lock(&self.0).queue.len()
    }

    /// Stops accepting items. Receivers get the waiting items, then the end.
    pub fn close(&self) {
        lock(&self.0).arrivals = None;
    }
}

impl<K, T> Drop for FairSender<K, T> {
    fn drop(&mut self) {
        self.close();
    }
}

impl<K: Clone + Eq + Hash, T> FairReceiver<K, T> {
    /// Waits for the next item. `None`: the channel is closed and empty.
    pub fn recv(&self) -> Option<(K, T)> {
        self.arrivals.recv().ok()?;
        Some(self.arrived())
    }

    /// As [`Self::recv`]. Dropping the future loses no item.
    pub async fn recv_async(&self) -> Option<(K, T)> {
        self.arrivals.recv_async().await.ok()?;
        Some(self.arrived())
    }

    /// The next item, if one is waiting.
    pub fn try_recv(&self) -> Option<(K, T)> {
        self.arrivals.try_recv().ok()?;
        Some(self.arrived())
    }

    fn arrived(&self) -> (K, T) {
        lock(&self.shared).queue.pop().expect("an item arrived before its message")
    }
}

impl<K, T> Clone for FairReceiver<K, T> {
    fn clone(&self) -> Self {
        lock(&self.shared).receivers += 1;
        Self { shared: Arc::clone(&self.shared), arrivals: self.arrivals.clone() }
    }
}

impl<K, T> Drop for FairReceiver<K, T> {
    /// The last receiver drops the waiting items, so callers waiting for a reply learn that none will come.
    fn drop(&mut self) {
        let mut state = lock(&self.shared);
        state.receivers -= 1;
        if state.receivers == 0 {
            state.arrivals = None;
            let gone = std::mem::replace(&mut state.queue, FairQueue::new(0));
            drop(state);
            drop(gone);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn a_storm_leaves_others_their_places_and_their_turns() {
        let (sender, receiver) = channel(1000);
        let storm = (0..9999).take_while(|number| sender.send('a', *number).is_ok()).count();
        assert_eq!((storm, sender.waiting()), (1000, 1000));
        assert_eq!(sender.send('a', 0), Err(SendError::Full));
        assert_eq!(sender.send('b', 7), Ok(()), "with all places taken");
        assert_eq!(receiver.recv(), Some(('a', 0)));
        assert_eq!(receiver.try_recv(), Some(('b', 7)), "after one of the others");
    }

    #[test]
    fn what_waits_is_received_after_the_end_and_nothing_more_is_taken() {
        let (sender, receiver) = channel(4);
        sender.send((), 1).expect("a place");
        sender.send((), 2).expect("a place");
        sender.close();
        assert_eq!(sender.send((), 3), Err(SendError::Closed));
        let other = receiver.clone();
        assert_eq!(
            (receiver.recv(), other.recv(), other.try_recv(), receiver.recv()),
            (Some(((), 1)), Some(((), 2)), None, None)
        );
    }

    #[test]
    fn without_receivers_nothing_is_kept() {
        let (sender, receiver) = channel(4);
        let item = Arc::new(());
        sender.send((), Arc::clone(&item)).expect("a place");
        drop(receiver.clone());
        assert_eq!(Arc::strong_count(&item), 2, "one receiver is left");
        drop(receiver);
        assert_eq!(Arc::strong_count(&item), 1);
        assert_eq!(sender.send((), item), Err(SendError::Closed));
    }

    #[test]
    fn every_item_is_received_once_by_some_thread() {
        let (sender, receiver) = channel(10_000);
        let threads: Vec<_> = (0..3)
            .map(|_| {
                let receiver = receiver.clone();
                thread::spawn(move || std::iter::from_fn(|| receiver.recv()).map(|(_, item)| item).collect::<Vec<_>>())
            })
            .collect();
        for number in 0..1000 {
            sender.send(number % 7, number).expect("a place");
        }
        drop(sender);
        let mut all: Vec<i32> = threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect();
        all.sort_unstable();
        assert_eq!(all, (0..1000).collect::<Vec<_>>());
    }
}
