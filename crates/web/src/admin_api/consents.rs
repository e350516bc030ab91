//! `/users/{id}/consents`: the applications that may act for a user.

use flows::admin::operations::Time;
use http::Method;
use model::{ApplicationId, UserId};
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use crate::admin_api::input::{ApplicationParam, IdParam};
use crate::admin_api::operation::{AdminCall, Operation, OperationResult, operation};
use crate::admin_api::output::{NoContent, PlainBody};

pub(super) fn operations() -> Vec<Operation> {
    vec![
        operation(
            Method::GET,
            "/users/{id}/consents",
            "listConsents",
            "List the applications that can act on behalf of a user",
            list,
        ),
        operation(
            Method::DELETE,
            "/users/{id}/consents/{application}",
            "withdrawConsent",
            "Withdraw a user's consent to an application. Revokes the tokens issued under it",
            withdraw,
        ),
    ]
}

/// An application that can act on behalf of the user, by consent, by tokens it holds, or both.
#[derive(Serialize, JsonSchema)]
struct ConsentEntry {
    /// Id of the application.
    application: Uuid,
    application_uri: String,
    /// The scope the user consented to. Absent if consent was not required.
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    granted_at: Option<Time>,
    /// Whether the application holds a code or tokens that may still be valid.
    holds_tokens: bool,
}

#[derive(Serialize, JsonSchema)]
struct Consents {
    items: Vec<ConsentEntry>,
}

async fn list(mut call: AdminCall, IdParam(id): IdParam) -> OperationResult<PlainBody<Consents>> {
    let (service, moment) = call.open();
    let login = service.user_by_id(UserId(id)).await??.user.login;
    let connections = service.connections(login.as_str(), &moment).await??;
    let items = connections.into_iter().map(|(application, connection)| {
        let (scope, granted_at) = connection.consent.unzip();
        ConsentEntry {
            application: application.id.0,
            application_uri: application.uri.as_str().to_owned(),
            scope: scope.map(|scope| scope.to_string()),
            granted_at: granted_at.map(Time::from),
            holds_tokens: connection.holds_tokens,
        }
    });
    Ok(PlainBody(Consents { items: items.collect() }))
}

async fn withdraw(
    mut call: AdminCall,
    (IdParam(id), ApplicationParam(application)): (IdParam, ApplicationParam),
) -> OperationResult<NoContent> {
    let (service, mut moment) = call.open();
    let login = service.user_by_id(UserId(id)).await??.user.login;
    let application = service.application_by_id(ApplicationId(application)).await??;
    service.withdraw_consent(login.as_str(), application.uri.as_str(), &mut moment).await??;
    Ok(NoContent)
}
