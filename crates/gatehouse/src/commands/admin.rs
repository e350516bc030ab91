//! Administration commands. They may run beside a server, which learns of changes by the change feed.

use std::io::{BufRead as _, IsTerminal as _, Read as _};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use flows::admin::{ElevatedAdminService, UserDraft, create_instance, draw_secret, parse_login};
use flows::auth::links::HandedOver;
use flows::auth::links::IssuedLink;
use flows::{Passwords, Platform as _};
use model::application::record::{ApplicationRecord, RecordClientType};
use model::link::LinkPurpose;
use model::mail::Letter;
use model::user::Password;
use model::{Email, InstanceSettings, Moment, UserType};
use oauth::secret::Presented;
use serde_json::{Value, json};
use web::SystemRng;
use zeroize::Zeroizing;

use crate::cli::{AppCommand, InstanceCommand, Output, Target, UserCommand};
use crate::commands::cli_session::{CliSession, granted, moment, print};
use crate::commands::table::table;
use crate::config::Environment;
use crate::output;
use crate::platform::SystemPlatform;

/// Maximum size of a record's file; a record is a few kilobytes.
const LARGEST_RECORD: u64 = 1024 * 1024;

/// Maximum length of a line on standard input: more than any password that is accepted.
const MAX_LINE: u64 = 64 * 1024;

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
            let admin = granted(ElevatedAdminService::open(&desk.database, &desk.master, &name).await)?;
            let draft = UserDraft {
                login: &administrator,
                user_type: UserType::Internal,
                is_admin: true,
                name: &administrator,
                email: None,
                role: None,
                enabled: true,
            };
            granted(admin.create_user(draft, &mut moment).await)?;
            let link = desk.url(&name, &granted(admin.set_up_link(&administrator, &mut moment).await)?)?;
            let text = format!(
                "Instance {name} created. Set-up link for {administrator} (works once, valid for 24 hours):\n\n  {link}\n"
            );
            print(&output, &json!({ "instance": name, "administrator": administrator, "set_up_link": link }), &text)?;
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

pub(super) async fn user(command: UserCommand, environment: Environment<'_>) -> Result<()> {
    let mut rng = SystemRng;
    match command {
        UserCommand::Create { .. } => create_user(command, environment).await?,
        UserCommand::Invite { target, login } => {
            let desk = CliSession::open(&target.installation, environment).await?;
            let (instance, admin) = desk.admin(&target).await?;
            let link = granted(admin.invite(&login, &mut moment!(rng)).await)?;
            let handed = desk.hand_over(&instance, &link).await?;
            tell_link(&target.output, json!({ "login": login }), &handed, &link)?;
            desk.database.close().await;
        }
        UserCommand::ResetLink { target, login } => {
            let desk = CliSession::open(&target.installation, environment).await?;
            let (instance, admin) = desk.admin(&target).await?;
            let link = granted(admin.reset_link(&login, &mut moment!(rng)).await)?;
            let handed = HandedOver::Shown(desk.url(&instance, &link)?);
            tell_link(&target.output, json!({ "login": login }), &handed, &link)?;
            desk.database.close().await;
        }
        UserCommand::SetPassword { target, login, force } => set_password(&target, &login, force, environment).await?,
        UserCommand::ResetSecondFactor { target, login } => {
            let desk = CliSession::open(&target.installation, environment).await?;
            let (_, admin) = desk.admin(&target).await?;
            granted(admin.reset_second_factor(&login, &mut moment!(rng)).await)?;
            let text = format!(
                "Two-step sign-in of {login} reset. All sign-ins have ended, and access and refresh tokens are revoked."
            );
            print(&target.output, &json!({ "login": login }), &text)?;
            desk.database.close().await;
        }
        UserCommand::Disable { target, login } => set_user_enabled(&target, &login, false, environment).await?,
        UserCommand::Enable { target, login } => set_user_enabled(&target, &login, true, environment).await?,
        UserCommand::Erase { target, login, yes } => {
            let desk = CliSession::open(&target.installation, environment).await?;
            let (_, admin) = desk.admin(&target).await?;
            if !yes {
                confirm_erasing(&login)?;
            }
            let id = granted(admin.erase_user(&login, &mut moment!(rng)).await)?;
            let text = format!("{login} erased. The audit keeps their actions under the id {id}.");
            print(&target.output, &json!({ "id": id.to_string() }), &text)?;
            desk.database.close().await;
        }
        UserCommand::Show { target, login } => super::user::show(&target, &login, environment).await?,
        UserCommand::Set { target, login, changes } => {
            super::user::change(&target, &login, changes, environment).await?;
        }
        UserCommand::List { target } => {
            let desk = CliSession::open(&target.installation, environment).await?;
            let (_, admin) = desk.admin(&target).await?;
            let users = admin.users().await?;
            let rows = users.iter().map(|user| {
                let state = match user.enabled {
                    _ if !user.problems.is_empty() => "needs repair",
                    true => "enabled",
                    false => "disabled",
                };
                let (login, kind) = (user.login.as_str().to_owned(), user.user_type.as_str().to_owned());
                let administers = if user.is_admin() { "yes" } else { "no" }.to_owned();
                [login, kind, administers, state.to_owned(), user.name.clone()]
            });
            let text = table(["login", "type", "administrator", "state", "name"], rows);
            let list: Vec<Value> = users
                .iter()
                .map(|user| {
                    json!({
                        "id": user.id.to_string(), "login": user.login.as_str(), "name": user.name,
                        "userType": user.user_type.as_str(), "isAdmin": user.is_admin(), "isActive": user.is_on(),
                    })
                })
                .collect();
            print(&target.output, &json!(list), &text)?;
        }
    }
    Ok(())
}

async fn create_user(command: UserCommand, environment: Environment<'_>) -> Result<()> {
    let UserCommand::Create { target, login, name, email, kind, administrator, role, invite } = command else {
        unreachable!("the caller looked")
    };
    let mut rng = SystemRng;
    let desk = CliSession::open(&target.installation, environment).await?;
    let (instance, admin) = desk.admin(&target).await?;
    let mut moment = moment!(rng);
    let user_type = UserType::from(kind);
    let draft = UserDraft {
        login: &login,
        user_type,
        is_admin: administrator,
        name: name.as_deref().unwrap_or(&login),
        email: email.map(|address| Email { address, verified: false }),
        role: role.as_deref(),
        enabled: true,
    };
    let id = granted(admin.create_user(draft, &mut moment).await)?;
    let said = json!({ "id": id.to_string(), "login": login });
    if user_type == UserType::SystemNoLogin {
        let said = with(said, "set_up_link", Value::Null);
        print(&target.output, &said, &format!("User {login} created."))?;
    } else if invite {
        let link = granted(admin.invite(&login, &mut moment).await)?;
        let handed = desk.hand_over(&instance, &link).await?;
        tell_link(&target.output, said, &handed, &link)?;
    } else {
        let link = granted(admin.set_up_link(&login, &mut moment).await)?;
        let handed = HandedOver::Shown(desk.url(&instance, &link)?);
        tell_link(&target.output, said, &handed, &link)?;
    }
    desk.database.close().await;
    Ok(())
}

async fn set_password(target: &Target, login: &str, force: bool, environment: Environment<'_>) -> Result<()> {
    let mut rng = SystemRng;
    let desk = CliSession::open(&target.installation, environment).await?;
    let (instance, admin) = desk.admin(target).await?;
    let password = read_password(login)?;
    let passwords = Passwords::new();
    let user = if force {
        let set = admin.set_weak_password(&passwords, login, &password, &mut moment!(rng)).await;
        let (user, overridden) = granted(set)?;
        if let Some(overridden) = overridden {
            output::note(format_args!(
                "warning: --force overrides a rule: {overridden}
"
            ));
        }
        user
    } else {
        granted(admin.set_password(&passwords, login, &password, &mut moment!(rng)).await)?
    };
    desk.write_to(&instance, &user, Letter::password_changed).await;
    let text =
        format!("Password of {login} changed. All sign-ins have ended, and access and refresh tokens are revoked.");
    print(&target.output, &json!({ "login": login }), &text)?;
    desk.database.close().await;
    Ok(())
}

fn with(mut object: Value, name: &str, value: Value) -> Value {
    object[name] = value;
    object
}

/// Reports the link: sent by e-mail, or to be printed. `said` holds further members of the JSON output.
fn tell_link(output: &Output, said: Value, handed: &HandedOver, link: &IssuedLink) -> Result<()> {
    let (login, life) = (link.user.login.as_str(), link.life.text());
    let name = if link.purpose == LinkPurpose::SetUp { "set_up_link" } else { "reset_link" };
    match handed {
        HandedOver::Mailed(address) => {
            let said = with(with(said, name, Value::Null), "mailed_to", json!(address.as_str()));
            print(output, &said, &format!("Link for {login} sent to {address} (works once, valid for {life})."))
        }
        HandedOver::Shown(url) => {
            let text = format!("Link for {login} to choose a password (works once, valid for {life}):\n\n  {url}\n");
            print(output, &with(said, name, json!(url)), &text)
        }
    }
}

/// Asks for the login once more to confirm; `--yes` skips this for scripts.
fn confirm_erasing(login: &str) -> Result<()> {
    if !std::io::stdin().is_terminal() {
        bail!("erasing cannot be undone; add --yes to confirm");
    }
    output::note(format_args!("Erasing {login} cannot be undone. Type the login to confirm: "));
    let mut line = String::new();
    std::io::stdin().lock().take(MAX_LINE).read_line(&mut line).context("no input")?;
    if line.trim() != login.trim() {
        bail!("nothing was erased");
    }
    Ok(())
}

async fn set_user_enabled(target: &Target, login: &str, enabled: bool, environment: Environment<'_>) -> Result<()> {
    let mut rng = SystemRng;
    let desk = CliSession::open(&target.installation, environment).await?;
    let (_, admin) = desk.admin(target).await?;
    granted(admin.set_user_enabled(login, enabled, &mut moment!(rng)).await)?;
    let text = if enabled {
        format!("User {login} enabled.")
    } else {
        format!("User {login} disabled. All sign-ins have ended, and no token works any more.")
    };
    print(&target.output, &json!({ "login": login, "isActive": enabled }), &text)?;
    desk.database.close().await;
    Ok(())
}

pub(super) async fn application(command: AppCommand, environment: Environment<'_>) -> Result<()> {
    let mut rng = SystemRng;
    match command {
        AppCommand::Create { target, record } => {
            let desk = CliSession::open(&target.installation, environment).await?;
            let (_, admin) = desk.admin(&target).await?;
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
            let (_, admin) = desk.admin(&target).await?;
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
            let (_, admin) = desk.admin(&target).await?;
            let mut moment = moment!(rng);
            let expires_at = expires_in.map(|days| moment.now.plus(DAY * days));
            let secret = granted(admin.add_secret(&uri, (&label, expires_at), &mut moment).await)?;
            let text = format!("New client secret for {uri}, shown only once:\n\n  {}\n", secret.expose());
            print(&target.output, &json!({ "application": uri, "label": label, "secret": secret.expose() }), &text)?;
            desk.database.close().await;
        }
        AppCommand::List { target } => {
            let desk = CliSession::open(&target.installation, environment).await?;
            let (_, admin) = desk.admin(&target).await?;
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
    let (_, admin) = desk.admin(target).await?;
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

/// Reads a password: at a terminal without echo, otherwise one line of standard input.
fn read_password(login: &str) -> Result<Presented<Password>> {
    let mut line = Zeroizing::new(String::new());
    if std::io::stdin().is_terminal() {
        *line = rpassword::prompt_password(format!("New password of {login}: ")).context("no password was typed")?;
    } else {
        let mut input = std::io::stdin().lock().take(MAX_LINE);
        input.read_line(&mut line).context("no password on standard input")?;
    }
    Ok(Presented::new(line.trim_end_matches(['\r', '\n'])))
}
