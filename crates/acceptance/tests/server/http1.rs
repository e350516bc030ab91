use std::net::SocketAddr;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::ConnectInfo;
use axum::routing::{get, post};
use bytes::Bytes;
use tokio::io::AsyncWriteExt;
use web::server::Limits;

use crate::{Running, rest, until};

const ASK: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";
const LONG: Duration = Duration::from_hours(1);
const SHORT: Duration = Duration::from_millis(150);

/// No limits except those that a test sets.
fn patient() -> Limits {
    Limits {
        header_timeout: LONG,
        request_timeout: LONG,
        idle_timeout: LONG,
        tls_handshake_timeout: LONG,
        drain: LONG,
        max_connections: 64,
        unread_bytes: usize::MAX,
        ..Limits::default()
    }
}

fn server() -> Router {
    Router::new()
        .route("/", get(async || "hello"))
        .route("/never", get(std::future::pending::<()>).post(std::future::pending::<()>))
        .route("/read", post(async |_: Bytes| std::future::pending::<()>().await))
        .route("/echo", post(async |body: Bytes| body))
        .route("/large", get(async || vec![0; 64 << 20]))
        .route("/peer", get(async |ConnectInfo(peer): ConnectInfo<SocketAddr>| peer.to_string()))
}

#[tokio::test]
async fn half_a_request_is_closed_after_the_header_timeout() {
    let limits = Limits { header_timeout: SHORT, ..patient() };
    let server = Running::plain(server(), limits);
    for half in ["", "G", "GET / HTTP/1.1\r\nhost:", "PRI * HTTP", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        let began = Instant::now();
        let answer = server.converse(half.as_bytes()).await;
        assert!(began.elapsed() >= SHORT, "{half:?} had its time");
        assert!(!answer.contains("HTTP/1.1 200"), "{half:?}: {answer}");
    }
}

#[tokio::test]
async fn a_head_that_drips_in_is_closed_all_the_same() {
    let limits = Limits { header_timeout: SHORT, ..patient() };
    let server = Running::plain(server(), limits);
    let (mut reader, mut writer) = server.connect().await.into_split();
    let dripping = tokio::spawn(async move {
        let mut drip = tokio::time::interval(SHORT / 10);
        while writer.write_all(b"a").await.is_ok() {
            drip.tick().await;
        }
    });
    assert_eq!(rest(&mut reader).await, "");
    dripping.abort();
}

#[tokio::test]
async fn the_header_timeout_counts_for_later_requests_too() {
    let limits = Limits { header_timeout: SHORT, ..patient() };
    let server = Running::plain(server(), limits);
    let mut stream = server.connect().await;
    stream.write_all(ASK).await.expect("sent");
    until(&mut stream, "hello").await;
    stream.write_all(b"GET /").await.expect("sent");
    assert_eq!(rest(&mut stream).await, "");
}

#[tokio::test]
async fn a_quiet_connection_is_kept_for_the_idle_timeout_and_no_longer() {
    let limits = Limits { header_timeout: SHORT, idle_timeout: 4 * SHORT, ..patient() };
    let server = Running::plain(server(), limits);
    let mut stream = server.connect().await;
    let began = Instant::now();
    stream.write_all(ASK).await.expect("sent");
    until(&mut stream, "hello").await;
    assert_eq!(rest(&mut stream).await, "");
    assert!(began.elapsed() >= 4 * SHORT, "closed after {:?}", began.elapsed());
}

#[tokio::test]
async fn a_body_that_does_not_come_is_answered_408_and_the_connection_closed() {
    let limits = Limits { request_timeout: SHORT, ..patient() };
    let server = Running::plain(server(), limits);
    for head in ["content-length: 10", "transfer-encoding: chunked"] {
        let request = format!("POST /echo HTTP/1.1\r\nhost: a\r\n{head}\r\n\r\n3\r\nabc");
        let answer = server.converse(request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
        assert!(answer.contains("connection: close"), "{answer}");
    }
}

#[tokio::test]
async fn a_request_that_we_cannot_answer_in_time_is_answered_503() {
    let limits = Limits { request_timeout: SHORT, ..patient() };
    let server = Running::plain(server(), limits);
    let mut stream = server.connect().await;
    stream.write_all(b"GET /never HTTP/1.1\r\nhost: a\r\n\r\n").await.expect("sent");
    let answer = until(&mut stream, "\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("retry-after: 5"), "{answer}");
    stream.write_all(ASK).await.expect("sent");
    until(&mut stream, "hello").await;
}

#[tokio::test]
async fn a_sender_whose_body_is_here_is_not_blamed_for_our_delay() {
    let limits = Limits { request_timeout: SHORT, ..patient() };
    let server = Running::plain(server(), limits);
    // Whether or not the body was read.
    for path in ["/never", "/read"] {
        let request = format!("POST {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 3\r\n\r\nabc");
        let answer = server.converse(request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("retry-after: 5"), "{path}: {answer}");
    }
}

#[tokio::test]
async fn a_body_that_breaks_the_protocol_is_told_to_its_door() {
    let server = Running::plain(server(), patient());
    let request = "POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\nnone\r\n";
    let answer = server.converse(request.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
}

#[tokio::test]
async fn a_body_that_comes_is_read() {
    let server = Running::plain(server(), patient());
    let request = "POST /echo HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 3\r\n\r\nabc";
    assert!(server.converse(request.as_bytes()).await.ends_with("\r\n\r\nabc"));
}

#[tokio::test]
async fn a_head_over_64_kib_or_over_100_lines_is_answered_431() {
    let server = Running::plain(server(), patient());
    let long = format!("a: {}\r\n", "x".repeat(70_000));
    let many = "a: x\r\n".repeat(101);
    for lines in [long, many] {
        let answer = server.converse(format!("GET / HTTP/1.1\r\nhost: a\r\n{lines}\r\n").as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    }
}

#[tokio::test]
async fn what_is_not_http_is_answered_400() {
    let server = Running::plain(server(), patient());
    let answer = server.converse(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
}

#[tokio::test]
async fn a_reader_who_does_not_read_loses_the_connection() {
    let limits = Limits { idle_timeout: SHORT, header_timeout: SHORT, drain: SHORT, max_connections: 1, ..patient() };
    let server = Running::plain(server(), limits);
    let mut deaf = server.connect().await;
    deaf.write_all(b"GET /large HTTP/1.1\r\nhost: a\r\n\r\n").await.expect("sent");
    until(&mut deaf, "\r\n\r\n").await;
    // The only permit is free again, although the unresponsive client still holds its end.
    let mut next = server.connect().await;
    next.write_all(ASK).await.expect("sent");
    until(&mut next, "hello").await;
    drop(deaf);
}

#[tokio::test]
async fn every_request_knows_its_peer() {
    let server = Running::plain(server(), patient());
    let mut stream = server.connect().await;
    let own = stream.local_addr().expect("connected").to_string();
    stream.write_all(b"GET /peer HTTP/1.1\r\nhost: a\r\nx-forwarded-for: 192.0.2.66\r\n\r\n").await.expect("sent");
    until(&mut stream, &format!("\r\n\r\n{own}")).await;
}
