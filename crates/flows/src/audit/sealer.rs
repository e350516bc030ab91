//! The sealer takes events that were committed out of where they wait, and puts them into the chain. It draws its own
//! line: an event that commits late is simply in a later seal, and none is in two.

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

/// Rows that one seal takes at most, and blocks, each of about 256 KiB: as events they take many times as much.
const MAX_ROWS: u32 = 1024;
const MAX_BLOCKS: u32 = 1;
/// Seals that one beat makes of one instance: the others' events are to be sealed within a second, too.
const MAX_SEALS: usize = 8;
/// Tries to seal this process's own calls, until the next beat tries again.
pub(super) const MAX_ATTEMPTS: usize = 8;
/// Beats to stay away for after another node was first: it will be again.
const REST: u32 = 4;
/// How often the newest seal is signed, while there is news.
pub(super) const SIGN_EVERY: Duration = Duration::from_mins(1);

pub(crate) struct Sealer {
    pub(super) store: AuditedStore,
    pub(super) secret: AuditSecret,
    pub(super) kept: Mutex<SecretState>,
    people: PersonKeyCache,
    pub(super) key: ArcSwap<CheckpointKey>,
    pub(super) state: Mutex<SealerState>,
    /// A row of the change feed that this process has seen: every seal is guarded by it.
    pub(super) mark: Mutex<Option<FeedMark>>,
    /// One at a time in this process: who comes second would only have to look again.
    sealing: tokio::sync::Mutex<()>,
    /// Breaks of the chain by cause, and events that are not vouched for by doubt.
    pub(super) alarms: Arc<NamedCounters>,
    /// Where checkpoints are announced, by the name of the instance.
    board: Option<(String, Arc<CheckpointPublisher>)>,
}

#[derive(Clone, Copy)]
pub(super) struct SealerState {
    rest: u32,
    /// The newest seal that this process made or saw.
    pub(super) known: Option<SealLink>,
    /// The newest seal that is signed, and when that was.
    signed: i64,
    signed_at: Timestamp,
    /// The change feed says that the database is of an earlier time than this process knows.
    pub(super) went_back: bool,
}

/// Whether the database has the secret that this process works with.
pub(super) enum SecretState {
    Here,
    /// There was none, and the first seal brings it.
    NotYet,
    /// There was one that does not open.
    InPlaceOf(Vec<u8>),
}

/// The last try to seal some calls, of which it is not known whether it was committed.
#[derive(Clone, Copy)]
pub(crate) struct PendingCallSeal {
    at: Timestamp,
    seal: SealLink,
}

/// What became of one attempt.
enum SealAttempt {
    NothingWaits,
    Sealed(SealLink),
    /// Another node was first.
    Overtaken,
}

impl Sealer {
    /// The chain is looked at before anything is put behind it: see [`model::audit::ChainMemory::check`].
    pub(crate) async fn open(store: &Store, master: &MasterKey, moment: &mut Moment<'_>) -> Result<Self, Fault> {
        for _ in 0..MAX_ATTEMPTS {
            let (secret, kept) = Self::secret(store, master, moment).await?;
            let sealer = Self::with(store, (secret, kept), master, moment).await?;
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
                // Somebody put it there: what is remembered is lost with it, and told of.
                Err(_) => (draw(moment.rng), SecretState::InPlaceOf(sealed)),
            },
        })
    }

    async fn with(
        store: &Store,
        (secret, kept): (AuditSecret, SecretState),
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

    /// From now on every checkpoint is announced there, by the name of the instance.
    #[must_use]
    pub(crate) fn announcing(self, name: String, board: Arc<CheckpointPublisher>) -> Self {
        Self { board: Some((name, board)), ..self }
    }

    /// Counts its alarms where those of another chain are counted.
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

    /// The database is of an earlier time than what this process knows. What it remembers of people is not believed any
    /// more; the next seal finds out what became of the chain, and tells of it.
    pub(crate) fn database_went_back(&self) {
        self.people.forget();
        self.state.lock().went_back = true;
    }

    /// The database was seen to have this row of the change feed.
    pub(crate) fn note_change(&self, mark: &FeedMark) {
        *self.mark.lock() = Some(mark.clone());
    }

    /// Whether there is something to do although no event waits.
    pub(crate) fn wants_to_sign(&self, now: Timestamp) -> bool {
        let state = *self.state.lock();
        let newest = state.known.map_or(0, |known| known.seal);
        state.went_back || (newest > state.signed && now.since(state.signed_at) >= SIGN_EVERY)
    }

    /// One beat: what waits is sealed, as far as the bound allows, and signed once a minute.
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

    /// Everything that was committed before this call is in the chain after it, and the chain is signed.
    pub(crate) async fn finish(&self, moment: &mut Moment<'_>) -> Result<(), Fault> {
        loop {
            match self.attempt(moment).await? {
                SealAttempt::NothingWaits => break,
                SealAttempt::Sealed(head) => self.state.lock().known = Some(head),
                // Who was first has shortened what waits: this ends.
                SealAttempt::Overtaken => self.people.forget(),
            }
        }
        self.sign(moment.now).await
    }

    /// Puts calls into a seal of their own. They name nobody, so there is nothing to take out of them; and they have waited
    /// nowhere but in memory, so the head is the only guard.
    pub(crate) async fn seal_calls(
        &self,
        calls: &Arc<Calls>,
        tried: &Mutex<Option<PendingCallSeal>>,
        now: Timestamp,
    ) -> Result<(), Fault> {
        let _alone = self.sealing.lock().await;
        for _ in 0..MAX_ATTEMPTS {
            let ready = self.ready(now).await?;
            // After the head was read: a try that is committed later than this look takes the place behind it.
            let last = *tried.lock();
            if let Some(last) = last
                && self.store.has_seal(last.seal).await?
            {
                return Ok(());
            }
            // At the time of the first try, so that another one behind the same head is the same seal.
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
        // The new seal first: who comes second learns it before anything else is done.
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

    /// Of what waits, what is in the chain already. Ids begin with their time: those that lie far apart are asked for apart,
    /// so that one that waited for long does not have the whole chain read.
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

    /// The key may have been replaced.
    pub(crate) async fn reload_key(&self, master: &MasterKey) -> Result<(), Fault> {
        if let Some(key) = CheckpointKey::load(&self.store, master).await? {
            self.key.store(Arc::new(key));
        }
        Ok(())
    }

    pub(crate) const fn store(&self) -> &AuditedStore {
        &self.store
    }

    /// How often something was found that nobody of this installation wrote, by what it was.
    pub(crate) fn alarms(&self) -> &NamedCounters {
        &self.alarms
    }

    pub(super) fn key(&self) -> Arc<CheckpointKey> {
        self.key.load_full()
    }
}

/// A few thousand events take some tens of milliseconds: requests must not wait behind them.
pub(super) async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Fault> {
    tokio::task::spawn_blocking(work).await.map_err(Fault::failed)
}

/// Rows, and the lines of blocks, each with the doubt that there is of it.
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

/// Whether two ids are of the same minute, about: UUIDs of version 7 begin with 48 bits of milliseconds.
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
