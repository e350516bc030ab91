//! An administrator admitted over the network.

use std::sync::Arc;

use model::audit::{Asker, AuditEvent, AuditKind, RequestInfo};
use model::refusal::Refusal;
use model::session::SignInTooOld;
use model::{Ctx, Moment, Timestamp, TrustedApplication, User};
use oauth::secret::{AccessToken, Presented};

use crate::admin::administrator::Administrator;
use crate::admin::admission::{AdminCallReport, AdmissionRefusal, Admitted};
use crate::admin::operations::{AdminAuthority, Delivery, OperationContext};
use crate::admin::{AdminService, ElevatedAdminService};
use crate::auth::browser_session::SignedIn;
use crate::server::BelievedInstance;
use crate::{Answer, Fault, MasterKey, Passwords};

/// An administrator who calls over the network. Only [`BelievedInstance::admit_admin`] and
/// [`BelievedInstance::admit_admin_at_browser`] make one, for their own instance.
pub struct InstanceAdmin {
    instance: BelievedInstance,
    administrator: Administrator,
    pub user: Arc<User>,
    /// The calling application. `None` for a page.
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

    /// The key that the instance's keys are sealed under.
    pub fn master(&self) -> &MasterKey {
        &self.instance.memory.master
    }

    pub fn service(&self) -> AdminService<'_> {
        AdminService::for_request(&self.instance.memory, &self.administrator, &self.request)
    }

    /// The service for sensitive changes.
    pub fn elevated_service(&self, now: Timestamp) -> Result<ElevatedAdminService<'_>, SignInTooOld> {
        self.service().elevate(now)
    }

    /// The context of an operation. Fails if its authority needs a more recent sign-in.
    pub fn context<'a, A: AdminAuthority>(
        &'a self,
        moment: Moment<'a>,
    ) -> Result<OperationContext<'a, A>, SignInTooOld> {
        Ok(OperationContext {
            service: A::of(self.service(), moment.now)?,
            moment,
            passwords: self.passwords(),
            master: self.master(),
            delivery: Delivery::Mail { mail: self.instance.mail(), administrator: &self.user },
        })
    }

    /// Whether sensitive changes are allowed: the sign-in is recent, or there is none because the credential is a
    /// machine's.
    pub fn is_recent(&self, now: Timestamp) -> bool {
        self.administrator.check_recent(now).is_ok()
    }

    /// Audits a change on a page that was refused before any flow ran.
    pub fn audit_refusal(&self, now: Timestamp, refusal: &impl Refusal) -> Result<(), Fault> {
        let event = AuditEvent::refused(now, AuditKind::AdminChange, &self.request, Asker::Authenticated, refusal)
            .user(self.user.id);
        self.instance.audit().put(event)
    }
}

impl BelievedInstance {
    /// Admits an administrator by an access token with the admin API's scope.
    pub async fn admit_admin(
        &self,
        ctx: &mut Ctx<'_>,
        shown: &Presented<AccessToken>,
    ) -> Answer<InstanceAdmin, AdmissionRefusal> {
        let admitted = self.admission().admit(ctx, shown).await?;
        Ok(admitted.map(|admitted| self.admin(admitted, ctx)))
    }

    /// Admits the signed-in user if they are an administrator of the instance. A refusal is audited.
    pub fn admit_admin_at_browser(
        &self,
        ctx: &mut Ctx<'_>,
        browser: &SignedIn,
    ) -> Answer<InstanceAdmin, AdmissionRefusal> {
        let admitted = self.admission().admit_at_browser(ctx, browser)?;
        Ok(admitted.map(|admitted| self.admin(admitted, ctx)))
    }

    /// Audits one answered call of the admin API.
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
