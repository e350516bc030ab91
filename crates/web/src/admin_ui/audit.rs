//! `/manage/audit`: events, newest first.

use std::collections::HashMap;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::RawQuery;
use axum::response::Response;
use flows::Fault;
use flows::admin::AuditedEvent;
use flows::audit::{AuditExport, AuditRange, ChainPosition, EventFilter, ExportFormat, VerificationResult};
use http::HeaderMap;
use model::audit::chain::Chain;
use model::audit::verify::AuditFinding;
use model::audit::{AuditKind, AuditOutcome};
use model::{Timestamp, UserId};
use oauth::params::Params;
use serde_json::Value;

use crate::admin_ui::{AdminPage, PageResult, ROWS, asked, at, day, id, refused};
use crate::pages::admin::{
    AdminSection, Cell, FieldInput, FormField, FormNotice, ListRow, PageContent, PageForm, PageLink, PageList, PagePart,
};
use crate::pages::profile::DisplayTime;
use crate::request::render;

const HERE: AdminSection = AdminSection::Audit;
pub(super) const COLUMNS: [&str; 8] =
    ["Time", "Event", "Outcome", "Application", "User", "Actor", "Address", "Details"];
const QUESTIONS: [&str; 7] = ["chain", "since", "until", "kind", "outcome", "application", "user"];

pub(super) async fn show(mut admin: AdminPage, RawQuery(query): RawQuery) -> Response {
    let answer = listed(&mut admin, &asked(query.as_deref())).await;
    admin.answer(answer)
}

async fn listed(admin: &mut AdminPage, asked: &Params) -> PageResult {
    let (wanted, problems) = wanted(admin, asked).await?;
    let (from, until) = (asked.get("from").and_then(place), wanted.until);
    let (service, _) = admin.open();
    let found = if problems.is_empty() { Some(service.events_before(&wanted, from, ROWS).await?) } else { None };
    let (mut events, next) = found.map(|found| (found.events, found.next)).unwrap_or_default();
    name_people(admin, &mut events).await?;
    let next = next.map(|ChainPosition { first, seal, event }| {
        let from = format!("{first}.{seal}.{event}");
        let same = QUESTIONS.into_iter().filter_map(|name| Some((name, asked.get(name)?)));
        let query: Vec<(&str, &str)> = same.chain([("from", from.as_str())]).collect();
        at(HERE.path(), &query)
    });
    // An export has all events of a period and kind, of every user.
    let exported = |format| {
        let same = ["chain", "since", "until", "kind"].into_iter().filter_map(|name| Some((name, asked.get(name)?)));
        at("/manage/audit/export", &same.chain([("format", format)]).collect::<Vec<_>>())
    };
    let list = PageList {
        caption: "Events, newest first",
        columns: COLUMNS.into(),
        rows: events.iter().map(line).collect(),
        empty: "No matching events in the range searched.",
        next,
        to: String::new(),
    };
    let content = PageContent {
        name: "manage-audit",
        title: "Audit".to_owned(),
        lead: "Sealed events. New events appear within a second.".to_owned(),
        // Live updates insert the newest events at the top.
        is_live: from.is_none() && until.is_none() && problems.is_empty(),
        links: vec![
            PageLink::new(AdminSection::Refusals.path(), "Look up a reference"),
            PageLink::new(exported("jsonl"), "Export as JSON Lines (verifiable)"),
            PageLink::new(exported("csv"), "Export as CSV"),
        ],
        parts: vec![
            PagePart::Form(questions(asked)),
            PagePart::List(list),
            PagePart::Heading("Integrity"),
            PagePart::Form(PageForm {
                to: HERE.path().to_owned(),
                is_question: false,
                hidden: vec![],
                fields: vec![],
                button: "Verify audit",
                is_grave: false,
                is_checked: false,
            }),
        ],
    };
    let said = if problems.is_empty() { FormNotice::Nothing } else { FormNotice::Refused(problems) };
    Ok(admin.page(HERE, content, said))
}

/// Adds the names of users. Events have only their ids, except for attempts to sign in.
pub(super) async fn name_people(admin: &mut AdminPage, events: &mut [AuditedEvent]) -> Result<(), Fault> {
    let (service, _) = admin.open();
    let mut known: HashMap<String, Option<String>> = HashMap::new();
    for event in events.iter_mut().filter(|event| event.login.is_none()) {
        let Some(user) = event.user.clone() else { continue };
        if !known.contains_key(&user) {
            let row = match id(Some(&user)) {
                Some(id) => service.user_by_id(UserId(id)).await?.ok(),
                None => None,
            };
            known.insert(user.clone(), row.map(|row| row.user.login.to_string()));
        }
        event.login = known.get(&user).cloned().flatten();
    }
    Ok(())
}

pub(super) async fn export(mut admin: AdminPage, RawQuery(query): RawQuery) -> Response {
    let asked = asked(query.as_deref());
    let (wanted, problems) = match wanted(&mut admin, &asked).await {
        Ok(wanted) => wanted,
        Err(fault) => return admin.answer(Err(fault.into())),
    };
    let format = match asked.get("format") {
        Some("jsonl") => ExportFormat::Jsonl,
        Some("csv") => ExportFormat::Csv,
        _ => return admin.gone(),
    };
    if !problems.is_empty() {
        return admin.gone();
    }
    let span =
        AuditRange { since: wanted.since.unwrap_or(Timestamp(0)), until: wanted.until.unwrap_or(Timestamp(i64::MAX)) };
    let kinds = wanted.kind.map(|kind| kind.as_str().to_owned()).into_iter().collect();
    render::exported(Arc::clone(&admin.manager), wanted.chain, AuditExport::new(span, kinds, format), format)
}

pub(super) async fn verify(mut admin: AdminPage, headers: HeaderMap, body: Body) -> Response {
    if let Err(page) = admin.form(&headers, body).await {
        return page;
    }
    let answer = verified(&mut admin).await;
    admin.answer(answer)
}

async fn verified(admin: &mut AdminPage) -> PageResult {
    let manager = &admin.manager;
    let mut parts = Vec::new();
    for (chain, heading) in [(Chain::Main, "Main chain"), (Chain::Refusals, "Refusals chain")] {
        let service = manager.service();
        let verdict = match service.audit_reader_of(chain, manager.master()).await?.verify(&[], |_, _| {}).await? {
            Ok(verdict) => verdict,
            Err(refusal) => return Ok(admin.page(HERE, outcome(vec![]), refused(refusal.into()))),
        };
        parts.push(PagePart::Heading(heading));
        parts.extend(told(&verdict));
    }
    Ok(admin.page(HERE, outcome(parts), FormNotice::Nothing))
}

/// The result for one chain.
fn told(verdict: &VerificationResult) -> Vec<PagePart> {
    let mut parts = vec![PagePart::Facts(vec![
        ("Events", Cell::text(verdict.events.to_string())),
        ("Events of erased users", Cell::text(verdict.erased.to_string())),
        ("Without authentication code", Cell::text(verdict.unattested.events.to_string())),
        ("Seals", Cell::text(verdict.seals.to_string())),
        ("Last signed seal", Cell::text(format!("{} of {}", verdict.signed, verdict.newest))),
    ])];
    parts.push(PagePart::Text(if verdict.is_whole() {
        "No tampering found.".to_owned()
    } else if verdict.is_only_broken() {
        "The database lost its newest seals. The audit continues after a recorded break.".to_owned()
    } else {
        format!("The audit was changed: {} findings.", verdict.findings.len() + verdict.more)
    }));
    let finding = |finding: &AuditFinding| ListRow { cells: vec![Cell::text(finding.to_string())], button: None };
    parts.extend((!verdict.is_whole()).then(|| {
        PagePart::List(PageList {
            caption: "Findings",
            columns: vec!["Finding"],
            rows: verdict.findings.iter().map(finding).collect(),
            empty: "",
            next: None,
            to: String::new(),
        })
    }));
    parts
}

fn outcome(parts: Vec<PagePart>) -> PageContent {
    PageContent {
        name: "manage-audit-verified",
        title: "Audit verification".to_owned(),
        lead: "Every event was rehashed, and every signature was checked.".to_owned(),
        is_live: false,
        links: vec![PageLink::new(HERE.path(), "Back to the audit")],
        parts,
    }
}

fn questions(asked: &Params) -> PageForm {
    let text = |name: &str| asked.get(name).unwrap_or_default().to_owned();
    let any = || std::iter::once((String::new(), "Any".to_owned()));
    let kinds = AuditKind::ALL.iter().map(|kind| (kind.as_str().to_owned(), kind.as_str().to_owned()));
    let outcomes = [AuditOutcome::Done, AuditOutcome::Refused];
    let outcomes = outcomes.map(|outcome| (outcome.as_str().to_owned(), outcome.as_str().to_owned()));
    let chains = [(String::new(), "Main".to_owned()), (Chain::Refusals.as_str().to_owned(), "Refusals".to_owned())];
    let day = |name, label| FormField { input: FieldInput::Day, ..FormField::line(name, label, "", text(name)) };
    PageForm {
        to: HERE.path().to_owned(),
        is_question: true,
        hidden: vec![],
        fields: vec![
            FormField::choice("chain", "Chain", chains, text("chain")),
            FormField::choice("kind", "Event", any().chain(kinds), text("kind")),
            FormField::choice("outcome", "Outcome", any().chain(outcomes), text("outcome")),
            FormField::line("application", "ApplicationUri", "", text("application")),
            FormField::line("user", "Login", "", text("user")),
            day("since", "After (UTC date)"),
            day("until", "Until (UTC date, inclusive)"),
        ],
        button: "Show",
        is_grave: false,
        is_checked: false,
    }
}

/// The filter from the query, and the errors in it.
async fn wanted(admin: &mut AdminPage, asked: &Params) -> Result<(EventFilter, Vec<String>), Fault> {
    let mut problems = Vec::new();
    let mut time = |name| match day(asked, name) {
        Ok(time) => time,
        Err(problem) => {
            problems.push(problem);
            None
        }
    };
    let (since, until) = (time("since"), time("until"));
    let kind = asked.get("kind").and_then(|text| AuditKind::ALL.iter().copied().find(|kind| kind.as_str() == text));
    let outcomes = [AuditOutcome::Done, AuditOutcome::Refused];
    let outcome = asked.get("outcome").and_then(|text| outcomes.into_iter().find(|outcome| outcome.as_str() == text));
    let mut user = None;
    if let Some(text) = asked.get("user").map(str::trim) {
        let (service, _) = admin.open();
        match (id(Some(text)), service.user_by_name(text).await?) {
            (Some(id), _) => user = Some(UserId(id)),
            (None, Ok(row)) => user = Some(row.user.id),
            (None, Err(refusal)) => problems.push(refusal.to_string()),
        }
    }
    let application = asked.get("application").map(|uri| uri.trim().to_owned());
    let chain = asked.get("chain").and_then(Chain::parse).unwrap_or_default();
    Ok((EventFilter { chain, since, until, kind, outcome, application, user }, problems))
}

/// Parses three numbers with dots between them.
fn place(text: &str) -> Option<ChainPosition> {
    let mut numbers = text.split('.');
    let (first, seal, event) = (numbers.next()?, numbers.next()?, numbers.next()?);
    Some(ChainPosition { first: first.parse().ok()?, seal: seal.parse().ok()?, event: event.parse().ok()? })
}

pub(super) fn line(event: &AuditedEvent) -> ListRow {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let about = event.login.clone().or_else(|| event.user.clone()).unwrap_or_default();
    let about = match &event.user {
        Some(id) => Cell::text(about).link(format!("{}/{id}", AdminSection::Users.path())),
        None => Cell::text(about),
    };
    let more = match &event.request {
        Some(reference) => Cell::text("all events of this request")
            .link(at(AdminSection::Refusals.path(), &[("reference", reference)])),
        None => Cell::text(summary(event)),
    };
    ListRow {
        cells: vec![
            Cell::time(DisplayTime(event.at)),
            Cell::text(format!("{}{}", event.kind, what(event))),
            Cell::text(if event.reason.is_empty() {
                event.outcome.clone()
            } else {
                format!("{}: {}", event.outcome, event.reason)
            }),
            Cell::code(text(&event.application)),
            about,
            Cell::text(text(&event.actor)),
            Cell::code(text(&event.address)),
            more,
        ],
        button: None,
    }
}

pub(super) fn detail(event: &AuditedEvent) -> Option<Value> {
    event.detail.as_deref().and_then(|text| serde_json::from_str(text).ok())
}

/// The kind of event; for an administrator's change, the kind of change.
fn what(event: &AuditedEvent) -> String {
    let known = detail(event).and_then(|detail| detail["what"].as_str().map(str::to_owned));
    known.map(|what| format!(": {what}")).unwrap_or_default()
}

fn summary(event: &AuditedEvent) -> String {
    let subject = detail(event).and_then(|detail| detail["subject"].as_str().map(str::to_owned));
    subject.unwrap_or_default()
}
