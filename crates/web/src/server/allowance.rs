//! The time limit of an answer, and the party to blame when it passes.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::{HeaderValue, Response, StatusCode, header};
use tokio::time::{Instant, timeout_at};

use crate::server::connections::connection::Exchange;

/// The time limit of one request, from the end of its head to the start of its response.
#[derive(Clone)]
pub struct RequestDeadline {
    end: Instant,
    spent: Option<Overdue>,
    work: Option<DetachedWork>,
}

/// Held by work that outlives its connection, so that it stays counted.
#[derive(Clone)]
pub(crate) struct DetachedWork(#[expect(dead_code, reason = "it is held, not used")] Arc<Exchange>);

/// A request that ran out of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overdue {
    /// The sender of the body was too slow.
    Sender,
    /// The server was too slow.
    Server,
}

impl RequestDeadline {
    pub fn new(limit: Duration) -> Self {
        Self { end: Instant::now() + limit, spent: None, work: None }
    }

    pub(super) fn of(limit: Duration, exchange: &Arc<Exchange>) -> Self {
        Self { work: Some(DetachedWork(Arc::clone(exchange))), ..Self::new(limit) }
    }

    pub(super) fn end(&self) -> Instant {
        self.end
    }

    #[must_use]
    pub(super) fn spent(self, overdue: Overdue) -> Self {
        Self { spent: Some(overdue), ..self }
    }

    pub(crate) fn work(&self) -> Option<DetachedWork> {
        self.work.clone()
    }

    /// Runs `answering` within the time limit. Does not start it if the time is over already.
    pub async fn keep<T>(&self, answering: impl Future<Output = T>) -> Result<T, Overdue> {
        if let Some(overdue) = self.spent {
            return Err(overdue);
        }
        timeout_at(self.end, answering).await.map_err(|_| Overdue::Server)
    }
}

impl Overdue {
    /// 408 if the sender caused the delay (RFC 9110 §15.5.9), else 503 (§15.6.4).
    pub fn status(self) -> StatusCode {
        if self == Self::Sender { StatusCode::REQUEST_TIMEOUT } else { StatusCode::SERVICE_UNAVAILABLE }
    }

    /// Turns an answer into one for this kind of time-out.
    pub fn close(self, mut response: Response<Body>) -> Response<Body> {
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        match self {
            // Without `close`, the rest of the body would be parsed as the next request. hyper omits the header in
            // HTTP/2.
            Self::Sender => headers.insert(header::CONNECTION, HeaderValue::from_static("close")),
            Self::Server => headers.insert(header::RETRY_AFTER, HeaderValue::from_static("5")),
        };
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}
