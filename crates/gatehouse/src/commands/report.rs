//! `gatehouse report`: usage reports.

use anyhow::Result;
use flows::admin::legacy_report::ApplicationUse;
use flows::admin::legacy_report::LegacyReport;
use model::Timestamp;
use serde_json::{Value, json};

use crate::cli::ReportCommand;
use crate::commands::cli_session::{CliSession, print};
use crate::config::Environment;

pub(super) async fn run(command: ReportCommand, environment: Environment<'_>) -> Result<()> {
    match command {
        ReportCommand::Legacy { target } => {
            let desk = CliSession::open(&target.installation, environment).await?;
            let admin = desk.admin(&target).await?;
            let admin = &admin.service;
            let report = admin.legacy_report().await?;
            print(&target.output, &as_json(&report), &as_text(&report))?;
            desk.database.close().await;
        }
    }
    Ok(())
}

/// Times are seconds since 1970, as in tokens.
fn as_json(report: &LegacyReport) -> Value {
    let applications: Vec<Value> = report
        .applications
        .iter()
        .map(|one| {
            let people: Vec<Value> = one
                .people
                .iter()
                .map(|(login, seen)| {
                    json!({
                        "login": login.as_str(), "uses": seen.uses,
                        "firstUsedAt": seen.first_at.seconds(), "lastUsedAt": seen.last_at.seconds(),
                    })
                })
                .collect();
            json!({
                "application": one.application, "scheme": one.scheme.as_str(), "uses": one.uses, "users": one.users,
                "firstUsedAt": one.first_at.seconds(), "lastUsedAt": one.last_at.seconds(), "people": people,
            })
        })
        .collect();
    json!({
        "switchedOn": report.switched_on, "sunset": report.sunset, "applications": applications,
        "unused": report.unused,
    })
}

fn as_text(report: &LegacyReport) -> String {
    let state = match (report.switched_on, report.sunset) {
        (false, _) => "Basic and ErpLogin are disabled.".to_owned(),
        (true, None) => "Basic and ErpLogin are enabled, with no end date.".to_owned(),
        (true, Some(day)) => format!("Basic and ErpLogin are enabled until {day}."),
    };
    let mut lines = vec![state];
    if report.applications.is_empty() {
        lines.push("They have not been used.".to_owned());
    }
    lines.extend(report.applications.iter().map(line));
    if !report.unused.is_empty() {
        lines.push(format!("Allowed but never used: {}", report.unused.join(", ")));
    }
    lines.join("\n")
}

fn line(one: &ApplicationUse) -> String {
    const MAX_NAMED: usize = 5;
    let mut people: Vec<&str> = one.people.iter().take(MAX_NAMED).map(|(login, _)| login.as_str()).collect();
    if one.users > people.len() as u64 {
        people.push("…");
    }
    format!(
        "{:32} {:8} {:>8} uses  {} to {}  {} users: {}",
        one.application,
        one.scheme.as_str(),
        one.uses,
        day(one.first_at),
        day(one.last_at),
        one.users,
        people.join(", ")
    )
}

/// A date in UTC.
fn day(at: Timestamp) -> String {
    odata::format_instant(at.micros()).chars().take(10).collect()
}
