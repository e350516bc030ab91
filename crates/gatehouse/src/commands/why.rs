//! `gatehouse why`: explains a refusal by its reference.

use std::fmt::Write as _;

use anyhow::{Result, bail};
use flows::Platform as _;
use flows::admin::{AdminRefusal, AuditedEvent};
use model::audit::folding::FoldedRefusals;
use serde_json::{Value, json};

use crate::cli::Target;
use crate::commands::cli_session::{CliSession, granted, print};
use crate::config::Environment;
use crate::platform::SystemPlatform;

pub(super) async fn run(target: &Target, reference: &str, environment: Environment<'_>) -> Result<()> {
    let desk = CliSession::open(&target.installation, environment).await?;
    let admin = desk.admin(target).await?;
    let name = admin.instance.clone();
    let admin = &admin.service;
    let answer = admin.why(reference, SystemPlatform.now()).await;
    if let Ok(Err(AdminRefusal::Unknown(_))) = answer {
        bail!("no event found for reference {reference} in instance {name}: check the instance (--instance)");
    }
    let events = granted(answer)?;
    let texts: Vec<String> = events.iter().map(describe).collect();
    let list: Vec<Value> = events.iter().map(entry).collect();
    print(&target.output, &json!(list), &texts.join("\n"))
}

fn detail(event: &AuditedEvent) -> Option<Value> {
    event.detail.as_deref().and_then(|text| serde_json::from_str(text).ok())
}

pub(super) fn entry(event: &AuditedEvent) -> Value {
    json!({
        "id": event.id,
        "at": event.at.seconds(),
        "kind": event.kind,
        "outcome": event.outcome,
        "reason": event.reason,
        "application": event.application,
        "user": event.user,
        "login": event.login,
        "actor": event.actor,
        "token": event.token,
        "session": event.session,
        "address": event.address,
        "userAgent": event.user_agent,
        "earlierAddress": event.earlier_address,
        "earlierUserAgent": event.earlier_user_agent,
        "request": event.request,
        "detail": detail(event),
    })
}

/// One line for the event, one for each detail, and a mark below the first difference of two texts.
fn describe(event: &AuditedEvent) -> String {
    let mut text = format!("{}: {}", event.kind, event.outcome);
    if !event.reason.is_empty() {
        let _infallible = write!(text, " ({})", event.reason);
    }
    let known = [
        ("application", &event.application),
        ("user", &event.user),
        ("login", &event.login),
        ("actor", &event.actor),
        ("token", &event.token),
        ("session", &event.session),
        ("address", &event.address),
        ("earlier address", &event.earlier_address),
    ];
    for (name, value) in known {
        if let Some(value) = value {
            let _infallible = write!(text, "\n  {name:12} {value}");
        }
    }
    if let Some(folded) = FoldedRefusals::of(event) {
        let _infallible = write!(text, "\n  {folded}; the reference may belong to one of them");
    } else if let Some(detail) = detail(event) {
        describe_detail(&detail, &mut text);
    }
    text.push('\n');
    text
}

/// The check that failed, the values sent and expected, and every other detail of the event.
fn describe_detail(detail: &Value, text: &mut String) {
    let Some(members) = detail.as_object() else { return };
    let own = ["check", "rule", "sent", "expected"];
    let mut say = |name: &str, value: &str| {
        let _infallible = write!(text, "\n  {name:12} {value}");
    };
    for (name, label) in [("check", "failed check"), ("rule", "rule")] {
        if let Some(value) = detail[name].as_str() {
            say(label, value);
        }
    }
    for side in ["sent", "expected"] {
        for fact in detail[side].as_array().into_iter().flatten() {
            let [name, value] = ["name", "value"].map(|member| fact[member].as_str().unwrap_or_default());
            say(side, &format!("{name}: {value}"));
            if let Some(at) = fact["differs_at"].as_u64().and_then(|at| usize::try_from(at).ok()) {
                say("", &format!("{}^ differs here", " ".repeat(name.chars().count() + 2 + at)));
            }
        }
    }
    for (name, value) in members.iter().filter(|(name, _)| !own.contains(&name.as_str())) {
        say(name, &value.as_str().map_or_else(|| value.to_string(), str::to_owned));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_marked_below_the_character() {
        let detail = json!({
            "check": "the address is registered", "rule": "RFC 6749 §3.1.2.3",
            "sent": [{ "name": "redirect_uri", "value": "https://a/cB" }],
            "expected": [{ "name": "redirect_uri", "value": "https://a/cb", "differs_at": 11 }],
            "status": 400,
        });
        let mut text = String::new();
        describe_detail(&detail, &mut text);
        let lines: Vec<&str> = text.lines().skip(1).collect();
        assert_eq!(
            lines,
            [
                "  failed check the address is registered",
                "  rule         RFC 6749 §3.1.2.3",
                "  sent         redirect_uri: https://a/cB",
                "  expected     redirect_uri: https://a/cb",
                "                                        ^ differs here",
                "  status       400",
            ]
        );
        let caret = lines[4].find('^').expect("a mark");
        assert_eq!((&lines[2][caret..=caret], &lines[3][caret..=caret]), ("B", "b"));
    }
}
