//! The listener, tested over TCP.

#![allow(clippy::disallowed_methods, reason = "what is tested here is time-outs")]

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use web::server::{Limits, ListenerSettings, Responder, Security, listen, serve};

mod http1;
mod http2;
mod places;
mod stopping;
mod storms;
mod tls;
mod work;

/// Time limit for an expected effect. Only a failing test waits this long.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server on its own port.
struct Running {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    served: JoinHandle<()>,
}

impl Running {
    fn start(router: Router, security: Security, limits: Limits) -> Self {
        Self::on(router, ListenerSettings { security, ..ListenerSettings::plain(limits) })
    }

    fn on(app: impl Responder, terms: ListenerSettings) -> Self {
        let listener = listen(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port");
        let address = listener.local_addr().expect("bound");
        let (stop, stopped) = oneshot::channel();
        let stopped = async {
            // A test may also stop the server by dropping it.
            let _ = stopped.await;
        };
        let served = tokio::spawn(serve(vec![listener], app, terms, stopped));
        Self { address, stop, served }
    }

    fn plain(router: Router, limits: Limits) -> Self {
        Self::start(router, Security::Plain, limits)
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("the server listens")
    }

    /// Sends bytes on a new connection, and returns everything up to the close by the server.
    async fn converse(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect().await;
        stream.write_all(bytes).await.expect("sent");
        rest(&mut stream).await
    }
}

/// Everything up to the close. A reset counts as a close.
async fn rest(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut bytes = Vec::new();
    let closed = timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("closed in time");
    if let Err(error) = closed {
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Reads until `end` has come.
async fn until(stream: &mut (impl AsyncRead + Unpin), end: &str) -> String {
    let mut text = String::new();
    while !text.ends_with(end) {
        let byte = timeout(PATIENCE, stream.read_u8()).await.expect("answered in time").expect("not closed");
        text.push(char::from(byte));
    }
    text
}

/// Begins a request with a body of four bytes that is echoed. Returns when the server waits for the body
/// (RFC 9110 §10.1.1).
async fn begin(stream: &mut TcpStream) {
    let head = "POST /echo HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n";
    stream.write_all(head.as_bytes()).await.expect("sent");
    until(stream, "HTTP/1.1 100 Continue\r\n\r\n").await;
}
