//! A request's body and its answer's, as they wait for the other side: read and written within time and memory.

use std::future::ready;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use futures_util::{FutureExt as _, stream};
use http::request::Parts;
use http::{HeaderMap, Request, header};
use http_body_util::BodyExt as _;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use tokio::time::timeout_at;

use crate::server::allowance::{Overdue, RequestDeadline};
use crate::server::connections::connection::{Exchange, request_bytes};

/// The largest body that any door reads. A larger one is handed on as [`UnreadBody::TooLarge`], for its door to refuse.
const LARGEST_BODY: usize = 1024 * 1024;
/// A body or an answer up to this size is not counted on a connection that carries one at a time.
const SMALL: usize = 4 * 1024;
/// Multiplexed answers are handed over in pieces, so that a reader who opens its window by a byte takes one and no more.
const PIECE: usize = 16 * 1024;

/// What is in the place of a body that was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UnreadBody {
    #[error("the body is larger than any that is read here")]
    TooLarge,
    #[error("the connection, or the protocol, was broken within the body")]
    Broken,
}

impl UnreadBody {
    fn body(self) -> Body {
        Body::from_stream(stream::once(ready(Err::<Bytes, _>(self))))
    }
}

/// The request with its body whole, so that nobody who works on it waits for the other side. Where it does not come in time,
/// nothing is allowed any more.
pub(super) async fn whole(
    request: Request<Incoming>,
    exchange: &Arc<Exchange>,
    allowance: RequestDeadline,
) -> (Request<Body>, RequestDeadline) {
    let (parts, body) = request.into_parts();
    let (body, allowance) = match timeout_at(allowance.end(), read(&parts, body, exchange)).await {
        Ok(body) => (body, allowance),
        Err(_) => (Body::empty(), allowance.spent(Overdue::Sender)),
    };
    exchange.is_ours();
    (Request::from_parts(parts, body), allowance)
}

/// A body that is there already, as that of most requests, is counted if it is large; one that is waited for always is.
async fn read(parts: &Parts, mut body: Incoming, exchange: &Arc<Exchange>) -> Body {
    if exchange.connection().is_blocked() {
        exchange.awaits_peer();
        exchange.connection().taken().await;
    }
    if is_too_large(&parts.headers) {
        return UnreadBody::TooLarge.body();
    }
    let mut read = Gathered::default();
    let mut counted = None;
    loop {
        let mut frame = body.frame();
        let frame = if let Some(there) = (&mut frame).now_or_never() {
            there
        } else {
            read.own();
            // The head is kept as long.
            if counted.is_none() && !exchange.connection().is_multiplexed() {
                exchange.hold(request_bytes(&parts.headers, &parts.uri));
            }
            exchange.hold(read.kept() - counted.unwrap_or(0));
            counted = Some(read.kept());
            exchange.awaits_peer();
            frame.await
        };
        let Some(frame) = frame else { break };
        let Ok(frame) = frame else { return UnreadBody::Broken.body() };
        let Ok(data) = frame.into_data() else { continue };
        read.push(data);
        if read.len() > LARGEST_BODY {
            return UnreadBody::TooLarge.body();
        }
    }
    if read.kept() > SMALL {
        exchange.hold(read.kept() - counted.unwrap_or(0));
    }
    Body::from(read.bytes())
}

fn is_too_large(headers: &HeaderMap) -> bool {
    let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    length.is_some_and(|length| length > LARGEST_BODY as u64)
}

/// The pieces of a body, put together. One piece alone is kept as it came; of several only the bytes are, not the buffers that
/// they came in.
#[derive(Default)]
struct Gathered {
    first: Bytes,
    all: BytesMut,
}

impl Gathered {
    fn push(&mut self, data: Bytes) {
        if self.first.is_empty() && self.all.is_empty() {
            self.first = data;
            return;
        }
        self.own();
        self.all.extend_from_slice(&data);
    }

    /// Lets go of the buffer that a piece came in, which may be larger.
    fn own(&mut self) {
        let first = std::mem::take(&mut self.first);
        self.all.extend_from_slice(&first);
    }

    fn len(&self) -> usize {
        self.first.len() + self.all.len()
    }

    /// Never less than before.
    fn kept(&self) -> usize {
        self.first.len() + self.all.capacity()
    }

    fn bytes(self) -> Bytes {
        if self.all.is_empty() { self.first } else { self.all.freeze() }
    }
}

/// An answer's body. What it keeps in memory is counted until the other side has taken it.
pub(super) struct ResponseBody {
    body: Body,
    exchange: Arc<Exchange>,
    rest: Bytes,
}

impl ResponseBody {
    pub(super) fn new(body: Body, exchange: Arc<Exchange>) -> Self {
        Self { body, exchange, rest: Bytes::new() }
    }

    /// Bytes that are dropped when the other side has taken them, and are counted until then.
    fn counted(&self, data: Bytes) -> Bytes {
        if data.len() <= SMALL && !self.exchange.connection().is_multiplexed() {
            return data;
        }
        // Bytes that others hold too are in memory anyway.
        let bytes = if data.is_unique() { data.len() } else { 0 };
        self.exchange.offers(bytes);
        Bytes::from_owner(CountedBytes { data, bytes, exchange: Arc::clone(&self.exchange) })
    }

    fn piece(&mut self) -> Frame<Bytes> {
        if !self.exchange.connection().is_multiplexed() {
            return Frame::data(std::mem::take(&mut self.rest));
        }
        self.exchange.awaits_peer();
        Frame::data(self.rest.split_to(PIECE.min(self.rest.len())))
    }
}

/// Bytes of an answer that nobody has taken yet.
struct CountedBytes {
    data: Bytes,
    bytes: usize,
    exchange: Arc<Exchange>,
}

impl AsRef<[u8]> for CountedBytes {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

impl Drop for CountedBytes {
    fn drop(&mut self) {
        self.exchange.is_taken(self.bytes);
    }
}

impl HttpBody for ResponseBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if !self.rest.is_empty() {
            return Poll::Ready(Some(Ok(self.piece())));
        }
        let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) else {
            self.exchange.has_no_news();
            return Poll::Pending;
        };
        Poll::Ready(frame.map(|frame| {
            frame.map(|frame| match frame.into_data() {
                Ok(data) if !data.is_empty() => {
                    self.rest = self.counted(data);
                    self.piece()
                }
                Ok(empty) => Frame::data(empty),
                Err(trailers) => trailers,
            })
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = self.body.size_hint();
        let rest = self.rest.len() as u64;
        let (lower, upper) = (hint.lower() + rest, hint.upper().map(|upper| upper + rest));
        if let Some(upper) = upper {
            hint.set_upper(upper);
        }
        hint.set_lower(lower);
        hint
    }
}
