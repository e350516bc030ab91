//! Admits administrators, by an access token with the API's scope or by a browser sign-in of an administrator. Opens no
//! API session and takes no seat.

use std::sync::Arc;

use model::application::MANAGE_SCOPE;
use model::audit::{Asker, AuditEvent, AuditKind, AuditOutcome, RequestInfo};
use model::claims::ADMIN_API;
use model::refusal::{Refusal, RefusalDetails};
use model::session::SignInTooOld;
use model::{Ctx, Timestamp, TrustedApplication, User, UserId};
use oauth::secret::{self, Presented};

use crate::admin::administrator::Administrator;
use crate::auth::Auth;
use crate::auth::browser_session::SignedIn;
use crate::{Answer, Fault};
use model::guard::GuardRefusal;

/// Why the caller is not admitted as an administrator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdmissionRefusal {
    Guard(GuardRefusal),
    /// The id of the user that the token acts as.
    NotAnAdministrator(UserId),
    /// For the requested operation.
    SignInTooOld(SignInTooOld),
}

impl Refusal for AdmissionRefusal {
    fn cause(&self) -> &'static str {
        match self {
            Self::Guard(refusal) => refusal.cause(),
            Self::NotAnAdministrator(_) => "not_an_administrator",
            Self::SignInTooOld(refusal) => refusal.cause(),
        }
    }

    fn details(&self) -> RefusalDetails {
        match self {
            Self::Guard(refusal) => refusal.details(),
            Self::NotAnAdministrator(user) => {
                RefusalDetails::new("the user is an administrator of this instance", "docs/admin-api.md, Access")
                    .sent("user", user)
            }
            Self::SignInTooOld(refusal) => refusal.details(),
        }
    }
}

/// An administrator of the instance, admitted over the network.
pub(crate) struct Admitted {
    pub(crate) administrator: Administrator,
    pub(crate) user: Arc<User>,
    /// The calling application. `None` for a page.
    pub(crate) application: Option<Arc<TrustedApplication>>,
}

/// Checks administrators of one instance.
pub(crate) struct Admission<'a> {
    pub(crate) auth: Auth<'a>,
}

/// An answered call of the admin API, for the audit.
pub struct AdminCallReport<'a> {
    pub method: &'a str,
    pub path: &'a str,
    pub status: u16,
    pub admin: Option<(&'a User, Option<&'a TrustedApplication>)>,
    pub refused: Option<&'a dyn Refusal>,
}

impl Admission<'_> {
    pub(crate) async fn admit(
        &self,
        ctx: &mut Ctx<'_>,
        shown: &Presented<secret::AccessToken>,
    ) -> Answer<Admitted, AdmissionRefusal> {
        let standing = match self.auth.validate_credential(shown, ctx.now).await? {
            Ok(standing) => standing,
            Err(refusal) => return Ok(Err(AdmissionRefusal::Guard(GuardRefusal::Token(refusal)))),
        };
        if !standing.is_for(ADMIN_API) {
            let refusal = GuardRefusal::WrongAudience { sent: standing.audience(), expected: ADMIN_API.to_owned() };
            return Ok(Err(AdmissionRefusal::Guard(refusal)));
        }
        if !standing.has(MANAGE_SCOPE) {
            return Ok(Err(AdmissionRefusal::Guard(standing.lacks(MANAGE_SCOPE))));
        }
        let signed_in = standing.credential.signed_in();
        let Some(administrator) = self.administrator(&standing.user, signed_in) else {
            return Ok(Err(AdmissionRefusal::NotAnAdministrator(standing.user.id)));
        };
        self.auth.note_use(&standing, ctx.now);
        Ok(Ok(Admitted { administrator, user: standing.user, application: Some(standing.application) }))
    }

    fn administrator(&self, user: &User, signed_in: Option<Timestamp>) -> Option<Administrator> {
        user.active().and_then(|user| Administrator::of(*self.auth.memory.store.instance(), user, signed_in))
    }

    /// A sign-in at another instance does not count.
    fn administrator_at(&self, browser: &SignedIn) -> Option<Administrator> {
        let signed_in = Some(browser.session.auth_time);
        self.administrator(&browser.user, signed_in).filter(|_| browser.is_of(*self.auth.memory.store.instance()))
    }

    /// Admits the signed-in user if they are an administrator of the instance. A refusal is audited.
    pub(crate) fn admit_at_browser(&self, ctx: &mut Ctx<'_>, browser: &SignedIn) -> Answer<Admitted, AdmissionRefusal> {
        let Some(administrator) = self.administrator_at(browser) else {
            let refusal = AdmissionRefusal::NotAnAdministrator(browser.user.id);
            let event =
                AuditEvent::refused(ctx.now, AuditKind::AdminChange, ctx.request, Asker::Authenticated, &refusal)
                    .user(browser.user.id);
            self.auth.audit.put(event)?;
            return Ok(Err(refusal));
        };
        Ok(Ok(Admitted { administrator, user: Arc::clone(&browser.user), application: None }))
    }

    /// Audits one answered call. The path excludes the query.
    pub(crate) fn audit_call(
        &self,
        now: Timestamp,
        request: &RequestInfo,
        call: &AdminCallReport<'_>,
    ) -> Result<(), Fault> {
        let mut event = AuditEvent::done(now, AuditKind::ApiCall, request);
        if let Some(refusal) = call.refused {
            (event.outcome, event.reason) = (AuditOutcome::Refused, refusal.cause());
        }
        event.asker = if call.admin.is_some() { Asker::Authenticated } else { Asker::Stranger };
        if let Some((admin, application)) = call.admin {
            event = event.user(admin.id);
            if let Some(application) = application {
                event = event.application(application.uri.as_str());
            }
        }
        // A path is ASCII (RFC 3986 §3.3), so the cut cannot split a character.
        let path = call.path.get(..512).unwrap_or(call.path);
        let mut detail = serde_json::json!({ "method": call.method, "path": path, "status": call.status });
        if let Some(refusal) = call.refused {
            let why = serde_json::to_value(refusal.details()).expect("details are strings and numbers");
            let members = why.as_object().into_iter().flatten();
            detail
                .as_object_mut()
                .expect("it was made one")
                .extend(members.map(|(name, value)| (name.clone(), value.clone())));
        }
        self.auth.audit.put(event.detail(&detail))
    }
}
