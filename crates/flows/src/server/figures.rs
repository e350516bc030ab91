//! Figures of the process and its instances, for whoever watches it.

use std::sync::Arc;
use std::time::Duration;

use model::meter::NamedCounters;

use crate::Fault;
use crate::memory::MemoryBehind;
use crate::platform::fault_log::FaultLog;
use crate::platform::meters::{Meters, QueueFill};
use crate::server::{Instance, Server};

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
        &self.memory.meters
    }

    /// Why memory is not believed, if the database holds something that memory could not follow.
    pub fn behind(&self) -> Option<MemoryBehind> {
        self.memory.position.behind()
    }

    /// How often something was found in the audit that this installation did not write, or a break of its chain.
    pub fn audit_alarms(&self) -> &NamedCounters {
        self.audit().main.alarms()
    }

    /// How many refusals of strangers there were, by what became of them.
    pub fn refusals_kept(&self) -> &NamedCounters {
        self.audit().buffer.refusals.kept()
    }

    /// Whether refusals of strangers are counted only, because the disk is nearly full.
    pub fn are_refusals_held_back(&self) -> bool {
        self.audit().buffer.refusals.is_held_back()
    }

    /// Audit events that wait to be written, in bytes.
    pub fn audit_buffer_fill(&self) -> QueueFill {
        self.audit().buffer.fill()
    }
}

impl Server {
    /// The seats of each instance, in the order of [`Server::instances`]; one question to the database.
    pub async fn seats(&self) -> Result<Vec<SeatFigures>, Fault> {
        let used = self.database().seats_used().await?;
        let seats = self.instances().iter().map(|instance| {
            let settings = instance.memory.unchecked().settings.load_full();
            SeatFigures {
                total: settings.seats,
                used: used.get(&instance.id()).copied().unwrap_or_default(),
                reserved: settings.reserved_accounts().len(),
            }
        });
        Ok(seats.collect())
    }

    /// As [`Server::seats`], asked where the connections of the database live, whichever runtime waits for the answer.
    pub async fn seats_aside(self: Arc<Self>) -> Option<Vec<SeatFigures>> {
        let server = Arc::clone(&self);
        self.runtime.spawn(async move { server.seats().await }).await.ok()?.ok()
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
