//! `/tokens`: reference tokens (API keys), masked. Service tokens are issued here; people make their own.

use flows::admin::TokensOf;
use flows::admin::operations::{ListPage, Time};
use flows::admin::tokens::{IssuedToken, TokenDraft};
use http::Method;
use model::reference_token::{NewTokenRequest, ReferenceToken, ReferenceTokenKind, masked};
use model::{ReferenceTokenId, UserId};
use oauth::scope::Scope;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::admin_api::input::{Cursor, IdParam, JsonBody, Limit, QueryParams};
use crate::admin_api::operation::{AdminCall, ElevatedAdminCall, Operation, OperationResult, operation};
use crate::admin_api::output::{Created, NoContent, PlainBody};
use crate::admin_api::problem::Problem;

pub(super) fn operations() -> Vec<Operation> {
    const ONE: &str = "/tokens/{id}";
    vec![
        operation(Method::GET, "/tokens", "listTokens", "List reference tokens, newest first", list),
        operation(Method::POST, "/tokens", "issueToken", "Issue a service token for an application", issue),
        operation(Method::GET, ONE, "getToken", "Get a reference token. Its value is not included", get),
        operation(Method::DELETE, ONE, "revokeToken", "Revoke a reference token, effective immediately", revoke),
    ]
}

#[derive(Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum TokenKind {
    /// Acts as a user.
    Personal,
    /// Acts as an application's System User.
    Service,
}

/// A reference token (API key), without its value.
#[derive(Serialize, JsonSchema)]
struct TokenEntry {
    id: Uuid,
    kind: TokenKind,
    /// The masked value: only its last four characters.
    value: String,
    /// Id of the application the token belongs to.
    application: Uuid,
    /// Id of the user it acts as.
    user: Uuid,
    description: String,
    scope: String,
    /// `operator`, or the id or login of a user.
    created_by: String,
    created_at: Time,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_used_at: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked_at: Option<Time>,
}

/// A service token to issue.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct TokenWish {
    /// `ApplicationUri` of the application. The token acts as its System User.
    application: String,
    #[schemars(length(min = 1, max = 200))]
    description: String,
    /// Space-separated. Must be within the application's `Scope`.
    scope: String,
    /// When the token expires. Omit for no expiry, if the instance allows it.
    #[serde(default)]
    expires_at: Option<Time>,
}

#[derive(Serialize, JsonSchema)]
struct NewToken {
    token: TokenEntry,
    /// Shown only once.
    value: String,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Asked {
    #[serde(default)]
    limit: Limit,
    #[serde(default)]
    cursor: Cursor,
    /// Return only tokens of the application with this id.
    application: Option<Uuid>,
    /// Return only tokens that act as the user with this id.
    user: Option<Uuid>,
}

fn show(token: &ReferenceToken) -> TokenEntry {
    TokenEntry {
        id: token.id.0,
        kind: match token.kind {
            ReferenceTokenKind::Personal => TokenKind::Personal,
            ReferenceTokenKind::Service => TokenKind::Service,
        },
        value: masked(&token.tail),
        application: token.application.0,
        user: token.user.0,
        description: token.description.clone(),
        scope: token.scope.to_string(),
        created_by: token.created_by.clone(),
        created_at: token.created_at.into(),
        expires_at: token.expires_at.map(Time::from),
        last_used_at: token.last_used_at.map(Time::from),
        revoked_at: token.revoked_at.map(Time::from),
    }
}

async fn list(
    mut call: AdminCall,
    QueryParams(asked): QueryParams<Asked>,
) -> OperationResult<PlainBody<ListPage<TokenEntry>>> {
    let of = match (asked.application, asked.user) {
        (None, None) => TokensOf::Everybody,
        (Some(application), None) => TokensOf::Application(model::ApplicationId(application)),
        (None, Some(user)) => TokensOf::User(UserId(user)),
        (Some(_), Some(_)) => {
            return Err(Problem::Malformed("Send application or user, not both.".to_owned()).into());
        }
    };
    let after = asked.cursor.id()?.map(ReferenceTokenId);
    let (service, _) = call.open();
    let rows = service.tokens_before(after, of, asked.limit.0 + 1).await?;
    Ok(PlainBody(ListPage::of(rows, asked.limit.0, |token| token.id.to_string(), |token| show(&token))))
}

async fn issue(mut call: ElevatedAdminCall, JsonBody(new): JsonBody<TokenWish>) -> OperationResult<Created<NewToken>> {
    let scope = Scope::parse(&new.scope).map_err(|error| Problem::invalid("scope", &error))?;
    let manager = call.manager.clone();
    let (service, mut moment) = call.open();
    let wish = NewTokenRequest {
        kind: ReferenceTokenKind::Service,
        description: &new.description,
        scope: &scope,
        expires_at: new.expires_at.map(|time| time.0),
    };
    let draft = TokenDraft { application: &new.application, login: None, wish };
    let issued = service.issue_token(&draft, &mut moment).await?;
    let IssuedToken { token, value, .. } = issued.map_err(Problem::of_a_member)?;
    manager.tell_issued(&new.application, &token);
    Ok(Created {
        at: format!("/tokens/{}", token.id),
        version: None,
        thing: NewToken { token: show(&token), value: value.expose().to_owned() },
    })
}

async fn get(mut call: AdminCall, IdParam(id): IdParam) -> OperationResult<PlainBody<TokenEntry>> {
    let (service, _) = call.open();
    Ok(PlainBody(show(&service.token(ReferenceTokenId(id)).await??)))
}

/// Revoked is revoked, however often it is asked for.
async fn revoke(mut call: AdminCall, IdParam(id): IdParam) -> OperationResult<NoContent> {
    let (service, mut moment) = call.open();
    let token = service.token(ReferenceTokenId(id)).await??;
    if token.revoked_at.is_none() {
        // A refusal: somebody else revoked it meanwhile.
        let _revoked = service.revoke_token(token.id, &mut moment).await?;
    }
    Ok(NoContent)
}
