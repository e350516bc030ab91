//! `/applications`: the register of Trusted Applications, and their secrets.

use flows::admin::merge_patch::MergePatch;
use flows::admin::operations::ExpectedVersion;
use flows::admin::operations::applications::{
    AddSecret, AddedSecret, ApplicationChange, ApplicationEntry, ApplicationQuery, ApplicationReplacement,
    CreateApplication, GetApplication, ListApplications, NewApplication, PatchApplication, RemoveSecret,
    ReplaceApplication, SecretFor, SecretOf, SecretWish,
};
use http::Method;
use model::ApplicationId;
use model::application::record::ApplicationRecord;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::admin_api::input::{Cursor, IdParam, JsonBody, Limit, QueryParams, SecretIdParam};
use crate::admin_api::operation::{Operation, bind};
use crate::admin_api::output::{Created, NoContent, PlainBody, Versioned};

pub(super) fn operations() -> Vec<Operation> {
    const ALL: &str = "/applications";
    const ONE: &str = "/applications/{id}";
    vec![
        bind::<ListApplications, _, _>(
            Method::GET,
            ALL,
            |QueryParams(Asked { limit, cursor, uri })| Ok(ApplicationQuery { uri, after: cursor.0, limit: limit.0 }),
            PlainBody,
        ),
        bind::<CreateApplication, _, _>(Method::POST, ALL, |JsonBody(record)| Ok(record), created),
        bind::<GetApplication, _, _>(Method::GET, ONE, |IdParam(id)| Ok(ApplicationId(id)), versioned),
        bind::<ReplaceApplication, _, _>(
            Method::PUT,
            ONE,
            |(IdParam(id), expected, JsonBody(record)): (_, ExpectedVersion, _)| {
                Ok(ApplicationReplacement { id: ApplicationId(id), expected, record })
            },
            versioned,
        ),
        bind::<PatchApplication, _, _>(
            Method::PATCH,
            ONE,
            |(IdParam(id), expected, changes): (_, ExpectedVersion, MergePatch<ApplicationRecord>)| {
                Ok(ApplicationChange { id: ApplicationId(id), expected, changes })
            },
            versioned,
        ),
        bind::<AddSecret, _, _>(
            Method::POST,
            "/applications/{id}/secrets",
            |(IdParam(id), JsonBody(wish)): (_, JsonBody<SecretWish>)| {
                Ok(SecretFor { application: ApplicationId(id), wish })
            },
            added,
        ),
        bind::<RemoveSecret, _, _>(
            Method::DELETE,
            "/applications/{id}/secrets/{secretId}",
            |(IdParam(id), SecretIdParam(secret))| {
                Ok(SecretOf { application: ApplicationId(id), secret: secret.to_string() })
            },
            NoContent::after,
        ),
    ]
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Asked {
    #[serde(default)]
    limit: Limit,
    #[serde(default)]
    cursor: Cursor,
    /// Return only the application with this `ApplicationUri`.
    uri: Option<String>,
}

fn versioned(application: ApplicationEntry) -> Versioned<ApplicationEntry> {
    Versioned(application.version, application)
}

fn created(new: NewApplication) -> Created<NewApplication> {
    let at = format!("/applications/{}", new.application.id);
    Created { at, version: Some(new.application.version), thing: new }
}

fn added(secret: AddedSecret) -> Created<AddedSecret> {
    Created { at: format!("/applications/{}", secret.application), version: None, thing: secret }
}
