//! The proof that memory was checked before anything is judged by it.

use std::ops::Deref;
use std::sync::Arc;

use model::{InstanceSettings, Timestamp, User, UserId};

use super::{Instance, KeyRing, Snapshot};
use crate::Fault;
use crate::memory::{ApplicationRegister, Memory};

/// An instance whose memory held what the database does when this was made. Flows that judge by memory (tokens, keys,
/// settings, users, applications, revocations) are its methods, and only [`Self::of`] makes one.
#[derive(Clone)]
pub struct BelievedInstance(Arc<Instance>);

impl BelievedInstance {
    /// Catches memory up where it is behind, and gives the instance back with the fault where that fails. Memory that is
    /// not behind costs two atomic reads.
    pub async fn of(instance: Arc<Instance>, now: Timestamp) -> Result<Self, (Arc<Instance>, Fault)> {
        match instance.catch_up_if_behind(now).await {
            Ok(()) => Ok(Self(instance)),
            Err(fault) => Err((instance, fault)),
        }
    }

    /// Checks memory again: a request's body may have taken its time to arrive.
    pub async fn renew(&self, now: Timestamp) -> Result<(), Fault> {
        self.0.catch_up_if_behind(now).await
    }

    /// For work that goes on after the request, when this proof has grown old.
    pub(crate) fn unchecked(&self) -> &Arc<Instance> {
        &self.0
    }

    pub fn settings(&self) -> Snapshot<InstanceSettings> {
        self.memory().settings.load()
    }

    pub fn applications(&self) -> Snapshot<ApplicationRegister> {
        self.memory().applications.load()
    }

    pub fn keys(&self) -> Snapshot<KeyRing> {
        self.memory().keys.load()
    }

    /// May a page of this origin read the APIs' answers? Also asked when a request's answer is ready: none may where
    /// memory has fallen behind meanwhile.
    pub fn allows_origin(&self, origin: &str) -> bool {
        self.is_current() && self.applications().allows_origin(origin)
    }

    pub(crate) fn memory(&self) -> Snapshot<Memory> {
        self.0.memory.load()
    }

    /// For a flow that waits between reading the database and remembering it.
    pub(crate) fn memory_kept(&self) -> Arc<Memory> {
        self.0.memory.load_full()
    }

    pub(crate) async fn user(&self, id: UserId) -> Result<Option<Arc<User>>, Fault> {
        self.memory_kept().users.get(id, self.store.user(id)).await
    }
}

impl Deref for BelievedInstance {
    type Target = Instance;

    fn deref(&self) -> &Instance {
        &self.0
    }
}
