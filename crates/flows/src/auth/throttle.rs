//! Throttling of wrong passwords and codes: they cost growing time, and strangers' guesses have a ceiling
//! (`identity.md` §4.1).
//!
//! An attempt holds an [`AttemptPermit`] while it is compared, and becomes a failure only if it turns out wrong, so
//! that any number of right passwords at one moment are all accepted. An attempt without a permit waits for the
//! outcomes of those that hold one. Memory and waiting are bounded. A browser that was right before is counted
//! separately from strangers.

mod attempt;
mod history;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use model::fair::Shares;
use model::throttle::{GuessAdmission, Throttled};
use model::{InstanceId, Timestamp};
use parking_lot::Mutex;
use tokio::sync::oneshot;

pub(crate) use self::attempt::{
    AccountKey, CounterKey, FreeFailures, GuessedAccount, KnownClient, NetworkPrefix, SignInAttempt,
};
use self::attempt::{AttemptCounters, FailureCounter};
pub(crate) use self::history::FailureHistory;

/// How long an attempt waits for the outcomes of others.
const MAX_WAIT: Duration = Duration::from_secs(10);

/// Answer to an attempt that waited too long for others' outcomes, or that found too many waiting.
pub(crate) const COME_BACK: Throttled = Throttled::for_a_while(Duration::from_secs(1));

/// Attempts that wait: of all instances of a process, in fair shares; and for one counter or browser.
const MAX_WAITING: usize = 1024;
const MAX_WAITING_PER_NETWORK: usize = 256;
const MAX_WAITING_PER_ACCOUNT: usize = 32;
const MAX_WAITING_PER_TURN: usize = 32;

/// Minimum time of a turn for a network that has used up its free failures: four attempts a second.
const TURN: Duration = Duration::from_millis(250);

/// Leases that an instance takes within a second of this process: made-up logins must not cause a storm of writes.
const MAX_LEASES: u32 = 10;

pub(crate) struct Throttle {
    pub(crate) key: CounterKey,
    state: Mutex<ThrottleState>,
    instance: InstanceId,
    waiting: AttemptQueue,
    max_wait: Duration,
    turn: Duration,
}

/// Places for waiting attempts, shared by all instances of the process.
#[derive(Clone)]
pub(crate) struct AttemptQueue(Arc<Mutex<Shares<InstanceId>>>);

impl AttemptQueue {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(Shares::new(MAX_WAITING))))
    }

    fn take(&self, instance: InstanceId) -> Option<QueuedAttempt> {
        self.0.lock().take(instance).then(|| QueuedAttempt { places: self.clone(), instance })
    }
}

/// A place in the queue. Dropping it returns the place.
struct QueuedAttempt {
    places: AttemptQueue,
    instance: InstanceId,
}

impl Drop for QueuedAttempt {
    fn drop(&mut self) {
        self.places.0.lock().give_back(&self.instance);
    }
}

#[derive(Default)]
struct ThrottleState {
    history: FailureHistory,
    under_way: HashMap<FailureCounter, u32>,
    /// Accounts for which a lease is being taken.
    leasing: HashSet<GuessedAccount>,
    /// A second, and the leases taken in it.
    leases: (i64, u32),
    queue: VecDeque<WaitingAttempt>,
}

struct WaitingAttempt {
    attempt: SignInAttempt,
    /// When it arrived. A few seconds later it is still usable: it makes no wait shorter.
    now: Timestamp,
    free: FreeFailures,
    answer: oneshot::Sender<ThrottleDecision>,
}

/// Decision on an attempt.
pub(crate) enum ThrottleDecision {
    Place(AttemptPermit),
    Held(Throttled),
    /// This attempt must take a lease for its account, and enter again.
    Lease(LeaseRequest),
}

/// A decision of the state, before it is bound to an attempt.
#[derive(Clone, Copy)]
enum StateDecision {
    Place(AttemptCounters, bool),
    Held(Throttled),
    Lease(GuessedAccount),
}

/// An attempt under way. Dropping it returns the permit; without an outcome (a fault, a cancelled request) nothing is
/// counted.
#[must_use]
pub(crate) struct AttemptPermit {
    throttle: Arc<Throttle>,
    account: Option<GuessedAccount>,
    guess: Option<[u8; 16]>,
    network: IpAddr,
    counters: Box<AttemptCounters>,
    /// A network of the attempt has used up its free failures, so its turn takes a minimum time.
    is_noisy: bool,
    outcome: Option<AttemptOutcome>,
}

#[derive(Clone, Copy)]
enum AttemptOutcome {
    Wrong(Timestamp),
    Right,
}

impl AttemptPermit {
    /// Answers how many distinct failures strangers have had at the account recently.
    pub(crate) fn wrong(mut self, now: Timestamp) -> u32 {
        self.outcome = Some(AttemptOutcome::Wrong(now));
        let (throttle, account) = (Arc::clone(&self.throttle), self.account);
        drop(self);
        account.map_or(0, |account| throttle.state.lock().history.account(account).failures(now, account.ceiling()))
    }

    /// Resets the account's failures for this browser or network.
    pub(crate) fn right(mut self) {
        self.outcome = Some(AttemptOutcome::Right);
    }

    /// The network under which a stranger's password waits; `None` for a known browser, which does not wait for
    /// strangers.
    pub(crate) fn stranger(&self) -> Option<IpAddr> {
        let is_known = self.counters.iter().any(|counter| matches!(counter, FailureCounter::Known(_)));
        (!is_known).then_some(self.network)
    }
}

impl Drop for AttemptPermit {
    fn drop(&mut self) {
        self.throttle.leave(self);
    }
}

/// A lease that one attempt takes for all attempts at the account.
#[must_use]
pub(crate) struct LeaseRequest {
    throttle: Arc<Throttle>,
    pub(crate) account: GuessedAccount,
}

impl LeaseRequest {
    pub(crate) fn granted(self, now: Timestamp) {
        self.throttle.state.lock().history.change(self.account, |budget| budget.lease(now));
    }

    pub(crate) fn spent(self, until: Timestamp) {
        self.throttle.state.lock().history.change(self.account, |budget| budget.spent(until));
    }
}

impl Drop for LeaseRequest {
    fn drop(&mut self) {
        let decided = {
            let mut state = self.throttle.state.lock();
            state.leasing.remove(&self.account);
            state.decide()
        };
        self.throttle.answer(decided);
    }
}

impl ThrottleState {
    fn admit(&self, attempt: &SignInAttempt, now: Timestamp, free: FreeFailures) -> (AttemptCounters, GuessAdmission) {
        let counters = self.history.counters(attempt, now);
        let one = |counter: &FailureCounter| {
            let under_way = self.under_way.get(counter).copied().unwrap_or_default();
            self.history.admit(attempt, counter, now, free, under_way)
        };
        let admission = counters.iter().map(one).max().unwrap_or(GuessAdmission::Now);
        (counters, admission)
    }

    /// `None` if it has to wait.
    fn enter(&mut self, attempt: &SignInAttempt, now: Timestamp, free: FreeFailures) -> Option<StateDecision> {
        let (counters, admission) = self.admit(attempt, now, free);
        match (admission, attempt.account) {
            (GuessAdmission::Now, _) => {
                self.hold(&counters);
                Some(StateDecision::Place(counters, self.history.is_noisy(&counters, now, free)))
            }
            (GuessAdmission::Refused(held), _) => Some(StateDecision::Held(held)),
            (GuessAdmission::Lease, Some(account)) if !self.leasing.contains(&account) => {
                if self.leases.0 != now.seconds() {
                    self.leases = (now.seconds(), 0);
                }
                if self.leases.1 >= MAX_LEASES {
                    return Some(StateDecision::Held(COME_BACK));
                }
                self.leases.1 += 1;
                self.leasing.insert(account);
                Some(StateDecision::Lease(account))
            }
            (GuessAdmission::Lease | GuessAdmission::AfterOthers, _) => None,
        }
    }

    fn hold(&mut self, counters: &AttemptCounters) {
        for counter in counters.iter() {
            *self.under_way.entry(*counter).or_default() += 1;
        }
    }

    fn give_back<'a>(&mut self, counters: impl Iterator<Item = &'a FailureCounter>) {
        for counter in counters {
            let under_way = self.under_way.get_mut(counter).expect("a place was held");
            *under_way -= 1;
            if *under_way == 0 {
                self.under_way.remove(counter);
            }
        }
    }

    fn may_queue(&mut self, attempt: &SignInAttempt, now: Timestamp) -> bool {
        self.queue.retain(|waiting| !waiting.answer.is_closed());
        let counters: Vec<_> =
            self.queue.iter().map(|waiting| self.history.counters(&waiting.attempt, waiting.now)).collect();
        let before = |counter: &FailureCounter| {
            counters.iter().filter(|waiting| waiting.iter().any(|other| other == counter)).count()
        };
        let of_turn = self.queue.iter().filter(|waiting| waiting.attempt.turn == attempt.turn).count();
        of_turn < MAX_WAITING_PER_TURN
            && self.history.counters(attempt, now).iter().all(|counter| before(counter) < counter.max_waiting())
    }

    /// Accounts with fewer failures first; among these, one attempt of each browser before a second of any.
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

    /// Attempts whose wait is over, in queue order.
    fn decide(&mut self) -> Vec<(WaitingAttempt, StateDecision)> {
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
    pub(crate) fn new(instance: InstanceId, waiting: &AttemptQueue, key: &[u8; 32]) -> Arc<Self> {
        Arc::new(Self {
            key: CounterKey::new(key),
            state: Mutex::default(),
            instance,
            waiting: waiting.clone(),
            max_wait: MAX_WAIT,
            turn: TURN,
        })
    }

    /// A permit for an attempt, perhaps after those under way; or how long to stay away; or a lease to take first.
    pub(crate) async fn enter(
        self: &Arc<Self>,
        attempt: &SignInAttempt,
        now: Timestamp,
        free: FreeFailures,
    ) -> ThrottleDecision {
        let (_place_to_wait, outcome) = {
            let mut state = self.state.lock();
            if let Some(decided) = state.enter(attempt, now, free) {
                drop(state);
                return self.entered(attempt, decided);
            }
            let place = self.waiting.take(self.instance);
            let Some(place) = place.filter(|_| state.may_queue(attempt, now)) else {
                return ThrottleDecision::Held(COME_BACK);
            };
            let (answer, outcome) = oneshot::channel();
            state.queue.push_back(WaitingAttempt { attempt: attempt.clone(), now, free, answer });
            (place, outcome)
        };
        let outcome = tokio::time::timeout(self.max_wait, outcome).await;
        outcome.ok().and_then(Result::ok).unwrap_or(ThrottleDecision::Held(COME_BACK))
    }

    /// Why the next attempt would be refused; `None` if it would not. Counts nothing.
    pub(crate) fn held(&self, attempt: &SignInAttempt, now: Timestamp, free: FreeFailures) -> Option<Throttled> {
        let state = self.state.lock();
        let counters = state.history.counters(attempt, now);
        let refused = |counter: &FailureCounter| match state.history.admit(attempt, counter, now, free, 0) {
            GuessAdmission::Refused(held) => Some(held),
            GuessAdmission::Now | GuessAdmission::Lease | GuessAdmission::AfterOthers => None,
        };
        counters.iter().filter_map(refused).max()
    }

    /// Whether the user should be notified of an attack on the account: once a day for each process.
    pub(crate) fn tell(&self, account: GuessedAccount, now: Timestamp) -> bool {
        self.state.lock().history.change(account, |budget| budget.tell(now))
    }

    fn entered(self: &Arc<Self>, attempt: &SignInAttempt, decided: StateDecision) -> ThrottleDecision {
        match decided {
            StateDecision::Place(counters, is_noisy) => ThrottleDecision::Place(AttemptPermit {
                throttle: Arc::clone(self),
                account: attempt.account,
                guess: attempt.guess,
                network: attempt.narrow,
                counters: Box::new(counters),
                is_noisy,
                outcome: None,
            }),
            StateDecision::Held(held) => ThrottleDecision::Held(held),
            StateDecision::Lease(account) => {
                ThrottleDecision::Lease(LeaseRequest { throttle: Arc::clone(self), account })
            }
        }
    }

    fn answer(self: &Arc<Self>, decided: Vec<(WaitingAttempt, StateDecision)>) {
        for (waiting, decided) in decided {
            // If the caller was cancelled meanwhile, dropping the answer returns the permit or the lease.
            let _gone = waiting.answer.send(self.entered(&waiting.attempt, decided));
        }
    }

    fn leave(self: &Arc<Self>, place: &AttemptPermit) {
        let counters = *place.counters;
        let is_network = |counter: &&FailureCounter| matches!(counter, FailureCounter::Network(_));
        let runtime = tokio::runtime::Handle::try_current().ok().filter(|_| place.is_noisy);
        let decided = {
            let mut state = self.state.lock();
            match place.outcome {
                Some(AttemptOutcome::Wrong(now)) => state.history.add(&counters, place.guess, now),
                Some(AttemptOutcome::Right) => state.history.forgive(&counters),
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
