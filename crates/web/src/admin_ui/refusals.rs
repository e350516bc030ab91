//! `/manage/refusals`: the reason for a refusal, by its reference.

use axum::extract::RawQuery;
use axum::response::Response;
use flows::admin::AuditedEvent;
use model::audit::folding::FoldedRefusals;
use serde_json::Value;

use crate::admin_ui::{AdminPage, PageResult, asked, audit, refused};
use crate::pages::admin::{AdminSection, Cell, FormField, FormNotice, PageContent, PageForm, PagePart};
use crate::pages::profile::DisplayTime;

const HERE: AdminSection = AdminSection::Refusals;

pub(super) async fn show(mut admin: AdminPage, RawQuery(query): RawQuery) -> Response {
    let answer = looked_up(&mut admin, asked(query.as_deref()).get("reference")).await;
    admin.answer(answer)
}

async fn looked_up(admin: &mut AdminPage, reference: Option<&str>) -> PageResult {
    let search = PageForm {
        to: HERE.path().to_owned(),
        is_question: true,
        hidden: vec![],
        fields: vec![
            FormField::line(
                "reference",
                "Reference",
                "The 32 characters shown on the error page or in the X-Request-Id response header.",
                reference.unwrap_or_default(),
            )
            .required(),
        ],
        button: "Look up",
        is_grave: false,
        is_checked: false,
    };
    let mut parts = vec![PagePart::Form(search)];
    let mut said = FormNotice::Nothing;
    if let Some(reference) = reference {
        let (service, moment) = admin.open();
        match service.why(reference, moment.now).await? {
            Ok(events) => parts.extend(events.iter().flat_map(told)),
            Err(refusal) => said = refused(refusal),
        }
    }
    let content = PageContent {
        name: "manage-refusals",
        title: HERE.name().to_owned(),
        lead: "Look up a refusal by its reference to see the failed check, what was sent and what was expected."
            .to_owned(),
        is_live: false,
        links: vec![],
        parts,
    };
    Ok(admin.page(HERE, content, said))
}

/// A rule without file names: `docs/tokens.md, Signing in` becomes `Documentation: tokens, Signing in`.
fn rule_shown(rule: &str) -> String {
    rule.replace("docs/", "Documentation: ").replace(".md", "")
}

/// One event as facts. Differences between two texts are marked.
fn told(event: &AuditedEvent) -> [PagePart; 2] {
    let outcome =
        if event.reason.is_empty() { event.outcome.clone() } else { format!("{}: {}", event.outcome, event.reason) };
    let mut facts = vec![
        ("Event", Cell::text(&event.kind)),
        ("Outcome", Cell::text(outcome)),
        ("Time", Cell::time(DisplayTime(event.at))),
    ];
    let folded = FoldedRefusals::of(event);
    facts.extend(folded.map(|folded| ("Summary", Cell::text(folded.to_string()))));
    let detail = audit::detail(event).filter(|_| folded.is_none()).unwrap_or(Value::Null);
    facts.extend(detail["check"].as_str().map(|check| ("Failed check", Cell::text(check))));
    facts.extend(detail["rule"].as_str().map(|rule| ("Rule", Cell::text(rule_shown(rule)))));
    for (side, label) in [("sent", "Sent"), ("expected", "Expected")] {
        for fact in detail[side].as_array().into_iter().flatten() {
            let [name, value] = ["name", "value"].map(|member| fact[member].as_str().unwrap_or_default());
            let differs = fact["differs_at"].as_u64().and_then(|at| usize::try_from(at).ok());
            let text = format!("{name}: {value}");
            let differs_at = differs.map(|at| name.chars().count() + 2 + at);
            facts.push((label, Cell { differs_at, ..Cell::code(text) }));
        }
    }
    let rest = detail.as_object().into_iter().flatten();
    let own = ["check", "rule", "sent", "expected"];
    for (name, value) in rest.filter(|(name, _)| !own.contains(&name.as_str())) {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        facts.push(("Details", Cell::code(format!("{name}: {value}"))));
    }
    let known = [
        ("Application", &event.application),
        ("Login", &event.login),
        ("User", &event.user),
        ("Actor", &event.actor),
        ("Token", &event.token),
        ("Session", &event.session),
        ("Address", &event.address),
        ("Browser", &event.user_agent),
        ("Earlier address", &event.earlier_address),
        ("Earlier browser", &event.earlier_user_agent),
    ];
    facts.extend(known.into_iter().filter_map(|(label, value)| Some((label, Cell::code(value.as_deref()?)))));
    let heading = match event.outcome.as_str() {
        _ if folded.is_some() => "Similar refusals",
        "refused" => "Refused",
        _ => "Done",
    };
    [PagePart::Heading(heading), PagePart::Facts(facts)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_names_no_file() {
        for (rule, shown) in [
            ("docs/tokens.md, Signing in", "Documentation: tokens, Signing in"),
            ("docs/admin-api.md, Recent sign-in; RFC 9470", "Documentation: admin-api, Recent sign-in; RFC 9470"),
            ("RFC 6749 §3.1.2.3", "RFC 6749 §3.1.2.3"),
        ] {
            assert_eq!(rule_shown(rule), shown);
        }
    }
}
