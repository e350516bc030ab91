//! One connection: whether something moves on it, since when not, and what it makes us keep.

use std::collections::HashMap;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::Limits;
use super::connections::Connections;

/// A request head of more bytes than these is counted while it is incomplete, in steps of as many.
const HEAD_STEP: usize = 8 * 1024;

/// Shared by a connection and its requests. Fields that are read for time-outs only need no order between them.
pub(super) struct Connection {
    opened: Instant,
    /// Microseconds after `opened` at which the present state began or last made progress.
    since: AtomicU64,
    /// Part of a request's head may have come; the rest is awaited.
    in_head: AtomicBool,
    /// HTTP/2: bytes between requests need not be the head of one, and bytes that go need not be an answer.
    multiplexed: AtomicBool,
    running: AtomicU32,
    /// Bodies that the other side has not finished and answers that it has not read: when each last moved.
    waiting: Mutex<Waiting>,
    /// Bytes read since the last request began, and how many of them are counted as held.
    head: AtomicUsize,
    head_counted: AtomicUsize,
    /// Memory held for the other side, in bytes, of which [`Connections`] keeps the sum; nothing once it is evicted.
    held: Mutex<Option<usize>>,
    connections: Arc<Connections>,
    evicted: Notify,
}

#[derive(Default)]
struct Waiting {
    next: u64,
    since: HashMap<u64, u64>,
}

impl Connection {
    /// A connection owes its first head from the beginning.
    pub(super) fn new(connections: Arc<Connections>) -> Self {
        Self {
            opened: Instant::now(),
            since: AtomicU64::new(0),
            in_head: AtomicBool::new(true),
            multiplexed: AtomicBool::new(false),
            running: AtomicU32::new(0),
            waiting: Mutex::default(),
            head: AtomicUsize::new(0),
            head_counted: AtomicUsize::new(0),
            held: Mutex::new(Some(0)),
            connections,
            evicted: Notify::new(),
        }
    }

    /// Whether the other side still has time. Requests that run have a limit of their own. On a multiplexed connection
    /// one answer that is not read ends it, whatever else moves.
    pub(super) fn allows(&self, now: Instant, limits: &Limits) -> bool {
        if self.is_multiplexed()
            && let Some(oldest) = self.oldest_waiting()
            && now >= self.at(oldest) + limits.idle_timeout
        {
            return false;
        }
        let allowed = if self.in_head() { limits.header_timeout } else { limits.idle_timeout };
        self.running.load(Relaxed) > 0 || now < self.idle_since() + allowed
    }

    pub(super) fn in_head(&self) -> bool {
        self.in_head.load(Relaxed)
    }

    pub(super) fn is_multiplexed(&self) -> bool {
        self.multiplexed.load(Relaxed)
    }

    /// No request runs and no answer is being read.
    pub(super) fn is_idle(&self) -> bool {
        self.running.load(Relaxed) == 0 && self.waiting.lock().since.is_empty()
    }

    pub(super) fn idle_since(&self) -> Instant {
        self.at(self.since.load(Relaxed))
    }

    /// Since when the other side has not moved what has waited the longest for it.
    pub(super) fn waits_since(&self) -> Option<Instant> {
        self.oldest_waiting().map(|micros| self.at(micros))
    }

    /// Ends the connection at once: others need its place or its memory, which counts as free from now on.
    pub(super) fn evict(&self) {
        let held = self.held.lock().take().unwrap_or_default();
        self.connections.release(held);
        self.evicted.notify_one();
    }

    pub(super) async fn evicted(&self) {
        self.evicted.notified().await;
    }

    pub(super) fn request_begins(self: &Arc<Self>, multiplexed: bool) -> Running {
        self.running.fetch_add(1, Relaxed);
        self.in_head.store(false, Relaxed);
        self.multiplexed.store(multiplexed, Relaxed);
        self.head.store(0, Relaxed);
        let counted = self.head_counted.swap(0, Relaxed);
        if counted > 0 {
            self.release(counted);
        }
        Running(Arc::clone(self))
    }

    fn oldest_waiting(&self) -> Option<u64> {
        self.waiting.lock().since.values().min().copied()
    }

    fn at(&self, micros: u64) -> Instant {
        self.opened + Duration::from_micros(micros)
    }

    fn micros(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn bytes_came(&self, count: usize) {
        if self.running.load(Relaxed) == 0 && !self.is_multiplexed() && !self.in_head() {
            self.in_head.store(true, Relaxed);
            self.touch();
        }
        // While a request runs, what comes is its body, which is counted where it is read.
        if self.running.load(Relaxed) == 0 {
            let head = self.head.fetch_add(count, Relaxed) + count;
            let counted = self.head_counted.load(Relaxed);
            if head >= counted + HEAD_STEP && counted < usize::from(super::MAX_HEAD) {
                self.head_counted.fetch_add(HEAD_STEP, Relaxed);
                self.hold(HEAD_STEP);
            }
        }
    }

    /// Of a multiplexed connection these may be answers to PING and SETTINGS, which are no progress.
    fn bytes_went(&self) {
        if !self.in_head() && !self.is_multiplexed() {
            self.touch();
        }
    }

    fn touch(&self) {
        self.since.store(self.micros(), Relaxed);
    }

    fn hold(&self, bytes: usize) {
        if let Some(held) = self.held.lock().as_mut() {
            *held += bytes;
            self.connections.hold(bytes);
        }
        // Without the lock: it may be this connection that gives way.
        self.connections.relieve();
    }

    fn release(&self, bytes: usize) {
        if let Some(held) = self.held.lock().as_mut() {
            *held -= bytes;
            self.connections.release(bytes);
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.release(self.head_counted.load(Relaxed));
    }
}

/// A request being answered; over when dropped, however it ends.
pub(super) struct Running(Arc<Connection>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.touch();
        self.0.running.fetch_sub(1, Relaxed);
    }
}

/// Memory that one request makes us keep: its stream, a body that is being read, an answer that is not read yet.
pub(super) struct Held {
    connection: Arc<Connection>,
    bytes: AtomicUsize,
    /// Its number in [`Connection::waiting`], while it waits for the other side.
    number: Mutex<Option<u64>>,
}

impl Held {
    pub(super) fn new(connection: &Arc<Connection>, bytes: usize) -> Self {
        connection.hold(bytes);
        Self { connection: Arc::clone(connection), bytes: AtomicUsize::new(bytes), number: Mutex::new(None) }
    }

    pub(super) fn grow(&self, bytes: usize) {
        self.bytes.fetch_add(bytes, Relaxed);
        self.connection.hold(bytes);
    }

    pub(super) fn shrink(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Relaxed);
        self.connection.release(bytes);
    }

    /// It is the other side's turn, from now on or again.
    pub(super) fn waits(&self) {
        let now = self.connection.micros();
        let mut waiting = self.connection.waiting.lock();
        let number = *self.number.lock().get_or_insert_with(|| {
            waiting.next += 1;
            waiting.next
        });
        waiting.since.insert(number, now);
        self.connection.since.store(now, Relaxed);
    }

    /// The other side has done its part.
    pub(super) fn is_served(&self) {
        if let Some(number) = self.number.lock().take() {
            self.connection.waiting.lock().since.remove(&number);
            self.connection.touch();
        }
    }

    /// Whether all connections together hold too much, although those that stood still were ended.
    pub(super) fn is_too_much(&self) -> bool {
        self.connection.connections.hold_too_much()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.is_served();
        self.connection.release(self.bytes.load(Relaxed));
    }
}

/// A stream that tells its connection when bytes really move.
pub(super) struct Watched<S> {
    stream: S,
    connection: Arc<Connection>,
}

impl<S> Watched<S> {
    pub(super) fn new(stream: S, connection: Arc<Connection>) -> Self {
        Self { stream, connection }
    }

    fn wrote(&self, outcome: &Poll<io::Result<usize>>) {
        if matches!(outcome, Poll::Ready(Ok(count)) if *count > 0) {
            self.connection.bytes_went();
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let outcome = Pin::new(&mut self.stream).poll_read(cx, buf);
        if let Some(count) = buf.filled().len().checked_sub(before).filter(|count| *count > 0) {
            self.connection.bytes_came(count);
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
