//! A request's body and its answer's, as they wait for the other side: read and written within time and memory.

use std::future::ready;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use futures_util::{FutureExt as _, stream};
use http::{HeaderMap, Request, header};
use http_body_util::BodyExt as _;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};

use super::connection::{Connection, Held};

/// The largest body that any door reads. A larger one is handed on as [`TooLarge`], for its door to refuse.
const LARGEST_BODY: usize = 1024 * 1024;
/// What a stream of a multiplexed connection costs besides its bodies.
const STREAM_BYTES: usize = 4 * 1024;
/// An answer up to this size on a connection that carries one at a time is not counted.
const SMALL_ANSWER: usize = 4 * 1024;
/// Multiplexed answers are handed over in pieces, so that a reader who opens its window by a byte takes one and no more.
const PIECE: usize = 16 * 1024;

/// What a request holds from the beginning.
pub(super) fn begin(connection: &Arc<Connection>, multiplexed: bool) -> Option<Arc<Held>> {
    multiplexed.then(|| Arc::new(Held::new(connection, STREAM_BYTES)))
}

/// What is in the place of a body that no door would read to its end.
#[derive(Debug, thiserror::Error)]
#[error("the body is larger than any that is read here")]
pub(crate) struct TooLarge;

impl TooLarge {
    fn body() -> Body {
        Body::from_stream(stream::once(ready(Err::<Bytes, _>(Self))))
    }
}

/// Why a body was not read.
#[derive(Debug)]
pub(super) enum Unread {
    /// All connections together hold too much.
    TooMuchHeld,
    /// The connection broke, or the other side broke the protocol.
    Broken,
}

/// The request with its body whole, so that nobody who works on it waits for the other side. A body that is there already, as
/// that of most requests, is not counted; one that is waited for is.
pub(super) async fn whole(
    request: Request<Incoming>,
    connection: &Arc<Connection>,
    held: &mut Option<Arc<Held>>,
) -> Result<Request<Body>, Unread> {
    let (parts, mut body) = request.into_parts();
    if is_too_large(&parts.headers) {
        return Ok(Request::from_parts(parts, TooLarge::body()));
    }
    let mut read = Gathered::default();
    let mut counted = 0;
    loop {
        let mut frame = body.frame();
        let frame = if let Some(there) = (&mut frame).now_or_never() {
            there
        } else {
            let held = held.get_or_insert_with(|| Arc::new(Held::new(connection, 0)));
            held.grow(read.len() - counted);
            counted = read.len();
            held.waits();
            if held.is_too_much() {
                return Err(Unread::TooMuchHeld);
            }
            frame.await
        };
        let Some(frame) = frame else { break };
        let Ok(data) = frame.map_err(|_| Unread::Broken)?.into_data() else { continue };
        read.push(data);
        if read.len() > LARGEST_BODY {
            return Ok(Request::from_parts(parts, TooLarge::body()));
        }
    }
    if let Some(held) = held {
        held.is_served();
    }
    Ok(Request::from_parts(parts, Body::from(read.bytes())))
}

fn is_too_large(headers: &HeaderMap) -> bool {
    let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    length.is_some_and(|length| length > LARGEST_BODY as u64)
}

/// The pieces of a body, put together. One piece alone is kept as it came; of several small ones only the bytes are, not
/// the buffers that they came in.
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
        let first = std::mem::take(&mut self.first);
        self.all.extend_from_slice(&first);
        self.all.extend_from_slice(&data);
    }

    fn len(&self) -> usize {
        self.first.len() + self.all.len()
    }

    fn bytes(self) -> Bytes {
        if self.all.is_empty() { self.first } else { self.all.freeze() }
    }
}

/// An answer's body. What it keeps in memory is counted until the other side has taken it.
pub(super) struct Answering {
    body: Body,
    connection: Arc<Connection>,
    held: Option<Arc<Held>>,
    rest: Bytes,
}

impl Answering {
    pub(super) fn new(body: Body, connection: &Arc<Connection>, held: Option<Arc<Held>>) -> Self {
        Self { body, connection: Arc::clone(connection), held, rest: Bytes::new() }
    }

    /// Bytes that are dropped when the other side has taken them, and are counted until then.
    fn counted(&mut self, data: Bytes) -> Bytes {
        if self.held.is_none() && data.len() > SMALL_ANSWER {
            self.held = Some(Arc::new(Held::new(&self.connection, 0)));
        }
        let Some(held) = &self.held else { return data };
        // Bytes that others hold too are in memory anyway.
        let bytes = if data.is_unique() { data.len() } else { 0 };
        held.grow(bytes);
        held.waits();
        Bytes::from_owner(Counted { data, bytes, held: Arc::clone(held) })
    }

    fn piece(&mut self) -> Frame<Bytes> {
        if let Some(held) = &self.held {
            held.waits();
        }
        let piece = if self.connection.is_multiplexed() { PIECE.min(self.rest.len()) } else { self.rest.len() };
        Frame::data(self.rest.split_to(piece))
    }
}

/// Bytes of an answer that nobody has taken yet.
struct Counted {
    data: Bytes,
    bytes: usize,
    held: Arc<Held>,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.held.shrink(self.bytes);
        self.held.is_served();
    }
}

impl HttpBody for Answering {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if !self.rest.is_empty() {
            return Poll::Ready(Some(Ok(self.piece())));
        }
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(cx));
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
