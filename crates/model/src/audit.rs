//! Audit events (`identity.md` §5). An event never holds a token, code, secret, password or cookie.

mod broken;
mod calls;
pub mod chain;
mod finding;
pub mod folding;
mod stored;
pub mod verify;

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use self::broken::{Break, BreakCause, ChainMemory, Continuation, ObservedChain, ProcessKnowledge, RememberedEnd};
pub use self::calls::{AnsweredCall, Calls};
use self::chain::Chain;
pub use self::stored::{Doubt, EventPerson, StoredEvent, person_of};
use crate::refusal::Refusal;
use crate::{Timestamp, UserId};

macro_rules! kinds {
    ($($variant:ident => $text:literal),+ $(,)?) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
        pub enum AuditKind { $(#[serde(rename = $text)] $variant),+ }

        impl AuditKind {
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }
    };
}

kinds! {
    SignIn => "sign-in",
    FirstStep => "first-step",
    TwoStepChange => "two-step-change",
    SignOut => "sign-out",
    PasswordReset => "password-reset",
    EmailChange => "email-change",
    Consent => "consent",
    ConsentWithdrawn => "consent-withdrawn",
    Authorize => "authorize",
    CodeIssued => "code-issued",
    IdTokenIssued => "id-token-issued",
    CodeRedeemed => "code-redeemed",
    CodeReused => "code-reused",
    TokenIssued => "token-issued",
    TokenRefreshed => "token-refreshed",
    TokenRepeated => "token-repeated",
    TokenReused => "token-reused",
    TokenRefused => "token-refused",
    TokenRevoked => "token-revoked",
    Introspection => "introspection",
    UserInfo => "user-info",
    SessionOpened => "session-opened",
    SessionClosed => "session-closed",
    SessionRefused => "session-refused",
    AdminChange => "admin-change",
    ProfileChange => "profile-change",
    KeyRotated => "key-rotated",
    ApiCall => "api-call",
    AuditPruned => "audit-pruned",
    DatabaseRewound => "database-rewound",
    AuditBroken => "audit-broken",
    KnownBrowser => "known-browser",
    Attacked => "attacked",
}

/// The id and origin of a request, the same for everything that the request does.
#[derive(Clone, Debug)]
pub struct RequestInfo {
    pub address: IpAddr,
    /// Cut to 256 characters.
    pub user_agent: Option<Arc<str>>,
    pub id: RequestId,
}

/// The origin of a request. It identifies a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestOrigin {
    pub address: IpAddr,
    pub user_agent: Option<Arc<str>>,
}

impl RequestInfo {
    pub fn origin(&self) -> RequestOrigin {
        RequestOrigin { address: self.address, user_agent: self.user_agent.clone() }
    }
}

/// Two lower-case digits per byte. Written for every call; formatting byte by byte costs ten times as much.
fn hexadecimal<const BYTES: usize, const DIGITS: usize>(bytes: [u8; BYTES]) -> [u8; DIGITS] {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    const { assert!(DIGITS == 2 * BYTES) };
    let mut digits = [0; DIGITS];
    for (pair, byte) in digits.chunks_exact_mut(2).zip(bytes) {
        pair[0] = HEX[usize::from(byte >> 4)];
        pair[1] = HEX[usize::from(byte & 15)];
    }
    digits
}

/// The request id in the response, the log and the audit, which users quote as the reference of a refusal. It begins
/// with the time, so that a reference leads to the time of its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestId(u128);

impl RequestId {
    /// `process` distinguishes processes, `count` the requests of one process. Both are cut to 40 bits.
    pub fn new(at: Timestamp, process: u64, count: u64) -> Self {
        const CUT: u128 = (1 << 40) - 1;
        let millis = u128::try_from(at.micros() / 1000).unwrap_or(0) & ((1 << 48) - 1);
        Self((millis << 80) | ((u128::from(process) & CUT) << 40) | (u128::from(count) & CUT))
    }

    /// Parses a reference as a user types it from a page.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        (text.len() == 32).then(|| u128::from_str_radix(text, 16).ok()).flatten().map(Self)
    }

    /// The id in headers and pages: 32 hexadecimal digits.
    pub fn digits(self) -> [u8; 32] {
        hexadecimal(self.0.to_be_bytes())
    }

    /// The time of the request, to the millisecond.
    pub fn at(self) -> Timestamp {
        Timestamp(i64::try_from(self.0 >> 80).unwrap_or(0).saturating_mul(1000))
    }
}

impl Serialize for RequestId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl std::fmt::Display for RequestId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(std::str::from_utf8(&self.digits()).expect("digits are ASCII"))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AuditOutcome {
    Done,
    Refused,
}

impl AuditOutcome {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Refused => "refused",
        }
    }
}

/// Whether the caller was authenticated when the request was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asker {
    /// An unauthenticated client. Such refusals can be caused by anyone, in any number.
    Stranger,
    /// A signed-in user, an application with a secret, or a valid token.
    Authenticated,
}

#[derive(Clone, Debug)]
pub struct AuditEvent {
    pub asker: Asker,
    pub at: Timestamp,
    pub kind: AuditKind,
    pub outcome: AuditOutcome,
    /// The exact cause of a refusal; empty otherwise.
    pub reason: &'static str,
    /// Who acted, if not the user that the event is about.
    pub actor: Option<Cow<'static, str>>,
    /// `ApplicationUri`.
    pub application: Option<String>,
    pub user: Option<UserId>,
    /// The `jti`, or the id of the authorization; never the token.
    pub token: Option<String>,
    /// The `sid`, or the id of the API session.
    pub session: Option<String>,
    pub request: Option<RequestInfo>,
    /// The origin of the earlier request that this one repeats.
    pub earlier: Option<RequestOrigin>,
    /// The login of the user that the event is about, for readers. It identifies a person, as the request and the
    /// earlier origin do, so the chain holds only a digest of them. No other member of an event identifies a person.
    pub login: Option<String>,
    /// JSON on one line, with details of this kind of event.
    pub detail: Option<String>,
}

/// An event as one line of JSON.
#[derive(Serialize)]
struct EventLine<'a> {
    at: i64,
    kind: &'static str,
    outcome: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    actor: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    application: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    login: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_agent: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    earlier_address: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    earlier_user_agent: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<RequestId>,
}

impl AuditEvent {
    /// Appends one line of JSON, without a line feed.
    pub fn write_line(&self, text: &mut Vec<u8>) {
        let (request, earlier) = (self.request.as_ref(), self.earlier.as_ref());
        let line = EventLine {
            at: self.at.micros(),
            kind: self.kind.as_str(),
            outcome: self.outcome.as_str(),
            reason: self.reason,
            actor: self.actor.as_deref(),
            application: self.application.as_deref(),
            user: self.user.map(|user| user.0),
            token: self.token.as_deref(),
            session: self.session.as_deref(),
            login: self.login.as_deref(),
            address: request.map(|request| request.address),
            user_agent: request.and_then(|request| request.user_agent.as_deref()),
            earlier_address: earlier.map(|origin| origin.address),
            earlier_user_agent: earlier.and_then(|origin| origin.user_agent.as_deref()),
            request: request.map(|request| request.id),
        };
        serde_json::to_writer(&mut *text, &line).expect("an event is strings and numbers");
        if let Some(detail) = &self.detail {
            // The detail is JSON already, so it is inserted before the closing brace.
            text.pop();
            text.extend_from_slice(b",\"detail\":");
            text.extend_from_slice(detail.as_bytes());
            text.push(b'}');
        }
    }

    /// The form in which the event waits for its seal.
    pub fn stored(&self, id: Uuid) -> StoredEvent {
        let (request, earlier) = (self.request.as_ref(), self.earlier.as_ref());
        StoredEvent {
            id: id.to_string(),
            at: self.at,
            kind: self.kind.as_str().to_owned(),
            outcome: self.outcome.as_str().to_owned(),
            reason: self.reason.to_owned(),
            actor: self.actor.as_deref().map(str::to_owned),
            application: self.application.clone(),
            user: self.user.map(|user| user.0.to_string()),
            token: self.token.clone(),
            session: self.session.clone(),
            login: self.login.clone(),
            address: request.map(|request| request.address.to_string()),
            user_agent: request.and_then(|request| request.user_agent.as_deref()).map(str::to_owned),
            earlier_address: earlier.map(|origin| origin.address.to_string()),
            earlier_user_agent: earlier.and_then(|origin| origin.user_agent.as_deref()).map(str::to_owned),
            request: request.map(|request| request.id.to_string()),
            doubt: None,
            detail: self.detail.clone(),
        }
    }

    /// The chain of this event. A completed action of an unauthenticated client is a change like any other: only its
    /// refusals go into the refusals chain.
    pub fn chain(&self) -> Chain {
        match (self.outcome, self.asker) {
            (AuditOutcome::Refused, Asker::Stranger) => Chain::Refusals,
            (AuditOutcome::Done, _) | (AuditOutcome::Refused, Asker::Authenticated) => Chain::Main,
        }
    }

    pub fn done(at: Timestamp, kind: AuditKind, request: &RequestInfo) -> Self {
        Self {
            asker: Asker::Authenticated,
            at,
            kind,
            outcome: AuditOutcome::Done,
            reason: "",
            actor: None,
            application: None,
            user: None,
            token: None,
            session: None,
            request: Some(request.clone()),
            earlier: None,
            login: None,
            detail: None,
        }
    }

    /// An event with the refusal's cause and details.
    pub fn refused(at: Timestamp, kind: AuditKind, request: &RequestInfo, asker: Asker, refusal: &dyn Refusal) -> Self {
        let detail = serde_json::to_string(&refusal.details()).expect("details are strings and numbers");
        let event = Self::done(at, kind, request);
        Self { asker, outcome: AuditOutcome::Refused, reason: refusal.cause(), detail: Some(detail), ..event }
    }

    #[must_use]
    pub fn application(mut self, uri: impl Into<String>) -> Self {
        self.application = Some(uri.into());
        self
    }

    #[must_use]
    pub fn user(mut self, user: UserId) -> Self {
        self.user = Some(user);
        self
    }

    /// Names the user by id, permanently, and by login, until the person is erased.
    #[must_use]
    pub fn about(mut self, user: &crate::User) -> Self {
        self.login = Some(user.login.as_str().to_owned());
        self.user(user.id)
    }

    #[must_use]
    pub fn token(mut self, id: impl Into<String>) -> Self {
        self.token = Some(id.into());
        self
    }

    #[must_use]
    pub fn session(mut self, id: impl Into<Uuid>) -> Self {
        self.session = Some(id.into().to_string());
        self
    }

    /// Adds the origin of the request that this one repeats, if known.
    #[must_use]
    pub fn repeating(mut self, earlier: Option<&RequestOrigin>) -> Self {
        self.earlier = earlier.cloned();
        self
    }

    #[must_use]
    pub fn detail(mut self, detail: &serde_json::Value) -> Self {
        self.detail = Some(detail.to_string());
        self
    }
}

/// The members that differ between two objects, before and after. Equal members and members that both lack are omitted.
pub fn differing(
    mut before: serde_json::Value,
    mut after: serde_json::Value,
) -> (serde_json::Value, serde_json::Value) {
    if let (Some(old), Some(new)) = (before.as_object_mut(), after.as_object_mut()) {
        let same = |(name, value): (&String, &serde_json::Value)| (new.get(name) == Some(value)).then(|| name.clone());
        let names: Vec<String> = old.iter().filter_map(same).collect();
        for name in names {
            old.remove(&name);
            new.remove(&name);
        }
    }
    (before, after)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_told_by_what_differs() {
        use serde_json::json;
        let (before, after) = differing(json!({"a": 1, "b": [2], "c": 3}), json!({"a": 1, "b": [], "d": 4}));
        assert_eq!((before, after), (json!({"b": [2], "c": 3}), json!({"b": [], "d": 4})));
        assert_eq!(differing(json!({"a": 1}), json!({"a": 1})), (json!({}), json!({})));
    }

    #[test]
    fn a_reference_tells_when_and_reads_back_as_a_person_types_it() {
        let id = RequestId::new(Timestamp::from_seconds(1_795_255_032), u64::MAX, 7);
        assert_eq!(id.at(), Timestamp::from_seconds(1_795_255_032));
        assert_eq!(RequestId::parse(&format!(" {id}\n")), Some(id));
        assert_ne!(id, RequestId::new(id.at(), u64::MAX, 8));
        for bad in ["", "12", &"g".repeat(32), &"1".repeat(33)] {
            assert_eq!(RequestId::parse(bad), None, "{bad:?}");
        }
    }
}
