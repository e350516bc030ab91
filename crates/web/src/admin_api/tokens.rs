//! `/tokens`: reference tokens (API keys), masked. Service tokens are issued here; people make their own.

use flows::admin::TokensOf;
use flows::admin::operations::Time;
use flows::admin::operations::tokens::{
    GetToken, IssueToken, ListTokens, NewToken, RevokeToken, TokenQuery, TokenWish,
};
use http::Method;
use model::{ApplicationId, ReferenceTokenId, UserId};
use oauth::scope::Scope;
use schemars::JsonSchema;
use serde::Deserialize;
use uuid::Uuid;

use crate::admin_api::input::{Cursor, IdParam, JsonBody, Limit, QueryParams};
use crate::admin_api::operation::{Operation, bind};
use crate::admin_api::output::{Created, NoContent, PlainBody};
use crate::admin_api::problem::Problem;

pub(super) fn operations() -> Vec<Operation> {
    const ALL: &str = "/tokens";
    const ONE: &str = "/tokens/{id}";
    let token = |IdParam(id)| Ok(ReferenceTokenId(id));
    vec![
        bind::<ListTokens, _, _>(Method::GET, ALL, |QueryParams(asked)| query(&asked), PlainBody),
        bind::<IssueToken, _, _>(Method::POST, ALL, |JsonBody(new)| wish(new), created),
        bind::<GetToken, _, _>(Method::GET, ONE, token, PlainBody),
        bind::<RevokeToken, _, _>(Method::DELETE, ONE, token, NoContent::after),
    ]
}

/// A service token to issue.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "TokenWish")]
struct ServiceTokenWish {
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

fn wish(new: ServiceTokenWish) -> Result<TokenWish, Problem> {
    let scope = Scope::parse(&new.scope).map_err(|error| Problem::invalid("scope", &error))?;
    let expires_at = new.expires_at.map(|time| time.0);
    Ok(TokenWish { application: new.application, login: None, description: new.description, scope, expires_at })
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

fn query(asked: &Asked) -> Result<TokenQuery, Problem> {
    let of = match (asked.application, asked.user) {
        (None, None) => TokensOf::Everybody,
        (Some(application), None) => TokensOf::Application(ApplicationId(application)),
        (None, Some(user)) => TokensOf::User(UserId(user)),
        (Some(_), Some(_)) => return Err(Problem::Malformed("Send application or user, not both.".to_owned())),
    };
    Ok(TokenQuery { of, after: asked.cursor.id()?.map(ReferenceTokenId), limit: asked.limit.0 })
}

fn created(new: NewToken) -> Created<NewToken> {
    Created { at: format!("/tokens/{}", new.token.id), version: None, thing: new }
}
