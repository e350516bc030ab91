//! The token endpoint (`identity.md` §3.2, RFC 6749 §3.2).

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use model::application::{ClientRefusal, PROTOCOL_SCOPES, ServiceAccess, service_scope};
use model::audit::{Asker, AuditEvent, AuditKind};
use model::authorization::{RedeemRefusal, RefreshFamily, RefreshRefusal, Rotation, redeem, rotate};
use model::claims;
use model::claims::{IdTokenBinding, TokenIssuer};
pub use model::exchange::ExchangeRefusal;
use model::refusal::Refusal as _;
use model::validity;
use model::validity::InvalidityReason;
use model::{
    AuthenticatedClient, Authorization, AuthorizationId, AuthorizationState, Ctx, Generation, Moment,
    TrustedApplication, User,
};
use oauth::client::ClientCredentials;
use oauth::jose::half_hash;
use oauth::pkce::Verifier;
use oauth::scope::Scope;
use oauth::secret::{AuthorizationCode, Presented, RefreshToken};
use oauth::token::{TokenRequest, TokenResponse};
use store::{Batch, Change, ChangeKind, CommitOutcome};

use crate::audit::AuditWriter;
use crate::platform::seal::MacPurpose;
use crate::protocol::Protocol;
use crate::protocol::codes::authorization_of;
use crate::{Answer, Fault};

/// Attempts when concurrent requests win the race, before the request fails.
const MAX_ATTEMPTS: usize = 4;

impl Protocol<'_> {
    pub async fn exchange(
        &self,
        ctx: &mut Ctx<'_>,
        credentials: &ClientCredentials,
        request: &TokenRequest,
    ) -> Answer<TokenResponse, ExchangeRefusal> {
        self.memory.renew(ctx.now).await?;
        let register = self.memory.applications();
        let client = match register.authenticate(credentials, ctx.now) {
            Ok(client) => client,
            Err(refusal) => {
                return self.refuse_token(ctx, credentials, Asker::Stranger, ExchangeRefusal::Client(refusal));
            }
        };
        let answer = match request {
            TokenRequest::AuthorizationCode { code, redirect_uri, verifier } => {
                let answer = self.redeem_code(ctx, client, code, redirect_uri.as_deref(), verifier.as_ref()).await?;
                answer.map_err(ExchangeRefusal::Code)
            }
            TokenRequest::RefreshToken { refresh_token, scope } => {
                let answer = self.refresh(ctx, client, refresh_token, scope.as_ref()).await?;
                answer.map_err(ExchangeRefusal::Refresh)
            }
            TokenRequest::ClientCredentials { scope } => self.client_credentials(ctx, client, scope.as_ref()).await?,
        };
        match answer {
            Ok(response) => {
                self.memory.meters.tokens_issued.add(request.grant_type());
                Ok(Ok(response))
            }
            // Reuse revokes the family; the event was committed with the revocation.
            Err(
                refusal @ (ExchangeRefusal::Code(RedeemRefusal::Reused { .. })
                | ExchangeRefusal::Refresh(RefreshRefusal::Reused { .. })),
            ) => {
                self.memory.meters.tokens_refused.add(refusal.cause());
                Ok(Err(refusal))
            }
            Err(refusal) => self.refuse_token(ctx, credentials, client.asker(), refusal),
        }
    }

    pub(crate) fn refuse_client<T>(
        &self,
        ctx: &mut Ctx<'_>,
        credentials: &ClientCredentials,
        refusal: ClientRefusal,
    ) -> Answer<T, ClientRefusal> {
        let event = AuditEvent::refused(ctx.now, AuditKind::TokenRefused, ctx.request, Asker::Stranger, &refusal)
            .application(credentials.client_id().as_str());
        self.audit.put(event)?;
        Ok(Err(refusal))
    }

    fn refuse_token<T>(
        &self,
        ctx: &mut Ctx<'_>,
        credentials: &ClientCredentials,
        asker: Asker,
        refusal: ExchangeRefusal,
    ) -> Answer<T, ExchangeRefusal> {
        self.memory.meters.tokens_refused.add(refusal.cause());
        let event = AuditEvent::refused(ctx.now, AuditKind::TokenRefused, ctx.request, asker, &refusal)
            .application(credentials.client_id().as_str());
        self.audit.put(event)?;
        Ok(Err(refusal))
    }

    /// RFC 6749 §4.4: the token acts as the System User; no refresh token, no ID token, ever.
    async fn client_credentials(
        &self,
        ctx: &mut Ctx<'_>,
        client: AuthenticatedClient<'_>,
        asked: Option<&Scope>,
    ) -> Answer<TokenResponse, ExchangeRefusal> {
        let application = client.get();
        let ServiceAccess::ActsAs(user) = application.service else {
            return Ok(Err(ExchangeRefusal::ServiceNotAllowed));
        };
        let scope = match service_scope(application, asked) {
            Ok(scope) => scope,
            Err(refusal) => return Ok(Err(ExchangeRefusal::ScopeNotAllowed(refusal))),
        };
        let user = match validity::user(self.memory.user(user).await?, None) {
            Ok(user) => user,
            Err(gone) => return Ok(Err(ExchangeRefusal::SystemUserGone(gone))),
        };
        let settings = self.memory.settings();
        let unique = ctx.id().simple().to_string();
        let issuing = self.issuing(&settings, application, &ctx.moment());
        let lifetime = issuing.lifetime;
        let claims = claims::service_access_token(&issuing, application, &user, &scope, &unique);
        let access_token = self.sign_access_token(application, claims, &ctx.moment()).await?;
        let event = AuditEvent::done(ctx.now, AuditKind::TokenIssued, ctx.request)
            .application(application.uri.as_str())
            .user(user.id)
            .token(unique);
        self.audit.put(event)?;
        Ok(Ok(response(access_token, lifetime, &scope)))
    }

    /// RFC 6749 §4.1.3.
    async fn redeem_code(
        &self,
        ctx: &mut Ctx<'_>,
        client: AuthenticatedClient<'_>,
        code: &Presented<AuthorizationCode>,
        redirect_uri: Option<&str>,
        verifier: Option<&Verifier>,
    ) -> Answer<TokenResponse, RedeemRefusal> {
        let unknown = RedeemRefusal::Unknown { length: code.expose().len() };
        let Some(id) = authorization_of(code) else { return Ok(Err(unknown)) };
        for _ in 0..MAX_ATTEMPTS {
            let known = self.memory.store.authorization(id).await?;
            let Some((authorization, _)) = known.filter(|(_, digest)| digest.matches(code)) else {
                return Ok(Err(unknown));
            };
            let nonce = match redeem(ctx.now, client, &authorization, redirect_uri, verifier) {
                Ok(issued) => issued.nonce.clone(),
                Err(refusal @ RedeemRefusal::Reused { .. }) => {
                    let event = AuditEvent::refused(
                        ctx.now,
                        AuditKind::CodeReused,
                        ctx.request,
                        Asker::Authenticated,
                        &refusal,
                    );
                    let event = with_subject(event, client, &authorization);
                    self.end_authorization(&mut ctx.moment(), authorization.id, refusal.cause(), &event).await?;
                    return Ok(Err(refusal));
                }
                Err(refusal) => return Ok(Err(refusal)),
            };
            let user = match self.valid_user(client, &authorization).await? {
                Ok(user) => user,
                Err(gone) => return Ok(Err(RedeemRefusal::Gone(gone))),
            };
            let may_refresh = authorization.scope.contains("offline_access") && client.get().may_refresh();
            let refresh_until = may_refresh.then(|| authorization.auth_time.plus(client.get().refresh_lifetime()));
            let event =
                with_subject(AuditEvent::done(ctx.now, AuditKind::CodeRedeemed, ctx.request), client, &authorization);
            let batch = Batch::from(vec![
                self.memory.store.redeem_code(id, refresh_until, ctx.now),
                AuditWriter::new(&self.memory.store, ctx.rng, ctx.now).event(&event),
            ]);
            if let CommitOutcome::Committed = self.memory.store.commit(batch).await? {
                let generation = refresh_until.is_some().then_some(Generation::FIRST);
                let tokens =
                    TokenInputs { authorization: &authorization, user: &user, scope: &authorization.scope, nonce };
                return self
                    .user_tokens(&mut ctx.moment(), client, tokens, Generation::FIRST, generation)
                    .await
                    .map(Ok);
            }
        }
        Err(Fault::unavailable("the code was fought over"))
    }

    /// RFC 6749 §6.
    async fn refresh(
        &self,
        ctx: &mut Ctx<'_>,
        client: AuthenticatedClient<'_>,
        shown: &Presented<RefreshToken>,
        asked: Option<&Scope>,
    ) -> Answer<TokenResponse, RefreshRefusal> {
        let unknown = RefreshRefusal::Unknown { length: Some(shown.expose().len()) };
        let Some((id, shown)) = self.parse_refresh_token(shown) else { return Ok(Err(unknown)) };
        for _ in 0..MAX_ATTEMPTS {
            let Some((mut authorization, _)) = self.memory.store.authorization(id).await? else {
                return Ok(Err(unknown));
            };
            let rotation = match rotate(ctx.now, client, self.with_memory(&mut authorization), shown, asked) {
                Ok(rotation) => rotation,
                Err(refusal @ RefreshRefusal::Reused { .. }) => {
                    let event = AuditEvent::refused(
                        ctx.now,
                        AuditKind::TokenReused,
                        ctx.request,
                        Asker::Authenticated,
                        &refusal,
                    );
                    let event = with_subject(event, client, &authorization).repeating(authorization.rotated_by());
                    self.end_authorization(&mut ctx.moment(), authorization.id, refusal.cause(), &event).await?;
                    return Ok(Err(refusal));
                }
                Err(refusal) => return Ok(Err(refusal)),
            };
            let user = match self.valid_user(client, &authorization).await? {
                Ok(user) => user,
                Err(gone) => return Ok(Err(RefreshRefusal::Gone(gone))),
            };
            let (change, kind, earlier) = match rotation {
                Rotation::Advance => {
                    let advance = self.memory.store.advance_family(id, shown, &ctx.request.origin(), ctx.now);
                    (advance, AuditKind::TokenRefreshed, None)
                }
                Rotation::Repeat => {
                    (self.memory.store.expect_family_stands(id), AuditKind::TokenRepeated, authorization.rotated_by())
                }
            };
            let event =
                with_subject(AuditEvent::done(ctx.now, kind, ctx.request), client, &authorization).repeating(earlier);
            let batch = Batch::from(vec![change, AuditWriter::new(&self.memory.store, ctx.rng, ctx.now).event(&event)]);
            if let CommitOutcome::GuardFailed { .. } = self.memory.store.commit(batch).await? {
                continue;
            }
            let newest = shown.next();
            let granted = asked.unwrap_or(&authorization.scope);
            let still_registered = still_registered(client.get(), granted);
            let tokens =
                TokenInputs { authorization: &authorization, user: &user, scope: &still_registered, nonce: None };
            return self.user_tokens(&mut ctx.moment(), client, tokens, newest, Some(newest)).await.map(Ok);
        }
        Err(Fault::unavailable("the refresh token was fought over"))
    }

    /// Adds a fact that only memory has: an access token of the newest generation was used.
    pub(crate) fn with_memory<'a>(&self, authorization: &'a mut Authorization) -> &'a Authorization {
        if let AuthorizationState::Redeemed(RefreshFamily { generation, proven, .. }) = &mut authorization.state {
            *proven |= self.memory.current().used_generations.knows(authorization.id, *generation);
        }
        authorization
    }

    /// The user, unless something ended the authorization: the user was disabled, got a new password or signed out, or
    /// the application was disabled.
    pub(crate) async fn valid_user(
        &self,
        client: AuthenticatedClient<'_>,
        authorization: &Authorization,
    ) -> Answer<Arc<User>, InvalidityReason> {
        let user = self.memory.user(authorization.user).await?;
        Ok(validity::signed_in(user, client.get(), authorization.epochs))
    }

    /// Ends the authorization with everything issued from it, JWTs included, before the request is answered.
    pub(crate) async fn end_authorization(
        &self,
        moment: &mut Moment<'_>,
        authorization: AuthorizationId,
        reason: &'static str,
        event: &AuditEvent,
    ) -> Result<(), Fault> {
        let mut batch = Batch::from(vec![
            self.memory.store.end_authorization(authorization, reason, moment.now),
            AuditWriter::new(&self.memory.store, moment.rng, moment.now).event(event),
        ]);
        let change = Change { kind: ChangeKind::AuthorizationEnded, subject: authorization.0 };
        batch.announce(change, moment.now);
        let CommitOutcome::Committed = self.memory.commit(batch, moment.now).await? else {
            return Err(Fault::failed("the instance is gone"));
        };
        Ok(())
    }

    async fn user_tokens(
        &self,
        moment: &mut Moment<'_>,
        client: AuthenticatedClient<'_>,
        tokens: TokenInputs<'_>,
        generation: Generation,
        refresh: Option<Generation>,
    ) -> Result<TokenResponse, Fault> {
        let application = client.get();
        let settings = self.memory.settings();
        let unique = URL_SAFE_NO_PAD.encode(&moment.rng.secret()[..16]);
        let issuing = self.issuing(&settings, application, moment);
        let lifetime = issuing.lifetime;
        let TokenInputs { authorization, user, scope, nonce } = tokens;
        let access = claims::user_access_token(&issuing, application, user, authorization, scope, generation, &unique);
        let access_token = self.sign_access_token(application, access, moment).await?;
        let id_token = if scope.contains("openid") {
            let algorithm = application.id_token_algorithm.unwrap_or(settings.id_token_algorithm);
            let at_hash = half_hash(algorithm, &access_token);
            let binding = IdTokenBinding { nonce: nonce.as_deref(), at_hash: Some(&at_hash), c_hash: None };
            let claims = claims::id_token(&issuing, application, user, authorization, binding);
            Some(self.memory.sign(algorithm, "JWT", claims, moment.now).await?)
        } else {
            None
        };
        let refresh_token = refresh.map(|generation| self.refresh_token(authorization.id, generation));
        Ok(TokenResponse { refresh_token, id_token, ..response(access_token, lifetime, scope) })
    }

    /// The ID token of a response of the authorization endpoint.
    pub(crate) async fn front_channel_id_token(
        &self,
        moment: &Moment<'_>,
        application: &TrustedApplication,
        user: &User,
        authorization: &Authorization,
        issued: FrontChannelToken<'_>,
    ) -> Result<String, Fault> {
        let settings = self.memory.settings();
        let algorithm = application.id_token_algorithm.unwrap_or(settings.id_token_algorithm);
        let c_hash = issued.code.map(|code| half_hash(algorithm, code.expose()));
        let binding = IdTokenBinding { nonce: issued.nonce, at_hash: None, c_hash: c_hash.as_deref() };
        let claims =
            claims::id_token(&self.issuing(&settings, application, moment), application, user, authorization, binding);
        self.memory.sign(algorithm, "JWT", claims, moment.now).await
    }

    fn issuing<'a>(
        &'a self,
        settings: &model::InstanceSettings,
        application: &TrustedApplication,
        moment: &Moment<'_>,
    ) -> TokenIssuer<'a> {
        TokenIssuer {
            issuer: &self.info.issuer,
            instance: &self.info.name,
            scope_as_string: settings.scope_as_string,
            service_sub: settings.service_token_sub,
            now: moment.now,
            lifetime: application.access_token_lifetime.unwrap_or_else(|| settings.access_token_lifetime()),
        }
    }

    async fn sign_access_token(
        &self,
        application: &TrustedApplication,
        claims: Vec<u8>,
        moment: &Moment<'_>,
    ) -> Result<String, Fault> {
        let algorithm =
            application.access_token_algorithm.unwrap_or_else(|| self.memory.settings().access_token_algorithm);
        self.memory.sign(algorithm, "at+jwt", claims, moment.now).await
    }

    /// Derived, not stored: `authorization . generation . MAC`.
    fn refresh_token(&self, id: AuthorizationId, generation: Generation) -> Presented<RefreshToken> {
        let number = generation.0.to_string();
        let tag =
            self.memory.current().secret.load().sign(MacPurpose::RefreshToken, &[id.0.as_bytes(), number.as_bytes()]);
        Presented::new(format!("{}.{number}.{tag}", id.0.simple()))
    }

    pub(crate) fn parse_refresh_token(&self, shown: &Presented<RefreshToken>) -> Option<(AuthorizationId, Generation)> {
        let mut parts = shown.expose().splitn(3, '.');
        let (id, number, tag) = (parts.next()?, parts.next()?, parts.next()?);
        let id = AuthorizationId(uuid::Uuid::try_parse(id).ok()?);
        let good = self.memory.current().secret.load().verify(
            MacPurpose::RefreshToken,
            &[id.0.as_bytes(), number.as_bytes()],
            tag,
        );
        number.parse().ok().filter(|_| good).map(|number| (id, Generation(number)))
    }
}

/// What an ID token of the authorization endpoint is bound to.
pub(crate) struct FrontChannelToken<'a> {
    pub(crate) nonce: Option<&'a str>,
    /// Issued in the same response.
    pub(crate) code: Option<&'a Presented<AuthorizationCode>>,
}

/// Inputs for the tokens of a signed-in user.
struct TokenInputs<'a> {
    authorization: &'a Authorization,
    user: &'a User,
    scope: &'a Scope,
    nonce: Option<String>,
}

pub(crate) fn with_subject(
    event: AuditEvent,
    client: AuthenticatedClient<'_>,
    authorization: &Authorization,
) -> AuditEvent {
    event
        .application(client.get().uri.as_str())
        .user(authorization.user)
        .session(authorization.session)
        .token(authorization.id.to_string())
}

/// The scopes that the application may still have: its record may have been narrowed since the user consented.
fn still_registered(application: &TrustedApplication, granted: &Scope) -> Scope {
    granted.filter(|token| PROTOCOL_SCOPES.contains(&token) || application.scope.contains(token))
}

fn response(access_token: String, lifetime: Duration, scope: &Scope) -> TokenResponse {
    TokenResponse {
        access_token: Presented::new(access_token),
        token_type: "Bearer",
        expires_in: lifetime.as_secs(),
        scope: scope.to_string(),
        refresh_token: None,
        id_token: None,
    }
}
