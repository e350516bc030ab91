//! `/healthz` and `/readyz`, answered from memory: neither waits for the database.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use flows::server::health::{CheckState, CheckSubject, HealthCheck};
use http::{StatusCode, Uri};

use crate::request::context::AppState;
use crate::request::render;

/// Whether the answer names instances. The public endpoints only count them per kind of check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InstanceNames {
    Shown,
    Hidden,
}

pub(crate) fn router(names: InstanceNames) -> Router<Arc<AppState>> {
    Router::new()
        .route("/healthz", get(async || render::no_store(render::text(StatusCode::OK, "ok\n"))))
        .route("/readyz", get(async move |state, asked: Uri| ready(state, &asked, names)))
}

/// `?verbose` lists every check.
fn is_verbose(asked: &Uri) -> bool {
    asked.query().is_some_and(|query| query.split('&').any(|one| one == "verbose" || one.starts_with("verbose=")))
}

fn ready(State(state): State<Arc<AppState>>, asked: &Uri, names: InstanceNames) -> Response {
    let checks = state.server.health();
    let failed = checks.iter().find(|check| check.state == CheckState::Failed);
    let status = failed.map_or(StatusCode::OK, |_| StatusCode::SERVICE_UNAVAILABLE);
    let text = match (is_verbose(asked), failed) {
        (true, _) => listed(&checks, names),
        (false, None) => "ready\n".to_owned(),
        (false, Some(failed)) => format!("not ready: {} failed: {}\n", failed.name, failed.detail),
    };
    render::retry_later(render::text(status, text))
}

/// One line per check, in the format of Kubernetes: `[+]memory:erp ok`.
fn listed(checks: &[HealthCheck], names: InstanceNames) -> String {
    let mut text = String::new();
    let mut counted: Vec<&'static str> = Vec::new();
    for check in checks {
        match (&check.subject, names) {
            (CheckSubject::Server, _) => line(&mut text, check.name, "", check.state, &check.detail),
            (CheckSubject::Task(task), _) => line(&mut text, check.name, task, check.state, &check.detail),
            (CheckSubject::Instance(name), InstanceNames::Shown) => {
                line(&mut text, check.name, name, check.state, &check.detail);
            }
            (CheckSubject::Instance(_), InstanceNames::Hidden) if counted.contains(&check.name) => {}
            (CheckSubject::Instance(_), InstanceNames::Hidden) => {
                counted.push(check.name);
                count(&mut text, check.name, checks);
            }
        }
    }
    let failed = checks.iter().any(|check| check.state == CheckState::Failed);
    text + if failed { "not ready\n" } else { "ready\n" }
}

/// One line for all instances of a kind of check.
fn count(text: &mut String, name: &'static str, checks: &[HealthCheck]) {
    let all = || checks.iter().filter(|check| check.name == name);
    let worst = all().map(|check| check.state).max().unwrap_or(CheckState::Well);
    let ill = all().filter(|check| check.state != CheckState::Well).count();
    line(text, name, "", worst, &format!("{ill} of {} instances", all().count()));
}

fn line(text: &mut String, name: &str, of: &str, state: CheckState, detail: &str) {
    let colon = if of.is_empty() { "" } else { ":" };
    let written = match state {
        CheckState::Well => writeln!(text, "[+]{name}{colon}{of} ok"),
        CheckState::Impaired => writeln!(text, "[!]{name}{colon}{of} impaired: {detail}"),
        CheckState::Failed => writeln!(text, "[-]{name}{colon}{of} failed: {detail}"),
    };
    written.expect("a text takes everything");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &'static str, subject: CheckSubject, state: CheckState, detail: &str) -> HealthCheck {
        HealthCheck { name, subject, state, detail: detail.to_owned() }
    }

    #[test]
    fn every_check_is_a_line_and_instances_are_named_only_where_names_may_be_seen() {
        let instance = |name: &str| CheckSubject::Instance(name.to_owned());
        let checks = [
            check("database-writes", CheckSubject::Server, CheckState::Failed, "disk full for 3 s; make room"),
            check("memory", instance("erp"), CheckState::Well, ""),
            check("memory", instance("shop"), CheckState::Impaired, "behind"),
            check("task", CheckSubject::Task("seal"), CheckState::Well, ""),
        ];
        let shown = "[-]database-writes failed: disk full for 3 s; make room\n[+]memory:erp ok\n\
                     [!]memory:shop impaired: behind\n[+]task:seal ok\nnot ready\n";
        assert_eq!(listed(&checks, InstanceNames::Shown), shown);
        let hidden = "[-]database-writes failed: disk full for 3 s; make room\n\
                      [!]memory impaired: 1 of 2 instances\n[+]task:seal ok\nnot ready\n";
        assert_eq!(listed(&checks, InstanceNames::Hidden), hidden);
        assert_eq!(listed(&checks[1..2], InstanceNames::Hidden), "[+]memory ok\nready\n");
        assert_eq!(listed(&checks[2..3], InstanceNames::Shown), "[!]memory:shop impaired: behind\nready\n");
    }
}
