//! One connection: its requests and whose turn it is in each, the time of the last progress, and the memory it holds.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Acquire, Ordering::Release};

use http::{HeaderMap, Request, Uri};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::server::connections::Connections;
use crate::server::frames::OpenBlock;
use crate::server::{Limits, MAX_HEAD, MAX_STREAMS};

/// Connection buffers are counted beyond the first of these steps.
const BUFFER_STEP: usize = 8 * 1024;
/// The cost of a stream of a multiplexed connection, or of an awaited body, besides its bytes.
const EXCHANGE_BYTES: usize = 8 * 1024;
/// The cost of a header field besides its name and value: an entry of a `HeaderMap`, which grows by doubling.
const FIELD_BYTES: usize = 128;
/// The overhead of a field in the size limit of HTTP/2 heads (RFC 9113 §6.5.2).
const FIELD_OVERHEAD: usize = 32;

/// Shared by a connection, its requests, and the remaining parts of their responses.
pub(in crate::server) struct Connection {
    opened: Instant,
    state: Mutex<ConnectionState>,
    connections: Arc<Connections>,
    evicted: Notify,
    /// HTTP/2: concurrent requests, and bytes that belong to none.
    is_multiplexed: AtomicBool,
    /// The peer does not take written bytes.
    is_blocked: AtomicBool,
    unblocked: Notify,
}

struct ConnectionState {
    /// The start of the present state, or its last progress.
    since: Instant,
    /// When an incomplete request head began.
    head: Option<Instant>,
    has_begun: bool,
    exchanges: Vec<OpenExchange>,
    next: u64,
    /// The largest content of the read buffer; `buffer` is the counted part of it.
    most_read: usize,
    head_bytes: usize,
    buffer: usize,
    /// For HTTP/2, the number of the field block that `head` refers to.
    block: u64,
    /// Bytes counted for the block's fields.
    block_fields: usize,
    is_closed: bool,
    /// Bytes that it pinned when it was evicted.
    leaving: usize,
}

/// A request until its work is done and its response is gone.
struct OpenExchange {
    number: u64,
    turn: ExchangeTurn,
    /// When it began. On the peer's turn, the peer's last action.
    since: Instant,
    /// Parts of the response handed over and not taken.
    unread: u32,
    /// Bytes counted as held.
    bytes: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ExchangeTurn {
    /// The server works on it.
    Ours,
    /// The response has begun, all of it so far was taken, and more follows when there is news. News should come now
    /// and then: a peer that vanished silently is noticed only when it does not take any.
    Streaming,
    /// The peer has to send or take something.
    Theirs,
}

/// The order of eviction: the lowest rank goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::server) struct EvictionRank {
    /// A request is open and waits for the peer.
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

    /// True while the peer has time left. A connection owes its first request head from the start. The server's own
    /// work has a separate limit. One overdue action of the peer ends the connection, whatever else progresses.
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

    /// The eviction rank, or `None` while the server works for the connection or it follows a stream.
    pub(in crate::server) fn standing(&self) -> Option<EvictionRank> {
        self.state.lock().standing()
    }

    /// The rank for memory eviction: time of the last progress, and bytes. Running work does not exempt a connection: a
    /// peer could always have some.
    pub(in crate::server) fn pinning(&self) -> Option<(Instant, usize)> {
        let state = self.state.lock();
        if state.exchanges.iter().any(|open| open.turn == ExchangeTurn::Streaming) {
            return None;
        }
        let since = state.exchanges.iter().map(|open| open.since).min().unwrap_or(state.since);
        Some((since, state.pinned())).filter(|(_, bytes)| *bytes > 0)
    }

    /// Closes it at once, for its place or its memory. That memory is no longer counted for it, but is free only after
    /// it has ended. Work that continues all the same is bounded by the queues.
    pub(in crate::server) fn evict(&self) {
        let mut state = self.state.lock();
        let pinned = state.close(&self.connections);
        state.leaving += pinned;
        self.connections.is_leaving(pinned);
        drop(state);
        self.evicted.notify_one();
    }

    /// Stops counting for it. Only work that outlives the connection remains.
    pub(in crate::server) fn close(&self) {
        let mut state = self.state.lock();
        state.close(&self.connections);
        self.connections.has_left(std::mem::take(&mut state.leaving));
    }

    pub(in crate::server) async fn evicted(&self) {
        self.evicted.notified().await;
    }

    /// True if the peer leaves written bytes unread. No further request of it is processed meanwhile: responses without
    /// a body would pile up (RFC 9112 §9.3.2 lets a client send any number of requests ahead).
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

    /// Returns whether it was blocked before.
    pub(in crate::server) fn set_blocked(&self, blocked: bool) -> bool {
        let before = self.is_blocked.swap(blocked, Release);
        if before && !blocked {
            self.unblocked.notify_waiters();
        }
        before
    }

    /// Opens a request with a complete head. A peer that opens and resets streams faster than their work is done has
    /// more requests at work than streams allowed (CVE-2023-44487), and loses the connection.
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

    /// Records `count` received bytes. `open_block` is an incomplete HTTP/2 head.
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

    /// Records sent bytes. On a multiplexed connection they may be answers to PING and SETTINGS, which are no progress.
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
    /// Each block has the time of a whole head. A block that follows another in the same bytes starts its own time.
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

    /// Returns the number of bytes counted for it until now.
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

/// The maximum number of fields in this many bytes of a head: one-byte fields, with the rest of the size limit in their
/// values.
fn max_fields(bytes: usize) -> usize {
    bytes.min(usize::from(MAX_HEAD).saturating_sub(bytes) / (FIELD_OVERHEAD - 1))
}

/// The memory cost of a request without its body: its head, and the structures made for it.
pub(in crate::server) fn request_bytes(headers: &HeaderMap, uri: &Uri) -> usize {
    let fields = headers.iter().map(|(name, value)| FIELD_BYTES + name.as_str().len() + value.len());
    EXCHANGE_BYTES + uri.path_and_query().map_or(0, |path| path.as_str().len()) + fields.sum::<usize>()
}

/// A request and the memory it holds. It ends when the last owner drops it: work that outlives its connection is an
/// owner, and so is every part of a response that was not taken.
pub(in crate::server) struct Exchange {
    connection: Arc<Connection>,
    number: u64,
}

impl Exchange {
    pub(in crate::server) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Counts more bytes for it. If all connections together are over the budget, connections of the network that pins
    /// the most are evicted.
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
        // The lock is released first: this connection may be the one to evict.
        connections.relieve();
    }

    /// The server's turn.
    pub(in crate::server) fn is_ours(&self) {
        self.update(|open| open.turn = ExchangeTurn::Ours);
    }

    /// A part of the response was handed over; `bytes` are held for it alone.
    pub(in crate::server) fn offers(&self, bytes: usize) {
        self.update(|open| open.unread += 1);
        self.hold(bytes);
        self.awaits_peer();
    }

    /// The peer's turn to send or take, starting now.
    pub(in crate::server) fn awaits_peer(&self) {
        let now = Instant::now();
        self.update(|open| (open.turn, open.since) = (ExchangeTurn::Theirs, now));
    }

    /// No part of the response is ready to be handed over.
    pub(in crate::server) fn has_no_news(&self) {
        self.update(|open| {
            if open.unread == 0 {
                open.turn = ExchangeTurn::Streaming;
            }
        });
    }

    /// A part of the response was taken or dropped.
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

    /// True if its connection was closed, so that no response can be sent.
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
        // Data queued behind responses that the peer does not take is no progress.
        if !self.connection.is_blocked() {
            state.since = Instant::now();
        }
        drop(state);
        self.connection.connections.release(bytes);
    }
}
