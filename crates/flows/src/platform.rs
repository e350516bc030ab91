//! Shared basics of every module: clock and randomness, secrets, background tasks, thread pools, outgoing mail, meters.

pub mod fault_log;
pub(crate) mod feed_health;
pub mod meters;
pub mod outbox;
mod password_cost;
pub(crate) mod pool;
pub(crate) mod seal;
pub(crate) mod tasks;

use model::{RootUrl, Timestamp};

pub use self::password_cost::PasswordCost;
pub use self::seal::MasterKey;

/// Reads the clock and draws randomness. The project's own tests replace it.
pub trait Platform: Send + Sync + 'static {
    fn now(&self) -> Timestamp;
    fn rng(&self) -> Box<dyn model::Rng>;

    /// Cost of hashing a password. Only tests lower it.
    fn password_cost(&self) -> PasswordCost {
        PasswordCost::OWASP
    }
}

/// Name and public URLs of an instance.
pub struct InstanceInfo {
    pub name: String,
    pub root: RootUrl,
    pub issuer: String,
    /// See [`RootUrl::service_root`].
    pub service_root: String,
}

impl InstanceInfo {
    pub(crate) fn new(name: String, root: RootUrl) -> Self {
        Self { issuer: root.issuer(), service_root: root.service_root(), name, root }
    }
}
