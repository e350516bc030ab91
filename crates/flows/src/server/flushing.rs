//! Flushing: writes data to the database that only memory and the audit buffers hold.

use model::{Moment, Timestamp};

use crate::Fault;
use crate::server::Instance;

/// Maximum timers flushed per tick while no other node reads them: many sessions are then spread over several ticks.
/// Nodes that share a database flush all of them with every tick.
const FLUSHED_ALONE: usize = 100;

impl Instance {
    /// Flushes memory. With many active sessions, some sliding timers are left for the next tick. No part waits for
    /// another; the first fault is returned.
    pub(crate) async fn flush(&self, moment: &mut Moment<'_>) -> Result<(), Fault> {
        let _turn = self.flushing.lock().await;
        let most = if self.memory.store.database().is_embedded() { FLUSHED_ALONE } else { usize::MAX };
        let now = moment.now;
        let memory = self.memory.unchecked();
        let (sessions, events, calls, proven, used, legacy) = tokio::join!(
            self.memory.flush_some_sessions(&memory, now, most),
            async {
                let main = self.audit().buffer.write_down(&self.memory.store, moment).await;
                main.and(self.audit().buffer.refusals.write_down(self.audit().refusals.store(), false, moment).await)
            },
            self.seal_calls(now),
            memory.used_generations.flush(&self.memory.store),
            memory.token_uses.flush(&self.memory.store, now),
            self.legacy_uses.flush(&self.memory.store),
        );
        sessions.and(events).and(calls).and(proven).and(used.map(drop)).and(legacy)
    }

    /// A seal continues the one before, so the database must be the one that the previous seal was read from.
    async fn seal_calls(&self, now: Timestamp) -> Result<(), Fault> {
        if !self.audit().buffer.has_calls() {
            return Ok(());
        }
        self.memory.expect_known_database(now).await?;
        self.audit().buffer.seal_calls(&self.audit().main, now).await
    }

    /// As [`Self::flush`], and leaves nothing.
    pub(crate) async fn flush_all(&self, moment: &mut Moment<'_>) -> Result<(), Fault> {
        self.memory.flush_sessions(moment.now).await?;
        self.flush(moment).await?;
        self.audit().buffer.refusals.write_down(self.audit().refusals.store(), true, moment).await?;
        let memory = self.memory.unchecked();
        while memory.token_uses.flush(&self.memory.store, moment.now).await? {}
        Ok(())
    }
}
