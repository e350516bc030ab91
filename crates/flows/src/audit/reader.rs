//! Reads the chain: page by page for an export, by a request's reference, and in full to verify it.

use std::collections::BTreeMap;

use model::audit::chain::{Chain, Seal, SealHash};
use model::audit::folding::may_hold;
use model::audit::verify::{AuditFinding, ChainVerifier, Checkpoints, EventName, SignedSeal, Unattested};
use model::audit::{ChainMemory, RequestId, StoredEvent, person_of};
use model::{Moment, Timestamp};
use oauth::jose::Jwk;
use store::Store;

use crate::audit::checkpoints;
use crate::audit::checkpoints::CheckpointKeys;
use crate::audit::event_codes::{AuditSecret, AuditedStore};
use crate::audit::person_keys::{KnownPerson, open_people};
use crate::audit::sealer::Sealer;
use crate::{Answer, Fault, MasterKey};

/// Seals read at once: some mebibytes at most.
const PAGE: u32 = 8;

/// Findings that are listed. Further ones are only counted.
const MAX_FINDINGS: usize = 1000;

/// The audit of one instance, for the operator.
pub struct AuditReader<'a> {
    store: AuditedStore,
    master: &'a MasterKey,
}

/// An event of the chain.
pub struct SealedEvent<'a> {
    /// Position in its seal, from 0.
    pub place: usize,
    /// The line in the chain, byte for byte.
    pub line: &'a str,
    pub hash: SealHash,
    /// Includes personal data, where it is known.
    pub event: StoredEvent,
    pub person: Option<KnownPerson>,
}

/// A part of the chain, by the times of events.
#[derive(Clone, Debug)]
pub struct AuditRange {
    pub since: Timestamp,
    /// Exclusive.
    pub until: Timestamp,
}

/// Consecutive seals, with their personal data.
pub struct SealPages {
    pub seals: Vec<Seal>,
    people: std::collections::HashMap<SealHash, KnownPerson>,
}

impl SealPages {
    /// The events of one of the seals. Skips a line that does not parse: verification reports it.
    pub fn events<'s>(&'s self, seal: &'s Seal) -> impl Iterator<Item = SealedEvent<'s>> {
        seal.events.lines().enumerate().filter_map(|(place, line)| {
            let (event, digest) = StoredEvent::parse(line)?;
            let person = digest.map(|digest| self.people.get(&digest).cloned().unwrap_or(KnownPerson::Edited));
            let known = person.as_ref().and_then(KnownPerson::person);
            let event = event.with_person(known.unwrap_or_default());
            Some(SealedEvent { place, line, hash: SealHash::of(line.as_bytes()), event, person })
        })
    }
}

async fn open_pages(store: &Store, seals: Vec<Seal>) -> Result<SealPages, Fault> {
    let people = open_people(store, &seals).await?;
    Ok(SealPages { seals, people })
}

/// The events of one request in one chain, in their order.
pub(crate) async fn events_of(store: &Store, request: RequestId) -> Result<Vec<StoredEvent>, Fault> {
    // Waiting events first: an event that is sealed between the two reads is found twice rather than never.
    let waiting = store.audit_events_of(request).await?;
    let reference = request.to_string();
    let is_of = |event: &StoredEvent| event.request.as_deref() == Some(reference.as_str());
    with_sealed(store, waiting, store.seals_of(request).await?, is_of).await
}

/// Records of folded refusals in one chain that may include the refusal of a request.
pub(crate) async fn folds_of(store: &Store, request: RequestId) -> Result<Vec<StoredEvent>, Fault> {
    let waiting = store.waiting_folds(request).await?;
    with_sealed(store, waiting, store.seals_with_folds(request).await?, |event| may_hold(event, request)).await
}

async fn with_sealed(
    store: &Store,
    mut events: Vec<StoredEvent>,
    seals: Vec<Seal>,
    is_wanted: impl Fn(&StoredEvent) -> bool,
) -> Result<Vec<StoredEvent>, Fault> {
    let pages = open_pages(store, seals).await?;
    for sealed in pages.seals.iter().flat_map(|seal| pages.events(seal)) {
        let is_new = events.iter().all(|event| event.id != sealed.event.id);
        if is_new && is_wanted(&sealed.event) {
            events.push(sealed.event);
        }
    }
    events.sort_by_key(|event| event.at);
    Ok(events)
}

/// All sealed events of the store's chain, oldest first.
pub async fn sealed_trail(store: &Store) -> Result<Vec<StoredEvent>, Fault> {
    let (mut events, mut after) = (Vec::new(), 0);
    loop {
        let pages = open_pages(store, store.seals_after(after, PAGE).await?).await?;
        let Some(last) = pages.seals.last() else { break };
        after = last.number;
        events.extend(pages.seals.iter().flat_map(|seal| pages.events(seal)).map(|sealed| sealed.event));
    }
    events.sort_by_key(|event| event.at);
    Ok(events)
}

/// Refusal to verify the audit, or to renew its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuditRefusal {
    /// Another process renewed the key meanwhile.
    Overtaken,
    /// A checkpoint kept elsewhere does not read back; the text names the problem.
    UnreadableCheckpoint(String),
}

/// Result of a verification.
#[derive(Default)]
pub struct VerificationResult {
    pub seals: u64,
    pub events: u64,
    /// Events whose personal data was erased.
    pub erased: u64,
    /// Events that were sealed from rows without a code.
    pub unattested: Unattested,
    /// Seals added by a version that does not record the chain's end, or by an unknown writer.
    pub unknown_seals: u64,
    /// First seal, and its time, from which the chain's end is recorded. Set if an earlier version wrote part of the
    /// chain.
    pub remembered_since: Option<(i64, Timestamp)>,
    /// Numbers of the newest seal, and of the newest seal that a signature covers.
    pub newest: i64,
    pub signed: i64,
    /// Whether events wait to be sealed.
    pub waiting: bool,
    pub findings: Vec<AuditFinding>,
    /// Number of findings beyond those listed.
    pub more: usize,
    /// Whether any finding, listed or not, cannot be explained by lost data.
    tampered: bool,
}

impl VerificationResult {
    pub fn is_whole(&self) -> bool {
        self.findings.is_empty() && self.more == 0
    }

    /// Whether the only findings are breaks: the database lost data, and the chain says so.
    pub fn is_only_broken(&self) -> bool {
        !self.is_whole() && !self.tampered
    }

    fn bound(&mut self) {
        self.tampered |= !self.findings.iter().all(AuditFinding::is_loss);
        self.more += self.findings.len().saturating_sub(MAX_FINDINGS);
        self.findings.truncate(MAX_FINDINGS);
    }
}

impl<'a> AuditReader<'a> {
    pub(crate) const fn new(store: AuditedStore, master: &'a MasterKey) -> Self {
        Self { store, master }
    }

    /// Seals and signs everything committed before this call, also events that no running server seals.
    pub async fn seal(&self, moment: &mut Moment<'_>) -> Result<(), Fault> {
        Sealer::open(&self.store, self.master, moment).await?.finish(moment).await
    }

    /// The newest checkpoint, to be kept where no one with access to Gatehouse can change it.
    pub async fn checkpoint(&self) -> Result<Option<String>, Fault> {
        Ok(self.store.newest_checkpoint().await?.map(|(_, _, jws)| jws))
    }

    /// Public keys of checkpoints, for verification without Gatehouse.
    pub async fn keys(&self) -> Result<Vec<Jwk>, Fault> {
        Ok(CheckpointKeys::load(&self.store, self.master).await?.public().to_vec())
    }

    /// Replaces the key that signs checkpoints. Checkpoints of the old key stay valid.
    pub async fn renew_key(&self, moment: &mut Moment<'_>) -> Answer<(), AuditRefusal> {
        // The old key vouches for everything up to here, and for the event that names the new key. It signs both
        // chains.
        for chain in [Chain::Main, Chain::Refusals] {
            Sealer::open(&self.store.with_chain(chain), self.master, moment).await?.finish(moment).await?;
        }
        if !checkpoints::renew(&self.store, self.master, moment).await? {
            return Ok(Err(AuditRefusal::Overtaken));
        }
        self.seal(moment).await.map(Ok)
    }

    pub fn instance(&self) -> String {
        self.store.instance().to_string()
    }

    pub fn chain(&self) -> Chain {
        self.store.chain()
    }

    /// Numbers of the first seal with events of the range, and of the first signed seal from its last one on; `None` if
    /// there are no events.
    pub async fn range(&self, span: &AuditRange) -> Result<Option<(i64, i64)>, Fault> {
        let Some((first, last)) = self.store.seals_within(span.since, span.until).await? else { return Ok(None) };
        Ok(Some((first, self.store.signed_from(last).await?.unwrap_or(last))))
    }

    /// A page of the seals from one number to another; empty when none are left.
    pub async fn pages(&self, from: i64, to: i64) -> Result<SealPages, Fault> {
        let mut seals = self.store.seals_after(from - 1, PAGE).await?;
        seals.retain(|seal| seal.number <= to);
        open_pages(&self.store, seals).await
    }

    /// The signed checkpoints of a part of the chain.
    pub async fn checkpoints(&self, from: i64, to: i64) -> Result<Vec<String>, Fault> {
        Ok(self.store.checkpoints(from, to).await?.into_iter().map(|(_, jws)| jws).collect())
    }

    /// Verifies the whole chain, in bounded memory. `elsewhere` are checkpoints that were kept outside of Gatehouse.
    pub async fn verify(
        &self,
        elsewhere: &[String],
        mut progress: impl FnMut(u64, u64),
    ) -> Answer<VerificationResult, AuditRefusal> {
        let keys = CheckpointKeys::load(&self.store, self.master).await?;
        let elsewhere = match read_elsewhere(&keys, elsewhere) {
            Ok(elsewhere) => elsewhere,
            Err(problem) => return Ok(Err(AuditRefusal::UnreadableCheckpoint(problem))),
        };
        // Read before the seals: seals added and signed during the run are not reported as missing at the end.
        let memory = self.memory().await?;
        let newest_signed = self.store.newest_checkpoint().await?.map_or(0, |(number, _, _)| number);
        let mut check = VerificationRun { book: self, keys, elsewhere, verdict: VerificationResult::default() };
        let mut verifier = ChainVerifier::new(self.store.chain_id()).against(memory);
        loop {
            let pages = open_pages(&self.store, self.store.seals_after(verifier.newest(), PAGE).await?).await?;
            if pages.seals.is_empty() {
                break;
            }
            check.pages(&mut verifier, &pages).await?;
            progress(verifier.seals, verifier.events);
        }
        let beyond: Vec<SignedSeal> =
            check.elsewhere.range(verifier.newest() + 1..).flat_map(|(_, some)| some).copied().collect();
        let mut verdict = check.verdict;
        verifier.finish(newest_signed, &beyond, &mut verdict.findings);
        verdict.bound();
        (verdict.seals, verdict.events) = (verifier.seals, verifier.events);
        (verdict.newest, verdict.signed) = (verifier.newest(), verifier.signed());
        (verdict.unattested, verdict.unknown_seals) = (verifier.unattested, verifier.unknown_seals);
        verdict.remembered_since = verifier.remembered_since;
        let waiting = self.store.unsealed_events(1).await?.len() + self.store.unsealed_blocks(1).await?.len();
        verdict.waiting = waiting > 0;
        Ok(Ok(verdict))
    }

    async fn memory(&self) -> Result<ChainMemory, Fault> {
        let Some(row) = self.store.audit_memory(0).await?.row else { return Ok(ChainMemory::Lost) };
        let secret = AuditSecret::open(&self.store, self.master, row.secret.clone());
        Ok(secret.map_or(ChainMemory::Lost, |secret| secret.read(&row)))
    }
}

/// Checkpoints by seal number. Skips those of other instances, which may be published into the same file.
fn read_elsewhere(keys: &CheckpointKeys, jwss: &[String]) -> Result<BTreeMap<i64, Vec<SignedSeal>>, String> {
    let mut elsewhere: BTreeMap<i64, Vec<SignedSeal>> = BTreeMap::new();
    for (number, jws) in (1..).zip(jwss) {
        match keys.read(jws) {
            Some(signed) => elsewhere.entry(signed.seal).or_default().push(signed),
            None if keys.is_of_another(jws) => {}
            None => return Err(format!("checkpoint {number} was not signed by this instance")),
        }
    }
    if !jwss.is_empty() && jwss.iter().all(|jws| keys.is_of_another_instance(jws)) {
        return Err("none of these checkpoints is of this instance".to_owned());
    }
    Ok(elsewhere)
}

/// State of one verification.
struct VerificationRun<'a> {
    book: &'a AuditReader<'a>,
    keys: CheckpointKeys,
    elsewhere: BTreeMap<i64, Vec<SignedSeal>>,
    verdict: VerificationResult,
}

impl VerificationRun<'_> {
    async fn pages(&mut self, verifier: &mut ChainVerifier, pages: &SealPages) -> Result<(), Fault> {
        let Some(last) = pages.seals.last() else { return Ok(()) };
        let after = verifier.newest();
        let mut kept: Vec<SignedSeal> = Vec::new();
        for (number, jws) in self.book.store.checkpoints(after + 1, last.number).await? {
            match self.keys.read(&jws).filter(|checkpoint| checkpoint.seal == number) {
                Some(checkpoint) => kept.push(checkpoint),
                None => self.verdict.findings.push(AuditFinding::CheckpointForged { seal: number }),
            }
        }
        let elsewhere = self.elsewhere.range(after + 1..=last.number).flat_map(|(_, some)| some);
        let elsewhere: Vec<SignedSeal> = elsewhere.copied().collect();
        let signed = Checkpoints { kept: &kept, elsewhere: &elsewhere };
        for seal in &pages.seals {
            verifier.seal(seal, signed, &mut self.verdict.findings);
            self.people(seal, pages);
        }
        self.verdict.bound();
        Ok(())
    }

    fn people(&mut self, seal: &Seal, pages: &SealPages) {
        for line in seal.events.lines() {
            let Some(digest) = person_of(line) else { continue };
            let finding = match pages.people.get(&digest) {
                Some(KnownPerson::Text(_)) => continue,
                Some(KnownPerson::Erased) => {
                    self.verdict.erased += 1;
                    continue;
                }
                Some(KnownPerson::Edited) => AuditFinding::PersonEdited,
                None => AuditFinding::PersonRemoved,
            };
            let Some((event, _)) = StoredEvent::parse(line) else { continue };
            let named = EventName { seal: seal.number, id: event.id, kind: event.kind, at: event.at.micros() };
            self.verdict.findings.push(finding(named));
        }
    }
}
