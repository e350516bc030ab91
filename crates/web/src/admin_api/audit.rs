//! `/audit`: what happened, the newest first.

use flows::admin::AdminRefusal;
use flows::admin::AuditedEvent;
use flows::admin::operations::{ListPage, Time};
use flows::audit::{AuditExport, AuditRange, ChainPosition, EventFilter, ExportFormat, VerificationResult};
use http::Method;
use model::audit::chain::Chain;
use model::audit::{AuditKind, AuditOutcome, Doubt};
use model::{Timestamp, UserId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::admin_api::input::{Cursor, Limit, QueryParams};
use crate::admin_api::operation::{AdminCall, Operation, OperationResult, operation};
use crate::admin_api::output::{File, PlainBody};
use crate::admin_api::problem::Problem;
use crate::request::render;

pub(super) fn operations() -> Vec<Operation> {
    vec![
        operation(Method::GET, "/audit", "listEvents", "List audit events, newest first", list),
        operation(
            Method::GET,
            "/audit/export",
            "exportEvents",
            "Export the audit as a file, oldest event first",
            export,
        ),
        operation(
            Method::POST,
            "/audit/verification",
            "verifyAudit",
            "Verify both chains of the audit and report any tampering",
            verify,
        ),
    ]
}

/// An event of the audit.
#[derive(Serialize, JsonSchema)]
pub(super) struct EventEntry {
    id: String,
    at: Time,
    kind: String,
    /// `done` or `refused`.
    outcome: String,
    /// The cause of a refusal, as a code.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    reason: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    actor: Option<String>,
    /// `ApplicationUri` of the application.
    #[serde(skip_serializing_if = "Option::is_none")]
    application: Option<String>,
    /// Id of the user.
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    /// The user's login. Absent once the user is erased.
    #[serde(skip_serializing_if = "Option::is_none")]
    login: Option<String>,
    /// Id of the token.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_agent: Option<String>,
    /// Address of the earlier request that this one repeats.
    #[serde(skip_serializing_if = "Option::is_none")]
    earlier_address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    earlier_user_agent: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<String>,
    /// Why the event may not be authentic: `unattested`, `forged` or `repeated`.
    #[serde(skip_serializing_if = "Option::is_none")]
    doubt: Option<&'static str>,
    /// Further details, depending on the kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<serde_json::Value>,
}

impl From<AuditedEvent> for EventEntry {
    fn from(event: AuditedEvent) -> Self {
        Self {
            id: event.id,
            at: event.at.into(),
            kind: event.kind,
            outcome: event.outcome,
            reason: event.reason,
            actor: event.actor,
            application: event.application,
            user: event.user,
            login: event.login,
            token: event.token,
            session: event.session,
            address: event.address,
            user_agent: event.user_agent,
            earlier_address: event.earlier_address,
            earlier_user_agent: event.earlier_user_agent,
            request: event.request,
            doubt: event.doubt.map(Doubt::as_str),
            detail: event.detail.and_then(|text| serde_json::from_str(&text).ok()),
        }
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Asked {
    #[serde(default)]
    limit: Limit,
    #[serde(default)]
    cursor: Cursor,
    /// Only events at or after this time.
    since: Option<Time>,
    /// Only events before this time.
    until: Option<Time>,
    /// Only events of this kind.
    kind: Option<AuditKind>,
    /// Only events with this outcome.
    outcome: Option<AuditOutcome>,
    /// Only events of the application with this `ApplicationUri`.
    application: Option<String>,
    /// Only events about the user with this id.
    user: Option<Uuid>,
    /// The chain to list.
    #[serde(default)]
    chain: Chain,
}

/// A cursor is three numbers with dots.
fn place(cursor: &Cursor) -> Result<Option<ChainPosition>, Problem> {
    if cursor.0.is_empty() {
        return Ok(None);
    }
    let read = || {
        let mut numbers = cursor.0.split('.');
        let (first, seal, event) = (numbers.next()?, numbers.next()?, numbers.next()?);
        let place = ChainPosition { first: first.parse().ok()?, seal: seal.parse().ok()?, event: event.parse().ok()? };
        numbers.next().is_none().then_some(place)
    };
    read().map(Some).ok_or_else(Cursor::unknown)
}

fn cursor(ChainPosition { first, seal, event }: ChainPosition) -> String {
    flows::admin::operations::cursor_text(&format!("{first}.{seal}.{event}"))
}

async fn list(
    mut call: AdminCall,
    QueryParams(asked): QueryParams<Asked>,
) -> OperationResult<PlainBody<ListPage<EventEntry>>> {
    let from = place(&asked.cursor)?;
    let wanted = EventFilter {
        chain: asked.chain,
        since: asked.since.map(|time| time.0),
        until: asked.until.map(|time| time.0),
        kind: asked.kind,
        outcome: asked.outcome,
        application: asked.application,
        user: asked.user.map(UserId),
    };
    let (service, _) = call.open();
    let listed = service.events_before(&wanted, from, asked.limit.0 as usize).await?;
    let items = listed.events.into_iter().map(EventEntry::from).collect();
    Ok(PlainBody(ListPage { items, next: listed.next.map(cursor) }))
}

#[derive(Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum FileFormat {
    /// JSON Lines, one event per line, with everything needed to verify them independently.
    #[default]
    Jsonl,
    /// CSV, for spreadsheets.
    Csv,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Exported {
    #[serde(default)]
    format: FileFormat,
    /// Only events at or after this time.
    since: Option<Time>,
    /// Only events before this time.
    until: Option<Time>,
    /// Only events of this kind.
    kind: Option<AuditKind>,
    /// The chain to export.
    #[serde(default)]
    chain: Chain,
}

async fn export(call: AdminCall, QueryParams(asked): QueryParams<Exported>) -> OperationResult<File> {
    let span = AuditRange {
        since: asked.since.map_or(Timestamp(0), |time| time.0),
        until: asked.until.map_or(Timestamp(i64::MAX), |time| time.0),
    };
    let format = match asked.format {
        FileFormat::Jsonl => ExportFormat::Jsonl,
        FileFormat::Csv => ExportFormat::Csv,
    };
    let kinds = asked.kind.map(|kind| kind.as_str().to_owned()).into_iter().collect();
    Ok(File(render::exported((call.manager, asked.chain), AuditExport::new(span, kinds, format), format)))
}

/// The result of verifying the audit.
#[derive(Serialize, JsonSchema)]
struct Verification {
    /// Whether no tampering was found.
    whole: bool,
    seals: u64,
    events: u64,
    /// Number of events about erased users.
    erased: u64,
    /// Number of events without an authentication code: written by an older version or by someone else.
    unattested: u64,
    /// Whether the only finding is that the database lost its newest seals, as recorded by a break.
    only_broken: bool,
    /// The newest seal.
    newest: i64,
    /// The newest seal covered by a signature.
    signed: i64,
    /// Whether there are events that are not sealed yet.
    waiting: bool,
    /// The findings.
    findings: Vec<String>,
    /// Number of further findings.
    more: usize,
    /// The result for the refusals chain. All other members are about the main chain.
    #[serde(skip_serializing_if = "Option::is_none")]
    refusals: Option<Box<Verification>>,
}

impl From<VerificationResult> for Verification {
    fn from(verdict: VerificationResult) -> Self {
        Self {
            whole: verdict.is_whole(),
            seals: verdict.seals,
            events: verdict.events,
            erased: verdict.erased,
            unattested: verdict.unattested.events,
            only_broken: verdict.is_only_broken(),
            newest: verdict.newest,
            signed: verdict.signed,
            waiting: verdict.waiting,
            findings: verdict.findings.iter().map(ToString::to_string).collect(),
            more: verdict.more,
            refusals: None,
        }
    }
}

async fn verify(mut call: AdminCall, (): ()) -> OperationResult<PlainBody<Verification>> {
    let manager = call.manager.clone();
    let (service, _) = call.open();
    let main = service.audit_reader(manager.master()).verify(&[], |_, _| {}).await?.map_err(AdminRefusal::from)?;
    let refusals = service.audit_reader_of(Chain::Refusals, manager.master()).await?;
    let refusals = refusals.verify(&[], |_, _| {}).await?.map_err(AdminRefusal::from)?;
    Ok(PlainBody(Verification { refusals: Some(Box::new(refusals.into())), ..main.into() }))
}
