//! Server resources held by unauthenticated clients, and which client gives way.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::routing::{get, post};
use bytes::Bytes;
use http::StatusCode;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::time::{Instant, timeout};
use web::server::Limits;

use crate::http2::{
    CONTINUATION, Client, DATA, END_OF_BOTH, END_OF_HEADERS, END_OF_STREAM, GET_ROOT, HEADERS, PING, POST_ROOT,
    SETTINGS, STATUS_200, WINDOW_UPDATE,
};
use crate::{PATIENCE, Running, rest, until};

/// Settings of a peer that reads no answer: `SETTINGS_INITIAL_WINDOW_SIZE` is 0.
const NO_WINDOW: [u8; 6] = [0, 4, 0, 0, 0, 0];
const PAGE: usize = 48 * 1024;

pub(crate) fn pages() -> Router {
    Router::new()
        .route("/", get(async || vec![b'x'; PAGE]).post(async |body: Bytes| body))
        .route("/echo", post(async |body: Bytes| body))
}

pub(crate) async fn is_closed(stream: &mut (impl AsyncRead + Unpin)) {
    let mut bytes = [0; 4096];
    let closing = async { while stream.read(&mut bytes).await.is_ok_and(|count| count > 0) {} };
    timeout(PATIENCE, closing).await.expect("closed in time");
}

pub(crate) async fn is_served(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) {
    stream.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi").await.expect("sent");
    until(stream, "hi").await;
}

/// Answers to PING are always written and do not count as progress.
#[tokio::test]
async fn a_peer_that_takes_no_answer_is_closed_however_often_it_pings() {
    let short = Duration::from_millis(200);
    let limits = Limits { header_timeout: short, idle_timeout: 3 * short, drain: short, ..Limits::default() };
    let server = Running::plain(pages(), limits);
    let mut client = Client::over(server.connect().await, &NO_WINDOW).await;
    client.send(HEADERS, END_OF_BOTH, 1, &GET_ROOT).await;
    client.status_is(STATUS_200).await;
    let end = Instant::now() + PATIENCE;
    while client.try_send(PING, &[0; 8]).await && client.try_next(PING).await {
        assert!(Instant::now() < end, "the connection lives on answers to PING");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Other requests on the connection continue, and do not save it.
#[tokio::test]
async fn one_answer_that_is_not_read_ends_the_connection_whatever_else_is_asked_on_it() {
    let short = Duration::from_millis(200);
    let limits = Limits { header_timeout: short, idle_timeout: 3 * short, drain: short, ..Limits::default() };
    let server = Running::plain(pages(), limits);
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

/// A slow reader that makes progress is served to the end, for longer than the time limit of a stalled one.
#[tokio::test]
async fn a_reader_who_takes_an_answer_piece_by_piece_gets_all_of_it() {
    let short = Duration::from_millis(300);
    let limits = Limits { header_timeout: short, idle_timeout: 2 * short, drain: short, ..Limits::default() };
    let server = Running::plain(pages(), limits);
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

/// The total of unread answers is bounded: the connections stalled longest are closed, and all others are served.
#[tokio::test]
async fn answers_that_nobody_reads_are_dropped_with_their_connections_the_oldest_first() {
    let limits = Limits { unread_bytes: 8 * PAGE, ..Limits::default() };
    let server = Running::plain(pages(), limits);
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

/// Likewise for unfinished bodies.
#[tokio::test]
async fn bodies_that_nobody_finishes_give_way_to_those_that_are() {
    let limits = Limits { unread_bytes: 512 * 1024, request_timeout: PATIENCE, ..Limits::default() };
    let server = Running::plain(pages(), limits);
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

/// A body with a `Content-Length` above the largest limit is refused at once.
#[tokio::test]
async fn a_body_larger_than_any_is_not_waited_for() {
    let server = Running::plain(pages(), Limits { request_timeout: 4 * PATIENCE, ..Limits::default() });
    let said = "POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 99999999\r\n\r\n";
    let answer = server.converse(said.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
}

/// An unfinished head uses memory too.
#[tokio::test]
async fn heads_that_nobody_finishes_end_at_their_time_limit() {
    let limits = Limits { header_timeout: Duration::from_millis(300), ..Limits::default() };
    let server = Running::plain(pages(), limits);
    let mut stream = server.connect().await;
    let head = format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}", "y".repeat(40_000));
    stream.write_all(head.as_bytes()).await.expect("sent");
    assert_eq!(rest(&mut stream).await, "");
}

/// The frames after HEADERS count too, on a connection that sent requests before and may be idle.
#[tokio::test]
async fn a_block_of_header_fields_that_nobody_ends_ends_the_connection_at_the_limit_of_a_head() {
    let short = Duration::from_millis(200);
    let limits = Limits { header_timeout: short, drain: short, ..Limits::default() };
    let server = Running::plain(pages(), limits);
    let mut client = Client::over(server.connect().await, &[]).await;
    client.send(HEADERS, END_OF_BOTH, 1, &GET_ROOT).await;
    client.status_is(STATUS_200).await;
    client.send(HEADERS, END_OF_STREAM, 3, &GET_ROOT).await;
    // A literal field `a: b` (RFC 7541 §6.2.2).
    client.send(CONTINUATION, 0, 3, &[0, 1, b'a', 1, b'b']).await;
    is_closed(&mut client.0).await;

    let mut client = Client::over(server.connect().await, &[]).await;
    client.send(HEADERS, END_OF_STREAM, 1, &GET_ROOT).await;
    client.send(CONTINUATION, 0, 1, &[0, 1, b'a', 1, b'b']).await;
    client.send(CONTINUATION, END_OF_HEADERS, 1, &[0, 1, b'a', 1, b'c']).await;
    client.status_is(STATUS_200).await;
}

/// Thousands of CONTINUATION frames are not a head.
#[tokio::test]
async fn a_flood_of_continuations_ends_the_connection_at_once() {
    let server = Running::plain(pages(), Limits::default());
    let mut client = Client::over(server.connect().await, &[]).await;
    client.send(HEADERS, END_OF_STREAM, 1, &GET_ROOT).await;
    let began = Instant::now();
    while client.try_send_on(CONTINUATION, 0, 1, &[]).await {
        assert!(began.elapsed() < PATIENCE, "the flood goes on");
    }
    is_served(&mut server.connect().await).await;
}

/// Answers to PING and SETTINGS are bounded: the server stops reading from a client that does not read them.
#[tokio::test]
async fn a_flood_of_frames_that_want_an_answer_is_not_read_without_end() {
    let short = Duration::from_millis(200);
    let limits = Limits { header_timeout: short, idle_timeout: 5 * short, drain: short, ..Limits::default() };
    let server = Running::plain(pages(), limits);
    for (kind, payload) in [(PING, &[0; 8][..]), (SETTINGS, &[])] {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(4096).expect("a small buffer");
        let mut client = Client::over(socket.connect(server.address).await.expect("connected"), &[]).await;
        client.send(HEADERS, END_OF_BOTH, 1, &GET_ROOT).await;
        client.status_is(STATUS_200).await;
        // The client neither reads the answers, which stops the server's writes, nor stops sending.
        let flooding = async { while client.try_send(kind, payload).await {} };
        timeout(PATIENCE, flooding).await.expect("ended at the idle limit");
        is_served(&mut server.connect().await).await;
    }
}

/// HTTP/1 allows pipelined requests. Answers without a body need no window to be written, and would pile up.
#[tokio::test]
async fn requests_ahead_of_answers_that_nobody_reads_are_not_begun() {
    const ALL: usize = 5000;
    const ASK: &[u8] = b"GET /empty HTTP/1.1\r\nhost: a\r\n\r\n";
    let begun = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&begun);
    // 4 KiB each, so that the system's buffers fill up early.
    let empty = get(async move || {
        count.fetch_add(1, Ordering::Relaxed);
        (StatusCode::NO_CONTENT, [("x-padding", "x".repeat(4096))])
    });
    let server = Running::plain(Router::new().route("/empty", empty), Limits::default());
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4096).expect("a small buffer");
    let (mut reader, mut writer) = socket.connect(server.address).await.expect("connected").into_split();
    let asking = tokio::spawn(async move {
        writer.write_all(&ASK.repeat(ALL)).await.expect("sent");
        writer
    });
    let mut before = None;
    while before != Some(begun.load(Ordering::Relaxed)) || before == Some(0) {
        before = Some(begun.load(Ordering::Relaxed));
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    assert!(before < Some(ALL), "all are answered into memory");

    // A client that reads again is served again.
    let mut bytes = vec![0; 64 * 1024];
    let reading = async {
        while begun.load(Ordering::Relaxed) < ALL {
            assert!(reader.read(&mut bytes).await.expect("answers") > 0, "closed");
        }
    };
    timeout(PATIENCE, reading).await.expect("all are answered in the end");
    drop(asking.await.expect("all are sent"));
}
