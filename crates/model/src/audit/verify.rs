//! Verification of the chain. Reports edited, removed, inserted and moved events, and missing seals.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};

use crate::Timestamp;
use crate::audit::chain::{ChainHead, ChainId, Seal, SealEntry, SealHash, SealLink};
pub use crate::audit::finding::{AuditFinding, EventName};
use crate::audit::{Break, BreakCause, ChainMemory, Doubt, RememberedEnd, StoredEvent};

/// The claims of a verified checkpoint about a seal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignedSeal {
    pub seal: i64,
    pub hash: SealHash,
    /// SHA-256 of the JWS, by which the next checkpoint names this one.
    pub jws: SealHash,
    pub prev: Option<SealLink>,
    pub pruned: bool,
    pub broken: Option<Break>,
}

/// Checkpoints of a range of seals: those in the database, and those kept elsewhere.
#[derive(Clone, Copy, Default)]
pub struct Checkpoints<'a> {
    pub kept: &'a [SignedSeal],
    pub elsewhere: &'a [SignedSeal],
}

impl Checkpoints<'_> {
    fn all(&self) -> impl Iterator<Item = &SignedSeal> {
        self.kept.iter().chain(self.elsewhere)
    }
}

/// Sealed events that are not attested.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Unattested {
    pub events: u64,
    /// When the earliest and the latest of them were sealed, in microseconds since 1970.
    pub first_at: i64,
    pub last_at: i64,
}

/// Verifies the chain from its oldest seal to its newest, one seal at a time.
pub struct ChainVerifier {
    of: ChainId,
    /// The previous seal: number, actual hash and time, and its stored hash.
    last: Option<(ChainHead, String)>,
    /// Number of the newest seal that a signature covers.
    signed: i64,
    /// When the first seal after it was sealed.
    unsigned_since: Option<Timestamp>,
    /// Checkpoints that the next one may name: the newest that names one itself, and later ones of older versions.
    nameable: Vec<SealLink>,
    /// Whether any checkpoint so far names a previous one.
    named: bool,
    /// Whether the newest remembered checkpoint was found.
    seen_signed: bool,
    /// Seals up to this number were pruned, with their checkpoints.
    pruned: i64,
    /// Numbers of seals that a break reports lost: after the first of each pair, up to and including the second.
    lost: Vec<(i64, i64)>,
    /// The remembered end of the chain, if it is to be compared.
    memory: Option<ChainMemory>,
    pub seals: u64,
    pub events: u64,
    pub unattested: Unattested,
    /// Seals from a version that remembers nothing, or from another writer.
    pub unknown_seals: u64,
    /// The seal and time from which the end of the chain is remembered, if not from the first seal.
    pub remembered_since: Option<(i64, Timestamp)>,
}

/// Longer than any time between two checkpoints of a running server.
const MAX_UNSIGNED_TIME: std::time::Duration = std::time::Duration::from_mins(10);

impl ChainVerifier {
    pub fn new(of: impl Into<ChainId>) -> Self {
        Self {
            of: of.into(),
            last: None,
            signed: 0,
            unsigned_since: None,
            nameable: Vec::new(),
            named: false,
            seen_signed: false,
            pruned: 0,
            lost: Vec::new(),
            memory: None,
            seals: 0,
            events: 0,
            unattested: Unattested::default(),
            unknown_seals: 0,
            remembered_since: None,
        }
    }

    /// Compares the chain with its remembered end, which must be read before the chain.
    #[must_use]
    pub fn against(self, memory: ChainMemory) -> Self {
        Self { memory: Some(memory), ..self }
    }

    const fn remembered(&self) -> Option<RememberedEnd> {
        match self.memory {
            Some(ChainMemory::Kept(kept)) => Some(kept),
            Some(ChainMemory::Lost) | None => None,
        }
    }

    /// Verifies the next seal. `signed` holds the checkpoints after the previous seal, up to this one.
    pub fn seal(&mut self, seal: &Seal, signed: Checkpoints<'_>, found: &mut Vec<AuditFinding>) {
        let actual = seal.actual_hash(self.of);
        if actual.to_string() != seal.hash {
            found.push(AuditFinding::SealEdited { seal: seal.number });
        }
        self.link(seal, signed, found);
        let since = *self.unsigned_since.get_or_insert(seal.at);
        let newest = self.newest();
        for one in signed.kept.iter().filter(|one| one.seal > newest && one.seal <= seal.number) {
            self.checkpoint(one, found);
        }
        for one in signed.kept.iter().filter(|one| one.seal == seal.number) {
            if one.hash == actual {
                self.tell_unsigned(since, seal.at, one, found);
                (self.signed, self.unsigned_since) = (seal.number, None);
            } else {
                found.push(AuditFinding::NotAsSigned { seal: seal.number });
            }
            if one.broken.is_some_and(|broken| broken.cause == BreakCause::NothingRemembered) {
                self.remembered_since.get_or_insert((seal.number, seal.at));
            }
        }
        for one in signed.elsewhere.iter().filter(|one| one.seal == seal.number) {
            if one.hash == actual {
                (self.signed, self.unsigned_since) = (seal.number, None);
            } else {
                let finding = self.differing(seal.number);
                if !found.contains(&finding) {
                    found.push(finding);
                }
            }
        }
        if let Some(kept) = self.remembered().filter(|kept| kept.head.seal == seal.number)
            && kept.head.hash != actual
        {
            found.push(AuditFinding::HeadReplaced { seal: seal.number });
        }
        self.events += compare(seal, found);
        self.look_for_doubts(seal, found);
        self.seals += 1;
        self.last = Some((ChainHead { number: seal.number, hash: actual, at: seal.at }, seal.hash.clone()));
    }

    fn differing(&self, seal: i64) -> AuditFinding {
        let is_lost = self.lost.iter().any(|(found, known)| (*found..=*known).contains(&seal) && seal != *found);
        if is_lost { AuditFinding::LostInBreak { seal } } else { AuditFinding::NotAsSigned { seal } }
    }

    /// After a stop, a server signs its newest seal before it appends the next one, so only the time between seals
    /// without a signature counts. Checkpoints of versions that named no previous checkpoint are exempt.
    fn tell_unsigned(&self, since: Timestamp, until: Timestamp, one: &SignedSeal, found: &mut Vec<AuditFinding>) {
        let is_first = one.broken.is_some_and(|broken| broken.cause == BreakCause::NothingRemembered);
        if one.prev.is_some() && !is_first && until.since(since) > MAX_UNSIGNED_TIME {
            found.push(AuditFinding::Unsigned { from: self.signed + 1, to: one.seal });
        }
    }

    /// Checks that a checkpoint of the database names the previous one. Called in the order of their numbers.
    fn checkpoint(&mut self, one: &SignedSeal, found: &mut Vec<AuditFinding>) {
        let link = SealLink { seal: one.seal, hash: one.jws };
        self.seen_signed |= self.remembered().is_some_and(|kept| kept.signed == link);
        if one.pruned {
            self.pruned = self.pruned.max(one.seal);
            return;
        }
        let Some(prev) = one.prev else {
            self.nameable.push(link);
            return;
        };
        let is_first = prev == SealLink::NONE && self.nameable.is_empty();
        let is_pruned = prev != SealLink::NONE && prev.seal <= self.pruned;
        if !is_first && !is_pruned && !self.nameable.contains(&prev) {
            found.push(AuditFinding::CheckpointMissing { seal: prev.seal, named_by: one.seal });
        }
        if let Some(broken) = one.broken {
            self.broken(one.seal, broken, found);
        }
        (self.nameable, self.named) = (vec![link], true);
    }

    fn broken(&mut self, seal: i64, broken: Break, found: &mut Vec<AuditFinding>) {
        let Break { cause, known, found: there } = broken;
        // The first break in a chain of a version that remembered nothing: no end could be remembered.
        let is_upgrade = cause == BreakCause::NothingRemembered && !self.named;
        if cause.is_loss() {
            self.lost.push((there.seal, known.seal));
        }
        if !is_upgrade {
            found.push(AuditFinding::Broken { seal, broken });
        }
    }

    fn look_for_doubts(&mut self, seal: &Seal, found: &mut Vec<AuditFinding>) {
        let doubtful = seal.events.lines().filter(|line| line.contains("\"doubt\":\""));
        for event in doubtful.filter_map(|line| StoredEvent::parse(line).map(|(event, _)| event)) {
            let Some(doubt) = event.doubt else { continue };
            let named = EventName { seal: seal.number, id: event.id, kind: event.kind, at: event.at.micros() };
            match doubt {
                Doubt::Forged => found.push(AuditFinding::EventForged(named)),
                Doubt::Repeated => found.push(AuditFinding::EventRepeated(named)),
                Doubt::Unattested => self.unattested.add(seal.at),
            }
        }
        // Not in a signed checkpoint: the event is in the seal that it reports.
        if seal.count == 1 && seal.contents.contains(" audit-broken ") {
            self.unknown_seals += unknown_seals(&seal.events);
        }
    }

    fn link(&self, seal: &Seal, signed: Checkpoints<'_>, found: &mut Vec<AuditFinding>) {
        let before = seal.number - 1;
        let (number, follows) = match &self.last {
            // Either hash works here: a wrong one was already reported for the previous row.
            Some((last, kept)) => (last.number, seal.previous == last.hash.to_string() || seal.previous == *kept),
            None => (0, seal.previous == SealHash::NONE.to_string()),
        };
        if number == before {
            if !follows {
                found.push(AuditFinding::SealUnlinked { seal: seal.number });
            }
            return;
        }
        // Seals may be missing because they were pruned. A checkpoint with `pruned` then says so.
        let pruned = signed.all().any(|one| one.pruned && one.seal == before && one.hash.to_string() == seal.previous);
        if !pruned {
            found.push(AuditFinding::SealsMissing { from: number + 1, to: before });
        }
    }

    /// Number of the newest seal so far.
    pub fn newest(&self) -> i64 {
        self.last.as_ref().map_or(0, |(head, _)| head.number)
    }

    /// Number of the newest seal that a signature covers.
    pub fn signed(&self) -> i64 {
        self.signed
    }

    /// Ends the verification after the last seal. `newest_signed` is the newest seal with a checkpoint in the database;
    /// `elsewhere` are the checkpoints kept outside it.
    pub fn finish(&self, newest_signed: i64, elsewhere: &[SignedSeal], found: &mut Vec<AuditFinding>) {
        let newest = self.newest();
        let mut missing = newest_signed.max(self.remembered().map_or(0, |kept| kept.head.seal));
        for one in elsewhere.iter().filter(|one| one.seal > newest) {
            match self.differing(one.seal) {
                AuditFinding::NotAsSigned { seal } => missing = missing.max(seal),
                lost => found.push(lost),
            }
        }
        if missing > newest {
            found.push(AuditFinding::SealsMissing { from: newest + 1, to: missing });
        }
        if let (Some((last, _)), Some(since)) = (&self.last, self.unsigned_since)
            && last.at.since(since) > MAX_UNSIGNED_TIME
        {
            found.push(AuditFinding::Unsigned { from: self.signed + 1, to: newest });
        }
        match self.memory {
            Some(ChainMemory::Kept(RememberedEnd { signed, .. })) if signed.seal > self.pruned && !self.seen_signed => {
                found.push(AuditFinding::CheckpointReplaced { seal: signed.seal });
            }
            // If no checkpoint names a previous one, no version that remembers has written to this database yet.
            Some(ChainMemory::Lost) if self.named => found.push(AuditFinding::MemoryLost),
            _ => {}
        }
    }
}

impl Unattested {
    fn add(&mut self, at: Timestamp) {
        if self.events == 0 {
            self.first_at = at.micros();
        }
        self.events += 1;
        self.last_at = at.micros();
    }
}

/// Number of unknown seals that a break reports.
fn unknown_seals(events: &str) -> u64 {
    #[derive(Deserialize)]
    struct ReportedFindings {
        known: SealLink,
        found: SealLink,
    }
    let Some((event, _)) = StoredEvent::parse(events.trim_end()) else { return 0 };
    if event.reason != BreakCause::UnknownSeals.as_str() || event.doubt.is_some() {
        return 0;
    }
    let told = event.detail.and_then(|detail| serde_json::from_str::<ReportedFindings>(&detail).ok());
    told.and_then(|told| u64::try_from(told.found.seal - told.known.seal).ok()).unwrap_or(0)
}

/// Compares the seal's events with its list of contents. Returns the number of events.
fn compare(seal: &Seal, found: &mut Vec<AuditFinding>) -> u64 {
    let entries: Vec<Option<SealEntry<'_>>> = seal.contents.lines().map(SealEntry::parse).collect();
    let hashes: Vec<SealHash> = seal.events.lines().map(|line| SealHash::of(line.as_bytes())).collect();
    let alike = entries.iter().flatten().map(|entry| entry.hash).eq(hashes.iter().copied());
    if !alike || entries.contains(&None) {
        tell_differences(seal, &entries, &hashes, found);
    }
    hashes.len() as u64
}

fn tell_differences(
    seal: &Seal,
    entries: &[Option<SealEntry<'_>>],
    hashes: &[SealHash],
    found: &mut Vec<AuditFinding>,
) {
    if entries.contains(&None) && !found.contains(&(AuditFinding::SealEdited { seal: seal.number })) {
        found.push(AuditFinding::SealEdited { seal: seal.number });
    }
    let named = |id: &str, kind: &str, at: Timestamp| EventName {
        seal: seal.number,
        id: id.to_owned(),
        kind: kind.to_owned(),
        at: at.micros(),
    };
    let of = |entry: &SealEntry<'_>| named(entry.id, entry.kind, entry.at);
    let places: HashMap<SealHash, usize> =
        entries.iter().enumerate().filter_map(|(place, entry)| Some((entry.as_ref()?.hash, place))).collect();
    let by_id: HashMap<&str, &SealEntry<'_>> = entries.iter().flatten().map(|entry| (entry.id, entry)).collect();
    let there: HashSet<SealHash> = hashes.iter().copied().collect();
    let (mut seen, mut edited, mut furthest) = (HashSet::new(), HashSet::new(), None);
    for (line, hash) in seal.events.lines().zip(hashes) {
        match places.get(hash) {
            Some(place) if seen.insert(*place) => {
                if furthest.is_some_and(|furthest| *place < furthest)
                    && let Some(entry) = &entries[*place]
                {
                    found.push(AuditFinding::EventMoved(of(entry)));
                }
                furthest = furthest.max(Some(*place));
            }
            _ => {
                let said = StoredEvent::parse(line).map(|(event, _)| event);
                let entry = said.as_ref().and_then(|event| by_id.get(event.id.as_str()));
                match (entry, &said) {
                    // No event has the hash of this entry: the event with its id was edited.
                    (Some(entry), _) if !there.contains(&entry.hash) && edited.insert(entry.id) => {
                        found.push(AuditFinding::EventEdited(of(entry)));
                    }
                    (_, Some(event)) => {
                        found.push(AuditFinding::EventInserted(named(&event.id, &event.kind, event.at)));
                    }
                    (_, None) => found.push(AuditFinding::EventInserted(named("?", "?", seal.at))),
                }
            }
        }
    }
    for entry in entries.iter().flatten() {
        if !there.contains(&entry.hash) && !edited.contains(entry.id) {
            found.push(AuditFinding::EventRemoved(of(entry)));
        }
    }
}

#[cfg(test)]
mod tests;
