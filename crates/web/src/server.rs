//! The HTTP server: accepts connections, does TLS, speaks HTTP/1.1 and HTTP/2, and limits time and memory per peer.
//!
//! Every wait for the peer has a limit (see [`Limits`]): the handshake, the head of a request, its body, the idle time
//! between two requests, a response that is not read. hyper's own header time-out also runs between requests and starts
//! only after the first bytes told HTTP/1 from HTTP/2, so a [`Connection`] keeps its own state. Memory that a peer
//! makes the server hold is counted ([`Connections`]): unfinished bodies, unread responses, and work for abandoned
//! requests.

#![allow(clippy::disallowed_methods, reason = "connections have real time-outs")]

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use futures_util::StreamExt as _;
use futures_util::future::{BoxFuture, Either};
use futures_util::stream::FuturesUnordered;
use http::{Request, Response, Version};
use hyper::body::{Body as _, Incoming};
use hyper::rt::Executor;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

mod allowance;
mod connections;
mod exchange;
mod frames;
mod proxies;
mod watched;

use self::connections::connection::Connection;
pub(crate) use allowance::DetachedWork;
pub use allowance::{Overdue, RequestDeadline};
pub use connections::ConnectionFigures;
use connections::{ConnectionPermit, Connections, NotAdmitted};
use exchange::ResponseBody;
pub(crate) use exchange::UnreadBody;
pub use proxies::TrustedProxies;
use watched::WatchedStream;

/// Larger request heads get status 431.
const MAX_HEAD: u16 = u16::MAX;
/// Concurrent requests on one HTTP/2 connection (RFC 9113 §6.5.2 recommends at least 100).
const MAX_STREAMS: u32 = 100;
/// The same for every further concurrent connection of a network. A stream costs memory before its request is read, so
/// many connections with many streams each would take gigabytes.
const MAX_FURTHER_STREAMS: u32 = 8;
/// Streams on which a peer may break the protocol before its connection ends: the default of h2. h2 remembers each for
/// a second, including refused streams whose bodies still arrive.
const MAX_STREAM_ERRORS: usize = 1024;
/// The same for connections with few streams.
const MAX_FURTHER_STREAM_ERRORS: usize = 16;
/// HTTP/2 flow-control windows: bytes that a peer may send of one body, and of all together, before they are read.
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 128 * 1024;
/// Buffered bytes of one HTTP/2 response, and of a TLS connection.
const SEND_BUFFER: usize = 16 * 1024;
/// Socket buffer per connection and direction. Accepted sockets inherit it.
const SOCKET_BUFFER: u32 = 128 * 1024;
/// Maximum number of connections waiting to be accepted.
const BACKLOG: u32 = 1024;
/// Pause after `accept` failed for lack of descriptors or memory: long enough for some to be freed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Time limits for a peer and maximum numbers of connections. A connection is checked every `header_timeout`, so it may
/// end that much later than its limit.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// From the first byte of a request to the end of its head. For the first request: from the start of the
    /// connection.
    pub header_timeout: Duration,
    /// From the end of a request's head to the start of its response, so a slow body counts too.
    pub request_timeout: Duration,
    /// Maximum time without a running request and without a response byte taken by the peer.
    pub idle_timeout: Duration,
    pub tls_handshake_timeout: Duration,
    /// Time for running requests when the server stops.
    pub drain: Duration,
    /// At the limit, the idlest connection of the network with the most is closed. If all are busy, new ones wait.
    pub max_connections: u32,
    /// Connections from one IPv4 address or one IPv6 /64. At the limit, the network's idlest connection is closed; if
    /// all are busy, the new one is closed. Trusted proxies have no such limit.
    pub connections_per_network: u32,
    /// The same for one IPv6 /48.
    pub connections_per_site: u32,
    /// Memory that all connections together may hold in unfinished work: heads, bodies, running requests, unread
    /// responses.
    pub unread_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_mins(1),
            tls_handshake_timeout: Duration::from_secs(10),
            drain: Duration::from_secs(7),
            max_connections: 4096,
            connections_per_network: 256,
            connections_per_site: 1024,
            unread_bytes: 24 * 1024 * 1024,
        }
    }
}

/// The layer between TCP and HTTP.
#[derive(Clone)]
pub enum Security {
    Plain,
    /// The newest value is used for the next connection, so certificates change without a restart.
    Tls(watch::Receiver<Arc<ServerConfig>>),
}

/// Answers the requests of a listener.
pub trait Responder: Clone + Send + Sync + 'static {
    /// `peer` is the other end of the connection. Behind a proxy that is the proxy; use
    /// [`TrustedProxies::client_address`]. Implementations keep to `allowance` and answer when it is over.
    fn answer_within(
        &self,
        request: Request<Body>,
        peer: SocketAddr,
        allowance: RequestDeadline,
    ) -> impl Future<Output = Response<Body>> + Send + 'static;

    /// Answers within the default time limit of a listener.
    fn answer(
        &self,
        request: Request<Body>,
        peer: SocketAddr,
    ) -> impl Future<Output = Response<Body>> + Send + 'static {
        self.answer_within(request, peer, RequestDeadline::new(Limits::default().request_timeout))
    }
}

impl Responder for Router {
    fn answer_within(
        &self,
        mut request: Request<Body>,
        peer: SocketAddr,
        allowance: RequestDeadline,
    ) -> impl Future<Output = Response<Body>> + Send + 'static {
        request.extensions_mut().insert(ConnectInfo(peer));
        let answering = tower::Service::call(&mut self.clone(), request);
        async move {
            let answered = allowance.keep(answering).await;
            answered.map_or_else(|overdue| overdue.close(Response::new(Body::empty())), |Ok(response)| response)
        }
    }
}

/// Settings of a listener.
#[derive(Clone)]
pub struct ListenerSettings {
    pub security: Security,
    pub limits: Limits,
    pub trusted_proxies: TrustedProxies,
    pub figures: Arc<ConnectionFigures>,
}

impl ListenerSettings {
    /// Without TLS, trusted proxies and shared figures.
    pub fn plain(limits: Limits) -> Self {
        let (trusted_proxies, figures) = (TrustedProxies::default(), Arc::default());
        Self { security: Security::Plain, limits, trusted_proxies, figures }
    }
}

/// Listens at an address with small socket buffers. With its defaults, the system would keep up to 4 MiB of an unread
/// response, and more of an unread request.
pub fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.set_send_buffer_size(SOCKET_BUFFER)?;
    socket.set_recv_buffer_size(SOCKET_BUFFER)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves until `stop` completes. Then it accepts no connection, finishes running requests, and returns after at most
/// [`Limits::drain`].
pub async fn serve(
    listeners: Vec<TcpListener>,
    app: impl Responder,
    terms: ListenerSettings,
    stop: impl Future<Output = ()>,
) {
    let ListenerSettings { security, limits, trusted_proxies, figures } = terms;
    let connections = Arc::new(Connections::new(limits, trusted_proxies, figures));
    let (stopping, stopped) = watch::channel(false);
    // Each connection holds a sender and never sends. The channel closes when the last connection ends.
    let (open, mut all_closed) = mpsc::channel::<Infallible>(1);
    let service = ConnectionService { app, security, limits, stopped, _open: open };

    let mut accepting = JoinSet::new();
    for listener in listeners {
        accepting.spawn(accept(listener, service.clone(), Arc::clone(&connections)));
    }
    drop(service);
    stop.await;
    stopping.send_replace(true);
    accepting.join_all().await;
    // Connections watch `stopped` and end by themselves.
    let _none = all_closed.recv().await;
}

#[derive(Clone)]
struct ConnectionService<A> {
    app: A,
    security: Security,
    limits: Limits,
    stopped: watch::Receiver<bool>,
    _open: mpsc::Sender<Infallible>,
}

/// Passes the streams of an HTTP/2 connection to the connection's own task. As separate tasks, the streams of a
/// thousand connections with a hundred streams each would run before any other task's next turn, and streams would
/// outlive their connection.
#[derive(Clone)]
struct StreamExecutor(mpsc::UnboundedSender<BoxFuture<'static, ()>>);

impl<F> Executor<F> for StreamExecutor
where
    F: Future + Send + 'static,
{
    fn execute(&self, stream: F) {
        // Sending fails only if the connection has ended.
        let _ = self.0.send(Box::pin(async move { drop(stream.await) }));
    }
}

fn protocol(streams: StreamExecutor, max_streams: u32) -> auto::Builder<StreamExecutor> {
    let mut http = auto::Builder::new(streams);
    http.http1().header_read_timeout(None).max_buf_size(MAX_HEAD.into());
    let mut http2 = http.http2();
    http2.max_concurrent_streams(max_streams).max_header_list_size(MAX_HEAD.into()).max_send_buf_size(SEND_BUFFER);
    let is_further = max_streams <= MAX_FURTHER_STREAMS;
    http2.max_local_error_reset_streams(if is_further { MAX_FURTHER_STREAM_ERRORS } else { MAX_STREAM_ERRORS });
    http2.initial_stream_window_size(STREAM_WINDOW).initial_connection_window_size(CONNECTION_WINDOW);
    http
}

async fn accept(listener: TcpListener, service: ConnectionService<impl Responder>, connections: Arc<Connections>) {
    let mut stopped = service.stopped.clone();
    let mut stopped = pin!(stopped.wait_for(|stopped| *stopped));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = &mut stopped => return,
        };
        match accepted {
            Ok((stream, peer)) => {
                let admitted = tokio::select! {
                    admitted = admit(&connections, peer) => admitted,
                    _ = &mut stopped => return,
                };
                if let Some(place) = admitted {
                    tokio::spawn(connection(stream, peer, service.clone(), place));
                }
            }
            Err(error) if is_of_the_connection(&error) => {
                tracing::debug!(%error, "connection lost before it was accepted");
            }
            Err(error) => {
                tracing::error!(%error, "cannot accept connections");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Waits for a permit for the connection. Returns `None` if its network is at its limit.
async fn admit(connections: &Arc<Connections>, peer: SocketAddr) -> Option<ConnectionPermit> {
    loop {
        match connections.admit(peer.ip()) {
            Ok(place) => return Some(place),
            Err(NotAdmitted::NetworkIsFull) => {
                tracing::debug!(%peer, "connection closed: its network has as many as it may");
                return None;
            }
            Err(NotAdmitted::Full) => connections.changed().await,
        }
    }
}

/// True if the error concerns one connection: `accept(2)` also reports errors of the connection that it takes from the
/// queue.
fn is_of_the_connection(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    service: ConnectionService<impl Responder>,
    place: ConnectionPermit,
) {
    // A socket without the option works too, only with more delay.
    let _ = stream.set_nodelay(true);
    let Security::Tls(current) = &service.security else {
        return converse(stream, peer, &service, &place).await;
    };
    let acceptor = TlsAcceptor::from(current.borrow().clone());
    let mut stopped = service.stopped.clone();
    let shaking = acceptor.accept_with(stream, |tls| tls.set_buffer_limit(Some(SEND_BUFFER)));
    let shaken = tokio::select! {
        shaken = timeout(service.limits.tls_handshake_timeout, shaking) => shaken,
        () = place.connection.evicted() => return,
        _ = stopped.wait_for(|stopped| *stopped) => return,
    };
    match shaken {
        Ok(Ok(stream)) => converse(stream, peer, &service, &place).await,
        Ok(Err(error)) => tracing::debug!(%peer, %error, "TLS handshake refused"),
        Err(_) => tracing::debug!(%peer, "TLS handshake took too long"),
    }
}

/// Serves one connection until the peer closes it, it times out, it is evicted, or the server stops.
async fn converse<S>(stream: S, peer: SocketAddr, service: &ConnectionService<impl Responder>, place: &ConnectionPermit)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let (limits, connection) = (service.limits, &place.connection);
    let answers = service_fn(|request: Request<Incoming>| {
        let answer = answer(&service.app, request, peer, connection, limits.request_timeout);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let io = TokioIo::new(WatchedStream::new(stream, Arc::clone(connection)));
    let (opened, mut begun) = mpsc::unbounded_channel();
    let protocol = protocol(StreamExecutor(opened), place.max_streams);
    let mut http = pin!(protocol.serve_connection(io, answers));
    let mut streams = FuturesUnordered::new();
    let mut stopped = service.stopped.clone();
    let mut stopped = pin!(stopped.wait_for(|stopped| *stopped));
    let mut alarm = pin!(sleep(limits.header_timeout));
    let mut leaving = false;
    loop {
        let next = async {
            tokio::select! {
                biased;
                end = http.as_mut() => Next::End(end),
                Some(stream) = begun.recv() => Next::Stream(stream),
                Some(()) = streams.next() => Next::StreamEnd,
                () = alarm.as_mut() => Next::Alarm,
                _ = &mut stopped, if !leaving => Next::Stop,
            }
        };
        let next = tokio::select! {
            biased;
            () = connection.evicted() => return,
            next = place.after_who_leaves(next) => next,
        };
        match next {
            Next::End(end) => {
                if let Err(error) = end {
                    tracing::debug!(%peer, error, "connection ended");
                }
                return;
            }
            Next::Stream(stream) => {
                streams.push(stream);
                continue;
            }
            Next::StreamEnd => continue,
            Next::Alarm => {
                if !leaving && connection.allows(Instant::now(), &limits) {
                    alarm.as_mut().reset(Instant::now() + limits.header_timeout);
                    continue;
                }
                // A connection with half a request is dropped. An idle one is closed properly (GOAWAY, close_notify).
                if leaving || connection.in_head() {
                    return;
                }
            }
            Next::Stop => {}
        }
        leaving = true;
        http.as_mut().graceful_shutdown();
        alarm.as_mut().reset(Instant::now() + limits.drain);
    }
}

/// The next event of a connection.
enum Next<E> {
    End(E),
    Stream(BoxFuture<'static, ()>),
    StreamEnd,
    Alarm,
    Stop,
}

/// Reads the request's body, then answers, both within the time limit. The answering work may outlive the connection
/// and never waits for it.
fn answer(
    app: &impl Responder,
    request: Request<Incoming>,
    peer: SocketAddr,
    connection: &Arc<Connection>,
    limit: Duration,
) -> impl Future<Output = Response<ResponseBody>> + 'static {
    let exchange = connection.begin(&request, request.version() == Version::HTTP_2);
    let allowance = RequestDeadline::of(limit, &exchange);
    let app = app.clone();
    if request.body().is_end_stream() && !connection.is_blocked() {
        // An empty body needs no boxed future. The response is made only when its turn comes: the request may be
        // abandoned before.
        return Either::Left(async move {
            let response = if exchange.is_given_up() {
                Response::default()
            } else {
                app.answer_within(request.map(|_| Body::empty()), peer, allowance).await
            };
            response.map(|body| ResponseBody::new(body, exchange))
        });
    }
    Either::Right(async move {
        let (request, allowance) = exchange::whole(request, &exchange, allowance).await;
        let response = app.answer_within(request, peer, allowance).await;
        response.map(|body| ResponseBody::new(body, exchange))
    })
}
