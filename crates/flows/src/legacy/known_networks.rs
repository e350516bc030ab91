//! Networks from which a legacy client of a login was right lately, so that strangers' guesses do not hold it up
//! (`identity.md` §4.1). Such clients keep no cookie.

use std::net::IpAddr;
use std::time::Duration;

use model::throttle::NETWORK_KNOWN_FOR;
use model::{Login, Timestamp, User};
use quick_cache::sync::Cache;
use store::Batch;

use crate::Fault;
use crate::instance::BelievedInstance;
use crate::memory::Memory;
use crate::seal::MacPurpose;
use crate::throttle::NetworkPrefix;

/// A digest of login and network under the instance's root secret.
pub(crate) type NetworkKey = [u8; 32];

/// What the database said, and when it was asked.
#[derive(Clone, Copy)]
struct NetworkRecord {
    right_at: Option<Timestamp>,
    asked_at: Timestamp,
}

pub(crate) struct KnownNetworks(Cache<NetworkKey, NetworkRecord>);

const MAX_REMEMBERED: usize = 10_000;
/// Another node may have learnt of a network meanwhile.
const UNKNOWN_FOR: Duration = Duration::from_mins(1);
/// A network that goes on being right is written down this often.
const WRITTEN_EVERY: Duration = Duration::from_hours(24);

impl Default for KnownNetworks {
    fn default() -> Self {
        Self(Cache::new(MAX_REMEMBERED))
    }
}

impl KnownNetworks {
    fn remember(&self, network: NetworkKey, right_at: Option<Timestamp>, now: Timestamp) {
        self.0.insert(network, NetworkRecord { right_at, asked_at: now });
    }

    fn get(&self, network: &NetworkKey, now: Timestamp) -> Option<NetworkRecord> {
        let holds = |seen: &NetworkRecord| is_known(seen.right_at, now) || now.since(seen.asked_at) < UNKNOWN_FOR;
        self.0.get(network).filter(holds)
    }
}

fn is_known(right_at: Option<Timestamp>, now: Timestamp) -> bool {
    right_at.is_some_and(|at| now.since(at) < NETWORK_KNOWN_FOR)
}

impl BelievedInstance {
    fn network_key(&self, login: &Login, address: IpAddr) -> NetworkKey {
        let network = NetworkPrefix::narrow(address).to_string();
        self.memory().secret.load().digest(MacPurpose::KnownNetwork, &[login.folded().as_bytes(), network.as_bytes()])
    }

    /// The network, if the login's client was right from there within 30 days.
    pub(super) async fn known_network(
        &self,
        memory: &Memory,
        (login, address): (Option<&Login>, IpAddr),
        now: Timestamp,
    ) -> Result<Option<NetworkKey>, Fault> {
        let Some(login) = login else { return Ok(None) };
        let network = self.network_key(login, address);
        let right_at = if let Some(seen) = memory.known_networks.get(&network, now) {
            seen.right_at
        } else {
            let right_at = self.store.known_network(&network).await?;
            memory.known_networks.remember(network, right_at, now);
            right_at
        };
        Ok(is_known(right_at, now).then_some(network))
    }

    /// The user's client was right from there. Written once a day.
    pub(super) async fn note_network(&self, user: &User, address: IpAddr, now: Timestamp) -> Result<(), Fault> {
        let (memory, network) = (self.memory_kept(), self.network_key(&user.login, address));
        let right_at = memory.known_networks.get(&network, now).and_then(|seen| seen.right_at);
        if right_at.is_some_and(|at| now.since(at) < WRITTEN_EVERY) {
            return Ok(());
        }
        // Nothing is written of somebody who is erased meanwhile.
        let mut batch = Batch::new().with(self.store.hold_user(user));
        batch.extend(self.store.put_known_network(user.id, &network, now));
        if let store::CommitOutcome::Committed = self.store.commit(batch).await? {
            memory.known_networks.remember(network, Some(now), now);
        }
        Ok(())
    }
}
