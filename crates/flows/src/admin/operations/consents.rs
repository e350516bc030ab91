//! Operations on consents: the applications that may act for a user.

use model::{ApplicationId, UserId};
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use crate::Answer;
use crate::admin::AdminRefusal;
use crate::admin::act::AdminAct;
use crate::admin::operations::{AdminOperation, AnySignIn, OperationContext, OperationEntry, Time, granted};

pub(super) const OPERATIONS: &[OperationEntry] =
    &[OperationEntry::of::<ListConsents>(), OperationEntry::of::<WithdrawConsent>()];

/// An application that can act on behalf of the user, by consent, by tokens it holds, or both.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConsentEntry {
    /// Id of the application.
    pub application: Uuid,
    pub application_uri: String,
    pub application_name: String,
    /// The scope the user consented to. Absent if consent was not required.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub granted_at: Option<Time>,
    /// Whether the application holds a code or tokens that may still be valid.
    pub holds_tokens: bool,
}

#[derive(Serialize, JsonSchema)]
pub struct Consents {
    pub items: Vec<ConsentEntry>,
}

pub struct ListConsents;

impl AdminOperation for ListConsents {
    const NAME: &'static str = "listConsents";
    const SUMMARY: &'static str = "List the applications that can act on behalf of a user";
    const ACTS: &'static [AdminAct] = &[];
    type Authority = AnySignIn;
    type Input = UserId;
    type Output = Consents;

    async fn run(context: &mut OperationContext<'_, AnySignIn>, user: UserId) -> Answer<Consents, AdminRefusal> {
        let login = granted!(context.service.user_by_id(user).await?).user.login;
        let connections = granted!(context.service.connections(login.as_str(), &context.moment).await?);
        let items = connections.into_iter().map(|(application, connection)| {
            let (scope, granted_at) = connection.consent.unzip();
            ConsentEntry {
                application: application.id.0,
                application_uri: application.uri.as_str().to_owned(),
                application_name: application.name,
                scope: scope.map(|scope| scope.to_string()),
                granted_at: granted_at.map(Time::from),
                holds_tokens: connection.holds_tokens,
            }
        });
        Ok(Ok(Consents { items: items.collect() }))
    }
}

/// A consent of a user to an application.
pub struct ConsentOf {
    pub user: UserId,
    pub application: ApplicationId,
}

pub struct WithdrawConsent;

impl AdminOperation for WithdrawConsent {
    const NAME: &'static str = "withdrawConsent";
    const SUMMARY: &'static str = "Withdraw a user's consent to an application. Revokes the tokens issued under it";
    const ACTS: &'static [AdminAct] = &[AdminAct::WithdrawConsent];
    type Authority = AnySignIn;
    type Input = ConsentOf;
    type Output = ();

    async fn run(
        context: &mut OperationContext<'_, AnySignIn>,
        ConsentOf { user, application }: ConsentOf,
    ) -> Answer<(), AdminRefusal> {
        let login = granted!(context.service.user_by_id(user).await?).user.login;
        let application = granted!(context.service.application_by_id(application).await?);
        context.service.withdraw_consent(login.as_str(), application.uri.as_str(), &mut context.moment).await
    }
}
