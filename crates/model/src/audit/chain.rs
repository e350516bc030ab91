//! The audit as a chain of seals (`docs/audit.md` specifies it byte for byte). A seal lists its events by their hashes,
//! and names the previous seal by its hash, so that one signature over the newest covers all.

use std::fmt::{self, Write as _};

use oauth::secret::sha256;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::audit::{AuditKind, Break, Calls, StoredEvent, hexadecimal};
use crate::{InstanceId, Timestamp};

// Each chain has its own seals, checkpoints and remembered end.
/// A chain of the audit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Chain {
    /// Everything that was done, and refusals of authenticated users and applications.
    #[default]
    Main,
    // Any client can cause any number of them, so they are bounded.
    /// Refusals of unauthenticated requests, limited by age and size.
    Refusals,
}

impl Chain {
    pub const ALL: [Self; 2] = [Self::Main, Self::Refusals];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Main => "main",
            Self::Refusals => "refusals",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|chain| chain.as_str() == text)
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
    fn is_main(&self) -> bool {
        *self == Self::Main
    }
}

/// One chain of one instance. Everything hashed or signed names both, so that data of one chain is not valid in
/// another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainId {
    pub instance: InstanceId,
    pub chain: Chain,
}

impl From<InstanceId> for ChainId {
    /// The main chain of the instance.
    fn from(instance: InstanceId) -> Self {
        Self { instance, chain: Chain::Main }
    }
}

/// SHA-256, written in hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SealHash([u8; 32]);

impl SealHash {
    /// The previous hash of the first seal.
    pub const NONE: Self = Self([0; 32]);

    pub fn of(bytes: &[u8]) -> Self {
        Self(sha256(bytes))
    }

    /// Enough bytes to tell two hashes apart.
    pub fn first_bytes(&self) -> [u8; 10] {
        *self.0.first_chunk().expect("10 of 32 bytes")
    }

    fn digits(&self) -> [u8; 64] {
        hexadecimal(self.0)
    }

    /// 64 lower-case hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.as_bytes();
        if digits.len() != 64 || !digits.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')) {
            return None;
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some(Self(bytes))
    }
}

impl fmt::Display for SealHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.digits()).expect("digits are ASCII"))
    }
}

impl Serialize for SealHash {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SealHash {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("a hash is 64 lower-case hexadecimal digits"))
    }
}

impl fmt::Debug for SealHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The newest seal, which the next one names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainHead {
    /// The first seal has number 1.
    pub number: i64,
    pub hash: SealHash,
    pub at: Timestamp,
}

impl ChainHead {
    /// The head of an empty chain.
    pub const NONE: Self = Self { number: 0, hash: SealHash::NONE, at: Timestamp(i64::MIN) };
}

/// A seal as stored. [`super::verify`] checks whether it was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seal {
    pub number: i64,
    pub at: Timestamp,
    pub first_at: Timestamp,
    pub last_at: Timestamp,
    pub count: i64,
    pub previous: String,
    pub hash: String,
    /// One [`SealEntry`] per line and event.
    pub contents: String,
    /// One line per event.
    pub events: String,
    /// One line per person.
    pub people: String,
}

/// A seal's entry for an event. It still names an event that was deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealEntry<'a> {
    pub id: &'a str,
    pub at: Timestamp,
    pub kind: &'a str,
    pub hash: SealHash,
}

impl<'a> SealEntry<'a> {
    pub fn parse(line: &'a str) -> Option<Self> {
        let mut words = line.split(' ');
        let (id, at, kind, hash) = (words.next()?, words.next()?, words.next()?, words.next()?);
        let read = Self { id, at: Timestamp(at.parse().ok()?), kind, hash: SealHash::parse(hash)? };
        words.next().is_none().then_some(read)
    }
}

impl fmt::Display for SealEntry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {} {}", self.id, self.at.micros(), self.kind, self.hash)
    }
}

/// Hash of a seal: one line per field, each ended by a line feed. The main chain's name is left out, because it was
/// once the only chain.
pub fn seal_hash(of: ChainId, number: i64, at: Timestamp, previous: &str, count: i64, contents: SealHash) -> SealHash {
    let at = at.micros();
    let ChainId { instance, chain } = of;
    let form = match chain {
        Chain::Main => "gatehouse-seal-1",
        Chain::Refusals => "gatehouse-seal-1 refusals",
    };
    SealHash::of(format!("{form}\n{instance}\n{number}\n{at}\n{previous}\n{count}\n{contents}\n").as_bytes())
}

impl Seal {
    /// Seals events after the head, ordered by time; events of the same time keep their order. The clock may step back,
    /// but the times of seals do not.
    ///
    /// `people` are the persons that the digests name.
    pub fn new(
        of: impl Into<ChainId>,
        head: &ChainHead,
        now: Timestamp,
        mut events: Vec<(StoredEvent, Option<SealHash>)>,
        people: String,
    ) -> Self {
        events.sort_by_key(|(event, _)| event.at);
        let (number, at, previous) = (head.number + 1, now.max(head.at), head.hash.to_string());
        let (mut contents, mut lines) = (String::new(), String::new());
        let count = i64::try_from(events.len()).unwrap_or(i64::MAX);
        let first_at = events.first().map_or(at, |(event, _)| event.at);
        let last_at = events.last().map_or(at, |(event, _)| event.at);
        for (event, person) in events {
            let (id, at, kind) = (event.id.clone(), event.at, event.kind.clone());
            let line = event.chained(person);
            let entry = SealEntry { id: &id, at, kind: &kind, hash: SealHash::of(line.as_bytes()) };
            contents.push_str(&entry.to_string());
            contents.push('\n');
            lines.push_str(&line);
            lines.push('\n');
        }
        let hash = seal_hash(of.into(), number, at, &previous, count, SealHash::of(contents.as_bytes()));
        Self { number, at, first_at, last_at, count, previous, hash: hash.to_string(), contents, events: lines, people }
    }

    /// Seals calls after the head, with their lines unchanged.
    pub fn of_calls(of: impl Into<ChainId>, head: &ChainHead, now: Timestamp, calls: &Calls) -> Self {
        let (number, at, previous) = (head.number + 1, now.max(head.at), head.hash.to_string());
        let kind = AuditKind::ApiCall.as_str();
        let (mut contents, mut count) = (String::with_capacity(calls.bytes()), 0);
        let (mut first_at, mut last_at) = (Timestamp(i64::MAX), Timestamp(i64::MIN));
        for ((id, place), at, line) in calls.events() {
            let hash = SealHash::of(line.as_bytes()).digits();
            let hash = std::str::from_utf8(&hash).expect("digits are ASCII");
            writeln!(contents, "{id}.{place} {} {kind} {hash}", at.micros()).expect("a text takes everything");
            (first_at, last_at) = (first_at.min(at), last_at.max(at));
            count += 1;
        }
        let hash = seal_hash(of.into(), number, at, &previous, count, SealHash::of(contents.as_bytes()));
        let (hash, events, people) = (hash.to_string(), calls.lines().to_owned(), String::new());
        Self { number, at, first_at, last_at, count, previous, hash, contents, events, people }
    }

    /// The hash of the stored content, regardless of the value in `hash`.
    pub fn actual_hash(&self, of: impl Into<ChainId>) -> SealHash {
        let contents = SealHash::of(self.contents.as_bytes());
        seal_hash(of.into(), self.number, self.at, &self.previous, self.count, contents)
    }

    pub fn bytes(&self) -> i64 {
        i64::try_from(self.contents.len() + self.events.len() + self.people.len()).unwrap_or(i64::MAX)
    }
}

/// The personal data of one person in the events of one seal: a line of [`Seal::people`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PersonLine {
    /// The digest by which events name the person: that of the text from [`super::EventPerson::text`].
    pub person: String,
    /// The user whose data it is, and whose key encrypts it. Without a user the text is not encrypted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The encrypted text in Base64, or the plain text. Absent if the user was already erased.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// The number of a seal, and the hash of the seal or of the checkpoint that signs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealLink {
    pub seal: i64,
    pub hash: SealHash,
}

impl SealLink {
    /// The previous link of the first one.
    pub const NONE: Self = Self { seal: 0, hash: SealHash::NONE };
}

/// The signed claims of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    pub instance: String,
    /// Absent for the main chain.
    #[serde(default, skip_serializing_if = "Chain::is_main")]
    pub chain: Chain,
    pub seal: i64,
    pub hash: SealHash,
    /// Seconds, RFC 7519 §4.1.6.
    pub iat: i64,
    /// The previous checkpoint: its seal, and the SHA-256 of its JWS. Absent if an older version signed it, and in
    /// checkpoints that record pruning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prev: Option<SealLink>,
    /// This seal and all before it were deleted because of their age.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pruned: bool,
    /// The chain does not continue from its known end; this seal records the break.
    #[serde(default, rename = "break", skip_serializing_if = "Option::is_none")]
    pub broken: Option<Break>,
}

/// The `typ` of a checkpoint.
pub const CHECKPOINT_TYPE: &str = "audit-checkpoint+jwt";

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn event(id: &str, at: i64) -> (StoredEvent, Option<SealHash>) {
        let event = StoredEvent {
            id: id.to_owned(),
            at: Timestamp(at),
            kind: "sign-in".to_owned(),
            outcome: "done".to_owned(),
            ..StoredEvent::default()
        };
        (event, None)
    }

    #[test]
    fn hashes_read_back_and_nothing_else_does() {
        let hash = SealHash::of(b"abc");
        assert_eq!(hash.to_string(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(SealHash::parse(&hash.to_string()), Some(hash));
        for bad in ["", &"0".repeat(63), &"0".repeat(65), &"G".repeat(64), &"A".repeat(64), &"é".repeat(32)] {
            assert_eq!(SealHash::parse(bad), None, "{bad}");
        }
    }

    /// The form of `docs/audit.md`, written out so that it cannot change unnoticed.
    #[test]
    fn a_seal_is_what_the_document_says() {
        let instance = InstanceId(Uuid::from_u128(1));
        let head = ChainHead { number: 4, hash: SealHash::of(b"before"), at: Timestamp(90) };
        let seal =
            Seal::new(instance, &head, Timestamp(80), vec![event("b", 7), event("a", 5), event("c", 7)], String::new());
        assert_eq!((seal.number, seal.at, seal.first_at, seal.last_at), (5, Timestamp(90), Timestamp(5), Timestamp(7)));
        let line = |id: &str, at: i64| format!(r#"{{"id":"{id}","at":{at},"kind":"sign-in","outcome":"done"}}"#);
        let lines = [line("a", 5), line("b", 7), line("c", 7)];
        assert_eq!(seal.events, lines.join("\n") + "\n");
        let entry = |id: &str, at: i64| format!("{id} {at} sign-in {}\n", SealHash::of(line(id, at).as_bytes()));
        assert_eq!(seal.contents, [entry("a", 5), entry("b", 7), entry("c", 7)].concat());
        let said = format!(
            "gatehouse-seal-1\n00000000-0000-0000-0000-000000000001\n5\n90\n{}\n3\n{}\n",
            SealHash::of(b"before"),
            SealHash::of(seal.contents.as_bytes())
        );
        assert_eq!(seal.hash, SealHash::of(said.as_bytes()).to_string());
        assert_eq!(seal.actual_hash(instance).to_string(), seal.hash);
        assert_ne!(seal.actual_hash(InstanceId(Uuid::from_u128(2))).to_string(), seal.hash, "bound to its instance");

        let refusals = ChainId { instance, chain: Chain::Refusals };
        let said = said.replacen("gatehouse-seal-1", "gatehouse-seal-1 refusals", 1);
        assert_eq!(seal.actual_hash(refusals), SealHash::of(said.as_bytes()), "bound to its chain");
    }
}
