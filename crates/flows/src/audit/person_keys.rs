//! Personal data of the audit, kept beside the chain and sealed under one key for each user. Erasing the key erases the
//! data everywhere. The chain holds only digests, and stays whole.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use model::audit::chain::{PersonLine, Seal, SealHash};
use model::audit::{EventPerson, StoredEvent};
use model::{InstanceId, Rng, UserId};
use oauth::secret::sha256;
use parking_lot::Mutex;
use quick_cache::unsync::Cache;
use store::{MAX_PEOPLE_ASKED, Statement, Store};
use uuid::Uuid;

use crate::Fault;
use crate::platform::seal::SealingKey;

const PURPOSE: &str = "person in the audit";

/// Users whose keys are cached while events are sealed.
const MAX_REMEMBERED: usize = 10_000;

/// Keys known to be committed, with which this process encrypts. A key that was erased meanwhile does no harm: data
/// encrypted with it cannot be decrypted.
pub(super) struct PersonKeyCache(Mutex<Cache<Uuid, PersonKey>>);

#[derive(Clone)]
enum PersonKey {
    Known([u8; 32]),
    Erased,
}

/// The keys of the users that a set of events is about.
pub(super) struct EventPersonKeys(HashMap<Uuid, PersonKey>);

impl PersonKeyCache {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Cache::new(MAX_REMEMBERED)))
    }

    /// Another node made a key for one of these users: cached keys may be wrong.
    pub(super) fn forget(&self) {
        *self.0.lock() = Cache::new(MAX_REMEMBERED);
    }

    /// The keys of all users that the events are about; draws those that are missing. The new keys are cached once
    /// their batch is committed ([`Self::remember`]).
    pub(super) async fn keys(
        &self,
        store: &Store,
        events: &[StoredEvent],
        rng: &mut dyn Rng,
    ) -> Result<(EventPersonKeys, Vec<Statement>), Fault> {
        let users: HashSet<Uuid> = events.iter().filter_map(user_of).collect();
        let mut keys: HashMap<Uuid, PersonKey> = HashMap::with_capacity(users.len());
        {
            let remembered = self.0.lock();
            keys.extend(users.iter().filter_map(|user| remembered.get(user).map(|key| (*user, key.clone()))));
        }
        let unknown: Vec<UserId> = users.into_iter().filter(|user| !keys.contains_key(user)).map(UserId).collect();
        for (UserId(user), key) in store.audit_people(&unknown).await? {
            keys.insert(user, stored_key(key)?);
        }
        let mut new_keys = Vec::new();
        for user in unknown {
            keys.entry(user.0).or_insert_with(|| {
                let key = rng.secret();
                new_keys.push(store.insert_audit_person(user, &key));
                PersonKey::Known(key)
            });
        }
        Ok((EventPersonKeys(keys), new_keys))
    }

    /// Caches keys. The batch that wrote the new ones is committed.
    pub(super) fn remember(&self, EventPersonKeys(keys): EventPersonKeys) {
        let mut remembered = self.0.lock();
        for (user, key) in keys {
            remembered.insert(user, key);
        }
    }
}

/// Moves personal data out of the events of one seal. Answers the events with the digests in its place, and
/// [`Seal::people`]. Every salt comes from `seed`, which is used once.
pub(super) fn take_out(
    instance: InstanceId,
    events: Vec<StoredEvent>,
    keys: &EventPersonKeys,
    seed: &[u8; 32],
) -> (Vec<(StoredEvent, Option<SealHash>)>, String) {
    let mut known: HashMap<(Option<Uuid>, EventPerson), SealHash> = HashMap::new();
    let mut people = String::new();
    let mut taken = Vec::with_capacity(events.len());
    for mut event in events {
        let person = event.take_person();
        if person.is_nobody() {
            taken.push((event, None));
            continue;
        }
        let user = user_of(&event);
        let number = known.len() as u64;
        let digest = *known.entry((user, person)).or_insert_with_key(|(user, person)| {
            let text = person.text(salt(seed, number));
            let digest = SealHash::of(text.as_bytes());
            let key = user.and_then(|user| keys.0.get(&user));
            write_person(&mut people, instance, digest, *user, key, &text);
            digest
        });
        taken.push((event, Some(digest)));
    }
    (taken, people)
}

fn salt(seed: &[u8; 32], number: u64) -> [u8; 16] {
    let drawn = sha256(&[seed.as_slice(), &number.to_be_bytes()].concat());
    *drawn.first_chunk().expect("16 of 32 bytes")
}

fn stored_key(key: Option<Vec<u8>>) -> Result<PersonKey, Fault> {
    let Some(key) = key else { return Ok(PersonKey::Erased) };
    let key = key.try_into().map_err(|_| Fault::failed("the key of a person in the audit is not one"))?;
    Ok(PersonKey::Known(key))
}

fn user_of(event: &StoredEvent) -> Option<Uuid> {
    event.user.as_deref().and_then(|user| Uuid::try_parse(user).ok())
}

fn write_person(
    people: &mut String,
    instance: InstanceId,
    digest: SealHash,
    user: Option<Uuid>,
    key: Option<&PersonKey>,
    text: &str,
) {
    let text = match key {
        // The event names no known user, so there is no person to erase.
        None => Some(text.to_owned()),
        Some(PersonKey::Known(key)) => {
            let sealed = SealingKey::new(key).seal(instance, PURPOSE, text.as_bytes());
            Some(STANDARD_NO_PAD.encode(sealed))
        }
        Some(PersonKey::Erased) => None,
    };
    let line = PersonLine { person: digest.to_string(), user: user.map(|user| user.to_string()), text };
    let line = serde_json::to_string(&line).expect("texts are JSON");
    let _infallible = writeln!(people, "{line}");
}

/// The personal data of an event, as far as it can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KnownPerson {
    /// The text that matches the digest.
    Text(String),
    Erased,
    /// The stored text does not match the digest.
    Edited,
}

impl KnownPerson {
    pub(super) fn person(&self) -> Option<EventPerson> {
        match self {
            Self::Text(text) => EventPerson::read(text),
            Self::Erased | Self::Edited => None,
        }
    }
}

/// The personal data of some seals, by digest.
pub(super) async fn open_people(store: &Store, seals: &[Seal]) -> Result<HashMap<SealHash, KnownPerson>, Fault> {
    let lines = seals.iter().flat_map(|seal| seal.people.lines());
    let lines: Vec<(SealHash, PersonLine)> = lines
        .filter_map(|line| serde_json::from_str::<PersonLine>(line).ok())
        .filter_map(|line| SealHash::parse(&line.person).map(|digest| (digest, line)))
        .collect();
    let mut keys = HashMap::new();
    let user_of = |line: &PersonLine| line.user.as_deref().and_then(|user| Uuid::try_parse(user).ok());
    let users: HashSet<UserId> = lines.iter().filter_map(|(_, line)| user_of(line)).map(UserId).collect();
    let users: Vec<UserId> = users.into_iter().collect();
    for some in users.chunks(MAX_PEOPLE_ASKED) {
        for (UserId(user), key) in store.audit_people(some).await? {
            keys.insert(user, stored_key(key)?);
        }
    }
    let open = |digest: SealHash, line: &PersonLine| -> KnownPerson {
        let text = match (&line.user, &line.text) {
            (None, text) => text.clone(),
            (Some(_), text) => match (user_of(line).and_then(|user| keys.get(&user)), text) {
                (Some(PersonKey::Erased), _) => return KnownPerson::Erased,
                (Some(PersonKey::Known(key)), Some(text)) => open_text(store, key, text),
                _ => None,
            },
        };
        text.filter(|text| SealHash::of(text.as_bytes()) == digest).map_or(KnownPerson::Edited, KnownPerson::Text)
    };
    Ok(lines.iter().map(|(digest, line)| (*digest, open(*digest, line))).collect())
}

fn open_text(store: &Store, key: &[u8; 32], text: &str) -> Option<String> {
    let sealed = STANDARD_NO_PAD.decode(text).ok()?;
    let opened = SealingKey::new(key).open(*store.instance(), PURPOSE, &sealed).ok()?;
    String::from_utf8(opened.to_vec()).ok()
}
