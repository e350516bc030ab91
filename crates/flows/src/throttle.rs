//! Wrong passwords and codes cost growing time (`identity.md` §4).
//!
//! A try holds a [`Place`] while it is looked at, and becomes a failure only if it turns out wrong, so that any number of
//! right passwords at one moment are all right. Who finds no place waits for the outcomes of those who hold one, first
//! come first served. Memory and waiting are bounded.

#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use model::fair::Shares;
use model::throttle::{Admission, Failures};
use model::{InstanceId, InstanceSettings, Login, Timestamp, UserId};
use parking_lot::Mutex;
use quick_cache::unsync::Cache;
use tokio::sync::oneshot;

/// For the outcomes of others.
const MAX_WAIT: Duration = Duration::from_secs(10);

/// For whom no outcome came in time, or who found too many waiting.
const COME_BACK_IN: Duration = Duration::from_secs(1);

/// Tries that wait, of all instances of a process together in fair shares, and of one counter.
const MAX_WAITING: usize = 1024;
const MAX_WAITING_PER_NETWORK: usize = 256;
const MAX_WAITING_PER_ACCOUNT: usize = 32;

/// One person's IPv6 addresses are as many as they like, within a /64 (RFC 4291 §2.5.4).
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

/// What failures are counted by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Counter {
    /// By folded login and network: an attacker elsewhere must not hold the door against the person.
    Account(String, IpAddr),
    /// Codes of the second step, wherever they came from: whoever gets that far knows the password.
    SecondStep(UserId),
    Network(IpAddr),
}

impl Counter {
    const fn max_waiting(&self) -> usize {
        match self {
            Self::Account(..) | Self::SecondStep(_) => MAX_WAITING_PER_ACCOUNT,
            Self::Network(_) => MAX_WAITING_PER_NETWORK,
        }
    }
}

/// Failures that cost nothing yet, by the instance's settings.
#[derive(Clone, Copy)]
pub(crate) struct FreeFailures {
    account: u32,
    network: u32,
}

impl FreeFailures {
    pub(crate) fn of(settings: &InstanceSettings) -> Self {
        Self { account: settings.free_failures_per_account, network: settings.free_failures_per_address }
    }

    const fn by(self, counter: &Counter) -> u32 {
        match counter {
            Counter::Account(..) | Counter::SecondStep(_) => self.account,
            Counter::Network(_) => self.network,
        }
    }
}

/// What a try is counted under. What is no login is nobody's account, and not worth remembering.
pub(crate) struct Attempt {
    subject: Option<Counter>,
    network: Counter,
}

impl Attempt {
    pub(crate) fn by_login(login: Option<&Login>, address: IpAddr) -> Self {
        let network = network(address);
        let subject = login.map(|login| Counter::Account(login.folded(), network));
        Self { subject, network: Counter::Network(network) }
    }

    pub(crate) fn at_second_step(user: UserId, address: IpAddr) -> Self {
        Self { subject: Some(Counter::SecondStep(user)), network: Counter::Network(network(address)) }
    }

    fn counters(&self) -> impl Iterator<Item = &Counter> {
        self.subject.iter().chain([&self.network])
    }
}

/// Failures by counter. Bounded: the oldest give way, so that a storm of made-up logins does not fill the memory, and
/// no kind of counter drives out another.
pub(crate) struct FailureHistory {
    accounts: Cache<Counter, Failures>,
    second_steps: Cache<Counter, Failures>,
    networks: Cache<Counter, Failures>,
}

impl Default for FailureHistory {
    fn default() -> Self {
        const MAX_REMEMBERED: usize = 50_000;
        let [accounts, second_steps, networks] = std::array::from_fn(|_| Cache::new(MAX_REMEMBERED));
        Self { accounts, second_steps, networks }
    }
}

impl FailureHistory {
    fn cache(&mut self, counter: &Counter) -> &mut Cache<Counter, Failures> {
        match counter {
            Counter::Account(..) => &mut self.accounts,
            Counter::SecondStep(_) => &mut self.second_steps,
            Counter::Network(_) => &mut self.networks,
        }
    }

    fn of(&mut self, counter: &Counter) -> Failures {
        self.cache(counter).get(counter).copied().unwrap_or_default()
    }

    fn add(&mut self, attempt: &Attempt, now: Timestamp) {
        for counter in attempt.counters() {
            let mut failures = self.of(counter);
            failures.add(now);
            self.cache(counter).insert(counter.clone(), failures);
        }
    }

    fn forgive(&mut self, counter: &Counter) {
        self.cache(counter).remove(counter);
    }

    fn wait(&mut self, attempt: &Attempt, now: Timestamp, free: FreeFailures) -> Option<Duration> {
        attempt.counters().filter_map(|counter| self.of(counter).wait(now, free.by(counter))).max()
    }

    /// How long to wait, or it counts: for what costs something whether or not it is right.
    pub(crate) fn count(&mut self, attempt: &Attempt, now: Timestamp, free: FreeFailures) -> Option<Duration> {
        let wait = self.wait(attempt, now, free);
        if wait.is_none() {
            self.add(attempt, now);
        }
        wait
    }
}

pub(crate) struct Throttle {
    state: Mutex<State>,
    instance: InstanceId,
    waiting: WaitingPlaces,
    max_wait: Duration,
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
    queue: VecDeque<Waiting>,
}

struct Waiting {
    attempt: Attempt,
    /// When it came. A few seconds later it is still good: it makes no wait shorter.
    now: Timestamp,
    free: FreeFailures,
    answer: oneshot::Sender<Result<Place, Duration>>,
}

/// A try under way. It is given back when dropped; without an outcome (a fault, a caller who hung up) nothing is counted.
#[must_use]
pub(crate) struct Place {
    throttle: Arc<Throttle>,
    attempt: Attempt,
    outcome: Option<Outcome>,
}

#[derive(Clone, Copy)]
enum Outcome {
    Wrong(Timestamp),
    Right,
}

impl Place {
    pub(crate) fn wrong(mut self, now: Timestamp) {
        self.outcome = Some(Outcome::Wrong(now));
    }

    /// The account begins anew.
    pub(crate) fn right(mut self) {
        self.outcome = Some(Outcome::Right);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.throttle.leave(&self.attempt, self.outcome);
    }
}

impl State {
    fn admit(&mut self, attempt: &Attempt, now: Timestamp, free: FreeFailures) -> Admission {
        let one = |counter: &Counter| {
            let under_way = self.under_way.get(counter).copied().unwrap_or_default();
            self.history.of(counter).admit(now, free.by(counter), under_way)
        };
        attempt.counters().map(one).max().unwrap_or(Admission::Now)
    }

    fn hold(&mut self, attempt: &Attempt) {
        for counter in attempt.counters() {
            *self.under_way.entry(counter.clone()).or_default() += 1;
        }
    }

    fn give_back(&mut self, attempt: &Attempt) {
        for counter in attempt.counters() {
            let under_way = self.under_way.get_mut(counter).expect("a place was held");
            *under_way -= 1;
            if *under_way == 0 {
                self.under_way.remove(counter);
            }
        }
    }

    fn may_queue(&mut self, attempt: &Attempt) -> bool {
        self.queue.retain(|waiting| !waiting.answer.is_closed());
        let before = |counter| {
            self.queue.iter().filter(|waiting| waiting.attempt.counters().any(|other| other == counter)).count()
        };
        attempt.counters().all(|counter| before(counter) < counter.max_waiting())
    }

    /// Who waits no longer, the first first: with a place that is held now, or told how long to stay away.
    fn decide(&mut self) -> Vec<(Waiting, Option<Duration>)> {
        let mut decided = Vec::new();
        for waiting in std::mem::take(&mut self.queue) {
            if waiting.answer.is_closed() {
                continue;
            }
            match self.admit(&waiting.attempt, waiting.now, waiting.free) {
                Admission::Now => {
                    self.hold(&waiting.attempt);
                    decided.push((waiting, None));
                }
                Admission::AfterOthers => self.queue.push_back(waiting),
                Admission::Refused(wait) => decided.push((waiting, Some(wait))),
            }
        }
        decided
    }
}

impl Throttle {
    pub(crate) fn new(instance: InstanceId, waiting: &WaitingPlaces) -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), instance, waiting: waiting.clone(), max_wait: MAX_WAIT })
    }

    /// A place for a try, perhaps after those under way; or how long to stay away.
    pub(crate) async fn enter(
        self: &Arc<Self>,
        attempt: Attempt,
        now: Timestamp,
        free: FreeFailures,
    ) -> Result<Place, Duration> {
        let (_place_to_wait, outcome) = {
            let mut state = self.state.lock();
            match state.admit(&attempt, now, free) {
                Admission::Now => {
                    state.hold(&attempt);
                    return Ok(self.place(attempt));
                }
                Admission::Refused(wait) => return Err(wait),
                Admission::AfterOthers => {
                    let place = self.waiting.take(self.instance).ok_or(COME_BACK_IN)?;
                    if !state.may_queue(&attempt) {
                        return Err(COME_BACK_IN);
                    }
                    let (answer, outcome) = oneshot::channel();
                    state.queue.push_back(Waiting { attempt, now, free, answer });
                    (place, outcome)
                }
            }
        };
        let outcome = tokio::time::timeout(self.max_wait, outcome).await;
        outcome.ok().and_then(Result::ok).unwrap_or(Err(COME_BACK_IN))
    }

    /// How long the next try would have to stay away. Counts nothing.
    pub(crate) fn wait(&self, attempt: &Attempt, now: Timestamp, free: FreeFailures) -> Option<Duration> {
        self.state.lock().history.wait(attempt, now, free)
    }

    fn place(self: &Arc<Self>, attempt: Attempt) -> Place {
        Place { throttle: Arc::clone(self), attempt, outcome: None }
    }

    fn leave(self: &Arc<Self>, attempt: &Attempt, outcome: Option<Outcome>) {
        let decided = {
            let mut state = self.state.lock();
            state.give_back(attempt);
            match (outcome, &attempt.subject) {
                (Some(Outcome::Wrong(now)), _) => state.history.add(attempt, now),
                (Some(Outcome::Right), Some(subject)) => state.history.forgive(subject),
                (Some(Outcome::Right), None) | (None, _) => {}
            }
            state.decide()
        };
        for (Waiting { attempt, answer, .. }, wait) in decided {
            // Whoever has gone away meanwhile gives the place back.
            let _gone = answer.send(wait.map_or_else(|| Ok(self.place(attempt)), Err));
        }
    }
}
