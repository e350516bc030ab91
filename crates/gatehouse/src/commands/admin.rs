//! Administration commands. They may run beside a server, which learns of changes by the change feed.

use anyhow::{Context as _, Result, anyhow};
use flows::Platform as _;
use flows::admin::merge_patch::MergePatch;
use flows::admin::operations::ExpectedVersion;
use flows::admin::operations::settings::{GetSettings, PatchSettings, SettingsChange, setting_name};
use flows::admin::operations::users::{CreateSetUpLink, CreateUser, NewUserRequest};
use flows::admin::{ElevatedAdminService, create_instance, parse_login};
use model::{InstanceSettings, Moment, UserId, UserType};
use serde_json::{Map, json};
use web::SystemRng;

use crate::cli::{InstanceCommand, Output};
use crate::commands::cli_session::{CliSession, granted, moment, print, print_answer};
use crate::commands::table::table;
use crate::config::Environment;
use crate::platform::SystemPlatform;

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
            let admin = desk.admin_of(name).await?;
            let current = admin.run::<GetSettings>(()).await?;
            let setting = setting_name(&setting);
            let changed = current.settings.with(&setting, &value).map_err(|problem| anyhow!(problem))?;
            let value = serde_json::to_value(changed)?[&setting].take();
            let expected = ExpectedVersion::OneOf(vec![current.version]);
            let patch = MergePatch::new(Map::from_iter([(setting.clone(), value)]));
            let changed = admin.run::<PatchSettings>(SettingsChange { expected, changes: patch }).await?;
            let text = format!("Setting {setting} of {} changed.", admin.instance);
            print_answer(&output, "instance set", &changed, &text)?;
            desk.database.close().await;
        }
        InstanceCommand::Show { installation, name, output } => {
            let desk = CliSession::open(&installation, environment).await?;
            let admin = desk.admin_of(name).await?;
            let settings = admin.run::<GetSettings>(()).await?;
            let members = serde_json::to_value(&settings.settings)?;
            let rows = members.as_object().into_iter().flatten().map(|(name, value)| [name.clone(), value.to_string()]);
            print_answer(&output, "instance show", &settings, &table(["setting", "value"], rows))?;
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
