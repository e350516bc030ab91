//! The layer around every request: its id, its log line, and the headers of every answer.

#![allow(clippy::disallowed_methods, reason = "the log says how long an answer took")]

use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use flows::platform::fault_log::FaultContext;
use flows::{Fault, Trouble};
use futures_util::FutureExt as _;
use http::{HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use model::HostName;
use model::audit::RequestId;

use crate::request::context::AppState;
use crate::request::headers;
use crate::request::latencies::Route;
use crate::request::start::RequestStart;
use crate::request::traces::{AnsweredRequest, OpenSpan, Tracer};
use crate::request::{overdue, render};
use crate::server::{DetachedWork, Overdue, RequestDeadline};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// RFC 6797 §6.1: the browser returns by https only. For one year, and for this host alone: Gatehouse knows nothing of
/// the subdomains.
static HTTPS_ONLY: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// Creates request ids from the time, a random number per process, and a counter. Ids are unique, not secret.
pub(crate) struct RequestIds {
    pub(crate) state: Arc<AppState>,
    process: u64,
    count: AtomicU64,
    /// At least one instance has an https root URL.
    any_https: bool,
}

impl RequestIds {
    pub(crate) fn new(state: Arc<AppState>) -> Self {
        let mut process = [0; 8];
        state.server.platform().rng().fill(&mut process);
        let any_https = state.server.instances().iter().any(|instance| instance.info.root.is_https());
        Self { state, process: u64::from_le_bytes(process), count: AtomicU64::new(0), any_https }
    }

    /// Not if the root URL is http (RFC 6797 §7.2), and not for a loopback host: HSTS would apply to every other port
    /// of the developer's machine.
    fn is_https_only(&self, request: &Request) -> bool {
        let is_elsewhere =
            || headers::host_of(request).ok().and_then(HostName::of).is_some_and(|host| !host.is_loopback());
        let is_https = || self.state.instance_of(request).is_some_and(|instance| instance.info.root.is_https());
        self.any_https && is_https() && is_elsewhere()
    }

    fn receive(&self, request: &Request, peer: IpAddr) -> RequestStart {
        let now = self.state.server.platform().now();
        let id = RequestId::new(now, self.process, self.count.fetch_add(1, Ordering::Relaxed));
        RequestStart { id, now, peer, is_https_only: self.is_https_only(request) }
    }
}

/// One request from arrival to answer.
pub(crate) struct RequestScope {
    ids: Arc<RequestIds>,
    arrival: RequestStart,
    started: Instant,
    method: Method,
    uri: Uri,
    /// `Accept-Language`, kept for endpoints that answer with pages.
    language: Option<HeaderValue>,
    /// Set if the request is traced: its span and the name of its instance.
    span: Option<(OpenSpan, Option<Arc<str>>)>,
}

impl RequestScope {
    pub(crate) fn begin(ids: &Arc<RequestIds>, request: &Request, peer: IpAddr) -> Self {
        let arrival = ids.receive(request, peer);
        let state = &ids.state;
        Self {
            started: Instant::now(),
            method: request.method().clone(),
            uri: request.uri().clone(),
            span: state.tracer.as_ref().and_then(|tracer| begin_span(tracer, state, arrival, request)),
            ids: Arc::clone(ids),
            language: None,
            arrival,
        }
    }

    pub(crate) fn in_language_of(self, request: &Request) -> Self {
        Self { language: request.headers().get(header::ACCEPT_LANGUAGE).cloned(), ..self }
    }

    pub(crate) const fn arrival(&self) -> RequestStart {
        self.arrival
    }

    /// Adds the headers of every answer and records the response time.
    pub(crate) fn end(self, mut response: Response) -> Response {
        let Self { ids, arrival, started, method, uri, span, language: _ } = self;
        let headers = response.headers_mut();
        headers.insert(REQUEST_ID, HeaderValue::from_bytes(&arrival.id.digits()).expect("digits are visible ASCII"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
        if arrival.is_https_only {
            headers.insert(header::STRICT_TRANSPORT_SECURITY, HTTPS_ONLY.clone());
        }
        let (state, took) = (&ids.state, started.elapsed());
        state.latencies.add(Route::of(uri.path()), response.status(), took);
        if let Some((tracer, (begun, instance))) = state.tracer.as_ref().zip(span) {
            let status = response.status();
            let request = AnsweredRequest { arrival, took, method: &method, path: uri.path(), status };
            tracer.finish(begun, &request, instance);
        }
        log(arrival.id, &method, uri.path(), response.status(), took);
        response
    }

    /// Ends with the result of `answering`, or with an error when the request's time is over.
    pub(crate) async fn through(
        self,
        allowance: RequestDeadline,
        answering: impl Future<Output = Response>,
    ) -> Response {
        let response = match allowance.keep(AssertUnwindSafe(answering).catch_unwind()).await {
            Ok(Ok(response)) => response,
            Ok(Err(_panic)) => {
                tracing::error!(request = %self.arrival.id, "a handler panicked: this is a bug");
                let what = "Something went wrong on our side.\n";
                render::no_store(render::text(StatusCode::INTERNAL_SERVER_ERROR, what))
            }
            Err(overdue) => self.overdue(overdue),
        };
        self.end(response)
    }

    fn overdue(&self, overdue: Overdue) -> Response {
        if overdue == Overdue::Server {
            let fault = Fault::because(Trouble::Silent, "the request's time is over");
            let affected = FaultContext { instance: None, request: Some(self.arrival.id) };
            self.ids.state.server.faults().report(&fault, "a request cannot be answered", affected);
        }
        let reference = self.arrival.id.to_string();
        overdue::answer(overdue, self.uri.path(), &reference, self.language.as_ref())
    }
}

/// Opens a span if the request is sampled, with the name of its instance.
fn begin_span(
    tracer: &Tracer,
    state: &AppState,
    arrival: RequestStart,
    request: &Request,
) -> Option<(OpenSpan, Option<Arc<str>>)> {
    let mut rng = state.server.platform().rng();
    let begun = tracer.begin(request.headers(), arrival.peer, &state.proxies, &mut *rng)?;
    let instance = state.instance_of(request).map(|instance| instance.info.name.as_str().into());
    Some((begun, instance))
}

/// Logs refusals at `info` and successes at `debug`; the audit has the successes. Only the path is logged: queries and
/// fragments may hold codes and tokens.
fn log(id: RequestId, method: &Method, path: &str, status: StatusCode, took: Duration) {
    let micros = || u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    let status = status.as_u16();
    if status >= 400 {
        tracing::info!(request = %id, %method, path, status, micros = micros(), "refused");
    } else if tracing::enabled!(tracing::Level::DEBUG) {
        tracing::debug!(request = %id, %method, path, status, micros = micros(), "answered");
    }
}

/// Wraps routes that act, including by GET: sign-out, issuing a code, refreshing a session. Only a deliberate request
/// may do so. Prefetches are refused, and HEAD, which the router would answer by running the GET handler, is not
/// allowed (RFC 9110 §9.2.1: a safe method does not act).
pub(crate) async fn acting(mut request: Request, next: Next) -> Response {
    if headers::is_prefetch(request.headers()) {
        return render::no_store(render::text(StatusCode::SERVICE_UNAVAILABLE, "This is not fetched ahead of need.\n"));
    }
    if request.method() == Method::HEAD {
        // No route has TRACE, so the router answers 405 and lists the allowed methods.
        *request.method_mut() = Method::TRACE;
    }
    let work = request.extensions_mut().remove();
    let response = finish(work, next.run(request)).await;
    if response.status() == StatusCode::METHOD_NOT_ALLOWED {
        render::no_store(without_head(response))
    } else {
        response
    }
}

fn without_head(mut response: Response) -> Response {
    let methods: Vec<_> =
        headers::members(response.headers(), header::ALLOW).filter(|method| method != "HEAD").collect();
    if let Ok(methods) = HeaderValue::try_from(methods.join(", ")) {
        response.headers_mut().insert(header::ALLOW, methods);
    }
    response
}

/// Wraps pages of signed-in users: windows of other sites that opened them, or that they open, get no handle to theirs.
/// Pages on an application's sign-in path are excluded: the application may have opened them in a window of its own and
/// wait for that window.
pub(crate) async fn alone(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    if let Some(policy) = response.headers_mut().get_mut(render::OPENER_POLICY) {
        *policy = HeaderValue::from_static("same-origin");
    }
    response
}

/// Runs a change to its end. axum drops a handler with its connection, and then the database would have a change that
/// memory lacks. `counted` keeps the work counted for its connection while it runs.
pub(crate) async fn finish<T: Send + 'static>(
    counted: Option<DetachedWork>,
    work: impl Future<Output = T> + Send + 'static,
) -> T {
    let work = async move {
        let done = work.await;
        drop(counted);
        done
    };
    match tokio::spawn(work).await {
        Ok(done) => done,
        Err(error) => resume_unwind(error.into_panic()),
    }
}
