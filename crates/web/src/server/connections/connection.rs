//! One connection: its requests, whose turn it is in each, since when nothing moved, and what all of it keeps in memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Acquire, Ordering::Release};

use http::{HeaderMap, Request, Uri};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::server::connections::Connections;
use crate::server::frames::OpenBlock;
use crate::server::{Limits, MAX_HEAD, MAX_STREAMS};

/// Buffers of a connection are counted beyond the first of these steps.
const BUFFER_STEP: usize = 8 * 1024;
/// What a stream of a multiplexed connection, or a body that is awaited, costs besides its bytes.
const EXCHANGE_BYTES: usize = 8 * 1024;
/// What a header field costs besides its name and value: an entry of a `HeaderMap`, which grows by doubling.
const FIELD_BYTES: usize = 128;
/// What a field counts for beside its bytes where heads over HTTP/2 are bounded (RFC 9113 §6.5.2).
const FIELD_OVERHEAD: usize = 32;

/// Shared by a connection, its requests, and what is left of their answers.
pub(in crate::server) struct Connection {
    opened: Instant,
    state: Mutex<ConnectionState>,
    connections: Arc<Connections>,
    evicted: Notify,
    /// HTTP/2: several requests at once, and bytes that are of none.
    is_multiplexed: AtomicBool,
    /// The other side does not take what is written.
    is_blocked: AtomicBool,
    unblocked: Notify,
}

struct ConnectionState {
    /// When the present state began, or last made progress.
    since: Instant,
    /// A request's head that came in part: since when.
    head: Option<Instant>,
    has_begun: bool,
    exchanges: Vec<OpenExchange>,
    next: u64,
    /// The most that its read buffer has held, of which `buffer` is counted.
    most_read: usize,
    head_bytes: usize,
    buffer: usize,
    /// The block of header fields, of HTTP/2, that `head` is about.
    block: u64,
    /// Counted for its fields.
    block_fields: usize,
    is_closed: bool,
    /// What it pinned when it was told to end.
    leaving: usize,
}

/// A request until nothing is left of it: not of its work, nor of its answer.
struct OpenExchange {
    number: u64,
    turn: ExchangeTurn,
    /// When it began; on the other side's turn, when that last did something.
    since: Instant,
    /// Parts of the answer that were handed over and not taken.
    unread: u32,
    /// Counted as held.
    bytes: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ExchangeTurn {
    /// We work on it.
    Ours,
    /// The answer has begun, all of it so far was taken, and more will come when there is news. There should be some now and
    /// then: a peer that is gone without a word is noticed when it takes none.
    Streaming,
    /// The other side is to send or to take something.
    Theirs,
}

/// Why a connection could be ended for another's sake: the least is ended first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::server) struct EvictionRank {
    /// A request is open on it, which the other side keeps waiting.
    pub(in crate::server) has_requests: bool,
    pub(in crate::server) since: Instant,
}

impl Connection {
    pub(in crate::server) fn new(connections: Arc<Connections>) -> Self {
        let opened = Instant::now();
        let state = ConnectionState {
            since: opened,
            head: None,
            has_begun: false,
            exchanges: Vec::new(),
            next: 0,
            most_read: 0,
            head_bytes: 0,
            buffer: 0,
            block: 0,
            block_fields: 0,
            is_closed: false,
            leaving: 0,
        };
        let (evicted, unblocked) = (Notify::new(), Notify::new());
        let (is_multiplexed, is_blocked) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { opened, state: Mutex::new(state), connections, evicted, is_multiplexed, is_blocked, unblocked }
    }

    /// Whether the other side still has time. A connection owes its first head from the beginning. Work of ours has a limit
    /// of its own. One thing that the other side keeps waiting ends the connection, whatever else moves.
    pub(in crate::server) fn allows(&self, now: Instant, limits: &Limits) -> bool {
        let state = self.state.lock();
        let head = if state.has_begun { state.head } else { Some(self.opened) };
        let is_late = |since: Instant| now >= since + limits.idle_timeout;
        if head.is_some_and(|begun| now >= begun + limits.header_timeout)
            || state.exchanges.iter().filter_map(OpenExchange::stands_since).any(is_late)
        {
            return false;
        }
        !state.exchanges.is_empty() || head.is_some() || !is_late(state.since)
    }

    pub(in crate::server) fn in_head(&self) -> bool {
        let state = self.state.lock();
        !state.has_begun || state.head.is_some()
    }

    pub(in crate::server) fn is_multiplexed(&self) -> bool {
        self.is_multiplexed.load(Acquire)
    }

    /// Whether it may give way to another connection. Not while we work for it, nor while it follows a stream.
    pub(in crate::server) fn standing(&self) -> Option<EvictionRank> {
        self.state.lock().standing()
    }

    /// Likewise for its memory, which is the second value. Work of ours does not save it: a peer may always have some.
    pub(in crate::server) fn pinning(&self) -> Option<(Instant, usize)> {
        let state = self.state.lock();
        if state.exchanges.iter().any(|open| open.turn == ExchangeTurn::Streaming) {
            return None;
        }
        let since = state.exchanges.iter().map(|open| open.since).min().unwrap_or(state.since);
        Some((since, state.pinned())).filter(|(_, bytes)| *bytes > 0)
    }

    /// Ends it at once: others need its place or its memory, which is no longer counted for it, but not free before it has left.
    /// Work that goes on all the same is as much as our queues take.
    pub(in crate::server) fn evict(&self) {
        let mut state = self.state.lock();
        let pinned = state.close(&self.connections);
        state.leaving += pinned;
        self.connections.is_leaving(pinned);
        drop(state);
        self.evicted.notify_one();
    }

    /// Nothing more is counted for it, and nothing is left of it but work that goes on.
    pub(in crate::server) fn close(&self) {
        let mut state = self.state.lock();
        state.close(&self.connections);
        self.connections.has_left(std::mem::take(&mut state.leaving));
    }

    pub(in crate::server) async fn evicted(&self) {
        self.evicted.notified().await;
    }

    /// Whether the other side leaves unread what was written. No further request of it is worked on meanwhile: answers
    /// without a body would pile up (RFC 9112 §9.3.2 lets a client send any number of requests ahead).
    pub(in crate::server) fn is_blocked(&self) -> bool {
        self.is_blocked.load(Acquire)
    }

    pub(in crate::server) async fn taken(&self) {
        loop {
            let unblocked = self.unblocked.notified();
            if !self.is_blocked() {
                return;
            }
            unblocked.await;
        }
    }

    /// Returns whether it was blocked until now.
    pub(in crate::server) fn set_blocked(&self, blocked: bool) -> bool {
        let before = self.is_blocked.swap(blocked, Release);
        if before && !blocked {
            self.unblocked.notify_waiters();
        }
        before
    }

    /// A request whose head is complete. A peer that opens streams and resets them faster than their work is done has more
    /// at work than it may have open (CVE-2023-44487), and loses the connection.
    pub(in crate::server) fn begin<B>(self: &Arc<Self>, request: &Request<B>, is_multiplexed: bool) -> Arc<Exchange> {
        let mut state = self.state.lock();
        state.has_begun = true;
        state.head_bytes = 0;
        if !is_multiplexed {
            state.head = None;
        }
        let number = state.next;
        state.next += 1;
        state.exchanges.push(OpenExchange {
            number,
            turn: ExchangeTurn::Ours,
            since: Instant::now(),
            unread: 0,
            bytes: 0,
        });
        let is_too_many = state.exchanges.len() > 2 * MAX_STREAMS as usize && !state.is_closed;
        drop(state);
        let exchange = Arc::new(Exchange { connection: Arc::clone(self), number });
        if is_too_many {
            self.connections.figures().ended("resets");
            self.evict();
        }
        if is_multiplexed {
            exchange.hold(request_bytes(request.headers(), request.uri()));
        }
        exchange
    }

    /// So many bytes came. `open_block` is a head in HTTP/2 that is not complete.
    pub(in crate::server) fn bytes_came(&self, count: usize, is_multiplexed: bool, open_block: Option<OpenBlock>) {
        let mut state = self.state.lock();
        if is_multiplexed {
            self.is_multiplexed.store(true, Release);
            state.is_in_block(open_block);
        } else if state.exchanges.is_empty() {
            state.head_bytes += count;
            state.head.get_or_insert_with(Instant::now);
        }
        state.most_read = state.most_read.max(count).max(state.head_bytes);
        if state.is_closed {
            return;
        }
        let fields = open_block.map_or(0, |block| FIELD_BYTES * max_fields(block.decoded));
        let steps = state.most_read.saturating_sub(1) / BUFFER_STEP * BUFFER_STEP;
        let (before, now) = (state.buffer + state.block_fields, steps + fields);
        (state.buffer, state.block_fields) = (steps, fields);
        if now > before {
            self.connections.hold(now - before);
            drop(state);
            self.connections.relieve();
        } else {
            self.connections.release(before - now);
        }
    }

    /// Of a multiplexed connection these may be answers to PING and SETTINGS, which are no progress.
    pub(in crate::server) fn bytes_went(&self) {
        let mut state = self.state.lock();
        if self.is_multiplexed() || !state.has_begun {
            return;
        }
        let now = Instant::now();
        state.since = now;
        for open in &mut state.exchanges {
            if open.turn == ExchangeTurn::Theirs {
                open.since = now;
            }
        }
    }
}

impl ConnectionState {
    /// Each block has the time of a head: one that follows another in the same bytes is not as old as that.
    fn is_in_block(&mut self, open: Option<OpenBlock>) {
        self.head_bytes = open.map_or(0, |block| block.bytes);
        let begun = self.head.filter(|_| open.is_some_and(|block| block.number == self.block));
        self.head = open.map(|_| begun.unwrap_or_else(Instant::now));
        self.block = open.map_or(0, |block| block.number);
    }

    fn standing(&self) -> Option<EvictionRank> {
        if self.exchanges.is_empty() {
            return Some(EvictionRank { has_requests: false, since: self.since });
        }
        if self.exchanges.iter().any(|open| open.stands_since().is_none()) {
            return None;
        }
        let since = self.exchanges.iter().filter_map(OpenExchange::stands_since).min()?;
        Some(EvictionRank { has_requests: true, since })
    }

    /// Answers how much was counted for it until now.
    fn close(&mut self, connections: &Connections) -> usize {
        let pinned = self.pinned();
        self.is_closed = true;
        connections.release(pinned);
        (self.buffer, self.block_fields) = (0, 0);
        for open in &mut self.exchanges {
            open.bytes = 0;
        }
        pinned
    }

    fn pinned(&self) -> usize {
        self.buffer + self.block_fields + self.exchanges.iter().map(|open| open.bytes).sum::<usize>()
    }

    fn open(&mut self, number: u64) -> Option<&mut OpenExchange> {
        self.exchanges.iter_mut().find(|open| open.number == number)
    }
}

impl OpenExchange {
    fn stands_since(&self) -> Option<Instant> {
        (self.turn == ExchangeTurn::Theirs).then_some(self.since)
    }
}

/// Fields that so many bytes of a head may have been: those that are one byte each, and the rest in values.
fn max_fields(bytes: usize) -> usize {
    bytes.min(usize::from(MAX_HEAD).saturating_sub(bytes) / (FIELD_OVERHEAD - 1))
}

/// What a request costs while it is kept: its head, and all that is made for it. Not its body.
pub(in crate::server) fn request_bytes(headers: &HeaderMap, uri: &Uri) -> usize {
    let fields = headers.iter().map(|(name, value)| FIELD_BYTES + name.as_str().len() + value.len());
    EXCHANGE_BYTES + uri.path_and_query().map_or(0, |path| path.as_str().len()) + fields.sum::<usize>()
}

/// A request and what it makes us keep. It is over when this is dropped by everybody: work that outlives its connection holds
/// it, and so does every part of an answer that nobody has taken.
pub(in crate::server) struct Exchange {
    connection: Arc<Connection>,
    number: u64,
}

impl Exchange {
    pub(in crate::server) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Counts more bytes for it; whoever pins the most gives way where all together hold too much.
    pub(in crate::server) fn hold(&self, bytes: usize) {
        if bytes == 0 {
            return;
        }
        let connections = &self.connection.connections;
        let mut state = self.connection.state.lock();
        if state.is_closed {
            return;
        }
        connections.hold(bytes);
        if let Some(open) = state.open(self.number) {
            open.bytes += bytes;
        }
        drop(state);
        // Without the lock: it may be this connection that gives way.
        connections.relieve();
    }

    /// It is for us to go on.
    pub(in crate::server) fn is_ours(&self) {
        self.update(|open| open.turn = ExchangeTurn::Ours);
    }

    /// A part of the answer is handed over, of which so many bytes are kept for it alone.
    pub(in crate::server) fn offers(&self, bytes: usize) {
        self.update(|open| open.unread += 1);
        self.hold(bytes);
        self.awaits_peer();
    }

    /// It is the other side's turn to send or to take, from now on or again.
    pub(in crate::server) fn awaits_peer(&self) {
        let now = Instant::now();
        self.update(|open| (open.turn, open.since) = (ExchangeTurn::Theirs, now));
    }

    /// Nothing of the answer is there to be handed over.
    pub(in crate::server) fn has_no_news(&self) {
        self.update(|open| {
            if open.unread == 0 {
                open.turn = ExchangeTurn::Streaming;
            }
        });
    }

    /// A part of the answer is gone.
    pub(in crate::server) fn is_taken(&self, bytes: usize) {
        let mut freed = 0;
        self.update(|open| {
            open.unread -= 1;
            freed = bytes.min(open.bytes);
            open.bytes -= freed;
            if open.unread == 0 {
                open.turn = ExchangeTurn::Ours;
            }
        });
        self.connection.connections.release(freed);
    }

    /// Its connection is ended: nobody gets an answer.
    pub(in crate::server) fn is_given_up(&self) -> bool {
        self.connection.state.lock().is_closed
    }

    fn update(&self, change: impl FnOnce(&mut OpenExchange)) {
        if let Some(open) = self.connection.state.lock().open(self.number) {
            change(open);
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let mut state = self.connection.state.lock();
        let place = state.exchanges.iter().position(|open| open.number == self.number);
        let bytes = place.map_or(0, |place| state.exchanges.swap_remove(place).bytes);
        // What waits behind answers that nobody takes is no progress.
        if !self.connection.is_blocked() {
            state.since = Instant::now();
        }
        drop(state);
        self.connection.connections.release(bytes);
    }
}
