//! The audit, for administrators.

use std::time::Duration;

use model::Timestamp;
use model::audit::chain::Chain;
use model::audit::{AuditOutcome, RequestId};

use crate::admin::{AdminRefusal, AdminService, AuditedEvent};
use crate::audit::{AuditReader, AuditRefusal, AuditedStore, ChainPosition, EventFilter, EventPage};
use crate::{Answer, Fault, MasterKey};

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

    /// Explains a reference: the events of the request that showed it. For a refusal without a record of its own, these
    /// are the records that count it ([`model::audit::folding::FoldedRefusals`]). The node that refused writes to the
    /// database with its next tick, so a young reference is looked up repeatedly.
    pub async fn why(&self, reference: &str, now: Timestamp) -> Answer<Vec<AuditedEvent>, AdminRefusal> {
        /// Time for an event to reach the database: a tick (200 ms), plus a margin for a busy server.
        const MAX_ON_ITS_WAY: Duration = Duration::from_secs(2);
        const LOOK_AGAIN: Duration = Duration::from_millis(100);
        let unknown = || AdminRefusal::Unknown(format!("event with reference {reference}"));
        let Some(request) = RequestId::parse(reference) else {
            let problem = "reference: must be 32 hexadecimal digits".to_owned();
            return Ok(Err(AdminRefusal::Invalid(vec![problem])));
        };
        let refusals = self.store.with_chain(Chain::Refusals);
        let is_young = request.at().since(now) < MAX_ON_ITS_WAY;
        let mut waited = now.since(request.at());
        let events = loop {
            let mut events = crate::audit::events_of(&self.store, request).await?;
            events.extend(crate::audit::events_of(&refusals, request).await?);
            let remembered = self.memory.map(|memory| memory.audit.buffer.refusals.remembered(request, now));
            events.extend(remembered.into_iter().flatten());
            let is_told = events.iter().any(|event| event.outcome == AuditOutcome::Refused.as_str());
            if is_told || !is_young || waited >= MAX_ON_ITS_WAY {
                break events;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
            waited += LOOK_AGAIN;
        };
        if !events.is_empty() {
            return Ok(Ok(events));
        }
        // The refusal may be counted in a folded record, if there were too many for records of their own.
        let mut folds = crate::audit::folds_of(&refusals, request).await?;
        folds.extend(self.memory.into_iter().flat_map(|memory| memory.audit.buffer.refusals.holding(request)));
        Ok(if folds.is_empty() { Err(unknown()) } else { Ok(folds) })
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
