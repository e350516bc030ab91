//! What memory and the audit's buffers hold that the database does not, written down.

use model::{Moment, Timestamp};

use crate::Fault;
use crate::server::Instance;

/// Timers that a beat writes down where nobody else goes by them: a crowd of sessions is written down in turns. Nodes
/// that share a database write all of them at every beat.
const FLUSHED_ALONE: usize = 100;

impl Instance {
    /// Writes down what memory learnt. Where crowds call, sliding timers that are left wait for the next beat. No part
    /// waits for another; the first fault is answered.
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

    /// A seal rests on the one before, so the database must be the one that it was read from.
    async fn seal_calls(&self, now: Timestamp) -> Result<(), Fault> {
        if !self.audit().buffer.has_calls() {
            return Ok(());
        }
        self.memory.expect_known_database(now).await?;
        self.audit().buffer.seal_calls(&self.audit().main, now).await
    }

    /// The same, and nothing is left.
    pub(crate) async fn flush_all(&self, moment: &mut Moment<'_>) -> Result<(), Fault> {
        self.memory.flush_sessions(moment.now).await?;
        self.flush(moment).await?;
        self.audit().buffer.refusals.write_down(self.audit().refusals.store(), true, moment).await?;
        let memory = self.memory.unchecked();
        while memory.token_uses.flush(&self.memory.store, moment.now).await? {}
        Ok(())
    }
}
