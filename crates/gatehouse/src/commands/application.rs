//! `gatehouse app`: application records and client secrets.

use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use flows::admin::merge_patch::MergePatch;
use flows::admin::operations::applications::{
    AddSecret, ApplicationChange, ApplicationEntry, ApplicationQuery, ApplicationReplacement, CreateApplication,
    GetApplication, ListApplications, PatchApplication, RemoveSecret, ReplaceApplication, SecretEntry, SecretFor,
    SecretOf, SecretWish,
};
use flows::admin::operations::{ExpectedVersion, Time};
use model::application::record::ApplicationRecord;
use model::{ApplicationId, Timestamp};
use serde_json::{Map, Value, json};

use crate::cli::AppCommand;
use crate::commands::cli_session::{CliAdmin, CliSession, granted, print, print_answer, print_answer_to};
use crate::commands::table::table;
use crate::config::Environment;
use crate::output;

/// Maximum size of a record's file; a record is a few kilobytes.
const LARGEST_RECORD: u64 = 1024 * 1024;

/// Applications fetched with one query.
const AT_ONCE: u32 = 500;

const DAY: Duration = Duration::from_hours(24);

pub(super) async fn run(command: AppCommand, environment: Environment<'_>) -> Result<()> {
    let desk = CliSession::open(&command.target().installation, environment).await?;
    let admin = desk.admin(command.target()).await?;
    match command {
        AppCommand::Create { target, record } => {
            let new = admin.run::<CreateApplication>(read_record(&record)?).await?;
            warn(&new.application);
            let uri = &new.application.record.application_uri;
            let text = match &new.secret {
                None => format!("Application {uri} registered."),
                Some(secret) => {
                    format!("Application {uri} registered. Its client secret, shown only once:\n\n  {secret}\n")
                }
            };
            print_answer(&target.output, "app create", &new, &text)?;
        }
        AppCommand::Show { target, uri } => {
            let application = admin.run::<GetApplication>(find(&admin, &uri).await?).await?;
            for problem in &application.problems {
                output::note(format_args!("needs repair (disabled until then): {problem}\n"));
            }
            let text = serde_json::to_string_pretty(&application.record)?;
            print_answer(&target.output, "app show", &application, &text)?;
        }
        AppCommand::Replace { target, record } => {
            let record = read_record(&record)?;
            let id = find(&admin, &record.application_uri).await?;
            let replacement = ApplicationReplacement { id, expected: ExpectedVersion::Any, record };
            let application = admin.run::<ReplaceApplication>(replacement).await?;
            warn(&application);
            let text = format!("Application {} replaced.", application.record.application_uri);
            print_answer(&target.output, "app replace", &application, &text)?;
        }
        AppCommand::Secrets { target, uri } => {
            let secrets = admin.run::<GetApplication>(find(&admin, &uri).await?).await?.secrets;
            let now = admin.now;
            let rows = secrets.iter().map(|secret| row_of_secret(secret, now));
            print_answer(
                &target.output,
                "app secrets",
                &secrets,
                &table(["secret", "state", "expires", "label"], rows),
            )?;
        }
        AppCommand::AddSecret { target, uri, label, expires_in } => {
            let expires_at = expires_in.map(|days| Time(admin.now.plus(DAY * days)));
            let given = json!({ "application": uri, "label": label });
            let wish = SecretWish { label, expires_at };
            let added = admin.run::<AddSecret>(SecretFor { application: find(&admin, &uri).await?, wish }).await?;
            let text = format!("New client secret for {uri}, shown only once:\n\n  {}\n", added.secret);
            print_answer_to(&target.output, "app add-secret", &given, &added, &text)?;
        }
        AppCommand::RemoveSecret { target, uri, secret } => {
            let of = SecretOf { application: find(&admin, &uri).await?, secret: secret.clone() };
            admin.run::<RemoveSecret>(of).await?;
            let said = json!({ "application": uri, "secret": secret });
            print(&target.output, &said, &format!("Secret {secret} of {uri} removed."))?;
        }
        AppCommand::Disable { target, uri } => {
            let application = switch(&admin, &uri, false).await?;
            let text = format!("Application {uri} disabled. None of its tokens works any more.");
            print_answer(&target.output, "app disable", &application, &text)?;
        }
        AppCommand::Enable { target, uri } => {
            let application = switch(&admin, &uri, true).await?;
            let text = format!(
                "Application {uri} enabled. Access and refresh tokens issued before stay revoked; reference tokens work again."
            );
            print_answer(&target.output, "app enable", &application, &text)?;
        }
        AppCommand::List { target } => {
            let applications = list(&admin).await?;
            let text = table(["application", "type", "state", "name"], applications.iter().map(row));
            print_answer(&target.output, "app list", &applications, &text)?;
        }
    }
    desk.database.close().await;
    Ok(())
}

async fn find(admin: &CliAdmin<'_>, uri: &str) -> Result<ApplicationId> {
    Ok(granted(admin.service.application(uri).await)?.id)
}

async fn switch(admin: &CliAdmin<'_>, uri: &str, is_enabled: bool) -> Result<ApplicationEntry> {
    let changes = MergePatch::new(Map::from_iter([("IsEnabled".to_owned(), is_enabled.into())]));
    let change = ApplicationChange { id: find(admin, uri).await?, expected: ExpectedVersion::Any, changes };
    admin.run::<PatchApplication>(change).await
}

async fn list(admin: &CliAdmin<'_>) -> Result<Vec<ApplicationEntry>> {
    let mut all: Vec<ApplicationEntry> = Vec::new();
    loop {
        let after = all.last().map(|last| last.record.application_uri.clone()).unwrap_or_default();
        let page = admin.run::<ListApplications>(ApplicationQuery { uri: None, after, limit: AT_ONCE }).await?;
        all.extend(page.items);
        if page.next.is_none() {
            return Ok(all);
        }
    }
}

fn warn(application: &ApplicationEntry) {
    for warning in &application.warnings {
        output::note(format_args!("warning: {warning}\n"));
    }
}

fn row(application: &ApplicationEntry) -> [String; 4] {
    let record = &application.record;
    let state = match record.is_enabled {
        _ if !application.problems.is_empty() => "needs repair",
        true => "enabled",
        false => "disabled",
    };
    let kind = format!("{:?}", record.client_type);
    [record.application_uri.clone(), kind, state.to_owned(), record.name.clone()]
}

fn row_of_secret(secret: &SecretEntry, now: Timestamp) -> [String; 4] {
    let state = if secret.expires_at.is_some_and(|end| end.0 <= now) { "expired" } else { "live" };
    let expires = secret.expires_at.map_or_else(|| "never".to_owned(), |end| end.0.rfc3339());
    [secret.id.clone(), state.to_owned(), expires, secret.label.clone()]
}

fn read_record(path: &Path) -> Result<ApplicationRecord> {
    let mut text = String::new();
    if path == Path::new("-") {
        std::io::stdin().take(LARGEST_RECORD).read_to_string(&mut text)?;
    } else {
        let file = std::fs::File::open(path).with_context(|| format!("{} cannot be read", path.display()))?;
        file.take(LARGEST_RECORD).read_to_string(&mut text)?;
    }
    let invalid = || format!("{} is not a valid application record", path.display());
    let mut record: Value = serde_json::from_str(&text).with_context(invalid)?;
    // The answer of `app show --json` has the record inside.
    if let Some(inner) = record.get_mut("record") {
        record = inner.take();
    }
    serde_json::from_value(record).with_context(invalid)
}
