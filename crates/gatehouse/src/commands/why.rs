//! `gatehouse why`: what stands behind a reference.

use std::fmt::Write as _;

use anyhow::Result;
use flows::admin::AuditedEvent;
use serde_json::{Value, json};

use super::desk::{Desk, granted, print};
use crate::cli::Target;
use crate::config::Environment;

pub(super) async fn run(target: &Target, reference: &str, environment: Environment<'_>) -> Result<()> {
    let desk = Desk::open(&target.installation, environment).await?;
    let (_, office) = desk.office(target).await?;
    let events = granted(office.why(reference).await)?;
    let texts: Vec<String> = events.iter().map(describe).collect();
    let list: Vec<Value> = events.iter().map(entry).collect();
    print(&target.output, &json!(list), &texts.join("\n"))
}

fn detail(event: &AuditedEvent) -> Option<Value> {
    event.detail.as_deref().and_then(|text| serde_json::from_str(text).ok())
}

fn entry(event: &AuditedEvent) -> Value {
    json!({
        "at": event.at.seconds(),
        "kind": event.kind,
        "outcome": event.outcome,
        "reason": event.reason,
        "application": event.application,
        "user": event.user,
        "actor": event.actor,
        "token": event.token,
        "session": event.session,
        "address": event.address,
        "userAgent": event.user_agent,
        "detail": detail(event),
    })
}

/// One line for what happened, one for each thing that is known, and a mark under the first difference of two texts.
fn describe(event: &AuditedEvent) -> String {
    let mut text = format!("{}: {}", event.kind, event.outcome);
    if !event.reason.is_empty() {
        let _infallible = write!(text, ", because of {}", event.reason);
    }
    let known = [
        ("application", &event.application),
        ("user", &event.user),
        ("actor", &event.actor),
        ("token", &event.token),
        ("session", &event.session),
        ("address", &event.address),
    ];
    for (name, value) in known {
        if let Some(value) = value {
            let _infallible = write!(text, "\n  {name:12} {value}");
        }
    }
    if let Some(detail) = detail(event) {
        describe_detail(&detail, &mut text);
    }
    text.push('\n');
    text
}

fn describe_detail(detail: &Value, text: &mut String) {
    let Some(members) = detail.as_object() else { return };
    for (name, value) in members.iter().filter(|(name, _)| *name != "registered") {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let _infallible = write!(text, "\n  {name:12} {value}");
    }
    for registered in detail["registered"].as_array().into_iter().flatten() {
        let uri = registered["uri"].as_str().unwrap_or_default();
        let at = usize::try_from(registered["differs_at"].as_u64().unwrap_or_default()).unwrap_or_default();
        let _infallible = write!(text, "\n  {:12} {uri}\n  {:12} {}^ differs here", "registered", "", " ".repeat(at));
    }
}
