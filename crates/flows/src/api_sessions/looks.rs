//! Looking at the seats for many callers at once: a node has one look under way for an instance, and whoever comes
//! meanwhile shares the next. A storm of refusals costs the database a few questions, and none is answered from an old
//! look.

use std::sync::Arc;

use model::InstanceSettings;
use model::seat::Licences;
use parking_lot::Mutex;
use store::{AskingForSeat, Fault, MAX_KEYS_ASKED, SeatsSeen, Store};
use tokio::sync::oneshot;

/// Callers that may wait for a look; more are sent away.
const MAX_WAITING: usize = 16 * 1024;

type Answer = Result<Arc<SeatsSeen>, Fault>;

struct Waiting {
    asking: AskingForSeat,
    answer: oneshot::Sender<Answer>,
}

#[derive(Default)]
pub(super) struct Looks {
    waiting: Mutex<Vec<Waiting>>,
    turn: tokio::sync::Mutex<()>,
}

impl Looks {
    /// The seats as they were at some moment after this was asked. `settings` are what memory believes: the database's
    /// own decide.
    pub(super) async fn look(
        &self,
        store: &Store,
        asking: &AskingForSeat,
        settings: impl Fn() -> Arc<InstanceSettings>,
    ) -> Answer {
        loop {
            let mut answered = self.queue(asking)?;
            // Whoever has the turn answers others too, until it has its own answer. Dropped half-way, it drops those
            // it took on, who ask again.
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

    fn queue(&self, asking: &AskingForSeat) -> Result<oneshot::Receiver<Answer>, Fault> {
        let (answer, answered) = oneshot::channel();
        let mut waiting = self.waiting.lock();
        if waiting.len() >= MAX_WAITING {
            return Err(Fault::unavailable("too many wait for a seat"));
        }
        waiting.push(Waiting { asking: asking.clone(), answer });
        Ok(answered)
    }

    async fn answer_some(&self, store: &Store, settings: &InstanceSettings) {
        let group: Vec<Waiting> = {
            let mut waiting = self.waiting.lock();
            let some = waiting.len().min(MAX_KEYS_ASKED);
            waiting.drain(..some).filter(|one| !one.answer.is_closed()).collect()
        };
        if group.is_empty() {
            return;
        }
        let asking: Vec<AskingForSeat> = group.iter().map(|one| one.asking.clone()).collect();
        let answer = seen(store, &asking, settings).await.map(Arc::new);
        // A database that is away is away for those who wait, too.
        let sent_along = if answer.is_err() { std::mem::take(&mut *self.waiting.lock()) } else { Vec::new() };
        for one in group.into_iter().chain(sent_along) {
            // A caller that has gone away needs no answer.
            let _ = one.answer.send(answer.clone());
        }
    }
}

/// Asks again where reserved accounts or ceilings are others than memory believes.
async fn seen(store: &Store, asking: &[AskingForSeat], settings: &InstanceSettings) -> Result<SeatsSeen, Fault> {
    let mut believed = settings.clone();
    loop {
        let reserved = believed.reserved_accounts();
        let licences = believed.licences(&reserved);
        let seen = store.seats_seen(asking, licences).await?;
        let meant = seen.settings.reserved_accounts();
        let meant = seen.settings.licences(&meant);
        let ceilings = |licences: Licences<'_>| (licences.per_user, licences.per_application);
        if meant.reserved == licences.reserved && ceilings(meant) == ceilings(licences) {
            return Ok(seen);
        }
        believed = seen.settings;
    }
}
