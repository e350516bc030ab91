//! Tests of the throttle: they decide the order of attempts and their outcomes.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use uuid::Uuid;

use crate::auth::throttle::*;

const NOW: Timestamp = Timestamp::from_seconds(1000);
const FREE: FreeFailures = FreeFailures { account: 5, network: 20 };
const HERE: [u8; 4] = [192, 0, 2, 1];

type Entering<'a> = Pin<Box<dyn Future<Output = ThrottleDecision> + Send + 'a>>;

fn account(login: &str) -> GuessedAccount {
    let mut key = [0; 16];
    key[..login.len()].copy_from_slice(login.as_bytes());
    GuessedAccount::Password(key)
}

fn attempt(login: &str, address: [u8; 4]) -> SignInAttempt {
    SignInAttempt::new(Some(account(login)), address.into())
}

const INSTANCE: InstanceId = InstanceId(Uuid::from_u128(1));

fn throttle() -> Arc<Throttle> {
    Throttle::new(INSTANCE, &AttemptQueue::new(), &[1; 32])
}

/// Number of waiting attempts of all instances.
fn held_places(throttle: &Throttle) -> usize {
    throttle.waiting.0.lock().held()
}

fn try_at<'a>(throttle: &'a Arc<Throttle>, login: &str, address: [u8; 4], now: Timestamp) -> Entering<'a> {
    enter(throttle, attempt(login, address), now)
}

fn enter(throttle: &Arc<Throttle>, attempt: SignInAttempt, now: Timestamp) -> Entering<'_> {
    Box::pin(async move { throttle.enter(&attempt, now, FREE).await })
}

fn try_as<'a>(throttle: &'a Arc<Throttle>, login: &str) -> Entering<'a> {
    try_at(throttle, login, HERE, NOW)
}

/// Polls once, so that tests decide the order of attempts.
fn poll(entering: &mut Entering<'_>) -> Poll<ThrottleDecision> {
    entering.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

#[track_caller]
fn place(entering: &mut Entering<'_>) -> AttemptPermit {
    match poll(entering) {
        Poll::Ready(ThrottleDecision::Place(place)) => place,
        Poll::Ready(ThrottleDecision::Held(held)) => panic!("told to wait {held:?}"),
        Poll::Ready(ThrottleDecision::Lease(_)) => panic!("a lease is wanted"),
        Poll::Pending => panic!("still waiting"),
    }
}

#[track_caller]
fn held(entering: &mut Entering<'_>) -> Throttled {
    match poll(entering) {
        Poll::Ready(ThrottleDecision::Held(held)) => held,
        Poll::Ready(ThrottleDecision::Place(_)) => panic!("let in"),
        Poll::Ready(ThrottleDecision::Lease(_)) => panic!("a lease is wanted"),
        Poll::Pending => panic!("still waiting"),
    }
}

#[track_caller]
fn refused(entering: &mut Entering<'_>) -> Duration {
    held(entering).wait
}

#[track_caller]
fn lease(entering: &mut Entering<'_>) -> LeaseRequest {
    match poll(entering) {
        Poll::Ready(ThrottleDecision::Lease(lease)) => lease,
        Poll::Ready(ThrottleDecision::Held(held)) => panic!("told to wait {held:?}"),
        Poll::Ready(ThrottleDecision::Place(_)) => panic!("let in"),
        Poll::Pending => panic!("still waiting"),
    }
}

/// All attempts arrive before any password is compared; then one after another turns out to be right.
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
                let Poll::Ready(ThrottleDecision::Place(place)) = ready else { panic!("a right password was refused") };
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
    // After the free failures, one at a time, and each wrong one doubles the wait.
    lease(&mut try_at(&throttle, "alice", HERE, NOW.plus(Duration::from_secs(10)))).granted(NOW);
    for wait in [1, 2, 4, 8, 16, 32, 60] {
        let later = NOW.plus(Duration::from_secs(4 * wait));
        let mut tries: Vec<_> = (0..3).map(|_| try_at(&throttle, "alice", HERE, later)).collect();
        let only = place(&mut tries[0]);
        assert!(poll(&mut tries[1]).is_pending() && poll(&mut tries[2]).is_pending());
        only.wrong(later);
        let wait_again = refused(&mut tries[1]);
        assert_eq!(wait_again, refused(&mut tries[2]));
        assert_eq!(wait_again, Duration::from_secs((wait * 2).min(60)));
        let early = later.plus(wait_again).minus(Duration::from_micros(1));
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
    // Failures from this network are reset; of the guesses without a lease that all strangers share, one is left.
    for waiting in &mut tries[5..] {
        place(waiting).right();
    }
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
    // The permit already belongs to the second attempt, which never takes it.
    drop(second);
    let _third = place(&mut third);
    assert_eq!(throttle.state.lock().under_way[&FailureCounter::Network(NetworkPrefix::Narrow(HERE.into()))], 5);
    assert_eq!(held_places(&throttle), 0);
}

#[tokio::test]
async fn who_waits_is_bounded_for_an_account_a_network_and_the_process() {
    let throttle = throttle();
    let held: Vec<_> = (0..5).map(|_| place(&mut try_as(&throttle, "alice"))).collect();
    let mut waiting: Vec<_> = (0..MAX_WAITING_PER_ACCOUNT).map(|_| try_as(&throttle, "alice")).collect();
    assert!(waiting.iter_mut().all(|entering| poll(entering).is_pending()));
    assert_eq!(refused(&mut try_as(&throttle, "alice")), COME_BACK.wait);
    let _bob = place(&mut try_as(&throttle, "bob"));
    drop((waiting, held));

    let networks: Vec<_> = (0..4).map(|n| fill(&throttle, [198, 51, 100, n], MAX_WAITING_PER_NETWORK)).collect();
    fill(&throttle, [198, 51, 100, 4], 0);
    drop(networks);
    assert_eq!(held_places(&throttle), 0);
}

/// Attempts from a network until one is refused: those under way, and `most` that wait.
fn fill(throttle: &Arc<Throttle>, address: [u8; 4], most: usize) -> (Vec<AttemptPermit>, Vec<Entering<'_>>) {
    let name = move |number: usize| format!("person{number}");
    let held: Vec<_> = (0..20).map(|n| place(&mut try_at(throttle, &name(n), address, NOW))).collect();
    let mut waiting: Vec<_> = (0..most).map(|n| try_at(throttle, &name(n), address, NOW)).collect();
    assert!(waiting.iter_mut().all(|entering| poll(entering).is_pending()));
    assert_eq!(refused(&mut try_at(throttle, "one.more", address, NOW)), COME_BACK.wait);
    (held, waiting)
}

#[tokio::test]
async fn one_instances_storm_leaves_another_its_places_to_wait() {
    let storming = throttle();
    let other = Throttle::new(InstanceId(Uuid::from_u128(2)), &storming.waiting, &[2; 32]);
    let mut storm: Vec<_> = (0..4).map(|n| fill(&storming, [198, 51, 100, n], MAX_WAITING_PER_NETWORK)).collect();
    assert_eq!(held_places(&other), MAX_WAITING, "alone, it has everything");
    let theirs: Vec<_> = (0..2).map(|n| fill(&other, [198, 51, 100, n], MAX_WAITING_PER_NETWORK)).collect();
    fill(&other, [198, 51, 100, 2], 0);
    assert_eq!(held_places(&other), MAX_WAITING + MAX_WAITING / 2, "two: each a half");
    storm.pop();
    fill(&storming, [198, 51, 100, 3], 0);
    drop(theirs);
    fill(&storming, [198, 51, 100, 3], MAX_WAITING_PER_NETWORK);
}

#[tokio::test]
async fn who_waited_long_enough_is_told_to_come_back() {
    let throttle = Arc::into_inner(throttle()).expect("nobody is under way");
    assert_eq!(throttle.max_wait, Duration::from_secs(10));
    let throttle = Arc::new(Throttle { max_wait: Duration::ZERO, ..throttle });
    let held: Vec<_> = (0..5).map(|_| place(&mut try_as(&throttle, "alice"))).collect();
    assert!(matches!(try_as(&throttle, "alice").await, ThrottleDecision::Held(COME_BACK)));
    drop(held);
    assert!(throttle.state.lock().queue.is_empty());
}

#[test]
fn networks_are_counted_at_two_widths() {
    let network = |text: &str| SignInAttempt::new(None, text.parse().expect("an address")).counters();
    let counted = |text: &str| network(text).iter().map(|counter| format!("{counter:?}")).collect::<Vec<_>>();
    for (address, narrow, wide) in
        [("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::", "2001:db8:1::"), ("192.0.2.77", "192.0.2.77", "192.0.2.0")]
    {
        let expected = [format!("Network(Narrow({narrow}))"), format!("Network(Wide({wide}))")];
        assert_eq!(counted(address), expected);
    }
}

const fn known(number: u8) -> KnownClient {
    KnownClient([number; 16])
}

/// Strangers' guesses from so many networks. Answers how many were compared, and the last refusal.
fn storm(throttle: &Arc<Throttle>, login: &str, networks: u8, mut blocks: u32) -> (u32, Option<Throttled>) {
    let (mut compared, mut throttled) = (0, None);
    for network in 0..networks {
        let mut entering = try_at(throttle, login, [10, network, 0, 1], NOW);
        let entered = match poll(&mut entering) {
            Poll::Ready(ThrottleDecision::Lease(lease)) if blocks > 0 => {
                blocks -= 1;
                lease.granted(NOW);
                poll(&mut try_at(throttle, login, [10, network, 0, 1], NOW))
            }
            Poll::Ready(ThrottleDecision::Lease(lease)) => {
                lease.spent(NOW.plus(Duration::from_secs(1000)));
                poll(&mut try_at(throttle, login, [10, network, 0, 1], NOW))
            }
            other => other,
        };
        match entered {
            Poll::Ready(ThrottleDecision::Place(place)) => {
                place.wrong(NOW);
                compared += 1;
            }
            Poll::Ready(ThrottleDecision::Held(held)) => throttled = Some(held),
            Poll::Ready(ThrottleDecision::Lease(_)) | Poll::Pending => panic!("neither compared nor refused"),
        }
    }
    (compared, throttled)
}

#[tokio::test]
async fn strangers_share_one_ceiling_and_a_known_browser_has_its_own_tries() {
    let throttle = throttle();
    let (compared, throttled) = storm(&throttle, "alice", 250, 4);
    assert_eq!(compared, 45, "five, and four blocks");
    assert_eq!(throttled, Some(Throttled { wait: Duration::from_secs(1000), is_spent: true }));
    let theirs = || attempt("alice", HERE).known(Some(known(1)));
    place(&mut enter(&throttle, theirs(), NOW)).right();
    for _ in 0..5 {
        place(&mut enter(&throttle, theirs(), NOW)).wrong(NOW);
    }
    let held = held(&mut enter(&throttle, theirs(), NOW));
    assert_eq!(held, Throttled::for_a_while(Duration::from_secs(1)), "its own delay");
    place(&mut enter(&throttle, attempt("alice", HERE).known(Some(known(2))), NOW)).right();
    place(&mut try_as(&throttle, "bob")).right();
    // After ten failures the browser counts as a stranger.
    for seconds in [2, 4, 8, 16, 32] {
        place(&mut enter(&throttle, theirs(), NOW.plus(Duration::from_secs(seconds)))).wrong(NOW);
    }
    assert!(self::held(&mut enter(&throttle, theirs(), NOW.plus(Duration::from_secs(100)))).is_spent);
}

#[tokio::test]
async fn a_repeated_guess_is_one_failure() {
    let throttle = throttle();
    let guess = |number: u8| attempt("alice", HERE).guessing([number; 16]);
    for _ in 0..20 {
        assert_eq!(place(&mut enter(&throttle, guess(1), NOW)).wrong(NOW), 1);
    }
    for number in 2..=5 {
        place(&mut enter(&throttle, guess(number), NOW)).wrong(NOW);
    }
    assert_eq!(refused(&mut enter(&throttle, guess(1), NOW)), Duration::from_secs(1));
    let hour = Duration::from_hours(1);
    assert_eq!(place(&mut enter(&throttle, guess(1), NOW.plus(hour))).wrong(NOW.plus(hour)), 1, "a new hour");
}

#[tokio::test]
async fn one_lease_is_taken_at_a_time_and_the_others_wait_for_it() {
    let throttle = throttle();
    storm(&throttle, "alice", 5, 0);
    let elsewhere = |number: u8| try_at(&throttle, "alice", [10, 9, 9, number], NOW);
    let (mut first, mut second, mut third) = (elsewhere(1), elsewhere(2), elsewhere(3));
    let taken = lease(&mut first);
    assert!(poll(&mut second).is_pending() && poll(&mut third).is_pending());
    // A fault: the next attempt takes the lease.
    drop(taken);
    lease(&mut second).granted(NOW);
    let _third = place(&mut third);
    let _again = place(&mut elsewhere(2));
    assert!(throttle.state.lock().leasing.is_empty());
}

#[tokio::test]
async fn made_up_logins_lease_no_more_than_ten_times_a_second() {
    let throttle = throttle();
    let logins: Vec<_> = (0..=MAX_LEASES).map(|number| format!("login{number}")).collect();
    for login in &logins {
        storm(&throttle, login, 5, 0);
    }
    let (last, others) = logins.split_last().expect("some");
    for login in others {
        lease(&mut try_as(&throttle, login)).granted(NOW);
    }
    assert_eq!(held(&mut try_as(&throttle, last)), COME_BACK);
    lease(&mut try_at(&throttle, last, HERE, NOW.plus(Duration::from_secs(1)))).granted(NOW);
}

/// Twenty failures of one client that rotates logins.
fn make_noise(throttle: &Arc<Throttle>) {
    for number in 0..20 {
        place(&mut try_as(throttle, &format!("made-up{number}"))).wrong(NOW);
    }
}

#[tokio::test]
async fn behind_a_noisy_network_calm_accounts_take_turns_and_attacked_ones_wait() {
    let throttle = throttle();
    storm(&throttle, "attacked", 5, 0);
    make_noise(&throttle);
    assert_eq!(refused(&mut try_as(&throttle, "attacked")), Duration::from_secs(1), "the network's delay");
    let by = |login: &str, browser: u8| attempt(login, HERE).by_browser(Some([browser; 16]));
    let mut noise: Vec<_> = (0..30).map(|n| enter(&throttle, by(&format!("rotated{n}"), 7), NOW)).collect();
    let first = place(&mut noise[0]);
    assert!(noise[1..].iter_mut().all(|waiting| poll(waiting).is_pending()), "one at a time");
    let mut fresh = enter(&throttle, by("alice", 8), NOW);
    assert!(poll(&mut fresh).is_pending());
    let begun = tokio::time::Instant::now();
    first.wrong(NOW);
    let second = tokio::select! {
        ThrottleDecision::Place(place) = &mut noise[1] => place,
        ThrottleDecision::Place(_) = &mut fresh => panic!("the second of that browser came first"),
    };
    assert!(begun.elapsed() >= TURN, "four a second");
    second.wrong(NOW);
    let ThrottleDecision::Place(fresh) = fresh.await else { panic!("it has its turn") };
    assert!(begun.elapsed() >= TURN * 2, "before the rest of that browser's");
    fresh.right();
    drop(noise);
    // Neither another network nor a known browser on this network is delayed.
    place(&mut try_at(&throttle, "bob", [203, 0, 113, 5], NOW)).right();
    place(&mut enter(&throttle, attempt("attacked", HERE).known(Some(known(1))), NOW)).right();
}

#[tokio::test]
async fn accounts_with_fewer_failures_go_first() {
    let throttle = throttle();
    make_noise(&throttle);
    let mistyped = place(&mut try_at(&throttle, "mistyped", [203, 0, 113, 5], NOW));
    mistyped.wrong(NOW);
    let busy = place(&mut try_as(&throttle, "busy"));
    let (mut second, mut first) = (try_as(&throttle, "mistyped"), try_as(&throttle, "alice"));
    assert!(poll(&mut second).is_pending() && poll(&mut first).is_pending());
    drop(busy);
    let entered = tokio::select! {
        entered = &mut first => entered,
        _ = &mut second => panic!("it failed before"),
    };
    assert!(matches!(entered, ThrottleDecision::Place(_)));
}

#[tokio::test]
async fn what_is_no_login_waits_for_its_network() {
    let throttle = throttle();
    make_noise(&throttle);
    let nobody = SignInAttempt::new(None, HERE.into());
    assert_eq!(refused(&mut enter(&throttle, nobody, NOW)), Duration::from_secs(1));
    assert_eq!(throttle.held(&attempt("alice", HERE), NOW, FREE), None);
}
