//! A stored event: a row or a line of a block until it is sealed, then a line of the chain.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Timestamp;
use crate::audit::chain::SealHash;

/// An event as stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredEvent {
    /// Unique within the instance. For an event stored in a block: the block's id and the line's number.
    pub id: String,
    pub at: Timestamp,
    pub kind: String,
    pub outcome: String,
    pub reason: String,
    pub actor: Option<String>,
    pub application: Option<String>,
    /// The id of the user.
    pub user: Option<String>,
    pub token: Option<String>,
    pub session: Option<String>,
    /// These five identify a person. They are absent once the person was erased.
    pub login: Option<String>,
    pub address: Option<String>,
    pub user_agent: Option<String>,
    /// Origin of the earlier request that this event's request repeats.
    pub earlier_address: Option<String>,
    pub earlier_user_agent: Option<String>,
    pub request: Option<String>,
    /// Why the event is not attested. `None` if this installation is known to have written it.
    pub doubt: Option<Doubt>,
    /// JSON.
    pub detail: Option<String>,
}

/// Why an event of the chain is not attested: the state of the row that it was sealed from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Doubt {
    /// The row had no authentication code: a version without codes wrote it, or another writer.
    Unattested,
    /// The row had a wrong authentication code.
    Forged,
    /// An event with this id was sealed before.
    Repeated,
}

impl Doubt {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unattested => "unattested",
            Self::Forged => "forged",
            Self::Repeated => "repeated",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [Self::Unattested, Self::Forged, Self::Repeated].into_iter().find(|doubt| doubt.as_str() == text)
    }
}

/// The personal data of an event. The chain holds only its digest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct EventPerson {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub earlier_address: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub earlier_user_agent: Option<String>,
}

impl EventPerson {
    pub fn is_nobody(&self) -> bool {
        *self == Self::default()
    }

    /// The text whose digest is in the chain. The salt prevents guessing an erased person.
    pub fn text(&self, salt: [u8; 16]) -> String {
        let salted = Salted { salt: format!("{:032x}", u128::from_be_bytes(salt)), person: self.clone() };
        serde_json::to_string(&salted).expect("texts are JSON")
    }

    /// Reads what [`Self::text`] writes.
    pub fn read(text: &str) -> Option<Self> {
        serde_json::from_str::<Salted>(text).ok().map(|salted| salted.person)
    }
}

#[derive(Serialize, Deserialize)]
struct Salted {
    salt: String,
    #[serde(flatten)]
    person: EventPerson,
}

/// All members of a line, in the order in which the chain writes them. Personal data appears only in lines that are not
/// sealed yet, never in the chain.
#[derive(Serialize, Deserialize)]
struct StoredLine {
    #[serde(default)]
    id: String,
    at: i64,
    kind: String,
    outcome: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    reason: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    actor: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    application: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    session: Option<String>,
    #[serde(default, skip_serializing)]
    login: Option<String>,
    #[serde(default, skip_serializing)]
    address: Option<String>,
    #[serde(default, skip_serializing)]
    user_agent: Option<String>,
    #[serde(default, skip_serializing)]
    earlier_address: Option<String>,
    #[serde(default, skip_serializing)]
    earlier_user_agent: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    request: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    person: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    doubt: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    detail: Option<Value>,
}

/// The digest of the person named by a line of the chain.
pub fn person_of(line: &str) -> Option<SealHash> {
    #[derive(Deserialize)]
    struct Naming<'a> {
        person: Option<&'a str>,
    }
    serde_json::from_str::<Naming<'_>>(line).ok()?.person.and_then(SealHash::parse)
}

impl StoredEvent {
    /// Parses a line of a block or of the chain. Only lines of the chain have a digest of the person.
    pub fn parse(line: &str) -> Option<(Self, Option<SealHash>)> {
        let line: StoredLine = serde_json::from_str(line).ok()?;
        let digest = line.person.as_deref().and_then(SealHash::parse);
        let event = Self {
            id: line.id,
            at: Timestamp(line.at),
            kind: line.kind,
            outcome: line.outcome,
            reason: line.reason,
            actor: line.actor,
            application: line.application,
            user: line.user,
            token: line.token,
            session: line.session,
            login: line.login,
            address: line.address,
            user_agent: line.user_agent,
            earlier_address: line.earlier_address,
            earlier_user_agent: line.earlier_user_agent,
            request: line.request,
            doubt: line.doubt.as_deref().and_then(Doubt::parse),
            detail: line.detail.map(|detail| detail.to_string()),
        };
        Some((event, digest))
    }

    /// The input of a waiting row's authentication code: every member with its length, so that two different rows never
    /// have the same input. An absent member adds nothing, so that rows from before a member was introduced keep their
    /// code.
    pub fn content(&self) -> Vec<u8> {
        let at = self.at.micros().to_string();
        let texts = [
            Some(&self.id),
            Some(&at),
            Some(&self.kind),
            Some(&self.outcome),
            Some(&self.reason),
            self.actor.as_ref(),
            self.application.as_ref(),
            self.user.as_ref(),
            self.token.as_ref(),
            self.session.as_ref(),
            self.login.as_ref(),
            self.address.as_ref(),
            self.user_agent.as_ref(),
            self.earlier_address.as_ref(),
            self.earlier_user_agent.as_ref(),
            self.request.as_ref(),
            self.detail.as_ref(),
        ];
        let mut content = Vec::with_capacity(512);
        for (number, text) in (0_u8..).zip(texts) {
            let Some(text) = text else { continue };
            content.push(number);
            content.extend_from_slice(&(text.len() as u64).to_be_bytes());
            content.extend_from_slice(text.as_bytes());
        }
        content
    }

    /// Removes the personal data from the event and returns it.
    pub fn take_person(&mut self) -> EventPerson {
        EventPerson {
            login: self.login.take(),
            address: self.address.take(),
            user_agent: self.user_agent.take(),
            earlier_address: self.earlier_address.take(),
            earlier_user_agent: self.earlier_user_agent.take(),
        }
    }

    #[must_use]
    pub fn with_person(self, person: EventPerson) -> Self {
        let EventPerson { login, address, user_agent, earlier_address, earlier_user_agent } = person;
        Self { login, address, user_agent, earlier_address, earlier_user_agent, ..self }
    }

    /// Wraps an unreadable line of a block. It is sealed as it is, so that one bad line cannot block the chain.
    pub fn unreadable(at: Timestamp, line: &str) -> Self {
        Self {
            at,
            kind: "unreadable".to_owned(),
            outcome: "refused".to_owned(),
            reason: "not_an_event".to_owned(),
            detail: Some(Value::from(line).to_string()),
            ..Self::default()
        }
    }

    /// The line of the chain, without a line feed: compact JSON, members in a fixed order, absent ones omitted.
    pub fn chained(self, person: Option<SealHash>) -> String {
        // A detail that is not JSON is kept as a string.
        let detail = self.detail.map(|text| serde_json::from_str(&text).unwrap_or(Value::String(text)));
        let line = StoredLine {
            id: self.id,
            at: self.at.micros(),
            kind: self.kind,
            outcome: self.outcome,
            reason: self.reason,
            actor: self.actor,
            application: self.application,
            user: self.user,
            token: self.token,
            session: self.session,
            login: None,
            address: None,
            user_agent: None,
            earlier_address: None,
            earlier_user_agent: None,
            request: self.request,
            person: person.map(|digest| digest.to_string()),
            doubt: self.doubt.map(|doubt| doubt.as_str().to_owned()),
            detail,
        };
        serde_json::to_string(&line).expect("texts and numbers are JSON")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_chain_names_nobody() {
        let line = r#"{"at":5,"kind":"sign-in","outcome":"done","user":"u","login":"eve","address":"192.0.2.1","user_agent":"x","earlier_address":"192.0.2.2","earlier_user_agent":"y","detail":{"b":1,"a":[]}}"#;
        let (mut event, digest) = StoredEvent::parse(line).expect("a line");
        assert_eq!((event.login.as_deref(), event.address.as_deref(), digest), (Some("eve"), Some("192.0.2.1"), None));
        event.id = "1.0".to_owned();
        let person = event.take_person();
        assert_eq!(event.clone().with_person(person.clone()).take_person(), person);
        let person = SealHash::of(person.text([7; 16]).as_bytes());
        let chained = event.clone().chained(Some(person));
        assert_eq!(
            chained,
            format!(
                r#"{{"id":"1.0","at":5,"kind":"sign-in","outcome":"done","user":"u","person":"{person}","detail":{{"b":1,"a":[]}}}}"#
            )
        );
        let (read, digest) = StoredEvent::parse(&chained).expect("a line");
        assert_eq!((read, digest), (event, Some(person)));
        assert_eq!((person_of(&chained), person_of(line)), (Some(person), None));
    }

    #[test]
    fn a_doubt_is_a_member_of_the_line_and_reads_back() {
        for doubt in [Doubt::Unattested, Doubt::Forged, Doubt::Repeated] {
            let event = StoredEvent { kind: "k".to_owned(), doubt: Some(doubt), ..StoredEvent::default() };
            let line = event.clone().chained(None);
            assert!(line.contains(&format!(r#""doubt":"{}""#, doubt.as_str())), "{line}");
            assert_eq!(StoredEvent::parse(&line), Some((event, None)));
        }
        let later = r#"{"id":"1","at":1,"kind":"k","outcome":"done","doubt":"of a later version"}"#;
        assert_eq!(StoredEvent::parse(later).expect("a line").0.doubt, None);
    }

    #[test]
    fn two_rows_that_differ_never_have_the_same_content() {
        let text = |text: &str| Some(text.to_owned());
        let rows = [
            StoredEvent::default(),
            StoredEvent { at: Timestamp(1), ..StoredEvent::default() },
            StoredEvent { id: "a".to_owned(), kind: "b".to_owned(), ..StoredEvent::default() },
            StoredEvent { id: "ab".to_owned(), ..StoredEvent::default() },
            StoredEvent { actor: text(""), ..StoredEvent::default() },
            StoredEvent { actor: text("x"), ..StoredEvent::default() },
            StoredEvent { application: text("x"), ..StoredEvent::default() },
            StoredEvent { login: text("x"), ..StoredEvent::default() },
            StoredEvent { detail: text("x"), ..StoredEvent::default() },
        ];
        let contents: std::collections::HashSet<Vec<u8>> = rows.iter().map(StoredEvent::content).collect();
        assert_eq!(contents.len(), rows.len());
    }

    #[test]
    fn a_person_reads_back_and_the_salt_decides_the_text() {
        let person = EventPerson { address: Some("::1".to_owned()), ..EventPerson::default() };
        let text = person.text([1; 16]);
        assert_eq!(text, r#"{"salt":"01010101010101010101010101010101","address":"::1"}"#);
        assert_eq!(EventPerson::read(&text), Some(person.clone()));
        assert_ne!(text, person.text([2; 16]));
        assert!(EventPerson::default().is_nobody() && !person.is_nobody());
        assert_eq!(EventPerson::read("{}"), None, "without a salt it is none of ours");
    }

    #[test]
    fn what_is_no_event_is_kept_as_it_is() {
        assert!(StoredEvent::parse("{\"at\":1").is_none());
        let (kept, _) =
            StoredEvent::parse(&StoredEvent::unreadable(Timestamp(1), "{\"at\n").chained(None)).expect("a line");
        assert_eq!((kept.kind.as_str(), kept.detail.as_deref()), ("unreadable", Some(r#""{\"at\n""#)));
    }
}
