//! All open connections: how many one network may have, how much memory they may hold together, and which gives way.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::connection::Connection;
use super::{Limits, TrustedProxies};

/// When all places are taken by connections at work, how long until the next look whether one has become idle.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// A part of the internet that connections are counted for. Whoever has an IPv6 address has at least the 2^64 of its /64, and
/// often a /48.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Network {
    Address(IpAddr),
    Subnet(u64),
    Site(u64),
}

/// The open connections of all listeners.
pub(super) struct Connections {
    limits: Limits,
    trusted_proxies: TrustedProxies,
    table: Mutex<Table>,
    /// Bytes held for other sides by all connections together.
    held: AtomicUsize,
    left: Notify,
}

#[derive(Default)]
struct Table {
    next: u64,
    open: HashMap<u64, Entry>,
    by_network: HashMap<Network, u32>,
}

struct Entry {
    networks: Vec<(Network, u32)>,
    connection: Arc<Connection>,
}

/// An admitted connection. Its place is free again when this is dropped.
pub(super) struct Place {
    id: u64,
    pub(super) connection: Arc<Connection>,
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
    pub(super) fn new(limits: Limits, trusted_proxies: TrustedProxies) -> Self {
        Self { limits, trusted_proxies, table: Mutex::default(), held: AtomicUsize::new(0), left: Notify::new() }
    }

    /// A place for a connection from here. Where its network or all have as many as they may, the one that has been idle
    /// the longest gives way. One at work never does.
    pub(super) fn admit(self: &Arc<Self>, peer: IpAddr) -> Result<Place, NotAdmitted> {
        let mut table = self.table.lock();
        let networks = self.networks(peer);
        for (network, most) in &networks {
            if table.by_network.get(network).is_some_and(|open| open >= most) {
                let idlest = table.idlest(|entry| entry.networks.iter().any(|(known, _)| known == network));
                table.evict(idlest.ok_or(NotAdmitted::NetworkIsFull)?);
            }
        }
        if table.open.len() >= self.limits.max_connections as usize {
            let idlest = table.idlest(|_| true);
            table.evict(idlest.ok_or(NotAdmitted::Full)?);
        }
        for (network, _) in &networks {
            *table.by_network.entry(*network).or_default() += 1;
        }
        let (id, connection) = (table.next, Arc::new(Connection::new(Arc::clone(self))));
        table.next += 1;
        table.open.insert(id, Entry { networks, connection: Arc::clone(&connection) });
        Ok(Place { id, connection, connections: Arc::clone(self) })
    }

    /// Until a connection has ended, or may have become idle.
    pub(super) async fn changed(&self) {
        let _either = timeout(LOOK_AGAIN, self.left.notified()).await;
    }

    /// The networks that a connection counts for, each with how many it may have. Behind a proxy of ours are many.
    fn networks(&self, peer: IpAddr) -> Vec<(Network, u32)> {
        let peer = peer.to_canonical();
        if self.trusted_proxies.trusts(peer) {
            return Vec::new();
        }
        let (per_network, per_site) = (self.limits.connections_per_network, self.limits.connections_per_site);
        match peer {
            IpAddr::V4(_) => vec![(Network::Address(peer), per_network)],
            IpAddr::V6(address) => {
                let subnet = u64::try_from(address.to_bits() >> 64).expect("the upper half of 128 bits");
                vec![(Network::Subnet(subnet), per_network), (Network::Site(subnet >> 16), per_site)]
            }
        }
    }

    pub(super) fn hold(&self, bytes: usize) {
        self.held.fetch_add(bytes, Relaxed);
    }

    pub(super) fn release(&self, bytes: usize) {
        self.held.fetch_sub(bytes, Relaxed);
    }

    pub(super) fn hold_too_much(&self) -> bool {
        self.held.load(Relaxed) > self.limits.unread_bytes
    }

    /// Where all together hold too much, ends those whose other side has stood still the longest, until the rest holds three
    /// quarters of what all may.
    pub(super) fn relieve(&self) {
        if !self.hold_too_much() {
            return;
        }
        let mut table = self.table.lock();
        if !self.hold_too_much() {
            return;
        }
        let waiting =
            table.open.iter().filter_map(|(id, entry)| entry.connection.waits_since().map(|since| (since, *id)));
        let mut waiting: Vec<_> = waiting.collect();
        waiting.sort_unstable();
        let mut ended = 0_u32;
        for (_, id) in waiting {
            if self.held.load(Relaxed) <= self.limits.unread_bytes / 4 * 3 {
                break;
            }
            table.evict(id);
            ended += 1;
        }
        if ended > 0 {
            tracing::warn!(
                ended,
                "connections that did not take their answers, or finish their bodies, held too much memory"
            );
        }
    }
}

impl Table {
    fn idlest(&self, among: impl Fn(&Entry) -> bool) -> Option<u64> {
        let idle = self.open.iter().filter(|(_, entry)| among(entry) && entry.connection.is_idle());
        idle.min_by_key(|(_, entry)| entry.connection.idle_since()).map(|(id, _)| *id)
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
                *open -= 1;
                if *open == 0 {
                    self.by_network.remove(&network);
                }
            }
        }
        Some(entry.connection)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _known = self.connections.table.lock().forget(self.id);
        self.connections.left.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connections(limits: Limits) -> Arc<Connections> {
        let proxies = TrustedProxies::new(vec!["10.0.0.0/8".parse().expect("a network")]);
        Arc::new(Connections::new(limits, proxies))
    }

    fn small() -> Limits {
        Limits { connections_per_network: 2, connections_per_site: 3, max_connections: 5, ..Limits::default() }
    }

    fn from(connections: &Arc<Connections>, peer: &str) -> Result<Place, NotAdmitted> {
        connections.admit(peer.parse().expect("an address"))
    }

    fn is_evicted(place: &Place) -> bool {
        use futures_util::FutureExt as _;
        place.connection.evicted().now_or_never().is_some()
    }

    #[tokio::test]
    async fn the_idlest_of_a_network_gives_way_to_its_next_and_nobody_elses() {
        let connections = connections(small());
        let other = from(&connections, "192.0.2.9").expect("a place");
        let first = from(&connections, "192.0.2.1").expect("a place");
        let second = from(&connections, "::ffff:192.0.2.1").expect("a place");
        let busy = first.connection.request_begins(false);
        let third = from(&connections, "192.0.2.1").expect("the second is idle");
        assert!(!is_evicted(&other) && !is_evicted(&first) && is_evicted(&second));
        let _busy_too = third.connection.request_begins(false);
        assert_eq!(from(&connections, "192.0.2.1").err(), Some(NotAdmitted::NetworkIsFull));
        drop(busy);
        let fourth = from(&connections, "192.0.2.1").expect("the first is idle now");
        assert!(is_evicted(&first) && !is_evicted(&fourth));
    }

    #[tokio::test]
    async fn an_ipv6_network_is_its_64_and_its_site_the_48() {
        let connections = connections(small());
        let mut places = Vec::new();
        for peer in ["2001:db8:0:1::1", "2001:db8:0:1::2", "2001:db8:0:2::1"] {
            let place = from(&connections, peer).expect("a place");
            std::mem::forget(place.connection.request_begins(true));
            places.push(place);
        }
        assert_eq!(from(&connections, "2001:db8:0:1::3").err(), Some(NotAdmitted::NetworkIsFull), "the /64");
        assert_eq!(from(&connections, "2001:db8:0:3::1").err(), Some(NotAdmitted::NetworkIsFull), "the /48");
        from(&connections, "2001:db8:1:1::1").expect("another /48");
        drop(places);
        from(&connections, "2001:db8:0:1::3").expect("all are free again");
        assert_eq!(connections.table.lock().by_network.len(), 0, "nothing is remembered of who has left");
    }

    #[tokio::test]
    async fn a_proxy_of_ours_has_no_share_but_the_whole() {
        let connections = connections(small());
        let places: Vec<_> = (0..5).map(|_| from(&connections, "10.0.0.1").expect("a place")).collect();
        for place in &places {
            std::mem::forget(place.connection.request_begins(false));
        }
        assert_eq!(from(&connections, "10.0.0.1").err(), Some(NotAdmitted::Full));
        assert_eq!(from(&connections, "192.0.2.1").err(), Some(NotAdmitted::Full));
    }

    #[tokio::test]
    async fn who_has_stood_still_the_longest_gives_way_when_too_much_is_held() {
        use super::super::connection::Held;

        let connections = connections(Limits { unread_bytes: 1000, ..Limits::default() });
        let places: Vec<_> = (0..3).map(|n| from(&connections, &format!("192.0.2.{n}")).expect("a place")).collect();
        let mut held = Vec::new();
        for place in &places {
            let answer = Held::new(&place.connection, 300);
            answer.waits();
            held.push(answer);
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        held[0].waits();
        let newest = from(&connections, "192.0.2.7").expect("a place");
        let _ours = Held::new(&newest.connection, 300);
        let evicted: Vec<_> = places.iter().chain([&newest]).map(is_evicted).collect();
        assert_eq!(evicted, [false, true, true, false], "the first moved last; the newest does not wait");
        drop(held);
        assert_eq!(connections.held.load(Relaxed), 300);
    }
}
