//! What strangers hold of the server, and who gives way.

use std::net::Ipv4Addr;
use std::time::Duration;

use axum::Router;
use axum::routing::{get, post};
use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, timeout};
use web::server::{Limits, Security, Terms, TrustedProxies};

use crate::http2::{
    Client, DATA, END_OF_BOTH, END_OF_HEADERS, GET_ROOT, HEADERS, PING, POST_ROOT, STATUS_200, WINDOW_UPDATE,
};
use crate::{PATIENCE, Running, begin, rest, until};

/// Settings of a peer that takes nothing of any answer: `SETTINGS_INITIAL_WINDOW_SIZE` is 0.
const NO_WINDOW: [u8; 6] = [0, 4, 0, 0, 0, 0];
const PAGE: usize = 48 * 1024;

fn pages() -> Router {
    Router::new()
        .route("/", get(async || vec![b'x'; PAGE]).post(async |body: Bytes| body))
        .route("/echo", post(async |body: Bytes| body))
}

/// A connection from another address of the loopback network.
async fn from(server: &Running, last: u8) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind((Ipv4Addr::new(127, 0, 0, last), 0).into()).expect("all of 127/8 is this machine");
    socket.connect(server.address).await.expect("the server listens")
}

async fn is_closed(stream: &mut TcpStream) {
    let mut bytes = [0; 4096];
    let closing = async { while stream.read(&mut bytes).await.is_ok_and(|count| count > 0) {} };
    timeout(PATIENCE, closing).await.expect("closed in time");
}

async fn is_served(stream: &mut TcpStream) {
    stream.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi").await.expect("sent");
    until(stream, "hi").await;
}

/// Answers to PING are written all the time, and are no progress.
#[tokio::test]
async fn a_peer_that_takes_no_answer_is_closed_however_often_it_pings() {
    let short = Duration::from_millis(200);
    let limits = Limits { header_timeout: short, idle_timeout: 3 * short, drain: short, ..Limits::default() };
    let server = Running::plain(pages(), limits).await;
    let mut client = Client::over(server.connect().await, &NO_WINDOW).await;
    client.send(HEADERS, END_OF_BOTH, 1, &GET_ROOT).await;
    client.status_is(STATUS_200).await;
    let end = Instant::now() + PATIENCE;
    while client.try_send(PING, &[0; 8]).await && client.try_next(PING).await {
        assert!(Instant::now() < end, "the connection lives on answers to PING");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Other requests on the connection go on, and do not save it.
#[tokio::test]
async fn one_answer_that_is_not_read_ends_the_connection_whatever_else_is_asked_on_it() {
    let short = Duration::from_millis(200);
    let limits = Limits { header_timeout: short, idle_timeout: 3 * short, drain: short, ..Limits::default() };
    let server = Running::plain(pages(), limits).await;
    let mut client = Client::over(server.connect().await, &NO_WINDOW).await;
    client.send(HEADERS, END_OF_BOTH, 1, &GET_ROOT).await;
    client.status_is(STATUS_200).await;
    let end = Instant::now() + PATIENCE;
    for stream in (3..).step_by(2) {
        // `:method: HEAD` with a literal name: an answer without a body.
        let head = [&[0x02, 4][..], b"HEAD", &[0x86, 0x84]].concat();
        if !(client.try_send_on(HEADERS, END_OF_BOTH, stream, &head).await && client.try_next(HEADERS).await) {
            return;
        }
        assert!(Instant::now() < end, "the connection lives on other requests");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A slow reader who goes on reading is served to the end, for longer than anybody may stand still.
#[tokio::test]
async fn a_reader_who_takes_an_answer_piece_by_piece_gets_all_of_it() {
    let short = Duration::from_millis(300);
    let limits = Limits { header_timeout: short, idle_timeout: 2 * short, drain: short, ..Limits::default() };
    let server = Running::plain(pages(), limits).await;
    let mut client = Client::over(server.connect().await, &NO_WINDOW).await;
    client.send(HEADERS, END_OF_BOTH, 1, &GET_ROOT).await;
    client.status_is(STATUS_200).await;
    let mut taken = 0;
    while taken < PAGE {
        tokio::time::sleep(short).await;
        client.send(WINDOW_UPDATE, 0, 1, &(16 * 1024_u32).to_be_bytes()).await;
        let piece = client.next(DATA).await.payload.len();
        assert!(piece > 0);
        taken += piece;
    }
    assert_eq!(taken, PAGE);
}

/// All together hold no more than they may: those that stood still the longest are closed, and everybody else is served.
#[tokio::test]
async fn answers_that_nobody_reads_are_dropped_with_their_connections_the_oldest_first() {
    let limits = Limits { unread_bytes: 8 * PAGE, ..Limits::default() };
    let server = Running::plain(pages(), limits).await;
    let mut clients = Vec::new();
    for _ in 0..4 {
        let mut client = Client::over(server.connect().await, &NO_WINDOW).await;
        for stream in [1, 3, 5] {
            client.send(HEADERS, END_OF_BOTH, stream, &GET_ROOT).await;
            client.status_is(STATUS_200).await;
        }
        clients.push(client);
    }
    is_closed(&mut clients[0].0).await;
    let newest = clients.last_mut().expect("there are four");
    newest.send(WINDOW_UPDATE, 0, 5, &49_152_u32.to_be_bytes()).await;
    assert!(!newest.next(DATA).await.payload.is_empty(), "the newest is still there");
    is_served(&mut server.connect().await).await;
}

/// Likewise bodies that do not come to their end.
#[tokio::test]
async fn bodies_that_nobody_finishes_give_way_to_those_that_are() {
    let limits = Limits { unread_bytes: 512 * 1024, request_timeout: PATIENCE, ..Limits::default() };
    let server = Running::plain(pages(), limits).await;
    let mut stuck = Vec::new();
    for _ in 0..8 {
        let mut stream = server.connect().await;
        stream.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 200000\r\n\r\n").await.expect("sent");
        let _may_be_closed_already = stream.write_all(&vec![b'x'; 100_000]).await;
        is_served(&mut server.connect().await).await;
        stuck.push(stream);
    }
    is_closed(&mut stuck[0]).await;
    let newest = stuck.last_mut().expect("there are eight");
    newest.write_all(&vec![b'x'; 100_000]).await.expect("sent");
    let mut client = Client::over(server.connect().await, &[]).await;
    client.send(HEADERS, END_OF_HEADERS, 1, &POST_ROOT).await;
    client.send(DATA, 1, 1, b"hello").await;
    client.status_is(STATUS_200).await;
}

/// A body that is announced larger than any door reads is refused without being waited for.
#[tokio::test]
async fn a_body_larger_than_any_is_not_waited_for() {
    let server = Running::plain(pages(), Limits { request_timeout: 4 * PATIENCE, ..Limits::default() }).await;
    let said = "POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 99999999\r\n\r\n";
    let answer = server.converse(said.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
}

#[tokio::test]
async fn the_idlest_of_a_network_gives_way_and_one_at_work_never_does() {
    let limits = Limits { connections_per_network: 2, request_timeout: PATIENCE, ..Limits::default() };
    let server = Running::plain(pages(), limits).await;
    let (mut idle, mut busy, mut neighbour) = (from(&server, 2).await, from(&server, 2).await, from(&server, 3).await);
    is_served(&mut idle).await;
    begin(&mut busy).await;
    is_served(&mut neighbour).await;

    is_served(&mut from(&server, 2).await).await;
    is_closed(&mut idle).await;
    busy.write_all(b"hiya").await.expect("sent");
    until(&mut busy, "hiya").await;
    is_served(&mut neighbour).await;
}

#[tokio::test]
async fn where_all_of_a_network_are_at_work_the_next_is_closed_but_not_a_proxys() {
    let limits = Limits { connections_per_network: 1, request_timeout: PATIENCE, ..Limits::default() };
    let trusted_proxies = TrustedProxies::new(vec!["127.0.0.9/32".parse().expect("a network")]);
    let server = Running::on(pages(), Terms { security: Security::Plain, limits, trusted_proxies }).await;
    let mut busy = from(&server, 2).await;
    begin(&mut busy).await;
    is_closed(&mut from(&server, 2).await).await;
    for _ in 0..3 {
        let mut proxied = from(&server, 9).await;
        begin(&mut proxied).await;
        proxied.write_all(b"hiya").await.expect("sent");
        until(&mut proxied, "hiya").await;
    }
    busy.write_all(b"hiya").await.expect("sent");
    until(&mut busy, "hiya").await;
}

/// A head that does not end is memory too.
#[tokio::test]
async fn heads_that_nobody_finishes_end_at_their_time_limit() {
    let limits = Limits { header_timeout: Duration::from_millis(300), ..Limits::default() };
    let server = Running::plain(pages(), limits).await;
    let mut stream = server.connect().await;
    let head = format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}", "y".repeat(40_000));
    stream.write_all(head.as_bytes()).await.expect("sent");
    assert_eq!(rest(&mut stream).await, "");
}
