//! The audit, for administrators.

use model::audit::chain::Chain;

use crate::admin::{AdminRefusal, AdminService};
use crate::audit::{AuditReader, AuditRefusal, AuditedStore, ChainPosition, EventFilter, EventPage};
use crate::{Fault, MasterKey};

impl From<AuditRefusal> for AdminRefusal {
    fn from(refusal: AuditRefusal) -> Self {
        match refusal {
            AuditRefusal::Overtaken => Self::Overtaken,
            AuditRefusal::UnreadableCheckpoint(problem) => Self::Invalid(vec![problem]),
        }
    }
}

impl AdminService<'_> {
    /// A reader of the main chain.
    pub fn audit_reader<'b>(&'b self, master: &'b MasterKey) -> AuditReader<'b> {
        AuditReader::new(self.store.clone(), master)
    }

    pub async fn audit_reader_of<'b>(&'b self, chain: Chain, master: &'b MasterKey) -> Result<AuditReader<'b>, Fault> {
        Ok(AuditReader::new(AuditedStore::open(self.store.with_chain(chain), master).await?, master))
    }

    /// The newest sealed events that match the filter, from a position on, at most `limit`.
    pub async fn events_before(
        &self,
        filter: &EventFilter,
        from: Option<ChainPosition>,
        limit: usize,
    ) -> Result<EventPage, Fault> {
        crate::audit::events_before(self.store(), filter, from, limit).await
    }
}
