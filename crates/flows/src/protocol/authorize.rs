//! The authorization endpoint (`identity.md` §3.1, RFC 6749 §4.1, OpenID Connect Core §3.1.2).

use std::sync::Arc;

use model::audit::{Asker, AuditEvent, AuditKind};
use model::authorization::{CODE_LIFETIME, IssuedCode};
pub use model::authorize::TargetRefusal;
use model::authorize::{AuthorizeRefusal, GrantableRequest, NextStep, SignInState, check, next_step};
use model::claims::Epochs;
use model::{Authorization, AuthorizationId, AuthorizationState, Ctx, TrustedApplication};
use oauth::authorize::{
    AuthorizationRequest, AuthorizationResponse, AuthorizationTarget, MalformedAuthorizationRequest, ResponseMode,
    TargetError,
};
use oauth::client::ClientId;
use oauth::redirect::RedirectMatch;
use oauth::scope::Scope;
use oauth::secret::Presented;
use store::{Batch, CommitOutcome, ConsentParties};

use crate::audit::AuditWriter;
use crate::auth::browser_session::SignedIn;
use crate::protocol::Protocol;
use crate::protocol::codes::encode_code;
use crate::protocol::exchange::FrontChannelToken;
use crate::{Answer, Fault};

/// A request with a verified redirect URI: the answer, even an error, goes back to the application.
pub struct VerifiedRequest {
    pub application: Arc<TrustedApplication>,
    pub redirect_match: RedirectMatch,
    pub request: Arc<AuthorizationRequest>,
}

/// The user at the browser.
#[derive(Clone, Copy)]
pub struct RequestUser<'a> {
    pub browser: &'a SignedIn,
    /// The user just signed in, confirmed the account, or consented, on a page of this request.
    pub for_this_request: bool,
}

/// The result of an authorization request.
pub enum AuthorizeOutcome {
    SignIn,
    Consent {
        scope: Scope,
    },
    /// A code or an error for the application.
    Respond(AuthorizationResponse),
}

/// The consent that a code is issued on.
enum Agreement {
    /// The application requires no consent.
    NotNeeded,
    /// The user consented earlier, and has not withdrawn the consent.
    Earlier(Scope),
    /// The user consents now. `before` is the stored text of the earlier consent.
    Now { before: String, agreed: Scope },
}

/// Where a response goes, once the redirect URI is verified.
#[derive(Clone, Copy)]
struct Recipient<'a> {
    application: &'a TrustedApplication,
    redirect_uri: &'a str,
    mode: ResponseMode,
    state: Option<&'a str>,
}

impl VerifiedRequest {
    fn recipient(&self) -> Recipient<'_> {
        let request = &*self.request;
        Recipient {
            application: &self.application,
            redirect_uri: &request.target.redirect_uri,
            mode: request.response_mode,
            state: request.state.as_deref(),
        }
    }
}

/// Attempts when concurrent requests win the race, before the page fails.
const MAX_ATTEMPTS: usize = 4;

impl Protocol<'_> {
    /// Checks 1 and 2.
    pub async fn verify_request(
        &self,
        ctx: &mut Ctx<'_>,
        request: Arc<AuthorizationRequest>,
    ) -> Answer<VerifiedRequest, TargetRefusal> {
        let (application, redirect_match) = match self.verify_target(ctx, &request.target).await? {
            Ok(verified) => verified,
            Err(refusal) => return Ok(Err(refusal)),
        };
        Ok(Ok(VerifiedRequest { application, redirect_match, request }))
    }

    /// Returns the error to the application, if checks 1 and 2 allow it.
    pub async fn refuse_malformed(
        &self,
        ctx: &mut Ctx<'_>,
        malformed: MalformedAuthorizationRequest,
    ) -> Answer<AuthorizationResponse, TargetRefusal> {
        let malformed = match malformed {
            MalformedAuthorizationRequest::Parameters(malformed) => *malformed,
            MalformedAuthorizationRequest::Target(error) => {
                let client_id = match &error {
                    TargetError::RedirectUriMissing { client_id } | TargetError::RedirectUriRepeated { client_id } => {
                        Some(client_id.clone())
                    }
                    _ => None,
                };
                return self.refuse_target(ctx, client_id.as_ref(), TargetRefusal::Malformed(error)).map(Err);
            }
        };
        let application = match self.verify_target(ctx, &malformed.target).await? {
            Ok((application, _)) => application,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let recipient = Recipient {
            application: &application,
            redirect_uri: &malformed.target.redirect_uri,
            mode: malformed.response_mode,
            state: malformed.state.as_deref(),
        };
        self.refuse(ctx, recipient, &AuthorizeRefusal::Malformed(malformed.error, malformed.sent)).map(Ok)
    }

    async fn verify_target(
        &self,
        ctx: &mut Ctx<'_>,
        target: &AuthorizationTarget,
    ) -> Answer<(Arc<TrustedApplication>, RedirectMatch), TargetRefusal> {
        self.memory.renew(ctx.now).await?;
        let application = self.memory.applications().by_uri(&target.client_id).cloned();
        let refusal = match application {
            None => TargetRefusal::UnknownApplication,
            Some(application) if !application.enabled => TargetRefusal::ApplicationDisabled,
            Some(application) => {
                if let Some(redirect_match) = application.redirect_match(&target.redirect_uri) {
                    return Ok(Ok((application, redirect_match)));
                }
                let registered = application.redirect_uris.iter().map(|uri| uri.as_str().to_owned()).collect();
                TargetRefusal::RedirectUriNotRegistered { sent: target.redirect_uri.clone(), registered }
            }
        };
        self.refuse_target(ctx, Some(&target.client_id), refusal).map(Err)
    }

    /// Checks 3 to 7, and the code.
    pub async fn authorize(
        &self,
        ctx: &mut Ctx<'_>,
        verified: &VerifiedRequest,
        user: Option<RequestUser<'_>>,
    ) -> Result<AuthorizeOutcome, Fault> {
        let asked = &*verified.request;
        let grantable = match check(&verified.application, asked) {
            Ok(grantable) => grantable,
            Err(refusal) => return self.respond_refusal(ctx, verified, &refusal),
        };
        let hint = match asked.id_token_hint.as_deref().map(|hint| self.read_hint(hint)) {
            // Refused before anybody enters a password in vain.
            Some(None) => return self.respond_refusal(ctx, verified, &AuthorizeRefusal::HintUnreadable),
            hint => hint.flatten(),
        };
        let browser = user.map(|user| user.browser);
        let consented = match browser {
            Some(browser) => {
                let parties = ConsentParties { user: browser.user.id, application: verified.application.id };
                self.memory.store.consent(parties).await?
            }
            None => Scope::default(),
        };
        let who = user.map(|RequestUser { browser, for_this_request }| SignInState {
            user: &browser.user,
            session: &browser.session,
            for_this_request,
            is_another: hint.as_ref().is_some_and(|hint| hint.sub != browser.user.login.as_str()),
            consented: &consented,
        });
        let next = next_step(ctx.now, &verified.application, verified.redirect_match, asked, &grantable, who);
        match (next, browser) {
            (Err(refusal), _) => self.respond_refusal(ctx, verified, &refusal),
            (Ok(NextStep::Issue), Some(browser)) => {
                let needed = verified.application.require_consent;
                let agreement = if needed { Agreement::Earlier(consented.clone()) } else { Agreement::NotNeeded };
                match self.issue(ctx, verified, &grantable, browser, agreement).await? {
                    Some(response) => Ok(AuthorizeOutcome::Respond(response)),
                    None => self.respond_refusal(ctx, verified, &AuthorizeRefusal::Overtaken),
                }
            }
            (Ok(NextStep::Consent), Some(_)) => Ok(AuthorizeOutcome::Consent { scope: grantable.scope }),
            (Ok(_), _) => Ok(AuthorizeOutcome::SignIn),
        }
    }

    /// The user's answer on the consent page, which the same browser reached through [`Self::authorize`].
    pub async fn consent(
        &self,
        ctx: &mut Ctx<'_>,
        verified: &VerifiedRequest,
        browser: &SignedIn,
        allowed: bool,
    ) -> Result<AuthorizationResponse, Fault> {
        let grantable = match check(&verified.application, &verified.request) {
            Err(refusal) => return self.refuse(ctx, verified.recipient(), &refusal),
            Ok(_) if !verified.application.admits(&browser.user) => {
                let refusal = AuthorizeRefusal::UserTypeNotAllowed { user_type: browser.user.user_type };
                return self.refuse(ctx, verified.recipient(), &refusal);
            }
            Ok(grantable) if !allowed => {
                let refusal = AuthorizeRefusal::ConsentRefused { asked: grantable.scope };
                return self.refuse(ctx, verified.recipient(), &refusal);
            }
            Ok(grantable) => grantable,
        };
        for _ in 0..MAX_ATTEMPTS {
            let (known, before) = self
                .memory
                .store
                .consent_as_written(ConsentParties { user: browser.user.id, application: verified.application.id })
                .await?;
            let agreed = known.union(&grantable.scope);
            let agreement = Agreement::Now { before, agreed };
            if let Some(response) = self.issue(ctx, verified, &grantable, browser, agreement).await? {
                return Ok(response);
            }
        }
        self.refuse(ctx, verified.recipient(), &AuthorizeRefusal::Overtaken)
    }

    /// Check 8. The consent is stored in the batch that issues the code. `None` if another request was first: the
    /// sign-in ended, another page stored a consent, or the consent was withdrawn.
    async fn issue(
        &self,
        ctx: &mut Ctx<'_>,
        verified: &VerifiedRequest,
        grantable: &GrantableRequest,
        browser: &SignedIn,
        agreement: Agreement,
    ) -> Result<Option<AuthorizationResponse>, Fault> {
        let (application, request, now) = (&verified.application, &verified.request, ctx.now);
        let id = AuthorizationId(ctx.id());
        let code = Presented::new(encode_code(id, &ctx.rng.secret()));
        let issued = IssuedCode {
            digest: code.digest(),
            redirect_uri: request.target.redirect_uri.clone(),
            nonce: request.nonce.clone(),
            challenge: grantable.challenge.clone(),
            expires_at: now.plus(CODE_LIFETIME),
        };
        let code = request.response_type.has_code().then_some(code);
        let authorization = Authorization {
            id,
            application: application.id,
            user: browser.user.id,
            session: browser.session.id,
            scope: grantable.scope.clone(),
            auth_time: browser.session.auth_time,
            amr: browser.session.amr.clone(),
            epochs: Epochs::of(application, &browser.user),
            state: AuthorizationState::Issued(Box::new(issued.clone())),
        };
        let id_token = if request.response_type.has_id_token() {
            let bound = FrontChannelToken { nonce: request.nonce.as_deref(), code: code.as_ref() };
            let moment = ctx.moment();
            Some(self.front_channel_id_token(&moment, application, &browser.user, &authorization, bound).await?)
        } else {
            None
        };
        let about = |event: AuditEvent| {
            event.application(application.uri.as_str()).user(browser.user.id).session(browser.session.id)
        };
        let mut batch = Batch::new().with(self.memory.store.touch_identity_session(browser.session.id, now));
        let mut writer = AuditWriter::new(&self.memory.store, ctx.rng, now);
        let parties = ConsentParties { user: browser.user.id, application: application.id };
        match agreement {
            Agreement::NotNeeded => {}
            Agreement::Earlier(consented) => batch.push(self.memory.store.rely_on_consent(parties, &consented)),
            Agreement::Now { before, agreed } => {
                batch.push(self.memory.store.remember_consent(parties, &before, &agreed, now));
                let detail = serde_json::json!({ "scope": agreed.to_string() });
                batch
                    .push(writer.event(&about(AuditEvent::done(now, AuditKind::Consent, ctx.request)).detail(&detail)));
            }
        }
        if code.is_some() {
            batch.push(self.memory.store.insert_authorization(&authorization, &issued));
            let event = about(AuditEvent::done(now, AuditKind::CodeIssued, ctx.request)).token(id.to_string());
            batch.push(writer.event(&event));
        } else {
            batch.push(writer.event(&about(AuditEvent::done(now, AuditKind::IdTokenIssued, ctx.request))));
        }
        let code = code.map(|code| ("code", code.expose().to_owned()));
        let parameters = code.into_iter().chain(id_token.map(|token| ("id_token", token)));
        Ok(match self.memory.store.commit(batch).await? {
            CommitOutcome::Committed => Some(self.response(verified.recipient(), parameters)),
            CommitOutcome::GuardFailed { .. } => None,
        })
    }

    fn respond_refusal(
        &self,
        ctx: &mut Ctx<'_>,
        verified: &VerifiedRequest,
        refusal: &AuthorizeRefusal,
    ) -> Result<AuthorizeOutcome, Fault> {
        self.refuse(ctx, verified.recipient(), refusal).map(AuthorizeOutcome::Respond)
    }

    fn refuse(
        &self,
        ctx: &mut Ctx<'_>,
        to: Recipient<'_>,
        refusal: &AuthorizeRefusal,
    ) -> Result<AuthorizationResponse, Fault> {
        // All other checks come before the sign-in.
        let (kind, asker) = match refusal {
            AuthorizeRefusal::ConsentRefused { .. } => (AuditKind::Consent, Asker::Authenticated),
            _ => (AuditKind::Authorize, Asker::Stranger),
        };
        let event =
            AuditEvent::refused(ctx.now, kind, ctx.request, asker, refusal).application(to.application.uri.as_str());
        self.audit.put(event)?;
        // The application cannot read the headers of a redirect, so the reference goes into the description for its
        // developer.
        let description = format!("{} (reference {})", refusal.description(), ctx.request.id);
        let error = refusal.code().as_str().to_owned();
        Ok(self.response(to, [("error", error), ("error_description", description)]))
    }

    /// RFC 6749 §4.1.2, with `iss` (RFC 9207).
    fn response(
        &self,
        to: Recipient<'_>,
        parameters: impl IntoIterator<Item = (&'static str, String)>,
    ) -> AuthorizationResponse {
        let state = to.state.map(|state| ("state", state.to_owned()));
        let issuer = ("iss", self.info.issuer.as_str().to_owned());
        let parameters = parameters.into_iter().chain(state).chain([issuer]).collect();
        AuthorizationResponse { mode: to.mode, redirect_uri: to.redirect_uri.to_owned(), parameters }
    }

    fn refuse_target(
        &self,
        ctx: &mut Ctx<'_>,
        client_id: Option<&ClientId>,
        refusal: TargetRefusal,
    ) -> Result<TargetRefusal, Fault> {
        let mut event = AuditEvent::refused(ctx.now, AuditKind::Authorize, ctx.request, Asker::Stranger, &refusal);
        event.application = client_id.map(|id| id.as_str().to_owned());
        self.audit.put(event)?;
        Ok(refusal)
    }
}
