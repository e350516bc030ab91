//! Token revocation (RFC 7009) and introspection (RFC 7662), for all kinds of tokens.

use model::application::ClientRefusal;
use model::audit::{AuditEvent, AuditKind};
use model::authorization::{RefreshFamily, Rotation, rotate};
use model::claims::TokenSubject;
use model::refusal::Refusal as _;
use model::seat::CloseReason;
use model::{AuthenticatedClient, Authorization, AuthorizationState, Ctx, Generation, Moment};
use oauth::client::ClientCredentials;
use oauth::secret::{AccessToken, Presented, RefreshToken};
use serde::Serialize;
use store::{Batch, Change, ChangeKind, CommitOutcome, SessionsToClose};
use uuid::Uuid;

use crate::audit::AuditWriter;
use crate::auth::credentials::{CredentialRecord, ValidCredential};
use crate::memory::live_sessions::close_sessions;
use crate::protocol::Protocol;
use crate::protocol::exchange::with_subject;
use crate::{Answer, Fault};

/// RFC 7662 §2.2. A token that is not active discloses nothing else.
#[derive(Default, Serialize)]
pub struct Introspection {
    pub active: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sub: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iss: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aud: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iat: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exp: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jti: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sid: Option<String>,
}

/// A refresh token of this instance, with the authorization it descends from.
struct StoredRefreshToken {
    authorization: Authorization,
    shown: Generation,
}

impl Protocol<'_> {
    /// RFC 7009 §2: the answer is the same for every token. Only a token of this client is revoked.
    pub async fn revoke(
        &self,
        ctx: &mut Ctx<'_>,
        credentials: &ClientCredentials,
        token: &str,
    ) -> Answer<(), ClientRefusal> {
        self.memory.renew(ctx.now).await?;
        let register = self.memory.applications();
        let client = match register.authenticate(credentials, ctx.now) {
            Ok(client) => client,
            Err(refusal) => return self.refuse_client(ctx, credentials, refusal),
        };
        if let Some(known) = self.known_refresh(token).await? {
            if known.authorization.application == client.get().id {
                self.end_family(ctx, client, &known.authorization).await?;
            }
            return Ok(Ok(()));
        }
        if let Ok(standing) = self.auth.validate_credential(&Presented::<AccessToken>::new(token), ctx.now).await?
            && standing.application.id == client.get().id
        {
            self.revoke_standing(ctx, client, &standing).await?;
        }
        Ok(Ok(()))
    }

    async fn revoke_standing(
        &self,
        ctx: &mut Ctx<'_>,
        client: AuthenticatedClient<'_>,
        standing: &ValidCredential,
    ) -> Result<(), Fault> {
        let verified = match &standing.credential {
            CredentialRecord::Reference(token) => {
                return self.auth.revoke_reference_token(ctx, token, "revoked").await.map(drop);
            }
            CredentialRecord::Jwt(verified) => verified,
        };
        match verified.token.holder {
            // RFC 7009 §2.1: the refresh tokens of the same grant are revoked too, and all its access tokens with them.
            TokenSubject::User { descent, .. } => match self.memory.store.authorization(descent.authorization).await? {
                Some((authorization, _)) => self.end_family(ctx, client, &authorization).await,
                None => Ok(()),
            },
            TokenSubject::Service { user } => {
                let Ok(id) = Uuid::try_parse(&verified.token.id) else { return Ok(()) };
                let event = AuditEvent::done(ctx.now, AuditKind::TokenRevoked, ctx.request)
                    .application(client.get().uri.as_str())
                    .user(user)
                    .token(verified.token.id.clone());
                let change = Change { kind: ChangeKind::AccessTokenRevoked, subject: id };
                let mut batch = Batch::from(vec![
                    self.memory.store.revoke_access_token(id, ctx.now),
                    AuditWriter::new(&self.memory.store, ctx.rng, ctx.now).event(&event),
                ]);
                batch.append(close_sessions(
                    &self.memory.store,
                    SessionsToClose::OfServiceToken(id),
                    CloseReason::TokenRevoked,
                    &mut ctx.moment(),
                ));
                batch.announce(change, ctx.now);
                match self.memory.commit(batch, ctx.now).await? {
                    CommitOutcome::Committed => Ok(()),
                    CommitOutcome::GuardFailed { .. } => Err(Fault::failed("the instance is gone")),
                }
            }
        }
    }

    async fn end_family(
        &self,
        ctx: &mut Ctx<'_>,
        client: AuthenticatedClient<'_>,
        authorization: &Authorization,
    ) -> Result<(), Fault> {
        let mut event =
            with_subject(AuditEvent::done(ctx.now, AuditKind::TokenRevoked, ctx.request), client, authorization);
        event.reason = "revoked";
        self.end_authorization(&mut ctx.moment(), authorization.id, "revoked", &event).await
    }

    /// RFC 7662 §2. A Confidential application may introspect its own tokens. Any other token is reported as not
    /// active, like one that never existed.
    pub async fn introspect(
        &self,
        ctx: &mut Ctx<'_>,
        credentials: &ClientCredentials,
        token: &str,
    ) -> Answer<Introspection, ClientRefusal> {
        self.memory.renew(ctx.now).await?;
        let register = self.memory.applications();
        let client = match register.authenticate(credentials, ctx.now) {
            Ok(client) if client.is_confidential() => client,
            // "The endpoint MUST also require some form of authorization" (RFC 7662 §2.1): a bare `client_id` is not
            // enough.
            Ok(_) => return self.refuse_client(ctx, credentials, ClientRefusal::SecretMissing),
            Err(refusal) => return self.refuse_client(ctx, credentials, refusal),
        };
        let found = match self.known_refresh(token).await? {
            Some(known) => self.describe_refresh(client, known, &ctx.moment()).await?,
            None => match self.auth.validate_credential(&Presented::<AccessToken>::new(token), ctx.now).await? {
                Ok(standing) if standing.application.id == client.get().id => Ok(self.describe(&standing)),
                Ok(_) => Err("token_of_another_application"),
                Err(refusal) => Err(refusal.cause()),
            },
        };
        let detail = match &found {
            Ok(_) => serde_json::json!({ "active": true }),
            Err(because) => serde_json::json!({ "active": false, "because": because }),
        };
        let event = AuditEvent::done(ctx.now, AuditKind::Introspection, ctx.request)
            .application(client.get().uri.as_str())
            .detail(&detail);
        self.audit.put(event)?;
        Ok(Ok(found.unwrap_or_default()))
    }

    fn describe(&self, standing: &ValidCredential) -> Introspection {
        let user = &standing.user;
        let common = Introspection {
            active: true,
            token_type: Some("Bearer"),
            scope: Some(standing.scope().to_string()),
            client_id: Some(standing.application.uri.as_str().to_owned()),
            username: Some(user.login.as_str().to_owned()),
            iss: Some(self.info.issuer.clone()),
            ..Introspection::default()
        };
        match &standing.credential {
            CredentialRecord::Reference(token) => Introspection {
                sub: Some(user.login.as_str().to_owned()),
                iat: Some(token.created_at.seconds()),
                exp: token.expires_at.map(model::Timestamp::seconds),
                jti: Some(token.id.to_string()),
                ..common
            },
            CredentialRecord::Jwt(verified) => {
                let token = &verified.token;
                let (sub, sid) = match token.holder {
                    TokenSubject::User { session, .. } => {
                        (Some(user.login.as_str().to_owned()), Some(session.to_string()))
                    }
                    TokenSubject::Service { .. } => (None, None),
                };
                Introspection {
                    sub,
                    sid,
                    aud: Some(token.audience.clone()),
                    iat: Some(token.not_before.seconds()),
                    exp: Some(token.expires_at.seconds()),
                    jti: Some(token.id.clone()),
                    ..common
                }
            }
        }
    }

    /// Active if a refresh would succeed; else the cause, for the audit.
    async fn describe_refresh(
        &self,
        client: AuthenticatedClient<'_>,
        known: StoredRefreshToken,
        moment: &Moment<'_>,
    ) -> Answer<Introspection, &'static str> {
        let StoredRefreshToken { mut authorization, shown } = known;
        let authorization = self.with_memory(&mut authorization);
        match rotate(moment.now, client, authorization, shown, None) {
            Ok(Rotation::Advance) => {}
            Ok(Rotation::Repeat) => return Ok(Err("refresh_token_spent")),
            Err(refusal) => return Ok(Err(refusal.cause())),
        }
        if let Err(gone) = self.valid_user(client, authorization).await? {
            return Ok(Err(gone.cause()));
        }
        let end = match authorization.state {
            AuthorizationState::Redeemed(RefreshFamily { refresh_until, .. }) => refresh_until,
            AuthorizationState::Issued(_) | AuthorizationState::Ended(_) => None,
        };
        Ok(Ok(Introspection {
            active: true,
            scope: Some(authorization.scope.to_string()),
            client_id: Some(client.get().uri.as_str().to_owned()),
            iss: Some(self.info.issuer.clone()),
            exp: end.map(model::Timestamp::seconds),
            sid: Some(authorization.session.to_string()),
            ..Introspection::default()
        }))
    }

    async fn known_refresh(&self, token: &str) -> Result<Option<StoredRefreshToken>, Fault> {
        let Some((id, shown)) = self.parse_refresh_token(&Presented::<RefreshToken>::new(token)) else {
            return Ok(None);
        };
        let row = self.memory.store.authorization(id).await?;
        Ok(row.map(|(authorization, _)| StoredRefreshToken { authorization, shown }))
    }
}
