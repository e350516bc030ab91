//! The doors for administrators: an access token with the API's scope, or a sign-in at the browser, of somebody who
//! administers the instance. No API session is opened and no seat is taken.

use std::sync::Arc;

use model::application::MANAGE_SCOPE;
use model::audit::{Asker, AuditEvent, AuditKind, AuditOutcome, RequestInfo};
use model::claims::ADMIN_API;
use model::reference_token::{ReferenceToken, masked};
use model::session::SignInTooOld;
use model::why::{Refusal, RefusalDetails};
use model::{Ctx, Timestamp, TrustedApplication, User, UserId};
use oauth::secret::{self, Presented};

use crate::admin::{AdminService, ElevatedAdminService};
use crate::administrator::Administrator;
use crate::guard::GuardRefusal;
use crate::instance::BelievedInstance;
use crate::sign_in::SignedIn;
use crate::{Answer, Fault, MasterKey, Passwords};

/// Why somebody does not administer the instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdmissionRefusal {
    Guard(GuardRefusal),
    /// The id of the user whom the token acts as.
    NotAnAdministrator(UserId),
    /// For what was asked.
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
                RefusalDetails::new("the user is an administrator of this instance", "docs/admin-api.md, Who may")
                    .sent("user", user)
            }
            Self::SignInTooOld(refusal) => refusal.details(),
        }
    }
}

/// An administrator who asks over the network; only [`BelievedInstance::manager`] makes one, for that instance alone.
pub struct InstanceAdmin {
    instance: BelievedInstance,
    administrator: Administrator,
    pub user: Arc<User>,
    /// Through which the administrator came; none where it was by a page.
    pub application: Option<Arc<TrustedApplication>>,
    request: RequestInfo,
}

impl InstanceAdmin {
    pub fn instance(&self) -> &BelievedInstance {
        &self.instance
    }

    pub fn passwords(&self) -> &Passwords {
        &self.instance.passwords
    }

    /// What the instance's keys are sealed under.
    pub fn master(&self) -> &MasterKey {
        &self.instance.master
    }

    pub fn service(&self) -> AdminService<'_> {
        AdminService::for_visitor(&self.instance, &self.administrator, &self.request)
    }

    /// For changes of weight.
    pub fn elevated_service(&self, now: Timestamp) -> Result<ElevatedAdminService<'_>, SignInTooOld> {
        self.service().elevate(now)
    }

    /// Whether the sign-in, if there is one behind this, carries changes of weight.
    pub fn is_recent(&self, now: Timestamp) -> bool {
        self.administrator.check_recent(now).is_ok()
    }

    /// Writes to the administrator about a service token that they issued.
    pub fn tell_issued(&self, uri: &str, token: &ReferenceToken) {
        let about = (masked(&token.tail), token.description.as_str());
        self.instance.write_to(&self.user, |letter| letter.service_token_issued(uri, (&about.0, about.1)));
    }

    /// Tells the audit of a change at a page that was refused before it began.
    pub fn audit_refusal(&self, now: Timestamp, refusal: &impl Refusal) -> Result<(), Fault> {
        let event = AuditEvent::refused(now, AuditKind::AdminChange, &self.request, (Asker::Authenticated, refusal))
            .user(self.user.id);
        self.instance.audit.put(event)
    }
}

/// An answered call of the admin API, for the audit.
pub struct AdminCallReport<'a> {
    pub method: &'a str,
    pub path: &'a str,
    pub status: u16,
    pub manager: Option<&'a InstanceAdmin>,
    pub refused: Option<&'a dyn Refusal>,
}

impl BelievedInstance {
    pub async fn admit_admin(
        &self,
        ctx: &mut Ctx<'_>,
        shown: &Presented<secret::AccessToken>,
    ) -> Answer<InstanceAdmin, AdmissionRefusal> {
        let standing = match self.validate_credential(shown, ctx.now).await? {
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
        self.note_use(&standing, ctx.now);
        Ok(Ok(InstanceAdmin {
            instance: self.clone(),
            administrator,
            user: standing.user,
            application: Some(standing.application),
            request: ctx.request.clone(),
        }))
    }

    fn administrator(&self, user: &User, signed_in: Option<Timestamp>) -> Option<Administrator> {
        user.active().and_then(|user| Administrator::of(*self.store.instance(), user, signed_in))
    }

    /// Who is signed in at another instance is nobody here.
    fn administrator_at(&self, browser: &SignedIn) -> Option<Administrator> {
        let signed_in = Some(browser.session.auth_time);
        self.administrator(&browser.user, signed_in).filter(|_| browser.is_of(*self.store.instance()))
    }

    /// Whoever is signed in at the browser, if they administer the instance; that they do not is told to the audit.
    pub fn admit_admin_at_browser(
        &self,
        ctx: &mut Ctx<'_>,
        browser: &SignedIn,
    ) -> Answer<InstanceAdmin, AdmissionRefusal> {
        let Some(administrator) = self.administrator_at(browser) else {
            let refusal = AdmissionRefusal::NotAnAdministrator(browser.user.id);
            let event =
                AuditEvent::refused(ctx.now, AuditKind::AdminChange, ctx.request, (Asker::Authenticated, &refusal))
                    .user(browser.user.id);
            self.audit.put(event)?;
            return Ok(Err(refusal));
        };
        Ok(Ok(InstanceAdmin {
            instance: self.clone(),
            administrator,
            user: Arc::clone(&browser.user),
            application: None,
            request: ctx.request.clone(),
        }))
    }

    /// One event for one answered call. Its path is without the query.
    pub fn audit_admin_call(
        &self,
        now: Timestamp,
        request: &RequestInfo,
        call: &AdminCallReport<'_>,
    ) -> Result<(), Fault> {
        let mut event = AuditEvent::done(now, AuditKind::ApiCall, request);
        if let Some(refusal) = call.refused {
            (event.outcome, event.reason) = (AuditOutcome::Refused, refusal.cause());
        }
        event.asker = if call.manager.is_some() { Asker::Authenticated } else { Asker::Stranger };
        if let Some(manager) = call.manager {
            event = event.user(manager.user.id);
            if let Some(application) = &manager.application {
                event = event.application(application.uri.as_str());
            }
        }
        // A path is ASCII (RFC 3986 §3.3), so that a cut is never within a character.
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
        self.audit.put(event.detail(&detail))
    }
}
