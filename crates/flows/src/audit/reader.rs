//! Reading the chain: page by page for an export, by a reference, and to see whether it is whole.

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

/// Seals that are read at once: some mebibytes at most.
const PAGE: u32 = 8;

/// Findings that are listed; the others are counted.
const MAX_FINDINGS: usize = 1000;

/// The audit of one instance, under the operator's hand.
pub struct AuditReader<'a> {
    store: AuditedStore,
    master: &'a MasterKey,
}

/// An event of the chain.
pub struct SealedEvent<'a> {
    /// In its seal, from 0.
    pub place: usize,
    /// As it stands in the chain, byte for byte.
    pub line: &'a str,
    pub hash: SealHash,
    /// With what identifies a person, where that is known.
    pub event: StoredEvent,
    pub person: Option<KnownPerson>,
}

/// Which part of the chain is meant; times are of the events.
#[derive(Clone, Debug)]
pub struct AuditRange {
    pub since: Timestamp,
    /// Not included.
    pub until: Timestamp,
}

/// Some seals in a row, with the people in them.
pub struct SealPages {
    pub seals: Vec<Seal>,
    people: std::collections::HashMap<SealHash, KnownPerson>,
}

impl SealPages {
    /// The events of one of the seals. A line that does not read back is left out: verifying tells of it.
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
    // Those that wait first: an event that is sealed in between is found twice rather than never.
    let waiting = store.audit_events_of(request).await?;
    let reference = request.to_string();
    let is_of = |event: &StoredEvent| event.request.as_deref() == Some(reference.as_str());
    with_sealed(store, waiting, store.seals_of(request).await?, is_of).await
}

/// The records of several refusals in one chain that may hold that of a request.
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

/// Everything that is sealed in the store's chain, oldest first.
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

/// Why the audit was not verified, or its key not renewed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuditRefusal {
    /// Somebody else renewed the key meanwhile.
    Overtaken,
    /// A checkpoint that was kept elsewhere; the text says what is wrong with it.
    UnreadableCheckpoint(String),
}

/// What verifying found.
#[derive(Default)]
pub struct VerificationResult {
    pub seals: u64,
    pub events: u64,
    /// Events whose person was erased.
    pub erased: u64,
    /// Events that were sealed from rows without a code.
    pub unattested: Unattested,
    /// Seals that a version put in which remembers nothing, or somebody else.
    pub unknown_seals: u64,
    /// Where the chain begins to be remembered, if a version wrote it before that remembered nothing: a seal and its time.
    pub remembered_since: Option<(i64, Timestamp)>,
    /// The newest seal, and the newest that a signature covers.
    pub newest: i64,
    pub signed: i64,
    /// Whether events wait for their seal.
    pub waiting: bool,
    pub findings: Vec<AuditFinding>,
    /// Findings beyond those listed.
    pub more: usize,
    /// Whether one of all of them is of what no loss explains.
    tampered: bool,
}

impl VerificationResult {
    pub fn is_whole(&self) -> bool {
        self.findings.is_empty() && self.more == 0
    }

    /// Whether all that was found is that the database lost what it had, and that the chain says so.
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

    /// Everything committed until now is in the chain afterwards, and signed: also what no server is there to seal.
    pub async fn seal(&self, moment: &mut Moment<'_>) -> Result<(), Fault> {
        Sealer::open(&self.store, self.master, moment).await?.finish(moment).await
    }

    /// The newest checkpoint, to be kept where nobody of the house can change it.
    pub async fn checkpoint(&self) -> Result<Option<String>, Fault> {
        Ok(self.store.newest_checkpoint().await?.map(|(_, _, jws)| jws))
    }

    /// What checkpoints are signed with, for whoever checks without us.
    pub async fn keys(&self) -> Result<Vec<Jwk>, Fault> {
        Ok(CheckpointKeys::load(&self.store, self.master).await?.public().to_vec())
    }

    /// Checkpoints are signed by a new key from now on; those of the old one stay good.
    pub async fn renew_key(&self, moment: &mut Moment<'_>) -> Answer<(), AuditRefusal> {
        // The old key vouches for everything up to here, and for the event that names the new one. It signs both chains.
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

    /// The numbers of the first seal with events of a span, and of the first signed one after its last; none where there
    /// are no events.
    pub async fn range(&self, span: &AuditRange) -> Result<Option<(i64, i64)>, Fault> {
        let Some((first, last)) = self.store.seals_within(span.since, span.until).await? else { return Ok(None) };
        Ok(Some((first, self.store.signed_from(last).await?.unwrap_or(last))))
    }

    /// The seals from a number on, to another; empty when there are none left.
    pub async fn pages(&self, from: i64, to: i64) -> Result<SealPages, Fault> {
        let mut seals = self.store.seals_after(from - 1, PAGE).await?;
        seals.retain(|seal| seal.number <= to);
        open_pages(&self.store, seals).await
    }

    /// The signed checkpoints of a part of the chain.
    pub async fn checkpoints(&self, from: i64, to: i64) -> Result<Vec<String>, Fault> {
        Ok(self.store.checkpoints(from, to).await?.into_iter().map(|(_, jws)| jws).collect())
    }

    /// Reads the whole chain, in bounded memory. `elsewhere` are checkpoints that were kept outside of the house.
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
        // Before the seals: what is sealed and signed meanwhile is not missed at the end.
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

/// By their numbers. Those of other instances are left out: they may be published into one file.
fn read_elsewhere(keys: &CheckpointKeys, jwss: &[String]) -> Result<BTreeMap<i64, Vec<SignedSeal>>, String> {
    let mut elsewhere: BTreeMap<i64, Vec<SignedSeal>> = BTreeMap::new();
    for (number, jws) in (1..).zip(jwss) {
        match keys.read(jws) {
            Some(signed) => elsewhere.entry(signed.seal).or_default().push(signed),
            None if keys.is_of_another(jws) => {}
            None => return Err(format!("checkpoint {number} was not signed by this instance's house")),
        }
    }
    if !jwss.is_empty() && jwss.iter().all(|jws| keys.is_of_another_instance(jws)) {
        return Err("none of these checkpoints is of this instance".to_owned());
    }
    Ok(elsewhere)
}

/// One run over the chain.
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
