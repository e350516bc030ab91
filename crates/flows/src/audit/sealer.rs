//! The sealer moves committed events from where they wait into the chain. It decides what each seal holds: an event
//! that commits late is in a later seal, and no event is in two.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use model::audit::chain::{Seal, SealLink};
use model::audit::{Calls, Doubt, StoredEvent};
use model::meter::NamedCounters;
use model::{Moment, Timestamp};
use parking_lot::Mutex;
use store::{Batch, CommitOutcome, FeedMark, Store, WaitingBlock, lines_of};

use crate::audit::checkpoints::CheckpointKey;
use crate::audit::event_codes::{AuditSecret, AuditedStore, EventCodes};
use crate::audit::person_keys::{PersonKeyCache, take_out};
use crate::audit::publisher::{CheckpointPublisher, PublishedCheckpoint};
use crate::{Fault, MasterKey};

/// Rows in one seal at most, and blocks, each of about 256 KiB: as parsed events they take many times as much memory.
const MAX_ROWS: u32 = 1024;
const MAX_BLOCKS: u32 = 1;
/// Seals that one tick adds for one instance: events of other instances must be sealed within a second, too.
const MAX_SEALS: usize = 8;
/// Attempts to seal this process's own calls, until the next tick tries again.
pub(super) const MAX_ATTEMPTS: usize = 8;
/// Ticks to skip after another node was first: it will be first again.
const REST: u32 = 4;
/// Time between signatures of the newest seal, while there are new seals.
pub(super) const SIGN_EVERY: Duration = Duration::from_mins(1);

pub(crate) struct Sealer {
    pub(super) store: AuditedStore,
    pub(super) secret: AuditSecret,
    pub(super) kept: Mutex<SecretState>,
    people: PersonKeyCache,
    pub(super) key: ArcSwap<CheckpointKey>,
    pub(super) state: Mutex<SealerState>,
    /// A row of the change feed that this process has seen. Every seal is guarded by it.
    pub(super) mark: Mutex<Option<FeedMark>>,
    /// Lets one task of this process seal at a time: a second one would only have to look again.
    sealing: tokio::sync::Mutex<()>,
    /// Breaks of the chain by cause, and doubtful events by doubt.
    pub(super) alarms: Arc<NamedCounters>,
    /// The instance's name, and where its checkpoints are published.
    board: Option<(String, Arc<CheckpointPublisher>)>,
}

#[derive(Clone, Copy)]
pub(super) struct SealerState {
    rest: u32,
    /// The newest seal that this process made or read.
    pub(super) known: Option<SealLink>,
    /// The newest seal that is signed, and the time of its signature.
    signed: i64,
    signed_at: Timestamp,
    /// The change feed shows that the database is of an earlier time than this process knows.
    pub(super) went_back: bool,
}

/// Whether the database holds the audit secret that this process works with.
pub(super) enum SecretState {
    Here,
    /// The database had none. The first seal stores this one.
    NotYet,
    /// The database had one that does not open.
    InPlaceOf(Vec<u8>),
}

/// The last attempt to seal some calls. Whether it was committed is unknown.
#[derive(Clone, Copy)]
pub(crate) struct PendingCallSeal {
    at: Timestamp,
    seal: SealLink,
}

/// Outcome of one attempt to seal.
enum SealAttempt {
    NothingWaits,
    Sealed(SealLink),
    /// Another node was first.
    Overtaken,
}

impl Sealer {
    /// Checks the chain before anything is added to it: see [`model::audit::ChainMemory::check`].
    pub(crate) async fn open(store: &Store, master: &MasterKey, moment: &mut Moment<'_>) -> Result<Self, Fault> {
        for _ in 0..MAX_ATTEMPTS {
            let (secret, kept) = Self::secret(store, master, moment).await?;
            let sealer = Self::with(store, secret, kept, master, moment).await?;
            if sealer.looks_well(moment.now).await? {
                return Ok(sealer);
            }
        }
        Err(Fault::unavailable("other nodes made the secret of the audit each time"))
    }

    async fn secret(
        store: &Store,
        master: &MasterKey,
        moment: &mut Moment<'_>,
    ) -> Result<(AuditSecret, SecretState), Fault> {
        let draw = |rng| AuditSecret::draw(store, master, rng);
        Ok(match store.audit_secret().await? {
            None => (draw(moment.rng), SecretState::NotYet),
            Some(sealed) => match AuditSecret::open(store, master, sealed.clone()) {
                Ok(secret) => (secret, SecretState::Here),
                // This installation did not write it. The recorded end of the chain is lost with it, and that is
                // reported.
                Err(_) => (draw(moment.rng), SecretState::InPlaceOf(sealed)),
            },
        })
    }

    async fn with(
        store: &Store,
        secret: AuditSecret,
        kept: SecretState,
        master: &MasterKey,
        moment: &mut Moment<'_>,
    ) -> Result<Self, Fault> {
        let store = AuditedStore::new(store.clone(), secret.codes().clone());
        let key = CheckpointKey::load_or_make(&store, master, moment).await?;
        let (signed, signed_at) =
            store.newest_checkpoint().await?.map_or((0, Timestamp(0)), |(number, at, _)| (number, at));
        let state = SealerState { rest: 0, known: None, signed, signed_at, went_back: false };
        Ok(Self {
            store,
            secret,
            kept: Mutex::new(kept),
            people: PersonKeyCache::new(),
            key: ArcSwap::from_pointee(key),
            state: Mutex::new(state),
            mark: Mutex::default(),
            sealing: tokio::sync::Mutex::default(),
            alarms: Arc::default(),
            board: None,
        })
    }

    /// Publishes every checkpoint from now on, under the name of the instance.
    #[must_use]
    pub(crate) fn announcing(self, name: String, board: Arc<CheckpointPublisher>) -> Self {
        Self { board: Some((name, board)), ..self }
    }

    /// Adds its alarms to the counts of another chain.
    #[must_use]
    pub(crate) fn alarming_with(self, other: &Self) -> Self {
        for (name, count) in self.alarms.read() {
            (0..count).for_each(|_| other.alarms.add(name));
        }
        Self { alarms: Arc::clone(&other.alarms), ..self }
    }

    pub(super) fn announce(&self, signed: SealLink, seal: model::audit::chain::SealHash, jws: String) {
        if let Some((name, board)) = &self.board {
            let chain = self.store.chain();
            board.put(PublishedCheckpoint { instance: name.clone(), chain, seal: signed.seal, hash: seal, jws });
        }
    }

    /// The database is of an earlier time than this process knows. Cached keys of users are dropped; the next seal
    /// checks the chain, and reports a break.
    pub(crate) fn database_went_back(&self) {
        self.people.forget();
        self.state.lock().went_back = true;
    }

    /// Notes a row of the change feed that the database was seen to have.
    pub(crate) fn note_change(&self, mark: &FeedMark) {
        *self.mark.lock() = Some(mark.clone());
    }

    /// Whether there is work although no event waits.
    pub(crate) fn wants_to_sign(&self, now: Timestamp) -> bool {
        let state = *self.state.lock();
        let newest = state.known.map_or(0, |known| known.seal);
        state.went_back || (newest > state.signed && now.since(state.signed_at) >= SIGN_EVERY)
    }

    /// One tick: seals waiting events, up to [`MAX_SEALS`] seals, and signs once a minute.
    pub(crate) async fn tick(&self, moment: &mut Moment<'_>) -> Result<(), Fault> {
        if self.rests() {
            return Ok(());
        }
        for _ in 0..MAX_SEALS {
            match self.attempt(moment).await? {
                SealAttempt::NothingWaits => break,
                SealAttempt::Sealed(head) => self.state.lock().known = Some(head),
                SealAttempt::Overtaken => {
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

    /// Seals and signs everything committed before this call.
    pub(crate) async fn finish(&self, moment: &mut Moment<'_>) -> Result<(), Fault> {
        loop {
            match self.attempt(moment).await? {
                SealAttempt::NothingWaits => break,
                SealAttempt::Sealed(head) => self.state.lock().known = Some(head),
                // The node that was first has shortened the queue, so this loop ends.
                SealAttempt::Overtaken => self.people.forget(),
            }
        }
        self.sign(moment.now).await
    }

    /// Seals calls in a seal of their own. They hold no personal data that must be moved out; and they wait in memory
    /// only, so the head of the chain is the only guard.
    pub(crate) async fn seal_calls(
        &self,
        calls: &Arc<Calls>,
        tried: &Mutex<Option<PendingCallSeal>>,
        now: Timestamp,
    ) -> Result<(), Fault> {
        let _alone = self.sealing.lock().await;
        for _ in 0..MAX_ATTEMPTS {
            let ready = self.ready(now).await?;
            // Checked after the head was read: an attempt that commits later than this check is behind that head.
            let last = *tried.lock();
            if let Some(last) = last
                && self.store.has_seal(last.seal).await?
            {
                return Ok(());
            }
            // Uses the time of the first attempt, so that another attempt behind the same head is the same seal.
            let at = last.map_or(now, |last| last.at);
            let (chain, calls) = (self.store.chain_id(), Arc::clone(calls));
            let seal = aside(move || Seal::of_calls(chain, &ready.head, at, &calls)).await?;
            let sealed = SealLink { seal: seal.number, hash: seal.actual_hash(chain) };
            *tried.lock() = Some(PendingCallSeal { at, seal: sealed });
            let batch = vec![self.store.insert_seal(seal, None), self.remember(&ready, sealed)];
            if self.commit(batch.into(), now).await? == CommitOutcome::Committed {
                self.state.lock().known = Some(sealed);
                return Ok(());
            }
        }
        Err(Fault::unavailable("other nodes sealed the audit each time"))
    }

    async fn attempt(&self, moment: &mut Moment<'_>) -> Result<SealAttempt, Fault> {
        let _alone = self.sealing.lock().await;
        let rows = self.store.unsealed_events(MAX_ROWS).await?;
        let blocks = self.store.unsealed_blocks(MAX_BLOCKS).await?;
        if rows.is_empty() && blocks.is_empty() {
            return Ok(SealAttempt::NothingWaits);
        }
        let ready = self.ready(moment.now).await?;
        let (chain, now) = (self.store.chain_id(), moment.now);
        let taken: Vec<&str> = rows.iter().map(|(event, _)| event.id.as_str()).collect();
        let ids: Vec<&str> = taken.iter().copied().chain(blocks.iter().map(|block| block.id.as_str())).collect();
        let span = ids.iter().min().zip(ids.iter().max());
        let span = span.map(|(first, last)| ((*first).to_owned(), (*last).to_owned()));
        let repeated = self.sealed_before(&ids).await?;
        let taking_rows = self.store.take_unsealed_events(&taken);
        let taking_blocks: Vec<_> = blocks.iter().map(|block| self.store.take_unsealed_block(&block.id)).collect();
        let codes = self.secret.codes().clone();
        let events = aside(move || read(&codes, &repeated, rows, &blocks)).await?;
        let doubts: Vec<Doubt> = events.iter().filter_map(|event| event.doubt).collect();
        let (keys, new_keys) = self.people.keys(&self.store, &events, moment.rng).await?;
        let seed = moment.rng.secret();
        let head = ready.head;
        let seal = aside(move || {
            let (events, people) = take_out(chain.instance, events, &keys, &seed);
            (Seal::new(chain, &head, now, events, people), keys)
        });
        let (seal, keys) = seal.await?;
        let sealed = SealLink { seal: seal.number, hash: seal.actual_hash(chain) };
        // The new seal first: a node that comes second fails here, before any other statement.
        let span = span.as_ref().map(|(first, last)| (first.as_str(), last.as_str()));
        let mut batch = Batch::from(vec![self.store.insert_seal(seal, span), self.remember(&ready, sealed)]);
        batch.extend(new_keys.into_iter().chain(taking_rows).chain(taking_blocks));
        Ok(match self.commit(batch, now).await? {
            CommitOutcome::Committed => {
                self.people.remember(keys);
                self.tell_doubts(sealed.seal, &doubts);
                SealAttempt::Sealed(sealed)
            }
            CommitOutcome::GuardFailed { .. } => SealAttempt::Overtaken,
        })
    }

    /// Which waiting events are in the chain already. Ids begin with their time. Ids far apart in time are looked up
    /// separately, so that one event that waited for long does not make the query read the whole chain.
    async fn sealed_before(&self, ids: &[&str]) -> Result<HashSet<String>, Fault> {
        let mut sorted = ids.to_vec();
        sorted.sort_unstable();
        let mut found = HashSet::new();
        for near in sorted.chunk_by(|one, next| are_near(one, next)) {
            found.extend(self.store.sealed_before(near).await?);
        }
        Ok(found)
    }

    fn tell_doubts(&self, seal: i64, doubts: &[Doubt]) {
        for doubt in doubts {
            self.alarms.add(doubt.as_str());
        }
        let count = |wanted: Doubt| doubts.iter().filter(|doubt| **doubt == wanted).count();
        let (forged, repeated) = (count(Doubt::Forged), count(Doubt::Repeated));
        if forged + repeated > 0 {
            tracing::error!(
                seal,
                forged,
                repeated,
                "somebody wrote audit events into the database: they are sealed as such"
            );
        }
    }

    /// Signs the newest seal, unless it is signed already.
    pub(crate) async fn sign(&self, now: Timestamp) -> Result<(), Fault> {
        let _alone = self.sealing.lock().await;
        let ready = self.ready(now).await?;
        if ready.is_unsigned() {
            self.sign_ready(&ready, now).await?;
        }
        Ok(())
    }

    pub(super) fn note_signed(&self, seal: i64, now: Timestamp) {
        let mut state = self.state.lock();
        (state.signed, state.signed_at) = (seal, now);
    }

    /// Loads the key again: it may have been replaced.
    pub(crate) async fn reload_key(&self, master: &MasterKey) -> Result<(), Fault> {
        if let Some(key) = CheckpointKey::load(&self.store, master).await? {
            self.key.store(Arc::new(key));
        }
        Ok(())
    }

    pub(crate) const fn store(&self) -> &AuditedStore {
        &self.store
    }

    /// Counts of breaks and of events that this installation did not write, by cause or doubt.
    pub(crate) fn alarms(&self) -> &NamedCounters {
        &self.alarms
    }

    pub(super) fn key(&self) -> Arc<CheckpointKey> {
        self.key.load_full()
    }
}

/// Runs work on a blocking thread. A few thousand events take some tens of milliseconds, and requests must not wait for
/// them.
pub(super) async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Fault> {
    tokio::task::spawn_blocking(work).await.map_err(Fault::failed)
}

/// Events of rows, and of the lines of blocks, each with its doubt if there is one.
fn read(
    codes: &EventCodes,
    repeated: &HashSet<String>,
    rows: Vec<(StoredEvent, Option<String>)>,
    blocks: &[WaitingBlock],
) -> Vec<StoredEvent> {
    let again = |id: &str| repeated.contains(id).then_some(Doubt::Repeated);
    let row = |(event, code): (StoredEvent, Option<String>)| {
        let doubt = codes.doubt_event(&event, code.as_deref()).or_else(|| again(&event.id));
        StoredEvent { doubt, ..event }
    };
    let mut events: Vec<StoredEvent> = rows.into_iter().map(row).collect();
    for block in blocks {
        let doubt = codes.doubt_block(block).or_else(|| again(&block.id));
        let lines = lines_of(&block.id, block.first_at, &block.lines);
        events.extend(lines.into_iter().map(|event| StoredEvent { doubt, ..event }));
    }
    events
}

/// Whether two ids are at most a minute apart: UUIDs of version 7 begin with 48 bits of milliseconds.
fn are_near(one: &str, next: &str) -> bool {
    const NEAR: u64 = 60_000;
    let millis = |id: &str| u64::from_str_radix(&id.get(..13)?.replacen('-', "", 1), 16).ok();
    millis(one).zip(millis(next)).is_some_and(|(one, next)| next.saturating_sub(one) <= NEAR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_near_by_their_time() {
        let id = |millis: u64| uuid::Builder::from_unix_timestamp_millis(millis, &[0; 10]).into_uuid().to_string();
        assert!(are_near(&id(1_795_255_032_000), &id(1_795_255_092_000)));
        assert!(!are_near(&id(1_795_255_032_000), &id(1_795_255_092_001)));
        assert!(!are_near("x", &id(0)) && !are_near("", "") && !are_near("ééééééééé", "é"));
    }
}
