//! Is the chain still what was written? Says which event was edited, removed, inserted or moved, and what is missing.

use std::collections::{HashMap, HashSet};
use std::fmt;

use serde::Serialize;

use super::StoredEvent;
use super::chain::{Entry, Hash, Head, Seal};
use crate::{InstanceId, Timestamp};

/// An event, by what is known of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Named {
    pub seal: i64,
    pub id: String,
    pub kind: String,
    /// Microseconds since 1970.
    pub at: i64,
}

/// Something that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "finding", rename_all = "kebab-case")]
pub enum Finding {
    EventEdited(Named),
    EventRemoved(Named),
    EventInserted(Named),
    EventMoved(Named),
    /// What identifies a person in the event was changed.
    PersonEdited(Named),
    /// What identifies a person in the event is gone, and nobody erased the person.
    PersonRemoved(Named),
    /// The seal's own data: number, time, list of contents or hash.
    SealEdited {
        seal: i64,
    },
    /// It does not name the seal before it: one of the two was put in the place of another.
    SealUnlinked {
        seal: i64,
    },
    SealsMissing {
        from: i64,
        to: i64,
    },
    /// There is a signature over another seal of this number: everything up to here may have been written anew.
    NotAsSigned {
        seal: i64,
    },
    /// Its signature is not one of the house's, or it says something else than the row that it is kept in.
    CheckpointForged {
        seal: i64,
    },
    /// A house signs every minute; these seals were not signed for much longer.
    Unsigned {
        from: i64,
        to: i64,
    },
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, event) = match self {
            Self::EventEdited(event) => ("event edited", event),
            Self::EventRemoved(event) => ("event removed", event),
            Self::EventInserted(event) => ("event inserted", event),
            Self::EventMoved(event) => ("event moved", event),
            Self::PersonEdited(event) => ("personal data edited, of event", event),
            Self::PersonRemoved(event) => ("personal data removed without an erasure, of event", event),
            Self::SealEdited { seal } => return write!(f, "seal {seal} edited: its number, time, contents or hash"),
            Self::SealUnlinked { seal } => {
                return write!(f, "seal {seal} does not follow seal {}: one of the two was replaced", seal - 1);
            }
            Self::SealsMissing { from, to } if from == to => return write!(f, "seal {from} is missing"),
            Self::SealsMissing { from, to } => return write!(f, "seals {from} to {to} are missing"),
            Self::NotAsSigned { seal } => {
                return write!(f, "seal {seal} is not the one that was signed: the chain up to it was written anew");
            }
            Self::CheckpointForged { seal } => return write!(f, "the checkpoint of seal {seal} is forged"),
            Self::Unsigned { from, to } => return write!(f, "seals {from} to {to} were never signed"),
        };
        write!(f, "{what}: {} ({}, at {}) in seal {}", event.id, event.kind, Timestamp(event.at).rfc3339(), event.seal)
    }
}

/// What a checkpoint that was checked says of a seal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signed {
    pub seal: i64,
    pub hash: Hash,
    pub pruned: bool,
}

/// Follows the chain from its oldest seal to its newest, one seal at a time.
pub struct Verifier {
    instance: InstanceId,
    /// The seal before: its number, its hash as kept and as it is, its time.
    last: Option<(Head, String)>,
    /// The number of the newest seal that a signature covers.
    signed: i64,
    /// When the first of those behind it was sealed.
    unsigned_since: Option<Timestamp>,
    pub seals: u64,
    pub events: u64,
}

/// Longer than ever passes between two checkpoints of a house that runs.
const LONGEST_UNSIGNED: std::time::Duration = std::time::Duration::from_mins(10);

impl Verifier {
    pub fn new(instance: InstanceId) -> Self {
        Self { instance, last: None, signed: 0, unsigned_since: None, seals: 0, events: 0 }
    }

    /// The next seal, with the checkpoints of the numbers from the one before it to its own.
    pub fn seal(&mut self, seal: &Seal, signed: &[Signed], found: &mut Vec<Finding>) {
        let actual = seal.actual_hash(self.instance);
        if actual.to_string() != seal.hash {
            found.push(Finding::SealEdited { seal: seal.number });
        }
        self.link(seal, signed, found);
        self.unsigned_since.get_or_insert(seal.at);
        for one in signed.iter().filter(|one| one.seal == seal.number) {
            if one.hash == actual {
                (self.signed, self.unsigned_since) = (seal.number, None);
            } else {
                found.push(Finding::NotAsSigned { seal: seal.number });
            }
        }
        self.events += compare(seal, found);
        self.seals += 1;
        self.last = Some((Head { number: seal.number, hash: actual, at: seal.at }, seal.hash.clone()));
    }

    fn link(&self, seal: &Seal, signed: &[Signed], found: &mut Vec<Finding>) {
        let before = seal.number - 1;
        let (number, follows) = match &self.last {
            // Either will do: a wrong hash in the row before has been told of.
            Some((last, kept)) => (last.number, seal.previous == last.hash.to_string() || seal.previous == *kept),
            None => (0, seal.previous == Hash::NONE.to_string()),
        };
        if number == before {
            if !follows {
                found.push(Finding::SealUnlinked { seal: seal.number });
            }
            return;
        }
        // What is not there may have been deleted because of its age: then the house signed that it was.
        let pruned = signed.iter().any(|one| one.pruned && one.seal == before && one.hash.to_string() == seal.previous);
        if !pruned {
            found.push(Finding::SealsMissing { from: number + 1, to: before });
        }
    }

    /// The number of the newest seal that was seen.
    pub fn newest(&self) -> i64 {
        self.last.as_ref().map_or(0, |(head, _)| head.number)
    }

    /// The number of the newest seal that a signature covers.
    pub fn signed(&self) -> i64 {
        self.signed
    }

    /// After the last seal. `newest_signed` is the newest that any checkpoint, also one kept elsewhere, tells of.
    pub fn finish(&self, newest_signed: i64, found: &mut Vec<Finding>) {
        let newest = self.newest();
        if newest_signed > newest {
            found.push(Finding::SealsMissing { from: newest + 1, to: newest_signed });
        }
        if let (Some((last, _)), Some(since)) = (&self.last, self.unsigned_since)
            && last.at.since(since) > LONGEST_UNSIGNED
        {
            found.push(Finding::Unsigned { from: self.signed + 1, to: newest });
        }
    }
}

/// The seal's events against its list of contents; how many events there are.
fn compare(seal: &Seal, found: &mut Vec<Finding>) -> u64 {
    let entries: Vec<Option<Entry<'_>>> = seal.contents.lines().map(Entry::parse).collect();
    let hashes: Vec<Hash> = seal.events.lines().map(|line| Hash::of(line.as_bytes())).collect();
    let alike = entries.iter().flatten().map(|entry| entry.hash).eq(hashes.iter().copied());
    if !alike || entries.contains(&None) {
        tell_differences(seal, &entries, &hashes, found);
    }
    hashes.len() as u64
}

fn tell_differences(seal: &Seal, entries: &[Option<Entry<'_>>], hashes: &[Hash], found: &mut Vec<Finding>) {
    if entries.contains(&None) && !found.contains(&(Finding::SealEdited { seal: seal.number })) {
        found.push(Finding::SealEdited { seal: seal.number });
    }
    let named = |id: &str, kind: &str, at: Timestamp| Named {
        seal: seal.number,
        id: id.to_owned(),
        kind: kind.to_owned(),
        at: at.micros(),
    };
    let of = |entry: &Entry<'_>| named(entry.id, entry.kind, entry.at);
    let places: HashMap<Hash, usize> =
        entries.iter().enumerate().filter_map(|(place, entry)| Some((entry.as_ref()?.hash, place))).collect();
    let by_id: HashMap<&str, &Entry<'_>> = entries.iter().flatten().map(|entry| (entry.id, entry)).collect();
    let there: HashSet<Hash> = hashes.iter().copied().collect();
    let (mut seen, mut edited, mut furthest) = (HashSet::new(), HashSet::new(), None);
    for (line, hash) in seal.events.lines().zip(hashes) {
        match places.get(hash) {
            Some(place) if seen.insert(*place) => {
                if furthest.is_some_and(|furthest| *place < furthest)
                    && let Some(entry) = &entries[*place]
                {
                    found.push(Finding::EventMoved(of(entry)));
                }
                furthest = furthest.max(Some(*place));
            }
            _ => {
                let said = StoredEvent::parse(line).map(|(event, _)| event);
                let entry = said.as_ref().and_then(|event| by_id.get(event.id.as_str()));
                match (entry, &said) {
                    // Its own line is nowhere else: this is it, changed.
                    (Some(entry), _) if !there.contains(&entry.hash) && edited.insert(entry.id) => {
                        found.push(Finding::EventEdited(of(entry)));
                    }
                    (_, Some(event)) => found.push(Finding::EventInserted(named(&event.id, &event.kind, event.at))),
                    (_, None) => found.push(Finding::EventInserted(named("?", "?", seal.at))),
                }
            }
        }
    }
    for entry in entries.iter().flatten() {
        if !there.contains(&entry.hash) && !edited.contains(entry.id) {
            found.push(Finding::EventRemoved(of(entry)));
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const INSTANCE: InstanceId = InstanceId(Uuid::from_u128(1));
    const MINUTE: i64 = 60_000_000;

    fn event(id: &str, at: i64) -> (StoredEvent, Option<Hash>) {
        let kind = "sign-in".to_owned();
        let event = StoredEvent { id: id.to_owned(), at: Timestamp(at), kind, ..StoredEvent::default() };
        (event, None)
    }

    fn head(seal: &Seal) -> Head {
        Head { number: seal.number, hash: seal.actual_hash(INSTANCE), at: seal.at }
    }

    /// Three seals, a minute apart, of three events each.
    fn chain() -> Vec<Seal> {
        let mut seals: Vec<Seal> = Vec::new();
        for number in 1..=3 {
            let before = seals.last().map_or(Head::NONE, head);
            let at = |second: i64| number * MINUTE + second;
            let events =
                ["a", "b", "c"].iter().zip(0..).map(|(id, second)| event(&format!("{id}{number}"), at(second)));
            seals.push(Seal::new(INSTANCE, &before, Timestamp(at(9)), events.collect(), String::new()));
        }
        seals
    }

    fn signed(seal: &Seal) -> Signed {
        Signed { seal: seal.number, hash: seal.actual_hash(INSTANCE), pruned: false }
    }

    fn verify(seals: &[Seal], checkpoints: &[Signed]) -> Vec<Finding> {
        let (mut verifier, mut found) = (Verifier::new(INSTANCE), Vec::new());
        for seal in seals {
            verifier.seal(seal, checkpoints, &mut found);
        }
        let newest = checkpoints.iter().map(|one| one.seal).max().unwrap_or(0);
        verifier.finish(newest, &mut found);
        found
    }

    fn named(seal: i64, id: &str, second: i64) -> Named {
        Named { seal, id: id.to_owned(), kind: "sign-in".to_owned(), at: seal * MINUTE + second }
    }

    fn lines(seal: &Seal) -> Vec<String> {
        seal.events.lines().map(|line| format!("{line}\n")).collect()
    }

    #[test]
    fn a_chain_that_nobody_touched_has_no_findings() {
        let seals = chain();
        assert_eq!(verify(&seals, &[signed(&seals[1]), signed(&seals[2])]), []);
        assert_eq!(verify(&[], &[]), []);
    }

    #[test]
    fn a_changed_event_is_named_with_what_was_done_to_it() {
        type Change = fn(&mut Vec<String>);
        let cases: [(Change, Vec<Finding>); 7] = [
            (|lines| lines[1] = lines[1].replace("sign-in", "sign-up"), vec![Finding::EventEdited(named(2, "b2", 1))]),
            (|lines| drop(lines.remove(0)), vec![Finding::EventRemoved(named(2, "a2", 0))]),
            (|lines| lines.swap(0, 1), vec![Finding::EventMoved(named(2, "a2", 0))]),
            (
                |lines| lines.insert(1, lines[2].clone()),
                vec![Finding::EventMoved(named(2, "b2", 1)), Finding::EventInserted(named(2, "c2", 2))],
            ),
            (
                |lines| lines.push("{\"id\":\"x\",\"at\":7,\"kind\":\"k\",\"outcome\":\"done\"}\n".to_owned()),
                vec![Finding::EventInserted(Named { seal: 2, id: "x".to_owned(), kind: "k".to_owned(), at: 7 })],
            ),
            (
                |lines| lines[2] = "nonsense\n".to_owned(),
                vec![
                    Finding::EventInserted(Named {
                        seal: 2,
                        id: "?".to_owned(),
                        kind: "?".to_owned(),
                        at: 2 * MINUTE + 9,
                    }),
                    Finding::EventRemoved(named(2, "c2", 2)),
                ],
            ),
            (
                Vec::clear,
                vec![
                    Finding::EventRemoved(named(2, "a2", 0)),
                    Finding::EventRemoved(named(2, "b2", 1)),
                    Finding::EventRemoved(named(2, "c2", 2)),
                ],
            ),
        ];
        for (number, (change, expected)) in cases.into_iter().enumerate() {
            let mut seals = chain();
            let mut changed = lines(&seals[1]);
            change(&mut changed);
            seals[1].events = changed.concat();
            assert_eq!(verify(&seals, &[signed(&chain()[2])]), expected, "case {number}");
        }
    }

    #[test]
    fn a_changed_seal_is_found_at_itself_or_at_the_next() {
        let of = |change: fn(&mut Seal)| {
            let mut seals = chain();
            change(&mut seals[1]);
            verify(&seals, &[signed(&chain()[2])])
        };
        let edited = [Finding::SealEdited { seal: 2 }];
        assert_eq!(of(|seal| seal.hash = "0".repeat(64)), edited);
        assert_eq!(of(|seal| seal.at = Timestamp(1)), edited);
        assert_eq!(of(|seal| seal.count = 2), edited);
        assert_eq!(of(|seal| seal.contents.push_str("x\n")), edited, "told once");
        let unlinked = |seal| Finding::SealUnlinked { seal };
        let [edited] = edited;
        assert_eq!(of(|seal| seal.previous = "0".repeat(64)), [edited, unlinked(2)]);
        // Written anew with everything that hangs on it: the next seal names another.
        assert_eq!(
            of(|seal| *seal = Seal::new(INSTANCE, &head(&chain()[0]), seal.at, vec![event("z", 5)], String::new())),
            [unlinked(3)]
        );
    }

    #[test]
    fn a_chain_written_anew_from_the_change_on_is_not_the_one_that_was_signed() {
        let mut seals = chain();
        let honest = signed(&seals[2]);
        seals[1] = Seal::new(INSTANCE, &head(&seals[0]), seals[1].at, vec![event("z", 5)], String::new());
        seals[2] = Seal::new(INSTANCE, &head(&seals[1]), seals[2].at, vec![event("y", 6)], String::new());
        assert_eq!(verify(&seals, &[]), [], "without a signature nobody can tell");
        assert_eq!(verify(&seals, &[honest]), [Finding::NotAsSigned { seal: 3 }]);
    }

    #[test]
    fn what_is_missing_is_named_unless_the_house_signed_that_it_deleted_it() {
        let seals = chain();
        let newest = signed(&seals[2]);
        assert_eq!(verify(&seals[..2], &[newest]), [Finding::SealsMissing { from: 3, to: 3 }]);
        assert_eq!(
            verify(&[seals[0].clone(), seals[2].clone()], &[newest]),
            [Finding::SealsMissing { from: 2, to: 2 }]
        );
        assert_eq!(verify(&seals[2..], &[newest]), [Finding::SealsMissing { from: 1, to: 2 }]);
        assert_eq!(verify(&seals[2..], &[newest, signed(&seals[1])]), [Finding::SealsMissing { from: 1, to: 2 }]);
        let pruned = Signed { pruned: true, ..signed(&seals[1]) };
        assert_eq!(verify(&seals[2..], &[newest, pruned]), []);
        let other = Signed { pruned: true, seal: 2, hash: Hash::NONE };
        assert_eq!(verify(&seals[2..], &[newest, other]), [Finding::SealsMissing { from: 1, to: 2 }]);
        assert_eq!(verify(&[], &[newest]), [Finding::SealsMissing { from: 1, to: 3 }]);
    }

    #[test]
    fn a_house_that_did_not_sign_for_long_is_told_of() {
        let mut seals = chain();
        for later in [20, 31] {
            let at = Timestamp(later * MINUTE);
            let before = head(&seals[seals.len() - 1]);
            seals.push(Seal::new(INSTANCE, &before, at, vec![event("d", at.0)], String::new()));
        }
        assert_eq!(verify(&seals, &[]), [Finding::Unsigned { from: 1, to: 5 }]);
        assert_eq!(verify(&seals, &[signed(&seals[2])]), [Finding::Unsigned { from: 4, to: 5 }]);
        assert_eq!(verify(&seals, &[signed(&seals[3])]), [], "nobody was there to be told of");
    }

    #[test]
    fn a_finding_reads_as_a_sentence() {
        let edited = Finding::EventEdited(named(2, "b2", 1));
        assert_eq!(edited.to_string(), "event edited: b2 (sign-in, at 1970-01-01T00:02:00.000001Z) in seal 2");
        let json = serde_json::to_value(edited).expect("JSON");
        assert_eq!((&json["finding"], &json["id"], &json["seal"]), (&"event-edited".into(), &"b2".into(), &2.into()));
    }
}
