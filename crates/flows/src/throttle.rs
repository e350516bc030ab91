//! Wrong passwords and codes cost growing time, and strangers' have a ceiling (`identity.md` §4.1).
//!
//! A try holds a [`Place`] while it is looked at, and becomes a failure only if it turns out wrong, so that any number of
//! right passwords at one moment are all right. A try without a place waits for the outcomes of those that hold one.
//! Memory and waiting are bounded. A browser that was right before is counted apart from strangers.

mod attempt;
mod history;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use model::fair::Shares;
use model::throttle::{Admission, Held};
use model::{InstanceId, Timestamp};
use parking_lot::Mutex;
use tokio::sync::oneshot;

pub(crate) use self::attempt::{Account, AccountKey, Attempt, FreeFailures, Known, Network, ProcessKey};
use self::attempt::{Counter, Counters};
pub(crate) use self::history::FailureHistory;

/// For the outcomes of others.
const MAX_WAIT: Duration = Duration::from_secs(10);

/// For a try whose outcome did not come in time, or that found too many waiting.
pub(crate) const COME_BACK: Held = Held::for_a_while(Duration::from_secs(1));

/// Tries that wait, of all instances of a process together in fair shares, and of one counter or browser.
const MAX_WAITING: usize = 1024;
const MAX_WAITING_PER_NETWORK: usize = 256;
const MAX_WAITING_PER_ACCOUNT: usize = 32;
const MAX_WAITING_PER_TURN: usize = 32;

/// How long a turn takes at least behind a network that has used up its free failures: four tries a second.
const TURN: Duration = Duration::from_millis(250);

/// Leases that an instance takes in a second of this process: made-up logins must not become a storm of writes.
const MAX_LEASES: u32 = 10;

pub(crate) struct Throttle {
    pub(crate) key: ProcessKey,
    state: Mutex<State>,
    instance: InstanceId,
    waiting: WaitingPlaces,
    max_wait: Duration,
    turn: Duration,
}

/// Places of tries that wait, shared by all instances of the process.
#[derive(Clone)]
pub(crate) struct WaitingPlaces(Arc<Mutex<Shares<InstanceId>>>);

impl WaitingPlaces {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(Shares::new(MAX_WAITING))))
    }

    fn take(&self, instance: InstanceId) -> Option<WaitingPlace> {
        self.0.lock().take(instance).then(|| WaitingPlace { places: self.clone(), instance })
    }
}

/// Given back when dropped.
struct WaitingPlace {
    places: WaitingPlaces,
    instance: InstanceId,
}

impl Drop for WaitingPlace {
    fn drop(&mut self) {
        self.places.0.lock().give_back(&self.instance);
    }
}

#[derive(Default)]
struct State {
    history: FailureHistory,
    under_way: HashMap<Counter, u32>,
    /// Accounts for which a lease is being taken.
    leasing: HashSet<Account>,
    /// Leases of a second.
    leases: (i64, u32),
    queue: VecDeque<Waiting>,
}

struct Waiting {
    attempt: Attempt,
    /// When it came. A few seconds later it is still good: it makes no wait shorter.
    now: Timestamp,
    free: FreeFailures,
    answer: oneshot::Sender<Entered>,
}

/// What became of a try at the door.
pub(crate) enum Entered {
    Place(Place),
    Held(Held),
    /// This try takes a lease for its account, and enters again.
    Lease(LeaseWanted),
}

/// What a state decides, before it is somebody's.
#[derive(Clone, Copy)]
enum Decided {
    Place(Counters, bool),
    Held(Held),
    Lease(Account),
}

/// A try under way. It is given back when dropped; without an outcome (a fault, a caller who hung up) nothing is counted.
#[must_use]
pub(crate) struct Place {
    throttle: Arc<Throttle>,
    account: Option<Account>,
    guess: Option<[u8; 16]>,
    network: IpAddr,
    counters: Box<Counters>,
    /// Its network has used up its free failures, so that its turn takes a while.
    is_noisy: bool,
    outcome: Option<Outcome>,
}

#[derive(Clone, Copy)]
enum Outcome {
    Wrong(Timestamp),
    Right,
}

impl Place {
    /// Answers how many distinct failures strangers have had at the account lately.
    pub(crate) fn wrong(mut self, now: Timestamp) -> u32 {
        self.outcome = Some(Outcome::Wrong(now));
        let (throttle, account) = (Arc::clone(&self.throttle), self.account);
        drop(self);
        account.map_or(0, |account| throttle.state.lock().history.account(account).failures(now, account.ceiling()))
    }

    /// The account begins anew for this browser or network.
    pub(crate) fn right(mut self) {
        self.outcome = Some(Outcome::Right);
    }

    /// The network in whose name it waits; none for a known browser, which waits for no stranger.
    pub(crate) fn stranger(&self) -> Option<IpAddr> {
        let is_known = self.counters.iter().any(|counter| matches!(counter, Counter::Known(_)));
        (!is_known).then_some(self.network)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.throttle.leave(self);
    }
}

/// A lease that one try of the account takes for all.
#[must_use]
pub(crate) struct LeaseWanted {
    throttle: Arc<Throttle>,
    pub(crate) account: Account,
}

impl LeaseWanted {
    pub(crate) fn granted(self, now: Timestamp) {
        self.throttle.state.lock().history.change(self.account, |budget| budget.lease(now));
    }

    pub(crate) fn spent(self, until: Timestamp) {
        self.throttle.state.lock().history.change(self.account, |budget| budget.spent(until));
    }
}

impl Drop for LeaseWanted {
    fn drop(&mut self) {
        let decided = {
            let mut state = self.throttle.state.lock();
            state.leasing.remove(&self.account);
            state.decide()
        };
        self.throttle.answer(decided);
    }
}

impl State {
    fn admit(&self, attempt: &Attempt, now: Timestamp, free: FreeFailures) -> (Counters, Admission) {
        let counters = self.history.counters(attempt, now);
        let one = |counter: &Counter| {
            let under_way = self.under_way.get(counter).copied().unwrap_or_default();
            self.history.admit(attempt, counter, (now, free), under_way)
        };
        let admission = counters.iter().map(one).max().unwrap_or(Admission::Now);
        (counters, admission)
    }

    /// `None`: it has to wait.
    fn enter(&mut self, attempt: &Attempt, now: Timestamp, free: FreeFailures) -> Option<Decided> {
        let (counters, admission) = self.admit(attempt, now, free);
        match (admission, attempt.account) {
            (Admission::Now, _) => {
                self.hold(&counters);
                Some(Decided::Place(counters, self.history.is_noisy(&counters, now, free)))
            }
            (Admission::Refused(held), _) => Some(Decided::Held(held)),
            (Admission::Lease, Some(account)) if !self.leasing.contains(&account) => {
                if self.leases.0 != now.seconds() {
                    self.leases = (now.seconds(), 0);
                }
                if self.leases.1 >= MAX_LEASES {
                    return Some(Decided::Held(COME_BACK));
                }
                self.leases.1 += 1;
                self.leasing.insert(account);
                Some(Decided::Lease(account))
            }
            (Admission::Lease | Admission::AfterOthers, _) => None,
        }
    }

    fn hold(&mut self, counters: &Counters) {
        for counter in counters.iter() {
            *self.under_way.entry(*counter).or_default() += 1;
        }
    }

    fn give_back<'a>(&mut self, counters: impl Iterator<Item = &'a Counter>) {
        for counter in counters {
            let under_way = self.under_way.get_mut(counter).expect("a place was held");
            *under_way -= 1;
            if *under_way == 0 {
                self.under_way.remove(counter);
            }
        }
    }

    fn may_queue(&mut self, attempt: &Attempt, now: Timestamp) -> bool {
        self.queue.retain(|waiting| !waiting.answer.is_closed());
        let counters: Vec<_> =
            self.queue.iter().map(|waiting| self.history.counters(&waiting.attempt, waiting.now)).collect();
        let before =
            |counter: &Counter| counters.iter().filter(|waiting| waiting.iter().any(|other| other == counter)).count();
        let of_turn = self.queue.iter().filter(|waiting| waiting.attempt.turn == attempt.turn).count();
        of_turn < MAX_WAITING_PER_TURN
            && self.history.counters(attempt, now).iter().all(|counter| before(counter) < counter.max_waiting())
    }

    /// Puts those first whose account has fewer failures, and of these one of each browser before another of any.
    fn order(&mut self) {
        let mut taken: HashMap<[u8; 16], u32> = HashMap::new();
        let mut queue: Vec<_> = std::mem::take(&mut self.queue)
            .into_iter()
            .map(|waiting| {
                let turn = taken.entry(waiting.attempt.turn).or_default();
                *turn += 1;
                ((self.history.failures(&waiting.attempt, waiting.now), *turn), waiting)
            })
            .collect();
        queue.sort_by_key(|(key, _)| *key);
        self.queue = queue.into_iter().map(|(_, waiting)| waiting).collect();
    }

    /// Whose wait is over, in their order.
    fn decide(&mut self) -> Vec<(Waiting, Decided)> {
        let mut decided = Vec::new();
        self.order();
        for waiting in std::mem::take(&mut self.queue) {
            if waiting.answer.is_closed() {
                continue;
            }
            match self.enter(&waiting.attempt, waiting.now, waiting.free) {
                Some(outcome) => decided.push((waiting, outcome)),
                None => self.queue.push_back(waiting),
            }
        }
        decided
    }
}

impl Throttle {
    pub(crate) fn new(instance: InstanceId, waiting: &WaitingPlaces, key: &[u8; 32]) -> Arc<Self> {
        Arc::new(Self {
            key: ProcessKey::new(key),
            state: Mutex::default(),
            instance,
            waiting: waiting.clone(),
            max_wait: MAX_WAIT,
            turn: TURN,
        })
    }

    /// A place for a try, perhaps after those under way; or how long to stay away; or a lease to take first.
    pub(crate) async fn enter(self: &Arc<Self>, attempt: &Attempt, now: Timestamp, free: FreeFailures) -> Entered {
        let (_place_to_wait, outcome) = {
            let mut state = self.state.lock();
            if let Some(decided) = state.enter(attempt, now, free) {
                drop(state);
                return self.entered(attempt, decided);
            }
            let place = self.waiting.take(self.instance);
            let Some(place) = place.filter(|_| state.may_queue(attempt, now)) else {
                return Entered::Held(COME_BACK);
            };
            let (answer, outcome) = oneshot::channel();
            state.queue.push_back(Waiting { attempt: attempt.clone(), now, free, answer });
            (place, outcome)
        };
        let outcome = tokio::time::timeout(self.max_wait, outcome).await;
        outcome.ok().and_then(Result::ok).unwrap_or(Entered::Held(COME_BACK))
    }

    /// Why the next try would be refused, if it would be. Counts nothing.
    pub(crate) fn held(&self, attempt: &Attempt, now: Timestamp, free: FreeFailures) -> Option<Held> {
        let state = self.state.lock();
        let counters = state.history.counters(attempt, now);
        let refused = |counter: &Counter| match state.history.admit(attempt, counter, (now, free), 0) {
            Admission::Refused(held) => Some(held),
            Admission::Now | Admission::Lease | Admission::AfterOthers => None,
        };
        counters.iter().filter_map(refused).max()
    }

    /// Whether somebody should be told that the account is attacked: once a day of this process.
    pub(crate) fn tell(&self, account: Account, now: Timestamp) -> bool {
        self.state.lock().history.change(account, |budget| budget.tell(now))
    }

    fn entered(self: &Arc<Self>, attempt: &Attempt, decided: Decided) -> Entered {
        match decided {
            Decided::Place(counters, is_noisy) => Entered::Place(Place {
                throttle: Arc::clone(self),
                account: attempt.account,
                guess: attempt.guess,
                network: attempt.narrow,
                counters: Box::new(counters),
                is_noisy,
                outcome: None,
            }),
            Decided::Held(held) => Entered::Held(held),
            Decided::Lease(account) => Entered::Lease(LeaseWanted { throttle: Arc::clone(self), account }),
        }
    }

    fn answer(self: &Arc<Self>, decided: Vec<(Waiting, Decided)>) {
        for (waiting, decided) in decided {
            // Whoever has gone away meanwhile gives the place, or the lease, back.
            let _gone = waiting.answer.send(self.entered(&waiting.attempt, decided));
        }
    }

    fn leave(self: &Arc<Self>, place: &Place) {
        let counters = *place.counters;
        let is_network = |counter: &&Counter| matches!(counter, Counter::Network(_));
        let runtime = tokio::runtime::Handle::try_current().ok().filter(|_| place.is_noisy);
        let decided = {
            let mut state = self.state.lock();
            match place.outcome {
                Some(Outcome::Wrong(now)) => state.history.add(&counters, place.guess, now),
                Some(Outcome::Right) => state.history.forgive(&counters),
                None => {}
            }
            state.give_back(counters.iter().filter(|counter| runtime.is_none() || !is_network(counter)));
            state.decide()
        };
        self.answer(decided);
        if let Some(runtime) = runtime {
            let throttle = Arc::clone(self);
            runtime.spawn(async move {
                tokio::time::sleep(throttle.turn).await;
                let decided = {
                    let mut state = throttle.state.lock();
                    state.give_back(counters.iter().filter(is_network));
                    state.decide()
                };
                throttle.answer(decided);
            });
        }
    }
}
