//! `/audit`: what happened, the newest first.

use flows::admin::operations::Time;
use flows::admin::operations::audit::{EXPORT_EVENTS, EventQuery, ListEvents, VerifyAudit, position};
use flows::audit::{AuditExport, AuditRange, ChainPosition, EventFilter, ExportFormat};
use http::Method;
use model::audit::chain::Chain;
use model::audit::{AuditKind, AuditOutcome};
use model::{Timestamp, UserId};
use schemars::JsonSchema;
use serde::Deserialize;
use uuid::Uuid;

use crate::admin_api::input::{Cursor, Limit, QueryParams};
use crate::admin_api::operation::{AdminCall, Operation, bind, file_operation};
use crate::admin_api::output::{File, PlainBody};
use crate::admin_api::problem::Problem;
use crate::request::render;

pub(super) fn operations() -> Vec<Operation> {
    vec![
        bind::<ListEvents, _, _>(Method::GET, "/audit", |QueryParams(asked)| query(asked), PlainBody),
        file_operation(&EXPORT_EVENTS, "/audit/export", export),
        bind::<VerifyAudit, _, _>(Method::POST, "/audit/verification", |()| Ok(()), PlainBody),
    ]
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

fn place(cursor: &Cursor) -> Result<Option<ChainPosition>, Problem> {
    if cursor.0.is_empty() {
        return Ok(None);
    }
    position(&cursor.0).map(Some).ok_or_else(Cursor::unknown)
}

fn query(asked: Asked) -> Result<EventQuery, Problem> {
    let filter = EventFilter {
        chain: asked.chain,
        since: asked.since.map(|time| time.0),
        until: asked.until.map(|time| time.0),
        kind: asked.kind,
        outcome: asked.outcome,
        application: asked.application,
        user: asked.user.map(UserId),
    };
    Ok(EventQuery { filter, from: place(&asked.cursor)?, limit: asked.limit.0 })
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

fn export(call: AdminCall, QueryParams(asked): QueryParams<Exported>) -> File {
    let span = AuditRange {
        since: asked.since.map_or(Timestamp(0), |time| time.0),
        until: asked.until.map_or(Timestamp(i64::MAX), |time| time.0),
    };
    let format = match asked.format {
        FileFormat::Jsonl => ExportFormat::Jsonl,
        FileFormat::Csv => ExportFormat::Csv,
    };
    let kinds = asked.kind.map(|kind| kind.as_str().to_owned()).into_iter().collect();
    File(render::exported(call.manager, asked.chain, AuditExport::new(span, kinds, format), format))
}
