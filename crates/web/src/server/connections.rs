//! All open connections: limits per network, the shared memory budget, and eviction.

pub(super) mod connection;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::Poll;
use std::time::Duration;

use model::meter::NamedCounters;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use crate::server::connections::connection::Connection;
use crate::server::{Limits, MAX_FURTHER_STREAMS, MAX_STREAMS, TrustedProxies};

/// When connections at work take all permits or all memory, the wait until the next check for one to evict.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// The divisor of the memory budget above which work pauses: while evicted connections hold more than this part, they
/// have to free it first.
const MAX_LEAVING: usize = 32;

/// Connection figures for the operator. Listeners with the same figures share one memory budget.
#[derive(Default)]
pub struct ConnectionFigures {
    open: AtomicUsize,
    held: AtomicUsize,
    /// Bytes of connections that were evicted and have not ended yet.
    leaving: AtomicUsize,
    ended: NamedCounters,
}

impl ConnectionFigures {
    pub(crate) fn open(&self) -> usize {
        self.open.load(Relaxed)
    }

    /// Bytes held for peers: unfinished bodies and unread responses.
    pub(crate) fn held(&self) -> usize {
        self.held.load(Relaxed)
    }

    /// Evicted connections by cause.
    pub(crate) fn ended_early(&self) -> Vec<(&'static str, u64)> {
        self.ended.read()
    }

    pub(super) fn ended(&self, cause: &'static str) {
        self.ended.add(cause);
    }
}

/// A network that connections are counted for. An IPv6 client controls at least the 2^64 addresses of its /64, often a
/// /48.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum ClientNetwork {
    Address(IpAddr),
    Subnet(u64),
    Site(u64),
}

/// The open connections of all listeners.
pub(super) struct Connections {
    limits: Limits,
    trusted_proxies: TrustedProxies,
    table: Mutex<ConnectionTable>,
    figures: Arc<ConnectionFigures>,
    left: Notify,
}

#[derive(Default)]
struct ConnectionTable {
    next: u64,
    open: HashMap<u64, ConnectionEntry>,
    by_network: HashMap<ClientNetwork, HashSet<u64>>,
    /// When memory was over the budget and no connection could be evicted.
    nothing_pinned: Option<Instant>,
}

struct ConnectionEntry {
    /// The networks of the client with the maximum number of connections of each, smallest network first. Empty for a
    /// proxy.
    networks: Vec<(ClientNetwork, u32)>,
    connection: Arc<Connection>,
}

impl ConnectionEntry {
    /// The network whose share counts for eviction. For IPv6 the /48: one subscriber may have all of it.
    fn widest(&self) -> Option<ClientNetwork> {
        self.networks.last().map(|(network, _)| *network)
    }
}

/// An admitted connection. Dropping it frees its place.
pub(super) struct ConnectionPermit {
    id: u64,
    pub(super) connection: Arc<Connection>,
    /// Maximum number of concurrent requests over HTTP/2.
    pub(super) max_streams: u32,
    connections: Arc<Connections>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum NotAdmitted {
    /// All connections of the client's network are at work.
    NetworkIsFull,
    /// All connections are at work.
    Full,
}

impl Connections {
    pub(super) fn new(limits: Limits, trusted_proxies: TrustedProxies, figures: Arc<ConnectionFigures>) -> Self {
        Self { limits, trusted_proxies, table: Mutex::default(), figures, left: Notify::new() }
    }

    pub(super) fn figures(&self) -> &ConnectionFigures {
        &self.figures
    }

    /// A permit for a connection from `peer`. If its network is at its limit, the network's idlest connection is
    /// evicted; if the server is at its limit, the idlest of the network with the most connections. After idle
    /// connections come those that keep the server waiting. A connection that the server works for is never evicted
    /// here.
    pub(super) fn admit(self: &Arc<Self>, peer: IpAddr) -> Result<ConnectionPermit, NotAdmitted> {
        let mut table = self.table.lock();
        let networks = self.networks(peer);
        for (network, most) in &networks {
            let open = table.by_network.get(network).filter(|open| open.len() >= *most as usize);
            if let Some(open) = open {
                let Some(idlest) = table.idlest_of(open) else {
                    self.figures.ended("network_refused");
                    return Err(NotAdmitted::NetworkIsFull);
                };
                table.evict(idlest);
                self.figures.ended("network");
            }
        }
        if table.open.len() >= self.limits.max_connections as usize {
            let idlest = table.idlest().ok_or(NotAdmitted::Full)?;
            table.evict(idlest);
            self.figures.ended("maximum");
        }
        let (id, connection) = (table.next, Arc::new(Connection::new(Arc::clone(self))));
        let is_further = networks.first().is_some_and(|(network, _)| table.by_network.contains_key(network));
        let max_streams = if is_further { MAX_FURTHER_STREAMS } else { MAX_STREAMS };
        table.next += 1;
        for (network, _) in &networks {
            table.by_network.entry(*network).or_default().insert(id);
        }
        table.open.insert(id, ConnectionEntry { networks, connection: Arc::clone(&connection) });
        self.figures.open.fetch_add(1, Relaxed);
        Ok(ConnectionPermit { id, connection, max_streams, connections: Arc::clone(self) })
    }

    /// Waits until a connection has ended, or may have become idle.
    pub(super) async fn changed(&self) {
        let _either = timeout(LOOK_AGAIN, self.left.notified()).await;
    }

    /// The networks that a connection counts for, each with its limit. None for a trusted proxy: it carries many
    /// clients.
    fn networks(&self, peer: IpAddr) -> Vec<(ClientNetwork, u32)> {
        let peer = peer.to_canonical();
        if self.trusted_proxies.trusts(peer) {
            return Vec::new();
        }
        let (per_network, per_site) = (self.limits.connections_per_network, self.limits.connections_per_site);
        match peer {
            IpAddr::V4(_) => vec![(ClientNetwork::Address(peer), per_network)],
            IpAddr::V6(address) => {
                let subnet = u64::try_from(address.to_bits() >> 64).expect("the upper half of 128 bits");
                vec![(ClientNetwork::Subnet(subnet), per_network), (ClientNetwork::Site(subnet >> 16), per_site)]
            }
        }
    }

    pub(super) fn hold(&self, bytes: usize) {
        self.figures.held.fetch_add(bytes, Relaxed);
    }

    pub(super) fn release(&self, bytes: usize) {
        self.figures.held.fetch_sub(bytes, Relaxed);
    }

    pub(super) fn is_leaving(&self, bytes: usize) {
        self.figures.leaving.fetch_add(bytes, Relaxed);
    }

    pub(super) fn has_left(&self, bytes: usize) {
        self.figures.leaving.fetch_sub(bytes, Relaxed);
    }

    /// True if evicted connections that have not ended hold more than a small part of the budget.
    fn are_leaving(&self) -> bool {
        self.figures.leaving.load(Relaxed) > self.limits.unread_bytes / MAX_LEAVING
    }

    fn hold_too_much(&self) -> bool {
        self.figures.held() > self.limits.unread_bytes
    }

    /// When memory is over the budget, evicts connections until the rest holds three quarters of it. Each time it takes
    /// the network that pins the most, and of that the connection that has stood still the longest. So senders that
    /// drip bytes to look busy, from few networks, are evicted before clients that are merely slow.
    pub(super) fn relieve(&self) {
        if !self.hold_too_much() {
            return;
        }
        let mut table = self.table.lock();
        let now = Instant::now();
        if table.nothing_pinned.is_some_and(|looked| now < looked + LOOK_AGAIN) {
            return;
        }
        let mut pinning = table.pinning();
        let mut ended = 0_u32;
        // Another task may have freed memory while this one waited for the lock.
        while self.hold_too_much() || ended > 0 && self.figures.held() > self.limits.unread_bytes / 4 * 3 {
            let Some(mut most) = pinning.pop() else { break };
            if let Some((_, id, bytes)) = most.connections.pop() {
                table.evict(id);
                ended += 1;
                self.figures.ended("memory");
                most.bytes -= bytes;
                pinning.push(most);
            }
        }
        // Running work holds the rest, so requests skip the search for a while.
        table.nothing_pinned = self.hold_too_much().then_some(now);
        drop(table);
        if ended > 0 {
            tracing::warn!(
                ended,
                "connections that did not take their answers, or finish their bodies, held too much memory"
            );
        }
    }
}

/// The memory that the connections of one network, or one connection of a proxy, pin.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Pinning {
    bytes: usize,
    /// Sorted so that the connection that has stood still the longest is last.
    connections: Vec<(Reverse<Instant>, u64, usize)>,
}

impl ConnectionTable {
    fn pinning(&self) -> BinaryHeap<Pinning> {
        let mut shares: HashMap<(Option<ClientNetwork>, Option<u64>), Pinning> = HashMap::new();
        for (id, entry) in &self.open {
            let Some((since, bytes)) = entry.connection.pinning() else { continue };
            let network = entry.widest();
            let alone = network.is_none().then_some(*id);
            let share = shares.entry((network, alone)).or_insert(Pinning { bytes: 0, connections: Vec::new() });
            share.bytes += bytes;
            share.connections.push((Reverse(since), *id, bytes));
        }
        for share in shares.values_mut() {
            share.connections.sort_unstable();
        }
        shares.into_values().collect()
    }

    fn idlest_of(&self, ids: &HashSet<u64>) -> Option<u64> {
        let standing = ids.iter().filter_map(|id| Some((self.open.get(id)?.connection.standing()?, *id)));
        standing.min().map(|(_, id)| id)
    }

    fn idlest(&self) -> Option<u64> {
        let weight = |entry: &ConnectionEntry| {
            entry.widest().and_then(|network| self.by_network.get(&network)).map_or(1, HashSet::len)
        };
        let standing = self.open.iter().filter_map(|(id, entry)| {
            let standing = entry.connection.standing()?;
            Some((Reverse(weight(entry)), standing, *id))
        });
        standing.min().map(|(.., id)| id)
    }

    fn evict(&mut self, id: u64) {
        if let Some(connection) = self.forget(id) {
            connection.evict();
        }
    }

    fn forget(&mut self, id: u64) -> Option<Arc<Connection>> {
        let entry = self.open.remove(&id)?;
        for (network, _) in entry.networks {
            if let Some(open) = self.by_network.get_mut(&network) {
                open.remove(&id);
                if open.is_empty() {
                    self.by_network.remove(&network);
                }
            }
        }
        Some(entry.connection)
    }
}

impl ConnectionPermit {
    /// Runs `work` only while no evicted connection is about to free memory. Evicted connections are scheduled in the
    /// same queue as all others; without this, a thousand simultaneous connections would all take memory before the
    /// first has freed any.
    pub(super) async fn after_who_leaves<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        poll_fn(|cx| {
            if self.connections.are_leaving() {
                // Moves this task to the end of the queue.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            work.as_mut().poll(cx)
        })
        .await
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.connection.close();
        let _known = self.connections.table.lock().forget(self.id);
        self.connections.figures.open.fetch_sub(1, Relaxed);
        self.connections.left.notify_one();
    }
}

#[cfg(test)]
mod tests;
