//! Proof that memory was checked before any decision uses it.

use std::ops::Deref;
use std::sync::Arc;

use model::{InstanceSettings, Timestamp, User, UserId};

use crate::Fault;
use crate::memory::{ApplicationRegister, InstanceMemory, KeyRing, Memory, Snapshot};

/// Proof that an instance's memory matched the database when this was made. Only [`InstanceMemory::check`] makes one.
#[derive(Clone, Copy)]
pub(crate) struct Checked(());

/// Checked memory. Every decision based on memory (tokens, keys, settings, users, applications, revocations) reads it
/// through this type.
#[derive(Clone, Copy)]
pub struct Believed<'a>(&'a InstanceMemory);

impl InstanceMemory {
    /// Catches memory up if it is behind. If it is not, this costs two atomic reads.
    pub(crate) async fn check(&self, now: Timestamp) -> Result<Checked, Fault> {
        self.catch_up_if_behind(now).await.map(|()| Checked(()))
    }

    pub(crate) const fn believed(&self, _: Checked) -> Believed<'_> {
        Believed(self)
    }
}

impl Believed<'_> {
    /// Checks memory again: a request's body may have taken long to arrive.
    pub(crate) async fn renew(self, now: Timestamp) -> Result<(), Fault> {
        self.0.catch_up_if_behind(now).await
    }

    pub(crate) fn settings(self) -> Snapshot<InstanceSettings> {
        self.current().settings.load()
    }

    pub(crate) fn applications(self) -> Snapshot<ApplicationRegister> {
        self.current().applications.load()
    }

    pub(crate) fn keys(self) -> Snapshot<KeyRing> {
        self.current().keys.load()
    }

    /// Whether pages of this origin may read the APIs' answers. Also checked when a request's answer is ready: no page
    /// may if memory has fallen behind meanwhile.
    pub(crate) fn allows_origin(self, origin: &str) -> bool {
        self.is_current() && self.applications().allows_origin(origin)
    }

    pub(crate) fn current(self) -> Snapshot<Memory> {
        self.0.current.load()
    }

    /// For a flow that waits between reading the database and caching the result.
    pub(crate) fn kept(self) -> Arc<Memory> {
        self.0.current.load_full()
    }

    pub(crate) async fn user(self, id: UserId) -> Result<Option<Arc<User>>, Fault> {
        self.kept().users.get(id, self.store.user(id)).await
    }

    /// From memory if the user is cached there.
    pub(crate) async fn cached_user(self, id: UserId) -> Result<Option<Arc<User>>, Fault> {
        match self.current().users.known(id) {
            Some(known) => Ok(Some(known)),
            None => Box::pin(self.user(id)).await,
        }
    }
}

impl Deref for Believed<'_> {
    type Target = InstanceMemory;

    fn deref(&self) -> &InstanceMemory {
        self.0
    }
}
