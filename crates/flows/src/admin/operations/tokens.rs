//! Operations on reference tokens (API keys). Values are shown once.

use model::reference_token::{NewTokenRequest, ReferenceToken, ReferenceTokenKind, masked};
use model::{ReferenceTokenId, Timestamp};
use oauth::scope::Scope;
use schemars::JsonSchema;
use serde::Serialize;
use store::TokensOf;
use uuid::Uuid;

use crate::Answer;
use crate::admin::AdminRefusal;
use crate::admin::act::AdminAct;
use crate::admin::operations::{
    AdminOperation, AnySignIn, ListPage, OperationContext, OperationEntry, RecentSignIn, Time, granted,
};
use crate::admin::tokens::{IssuedToken, TokenDraft};

pub(super) const OPERATIONS: &[OperationEntry] = &[
    OperationEntry::of::<ListTokens>(),
    OperationEntry::of::<IssueToken>(),
    OperationEntry::of::<GetToken>(),
    OperationEntry::of::<RevokeToken>(),
];

#[derive(Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TokenKind {
    /// Acts as a user.
    Personal,
    /// Acts as an application's System User.
    Service,
}

/// A reference token (API key), without its value.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TokenEntry {
    pub id: Uuid,
    pub kind: TokenKind,
    /// The masked value: only its last four characters.
    pub value: String,
    /// Id of the application the token belongs to.
    pub application: Uuid,
    /// Id of the user it acts as.
    pub user: Uuid,
    pub description: String,
    pub scope: String,
    /// `operator`, or the id or login of a user.
    pub created_by: String,
    pub created_at: Time,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_used_at: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<Time>,
}

impl From<ReferenceToken> for TokenEntry {
    fn from(token: ReferenceToken) -> Self {
        Self {
            id: token.id.0,
            kind: match token.kind {
                ReferenceTokenKind::Personal => TokenKind::Personal,
                ReferenceTokenKind::Service => TokenKind::Service,
            },
            value: masked(&token.tail),
            application: token.application.0,
            user: token.user.0,
            description: token.description,
            scope: token.scope.to_string(),
            created_by: token.created_by,
            created_at: token.created_at.into(),
            expires_at: token.expires_at.map(Time::from),
            last_used_at: token.last_used_at.map(Time::from),
            revoked_at: token.revoked_at.map(Time::from),
        }
    }
}

/// The next tokens after an id, newest first.
pub struct TokenQuery {
    pub of: TokensOf,
    pub after: Option<ReferenceTokenId>,
    pub limit: u32,
}

pub struct ListTokens;

impl AdminOperation for ListTokens {
    const NAME: &'static str = "listTokens";
    const SUMMARY: &'static str = "List reference tokens, newest first";
    const ACTS: &'static [AdminAct] = &[];
    type Authority = AnySignIn;
    type Input = TokenQuery;
    type Output = ListPage<TokenEntry>;

    async fn run(
        context: &mut OperationContext<'_, AnySignIn>,
        TokenQuery { of, after, limit }: TokenQuery,
    ) -> Answer<ListPage<TokenEntry>, AdminRefusal> {
        let rows = context.service.tokens_before(after, of, limit + 1).await?;
        Ok(Ok(ListPage::of(rows, limit, |token| token.id.to_string(), TokenEntry::from)))
    }
}

/// A token to issue.
pub struct TokenWish {
    /// `ApplicationUri`.
    pub application: String,
    /// The login of the user that a personal token acts as. `None` for a service token, which acts as the
    /// application's System User.
    pub login: Option<String>,
    pub description: String,
    pub scope: Scope,
    pub expires_at: Option<Timestamp>,
}

#[derive(Serialize, JsonSchema)]
pub struct NewToken {
    pub token: TokenEntry,
    /// Shown only once.
    pub value: String,
}

pub struct IssueToken;

impl AdminOperation for IssueToken {
    const NAME: &'static str = "issueToken";
    const SUMMARY: &'static str = "Issue a service token for an application";
    const ACTS: &'static [AdminAct] = &[AdminAct::IssueToken];
    type Authority = RecentSignIn;
    type Input = TokenWish;
    type Output = NewToken;

    async fn run(context: &mut OperationContext<'_, RecentSignIn>, wish: TokenWish) -> Answer<NewToken, AdminRefusal> {
        let request = NewTokenRequest {
            kind: if wish.login.is_some() { ReferenceTokenKind::Personal } else { ReferenceTokenKind::Service },
            description: &wish.description,
            scope: &wish.scope,
            expires_at: wish.expires_at,
        };
        let draft = TokenDraft { application: &wish.application, login: wish.login.as_deref(), wish: request };
        let issued = context.service.issue_token(&draft, &mut context.moment).await?;
        let IssuedToken { token, value, .. } = granted!(issued.map_err(AdminRefusal::of_a_member));
        if token.kind == ReferenceTokenKind::Service {
            context.delivery.tell_issued(&wish.application, &token);
        }
        Ok(Ok(NewToken { token: token.into(), value: value.expose().to_owned() }))
    }
}

pub struct GetToken;

impl AdminOperation for GetToken {
    const NAME: &'static str = "getToken";
    const SUMMARY: &'static str = "Get a reference token. Its value is not included";
    const ACTS: &'static [AdminAct] = &[];
    type Authority = AnySignIn;
    type Input = ReferenceTokenId;
    type Output = TokenEntry;

    async fn run(
        context: &mut OperationContext<'_, AnySignIn>,
        id: ReferenceTokenId,
    ) -> Answer<TokenEntry, AdminRefusal> {
        Ok(context.service.token(id).await?.map(TokenEntry::from))
    }
}

/// A token that is revoked already is no refusal, because DELETE is idempotent.
pub struct RevokeToken;

impl AdminOperation for RevokeToken {
    const NAME: &'static str = "revokeToken";
    const SUMMARY: &'static str = "Revoke a reference token, effective immediately";
    const ACTS: &'static [AdminAct] = &[AdminAct::RevokeToken];
    type Authority = AnySignIn;
    type Input = ReferenceTokenId;
    type Output = ();

    async fn run(context: &mut OperationContext<'_, AnySignIn>, id: ReferenceTokenId) -> Answer<(), AdminRefusal> {
        let token = granted!(context.service.token(id).await?);
        if token.revoked_at.is_none() {
            // A refusal: somebody else revoked it meanwhile.
            let _revoked = context.service.revoke_token(token.id, &mut context.moment).await?;
        }
        Ok(Ok(()))
    }
}
