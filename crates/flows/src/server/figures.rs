//! Metrics of the process and its instances.

use std::sync::Arc;
use std::time::Duration;

use model::meter::NamedCounters;

use crate::Fault;
use crate::memory::MemoryBehind;
use crate::platform::fault_log::FaultLog;
use crate::platform::meters::{Meters, QueueFill};
use crate::server::{Instance, Server};

/// The seats of one instance, from the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeatFigures {
    /// `None`: unlimited.
    pub total: Option<u32>,
    pub used: u64,
    /// Number of accounts with a guaranteed seat.
    pub reserved: usize,
}

impl Instance {
    pub fn meters(&self) -> &Meters {
        &self.memory.meters
    }

    /// Why memory is not trusted, if it could not apply a change that the database has.
    pub fn behind(&self) -> Option<MemoryBehind> {
        self.memory.position.behind()
    }

    /// Number of audit findings: records that this installation did not write, or breaks of the chain.
    pub fn audit_alarms(&self) -> &NamedCounters {
        self.audit().main.alarms()
    }

    /// Number of refusals of unauthenticated clients, by how they were recorded.
    pub fn refusals_kept(&self) -> &NamedCounters {
        self.audit().buffer.refusals.kept()
    }

    /// Whether refusals of unauthenticated clients are only counted, because the disk is nearly full.
    pub fn are_refusals_held_back(&self) -> bool {
        self.audit().buffer.refusals.is_held_back()
    }

    /// Audit events that wait to be written, in bytes.
    pub fn audit_buffer_fill(&self) -> QueueFill {
        self.audit().buffer.fill()
    }
}

impl Server {
    /// The seats of each instance, in the order of [`Server::instances`]. One query.
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

    /// As [`Server::seats`], but runs on the server's runtime, where the database connections live.
    pub async fn seats_aside(self: Arc<Self>) -> Option<Vec<SeatFigures>> {
        let server = Arc::clone(&self);
        self.runtime.spawn(async move { server.seats().await }).await.ok()?.ok()
    }

    /// The log of faults.
    pub fn faults(&self) -> &FaultLog {
        &self.faults
    }

    /// The time since the last turn of each background task.
    pub fn idle_tasks(&self) -> impl Iterator<Item = (&'static str, Duration)> {
        self.turns.all().map(|(name, idle, _)| (name, idle))
    }

    pub fn store_figures(&self) -> store::DatabaseFigures<'_> {
        self.database().figures()
    }

    /// Passwords being compared or waiting.
    pub fn password_queue(&self) -> QueueFill {
        self.passwords().fill()
    }

    /// The time since memory last followed the change feed. `None` if no other process changes the database.
    pub fn feed_age(&self) -> Option<Duration> {
        self.feed().age()
    }

    /// E-mails sent, and e-mails given up.
    pub fn letters(&self) -> (u64, u64) {
        self.outbox().counts()
    }
}
