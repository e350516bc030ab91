//! Queries the seats for many callers at once. A node has one query under way for an instance, and callers that arrive
//! meanwhile share the next one. A storm of refusals costs the database a few queries, and no caller gets the answer of
//! an older query.

use std::sync::Arc;

use model::InstanceSettings;
use model::seat::SeatPolicy;
use parking_lot::Mutex;
use store::{Fault, MAX_KEYS_ASKED, SeatReading, SeatRequest, Store};
use tokio::sync::oneshot;

/// Callers that may wait for a query. More are refused.
const MAX_WAITING: usize = 16 * 1024;

type QueryResult = Result<Arc<SeatReading>, Fault>;

struct WaitingCaller {
    asking: SeatRequest,
    answer: oneshot::Sender<QueryResult>,
}

#[derive(Default)]
pub(crate) struct SeatQueries {
    waiting: Mutex<Vec<WaitingCaller>>,
    turn: tokio::sync::Mutex<()>,
}

impl SeatQueries {
    /// The seats as they were at some moment after this call. `settings` are memory's; the database's own settings
    /// decide.
    pub(crate) async fn query(
        &self,
        store: &Store,
        asking: &SeatRequest,
        settings: impl Fn() -> Arc<InstanceSettings>,
    ) -> QueryResult {
        loop {
            let mut answered = self.queue(asking)?;
            // The caller that has the turn also answers others, until it has its own answer. If it is dropped half-way,
            // it drops the callers it had taken on, and they ask again.
            loop {
                let _turn = tokio::select! {
                    biased;
                    answer = &mut answered => match answer {
                        Ok(answer) => return answer,
                        Err(_dropped) => break,
                    },
                    turn = self.turn.lock() => turn,
                };
                self.answer_some(store, &settings()).await;
            }
        }
    }

    fn queue(&self, asking: &SeatRequest) -> Result<oneshot::Receiver<QueryResult>, Fault> {
        let (answer, answered) = oneshot::channel();
        let mut waiting = self.waiting.lock();
        if waiting.len() >= MAX_WAITING {
            return Err(Fault::unavailable("too many wait for a seat"));
        }
        waiting.push(WaitingCaller { asking: asking.clone(), answer });
        Ok(answered)
    }

    async fn answer_some(&self, store: &Store, settings: &InstanceSettings) {
        let group: Vec<WaitingCaller> = {
            let mut waiting = self.waiting.lock();
            let some = waiting.len().min(MAX_KEYS_ASKED);
            waiting.drain(..some).filter(|one| !one.answer.is_closed()).collect()
        };
        if group.is_empty() {
            return;
        }
        let asking: Vec<SeatRequest> = group.iter().map(|one| one.asking.clone()).collect();
        let answer = seen(store, &asking, settings).await.map(Arc::new);
        // If the database is unavailable, the waiting callers get the same fault.
        let sent_along = if answer.is_err() { std::mem::take(&mut *self.waiting.lock()) } else { Vec::new() };
        for one in group.into_iter().chain(sent_along) {
            // A caller that was cancelled needs no answer.
            let _ = one.answer.send(answer.clone());
        }
    }
}

/// Queries again if the database's reserved accounts or ceilings differ from memory's.
async fn seen(store: &Store, asking: &[SeatRequest], settings: &InstanceSettings) -> Result<SeatReading, Fault> {
    let mut believed = settings.clone();
    loop {
        let reserved = believed.reserved_accounts();
        let licences = believed.licences(&reserved);
        let seen = store.seats_seen(asking, licences).await?;
        let meant = seen.settings.reserved_accounts();
        let meant = seen.settings.licences(&meant);
        let ceilings = |licences: SeatPolicy<'_>| (licences.per_user, licences.per_application);
        if meant.reserved == licences.reserved && ceilings(meant) == ceilings(licences) {
            return Ok(seen);
        }
        believed = seen.settings;
    }
}
