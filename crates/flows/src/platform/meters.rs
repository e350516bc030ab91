//! What the house counts of itself, for whoever watches it. Nothing here names a person, an app or an address.

use model::meter::{Counter, NamedCounters};
use model::seat::CloseReason;

/// The counts of one instance, made by this process since it started.
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
    /// By reason; each node counts all closings that it hears of, whoever closed.
    pub sessions_closed: NamedCounters,
    /// By cause.
    pub calls_refused: NamedCounters,
    /// How often the database was found to have gone back.
    pub database_rewinds: Counter,
}

impl Meters {
    /// A reason of a newer version is counted as `other`.
    pub(crate) fn closed(&self, reason: Option<CloseReason>) {
        self.sessions_closed.add(reason.map_or("other", CloseReason::as_str));
    }
}

/// How full the places are where work waits.
#[derive(Clone, Copy, Debug)]
pub struct QueueFill {
    pub waiting: usize,
    pub most: usize,
}
