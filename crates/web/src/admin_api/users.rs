//! `/users`: people and service accounts.

use flows::admin::merge_patch::MergePatch;
use flows::admin::operations::ExpectedVersion;
use flows::admin::operations::users::{
    CreateUser, GetUser, InviteUser, ListUsers, NewUserRequest, PasswordOf, PatchUser, ResetPassword,
    ResetSecondFactor, SetPassword, UserChange, UserEntry, UserLink, UserQuery,
};
use http::Method;
use model::UserId;
use model::user::{Password, PersonRecord};
use oauth::secret::Presented;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::admin_api::input::{Cursor, IdParam, JsonBody, Limit, QueryParams};
use crate::admin_api::operation::{Operation, bind};
use crate::admin_api::output::{Created, NoContent, PlainBody, Versioned};

pub(super) fn operations() -> Vec<Operation> {
    const ALL: &str = "/users";
    const ONE: &str = "/users/{id}";
    let user = |IdParam(id)| Ok(UserId(id));
    vec![
        bind::<ListUsers, _, _>(
            Method::GET,
            ALL,
            |QueryParams(Asked { limit, cursor, login })| Ok(UserQuery { login, after: cursor.0, limit: limit.0 }),
            PlainBody,
        ),
        bind::<CreateUser, _, _>(Method::POST, ALL, |JsonBody(new): JsonBody<NewUserRequest>| Ok(new), created),
        bind::<GetUser, _, _>(Method::GET, ONE, user, versioned),
        bind::<PatchUser, _, _>(
            Method::PATCH,
            ONE,
            |(IdParam(id), expected, changes): (_, ExpectedVersion, MergePatch<PersonRecord>)| {
                Ok(UserChange { id: UserId(id), expected, changes })
            },
            versioned,
        ),
        bind::<SetPassword, _, _>(
            Method::PUT,
            "/users/{id}/password",
            |(IdParam(id), JsonBody(NewPassword { password }))| {
                Ok(PasswordOf { id: UserId(id), password: Presented::<Password>::new(password) })
            },
            NoContent::after,
        ),
        bind::<ResetSecondFactor, _, _>(Method::DELETE, "/users/{id}/second-factor", user, NoContent::after),
        bind::<InviteUser, _, _>(Method::POST, "/users/{id}/invitations", user, handed_over),
        bind::<ResetPassword, _, _>(Method::POST, "/users/{id}/reset-links", user, handed_over),
    ]
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NewPassword {
    /// At least 8 characters and at most 1024 bytes (NFC). Must not be common, easy to guess or derived from the user's data.
    #[schemars(length(min = 8, max = 1024))]
    password: String,
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

fn versioned(user: UserEntry) -> Versioned<UserEntry> {
    Versioned(user.version, user)
}

fn created(user: UserEntry) -> Created<UserEntry> {
    Created { at: format!("/users/{}", user.id), version: Some(user.version), thing: user }
}

fn handed_over(link: UserLink) -> Created<UserLink> {
    Created { at: format!("/users/{}", link.issued.user.id), version: None, thing: link }
}
