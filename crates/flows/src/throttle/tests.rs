//! Who is let in, who waits and who is refused: the tests decide which try comes when and how it ends.

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

const INSTANCE: InstanceId = InstanceId(Uuid::from_u128(1));

fn throttle() -> Arc<Throttle> {
    Throttle::new(INSTANCE, &WaitingPlaces::new())
}

/// Tries of all instances that wait.
fn held_places(throttle: &Throttle) -> usize {
    throttle.waiting.0.lock().held()
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
    assert_eq!(held_places(&throttle), 0);
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

    let networks: Vec<_> = (0..4).map(|n| fill(&throttle, [198, 51, 100, n], MAX_WAITING_PER_NETWORK)).collect();
    fill(&throttle, [198, 51, 100, 4], 0);
    drop(networks);
    assert_eq!(held_places(&throttle), 0);
}

/// Tries from a network until one is refused: those under way, and so many that wait.
fn fill(throttle: &Arc<Throttle>, address: [u8; 4], most: usize) -> (Vec<Place>, Vec<Entering<'_>>) {
    let name = move |number: usize| format!("person{number}");
    let held: Vec<_> = (0..20).map(|n| place(&mut try_at(throttle, &name(n), address, NOW))).collect();
    let mut waiting: Vec<_> = (0..most).map(|n| try_at(throttle, &name(n), address, NOW)).collect();
    assert!(waiting.iter_mut().all(|entering| poll(entering).is_pending()));
    assert_eq!(refused(&mut try_at(throttle, "one.more", address, NOW)), COME_BACK_IN);
    (held, waiting)
}

#[tokio::test]
async fn one_instances_storm_leaves_another_its_places_to_wait() {
    let storming = throttle();
    let other = Throttle::new(InstanceId(Uuid::from_u128(2)), &storming.waiting);
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
