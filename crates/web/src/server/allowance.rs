//! How long an answer may take, and whose fault it is when there is none in time.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::{HeaderValue, Response, StatusCode, header};
use tokio::time::{Instant, timeout_at};

use crate::server::connections::connection::Exchange;

/// What one request has: the time from the end of its head to the beginning of its response.
#[derive(Clone)]
pub struct RequestDeadline {
    end: Instant,
    spent: Option<Overdue>,
    work: Option<DetachedWork>,
}

/// Held by work that goes on when its connection is gone, so that it stays counted.
#[derive(Clone)]
pub(crate) struct DetachedWork(#[expect(dead_code, reason = "it is held, not used")] Arc<Exchange>);

/// A request that gets no other answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overdue {
    /// The sender of the body was slow.
    Sender,
    /// We were.
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

    /// What `answering` comes to within the time. It is not begun where nothing is allowed any more.
    pub async fn keep<T>(&self, answering: impl Future<Output = T>) -> Result<T, Overdue> {
        if let Some(overdue) = self.spent {
            return Err(overdue);
        }
        timeout_at(self.end, answering).await.map_err(|_| Overdue::Server)
    }
}

impl Overdue {
    /// RFC 9110 §15.5.9 when the sender is to blame for the delay, else §15.6.4.
    pub fn status(self) -> StatusCode {
        if self == Self::Sender { StatusCode::REQUEST_TIMEOUT } else { StatusCode::SERVICE_UNAVAILABLE }
    }

    /// Makes an answer say what ends here.
    pub fn close(self, mut response: Response<Body>) -> Response<Body> {
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        match self {
            // The rest of the body would be taken for the next request. hyper leaves this out of HTTP/2.
            Self::Sender => headers.insert(header::CONNECTION, HeaderValue::from_static("close")),
            Self::Server => headers.insert(header::RETRY_AFTER, HeaderValue::from_static("5")),
        };
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}
