//! `gatehouse user`.

use std::io::{BufRead as _, IsTerminal as _, Read as _};

use anyhow::{Context as _, Result, bail};
use flows::Platform as _;
use flows::admin::UserRow;
use flows::admin::merge_patch::MergePatch;
use flows::admin::operations::ExpectedVersion;
use flows::admin::operations::users::{
    CreateSetUpLink, CreateUser, EraseUser, GetUser, InviteUser, ListUsers, NewUserRequest, PasswordOf, PatchUser,
    ResetPassword, ResetSecondFactor, SetPassword, UserChange, UserEntry, UserLink, UserQuery,
};
use model::mail::Letter;
use model::user::Password;
use model::{Moment, UserId, UserType};
use oauth::secret::Presented;
use serde_json::{Map, Value, json};
use web::SystemRng;
use zeroize::Zeroizing;

use crate::cli::{Target, UserChanges, UserCommand};
use crate::commands::cli_session::{CliAdmin, CliSession, granted, moment, print, print_answer};
use crate::commands::table::table;
use crate::config::Environment;
use crate::output;
use crate::platform::SystemPlatform;

/// Maximum length of a line on standard input: more than any password that is accepted.
const MAX_LINE: u64 = 64 * 1024;

/// Users fetched with one query.
const AT_ONCE: u32 = 500;

pub(super) async fn run(command: UserCommand, environment: Environment<'_>) -> Result<()> {
    let desk = CliSession::open(&command.target().installation, environment).await?;
    let admin = desk.admin(command.target()).await?;
    match command {
        UserCommand::Create { .. } => create(command, &admin).await?,
        UserCommand::Invite { target, login } => {
            let link = admin.run::<InviteUser>(find(&admin, &login).await?.user.id).await?;
            let link = admin.mail(link).await?;
            print_answer(&target.output, "user invite", &link, &link_text(&link))?;
        }
        UserCommand::ResetLink { target, login } => {
            let link = admin.run::<ResetPassword>(find(&admin, &login).await?.user.id).await?;
            print_answer(&target.output, "user reset-link", &link, &link_text(&link))?;
        }
        UserCommand::SetPassword { target, login, force } => set_password(&target, &login, force, &admin).await?,
        UserCommand::ResetSecondFactor { target, login } => {
            let user = find(&admin, &login).await?;
            if !user.user.has_second_factor {
                bail!("second factor of {login} not found");
            }
            admin.run::<ResetSecondFactor>(user.user.id).await?;
            let text = format!(
                "Two-step sign-in of {login} reset. All sign-ins have ended, and access and refresh tokens are revoked."
            );
            print(&target.output, &json!({ "login": login }), &text)?;
        }
        UserCommand::Disable { target, login } => {
            let user = patch(&admin, &login, json!({ "isActive": false })).await?;
            let text = format!("User {login} disabled. All sign-ins have ended, and no token works any more.");
            print_answer(&target.output, "user disable", &user, &text)?;
        }
        UserCommand::Enable { target, login } => {
            let user = patch(&admin, &login, json!({ "isActive": true })).await?;
            print_answer(&target.output, "user enable", &user, &format!("User {login} enabled."))?;
        }
        UserCommand::Erase { target, login, yes } => {
            let user = find(&admin, &login).await?;
            if !yes {
                confirm_erasing(&login)?;
            }
            let erased = admin.run::<EraseUser>(user.user.id).await?;
            let text = format!("{login} erased. The audit keeps their actions under the id {}.", erased.id);
            print_answer(&target.output, "user erase", &erased, &text)?;
        }
        UserCommand::Show { target, login } => {
            let user = admin.run::<GetUser>(find(&admin, &login).await?.user.id).await?;
            print_answer(&target.output, "user show", &user, &text(&user))?;
        }
        UserCommand::Set { target, login, changes } => {
            let user = patch(&admin, &login, members(changes)).await?;
            print_answer(&target.output, "user set", &user, &text(&user))?;
        }
        UserCommand::List { target } => list(&target, &admin).await?,
    }
    desk.database.close().await;
    Ok(())
}

async fn find(admin: &CliAdmin<'_>, login: &str) -> Result<UserRow> {
    granted(admin.service.user_by_name(login).await)
}

async fn create(command: UserCommand, admin: &CliAdmin<'_>) -> Result<()> {
    let UserCommand::Create { target, login, name, email, kind, administrator, role, invite } = command else {
        unreachable!("the caller looked")
    };
    let user_type = UserType::from(kind);
    let new = NewUserRequest { login, user_type, name, email, is_admin: administrator, role, is_active: true };
    let user = admin.run::<CreateUser>(new).await?;
    let id = UserId(user.id);
    let link = match user_type {
        UserType::SystemNoLogin => None,
        _ if invite => Some(admin.mail(admin.run::<InviteUser>(id).await?).await?),
        _ => Some(admin.run::<CreateSetUpLink>(id).await?),
    };
    let text = link.as_ref().map_or_else(|| format!("User {} created.", user.login), link_text);
    let mut answer = serde_json::to_value(user)?;
    answer["link"] = serde_json::to_value(&link)?;
    print_answer(&target.output, "user create", &answer, &text)
}

/// The patch is a JSON object.
async fn patch(admin: &CliAdmin<'_>, login: &str, members: Value) -> Result<UserEntry> {
    let id = find(admin, login).await?.user.id;
    let Value::Object(members) = members else { unreachable!("the callers make objects") };
    let changes = MergePatch::new(members);
    admin.run::<PatchUser>(UserChange { id, expected: ExpectedVersion::Any, changes }).await
}

/// The members of a user's record that the command line changes. An empty text removes a member.
fn members(changes: UserChanges) -> Value {
    let UserChanges { name, email, role, email_verified, language, administrator } = changes;
    let text = |text: Option<String>| text.map(|text| if text.is_empty() { Value::Null } else { text.into() });
    let members = [
        ("name", name.map(Value::from)),
        ("email", text(email)),
        ("role", text(role)),
        ("emailVerified", email_verified.map(Value::from)),
        ("preferredLanguage", text(language)),
        ("isAdmin", administrator.map(Value::from)),
    ];
    let given = members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Value::Object(given.collect::<Map<_, _>>())
}

async fn set_password(target: &Target, login: &str, force: bool, admin: &CliAdmin<'_>) -> Result<()> {
    let user = find(admin, login).await?;
    let password = read_password(login)?;
    if force {
        let mut rng = SystemRng;
        let passwords = &admin.session.passwords;
        let set = admin.service.set_weak_password(passwords, login, &password, &mut moment!(rng)).await;
        if let (_, Some(overridden)) = granted(set)? {
            output::note(format_args!("warning: --force overrides a rule: {overridden}\n"));
        }
    } else {
        admin.run::<SetPassword>(PasswordOf { id: user.user.id, password }).await?;
    }
    admin.session.write_to(&admin.instance, &user.user, Letter::password_changed).await;
    let text =
        format!("Password of {login} changed. All sign-ins have ended, and access and refresh tokens are revoked.");
    print(&target.output, &json!({ "login": login }), &text)
}

async fn list(target: &Target, admin: &CliAdmin<'_>) -> Result<()> {
    let mut users: Vec<UserEntry> = Vec::new();
    loop {
        let after = users.last().map(|user| user.login.to_ascii_lowercase()).unwrap_or_default();
        let page = admin.run::<ListUsers>(UserQuery { login: None, after, limit: AT_ONCE }).await?;
        users.extend(page.items);
        if page.next.is_none() {
            break;
        }
    }
    let rows = users.iter().map(|user| {
        let state = match user.record.is_active {
            _ if !user.problems.is_empty() => "needs repair",
            true => "enabled",
            false => "disabled",
        };
        let administers = if user.record.is_admin { "yes" } else { "no" };
        let kind = user.user_type.as_str().to_owned();
        [user.login.clone(), kind, administers.to_owned(), state.to_owned(), user.record.name.clone()]
    });
    print_answer(&target.output, "user list", &users, &table(["login", "type", "administrator", "state", "name"], rows))
}

fn text(user: &UserEntry) -> String {
    let record = &user.record;
    let email = record.email.as_ref().map_or("none".to_owned(), |email| {
        format!("{email}{}", if record.email_verified { ", verified" } else { ", not verified" })
    });
    let lines = [
        ("login", user.login.clone()),
        ("id", user.id.to_string()),
        ("name", record.name.clone()),
        ("type", user.user_type.as_str().to_owned()),
        ("e-mail", email),
        ("role", record.role.clone().unwrap_or_else(|| "none".to_owned())),
        ("language", record.preferred_language.clone().unwrap_or_else(|| "browser language".to_owned())),
        ("administrator", if record.is_admin { "yes" } else { "no" }.to_owned()),
        ("password", if user.has_password { "set" } else { "not set" }.to_owned()),
        ("second factor", if user.has_second_factor { "set up" } else { "none" }.to_owned()),
        ("state", if record.is_active { "enabled" } else { "disabled" }.to_owned()),
    ];
    lines.map(|(name, value)| format!("{name:14} {value}")).join("\n")
}

/// Where the link went, or the link.
fn link_text(link: &UserLink) -> String {
    let (login, life) = (link.issued.user.login.as_str(), link.issued.life.text());
    match (&link.mailed_to, &link.url) {
        (Some(address), _) => format!("Link for {login} sent to {address} (works once, valid for {life})."),
        (None, url) => {
            let url = url.as_deref().unwrap_or_default();
            format!("Link for {login} to choose a password (works once, valid for {life}):\n\n  {url}\n")
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
