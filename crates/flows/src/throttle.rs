//! Wrong passwords and codes cost growing time (`identity.md` §4).
//!
//! A try holds a [`Place`] while it is looked at, and becomes a failure only if it turns out wrong, so that any number of
//! right passwords at one moment are all right. Who finds no place waits for the outcomes of those who hold one, first
//! come first served. Memory and waiting are bounded.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use model::throttle::{Admission, Failures};
use model::{InstanceSettings, Login, Timestamp, UserId};
use parking_lot::Mutex;
use quick_cache::unsync::Cache;
use tokio::sync::{Semaphore, oneshot};

/// For the outcomes of others.
const MAX_WAIT: Duration = Duration::from_secs(10);

/// For whom no outcome came in time, or who found too many waiting.
const COME_BACK_IN: Duration = Duration::from_secs(1);

/// Tries that wait, of all instances of a process together, and of one counter.
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
    /// Shared by all instances of the process.
    waiting: Arc<Semaphore>,
    max_wait: Duration,
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
    pub(crate) fn new(waiting: &Arc<Semaphore>) -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), waiting: Arc::clone(waiting), max_wait: MAX_WAIT })
    }

    /// For [`Self::new`]: how many may wait in this process.
    pub(crate) fn waiting_places() -> Arc<Semaphore> {
        Arc::new(Semaphore::new(MAX_WAITING))
    }

    /// A place for a try, perhaps after those under way; or how long to stay away.
    pub(crate) async fn enter(
        self: &Arc<Self>,
        attempt: Attempt,
        now: Timestamp,
        free: FreeFailures,
    ) -> Result<Place, Duration> {
        let (_permit, outcome) = {
            let mut state = self.state.lock();
            match state.admit(&attempt, now, free) {
                Admission::Now => {
                    state.hold(&attempt);
                    return Ok(self.place(attempt));
                }
                Admission::Refused(wait) => return Err(wait),
                Admission::AfterOthers => {
                    let permit = self.waiting.try_acquire().map_err(|_| COME_BACK_IN)?;
                    if !state.may_queue(&attempt) {
                        return Err(COME_BACK_IN);
                    }
                    let (answer, outcome) = oneshot::channel();
                    state.queue.push_back(Waiting { attempt, now, free, answer });
                    (permit, outcome)
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

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll, Waker};

    use uuid::Uuid;

    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1000);
    const FREE: FreeFailures = FreeFailures { account: 5, network: 20 };
    const HERE: [u8; 4] = [192, 0, 2, 1];

    type Entering<'a> = Pin<Box<dyn Future<Output = Result<Place, Duration>> + Send + 'a>>;

    fn attempt(login: &str, address: [u8; 4]) -> Attempt {
        Attempt::by_login(Login::parse(login).as_ref(), address.into())
    }

    fn throttle() -> Arc<Throttle> {
        Throttle::new(&Throttle::waiting_places())
    }

    fn try_at<'a>(throttle: &'a Arc<Throttle>, login: &str, address: [u8; 4], now: Timestamp) -> Entering<'a> {
        Box::pin(throttle.enter(attempt(login, address), now, FREE))
    }

    fn try_as<'a>(throttle: &'a Arc<Throttle>, login: &str) -> Entering<'a> {
        try_at(throttle, login, HERE, NOW)
    }

    /// One look at it, so that tests decide who comes when.
    fn poll(entering: &mut Entering<'_>) -> Poll<Result<Place, Duration>> {
        entering.as_mut().poll(&mut Context::from_waker(Waker::noop()))
    }

    #[track_caller]
    fn place(entering: &mut Entering<'_>) -> Place {
        match poll(entering) {
            Poll::Ready(Ok(place)) => place,
            Poll::Ready(Err(wait)) => panic!("told to wait {wait:?}"),
            Poll::Pending => panic!("still waiting"),
        }
    }

    #[track_caller]
    fn refused(entering: &mut Entering<'_>) -> Duration {
        match poll(entering) {
            Poll::Ready(Err(wait)) => wait,
            Poll::Ready(Ok(_)) => panic!("let in"),
            Poll::Pending => panic!("still waiting"),
        }
    }

    /// All come before any password is compared; then one after another turns out to be right.
    #[tokio::test]
    async fn any_number_of_right_passwords_at_one_moment_are_right() {
        let throttle = throttle();
        for (logins, at_once) in [(30, 20), (1, 5)] {
            let mut tries: VecDeque<_> =
                (0..30).map(|number| try_as(&throttle, &format!("person{}", number % logins))).collect();
            let mut held = VecDeque::new();
            let mut let_in = 0;
            while !tries.is_empty() || !held.is_empty() {
                let (ready, pending): (Vec<_>, Vec<_>) = tries
                    .into_iter()
                    .map(|mut entering| (poll(&mut entering), entering))
                    .partition(|(poll, _)| poll.is_ready());
                tries = pending.into_iter().map(|(_, entering)| entering).collect();
                for (ready, _) in ready {
                    let Poll::Ready(Ok(place)) = ready else { panic!("a right password was refused") };
                    held.push_back(place);
                    let_in += 1;
                }
                assert!(held.len() <= at_once, "{}", held.len());
                held.pop_front().expect("somebody is always under way").right();
            }
            assert_eq!(let_in, 30);
        }
        assert!(throttle.state.lock().under_way.is_empty());
    }

    #[tokio::test]
    async fn parallel_guesses_are_no_more_than_one_after_another() {
        let throttle = throttle();
        let mut tries: Vec<_> = (0..12).map(|_| try_as(&throttle, "alice")).collect();
        let held: Vec<_> = tries.iter_mut().take(5).map(place).collect();
        for waiting in &mut tries[5..] {
            assert!(poll(waiting).is_pending());
        }
        for place in held {
            place.wrong(NOW);
        }
        for waiting in &mut tries[5..] {
            assert_eq!(refused(waiting), Duration::from_secs(1), "five failures: the first wait");
        }
        // After the free ones, one at a time, and each wrong one doubles the wait.
        for wait in [1, 2, 4, 8, 16, 32, 60] {
            let later = NOW.plus(Duration::from_secs(10 * wait));
            let mut tries: Vec<_> = (0..3).map(|_| try_at(&throttle, "alice", HERE, later)).collect();
            let only = place(&mut tries[0]);
            assert!(poll(&mut tries[1]).is_pending() && poll(&mut tries[2]).is_pending());
            only.wrong(later);
            let told = refused(&mut tries[1]);
            assert_eq!(told, refused(&mut tries[2]));
            assert_eq!(told, Duration::from_secs((wait * 2).min(60)));
            let early = later.plus(told).minus(Duration::from_micros(1));
            assert_eq!(refused(&mut try_at(&throttle, "alice", HERE, early)), Duration::from_micros(1));
        }
    }

    #[tokio::test]
    async fn right_and_wrong_passwords_together_count_the_wrong_ones_alone() {
        let throttle = throttle();
        let mut tries: Vec<_> = (0..8).map(|_| try_as(&throttle, "alice")).collect();
        let mut held: Vec<_> = tries.iter_mut().take(5).map(place).collect();
        for _ in 0..4 {
            held.remove(0).wrong(NOW);
        }
        for waiting in &mut tries[5..] {
            assert!(poll(waiting).is_pending(), "four failures and one under way");
        }
        held.remove(0).right();
        let held: Vec<_> = tries[5..].iter_mut().map(place).collect();
        assert_eq!(held.len(), 3, "the account begins anew");
        drop(held);
        let mut elsewhere: Vec<_> = (0..16).map(|n| try_as(&throttle, &format!("person{n}"))).collect();
        let held: Vec<_> = elsewhere.iter_mut().map(place).collect();
        assert!(poll(&mut try_as(&throttle, "bob")).is_pending(), "of twenty for the network, four are failures");
        drop(held);
    }

    #[tokio::test]
    async fn a_try_without_an_outcome_gives_its_place_back_uncounted() {
        let throttle = throttle();
        for _ in 0..50 {
            let mut held: Vec<_> = (0..5).map(|_| place(&mut try_as(&throttle, "alice"))).collect();
            let mut waiting = try_as(&throttle, "alice");
            assert!(poll(&mut waiting).is_pending());
            held.pop();
            let _next = place(&mut waiting);
        }
        assert!(throttle.state.lock().under_way.is_empty());
        place(&mut try_as(&throttle, "alice")).right();
    }

    #[tokio::test]
    async fn who_goes_away_while_waiting_is_passed_over() {
        let throttle = throttle();
        let held: Vec<_> = (0..5).map(|_| place(&mut try_as(&throttle, "alice"))).collect();
        let (mut first, mut second, mut third) =
            (try_as(&throttle, "alice"), try_as(&throttle, "alice"), try_as(&throttle, "alice"));
        assert!(poll(&mut first).is_pending() && poll(&mut second).is_pending() && poll(&mut third).is_pending());
        drop(first);
        let mut held = held.into_iter();
        drop(held.next());
        assert!(poll(&mut third).is_pending(), "first come, first served");
        // The place is the second's already; nobody takes it up.
        drop(second);
        let _third = place(&mut third);
        assert_eq!(throttle.state.lock().under_way[&Counter::Network(HERE.into())], 5);
        assert_eq!(throttle.waiting.available_permits(), MAX_WAITING);
    }

    #[tokio::test]
    async fn who_waits_is_bounded_for_an_account_a_network_and_the_process() {
        let throttle = throttle();
        let held: Vec<_> = (0..5).map(|_| place(&mut try_as(&throttle, "alice"))).collect();
        let mut waiting: Vec<_> = (0..MAX_WAITING_PER_ACCOUNT).map(|_| try_as(&throttle, "alice")).collect();
        assert!(waiting.iter_mut().all(|entering| poll(entering).is_pending()));
        assert_eq!(refused(&mut try_as(&throttle, "alice")), COME_BACK_IN);
        let _bob = place(&mut try_as(&throttle, "bob"));
        drop((waiting, held));

        let fill = |address: [u8; 4], most: usize| {
            let name = move |number: usize| format!("person{number}");
            let held: Vec<_> = (0..20).map(|n| place(&mut try_at(&throttle, &name(n), address, NOW))).collect();
            let mut waiting: Vec<_> = (0..most).map(|n| try_at(&throttle, &name(n), address, NOW)).collect();
            assert!(waiting.iter_mut().all(|entering| poll(entering).is_pending()));
            assert_eq!(refused(&mut try_at(&throttle, "one.more", address, NOW)), COME_BACK_IN);
            (held, waiting)
        };
        let networks: Vec<_> = (0..4).map(|n| fill([198, 51, 100, n], MAX_WAITING_PER_NETWORK)).collect();
        fill([198, 51, 100, 4], 0);
        drop(networks);
        assert_eq!(throttle.waiting.available_permits(), MAX_WAITING);
    }

    #[tokio::test]
    async fn who_waited_long_enough_is_told_to_come_back() {
        let Throttle { state, waiting, max_wait } = Arc::into_inner(throttle()).expect("nobody is under way");
        assert_eq!(max_wait, Duration::from_secs(10));
        let throttle = Arc::new(Throttle { state, waiting, max_wait: Duration::ZERO });
        let held: Vec<_> = (0..5).map(|_| place(&mut try_as(&throttle, "alice"))).collect();
        assert_eq!(try_as(&throttle, "alice").await.err(), Some(COME_BACK_IN));
        drop(held);
        assert!(throttle.state.lock().queue.is_empty());
    }

    /// The person's account elsewhere, and other accounts here, are not held up.
    #[test]
    fn a_network_is_an_address_or_an_ipv6_64() {
        let here = "2001:db8:1:2:3:4:5:6".parse().expect("an address");
        assert_eq!(network(here), "2001:db8:1:2::".parse::<IpAddr>().expect("an address"));
        let user = UserId(Uuid::nil());
        let steps = [Attempt::at_second_step(user, here), Attempt::at_second_step(user, HERE.into())];
        assert_eq!(steps[0].subject, steps[1].subject, "a second step is the person's, from wherever");
        assert_ne!(attempt("alice", HERE).subject, Attempt::by_login(Login::parse("alice").as_ref(), here).subject);
        assert!(attempt("", HERE).subject.is_none());
    }
}
