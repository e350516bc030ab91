//! Refusals to unauthenticated clients, on their way into their own chain. They have a budget of records and a separate
//! share of memory, and are the first to be dropped when the disk is nearly full.

use std::sync::atomic::{AtomicBool, Ordering};

use model::audit::folding::{FoldedLines, FoldingDecision, RefusalFolding, bounded};
use model::audit::{AuditEvent, RequestId, StoredEvent};
use model::meter::NamedCounters;
use model::{Moment, Timestamp};
use parking_lot::Mutex;
use store::Fault;
use uuid::Uuid;

use crate::audit::buffer::LineBuffer;
use crate::audit::event_codes::AuditedStore;

/// Refusals to unauthenticated clients that may wait to be written, in bytes of text.
const MAX_WAITING: usize = 1024 * 1024;

#[derive(Default)]
pub(crate) struct RefusalBuffer {
    lines: LineBuffer,
    bounds: Mutex<RefusalBounds>,
    /// The disk has too little room: refusals are counted, and no records are written.
    held_back: AtomicBool,
    /// Number of refusals, by what was kept of them.
    kept: NamedCounters,
}

#[derive(Default)]
struct RefusalBounds {
    folding: RefusalFolding,
    remembered: FoldedLines,
}

impl RefusalBuffer {
    /// Never fails, and takes no room from other events: refusals that cannot be kept are counted.
    pub(in crate::audit) fn put(&self, event: AuditEvent) {
        let may_keep = !self.is_held_back() && self.lines.waiting() <= MAX_WAITING;
        let mut bounds = self.bounds.lock();
        match bounds.folding.admit(&event, may_keep) {
            FoldingDecision::Whole => {
                drop(bounds);
                self.kept.add("whole");
                let _there_is_room = self.lines.put(&bounded(event), usize::MAX);
            }
            FoldingDecision::Folded { is_remembered } => {
                self.kept.add(if may_keep { "folded" } else { "counted" });
                if is_remembered && let Some(request) = event.request.as_ref().map(|request| request.id) {
                    let mut line = Vec::with_capacity(512);
                    let at = event.at;
                    bounded(event).write_line(&mut line);
                    bounds.remembered.add(request, std::str::from_utf8(&line).expect("JSON is UTF-8"), at);
                }
            }
        }
    }

    /// Writes waiting lines, and records of the refusals that were folded a minute ago, or of all folded ones at the
    /// end.
    pub(crate) async fn write_down(
        &self,
        store: &AuditedStore,
        is_last: bool,
        moment: &mut Moment<'_>,
    ) -> Result<(), Fault> {
        if self.is_held_back() {
            return Ok(());
        }
        // While nothing can be written, folded refusals continue to be counted.
        if is_last || self.lines.waiting() <= MAX_WAITING {
            let due = self.bounds.lock().folding.due(moment.now, is_last);
            for record in due {
                // There are only as many records as folds. The bound on waiting lines applies to incoming refusals.
                let _there_is_room = self.lines.put(&record, usize::MAX);
            }
        }
        self.lines.write_down(store, moment).await
    }

    /// The remembered lines of a refusal that has no record of its own.
    pub(crate) fn remembered(&self, request: RequestId, now: Timestamp) -> Vec<StoredEvent> {
        self.bounds.lock().remembered.of(request, now)
    }

    /// Open folds that may include a refusal.
    pub(crate) fn holding(&self, request: RequestId) -> Vec<StoredEvent> {
        self.bounds.lock().folding.holding(request).iter().map(|event| event.stored(Uuid::nil())).collect()
    }

    /// Stops or resumes the writing of records.
    pub(crate) fn hold_back(&self, held_back: bool) {
        self.held_back.store(held_back, Ordering::Relaxed);
    }

    pub(crate) fn is_held_back(&self) -> bool {
        self.held_back.load(Ordering::Relaxed)
    }

    pub(crate) const fn kept(&self) -> &NamedCounters {
        &self.kept
    }
}

#[cfg(test)]
mod tests {
    use model::audit::{Asker, AuditKind, RequestInfo};
    use model::refusal::MalformedRequest;

    use super::*;
    use crate::audit::buffer::AuditBuffer;
    use crate::audit::system_event;

    fn refusal(network: u8, number: u64) -> AuditEvent {
        let at = Timestamp::from_seconds(1_795_255_032);
        let request = RequestInfo {
            address: [10, 0, network, 1].into(),
            user_agent: Some("x".repeat(256).into()),
            id: RequestId::new(at, 1, number),
        };
        let refusal = MalformedRequest { cause: "malformed", problem: "x" };
        AuditEvent::refused(at, AuditKind::TokenRefused, &request, Asker::Stranger, &refusal)
    }

    #[test]
    fn a_storm_of_strangers_takes_no_room_of_the_authenticated() {
        let buffer = AuditBuffer::default();
        for number in 0..100_000 {
            buffer.put(refusal((number % 200) as u8, number)).expect("a refusal is always answered");
        }
        assert!(buffer.refusals.lines.waiting() < MAX_WAITING && buffer.fill().waiting == 0);
        buffer.put(system_event(Timestamp(5), AuditKind::TokenIssued)).expect("there is room");
        assert!(buffer.fill().waiting > 0);
        let mut kept = buffer.refusals.kept().read();
        kept.sort_unstable();
        assert_eq!(kept, [("folded", 99_600), ("whole", 400)]);
    }

    #[test]
    fn while_there_is_no_room_refusals_are_counted_and_remembered() {
        let refusals = RefusalBuffer::default();
        refusals.hold_back(true);
        let event = refusal(1, 7);
        let (request, at) = (event.request.as_ref().expect("somebody").id, event.at);
        refusals.put(event);
        assert_eq!((refusals.lines.waiting(), refusals.kept().read()), (0, vec![("counted", 1)]));
        assert_eq!(refusals.remembered(request, at)[0].reason, "malformed");
        assert_eq!(refusals.holding(request).len(), 1);
        refusals.hold_back(false);
        refusals.put(refusal(1, 8));
        assert!(refusals.lines.waiting() > 0, "it goes on by itself");
    }
}
