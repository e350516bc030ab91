//! Where the next seal goes: behind the newest one, if that is the one recorded. If not, the chain breaks openly: a
//! separate seal states what was known and what is found, and a checkpoint signs it.

use model::Timestamp;
use model::audit::chain::{ChainHead, ChainId, Checkpoint, Seal, SealHash, SealLink};
use model::audit::{
    AuditKind, Break, BreakCause, ChainMemory, Continuation, ObservedChain, ProcessKnowledge, RememberedEnd,
};
use store::{Batch, CommitOutcome, Statement, StoredMemory};
use uuid::Uuid;

use crate::Fault;
use crate::audit::sealer::{MAX_ATTEMPTS, SIGN_EVERY, Sealer, SecretState};
use crate::audit::system_event;
use model::claims::MAX_TOKEN_LIFETIME;

/// The seal that the next one follows, as it was read.
#[derive(Clone, Copy)]
pub(super) struct ChainEnd {
    pub(super) head: ChainHead,
    remembered: RememberedEnd,
    /// Version of the recorded end.
    version: i64,
}

impl ChainEnd {
    pub(super) const fn is_unsigned(&self) -> bool {
        self.head.number > self.remembered.signed.seal
    }

    /// Once the newest seal is this old, it is signed before another one follows, so that the seals under one signature
    /// are no further apart in time.
    fn wants_signature(&self, now: Timestamp) -> bool {
        self.is_unsigned() && now.since(self.head.at) >= SIGN_EVERY
    }
}

impl Sealer {
    /// When this returns, the recorded end and the chain agree; any break was reported. The caller is the only one that
    /// seals.
    pub(super) async fn ready(&self, now: Timestamp) -> Result<ChainEnd, Fault> {
        let ready = self.look(now).await?;
        ready.ok_or_else(|| Fault::failed("the secret of the audit is not the one that this server works with"))
    }

    /// The same, for opening the chain: `false` if another node made its secret meanwhile.
    pub(super) async fn looks_well(&self, now: Timestamp) -> Result<bool, Fault> {
        Ok(self.look(now).await?.is_some())
    }

    async fn look(&self, now: Timestamp) -> Result<Option<ChainEnd>, Fault> {
        for _ in 0..MAX_ATTEMPTS {
            let told = {
                let state = self.state.lock();
                ProcessKnowledge { known: state.known, went_back: state.went_back }
            };
            let stored = self.store.audit_memory(told.known.map_or(0, |known| known.seal)).await?;
            let memory = match (&*self.kept.lock(), &stored.row) {
                (SecretState::Here, Some(row)) => self.secret.read(row),
                (SecretState::NotYet, Some(_)) => return Ok(None),
                (SecretState::InPlaceOf(old), Some(row)) if row.secret != *old => return Ok(None),
                (_, None) | (SecretState::InPlaceOf(_), Some(_)) => ChainMemory::Lost,
            };
            let told =
                if memory == ChainMemory::Lost { self.told_by_checkpoint(told, &stored.head).await? } else { told };
            match memory.check(&seen(&stored), told) {
                Continuation::GoesOn(remembered) => {
                    let version = stored.row.map_or(0, |row| row.version);
                    let ready = ChainEnd { head: stored.head, remembered, version };
                    self.note_head(&ready.head);
                    if !ready.wants_signature(now) {
                        return Ok(Some(ready));
                    }
                    self.sign_ready(&ready, now).await?;
                }
                Continuation::Breaks(broken, behind) => self.break_off(broken, behind, memory, stored, now).await?,
            }
        }
        Err(Fault::unavailable("other nodes sealed the audit each time"))
    }

    /// Commits a batch that extends the chain. If a guard fails, either another node was first, or the database is no
    /// longer the one that was read: a retry must know which.
    pub(super) async fn commit(&self, batch: Batch, now: Timestamp) -> Result<CommitOutcome, Fault> {
        let outcome = self.store.commit(batch).await?;
        if let CommitOutcome::GuardFailed { .. } = outcome {
            self.look_for_rewind(now).await?;
        }
        Ok(outcome)
    }

    async fn look_for_rewind(&self, now: Timestamp) -> Result<(), Fault> {
        let Some(mark) = self.mark.lock().clone() else { return Ok(()) };
        if self.store.has_change(&mark).await? {
            return Ok(());
        }
        let is_swept = now.since(mark.at) >= MAX_TOKEN_LIFETIME && self.store.is_change_swept(&mark).await?;
        if !is_swept {
            self.database_went_back();
        }
        *self.mark.lock() = self.store.newest_change().await?;
        Ok(())
    }

    fn note_head(&self, head: &ChainHead) {
        let mut state = self.state.lock();
        state.known = Some(SealLink { seal: head.number, hash: head.hash });
        state.went_back = false;
    }

    /// If no end is recorded, and this process knows none either, a checkpoint beyond the newest seal still shows that
    /// the end was cut off.
    async fn told_by_checkpoint(&self, told: ProcessKnowledge, head: &ChainHead) -> Result<ProcessKnowledge, Fault> {
        if told.known.is_some() {
            return Ok(told);
        }
        let Some((number, _, jws)) = self.store.newest_checkpoint().await? else { return Ok(told) };
        let signed = self.key().read(&self.store, &jws).filter(|signed| signed.seal == number && number >= head.number);
        Ok(ProcessKnowledge { known: signed.map(|signed| SealLink { seal: signed.seal, hash: signed.hash }), ..told })
    }

    /// Part of a seal's batch: records it as the newest.
    pub(super) fn remember(&self, ready: &ChainEnd, head: SealLink) -> Statement {
        self.write_memory(ready.version, &RememberedEnd { head, ..ready.remembered })
    }

    fn write_memory(&self, version: i64, remembered: &RememberedEnd) -> Statement {
        let mark = self.mark.lock().clone();
        let (head, signed) = (remembered.head.seal, remembered.signed.seal);
        self.store.update_audit_memory(version, head, signed, self.secret.seal(remembered), mark.as_ref())
    }

    /// Signs the newest seal. A failed guard means that another node signed or sealed meanwhile.
    pub(super) async fn sign_ready(&self, ready: &ChainEnd, now: Timestamp) -> Result<(), Fault> {
        let head = SealLink { seal: ready.head.number, hash: ready.head.hash };
        let (signed, jws) = self.checkpoint(head, ready.remembered.signed, None, now)?;
        let batch = vec![
            self.store.insert_checkpoint(head.seal, now, &jws),
            self.write_memory(ready.version, &RememberedEnd { head, signed }),
        ];
        if self.commit(batch.into(), now).await? == CommitOutcome::Committed {
            self.note_signed(head.seal, now);
            self.announce(signed, head.hash, jws);
        }
        Ok(())
    }

    /// Signs a seal. Answers how the next checkpoint refers to this one, and its JWS.
    fn checkpoint(
        &self,
        seal: SealLink,
        prev: SealLink,
        broken: Option<Break>,
        now: Timestamp,
    ) -> Result<(SealLink, String), Fault> {
        let checkpoint = Checkpoint {
            instance: self.store.instance().to_string(),
            chain: self.store.chain(),
            seal: seal.seal,
            hash: seal.hash,
            iat: now.seconds(),
            prev: Some(prev),
            pruned: false,
            broken,
        };
        let jws = self.key().sign(&checkpoint)?;
        Ok((SealLink { seal: seal.seal, hash: SealHash::of(jws.as_bytes()) }, jws))
    }

    /// Reports a break in a separate seal, and continues the chain from there. A failed guard means that another node
    /// was first, and the caller looks again.
    async fn break_off(
        &self,
        broken: Break,
        behind: ChainHead,
        memory: ChainMemory,
        stored: StoredMemory,
        now: Timestamp,
    ) -> Result<(), Fault> {
        let chain = self.store.chain_id();
        let newest = self.store.newest_checkpoint().await?;
        let signed = match memory {
            ChainMemory::Kept(kept) => kept.signed,
            ChainMemory::Lost => newest
                .as_ref()
                .map_or(SealLink::NONE, |(seal, _, jws)| SealLink { seal: *seal, hash: SealHash::of(jws.as_bytes()) }),
        };
        let seal = seal_of_break(chain, &broken, &behind, now);
        let head = SealLink { seal: seal.number, hash: seal.actual_hash(chain) };
        let mut batch = Batch::from(vec![self.store.insert_seal(seal, None)]);
        // While an older version runs beside this one, it adds unknown seals by the hundred: the next checkpoint covers
        // them.
        let is_signed = broken.cause != BreakCause::UnknownSeals;
        let (signed, jws) =
            if is_signed { self.checkpoint(head, signed, Some(broken), now)? } else { (signed, String::new()) };
        if is_signed {
            batch.push(self.store.insert_checkpoint(head.seal, now, &jws));
        }
        let remembered = RememberedEnd { head, signed };
        let is_kept = matches!(*self.kept.lock(), SecretState::Here);
        match stored.row {
            Some(row) if is_kept => batch.push(self.write_memory(row.version, &remembered)),
            other => {
                batch.extend(other.map(|row| self.store.delete_audit_memory(row.version)));
                batch.push(self.store.insert_audit_memory(self.secret.first_row(&remembered)));
            }
        }
        if let CommitOutcome::GuardFailed { .. } = self.commit(batch, now).await? {
            return Ok(());
        }
        *self.kept.lock() = SecretState::Here;
        if is_signed {
            self.note_signed(head.seal, now);
            self.announce(signed, head.hash, jws);
        }
        self.note_head(&ChainHead { number: head.seal, hash: head.hash, at: now });
        let is_upgrade = newest.is_none_or(|(_, _, jws)| self.is_of_a_version_before(&jws));
        self.tell_break(&broken, is_upgrade && broken.cause == BreakCause::NothingRemembered);
        Ok(())
    }

    fn is_of_a_version_before(&self, jws: &str) -> bool {
        self.key().read(&self.store, jws).is_some_and(|signed| signed.prev.is_none())
    }

    fn tell_break(&self, broken: &Break, is_upgrade: bool) {
        let Break { cause, known, found } = broken;
        let (instance, chain, cause) = (self.store.instance(), self.store.chain().as_str(), cause.as_str());
        if is_upgrade {
            tracing::warn!(
                %instance, chain, from = found.seal,
                "the end of the audit's chain is remembered from now on: right after an upgrade this is as it has to be, \
                 at any other time somebody deleted what was remembered and all checkpoints"
            );
            return;
        }
        self.alarms.add(cause);
        if broken.cause == BreakCause::UnknownSeals {
            tracing::warn!(
                %instance, chain, cause, known = known.seal, found = found.seal,
                "the audit has seals that are not known: an older version runs beside this one, or somebody wrote them"
            );
        } else {
            tracing::error!(
                %instance, chain, cause, known = known.seal, known_hash = %known.hash, found = found.seal,
                found_hash = %found.hash,
                "the audit's chain is not what it was; it goes on behind a break: run `gatehouse audit verify`"
            );
        }
    }
}

fn seen(stored: &StoredMemory) -> ObservedChain {
    ObservedChain {
        head: stored.head,
        remembered_head: stored.remembered_head,
        remembered_checkpoint: stored.remembered_checkpoint.as_ref().map(|jws| SealHash::of(jws.as_bytes())),
        known_head: stored.asked,
        oldest: stored.oldest,
    }
}

fn seal_of_break(chain: ChainId, broken: &Break, behind: &ChainHead, now: Timestamp) -> Seal {
    let mut event = system_event(now, AuditKind::AuditBroken);
    event.reason = broken.cause.as_str();
    let event = event.detail(&serde_json::json!({ "known": broken.known, "found": broken.found }));
    // Begins with the time, as other ids do. The rest need only be unique.
    let rest = SealHash::of(
        format!("{} {} {} {}", chain.instance, chain.chain.as_str(), behind.number, behind.hash).as_bytes(),
    );
    let millis = u64::try_from(now.micros() / 1000).unwrap_or(0);
    let id: Uuid = uuid::Builder::from_unix_timestamp_millis(millis, &rest.first_bytes()).into_uuid();
    Seal::new(chain, behind, now, vec![(event.stored(id), None)], String::new())
}
