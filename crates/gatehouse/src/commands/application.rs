//! `gatehouse app`: application records and client secrets.

use anyhow::Result;
use flows::Platform as _;
use model::application::record::ApplicationRecord;
use model::{Moment, Timestamp};
use serde_json::{Value, json};
use web::SystemRng;

use crate::cli::Target;
use crate::commands::cli_session::{CliSession, granted, moment, print};
use crate::commands::table::table;
use crate::config::Environment;
use crate::output;
use crate::platform::SystemPlatform;

pub(super) async fn replace(target: &Target, record: ApplicationRecord, environment: Environment<'_>) -> Result<()> {
    let mut rng = SystemRng;
    let desk = CliSession::open(&target.installation, environment).await?;
    let admin = desk.admin(target).await?;
    let admin = &admin.service;
    let current = granted(admin.application(&record.application_uri).await)?;
    let (changed, warnings) = granted(admin.change_application(&current, record, &mut moment!(rng)).await)?;
    for warning in &warnings {
        output::note(format_args!("warning: {warning}\n"));
    }
    let json = json!({ "record": changed.to_record(), "warnings": warnings });
    print(&target.output, &json, &format!("Application {} replaced.", changed.uri))?;
    desk.database.close().await;
    Ok(())
}

pub(super) async fn secrets(target: &Target, uri: &str, environment: Environment<'_>) -> Result<()> {
    let desk = CliSession::open(&target.installation, environment).await?;
    let admin = desk.admin(target).await?;
    let admin = &admin.service;
    let application = granted(admin.application(uri).await)?;
    let now = SystemPlatform.now();
    let rows = application.secrets().iter().map(|secret| {
        let state = if secret.expires_at.is_some_and(|end| end <= now) { "expired" } else { "live" };
        let expires = secret.expires_at.map_or_else(|| "never".to_owned(), Timestamp::rfc3339);
        [secret.id.clone(), state.to_owned(), expires, secret.label.clone()]
    });
    let text = table(["secret", "state", "expires", "label"], rows);
    let list: Vec<Value> = application
        .secrets()
        .iter()
        .map(|secret| {
            json!({
                "id": secret.id, "label": secret.label, "createdAt": secret.created_at.seconds(),
                "expiresAt": secret.expires_at.map(Timestamp::seconds),
            })
        })
        .collect();
    print(&target.output, &json!(list), &text)
}

pub(super) async fn remove_secret(target: &Target, uri: &str, id: &str, environment: Environment<'_>) -> Result<()> {
    let mut rng = SystemRng;
    let desk = CliSession::open(&target.installation, environment).await?;
    let admin = desk.admin(target).await?;
    let admin = &admin.service;
    let application = granted(admin.application(uri).await)?;
    granted(admin.remove_secret(&application, id, &mut moment!(rng)).await)?;
    print(&target.output, &json!({ "application": uri, "secret": id }), &format!("Secret {id} of {uri} removed."))?;
    desk.database.close().await;
    Ok(())
}
