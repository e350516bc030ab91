//! Request and response bodies, read and written within limits of time and memory.

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

/// The largest body that any endpoint reads. A larger one becomes [`UnreadBody::TooLarge`], for the endpoint to refuse.
const LARGEST_BODY: usize = 1024 * 1024;
/// Bodies and responses up to this size are not counted on a connection that carries one at a time.
const SMALL: usize = 4 * 1024;
/// Multiplexed responses are sent in pieces, so a reader that opens its window by one byte takes one piece at most.
const PIECE: usize = 16 * 1024;

/// The error in place of a body that was not read.
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

/// The request with its complete body, so that handlers never wait for the peer. If the body is late, the time limit
/// counts as spent.
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

/// A body that arrived with the head, as most do, is counted if it is large. A body that is waited for is always
/// counted.
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
            // The head is kept in memory as long as the body.
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

/// Collects the chunks of a body. A single chunk keeps its buffer; of several, only the bytes are kept, not the buffers
/// that they came in.
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

    /// Copies the first chunk and frees its buffer, which may be larger.
    fn own(&mut self) {
        let first = std::mem::take(&mut self.first);
        self.all.extend_from_slice(&first);
    }

    fn len(&self) -> usize {
        self.first.len() + self.all.len()
    }

    /// The number of bytes kept. It never decreases.
    fn kept(&self) -> usize {
        self.first.len() + self.all.capacity()
    }

    fn bytes(self) -> Bytes {
        if self.all.is_empty() { self.first } else { self.all.freeze() }
    }
}

/// A response body. Its memory is counted until the peer has taken it.
pub(super) struct ResponseBody {
    body: Body,
    exchange: Arc<Exchange>,
    rest: Bytes,
}

impl ResponseBody {
    pub(super) fn new(body: Body, exchange: Arc<Exchange>) -> Self {
        Self { body, exchange, rest: Bytes::new() }
    }

    /// Wraps bytes so that they are counted until the peer has taken them.
    fn counted(&self, data: Bytes) -> Bytes {
        if data.len() <= SMALL && !self.exchange.connection().is_multiplexed() {
            return data;
        }
        // Shared bytes are in memory anyway.
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

/// Response bytes that the peer has not taken yet.
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
