//! `/applications`: the register of Trusted Applications, and their secrets.

use flows::admin::draw_secret;
use flows::admin::merge_patch::MergePatch;
use flows::admin::operations::ExpectedVersion;
use flows::admin::operations::{ListPage, Time};
use http::Method;
use model::application::Secret;
use model::application::record::{ApplicationRecord, RecordClientType};
use model::{ApplicationId, TrustedApplication};
use oauth::secret::Presented;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::admin_api::input::{Cursor, IdParam, JsonBody, Limit, QueryParams, SecretIdParam};
use crate::admin_api::operation::{AdminCall, ElevatedAdminCall, Operation, OperationResult, operation};
use crate::admin_api::output::{Created, NoContent, Versioned};
use crate::admin_api::problem::Problem;

pub(super) fn operations() -> Vec<Operation> {
    const ALL: &str = "/applications";
    const ONE: &str = "/applications/{id}";
    const SECRETS: &str = "/applications/{id}/secrets";
    vec![
        operation(Method::GET, ALL, "listApplications", "List applications", list),
        operation(Method::POST, ALL, "createApplication", "Register an application", create),
        operation(Method::GET, ONE, "getApplication", "Get an application", get),
        operation(
            Method::PUT,
            ONE,
            "replaceApplication",
            "Replace an application. Omitted attributes are reset to their defaults",
            replace,
        ),
        operation(
            Method::PATCH,
            ONE,
            "patchApplication",
            "Update an application. Only the given attributes change",
            patch,
        ),
        operation(Method::POST, SECRETS, "addSecret", "Add a client secret. Existing secrets stay valid", add_secret),
        operation(
            Method::DELETE,
            "/applications/{id}/secrets/{secretId}",
            "removeSecret",
            "Remove a client secret. The last one cannot be removed",
            remove_secret,
        ),
    ]
}

/// A registered application.
#[derive(Serialize, JsonSchema)]
struct Application {
    id: Uuid,
    record: ApplicationRecord,
    /// Active and expired secrets. Their values are shown only once, on creation.
    secrets: Vec<SecretEntry>,
    /// Why the stored record is invalid. The application is disabled until it is corrected.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    problems: Vec<String>,
    /// Warnings about the change just made. Absent when the application is read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

#[derive(Serialize, JsonSchema)]
struct SecretEntry {
    id: String,
    label: String,
    created_at: Time,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Time>,
}

/// A new application, with its first secret if it is Confidential.
#[derive(Serialize, JsonSchema)]
struct NewApplication {
    application: Application,
    /// Shown only once.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
}

#[derive(Serialize, JsonSchema)]
struct NewSecret {
    id: String,
    /// Shown only once.
    secret: String,
}

/// A client secret to add.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SecretWish {
    /// What the secret is for.
    #[schemars(length(min = 1, max = 100), regex(pattern = r"^[^\x00-\x1f\x7f]*\S[^\x00-\x1f\x7f]*$"))]
    label: String,
    /// When the secret expires. Omit for no expiry.
    #[serde(default)]
    expires_at: Option<Time>,
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

fn secret_entry(secret: &Secret) -> SecretEntry {
    SecretEntry {
        id: secret.id.clone(),
        label: secret.label.clone(),
        created_at: secret.created_at.into(),
        expires_at: secret.expires_at.map(Time::from),
    }
}

fn show(application: &TrustedApplication, warnings: Vec<String>) -> Application {
    Application {
        id: application.id.0,
        record: application.to_record(),
        secrets: application.secrets().iter().map(secret_entry).collect(),
        problems: application.problems().to_vec(),
        warnings,
    }
}

async fn list(
    mut call: AdminCall,
    QueryParams(asked): QueryParams<Asked>,
) -> OperationResult<super::output::PlainBody<ListPage<Application>>> {
    let (service, _) = call.open();
    let rows = match &asked.uri {
        Some(uri) => service.application(uri).await?.into_iter().collect(),
        None => service.applications_after(&asked.cursor.0, asked.limit.0 + 1).await?,
    };
    let key = |row: &TrustedApplication| row.uri.as_str().to_owned();
    Ok(super::output::PlainBody(ListPage::of(rows, asked.limit.0, key, |row| show(&row, Vec::new()))))
}

async fn create(
    mut call: ElevatedAdminCall,
    JsonBody(record): JsonBody<ApplicationRecord>,
) -> OperationResult<Created<NewApplication>> {
    let (service, mut moment) = call.open();
    let secret = (record.client_type == RecordClientType::Confidential).then(|| draw_secret(&mut moment));
    let (application, warnings) = service.create_application(record, secret.as_ref(), &mut moment).await??;
    Ok(Created {
        at: format!("/applications/{}", application.id),
        version: Some(application.version),
        thing: NewApplication {
            application: show(&application, warnings),
            secret: secret.as_ref().map(Presented::expose).map(str::to_owned),
        },
    })
}

async fn get(mut call: AdminCall, IdParam(id): IdParam) -> OperationResult<Versioned<Application>> {
    let (service, _) = call.open();
    let application = service.application_by_id(ApplicationId(id)).await??;
    Ok(Versioned(application.version, show(&application, Vec::new())))
}

async fn replace(
    call: ElevatedAdminCall,
    (IdParam(id), expected, JsonBody(record)): (IdParam, ExpectedVersion, JsonBody<ApplicationRecord>),
) -> OperationResult<Versioned<Application>> {
    change(call, id, expected, |_| Ok(record)).await
}

async fn patch(
    call: ElevatedAdminCall,
    (IdParam(id), expected, changes): (IdParam, ExpectedVersion, MergePatch<ApplicationRecord>),
) -> OperationResult<Versioned<Application>> {
    change(call, id, expected, |current| changes.apply_to(current.record_as_stored()).map_err(Problem::Admin)).await
}

async fn change(
    mut call: ElevatedAdminCall,
    id: Uuid,
    expected: ExpectedVersion,
    next: impl FnOnce(&TrustedApplication) -> Result<ApplicationRecord, Problem>,
) -> OperationResult<Versioned<Application>> {
    let (service, mut moment) = call.open();
    let current = service.application_by_id(ApplicationId(id)).await??;
    expected.check(current.version)?;
    let record = next(&current)?;
    let (changed, warnings) = service.change_application(&current, record, &mut moment).await??;
    Ok(Versioned(changed.version, show(&changed, warnings)))
}

async fn add_secret(
    mut call: ElevatedAdminCall,
    (IdParam(id), JsonBody(wish)): (IdParam, JsonBody<SecretWish>),
) -> OperationResult<Created<NewSecret>> {
    let (service, mut moment) = call.open();
    let application = service.application_by_id(ApplicationId(id)).await??;
    let what = (wish.label.as_str(), wish.expires_at.map(|time| time.0));
    let (secret, shown) = service.add_secret_to(&application, what, &mut moment).await??;
    Ok(Created {
        at: format!("/applications/{id}"),
        version: None,
        thing: NewSecret { id: secret.id, secret: shown.expose().to_owned() },
    })
}

async fn remove_secret(
    mut call: ElevatedAdminCall,
    (IdParam(id), SecretIdParam(secret)): (IdParam, SecretIdParam),
) -> OperationResult<NoContent> {
    let (service, mut moment) = call.open();
    let application = service.application_by_id(ApplicationId(id)).await??;
    service.remove_secret(&application, &secret.to_string(), &mut moment).await??;
    Ok(NoContent)
}
