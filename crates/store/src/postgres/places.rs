//! Permits for limited resources, handed out fairly between tenants.

use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::fair::FairQueue;
use tokio::sync::{Notify, oneshot};

use crate::{Fault, Trouble};

/// A fixed number of permits. Waiting callers are served in turn by tenant, and first come, first served within a
/// tenant.
pub(super) struct FairPermits<K: Clone + Eq + Hash> {
    state: Mutex<State<K>>,
    /// Notified when no permit is held and no caller waits.
    empty: Notify,
}

struct State<K: Clone + Eq + Hash> {
    free: usize,
    held: usize,
    waiting: FairQueue<K, oneshot::Sender<FairPermit<K>>>,
    is_closed: bool,
}

/// Passes to the next waiting caller when dropped.
pub(super) struct FairPermit<K: Clone + Eq + Hash>(Option<Arc<FairPermits<K>>>);

impl<K: Clone + Eq + Hash> FairPermits<K> {
    pub(super) fn new(places: usize, waiting: usize) -> Arc<Self> {
        let state = State { free: places, held: 0, waiting: FairQueue::new(waiting), is_closed: false };
        Arc::new(Self { state: Mutex::new(state), empty: Notify::new() })
    }

    /// Joins the queue, or is refused at once if it is full. The future resolves when a permit is free.
    pub(super) fn enter(
        self: &Arc<Self>,
        tenant: K,
    ) -> Result<impl Future<Output = Result<FairPermit<K>, Fault>> + use<K>, Fault> {
        let (hand_over, place) = oneshot::channel();
        let mut state = self.state();
        if state.is_closed {
            return Err(Fault::unavailable("the database is closed"));
        }
        if state.free > 0 {
            state.free -= 1;
            state.held += 1;
            let _waits_here = hand_over.send(FairPermit(Some(Arc::clone(self))));
        } else {
            let refused = |_| Fault::because(Trouble::Crowded, "the queue of the database is full");
            state.waiting.push(tenant, hand_over).map_err(refused)?;
        }
        drop(state);
        Ok(async { place.await.map_err(|_| Fault::unavailable("the database is closed")) })
    }

    /// Refuses new callers. Returns when all earlier callers have dropped their permits.
    pub(super) async fn close(&self) {
        self.state().is_closed = true;
        loop {
            let emptied = self.empty.notified();
            if self.held_or_waiting() == 0 {
                return;
            }
            emptied.await;
        }
    }

    pub(super) fn held_or_waiting(&self) -> usize {
        let state = self.state();
        state.held + state.waiting.len()
    }

    fn state(&self) -> MutexGuard<'_, State<K>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Clone + Eq + Hash> Drop for FairPermit<K> {
    fn drop(&mut self) {
        let Some(places) = self.0.take() else { return };
        loop {
            let mut state = places.state();
            let Some((_, next)) = state.waiting.pop() else {
                state.free += 1;
                state.held -= 1;
                if state.held == 0 {
                    places.empty.notify_waiters();
                }
                return;
            };
            drop(state);
            match next.send(Self(Some(Arc::clone(&places)))) {
                Ok(()) => return,
                // The waiting caller has gone away: the permit passes to the next.
                Err(mut place) => place.0 = None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    type Entering = Pin<Box<dyn Future<Output = Result<FairPermit<char>, Fault>>>>;

    fn enter(places: &Arc<FairPermits<char>>, tenant: char) -> Entering {
        Box::pin(places.enter(tenant).expect("there is room to wait"))
    }

    fn place(entering: &mut Entering) -> Option<FairPermit<char>> {
        match entering.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(place) => Some(place.expect("not closed")),
            Poll::Pending => None,
        }
    }

    #[test]
    fn who_comes_into_a_storm_gets_the_next_place_or_the_one_after() {
        let places = FairPermits::new(16, 1000);
        let held: Vec<_> = (0..16).map(|_| place(&mut enter(&places, 'a')).expect("free")).collect();
        let mut storm: Vec<_> = (0..1000).map(|_| enter(&places, 'a')).collect();
        assert!(places.enter('a').is_err(), "all places to wait are taken");
        let mut other = enter(&places, 'b');
        assert_eq!(places.held_or_waiting(), 1017);
        let mut held = held.into_iter();
        drop(held.next());
        assert!(place(&mut other).is_none(), "the turn of who was first");
        drop(held.next());
        assert!(place(&mut other).is_some());
        let got = storm.iter_mut().filter_map(place).collect::<Vec<_>>();
        assert_eq!(got.len(), 2, "and what the other gave back");
        drop((held, got, storm));
        let state = places.state();
        assert_eq!((state.free, state.held, state.waiting.len()), (16, 0, 0));
    }

    #[test]
    fn who_goes_away_is_passed_over_and_keeps_no_place() {
        let places = FairPermits::new(1, 10);
        let only = place(&mut enter(&places, 'a')).expect("free");
        let (first, second, mut third) = (enter(&places, 'a'), enter(&places, 'a'), enter(&places, 'a'));
        drop(first);
        drop(only);
        assert!(place(&mut third).is_none(), "the place is the second's");
        drop(second);
        drop(place(&mut third).expect("nobody took it up"));
        assert_eq!(places.held_or_waiting(), 0);
    }

    #[tokio::test]
    async fn closing_waits_for_those_who_are_in_and_takes_nobody_more() {
        let places = FairPermits::new(1, 10);
        let only = place(&mut enter(&places, 'a')).expect("free");
        let mut waiting = enter(&places, 'b');
        let mut closing = Box::pin(places.close());
        let is_over = |closing: &mut Pin<Box<_>>| {
            Future::poll(Pin::as_mut(closing), &mut Context::from_waker(Waker::noop())).is_ready()
        };
        assert!(!is_over(&mut closing));
        assert!(places.enter('b').is_err());
        drop(only);
        assert!(!is_over(&mut closing), "who waited is in");
        drop(place(&mut waiting).expect("free"));
        assert!(is_over(&mut closing));
    }
}
