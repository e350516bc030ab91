//! `gatehouse user show` and `set`.

use anyhow::Result;
use flows::Platform as _;
use flows::admin::UserRow;
use model::Moment;
use model::user::PersonRecord;
use serde_json::{Value, json};
use web::SystemRng;

use crate::cli::{Target, UserChanges};
use crate::commands::cli_session::{CliSession, granted, moment, print};
use crate::config::Environment;
use crate::platform::SystemPlatform;

pub(super) async fn show(target: &Target, login: &str, environment: Environment<'_>) -> Result<()> {
    let desk = CliSession::open(&target.installation, environment).await?;
    let (_, admin) = desk.admin(target).await?;
    let row = granted(admin.user_by_name(login).await)?;
    print(&target.output, &entry(&row), &text(&row))
}

pub(super) async fn change(
    target: &Target,
    login: &str,
    changes: UserChanges,
    environment: Environment<'_>,
) -> Result<()> {
    let mut rng = SystemRng;
    let desk = CliSession::open(&target.installation, environment).await?;
    let (_, admin) = desk.admin(target).await?;
    let current = granted(admin.user_by_name(login).await)?;
    let mut record = PersonRecord::of(&current.user, current.role.as_deref());
    let UserChanges { name, email, role, email_verified, language, administrator } = changes;
    record.name = name.unwrap_or(record.name);
    record.is_admin = administrator.unwrap_or(record.is_admin);
    if let Some(address) = email {
        record.email_verified &= record.email.as_deref() == Some(address.as_str());
        record.email = Some(address).filter(|address| !address.is_empty());
    }
    record.email_verified = email_verified.unwrap_or(record.email_verified);
    if let Some(tag) = language {
        record.preferred_language = Some(tag).filter(|tag| !tag.is_empty());
    }
    if let Some(role) = role {
        record.role = Some(role).filter(|role| !role.is_empty());
    }
    let row = granted(admin.change_user(&current, record, None, &mut moment!(rng)).await)?;
    print(&target.output, &entry(&row), &text(&row))?;
    desk.database.close().await;
    Ok(())
}

fn entry(row: &UserRow) -> Value {
    let mut entry = json!(PersonRecord::of(&row.user, row.role.as_deref()));
    entry["id"] = json!(row.user.id.0);
    entry["login"] = json!(row.user.login.as_str());
    entry["userType"] = json!(row.user.user_type);
    entry["hasPassword"] = json!(row.has_password);
    entry["hasSecondFactor"] = json!(row.user.has_second_factor);
    entry
}

fn text(row: &UserRow) -> String {
    let user = &row.user;
    let email = user.email.as_ref().map_or("none".to_owned(), |email| {
        format!("{}{}", email.address, if email.verified { ", verified" } else { ", not verified" })
    });
    let lines = [
        ("login", user.login.to_string()),
        ("id", user.id.to_string()),
        ("name", user.name.clone()),
        ("type", user.user_type.as_str().to_owned()),
        ("e-mail", email),
        ("role", row.role.clone().unwrap_or_else(|| "none".to_owned())),
        ("language", user.locale.clone().unwrap_or_else(|| "browser language".to_owned())),
        ("administrator", if user.is_admin() { "yes" } else { "no" }.to_owned()),
        ("password", if row.has_password { "set" } else { "not set" }.to_owned()),
        ("second factor", if user.has_second_factor { "set up" } else { "none" }.to_owned()),
        ("state", if user.enabled { "enabled" } else { "disabled" }.to_owned()),
    ];
    lines.map(|(name, value)| format!("{name:14} {value}")).join("\n")
}
