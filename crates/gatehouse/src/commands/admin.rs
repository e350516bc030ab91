//! Administration commands. They may run beside a server, which learns of changes by the change feed.

use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use flows::Platform as _;
use flows::admin::operations::users::{CreateSetUpLink, CreateUser, NewUserRequest};
use flows::admin::{ElevatedAdminService, create_instance, draw_secret, parse_login};
use model::application::record::{ApplicationRecord, RecordClientType};
use model::{InstanceSettings, Moment, UserId, UserType};
use oauth::secret::Presented;
use serde_json::json;
use web::SystemRng;

use crate::cli::{AppCommand, InstanceCommand, Output, Target};
use crate::commands::cli_session::{CliSession, granted, moment, print, print_answer};
use crate::commands::table::table;
use crate::config::Environment;
use crate::output;
use crate::platform::SystemPlatform;

/// Maximum size of a record's file; a record is a few kilobytes.
const LARGEST_RECORD: u64 = 1024 * 1024;

pub(super) async fn instance(command: InstanceCommand, environment: Environment<'_>) -> Result<()> {
    let mut rng = SystemRng;
    match command {
        InstanceCommand::Create { installation, name, administrator, seats, output } => {
            let desk = CliSession::begin(&installation, &name, environment).await?;
            let mut moment = moment!(rng);
            // Checked before anything is created: an instance without an administrator is of no use.
            granted(Ok(parse_login(&administrator)))?;
            let settings = InstanceSettings { seats, ..InstanceSettings::default() };
            granted(create_instance((&desk.database, &desk.master), &name, &settings, &mut moment).await)?;
            let admin = desk.admin_of(name).await?;
            let user = NewUserRequest {
                login: administrator,
                user_type: UserType::Internal,
                name: None,
                email: None,
                is_admin: true,
                role: None,
                is_active: true,
            };
            let user = admin.run::<CreateUser>(user).await?;
            let link = admin.run::<CreateSetUpLink>(UserId(user.id)).await?;
            let (name, administrator) = (&admin.instance, &user.login);
            let url = link.url.as_deref().unwrap_or_default();
            let text = format!(
                "Instance {name} created. Set-up link for {administrator} (works once, valid for 24 hours):\n\n  {url}\n"
            );
            let answer = json!({ "instance": name, "administrator": administrator, "link": link });
            print_answer(&output, "instance create", &answer, &text)?;
            desk.database.close().await;
        }
        InstanceCommand::Set { installation, name, setting: (setting, value), output } => {
            let desk = CliSession::open(&installation, environment).await?;
            let admin = granted(ElevatedAdminService::open(&desk.database, &desk.master, &name).await)?;
            let changed = granted(admin.change_setting((&setting, &value), &mut moment!(rng)).await)?;
            print(&output, &serde_json::to_value(changed)?, &format!("Setting {setting} of {name} changed."))?;
            desk.database.close().await;
        }
        InstanceCommand::Show { installation, name, output } => {
            let desk = CliSession::open(&installation, environment).await?;
            let admin = granted(ElevatedAdminService::open(&desk.database, &desk.master, &name).await)?;
            let settings = serde_json::to_value(admin.settings().await?)?;
            let rows =
                settings.as_object().into_iter().flatten().map(|(name, value)| [name.clone(), value.to_string()]);
            print(&output, &settings, &table(["setting", "value"], rows))?;
        }
        InstanceCommand::RotateSecret { installation, name, yes, output } => {
            let desk = CliSession::open(&installation, environment).await?;
            let admin = granted(ElevatedAdminService::open(&desk.database, &desk.master, &name).await)?;
            rotate_secret(&desk, &admin, &name, yes, &output).await?;
            desk.database.close().await;
        }
        InstanceCommand::List { installation, output } => {
            let desk = CliSession::open(&installation, environment).await?;
            let names = flows::admin::instances(&desk.database).await?;
            print(&output, &json!(names), &names.join("\n"))?;
        }
    }
    Ok(())
}

async fn rotate_secret(
    desk: &CliSession,
    admin: &ElevatedAdminService<'_>,
    name: &str,
    yes: bool,
    output: &Output,
) -> Result<()> {
    let mut rng = SystemRng;
    let mut moment = moment!(rng);
    if yes {
        granted(admin.rotate_root_secret(&desk.master, &mut moment).await)?;
        let json = json!({ "instance": name, "rotated": true });
        let text = format!("Root secret of {name} replaced. All refresh tokens issued before are invalid.");
        return print(output, &json, &text);
    }
    let preview = admin.preview_root_secret(&moment).await.context("database error")?;
    let json = json!({
        "instance": name, "rotated": false,
        "refreshTokens": preview.refresh_tokens, "liveSessions": preview.live_sessions,
    });
    let text = format!(
        "Replacing the root secret of {name} immediately invalidates\n  \
         {} refresh tokens: applications must sign users in again\n  \
         every ErpSession: legacy clients must log in again\n  \
         open forms: users must reload the page, or start again at the application\n  \
         sign-ins waiting for the second step, and passkeys and authenticator apps being added\n\
         Access tokens stay valid until they expire (`gatehouse key replace` invalidates them), as do {} API sessions.\n\
         Sign-ins, passwords, authenticator apps, passkeys, recovery codes, links and reference tokens stay valid.\n\
         Nothing was changed. Repeat with --yes to apply.",
        preview.refresh_tokens, preview.live_sessions
    );
    print(output, &json, &text)
}

pub(super) async fn application(command: AppCommand, environment: Environment<'_>) -> Result<()> {
    let mut rng = SystemRng;
    match command {
        AppCommand::Create { target, record } => {
            let desk = CliSession::open(&target.installation, environment).await?;
            let admin = desk.admin(&target).await?;
            let admin = &admin.service;
            let record = read_record(&record)?;
            let mut moment = moment!(rng);
            let secret = (record.client_type == RecordClientType::Confidential).then(|| draw_secret(&mut moment));
            let (application, warnings) =
                granted(admin.create_application(record, secret.as_ref(), &mut moment).await)?;
            for warning in &warnings {
                output::note(format_args!("warning: {warning}\n"));
            }
            let secret = secret.as_ref().map(Presented::expose);
            let shown = json!({ "record": application.to_record(), "secret": secret, "warnings": warnings });
            let text = match secret {
                None => format!("Application {} registered.", application.uri),
                Some(secret) => format!(
                    "Application {} registered. Its client secret, shown only once:\n\n  {secret}\n",
                    application.uri
                ),
            };
            print(&target.output, &shown, &text)?;
            desk.database.close().await;
        }
        AppCommand::Show { target, uri } => {
            let desk = CliSession::open(&target.installation, environment).await?;
            let admin = desk.admin(&target).await?;
            let admin = &admin.service;
            let application = granted(admin.application(&uri).await)?;
            for problem in application.problems() {
                output::note(format_args!("needs repair (disabled until then): {problem}\n"));
            }
            let record = serde_json::to_value(application.to_record())?;
            print(&target.output, &record, &serde_json::to_string_pretty(&record)?)?;
        }
        AppCommand::Replace { target, record } => {
            super::application::replace(&target, read_record(&record)?, environment).await?;
        }
        AppCommand::RemoveSecret { target, uri, secret } => {
            super::application::remove_secret(&target, &uri, &secret, environment).await?;
        }
        AppCommand::Secrets { target, uri } => super::application::secrets(&target, &uri, environment).await?,
        AppCommand::Disable { target, uri } => set_application_enabled(&target, &uri, false, environment).await?,
        AppCommand::Enable { target, uri } => set_application_enabled(&target, &uri, true, environment).await?,
        AppCommand::AddSecret { target, uri, label, expires_in } => {
            const DAY: Duration = Duration::from_hours(24);
            let desk = CliSession::open(&target.installation, environment).await?;
            let admin = desk.admin(&target).await?;
            let admin = &admin.service;
            let mut moment = moment!(rng);
            let expires_at = expires_in.map(|days| moment.now.plus(DAY * days));
            let secret = granted(admin.add_secret(&uri, (&label, expires_at), &mut moment).await)?;
            let text = format!("New client secret for {uri}, shown only once:\n\n  {}\n", secret.expose());
            print(&target.output, &json!({ "application": uri, "label": label, "secret": secret.expose() }), &text)?;
            desk.database.close().await;
        }
        AppCommand::List { target } => {
            let desk = CliSession::open(&target.installation, environment).await?;
            let admin = desk.admin(&target).await?;
            let admin = &admin.service;
            let applications = admin.applications().await?;
            let records: Vec<ApplicationRecord> =
                applications.iter().map(model::TrustedApplication::to_record).collect();
            let rows = applications.iter().zip(&records).map(|(application, record)| {
                let state = match application.enabled {
                    _ if !application.problems().is_empty() => "needs repair",
                    true => "enabled",
                    false => "disabled",
                };
                let kind = format!("{:?}", record.client_type);
                [record.application_uri.clone(), kind, state.to_owned(), record.name.clone()]
            });
            let text = table(["application", "type", "state", "name"], rows);
            print(&target.output, &json!(records), &text)?;
        }
    }
    Ok(())
}

async fn set_application_enabled(
    target: &Target,
    uri: &str,
    enabled: bool,
    environment: Environment<'_>,
) -> Result<()> {
    let mut rng = SystemRng;
    let desk = CliSession::open(&target.installation, environment).await?;
    let admin = desk.admin(target).await?;
    let admin = &admin.service;
    granted(admin.set_application_enabled(uri, enabled, &mut moment!(rng)).await)?;
    let text = if enabled {
        format!(
            "Application {uri} enabled. Access and refresh tokens issued before stay revoked; reference tokens work again."
        )
    } else {
        format!("Application {uri} disabled. None of its tokens works any more.")
    };
    print(&target.output, &json!({ "application": uri, "IsEnabled": enabled }), &text)?;
    desk.database.close().await;
    Ok(())
}

fn read_record(path: &Path) -> Result<ApplicationRecord> {
    let mut text = String::new();
    if path == Path::new("-") {
        std::io::stdin().take(LARGEST_RECORD).read_to_string(&mut text)?;
    } else {
        let file = std::fs::File::open(path).with_context(|| format!("{} cannot be read", path.display()))?;
        file.take(LARGEST_RECORD).read_to_string(&mut text)?;
    }
    serde_json::from_str(&text).with_context(|| format!("{} is not a valid application record", path.display()))
}
