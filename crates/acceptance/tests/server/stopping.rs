use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::timeout;
use web::server::Limits;

use crate::{PATIENCE, Running, rest, until};

/// A handler that reports when it runs, and answers when told.
#[derive(Clone, Default)]
struct Work {
    running: Arc<Notify>,
    finish: Arc<Notify>,
}

impl Work {
    fn router(&self) -> Router {
        let work = self.clone();
        let handler = async move || {
            work.running.notify_one();
            work.finish.notified().await;
            "finished"
        };
        Router::new().route("/", get(async || "hello")).route("/busy", get(handler))
    }

    async fn begin(&self, server: &Running) -> TcpStream {
        let mut stream = server.connect().await;
        stream.write_all(b"GET /busy HTTP/1.1\r\nhost: a\r\n\r\n").await.expect("sent");
        timeout(PATIENCE, self.running.notified()).await.expect("begun in time");
        stream
    }
}

#[tokio::test]
async fn a_stop_finishes_what_runs_and_takes_nothing_new() {
    let work = Work::default();
    let server = Running::plain(work.router(), Limits { drain: PATIENCE, ..Limits::default() });
    let mut quiet = server.connect().await;
    quiet.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.expect("sent");
    until(&mut quiet, "hello").await;
    let mut busy = work.begin(&server).await;

    server.stop.send(()).expect("running");
    assert_eq!(rest(&mut quiet).await, "", "a quiet connection is closed");
    assert!(!server.served.is_finished(), "somebody is still served");

    work.finish.notify_one();
    let answer = rest(&mut busy).await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("finished"), "{answer}");
    timeout(PATIENCE, server.served).await.expect("stopped in time").expect("no panic");
    let refused = TcpStream::connect(server.address).await.expect_err("nobody listens");
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn a_stop_waits_no_longer_than_the_drain() {
    let work = Work::default();
    let drain = Duration::from_millis(150);
    let server = Running::plain(work.router(), Limits { drain, ..Limits::default() });
    let mut busy = work.begin(&server).await;
    server.stop.send(()).expect("running");
    timeout(PATIENCE, server.served).await.expect("stopped in time").expect("no panic");
    assert_eq!(rest(&mut busy).await, "");
}
