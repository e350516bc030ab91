//! Writes audit events: in the batch of the change they report, or, if nothing changed, in batches at least once a
//! second. The sealer then links them into a chain.

mod buffer;
mod chain_end;
mod checkpoints;
mod event_codes;
mod export;
mod list;
mod person_keys;
mod publisher;
mod reader;
mod retention;
mod sealer;

use model::audit::chain::Chain;
use model::audit::{AnsweredCall, Asker, AuditEvent, AuditKind, AuditOutcome};
use model::{Rng, Timestamp};
use store::Statement;

use crate::Fault;

pub(crate) use self::buffer::AuditBuffer;
pub(crate) use self::event_codes::AuditedStore;
pub use self::export::{AuditExport, ExportFormat};
pub(crate) use self::list::events_before;
pub use self::list::{ChainPosition, EventFilter, EventPage};
pub use self::person_keys::KnownPerson;
pub(crate) use self::publisher::CheckpointPublisher;
pub use self::publisher::PublishedCheckpoint;
pub use self::reader::{
    AuditRange, AuditReader, AuditRefusal, SealPages, SealedEvent, VerificationResult, sealed_trail,
};
pub(crate) use self::reader::{events_of, folds_of};
pub(crate) use self::retention::Retention;
pub(crate) use self::sealer::Sealer;

/// Writes events into the batch of the change that they report.
pub(crate) struct AuditWriter<'a> {
    store: &'a AuditedStore,
    rng: &'a mut dyn Rng,
    now: Timestamp,
}

impl<'a> AuditWriter<'a> {
    pub(crate) fn new(store: &'a AuditedStore, rng: &'a mut dyn Rng, now: Timestamp) -> Self {
        Self { store, rng, now }
    }

    pub(crate) fn event(&mut self, event: &AuditEvent) -> Statement {
        self.store.insert_event(self.rng.id(self.now), event)
    }

    pub(crate) fn key_rotated(&mut self, what: &'static str, kid: &str) -> Statement {
        let mut event = system_event(self.now, AuditKind::KeyRotated);
        event.detail = Some(serde_json::json!({ "key": kid, "what": what }).to_string());
        self.event(&event)
    }
}

/// An event that Gatehouse causes itself, without a request.
pub(crate) fn system_event(at: Timestamp, kind: AuditKind) -> AuditEvent {
    AuditEvent {
        asker: Asker::Authenticated,
        at,
        kind,
        outcome: AuditOutcome::Done,
        reason: "",
        actor: Some("gatehouse".into()),
        application: None,
        user: None,
        token: None,
        session: None,
        request: None,
        earlier: None,
        login: None,
        detail: None,
    }
}

/// The audit of one instance: the buffer of events, and the sealers of both chains.
pub(crate) struct InstanceAudit {
    pub(crate) buffer: AuditBuffer,
    pub(crate) main: Sealer,
    /// Seals the chain of refusals to unauthenticated clients.
    pub(crate) refusals: Sealer,
}

impl InstanceAudit {
    pub(crate) fn new(main: Sealer, refusals: Sealer) -> Self {
        Self { buffer: AuditBuffer::default(), main, refusals }
    }

    /// See [`AuditBuffer::put`].
    pub(crate) fn put(&self, event: AuditEvent) -> Result<(), Fault> {
        self.buffer.put(event)
    }

    /// See [`AuditBuffer::put_call`].
    pub(crate) fn put_call(&self, call: &AnsweredCall<'_>) -> Result<(), Fault> {
        self.buffer.put_call(call)
    }

    pub(crate) const fn sealers(&self) -> [&Sealer; 2] {
        [&self.main, &self.refusals]
    }

    pub(crate) const fn sealer(&self, chain: Chain) -> &Sealer {
        match chain {
            Chain::Main => &self.main,
            Chain::Refusals => &self.refusals,
        }
    }
}
