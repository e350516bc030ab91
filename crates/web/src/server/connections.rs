//! All open connections: how many one network may have, how much memory they may hold together, and which gives way.

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

/// When all places, or all memory, are taken by connections at work, how long until the next look whether one can give way.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Nothing goes on while those that were told to end have more than this part of the memory that all may hold.
const MAX_LEAVING: usize = 32;

/// Figures of connections, for the operator. Everybody who serves with the same ones shares the budget of memory.
#[derive(Default)]
pub struct ConnectionFigures {
    open: AtomicUsize,
    held: AtomicUsize,
    /// Of connections that were told to end, and have not ended.
    leaving: AtomicUsize,
    ended: NamedCounters,
}

impl ConnectionFigures {
    pub(crate) fn open(&self) -> usize {
        self.open.load(Relaxed)
    }

    /// Bytes that are kept for other sides: bodies that are not finished, answers that are not read.
    pub(crate) fn held(&self) -> usize {
        self.held.load(Relaxed)
    }

    /// Connections that were ended for the sake of others, by cause.
    pub(crate) fn ended_early(&self) -> Vec<(&'static str, u64)> {
        self.ended.read()
    }

    pub(super) fn ended(&self, cause: &'static str) {
        self.ended.add(cause);
    }
}

/// A part of the internet that connections are counted for. Whoever has an IPv6 address has at least the 2^64 of its /64, and
/// often a /48.
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
    /// When too much was held and nobody could give way.
    nothing_pinned: Option<Instant>,
}

struct ConnectionEntry {
    /// With how many connections each may have; the smallest network first. None of a proxy.
    networks: Vec<(ClientNetwork, u32)>,
    connection: Arc<Connection>,
}

impl ConnectionEntry {
    /// Whose share it is when somebody has to give way: of IPv6 the /48, which one subscriber may have all of.
    fn widest(&self) -> Option<ClientNetwork> {
        self.networks.last().map(|(network, _)| *network)
    }
}

/// An admitted connection. Its place is free again when this is dropped.
pub(super) struct ConnectionPermit {
    id: u64,
    pub(super) connection: Arc<Connection>,
    /// How many requests it may have open at once over HTTP/2.
    pub(super) max_streams: u32,
    connections: Arc<Connections>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum NotAdmitted {
    /// Every connection of its network is at work.
    NetworkIsFull,
    /// Every connection is at work.
    Full,
}

impl Connections {
    pub(super) fn new(limits: Limits, trusted_proxies: TrustedProxies, figures: Arc<ConnectionFigures>) -> Self {
        Self { limits, trusted_proxies, table: Mutex::default(), figures, left: Notify::new() }
    }

    pub(super) fn figures(&self) -> &ConnectionFigures {
        &self.figures
    }

    /// A place for a connection from here. Where its network has as many as it may, its own idlest gives way; where all have,
    /// that of the network that has the most. After those that are idle come those that keep us waiting. One that we work
    /// for never gives way.
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

    /// Until a connection has ended, or may have become idle.
    pub(super) async fn changed(&self) {
        let _either = timeout(LOOK_AGAIN, self.left.notified()).await;
    }

    /// The networks that a connection counts for, each with how many it may have. Behind a proxy of ours are many.
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

    /// Whether those that were told to end, and have not ended, have more than what is little.
    fn are_leaving(&self) -> bool {
        self.figures.leaving.load(Relaxed) > self.limits.unread_bytes / MAX_LEAVING
    }

    fn hold_too_much(&self) -> bool {
        self.figures.held() > self.limits.unread_bytes
    }

    /// Where all together hold too much, ends connections until the rest holds three quarters: always one of the network that
    /// pins the most, and of its the one that has stood still the longest. So whoever drips bytes to look busy, from few
    /// networks, gives way before somebody who is slow.
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
        // Others may have made room while the table was locked.
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
        // Work of ours holds the rest. Not every request needs to look again.
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

/// What the connections of one network pin, or one of a proxy.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Pinning {
    bytes: usize,
    /// That which has stood still the longest is the last.
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
    /// Goes on with `work` only while nobody else is about to give memory back. Who was told to end is in the same queue as everybody;
    /// without this, a thousand connections that come at once would all have their memory before the first has given back any.
    pub(super) async fn after_who_leaves<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        poll_fn(|cx| {
            if self.connections.are_leaving() {
                // To the end of the queue.
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
