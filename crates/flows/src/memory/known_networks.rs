//! Networks from which a legacy client of a login recently sent the right password, so that strangers' guesses do not
//! delay it (`identity.md` §4.1). Such clients keep no cookie.

use std::time::Duration;

use model::Timestamp;
use model::throttle::NETWORK_KNOWN_FOR;
use quick_cache::sync::Cache;

/// HMAC of login and network, under the instance's root secret.
pub(crate) type NetworkKey = [u8; 32];

/// The database's answer, and when it was read.
#[derive(Clone, Copy)]
pub(crate) struct NetworkRecord {
    pub(crate) right_at: Option<Timestamp>,
    asked_at: Timestamp,
}

pub(crate) struct KnownNetworks(Cache<NetworkKey, NetworkRecord>);

const MAX_REMEMBERED: usize = 10_000;
/// How long an unknown network stays cached: another node may have recorded it meanwhile.
const UNKNOWN_FOR: Duration = Duration::from_mins(1);

impl Default for KnownNetworks {
    fn default() -> Self {
        Self(Cache::new(MAX_REMEMBERED))
    }
}

impl KnownNetworks {
    pub(crate) fn remember(&self, network: NetworkKey, right_at: Option<Timestamp>, now: Timestamp) {
        self.0.insert(network, NetworkRecord { right_at, asked_at: now });
    }

    pub(crate) fn get(&self, network: &NetworkKey, now: Timestamp) -> Option<NetworkRecord> {
        let holds = |seen: &NetworkRecord| is_known(seen.right_at, now) || now.since(seen.asked_at) < UNKNOWN_FOR;
        self.0.get(network).filter(holds)
    }
}

pub(crate) fn is_known(right_at: Option<Timestamp>, now: Timestamp) -> bool {
    right_at.is_some_and(|at| now.since(at) < NETWORK_KNOWN_FOR)
}
