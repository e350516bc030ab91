//! `/users`: people and service accounts.

use flows::admin::{UserDraft, UserRow, parse_login};
use flows::auth::links::HandedOver;
use flows::auth::links::IssuedLink;
use flows::server::InstanceAdmin;
use http::Method;
use model::mail::Letter;
use model::user::{Password, PersonRecord};
use model::{Email, Login, Timestamp, UserId, UserType};
use oauth::secret::Presented;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::admin_api::input::{Cursor, IdParam, IfMatch, JsonBody, Limit, MergePatch, QueryParams};
use crate::admin_api::operation::{AdminCall, ElevatedAdminCall, Operation, OperationResult, operation};
use crate::admin_api::output::{Created, ListPage, NoContent, PlainBody, Time, Versioned};
use crate::admin_api::problem::Problem;

pub(super) fn operations() -> Vec<Operation> {
    const ONE: &str = "/users/{id}";
    vec![
        operation(Method::GET, "/users", "listUsers", "List users", list),
        operation(Method::POST, "/users", "createUser", "Create a user", create),
        operation(Method::GET, ONE, "getUser", "Get a user", get),
        operation(Method::PATCH, ONE, "patchUser", "Update a user. Only the given members change", patch),
        operation(
            Method::PUT,
            "/users/{id}/password",
            "setPassword",
            "Set a user's password. Ends all sign-ins and revokes the user's access and refresh tokens",
            set_password,
        ),
        operation(
            Method::DELETE,
            "/users/{id}/second-factor",
            "resetSecondFactor",
            "Reset two-step sign-in: removes authenticator app, passkeys and recovery codes, ends all sign-ins, and revokes access and refresh tokens",
            reset_second_factor,
        ),
        operation(
            Method::POST,
            "/users/{id}/invitations",
            "inviteUser",
            "Invite a user: create a one-time link to choose the first password",
            invite,
        ),
        operation(
            Method::POST,
            "/users/{id}/reset-links",
            "resetPassword",
            "Create a one-time password reset link",
            reset,
        ),
    ]
}

/// A user.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct UserEntry {
    id: Uuid,
    login: String,
    user_type: UserType,
    has_password: bool,
    has_second_factor: bool,
    updated_at: Time,
    /// Why the stored record is invalid. The user is treated as disabled until it is corrected.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    problems: Vec<String>,
    #[serde(flatten)]
    record: PersonRecord,
}

/// A user to create.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NewUser {
    /// 1 to 128 printable ASCII characters, no spaces at the ends. Cannot be changed or reused.
    #[schemars(length(min = 1, max = 128), regex(pattern = r"^[!-~]([ -~]*[!-~])?$"))]
    login: String,
    user_type: UserType,
    /// Display name. Defaults to the login.
    #[serde(default)]
    #[schemars(length(min = 1, max = 200))]
    name: Option<String>,
    #[serde(default)]
    email: Option<String>,
    #[serde(default)]
    is_admin: bool,
    #[serde(default)]
    role: Option<String>,
    #[serde(default = "yes")]
    is_active: bool,
}

const fn yes() -> bool {
    true
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NewPassword {
    /// At least 8 characters and at most 1024 bytes (NFC). Must not be common, easy to guess or derived from the user's data.
    #[schemars(length(min = 8, max = 1024))]
    password: String,
}

/// A one-time link, either e-mailed to the user or returned.
#[derive(Serialize, JsonSchema)]
struct Link {
    /// The address the link was e-mailed to.
    #[serde(skip_serializing_if = "Option::is_none")]
    mailed_to: Option<String>,
    /// The link, if it was not e-mailed. Give it to the user.
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    expires_at: Time,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Asked {
    #[serde(default)]
    limit: Limit,
    #[serde(default)]
    cursor: Cursor,
    /// Return only the user with this login (not case-sensitive).
    login: Option<String>,
}

fn show(row: &UserRow) -> UserEntry {
    UserEntry {
        id: row.user.id.0,
        login: row.user.login.as_str().to_owned(),
        user_type: row.user.user_type,
        has_password: row.has_password,
        has_second_factor: row.user.has_second_factor,
        updated_at: row.user.updated_at.into(),
        problems: row.user.problems.clone(),
        record: PersonRecord::of(&row.user, row.role.as_deref()),
    }
}

async fn list(
    mut call: AdminCall,
    QueryParams(asked): QueryParams<Asked>,
) -> OperationResult<PlainBody<ListPage<UserEntry>>> {
    let (service, _) = call.open();
    let rows = match asked.login.as_deref() {
        Some(login) => service.user_by_name(login).await?.into_iter().collect(),
        None => service.users_after(&asked.cursor.0, asked.limit.0 + 1).await?,
    };
    Ok(PlainBody(ListPage::of(rows, asked.limit, |row| row.user.login.folded(), |row| show(&row))))
}

async fn create(mut call: ElevatedAdminCall, JsonBody(new): JsonBody<NewUser>) -> OperationResult<Created<UserEntry>> {
    let (service, mut moment) = call.open();
    parse_login(&new.login)?;
    let name = new.name.as_deref().unwrap_or(&new.login);
    let email = new.email.map(|address| Email { address, verified: false });
    let draft = UserDraft {
        login: &new.login,
        user_type: new.user_type,
        is_admin: new.is_admin,
        name,
        email,
        role: new.role.as_deref(),
        enabled: new.is_active,
    };
    let made = service.create_user(draft, &mut moment).await?;
    let id = made.map_err(Problem::of_a_member)?;
    let row = service.user_by_id(id).await??;
    Ok(Created { at: format!("/users/{id}"), version: Some(row.version), thing: show(&row) })
}

async fn get(mut call: AdminCall, IdParam(id): IdParam) -> OperationResult<Versioned<UserEntry>> {
    let (service, _) = call.open();
    let row = service.user_by_id(UserId(id)).await??;
    Ok(Versioned(row.version, show(&row)))
}

async fn patch(
    mut call: ElevatedAdminCall,
    (IdParam(id), expected, patch): (IdParam, IfMatch, MergePatch<PersonRecord>),
) -> OperationResult<Versioned<UserEntry>> {
    let own = call.manager.user.id;
    let (service, mut moment) = call.open();
    let current = service.user_by_id(UserId(id)).await??;
    expected.check(current.version)?;
    let before = PersonRecord::of(&current.user, current.role.as_deref());
    let says_verified = patch.mentions("emailVerified");
    let mut record = patch.apply(&before)?;
    // What was verified was the other address.
    record.email_verified &= says_verified || record.email == before.email;
    let changed = service.change_user(&current, record, Some(own), &mut moment).await??;
    Ok(Versioned(changed.version, show(&changed)))
}

async fn set_password(
    mut call: ElevatedAdminCall,
    (IdParam(id), JsonBody(new)): (IdParam, JsonBody<NewPassword>),
) -> OperationResult<NoContent> {
    let manager = call.manager.clone();
    let (service, mut moment) = call.open();
    let login: Login = service.user_by_id(UserId(id)).await??.user.login;
    let password = Presented::<Password>::new(new.password);
    let user = service.set_password(manager.passwords(), login.as_str(), &password, &mut moment).await??;
    manager.instance().mail().write_to(&user, Letter::password_changed);
    Ok(NoContent)
}

/// Gone is gone, however often it is asked for.
async fn reset_second_factor(mut call: ElevatedAdminCall, IdParam(id): IdParam) -> OperationResult<NoContent> {
    let (service, mut moment) = call.open();
    let user = service.user_by_id(UserId(id)).await??.user;
    if user.has_second_factor {
        service.reset_second_factor(user.login.as_str(), &mut moment).await??;
    }
    Ok(NoContent)
}

async fn invite(mut call: ElevatedAdminCall, IdParam(id): IdParam) -> OperationResult<Created<Link>> {
    let manager = call.manager.clone();
    let (service, mut moment) = call.open();
    let login = service.user_by_id(UserId(id)).await??.user.login;
    let link = service.invite(login.as_str(), &mut moment).await??;
    Ok(handed_over(&manager, &link, moment.now))
}

async fn reset(mut call: ElevatedAdminCall, IdParam(id): IdParam) -> OperationResult<Created<Link>> {
    let manager = call.manager.clone();
    let (service, mut moment) = call.open();
    let login = service.user_by_id(UserId(id)).await??.user.login;
    let link = service.reset_link(login.as_str(), &mut moment).await??;
    Ok(handed_over(&manager, &link, moment.now))
}

fn handed_over(manager: &InstanceAdmin, link: &IssuedLink, now: Timestamp) -> Created<Link> {
    let (mailed_to, url) = match link.hand_over(manager.instance().mail()) {
        HandedOver::Mailed(address) => (Some(address.as_str().to_owned()), None),
        HandedOver::Shown(url) => (None, Some(url)),
    };
    let thing = Link { mailed_to, url, expires_at: now.plus(link.life.span()).into() };
    Created { at: format!("/users/{}", link.user.id), version: None, thing }
}
