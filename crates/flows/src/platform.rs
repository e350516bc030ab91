//! What every room stands on: clock and randomness, secrets, background tasks, threads, letters, figures.

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

/// Reads the clock and draws randomness; the seam through which the project's own tests bring theirs.
pub trait Platform: Send + Sync + 'static {
    fn now(&self) -> Timestamp;
    fn rng(&self) -> Box<dyn model::Rng>;

    /// What hashing a password costs; less in tests alone.
    fn password_cost(&self) -> PasswordCost {
        PasswordCost::OWASP
    }
}

/// How an instance is called, and where it is found from outside.
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
