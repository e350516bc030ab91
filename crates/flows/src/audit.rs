//! How events reach the audit: with the change they tell of, or, where nothing changed, in batches of at most a second.
//! The sealer then makes a chain of them.

mod attest;
mod book;
mod checkpoints;
mod export;
mod list;
mod notebook;
mod people;
mod publishing;
mod refusals;
mod retention;
mod sealer;
mod seam;

use model::audit::{Asker, AuditEvent, AuditKind, AuditOutcome};
use model::{Rng, Timestamp};
use store::Statement;

pub(crate) use self::attest::AuditedStore;
pub use self::book::{AuditRange, AuditReader, SealPages, SealedEvent, VerificationResult, sealed_trail};
pub(crate) use self::book::{events_of, folds_of};
pub use self::export::{AuditExport, ExportFormat};
pub use self::list::{ChainPosition, EventFilter, EventPage};
pub(crate) use self::notebook::AuditBuffer;
pub use self::people::KnownPerson;
pub(crate) use self::publishing::CheckpointPublisher;
pub use self::publishing::PublishedCheckpoint;
pub(crate) use self::retention::Retention;
pub(crate) use self::sealer::Sealer;

/// Writes events into the batch of the change that they tell of.
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

/// An event that the house causes itself: no visitor.
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
