//! Meters: what Gatehouse counts of itself for monitoring. No meter names a person, an application or an address.

use model::meter::{Counter, NamedCounters};
use model::seat::CloseReason;

/// Counts of one instance, since this process started.
#[derive(Default)]
pub struct Meters {
    /// By outcome: `done`, or the cause of the refusal.
    pub sign_ins: NamedCounters,
    /// By grant.
    pub tokens_issued: NamedCounters,
    /// By cause.
    pub tokens_refused: NamedCounters,
    pub sessions_opened: Counter,
    /// By cause.
    pub sessions_refused: NamedCounters,
    /// By reason. Each node counts all closings that it reads of, whichever node closed.
    pub sessions_closed: NamedCounters,
    /// By cause.
    pub calls_refused: NamedCounters,
    /// How often the database was found to have gone back.
    pub database_rewinds: Counter,
}

impl Meters {
    /// Counts a reason of a newer version as `other`.
    pub(crate) fn closed(&self, reason: Option<CloseReason>) {
        self.sessions_closed.add(reason.map_or("other", CloseReason::as_str));
    }
}

/// Fill level of a queue.
#[derive(Clone, Copy, Debug)]
pub struct QueueFill {
    pub waiting: usize,
    pub most: usize,
}
