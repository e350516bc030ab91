//! An administrator at the network's doors.

use std::sync::Arc;

use model::audit::{Asker, AuditEvent, AuditKind, RequestInfo};
use model::reference_token::{ReferenceToken, masked};
use model::refusal::Refusal;
use model::session::SignInTooOld;
use model::{Ctx, Timestamp, TrustedApplication, User};
use oauth::secret::{AccessToken, Presented};

use crate::admin::administrator::Administrator;
use crate::admin::admission::{AdminCallReport, AdmissionRefusal, Admitted};
use crate::admin::{AdminService, ElevatedAdminService};
use crate::auth::browser_session::SignedIn;
use crate::server::BelievedInstance;
use crate::{Answer, Fault, MasterKey, Passwords};

/// An administrator who asks over the network; only [`BelievedInstance::admit_admin`] makes one, for that instance alone.
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
        self.instance.passwords()
    }

    /// What the instance's keys are sealed under.
    pub fn master(&self) -> &MasterKey {
        &self.instance.memory.master
    }

    pub fn service(&self) -> AdminService<'_> {
        AdminService::for_request(&self.instance.memory, &self.administrator, &self.request)
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
        self.instance.mail().write_to(&self.user, |letter| letter.service_token_issued(uri, (&about.0, about.1)));
    }

    /// Tells the audit of a change at a page that was refused before it began.
    pub fn audit_refusal(&self, now: Timestamp, refusal: &impl Refusal) -> Result<(), Fault> {
        let event = AuditEvent::refused(now, AuditKind::AdminChange, &self.request, (Asker::Authenticated, refusal))
            .user(self.user.id);
        self.instance.audit().put(event)
    }
}

impl BelievedInstance {
    /// An administrator by an access token with the admin API's scope.
    pub async fn admit_admin(
        &self,
        ctx: &mut Ctx<'_>,
        shown: &Presented<AccessToken>,
    ) -> Answer<InstanceAdmin, AdmissionRefusal> {
        let admitted = self.admission().admit(ctx, shown).await?;
        Ok(admitted.map(|admitted| self.admin(admitted, ctx)))
    }

    /// Whoever is signed in at the browser, if they administer the instance; that they do not is audited.
    pub fn admit_admin_at_browser(
        &self,
        ctx: &mut Ctx<'_>,
        browser: &SignedIn,
    ) -> Answer<InstanceAdmin, AdmissionRefusal> {
        let admitted = self.admission().admit_at_browser(ctx, browser)?;
        Ok(admitted.map(|admitted| self.admin(admitted, ctx)))
    }

    /// One event for one answered call of the admin API.
    pub fn audit_admin_call(
        &self,
        now: Timestamp,
        request: &RequestInfo,
        call: &AdminCallReport<'_>,
    ) -> Result<(), Fault> {
        self.admission().audit_call(now, request, call)
    }

    fn admin(&self, Admitted { administrator, user, application }: Admitted, ctx: &Ctx<'_>) -> InstanceAdmin {
        InstanceAdmin { instance: self.clone(), administrator, user, application, request: ctx.request.clone() }
    }
}
