//! What users allowed applications, and taking it back.

use model::audit::{AuditEvent, AuditKind};
use model::seat::CloseReason;
use model::{ApplicationId, Ctx, Moment, Timestamp, TrustedApplication, UserId};
pub use store::ConnectedApplication;
use store::{Batch, Change, ChangeKind, CommitOutcome, SessionsToClose, Store};

use crate::admin::{AdminRefusal, AdminService};
use crate::api_sessions::close_sessions;
use crate::audit::{AuditWriter, AuditedStore};
use crate::instance::{Instance, MAX_TOKEN_LIFETIME};
use crate::{Answer, Fault};

/// Why authorizations ended and sessions closed.
pub(crate) const CONSENT_WITHDRAWN: &str = "consent_withdrawn";

/// The user has nothing to do with the application: there is nothing to withdraw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotConnected;

impl Instance {
    /// The applications that may act for a user, or that the user agreed to.
    pub async fn connections(&self, user: UserId, moment: &Moment<'_>) -> Result<Vec<ConnectedApplication>, Fault> {
        connections(&self.store, user, moment).await
    }

    /// Everything that descends from the user's consent is dead before this returns: codes, refresh families and the
    /// access tokens of both. The application leaves the person's API sessions; one that no other uses closes, and its
    /// seat is free. Reference tokens stay: they were made by hand, not by consent, and are revoked by hand.
    pub async fn withdraw_consent(
        &self,
        ctx: &mut Ctx<'_>,
        (user, application): (UserId, &TrustedApplication),
    ) -> Answer<(), NotConnected> {
        let who = (user, application.id);
        if !is_connected(&self.store, who, &ctx.moment()).await? {
            return Ok(Err(NotConnected));
        }
        // Which applications use a session is known in memory first: a session must not close because of that.
        self.flush_sessions(ctx.now).await?;
        let mut batch = withdrawal_batch(&self.store, who, &mut ctx.moment());
        let event = AuditEvent::done(ctx.now, AuditKind::ConsentWithdrawn, ctx.request)
            .application(application.uri.as_str())
            .user(user);
        batch.push(AuditWriter::new(&self.store, ctx.rng, ctx.now).event(&event));
        match self.commit(batch, ctx.now).await? {
            CommitOutcome::Committed => Ok(Ok(())),
            CommitOutcome::GuardFailed { .. } => Err(Fault::failed("the instance is gone")),
        }
    }

    /// The application leaves the person's API sessions, as if it had not called; one that no other uses closes, and its
    /// seat is free. What it holds stays good, and its next call opens a session again.
    pub async fn release_sessions(
        &self,
        moment: &mut Moment<'_>,
        (user, application): (UserId, ApplicationId),
    ) -> Result<(), Fault> {
        self.flush_sessions(moment.now).await?;
        let mut batch =
            Batch::from(vec![self.store.move_seats(), self.store.leave_sessions_of_user(application, user)]);
        batch.append(close_sessions(&self.store, SessionsToClose::Unused, CloseReason::Released, moment));
        // Memory lists anew who uses the sessions, as it does where a consent went.
        let change = Change { kind: ChangeKind::ConsentWithdrawn, subject: user.0 };
        batch.announce(change, moment.now);
        match self.commit(batch, moment.now).await? {
            CommitOutcome::Committed => Ok(()),
            CommitOutcome::GuardFailed { .. } => Err(Fault::failed("the instance is gone")),
        }
    }

    /// What a user withdrew is dead in memory, and the user's sessions list anew who uses them.
    pub(crate) async fn apply_withdrawal(&self, user: UserId, now: Timestamp) -> Result<(), Fault> {
        // A feed that is read late, or by a clock that is behind, finds them too.
        let since = now.minus(2 * MAX_TOKEN_LIFETIME);
        let ended = self.store.authorizations_of_user_ended_since(user, (CONSENT_WITHDRAWN, since)).await?;
        let memory = self.unchecked_memory();
        for authorization in ended {
            memory.revocations.authorization(authorization, now);
        }
        memory.api_sessions.relist(user);
        Ok(())
    }
}

impl AdminService<'_> {
    /// A user's connections, each with its application's `ApplicationUri` and name.
    pub async fn connections(
        &self,
        login: &str,
        moment: &Moment<'_>,
    ) -> Answer<Vec<(TrustedApplication, ConnectedApplication)>, AdminRefusal> {
        let user = match self.find_user(login).await? {
            Ok(user) => user,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let mut known = Vec::new();
        for connection in connections(&self.store, user.id, moment).await? {
            let application = self.store.application(connection.application).await?;
            known.extend(application.map(|application| (application, connection)));
        }
        Ok(Ok(known))
    }

    /// As [`Instance::withdraw_consent`], for somebody else.
    pub async fn withdraw_consent(&self, login: &str, uri: &str, moment: &mut Moment<'_>) -> Answer<(), AdminRefusal> {
        let user = match self.find_user(login).await? {
            Ok(user) => user,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let application = match self.application(uri).await? {
            Ok(application) => application,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let who = (user.id, application.id);
        if !is_connected(&self.store, who, moment).await? {
            return Ok(Err(AdminRefusal::Unknown(format!("consent of {login} to {uri}"))));
        }
        let mut batch = withdrawal_batch(&self.store, who, moment);
        let event = Self::user_event("withdraw-consent", (user.id, Some(&user.login)), moment);
        batch.push(self.event_statement(&event.application(application.uri.as_str()), moment));
        self.commit(batch, AdminRefusal::Overtaken, moment).await
    }
}

async fn connections(store: &Store, user: UserId, moment: &Moment<'_>) -> Result<Vec<ConnectedApplication>, Fault> {
    store.connections(user, (moment.now, moment.now.minus(MAX_TOKEN_LIFETIME))).await
}

async fn is_connected(
    store: &Store,
    (user, application): (UserId, ApplicationId),
    moment: &Moment<'_>,
) -> Result<bool, Fault> {
    Ok(connections(store, user, moment).await?.iter().any(|known| known.application == application))
}

/// The seats' row first, as everywhere; then the consent, which whoever issues a code relies on before its row is there.
fn withdrawal_batch(store: &AuditedStore, who: (UserId, ApplicationId), moment: &mut Moment<'_>) -> Batch {
    let (user, application) = who;
    let mut batch = Batch::from(vec![
        store.move_seats(),
        store.forget_consent(who),
        store.end_authorizations_between(who, CONSENT_WITHDRAWN, moment.now),
        store.leave_sessions_of_user(application, user),
    ]);
    batch.append(close_sessions(store, SessionsToClose::Unused, CloseReason::ConsentWithdrawn, moment));
    let change = Change { kind: ChangeKind::ConsentWithdrawn, subject: user.0 };
    batch.announce(change, moment.now);
    batch
}
