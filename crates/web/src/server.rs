//! The listener: accepts, does TLS, speaks HTTP/1.1 and HTTP/2, and gives nobody endless time.
//!
//! Every wait on the other side has an end (see [`Limits`]): the handshake, the head of a request, its body, the quiet
//! between two requests, a reader who does not read. hyper's own header time-out also runs between requests and starts
//! only after the first bytes told HTTP/1 from HTTP/2, so the connection's [`Pulse`] is kept here instead.

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
use http::{Request, Response, Version};
use hyper::body::{Body as _, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

mod allowance;
mod proxies;
mod pulse;

use allowance::Arriving;
pub use allowance::{Allowance, Overdue};
pub use proxies::TrustedProxies;
use pulse::{Pulse, Watched};

/// Larger request heads are answered 431.
const MAX_HEAD: u16 = u16::MAX;
/// Requests at once on one HTTP/2 connection.
const MAX_STREAMS: u32 = 128;
/// After `accept` failed for want of descriptors or memory: long enough that something may have been freed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// How long the other side may keep us waiting, and how many others there may be. A connection is looked at every
/// `header_timeout`, so an end may come that much later.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// From the first byte of a request (for the first one: from the connection) to the end of its head.
    pub header_timeout: Duration,
    /// From the end of a request's head to the beginning of its response; so a slow body counts too.
    pub request_timeout: Duration,
    /// Without a request running and without a byte of a response taken.
    pub idle_timeout: Duration,
    pub tls_handshake_timeout: Duration,
    /// What running requests get when the server stops.
    pub drain: Duration,
    /// At the limit new connections wait in the listener's queue. More than there are listeners.
    pub max_connections: u32,
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
        }
    }
}

/// What lies between TCP and HTTP.
#[derive(Clone)]
pub enum Security {
    Plain,
    /// The newest value serves the next connection, so that certificates change without a restart.
    Tls(watch::Receiver<Arc<ServerConfig>>),
}

/// What answers the requests that the listener reads.
pub trait Answer: Clone + Send + Sync + 'static {
    /// `peer` is the other end of the connection. Behind a proxy that is the proxy: [`TrustedProxies::client_address`]
    /// knows better. Whoever answers keeps to `allowance`, and knows how to say that it is over.
    fn answer_within(
        &self,
        request: Request<Body>,
        peer: SocketAddr,
        allowance: Allowance,
    ) -> impl Future<Output = Response<Body>> + Send + 'static;

    /// With the allowance that a listener gives without being told another.
    fn answer(
        &self,
        request: Request<Body>,
        peer: SocketAddr,
    ) -> impl Future<Output = Response<Body>> + Send + 'static {
        self.answer_within(request, peer, Allowance::new(Limits::default().request_timeout))
    }
}

impl Answer for Router {
    fn answer_within(
        &self,
        mut request: Request<Body>,
        peer: SocketAddr,
        allowance: Allowance,
    ) -> impl Future<Output = Response<Body>> + Send + 'static {
        request.extensions_mut().insert(ConnectInfo(peer));
        let answering = tower::Service::call(&mut self.clone(), request);
        async move {
            let answered = allowance.keep(answering).await;
            answered.map_or_else(|overdue| overdue.close(Response::new(Body::empty())), |Ok(response)| response)
        }
    }
}

/// Serves until `stop` is done; then no new connection is taken, running requests are finished, and this returns,
/// at the latest after [`Limits::drain`].
pub async fn serve(
    listeners: Vec<TcpListener>,
    app: impl Answer,
    security: Security,
    limits: Limits,
    stop: impl Future<Output = ()>,
) {
    let seats = Arc::new(Semaphore::new(limits.max_connections as usize));
    let (stopping, stopped) = watch::channel(false);
    let service = Service { app, security, limits, http: protocol(), stopped };

    let mut doors = JoinSet::new();
    for listener in listeners {
        doors.spawn(accept(listener, service.clone(), seats.clone()));
    }
    stop.await;
    stopping.send_replace(true);
    doors.join_all().await;
    // Connections end themselves when told to stop; each gives its seat back.
    let everyone = seats.acquire_many(limits.max_connections).await;
    drop(everyone.expect("the semaphore is never closed"));
}

#[derive(Clone)]
struct Service<A> {
    app: A,
    security: Security,
    limits: Limits,
    http: auto::Builder<TokioExecutor>,
    stopped: watch::Receiver<bool>,
}

fn protocol() -> auto::Builder<TokioExecutor> {
    let mut http = auto::Builder::new(TokioExecutor::new());
    http.http1().header_read_timeout(None).max_buf_size(MAX_HEAD.into());
    http.http2().max_concurrent_streams(MAX_STREAMS).max_header_list_size(MAX_HEAD.into());
    http
}

async fn accept(listener: TcpListener, service: Service<impl Answer>, seats: Arc<Semaphore>) {
    let mut stopped = service.stopped.clone();
    let mut stopped = pin!(stopped.wait_for(|stopped| *stopped));
    loop {
        let next = async {
            let seat = seats.clone().acquire_owned().await.expect("the semaphore is never closed");
            (seat, listener.accept().await)
        };
        let (seat, accepted) = tokio::select! {
            next = next => next,
            _ = &mut stopped => return,
        };
        match accepted {
            Ok((stream, peer)) => {
                tokio::spawn(connection(stream, peer, service.clone(), seat));
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

/// `accept(2)` reports errors of the connection taken from the queue, too.
fn is_of_the_connection(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

async fn connection(stream: TcpStream, peer: SocketAddr, service: Service<impl Answer>, _seat: OwnedSemaphorePermit) {
    // A socket that refuses the option still works, only later.
    let _ = stream.set_nodelay(true);
    let Security::Tls(current) = &service.security else {
        return converse(stream, peer, &service).await;
    };
    let acceptor = TlsAcceptor::from(current.borrow().clone());
    let mut stopped = service.stopped.clone();
    let shaken = tokio::select! {
        shaken = timeout(service.limits.tls_handshake_timeout, acceptor.accept(stream)) => shaken,
        _ = stopped.wait_for(|stopped| *stopped) => return,
    };
    match shaken {
        Ok(Ok(stream)) => converse(stream, peer, &service).await,
        Ok(Err(error)) => tracing::debug!(%peer, %error, "TLS handshake refused"),
        Err(_) => tracing::debug!(%peer, "TLS handshake took too long"),
    }
}

/// One connection's requests, until it is closed from there, is quiet for too long, or the server stops.
async fn converse<S>(stream: S, peer: SocketAddr, service: &Service<impl Answer>)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let limits = service.limits;
    let pulse = Arc::new(Pulse::new());
    let answers = service_fn(|request: Request<Incoming>| {
        let exchange = pulse.clone().request_begins(request.version() == Version::HTTP_2);
        let answer = answer(&service.app, request, peer, limits.request_timeout);
        async move {
            let response = answer.await;
            drop(exchange);
            Ok::<_, Infallible>(response)
        }
    });
    let io = TokioIo::new(Watched::new(stream, pulse.clone()));
    let mut http = pin!(service.http.serve_connection(io, answers));
    let mut stopped = service.stopped.clone();
    let mut stopped = pin!(stopped.wait_for(|stopped| *stopped));
    let mut alarm = pin!(sleep(limits.header_timeout));
    let mut leaving = false;
    loop {
        tokio::select! {
            biased;
            end = http.as_mut() => {
                if let Err(error) = end {
                    tracing::debug!(%peer, error, "connection ended");
                }
                return;
            }
            () = alarm.as_mut() => {
                if !leaving && pulse.allows(Instant::now(), &limits) {
                    alarm.as_mut().reset(Instant::now() + limits.header_timeout);
                    continue;
                }
                // Half a request is owed no farewell; a quiet connection gets one (GOAWAY, close_notify).
                if leaving || pulse.in_head() {
                    return;
                }
            }
            _ = &mut stopped, if !leaving => {}
        }
        leaving = true;
        http.as_mut().graceful_shutdown();
        alarm.as_mut().reset(Instant::now() + limits.drain);
    }
}

fn answer(
    app: &impl Answer,
    request: Request<Incoming>,
    peer: SocketAddr,
    limit: Duration,
) -> impl Future<Output = Response<Body>> + 'static {
    let (allowance, request) = if request.body().is_end_stream() {
        // An empty body needs no box.
        (Allowance::new(limit), request.map(|_| Body::empty()))
    } else {
        let allowance = Allowance::with_body(limit);
        (allowance.clone(), request.map(|body| Body::new(Arriving::new(body, &allowance))))
    };
    app.answer_within(request, peer, allowance)
}
