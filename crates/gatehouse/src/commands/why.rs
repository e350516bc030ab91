//! `gatehouse why`: explains a refusal by its reference.

use std::fmt::Write as _;

use anyhow::{Result, bail};
use flows::admin::AdminRefusal;
use flows::admin::operations::audit::{EventEntry, GetRefusal};
use model::audit::folding::FoldedRefusals;
use serde_json::Value;

use crate::cli::Target;
use crate::commands::cli_session::{CliSession, print_answer};
use crate::config::Environment;

pub(super) async fn run(target: &Target, reference: &str, environment: Environment<'_>) -> Result<()> {
    let desk = CliSession::open(&target.installation, environment).await?;
    let admin = desk.admin(target).await?;
    let events = match admin.answer::<GetRefusal>(reference.to_owned()).await? {
        Ok(events) => events.items,
        Err(AdminRefusal::Unknown(_)) => {
            let name = &admin.instance;
            bail!("no event found for reference {reference} in instance {name}: check the instance (--instance)");
        }
        Err(refusal) => bail!("{refusal}"),
    };
    let texts: Vec<String> = events.iter().map(describe).collect();
    print_answer(&target.output, "why", &events, &texts.join("\n"))
}

/// One line for the event, one for each detail, and a mark below the first difference of two texts.
fn describe(event: &EventEntry) -> String {
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
    if let Some(folded) = event.detail.as_ref().and_then(FoldedRefusals::of_detail) {
        let _infallible = write!(text, "\n  {folded}; the reference may belong to one of them");
    } else if let Some(detail) = &event.detail {
        describe_detail(detail, &mut text);
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
    use serde_json::json;

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
