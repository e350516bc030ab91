//! The operations of administrators. Each is declared once: name, text, authority, audit acts, input, output and flow.
//! The admin API, its OpenAPI document, the command line and the pages run them.

pub mod applications;
pub mod audit;
pub mod consents;
pub mod keys;
pub mod roles;
pub mod sessions;
pub mod settings;
pub mod tokens;
pub mod users;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use model::reference_token::{ReferenceToken, masked};
use model::session::SignInTooOld;
use model::{Moment, RootUrl, Timestamp, User};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::admin::act::AdminAct;
use crate::admin::{AdminRefusal, AdminService, ElevatedAdminService};
use crate::auth::links::{HandedOver, IssuedLink};
use crate::platform::outbox::InstanceMail;
use crate::{Answer, MasterKey, Passwords};

/// An operation of administrators.
pub trait AdminOperation {
    /// The `operationId` of OpenAPI, which generated clients use as a name.
    const NAME: &'static str;
    /// One line for OpenAPI and the command's help.
    const SUMMARY: &'static str;
    /// The audit events that it writes. Empty for an operation that only reads.
    const ACTS: &'static [AdminAct];
    type Authority: AdminAuthority;
    type Input: Send;
    /// The answer of the admin API, and the command's `--json`.
    type Output: Serialize + JsonSchema + Send;

    fn run(
        context: &mut OperationContext<'_, Self::Authority>,
        input: Self::Input,
    ) -> impl Future<Output = Answer<Self::Output, AdminRefusal>> + Send;
}

/// The authority that an operation needs.
pub trait AdminAuthority {
    type Service<'a>: Send + Sync;
    const NEEDS_RECENT_SIGN_IN: bool;

    fn of(service: AdminService<'_>, now: Timestamp) -> Result<Self::Service<'_>, SignInTooOld>;
}

/// Any administrator.
pub enum AnySignIn {}

impl AdminAuthority for AnySignIn {
    type Service<'a> = AdminService<'a>;
    const NEEDS_RECENT_SIGN_IN: bool = false;

    fn of(service: AdminService<'_>, _: Timestamp) -> Result<AdminService<'_>, SignInTooOld> {
        Ok(service)
    }
}

/// An administrator whose sign-in is recent, for sensitive changes.
pub enum RecentSignIn {}

impl AdminAuthority for RecentSignIn {
    type Service<'a> = ElevatedAdminService<'a>;
    const NEEDS_RECENT_SIGN_IN: bool = true;

    fn of(service: AdminService<'_>, now: Timestamp) -> Result<ElevatedAdminService<'_>, SignInTooOld> {
        service.elevate(now)
    }
}

/// What an operation uses besides its input.
pub struct OperationContext<'a, A: AdminAuthority> {
    pub service: A::Service<'a>,
    pub moment: Moment<'a>,
    pub passwords: &'a Passwords,
    /// Seals the instance's keys.
    pub master: &'a MasterKey,
    pub delivery: Delivery<'a>,
}

/// How letters and links reach users.
pub enum Delivery<'a> {
    /// By the server's mail. Without a mailer, links are shown.
    Mail { mail: InstanceMail<'a>, administrator: &'a User },
    /// The command line shows links below this URL, and sends letters itself. `None` if the configuration has no URL
    /// of the instance.
    Shown(Option<&'a RootUrl>),
}

impl Delivery<'_> {
    /// Whether a link can be handed over, before one is created.
    fn check(&self) -> Result<(), AdminRefusal> {
        let problem = "the instance has no url in the configuration".to_owned();
        if matches!(self, Self::Shown(None)) { Err(AdminRefusal::Invalid(vec![problem])) } else { Ok(()) }
    }

    /// Writes to the administrator about a service token that they issued.
    fn tell_issued(&self, uri: &str, token: &ReferenceToken) {
        if let Self::Mail { mail, administrator } = self {
            let about = (masked(&token.tail), token.description.as_str());
            mail.write_to(administrator, |letter| letter.service_token_issued(uri, &about.0, about.1));
        }
    }

    /// After [`Self::check`].
    fn hand_over(&self, link: &IssuedLink) -> HandedOver {
        match self {
            Self::Mail { mail, .. } => link.hand_over(*mail),
            Self::Shown(root) => HandedOver::Shown(link.purpose.url(root.expect("it was checked"), &link.code)),
        }
    }
}

/// An operation's line in the table.
#[derive(Clone, Copy, Debug)]
pub struct OperationEntry {
    pub name: &'static str,
    pub summary: &'static str,
    pub needs_recent_sign_in: bool,
    pub acts: &'static [AdminAct],
}

impl OperationEntry {
    const fn of<O: AdminOperation>() -> Self {
        Self {
            name: O::NAME,
            summary: O::SUMMARY,
            needs_recent_sign_in: O::Authority::NEEDS_RECENT_SIGN_IN,
            acts: O::ACTS,
        }
    }
}

/// All operations.
pub fn operations() -> impl Iterator<Item = &'static OperationEntry> {
    let records = [
        applications::OPERATIONS,
        users::OPERATIONS,
        roles::OPERATIONS,
        consents::OPERATIONS,
        tokens::OPERATIONS,
        sessions::OPERATIONS,
        keys::OPERATIONS,
        settings::OPERATIONS,
        audit::OPERATIONS,
    ];
    records.into_iter().flatten()
}

/// The versions of a record that a change accepts.
#[derive(Clone, Debug)]
pub enum ExpectedVersion {
    Any,
    OneOf(Vec<i64>),
}

impl ExpectedVersion {
    /// The database compares once more when it writes.
    pub fn check(&self, current: i64) -> Result<(), AdminRefusal> {
        match self {
            Self::OneOf(known) if !known.contains(&current) => Err(AdminRefusal::Outdated),
            Self::Any | Self::OneOf(_) => Ok(()),
        }
    }
}

/// A time as RFC 3339 writes it, in UTC.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Time(pub Timestamp);

impl Serialize for Time {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Our times are within the years that RFC 3339 can express.
        serializer.collect_str(&jiff::Timestamp::from_microsecond(self.0.micros()).unwrap_or_default())
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let time: jiff::Timestamp = text.parse().map_err(|_| {
            serde::de::Error::custom(format!("{text:?} is not a time; use the form 2026-12-31T23:59:59Z"))
        })?;
        Ok(Self(Timestamp(time.as_microsecond())))
    }
}

impl JsonSchema for Time {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Time".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "date-time" })
    }
}

impl From<Timestamp> for Time {
    fn from(time: Timestamp) -> Self {
        Self(time)
    }
}

/// A part of a list.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Page_of_{T}")]
pub struct ListPage<T> {
    pub items: Vec<T>,
    /// Send this as `cursor` to get the next page. Absent only on the last page; a page with few items may not be the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl<T> ListPage<T> {
    /// `rows` are one more than `limit` if there is a next page, which begins after the last one shown.
    pub fn of<R>(mut rows: Vec<R>, limit: u32, key: impl Fn(&R) -> String, show: impl Fn(R) -> T) -> Self {
        let limit = limit as usize;
        let has_more = rows.len() > limit;
        rows.truncate(limit);
        let next = rows.last().filter(|_| has_more).map(|last| cursor_text(&key(last)));
        Self { items: rows.into_iter().map(show).collect(), next }
    }
}

/// A list's key as a cursor, which callers send back as it is.
fn cursor_text(key: &str) -> String {
    URL_SAFE_NO_PAD.encode(key)
}

/// The key of a cursor.
pub fn cursor_key(cursor: &str) -> Option<String> {
    URL_SAFE_NO_PAD.decode(cursor).ok().and_then(|bytes| String::from_utf8(bytes).ok())
}

/// Makes a refused step of a flow the flow's refusal.
macro_rules! granted {
    ($answer:expr) => {
        match $answer {
            Ok(granted) => granted,
            Err(refusal) => return Ok(Err(refusal)),
        }
    };
}
use granted;
