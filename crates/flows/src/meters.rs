//! What the house counts of itself, for whoever watches it. Nothing here names a person, an app or an address.

use std::sync::Arc;
use std::time::Duration;

use model::meter::{Counter, NamedCounters};
use model::seat::CloseReason;

use crate::change::MemoryBehind;
use crate::fault_log::FaultLog;
use crate::house::Server;
use crate::{Fault, Instance};

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

/// The seats of one instance, as the database says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeatFigures {
    /// `None` is unlimited.
    pub total: Option<u32>,
    pub used: u64,
    /// Accounts that are guaranteed one.
    pub reserved: usize,
}

impl Instance {
    pub fn meters(&self) -> &Meters {
        &self.meters
    }

    /// Why memory is not believed, if the database holds something that memory could not follow.
    pub fn behind(&self) -> Option<MemoryBehind> {
        self.following.behind()
    }

    /// How often something was found in the audit that this installation did not write, or a break of its chain.
    pub fn audit_alarms(&self) -> &NamedCounters {
        self.sealer.alarms()
    }

    /// How many refusals of strangers there were, by what became of them.
    pub fn refusals_kept(&self) -> &NamedCounters {
        self.audit.refusals.kept()
    }

    /// Whether refusals of strangers are counted only, because the disk is nearly full.
    pub fn are_refusals_held_back(&self) -> bool {
        self.audit.refusals.is_held_back()
    }

    /// Audit events that wait to be written, in bytes.
    pub fn notebook(&self) -> QueueFill {
        self.audit.fill()
    }
}

impl Server {
    /// The seats of each instance, in the order of [`Server::instances`]; one question to the database.
    pub async fn seats(&self) -> Result<Vec<SeatFigures>, Fault> {
        let used = self.database().seats_used().await?;
        let seats = self.instances().iter().map(|instance| {
            let settings = instance.unchecked_memory().settings.load_full();
            SeatFigures {
                total: settings.seats,
                used: used.get(instance.store.instance()).copied().unwrap_or_default(),
                reserved: settings.reserved_accounts().len(),
            }
        });
        Ok(seats.collect())
    }

    /// As [`Server::seats`], asked where the connections of the database live, whichever runtime waits for the answer.
    pub async fn seats_aside(self: Arc<Self>) -> Option<Vec<SeatFigures>> {
        let house = Arc::clone(&self);
        self.runtime.spawn(async move { house.seats().await }).await.ok()?.ok()
    }

    /// Where faults are reported.
    pub fn faults(&self) -> &FaultLog {
        &self.faults
    }

    /// For how long each background task has had no turn.
    pub fn idle_tasks(&self) -> impl Iterator<Item = (&'static str, Duration)> {
        self.turns.all().map(|(name, idle, _)| (name, idle))
    }

    pub fn store_figures(&self) -> store::DatabaseFigures<'_> {
        self.database().figures()
    }

    /// Passwords that are compared or wait for it.
    pub fn password_queue(&self) -> QueueFill {
        self.passwords().fill()
    }

    /// For how long memory has not followed the change feed; nothing where nobody else changes the database.
    pub fn feed_age(&self) -> Option<Duration> {
        self.feed().age()
    }

    /// Letters that were sent, and letters that never will be.
    pub fn letters(&self) -> (u64, u64) {
        self.outbox().counts()
    }
}
