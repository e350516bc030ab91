//! RP-initiated logout (OpenID Connect RP-Initiated Logout 1.0).

use std::sync::Arc;

use model::audit::{Asker, AuditEvent, AuditKind};
use model::authorize::ReturnRefusal;
use model::claims::IdTokenHint;
use model::{Ctx, SessionId, TrustedApplication};
use oauth::client::ClientId;
use oauth::jose::UnverifiedJws;
use oauth::params::Params;
use oauth::redirect::with_params;

use crate::Fault;
use crate::auth::browser_session::SignedIn;
use crate::protocol::Protocol;

/// The result of a logout request.
pub enum SignOutOutcome {
    /// Nothing proves that the user wants to sign out: ask for confirmation.
    Confirm { application: Option<Arc<TrustedApplication>> },
    /// Signed out. `redirect` is the application's URI, if it was requested and may be used.
    Done { application: Option<Arc<TrustedApplication>>, redirect: Option<String> },
}

/// RP-Initiated Logout 1.0 §3: the URI must be registered exactly; `state` is returned unchanged. `None` if the request
/// names no URI.
fn after_sign_out(application: Option<&TrustedApplication>, params: &Params) -> Result<Option<String>, ReturnRefusal> {
    let Some(uri) = params.get("post_logout_redirect_uri") else { return Ok(None) };
    let sent = || uri.to_owned();
    let application = application.ok_or_else(|| ReturnRefusal::UnknownApplication { sent: sent() })?;
    if !application.accepts_post_logout(uri) {
        let registered = application.post_logout_uris.iter().map(|uri| uri.as_str().to_owned()).collect();
        return Err(ReturnRefusal::NotRegistered { sent: sent(), registered });
    }
    let state = params.get("state").map(|state| ("state", state));
    Ok(Some(with_params(uri, &state.into_iter().collect::<Vec<_>>())))
}

impl Protocol<'_> {
    /// `confirmed`: the user pressed the button on our page. The session has ended and its seat is free on return.
    pub async fn sign_out(
        &self,
        ctx: &mut Ctx<'_>,
        params: &Params,
        browser: Option<&SignedIn>,
        confirmed: bool,
    ) -> Result<SignOutOutcome, Fault> {
        self.memory.renew(ctx.now).await?;
        let hint = params.get("id_token_hint").and_then(|hint| self.read_hint(hint));
        let application = self.departing_application(params, hint.as_ref());
        if let Some(browser) = browser {
            let current = browser.session.id;
            if !confirmed && hint.is_none_or(|hint| SessionId(hint.sid) != current) {
                return Ok(SignOutOutcome::Confirm { application });
            }
            self.auth.end_sign_in(ctx, current).await?;
        }
        let redirect = match after_sign_out(application.as_deref(), params) {
            Ok(redirect) => redirect,
            Err(refusal) => {
                let asker = if browser.is_some() { Asker::Authenticated } else { Asker::Stranger };
                let mut event = AuditEvent::refused(ctx.now, AuditKind::SignOut, ctx.request, asker, &refusal);
                event.application = application.as_ref().map(|application| application.uri.to_string());
                self.audit.put(event)?;
                None
            }
        };
        Ok(SignOutOutcome::Done { application, redirect })
    }

    /// Parses an ID token that this issuer signed, expired or not.
    pub(crate) fn read_hint(&self, hint: &str) -> Option<IdTokenHint> {
        let jws = UnverifiedJws::parse(hint).ok()?;
        let keys = self.memory.keys();
        let key = keys.verifying(jws.header.kid.as_deref()?)?;
        let payload = jws.verify(key, &["JWT"]).ok()?;
        let hint: IdTokenHint = serde_json::from_slice(&payload).ok()?;
        (hint.iss == self.info.issuer).then_some(hint)
    }

    /// The requesting application, by its hint or its name. `None` if the two disagree.
    fn departing_application(&self, params: &Params, hint: Option<&IdTokenHint>) -> Option<Arc<TrustedApplication>> {
        let named = params.get("client_id");
        let hinted = hint.map(|hint| hint.aud.as_str());
        if params.repeated().is_some() || (named.is_some() && hinted.is_some() && named != hinted) {
            return None;
        }
        let client_id: ClientId = hinted.or(named)?.parse().ok()?;
        self.memory.applications().by_uri(&client_id).filter(|application| application.enabled).cloned()
    }
}
