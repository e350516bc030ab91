//! Networks from which a login's legacy client recently sent the right password.

use std::net::IpAddr;
use std::time::Duration;

use model::{Login, Timestamp, User};
use store::Batch;

use crate::Fault;
use crate::auth::throttle::NetworkPrefix;
use crate::memory::Memory;
use crate::memory::known_networks::{NetworkKey, is_known};
use crate::platform::seal::MacPurpose;
use crate::protocol::legacy::LegacySchemes;

/// A network that stays in use is written at most this often.
const WRITTEN_EVERY: Duration = Duration::from_hours(24);

impl LegacySchemes<'_> {
    fn network_key(&self, login: &Login, address: IpAddr) -> NetworkKey {
        let network = NetworkPrefix::narrow(address).to_string();
        self.memory
            .current()
            .secret
            .load()
            .digest(MacPurpose::KnownNetwork, &[login.folded().as_bytes(), network.as_bytes()])
    }

    /// The network, if the login's client authenticated from it within 30 days.
    pub(super) async fn known_network(
        &self,
        memory: &Memory,
        login: Option<&Login>,
        address: IpAddr,
        now: Timestamp,
    ) -> Result<Option<NetworkKey>, Fault> {
        let Some(login) = login else { return Ok(None) };
        let network = self.network_key(login, address);
        let right_at = if let Some(seen) = memory.known_networks.get(&network, now) {
            seen.right_at
        } else {
            let right_at = self.memory.store.known_network(&network).await?;
            memory.known_networks.remember(network, right_at, now);
            right_at
        };
        Ok(is_known(right_at, now).then_some(network))
    }

    /// Records that the user's client authenticated from this network. Written once a day.
    pub(super) async fn note_network(&self, user: &User, address: IpAddr, now: Timestamp) -> Result<(), Fault> {
        let (memory, network) = (self.memory.kept(), self.network_key(&user.login, address));
        let right_at = memory.known_networks.get(&network, now).and_then(|seen| seen.right_at);
        if right_at.is_some_and(|at| now.since(at) < WRITTEN_EVERY) {
            return Ok(());
        }
        // The guard on the user prevents writing for a user who is being erased.
        let mut batch = Batch::new().with(self.memory.store.hold_user(user));
        batch.extend(self.memory.store.put_known_network(user.id, &network, now));
        if let store::CommitOutcome::Committed = self.memory.store.commit(batch).await? {
            memory.known_networks.remember(network, Some(now), now);
        }
        Ok(())
    }
}
