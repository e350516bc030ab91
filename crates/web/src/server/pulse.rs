//! Whether a connection is doing something, and since when not.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::Limits;

/// Shared by a connection and its requests. The fields are read for time-outs only, so no order between them matters.
pub(super) struct Pulse {
    opened: Instant,
    /// Microseconds after `opened` at which the present state began or last made progress.
    since: AtomicU64,
    /// Part of a request's head may have come; the rest is awaited.
    in_head: AtomicBool,
    /// HTTP/2: bytes between requests need not be the head of one.
    multiplexed: AtomicBool,
    running: AtomicU32,
}

impl Pulse {
    /// A connection owes its first head from the beginning.
    pub(super) fn new() -> Self {
        Self {
            opened: Instant::now(),
            since: AtomicU64::new(0),
            in_head: AtomicBool::new(true),
            multiplexed: AtomicBool::new(false),
            running: AtomicU32::new(0),
        }
    }

    /// Whether the other side still has time; requests that run have a limit of their own.
    pub(super) fn allows(&self, now: Instant, limits: &Limits) -> bool {
        let allowed = if self.in_head() { limits.header_timeout } else { limits.idle_timeout };
        let since = self.opened + Duration::from_micros(self.since.load(Relaxed));
        self.running.load(Relaxed) > 0 || now < since + allowed
    }

    pub(super) fn in_head(&self) -> bool {
        self.in_head.load(Relaxed)
    }

    pub(super) fn request_begins(self: Arc<Self>, multiplexed: bool) -> Exchange {
        self.running.fetch_add(1, Relaxed);
        self.in_head.store(false, Relaxed);
        self.multiplexed.store(multiplexed, Relaxed);
        Exchange(self)
    }

    fn bytes_came(&self) {
        if self.running.load(Relaxed) == 0 && !self.multiplexed.load(Relaxed) && !self.in_head() {
            self.in_head.store(true, Relaxed);
            self.touch();
        }
    }

    fn bytes_went(&self) {
        if !self.in_head() {
            self.touch();
        }
    }

    fn touch(&self) {
        let micros = u64::try_from(self.opened.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.since.store(micros, Relaxed);
    }
}

/// A request being answered; over when dropped, however it ends.
pub(super) struct Exchange(Arc<Pulse>);

impl Drop for Exchange {
    fn drop(&mut self) {
        self.0.touch();
        self.0.running.fetch_sub(1, Relaxed);
    }
}

/// A stream that tells the pulse when bytes really move.
pub(super) struct Watched<S> {
    stream: S,
    pulse: Arc<Pulse>,
}

impl<S> Watched<S> {
    pub(super) fn new(stream: S, pulse: Arc<Pulse>) -> Self {
        Self { stream, pulse }
    }

    fn wrote(&self, outcome: &Poll<io::Result<usize>>) {
        if matches!(outcome, Poll::Ready(Ok(count)) if *count > 0) {
            self.pulse.bytes_went();
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let outcome = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.pulse.bytes_came();
        }
        outcome
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.wrote(&outcome);
        outcome
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.wrote(&outcome);
        outcome
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
