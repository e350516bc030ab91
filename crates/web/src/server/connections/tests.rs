use futures_util::FutureExt as _;
use http::Request;

use crate::server::connections::connection::Exchange;
use crate::server::connections::*;
use crate::server::frames::OpenBlock;

fn connections(limits: Limits) -> Arc<Connections> {
    let proxies = TrustedProxies::new(vec!["10.0.0.0/8".parse().expect("a network")]);
    Arc::new(Connections::new(limits, proxies, Arc::default()))
}

fn small() -> Limits {
    Limits { connections_per_network: 2, connections_per_site: 3, max_connections: 5, ..Limits::default() }
}

fn from(connections: &Arc<Connections>, peer: &str) -> Result<ConnectionPermit, NotAdmitted> {
    connections.admit(peer.parse().expect("an address"))
}

fn places<const N: usize>(connections: &Arc<Connections>, peers: [&str; N]) -> [ConnectionPermit; N] {
    peers.map(|peer| from(connections, peer).expect("a place"))
}

/// A request at work on an HTTP/1 connection. Nothing is counted for it.
fn at_work(place: &ConnectionPermit) -> Arc<Exchange> {
    place.connection.begin(&Request::new(()), false)
}

/// A request that waits for its body, with this many bytes received.
fn unfinished(place: &ConnectionPermit, bytes: usize) -> Arc<Exchange> {
    let exchange = at_work(place);
    exchange.awaits_peer();
    exchange.hold(bytes);
    exchange
}

/// An incomplete HTTP/2 head in one incomplete frame.
const fn block(bytes: usize) -> OpenBlock {
    OpenBlock { number: 1, bytes, decoded: 0 }
}

fn is_evicted(place: &ConnectionPermit) -> bool {
    place.connection.evicted().now_or_never().is_some()
}

/// Advances the clock.
fn later() {
    let now = Instant::now();
    while Instant::now() == now {
        std::hint::spin_loop();
    }
}

#[test]
fn the_idlest_of_a_network_gives_way_to_its_next_and_nobody_elses() {
    let connections = connections(small());
    let [other, first] = places(&connections, ["192.0.2.9", "192.0.2.1"]);
    later();
    let second = from(&connections, "::ffff:192.0.2.1").expect("a place");
    let busy = at_work(&first);
    let third = from(&connections, "192.0.2.1").expect("the second is idle");
    assert!(!is_evicted(&other) && !is_evicted(&first) && is_evicted(&second));
    let _busy_too = at_work(&third);
    assert_eq!(from(&connections, "192.0.2.1").err(), Some(NotAdmitted::NetworkIsFull));
    drop(busy);
    let fourth = from(&connections, "192.0.2.1").expect("the first is idle now");
    assert!(is_evicted(&first) && !is_evicted(&fourth));
    assert_eq!(connections.figures.ended_early(), [("network", 2), ("network_refused", 1)]);
}

#[test]
fn after_the_idle_who_keeps_us_waiting_gives_way_and_who_follows_a_stream_never() {
    let connections = connections(Limits { connections_per_network: 3, ..Limits::default() });
    let [stream, slow, slower] = places(&connections, ["192.0.2.1"; 3]);
    let following = at_work(&stream);
    following.has_no_news();
    let _slower = unfinished(&slower, 0);
    later();
    let slow_request = unfinished(&slow, 0);
    later();
    let fourth = from(&connections, "192.0.2.1").expect("one keeps us waiting");
    assert!(is_evicted(&slower) && !is_evicted(&slow) && !is_evicted(&stream));
    let fifth = from(&connections, "192.0.2.1").expect("one is idle");
    assert!(is_evicted(&fourth) && !is_evicted(&slow));
    let _busy = at_work(&fifth);
    slow_request.is_ours();
    assert_eq!(from(&connections, "192.0.2.1").err(), Some(NotAdmitted::NetworkIsFull));
}

#[test]
fn an_ipv6_network_is_its_64_and_its_site_the_48() {
    let connections = connections(small());
    let places = places(&connections, ["2001:db8:0:1::1", "2001:db8:0:1::2", "2001:db8:0:2::1"]);
    let busy: Vec<_> = places.iter().map(at_work).collect();
    assert_eq!(from(&connections, "2001:db8:0:1::3").err(), Some(NotAdmitted::NetworkIsFull), "the /64");
    assert_eq!(from(&connections, "2001:db8:0:3::1").err(), Some(NotAdmitted::NetworkIsFull), "the /48");
    from(&connections, "2001:db8:1:1::1").expect("another /48");
    drop((places, busy));
    from(&connections, "2001:db8:0:1::3").expect("all are free again");
    assert_eq!(connections.table.lock().by_network.len(), 0, "nothing is remembered of who has left");
    assert_eq!(connections.figures.open(), 0);
}

#[test]
fn a_proxy_of_ours_has_no_share_but_the_whole() {
    let connections = connections(small());
    let places = places(&connections, ["10.0.0.1"; 5]);
    assert!(places.iter().all(|place| place.max_streams == MAX_STREAMS));
    let _busy: Vec<_> = places.iter().map(at_work).collect();
    assert_eq!(from(&connections, "10.0.0.1").err(), Some(NotAdmitted::Full));
    assert_eq!(from(&connections, "192.0.2.1").err(), Some(NotAdmitted::Full));
}

#[test]
fn where_all_places_are_taken_the_network_that_has_the_most_gives_one() {
    let limits = Limits { connections_per_network: 8, max_connections: 5, ..Limits::default() };
    let connections = connections(limits);
    let [honest, proxied] = places(&connections, ["192.0.2.9", "10.0.0.1"]);
    later();
    let crowd = places(&connections, ["192.0.2.1"; 3]);
    // Slow bodies do not count as work of the server.
    let bodies: Vec<_> = crowd.iter().map(|place| unfinished(place, 0)).collect();
    later();
    bodies[1..].iter().for_each(|body| body.awaits_peer());
    let newcomer = from(&connections, "192.0.2.2").expect("the crowd gives way");
    assert!(is_evicted(&crowd[0]));
    assert!(![&honest, &proxied, &crowd[1], &crowd[2], &newcomer].into_iter().any(is_evicted));
}

#[test]
fn when_too_much_is_held_the_network_that_pins_the_most_gives_way_its_idlest_first() {
    let connections = connections(Limits { unread_bytes: 1000, ..Limits::default() });
    let slow = from(&connections, "192.0.2.9").expect("a place");
    let _patient = unfinished(&slow, 100);
    later();
    let crowd = places(&connections, ["192.0.2.1"; 3]);
    let mut bodies = Vec::new();
    for place in &crowd {
        bodies.push(unfinished(place, 270));
        later();
    }
    assert!(!crowd.iter().any(is_evicted), "910 are allowed");
    bodies[0].awaits_peer();
    let newest = from(&connections, "192.0.2.7").expect("a place");
    let _ours = unfinished(&newest, 100);
    assert_eq!(crowd.each_ref().map(is_evicted), [false, true, false], "the first moved again");
    assert!(!is_evicted(&slow) && !is_evicted(&newest));
    assert_eq!(connections.figures.held(), 740);
    drop(bodies);
    assert_eq!(connections.figures.held(), 200, "nothing is released twice");
}

#[test]
fn work_of_ours_is_counted_and_saves_nobody_but_who_follows_a_stream() {
    let connections = connections(Limits { unread_bytes: 1000, ..Limits::default() });
    let [working, following] = places(&connections, ["192.0.2.1", "192.0.2.2"]);
    let work = at_work(&working);
    work.hold(600);
    let stream = at_work(&following);
    stream.hold(300);
    stream.has_no_news();
    let third = from(&connections, "192.0.2.3").expect("a place");
    let more = unfinished(&third, 120);
    assert!(is_evicted(&working) && work.is_given_up(), "it pins the most");
    assert!(!is_evicted(&following) && !is_evicted(&third));
    assert_eq!(connections.figures.held(), 420);
    work.hold(600);
    drop((work, working));
    assert_eq!(connections.figures.held(), 420, "it has given back all, and takes no more");
    stream.hold(500);
    more.hold(100);
    assert!(is_evicted(&third) && !is_evicted(&following));
    drop((stream, more, following, third));
    assert_eq!(connections.figures.held(), 0);
}

#[test]
fn a_networks_further_connections_have_few_streams_and_a_proxys_have_all() {
    let limits = Limits::default();
    let connections = connections(limits);
    let [first, further] = places(&connections, ["192.0.2.1", "192.0.2.1"]);
    let [elsewhere, same_subnet, subnet] = places(&connections, ["192.0.2.2", "2001:db8::1", "2001:db8::2"]);
    let streams = [&first, &further, &elsewhere, &same_subnet, &subnet].map(|place| place.max_streams);
    assert_eq!(streams, [MAX_STREAMS, MAX_FURTHER_STREAMS, MAX_STREAMS, MAX_STREAMS, MAX_FURTHER_STREAMS]);
    drop((first, further));
    assert_eq!(from(&connections, "192.0.2.1").expect("a place").max_streams, MAX_STREAMS, "it is the only one again");
}

#[test]
fn who_resets_streams_faster_than_their_work_ends_loses_the_connection() {
    let connections = connections(Limits::default());
    let place = from(&connections, "192.0.2.1").expect("a place");
    let begin = || place.connection.begin(&Request::new(()), true);
    let most = 2 * MAX_STREAMS as usize;
    let mut works: Vec<_> = (0..most).map(|_| begin()).collect();
    assert!(!is_evicted(&place));
    works.pop();
    works.push(begin());
    assert!(!is_evicted(&place), "what is done does not count");
    works.push(begin());
    assert!(is_evicted(&place));
    assert_eq!(connections.figures.ended_early(), [("resets", 1)]);
    drop((works, place));
    assert_eq!(connections.figures.held(), 0);
}

#[test]
fn heads_and_buffers_are_counted_until_the_connection_ends() {
    let connections = connections(Limits { unread_bytes: 90_000, ..Limits::default() });
    let [slow, fast] = places(&connections, ["192.0.2.1", "192.0.2.2"]);
    slow.connection.bytes_came(8 * 1024, false, None);
    assert_eq!(connections.figures.held(), 0, "every connection has a buffer");
    slow.connection.bytes_came(40_000, false, None);
    assert_eq!(connections.figures.held(), 40 * 1024);
    fast.connection.bytes_came(1000, true, Some(block(900)));
    fast.connection.bytes_came(1000, true, Some(block(30_000)));
    assert_eq!(connections.figures.held(), 40 * 1024 + 24 * 1024);
    fast.connection.bytes_came(1000, true, Some(block(64_000)));
    assert!(is_evicted(&fast) && !is_evicted(&slow), "the most is in the head that goes on and on");
    drop((slow, fast));
    assert_eq!(connections.figures.held(), 0);
}

/// RFC 7541 §6.1: a field of the table takes one byte.
#[test]
fn fields_of_a_head_that_does_not_end_are_counted_until_it_does() {
    let connections = connections(Limits { unread_bytes: 400_000, ..Limits::default() });
    let [first, second] = places(&connections, ["192.0.2.1", "192.0.2.2"]);
    let open = OpenBlock { decoded: 1500, ..block(1500) };
    first.connection.bytes_came(1500, true, Some(open));
    assert_eq!(connections.figures.held(), 1500 * 128);
    first.connection.bytes_came(10, true, None);
    assert_eq!(connections.figures.held(), 0);
    first.connection.bytes_came(1500, true, Some(open));
    let longer = Some(OpenBlock { bytes: 8000, decoded: 8000, ..open });
    second.connection.bytes_came(8000, true, longer);
    assert!(is_evicted(&second) && !is_evicted(&first), "it may have 1 855 fields");
    second.connection.bytes_came(10, true, longer);
    drop(second);
    assert_eq!(connections.figures.held(), 1500 * 128, "nothing is released twice");
    let values = Some(OpenBlock { bytes: 60_000, decoded: 60_000, ..open });
    first.connection.bytes_came(8000, true, values);
    assert_eq!(connections.figures.held(), 56 * 1024 + 178 * 128, "most of it must be values");
    drop(first);
    assert_eq!(connections.figures.held(), 0);
}

#[test]
fn each_block_of_header_fields_has_the_time_of_a_head() {
    let limits = Limits::default();
    let connections = connections(limits);
    let place = from(&connections, "192.0.2.1").expect("a place");
    drop(place.connection.begin(&Request::new(()), true));
    place.connection.bytes_came(20, true, Some(block(20)));
    let then = Instant::now() + limits.header_timeout;
    place.connection.bytes_came(20, true, Some(block(40)));
    assert!(!place.connection.allows(then, &limits), "it goes on, and drips");
    later();
    place.connection.bytes_came(20, true, Some(OpenBlock { number: 2, ..OpenBlock::default() }));
    assert!(place.connection.allows(then, &limits));
    assert!(!place.connection.allows(Instant::now() + limits.header_timeout, &limits));
}

/// A /48 contains 65 536 networks of /64.
#[test]
fn all_of_a_48_counts_as_one_when_somebody_has_to_give_way() {
    let limits = Limits { unread_bytes: 1000, max_connections: 5, ..Limits::default() };
    let connections = connections(limits);
    let [honest, also_honest] = places(&connections, ["192.0.2.1"; 2]);
    later();
    let attackers = places(&connections, ["2001:db8:0:1::1", "2001:db8:0:2::1", "2001:db8:0:3::1"]);
    let _sixth = from(&connections, "192.0.2.2").expect("one gives way");
    assert!(is_evicted(&attackers[0]), "three have more than two");
    let _slow = unfinished(&honest, 400);
    let _pinned: Vec<_> = attackers[1..].iter().map(|place| unfinished(place, 350)).collect();
    assert!(!is_evicted(&honest) && !is_evicted(&also_honest) && is_evicted(&attackers[1]), "700 are more than 400");
}

#[test]
fn nothing_goes_on_before_those_that_were_told_to_end_have_ended() {
    let connections = connections(Limits { unread_bytes: 1000, ..Limits::default() });
    let [ending, other] = places(&connections, ["192.0.2.1", "192.0.2.2"]);
    let goes_on = || other.after_who_leaves(async {}).now_or_never().is_some();
    let work = unfinished(&ending, 600);
    assert!(goes_on());
    let _request = unfinished(&other, 500);
    assert!(is_evicted(&ending));
    assert!(!goes_on());
    drop(ending);
    assert!(goes_on(), "work that goes on without its connection is not waited for");
    drop(work);
    assert_eq!(connections.figures.held(), 500);
}
