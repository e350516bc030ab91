//! How long an answer may take, and who is to blame when it is over.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use hyper::body::{Frame, Incoming, SizeHint};
use tokio::time::timeout;

/// The time that one request has, from the end of its head to the beginning of its response.
#[derive(Clone)]
pub struct Allowance {
    limit: Duration,
    body: Option<Arc<Progress>>,
}

/// Of a body that is not here yet.
#[derive(Default)]
struct Progress {
    /// Somebody waits for the sender's next bytes.
    is_awaited: AtomicBool,
    is_complete: AtomicBool,
}

/// An allowance that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overdue {
    /// The sender of the body was slow; else we were.
    pub is_of_the_sender: bool,
    /// The rest of the body may still come.
    is_cut: bool,
}

impl Allowance {
    pub fn new(limit: Duration) -> Self {
        Self { limit, body: None }
    }

    pub(super) fn with_body(limit: Duration) -> Self {
        Self { limit, body: Some(Arc::default()) }
    }

    /// What `answering` comes to within the time.
    pub async fn keep<T>(&self, answering: impl Future<Output = T>) -> Result<T, Overdue> {
        timeout(self.limit, answering).await.map_err(|_| {
            let is = |flag: fn(&Progress) -> &AtomicBool| {
                self.body.as_ref().is_some_and(|body| flag(body).load(Ordering::Acquire))
            };
            let is_cut = self.body.is_some() && !is(|body| &body.is_complete);
            Overdue { is_of_the_sender: is(|body| &body.is_awaited), is_cut }
        })
    }
}

impl Overdue {
    /// RFC 9110 §15.5.9 when the sender is to blame for the delay, else §15.6.4.
    pub fn status(self) -> StatusCode {
        if self.is_of_the_sender { StatusCode::REQUEST_TIMEOUT } else { StatusCode::SERVICE_UNAVAILABLE }
    }

    /// Makes an answer say what ends here.
    pub fn close(self, mut response: Response<Body>) -> Response<Body> {
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        if self.is_cut {
            // The rest of the body would be taken for the next request. hyper leaves this out of HTTP/2.
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if !self.is_of_the_sender {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
        }
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

/// A body that tells how far it is.
pub(super) struct Arriving {
    body: Incoming,
    progress: Arc<Progress>,
}

impl Arriving {
    pub(super) fn new(body: Incoming, allowance: &Allowance) -> Self {
        Self { body, progress: allowance.body.clone().unwrap_or_default() }
    }
}

impl hyper::body::Body for Arriving {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        self.progress.is_awaited.store(polled.is_pending(), Ordering::Release);
        if matches!(polled, Poll::Ready(None)) || self.body.is_end_stream() {
            self.progress.is_complete.store(true, Ordering::Release);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
