//! The authorization endpoint (`identity.md` §3.1, RFC 6749 §4.1, OpenID Connect Core §3.1.2).

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use model::audit::{Asker, AuditEvent, AuditKind};
use model::authorization::{CODE_LIFETIME, IssuedCode};
pub use model::authorize::TargetRefusal;
use model::authorize::{AuthorizeRefusal, GrantableRequest, NextStep, SentParameters, SignInState, check, next_step};
use model::claims::Epochs;
use model::{Authorization, AuthorizationId, AuthorizationState, Ctx, TrustedApplication};
use oauth::authorize::{AuthorizationRequest, AuthorizationTarget, TargetError};
use oauth::client::ClientId;
use oauth::params::Params;
use oauth::redirect::{RedirectMatch, with_params};
use oauth::scope::Scope;
use oauth::secret::{AuthorizationCode, Presented};
use store::{Batch, CommitOutcome};

use crate::audit::AuditWriter;
use crate::auth::browser_session::SignedIn;
use crate::protocol::Protocol;
use crate::{Answer, Fault};

/// An authorization request with a verified redirect URI: the answer, even an error, goes back to the application.
pub struct VerifiedTarget {
    pub application: Arc<TrustedApplication>,
    pub redirect_uri: String,
    pub redirect_match: RedirectMatch,
    pub state: Option<String>,
}

/// The result of an authorization request.
pub enum AuthorizeOutcome {
    SignIn,
    Consent {
        scope: Scope,
    },
    /// Redirects to the application, with a code or an error.
    Redirect(String),
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

/// Attempts when concurrent requests win the race, before the page fails.
const MAX_ATTEMPTS: usize = 4;

impl Protocol<'_> {
    /// Checks 1 and 2.
    pub async fn authorization_target(
        &self,
        ctx: &mut Ctx<'_>,
        params: &Params,
    ) -> Answer<VerifiedTarget, TargetRefusal> {
        let target = match AuthorizationTarget::parse(params) {
            Ok(target) => target,
            Err(error) => {
                let client_id = match &error {
                    TargetError::RedirectUriMissing { client_id } | TargetError::RedirectUriRepeated { client_id } => {
                        Some(client_id.clone())
                    }
                    _ => None,
                };
                let refusal = TargetRefusal::Malformed(error);
                return self.refuse_target(ctx, client_id.as_ref(), refusal).map(Err);
            }
        };
        self.memory.renew(ctx.now).await?;
        let application = self.memory.applications().by_uri(&target.client_id).cloned();
        let refusal = match &application {
            None => TargetRefusal::UnknownApplication,
            Some(application) if !application.enabled => TargetRefusal::ApplicationDisabled,
            Some(application) => {
                if let Some(redirect_match) = application.redirect_match(&target.redirect_uri) {
                    return Ok(Ok(VerifiedTarget {
                        application: Arc::clone(application),
                        redirect_uri: target.redirect_uri,
                        redirect_match,
                        state: AuthorizationRequest::returnable_state(params).map(str::to_owned),
                    }));
                }
                let registered = application.redirect_uris.iter().map(|uri| uri.as_str().to_owned()).collect();
                TargetRefusal::RedirectUriNotRegistered { sent: target.redirect_uri.clone(), registered }
            }
        };
        self.refuse_target(ctx, Some(&target.client_id), refusal).map(Err)
    }

    /// Checks 3 to 7, and the code. `for_this_request`: the user just signed in or reauthenticated for this request.
    pub async fn authorize(
        &self,
        ctx: &mut Ctx<'_>,
        (target, params): (&VerifiedTarget, &Params),
        (browser, for_this_request): (Option<&SignedIn>, bool),
    ) -> Result<AuthorizeOutcome, Fault> {
        let asked = match AuthorizationRequest::parse(params) {
            Ok(asked) => asked,
            Err(error) => {
                return self.refuse(ctx, target, &AuthorizeRefusal::Malformed(error, SentParameters::of(params)));
            }
        };
        let grantable = match check(&target.application, &asked) {
            Ok(grantable) => grantable,
            Err(refusal) => return self.refuse(ctx, target, &refusal),
        };
        let consented = match browser {
            Some(browser) => self.memory.store.consent(browser.user.id, target.application.id).await?,
            None => Scope::default(),
        };
        let who = browser.map(|browser| SignInState {
            user: &browser.user,
            session: &browser.session,
            for_this_request,
            is_another: asked
                .id_token_hint
                .as_deref()
                .is_some_and(|hint| self.read_hint(hint).is_none_or(|hint| hint.sub != browser.user.login.as_str())),
            consented: &consented,
        });
        let client = (&*target.application, target.redirect_match);
        match (next_step(ctx.now, client, &asked, &grantable, who), browser) {
            (Err(refusal), _) => self.refuse(ctx, target, &refusal),
            (Ok(NextStep::Issue), Some(browser)) => {
                let needed = target.application.require_consent;
                let agreement = if needed { Agreement::Earlier(consented.clone()) } else { Agreement::NotNeeded };
                match self.issue(ctx, target, &asked, &grantable, browser, agreement).await? {
                    Some(next) => Ok(next),
                    None => self.refuse(ctx, target, &AuthorizeRefusal::Overtaken),
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
        (target, params): (&VerifiedTarget, &Params),
        (browser, allowed): (&SignedIn, bool),
    ) -> Result<AuthorizeOutcome, Fault> {
        let checked = AuthorizationRequest::parse(params)
            .map_err(|error| AuthorizeRefusal::Malformed(error, SentParameters::of(params)))
            .and_then(|asked| check(&target.application, &asked).map(|grantable| (asked, grantable)));
        let (asked, grantable) = match checked {
            Err(refusal) => return self.refuse(ctx, target, &refusal),
            Ok(_) if !target.application.admits(&browser.user) => {
                let refusal = AuthorizeRefusal::UserTypeNotAllowed { user_type: browser.user.user_type };
                return self.refuse(ctx, target, &refusal);
            }
            Ok((_, grantable)) if !allowed => {
                let refusal = AuthorizeRefusal::ConsentRefused { asked: grantable.scope };
                return self.refuse(ctx, target, &refusal);
            }
            Ok(checked) => checked,
        };
        for _ in 0..MAX_ATTEMPTS {
            let (known, before) = self.memory.store.consent_as_written(browser.user.id, target.application.id).await?;
            let agreed = known.union(&grantable.scope);
            let agreement = Agreement::Now { before, agreed };
            if let Some(next) = self.issue(ctx, target, &asked, &grantable, browser, agreement).await? {
                return Ok(next);
            }
        }
        self.refuse(ctx, target, &AuthorizeRefusal::Overtaken)
    }

    /// Check 8. The consent is stored in the batch that issues the code. `None` if another request was first: the
    /// sign-in ended, another page stored a consent, or the consent was withdrawn.
    async fn issue(
        &self,
        ctx: &mut Ctx<'_>,
        target: &VerifiedTarget,
        asked: &AuthorizationRequest,
        grantable: &GrantableRequest,
        browser: &SignedIn,
        agreement: Agreement,
    ) -> Result<Option<AuthorizeOutcome>, Fault> {
        let (application, now) = (&target.application, ctx.now);
        let id = AuthorizationId(ctx.id());
        let code = Presented::new(encode_code(id, &ctx.rng.secret()));
        let issued = IssuedCode {
            digest: code.digest(),
            redirect_uri: target.redirect_uri.clone(),
            nonce: asked.nonce.clone(),
            challenge: grantable.challenge.clone(),
            expires_at: now.plus(CODE_LIFETIME),
        };
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
        let about = |event: AuditEvent| {
            event.application(application.uri.as_str()).user(browser.user.id).session(browser.session.id)
        };
        let mut batch = Batch::new().with(self.memory.store.touch_identity_session(browser.session.id, now));
        let mut writer = AuditWriter::new(&self.memory.store, ctx.rng, now);
        let who = (browser.user.id, application.id);
        match agreement {
            Agreement::NotNeeded => {}
            Agreement::Earlier(consented) => batch.push(self.memory.store.rely_on_consent(who, &consented)),
            Agreement::Now { before, agreed } => {
                batch.push(self.memory.store.remember_consent(who, (&before, &agreed), now));
                let detail = serde_json::json!({ "scope": agreed.to_string() });
                batch
                    .push(writer.event(&about(AuditEvent::done(now, AuditKind::Consent, ctx.request)).detail(&detail)));
            }
        }
        batch.push(self.memory.store.insert_authorization(&authorization, &issued));
        let event = about(AuditEvent::done(now, AuditKind::CodeIssued, ctx.request)).token(id.to_string());
        batch.push(writer.event(&event));
        Ok(match self.memory.store.commit(batch).await? {
            CommitOutcome::Committed => {
                Some(AuthorizeOutcome::Redirect(self.response(target, &[("code", code.expose())])))
            }
            CommitOutcome::GuardFailed { .. } => None,
        })
    }

    fn refuse(
        &self,
        ctx: &mut Ctx<'_>,
        target: &VerifiedTarget,
        refusal: &AuthorizeRefusal,
    ) -> Result<AuthorizeOutcome, Fault> {
        // All other checks come before the sign-in.
        let (kind, asker) = match refusal {
            AuthorizeRefusal::ConsentRefused { .. } => (AuditKind::Consent, Asker::Authenticated),
            _ => (AuditKind::Authorize, Asker::Stranger),
        };
        let event = AuditEvent::refused(ctx.now, kind, ctx.request, (asker, refusal))
            .application(target.application.uri.as_str());
        self.audit.put(event)?;
        // The application cannot read the headers of a redirect, so the reference goes into the description for its
        // developer.
        let description = format!("{} (reference {})", refusal.description(), ctx.request.id);
        let error = [("error", refusal.code().as_str()), ("error_description", &*description)];
        Ok(AuthorizeOutcome::Redirect(self.response(target, &error)))
    }

    /// RFC 6749 §4.1.2, with `iss` (RFC 9207).
    fn response(&self, target: &VerifiedTarget, params: &[(&str, &str)]) -> String {
        let state = target.state.as_deref().map(|state| ("state", state));
        let params: Vec<_> = params.iter().copied().chain(state).chain([("iss", self.info.issuer.as_str())]).collect();
        with_params(&target.redirect_uri, &params)
    }

    fn refuse_target(
        &self,
        ctx: &mut Ctx<'_>,
        client_id: Option<&ClientId>,
        refusal: TargetRefusal,
    ) -> Result<TargetRefusal, Fault> {
        let mut event = AuditEvent::refused(ctx.now, AuditKind::Authorize, ctx.request, (Asker::Stranger, &refusal));
        event.application = client_id.map(|id| id.as_str().to_owned());
        self.audit.put(event)?;
        Ok(refusal)
    }
}

/// Encodes the row id, for lookup by key, and 256 random bits, so that a code cannot be guessed.
fn encode_code(id: AuthorizationId, secret: &[u8; 32]) -> String {
    URL_SAFE_NO_PAD.encode([id.0.as_bytes().as_slice(), secret].concat())
}

/// The authorization id in a code. Proves nothing.
pub(crate) fn authorization_of(code: &Presented<AuthorizationCode>) -> Option<AuthorizationId> {
    let bytes = URL_SAFE_NO_PAD.decode(code.expose()).ok()?;
    let id = bytes.get(..16).filter(|_| bytes.len() == 48)?;
    uuid::Uuid::from_slice(id).ok().map(AuthorizationId)
}
