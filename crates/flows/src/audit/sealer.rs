//! The sealer takes events that were committed out of where they wait, and puts them into the chain. It draws its own
//! line: an event that commits late is simply in a later seal, and none is in two.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use model::audit::chain::{Head, Seal};
use model::audit::{Calls, StoredEvent};
use model::{Moment, Timestamp};
use parking_lot::Mutex;
use store::{Batch, Outcome, Store, lines_of};

use super::checkpoints::CheckpointKey;
use super::people::{People, take_out};
use crate::{Fault, MasterKey};

/// Rows that one seal takes at most, and blocks, each of about 256 KiB: as events they take many times as much.
const MOST_ROWS: u32 = 1024;
const MOST_BLOCKS: u32 = 1;
/// Seals that one beat makes of one instance: the others' events are to be sealed within a second, too.
const MOST_SEALS: usize = 8;
/// Tries to seal this process's own calls, until the next beat tries again.
const MOST_TRIES: usize = 8;
/// Beats to stay away for after another node was first: it will be again.
const REST: u32 = 4;
/// How often the newest seal is signed, while there is news.
const SIGN_EVERY: Duration = Duration::from_mins(1);

pub(crate) struct Sealer {
    store: Store,
    people: People,
    key: ArcSwap<CheckpointKey>,
    state: Mutex<State>,
    /// One at a time in this process: who comes second would only have to look again.
    sealing: tokio::sync::Mutex<()>,
}

#[derive(Clone, Copy)]
struct State {
    rest: u32,
    /// The newest seal that this process made or saw.
    head: Head,
    /// The newest seal that is signed, and when that was.
    signed: i64,
    signed_at: Timestamp,
}

/// What became of one attempt.
enum Attempt {
    NothingWaits,
    Sealed(Head),
    /// Another node was first.
    Overtaken,
}

impl Sealer {
    pub(crate) async fn open(store: &Store, master: &MasterKey, moment: &mut Moment<'_>) -> Result<Self, Fault> {
        let key = CheckpointKey::load_or_make(store, master, moment).await?;
        let head = store.audit_head().await?;
        let (signed, signed_at) =
            store.newest_checkpoint().await?.map_or((0, Timestamp(0)), |(number, at, _)| (number, at));
        Ok(Self {
            store: store.clone(),
            people: People::new(),
            key: ArcSwap::from_pointee(key),
            state: Mutex::new(State { rest: 0, head, signed, signed_at }),
            sealing: tokio::sync::Mutex::default(),
        })
    }

    /// Whether there is something to do although no event waits.
    pub(crate) fn wants_to_sign(&self, now: Timestamp) -> bool {
        let state = *self.state.lock();
        state.head.number > state.signed && now.since(state.signed_at) >= SIGN_EVERY
    }

    /// One beat: what waits is sealed, as far as the bound allows, and signed once a minute.
    pub(crate) async fn beat(&self, moment: &mut Moment<'_>) -> Result<(), Fault> {
        if self.rests() {
            return Ok(());
        }
        for _ in 0..MOST_SEALS {
            match self.attempt(moment).await? {
                Attempt::NothingWaits => break,
                Attempt::Sealed(head) => self.state.lock().head = head,
                Attempt::Overtaken => {
                    self.people.forget();
                    self.state.lock().rest = REST;
                    break;
                }
            }
        }
        if self.wants_to_sign(moment.now) {
            self.sign(moment.now).await?;
        }
        Ok(())
    }

    fn rests(&self) -> bool {
        let mut state = self.state.lock();
        let rests = state.rest > 0;
        state.rest = state.rest.saturating_sub(1);
        rests
    }

    /// Everything that was committed before this call is in the chain after it, and the chain is signed.
    pub(crate) async fn finish(&self, moment: &mut Moment<'_>) -> Result<(), Fault> {
        loop {
            match self.attempt(moment).await? {
                Attempt::NothingWaits => break,
                Attempt::Sealed(head) => self.state.lock().head = head,
                // Who was first has shortened what waits: this ends.
                Attempt::Overtaken => self.people.forget(),
            }
        }
        self.sign(moment.now).await
    }

    /// Puts calls into a seal of their own. They name nobody, so there is nothing to take out of them; and they have waited
    /// nowhere but in memory, so the head is the only guard.
    pub(crate) async fn seal_calls(&self, calls: &Arc<Calls>, now: Timestamp) -> Result<(), Fault> {
        let _alone = self.sealing.lock().await;
        for _ in 0..MOST_TRIES {
            let head = self.head().await?;
            let (instance, calls) = (*self.store.instance(), Arc::clone(calls));
            let seal = aside(move || Seal::of_calls(instance, &head, now, &calls)).await?;
            let sealed = Head { number: seal.number, hash: seal.actual_hash(instance), at: seal.at };
            if self.store.commit(Batch::from(vec![self.store.insert_seal(seal)])).await? == Outcome::Committed {
                self.state.lock().head = sealed;
                return Ok(());
            }
        }
        Err(Fault::unavailable("other nodes sealed the audit each time"))
    }

    async fn attempt(&self, moment: &mut Moment<'_>) -> Result<Attempt, Fault> {
        let _alone = self.sealing.lock().await;
        let rows = self.store.unsealed_events(MOST_ROWS).await?;
        let blocks = self.store.unsealed_blocks(MOST_BLOCKS).await?;
        if rows.is_empty() && blocks.is_empty() {
            return Ok(Attempt::NothingWaits);
        }
        let head = self.head().await?;
        let (instance, now) = (*self.store.instance(), moment.now);
        let taken: Vec<&str> = rows.iter().map(|event| event.id.as_str()).collect();
        let taking_rows = self.store.take_unsealed_events(&taken);
        let taking_blocks: Vec<_> = blocks.iter().map(|(id, _, _)| self.store.take_unsealed_block(id)).collect();
        let events = aside(move || read(rows, &blocks)).await?;
        let (keys, new_keys) = self.people.keys(&self.store, &events, moment.dice).await?;
        let seed = moment.dice.secret();
        let seal = aside(move || {
            let (events, people) = take_out(instance, events, &keys, &seed);
            (Seal::new(instance, &head, now, events, people), keys)
        });
        let (seal, keys) = seal.await?;
        let sealed = Head { number: seal.number, hash: seal.actual_hash(instance), at: seal.at };
        // The new seal first: who comes second learns it before anything else is done.
        let mut batch = Batch::from(vec![self.store.insert_seal(seal)]);
        batch.extend(new_keys.into_iter().chain(taking_rows).chain(taking_blocks));
        Ok(match self.store.commit(batch).await? {
            Outcome::Committed => {
                self.people.remember(keys);
                Attempt::Sealed(sealed)
            }
            Outcome::GuardFailed { .. } => Attempt::Overtaken,
        })
    }

    /// What the next seal follows. If seals were taken away at the end, it does not take their place: the gap stays to be
    /// seen.
    async fn head(&self) -> Result<Head, Fault> {
        let kept = self.store.audit_head().await?;
        let remembered = self.state.lock().head;
        let signed = match self.store.newest_checkpoint().await? {
            Some((number, at, jws)) if number > kept.number => {
                let signed = self.key.load().read(&self.store, &jws);
                signed.map(|signed| Head { number: signed.seal, hash: signed.hash, at })
            }
            _ => None,
        };
        let last = signed.into_iter().chain([remembered]).fold(kept, |a, b| if b.number > a.number { b } else { a });
        if last.number > kept.number {
            tracing::error!(missing_from = kept.number + 1, to = last.number, "seals of the audit are missing");
        }
        Ok(last)
    }

    /// Signs the newest seal, unless it is signed already.
    pub(crate) async fn sign(&self, now: Timestamp) -> Result<(), Fault> {
        let head = self.store.audit_head().await?;
        let signed = self.store.newest_checkpoint().await?.map_or(0, |(number, _, _)| number);
        if head.number > signed {
            let jws = self.key.load().sign(&self.store, &head, now, false)?;
            let _first_stays =
                self.store.commit(vec![self.store.insert_checkpoint(head.number, now, &jws)].into()).await?;
        }
        let mut state = self.state.lock();
        if head.number > state.head.number {
            state.head = head;
        }
        (state.signed, state.signed_at) = (head.number.max(signed), now);
        Ok(())
    }

    /// The database may have gone back: what is remembered of the chain and of people's keys is not believed any more.
    pub(crate) fn database_went_back(&self) {
        self.people.forget();
        *self.state.lock() = State { rest: 0, head: Head::NONE, signed: 0, signed_at: Timestamp(0) };
    }

    /// The key may have been replaced.
    pub(crate) async fn reload_key(&self, master: &MasterKey) -> Result<(), Fault> {
        if let Some(key) = CheckpointKey::load(&self.store, master).await? {
            self.key.store(Arc::new(key));
        }
        Ok(())
    }

    pub(super) const fn store(&self) -> &Store {
        &self.store
    }

    pub(super) fn key(&self) -> Arc<CheckpointKey> {
        self.key.load_full()
    }
}

/// A few thousand events take some tens of milliseconds: requests must not wait behind them.
pub(super) async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Fault> {
    tokio::task::spawn_blocking(work).await.map_err(Fault::failed)
}

/// Rows, and the lines of blocks: id, first time, lines.
fn read(mut events: Vec<StoredEvent>, blocks: &[(String, Timestamp, String)]) -> Vec<StoredEvent> {
    for (id, first_at, lines) in blocks {
        events.extend(lines_of(id, *first_at, lines));
    }
    events
}
