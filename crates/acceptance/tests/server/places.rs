//! Limits on connections: how many a network gets, and which connection gives way.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use axum::body::Body;
use http::{Request, Response};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{sleep, timeout};
use web::server::{Limits, ListenerSettings, RequestDeadline, Responder, TrustedProxies};

use crate::http2::{Client, END_OF_BOTH, GET_ROOT, HEADERS, RST_STREAM, STATUS_200};
use crate::storms::{is_closed, is_served, pages};
use crate::work::{Work, news};
use crate::{PATIENCE, Running, begin, until};

const SHORT: Duration = Duration::from_millis(200);
const WORK: &[u8] = b"GET /work HTTP/1.1\r\nhost: a\r\n\r\n";
const NEWS: &[u8] = b"GET /news HTTP/1.1\r\nhost: a\r\n\r\n";

/// A connection from another address of the loopback network.
async fn from(server: &Running, last: u8) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind((Ipv4Addr::new(127, 0, 0, last), 0).into()).expect("all of 127/8 is this machine");
    socket.connect(server.address).await.expect("the server listens")
}

/// A connection with a request in progress.
async fn busy(server: &Running, work: &Work, last: u8) -> TcpStream {
    let mut stream = from(server, last).await;
    stream.write_all(WORK).await.expect("sent");
    work.has_begun(1).await;
    stream
}

#[tokio::test]
async fn the_idlest_of_a_network_gives_way_and_one_at_work_never_does() {
    let work = Work::new();
    let limits = Limits { connections_per_network: 2, request_timeout: PATIENCE, ..Limits::default() };
    let server = Running::plain(pages().merge(work.router()), limits);
    let (mut idle, mut neighbour) = (from(&server, 2).await, from(&server, 3).await);
    is_served(&mut idle).await;
    is_served(&mut neighbour).await;
    let mut at_work = busy(&server, &work, 2).await;

    is_served(&mut from(&server, 2).await).await;
    is_closed(&mut idle).await;
    work.let_go(1);
    until(&mut at_work, "done").await;
    is_served(&mut neighbour).await;
}

/// Otherwise a few addresses with unfinished bodies could take every permit again and again.
#[tokio::test]
async fn who_keeps_us_waiting_gives_way_where_nobody_is_idle() {
    let work = Work::new();
    let limits = Limits { connections_per_network: 2, request_timeout: PATIENCE, ..Limits::default() };
    let server = Running::plain(pages().merge(work.router()), limits);
    let mut unfinished = from(&server, 2).await;
    begin(&mut unfinished).await;
    let mut at_work = busy(&server, &work, 2).await;
    is_served(&mut from(&server, 2).await).await;
    is_closed(&mut unfinished).await;
    work.let_go(1);
    until(&mut at_work, "done").await;

    // While no other connection needs the permit, the server waits.
    let mut slow = from(&server, 3).await;
    begin(&mut slow).await;
    slow.write_all(b"hiya").await.expect("sent");
    until(&mut slow, "hiya").await;
}

#[tokio::test]
async fn where_all_of_a_network_are_at_work_the_next_is_closed_but_not_a_proxys() {
    let work = Work::new();
    let limits = Limits { connections_per_network: 1, request_timeout: PATIENCE, ..Limits::default() };
    let trusted_proxies = TrustedProxies::new(vec!["127.0.0.9/32".parse().expect("a network")]);
    let terms = ListenerSettings { trusted_proxies, ..ListenerSettings::plain(limits) };
    let server = Running::on(pages().merge(work.router()), terms);
    let mut at_work = vec![busy(&server, &work, 2).await];
    is_closed(&mut from(&server, 2).await).await;
    for _ in 0..3 {
        at_work.push(busy(&server, &work, 9).await);
    }
    work.let_go(4);
    for stream in &mut at_work {
        until(stream, "done").await;
    }
    is_served(&mut from(&server, 2).await).await;
}

#[tokio::test]
async fn beyond_the_most_connections_the_idlest_gives_way_and_one_at_work_is_waited_for() {
    let work = Work::new();
    let limits = Limits { max_connections: 1, request_timeout: PATIENCE, ..Limits::default() };
    let server = Running::plain(pages().merge(work.router()), limits);
    let mut idle = server.connect().await;
    is_served(&mut idle).await;
    let mut at_work = busy(&server, &work, 2).await;
    is_closed(&mut idle).await;
    let mut next = from(&server, 3).await;
    let early = timeout(SHORT, is_served(&mut next)).await;
    assert!(early.is_err(), "served beside the one at work");
    work.let_go(1);
    until(&mut at_work, "done").await;
    until(&mut next, "hi").await;
}

/// Two addresses take all permits with unfinished bodies, and others are still served.
#[tokio::test]
async fn where_all_places_are_taken_the_network_that_has_the_most_gives_way() {
    let limits = Limits { max_connections: 6, request_timeout: PATIENCE, ..Limits::default() };
    let server = Running::plain(pages(), limits);
    let mut honest = from(&server, 7).await;
    is_served(&mut honest).await;
    let mut unfinished = Vec::new();
    for last in [2, 2, 2, 3, 3] {
        let mut stream = from(&server, last).await;
        begin(&mut stream).await;
        unfinished.push(stream);
    }
    let mut newcomer = from(&server, 8).await;
    is_served(&mut newcomer).await;
    is_closed(&mut unfinished[0]).await;
    is_served(&mut honest).await;
    is_served(&mut newcomer).await;
}

/// A stream that a client follows may be silent for long, but is not idle: neither the share of its network nor a time
/// limit ends it.
#[tokio::test]
async fn who_follows_a_stream_never_gives_way() {
    let (sender, router) = news();
    let limits = Limits {
        connections_per_network: 1,
        header_timeout: SHORT,
        idle_timeout: SHORT,
        drain: SHORT,
        unread_bytes: 0,
        ..Limits::default()
    };
    let server = Running::plain(router, limits);
    let mut stream = from(&server, 2).await;
    stream.write_all(NEWS).await.expect("sent");
    sender.send("first").expect("followed");
    until(&mut stream, "first").await;
    is_closed(&mut from(&server, 2).await).await;
    sleep(4 * SHORT).await;
    sender.send("second").expect("followed");
    until(&mut stream, "second").await;
}

#[tokio::test]
async fn a_stream_of_http_2_is_followed_likewise() {
    let (sender, router) = news();
    let limits = Limits {
        connections_per_network: 1,
        header_timeout: SHORT,
        idle_timeout: SHORT,
        drain: SHORT,
        ..Limits::default()
    };
    let server = Running::plain(router, limits);
    let mut client = Client::over(from(&server, 2).await, &[]).await;
    // `:path` as a literal with an indexed name (RFC 7541 §6.2.2).
    let head = [&[0x82, 0x86, 0x04, 5][..], b"/news"].concat();
    client.send(HEADERS, END_OF_BOTH, 1, &head).await;
    client.status_is(STATUS_200).await;
    sender.send("first").expect("followed");
    assert_eq!(client.next(0).await.payload, b"first");
    is_closed(&mut from(&server, 2).await).await;
    sleep(4 * SHORT).await;
    sender.send("second").expect("followed");
    assert_eq!(client.next(0).await.payload, b"second");
}

/// Answers like requests that change state: work continues after its stream is gone, and keeps its permits.
#[derive(Clone)]
struct Detached(Work);

impl Responder for Detached {
    fn answer_within(
        &self,
        _request: Request<Body>,
        _peer: SocketAddr,
        allowance: RequestDeadline,
    ) -> impl Future<Output = Response<Body>> + Send + 'static {
        let work = self.0.clone();
        let detached = tokio::spawn(async move {
            let answered = allowance.keep(work.go_on()).await;
            match answered {
                Ok(done) => Response::new(Body::from(done)),
                Err(overdue) => overdue.close(Response::new(Body::empty())),
            }
        });
        async move { detached.await.expect("no panic") }
    }
}

/// CVE-2023-44487. A hundred streams may be open at once. Resetting them makes room for more streams, but not for more
/// work.
#[tokio::test]
async fn who_resets_streams_while_their_work_goes_on_loses_the_connection() {
    let work = Work::new();
    let limits = Limits { request_timeout: PATIENCE, ..Limits::default() };
    let server = Running::on(Detached(work.clone()), ListenerSettings::plain(limits));
    let mut client = Client::over(server.connect().await, &[]).await;
    let cancel = 8_u32.to_be_bytes();
    for number in 0..200 {
        client.send(HEADERS, END_OF_BOTH, 2 * number + 1, &GET_ROOT).await;
        work.has_begun(1).await;
        client.send(RST_STREAM, 0, 2 * number + 1, &cancel).await;
    }
    // Only that much work may run. One finished request makes room for one more.
    work.let_go(1);
    let mut other = server.connect().await;
    other.write_all(WORK).await.expect("sent");
    work.has_begun(1).await;
    for number in 200..204 {
        if !client.try_send_on(HEADERS, END_OF_BOTH, 2 * number + 1, &GET_ROOT).await {
            break;
        }
    }
    is_closed(&mut client.0).await;
    work.let_go(500);
    until(&mut other, "done").await;
}

/// Work in progress uses memory: above a limit the connection with the most of it is closed, and other connections are
/// not refused anything.
#[tokio::test]
async fn where_work_holds_too_much_memory_the_connection_that_has_the_most_gives_way() {
    let work = Work::new();
    let limits = Limits { unread_bytes: 50_000, request_timeout: PATIENCE, ..Limits::default() };
    let server = Running::on(Detached(work.clone()), ListenerSettings::plain(limits));
    let mut modest = Client::over(from(&server, 2).await, &[]).await;
    modest.send(HEADERS, END_OF_BOTH, 1, &GET_ROOT).await;
    work.has_begun(1).await;
    let mut greedy = Client::over(from(&server, 3).await, &[]).await;
    for number in 0..100 {
        if !greedy.try_send_on(HEADERS, END_OF_BOTH, 2 * number + 1, &GET_ROOT).await {
            break;
        }
    }
    is_closed(&mut greedy.0).await;
    let mut other = from(&server, 4).await;
    other.write_all(WORK).await.expect("sent");
    modest.send(HEADERS, END_OF_BOTH, 3, &GET_ROOT).await;
    work.let_go(200);
    until(&mut other, "done").await;
    modest.status_is(STATUS_200).await;
    modest.status_is(STATUS_200).await;
}
