//! The user's consents, and withdrawing them.

use model::audit::{AuditEvent, AuditKind};
use model::seat::CloseReason;
use model::{Ctx, Moment, TrustedApplication, UserId};
use store::{Batch, Change, ChangeKind, CommitOutcome, SessionsToClose};
pub use store::{ConnectedApplication, ConsentParties};

use crate::account::Account;
use crate::audit::AuditWriter;
use crate::auth::consents::connections;
use crate::auth::consents::is_connected;
use crate::auth::consents::withdrawal_batch;
use crate::memory::live_sessions::close_sessions;
use crate::{Answer, Fault};

/// The application holds neither consent nor tokens of the user: there is nothing to withdraw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotConnected;

impl Account<'_> {
    /// Applications that may act for the user, or that the user consented to.
    pub async fn connections(&self, user: UserId, moment: &Moment<'_>) -> Result<Vec<ConnectedApplication>, Fault> {
        connections(&self.memory.store, user, moment).await
    }

    /// On return, everything issued on the consent has ended: codes, refresh families, and the access tokens of both.
    /// The application leaves the user's API sessions; a session that no other application uses closes, and its seat is
    /// free. Reference tokens stay: they were issued by hand, not by consent, and are revoked by hand.
    pub async fn withdraw_consent(
        &self,
        ctx: &mut Ctx<'_>,
        user: UserId,
        application: &TrustedApplication,
    ) -> Answer<(), NotConnected> {
        let parties = ConsentParties { user, application: application.id };
        if !is_connected(&self.memory.store, parties, &ctx.moment()).await? {
            return Ok(Err(NotConnected));
        }
        // The use of a session by an application is in memory first. Without a flush, a session still in use could
        // close.
        self.memory.flush_sessions(ctx.now).await?;
        let mut batch = withdrawal_batch(&self.memory.store, parties, &mut ctx.moment());
        let event = AuditEvent::done(ctx.now, AuditKind::ConsentWithdrawn, ctx.request)
            .application(application.uri.as_str())
            .user(user);
        batch.push(AuditWriter::new(&self.memory.store, ctx.rng, ctx.now).event(&event));
        match self.memory.commit(batch, ctx.now).await? {
            CommitOutcome::Committed => Ok(Ok(())),
            CommitOutcome::GuardFailed { .. } => Err(Fault::failed("the instance is gone")),
        }
    }

    /// The application leaves the user's API sessions, as if it had not called. A session that no other application
    /// uses closes, and its seat is free. The application's tokens stay valid, and its next call opens a session again.
    pub async fn release_sessions(&self, moment: &mut Moment<'_>, of: ConsentParties) -> Result<(), Fault> {
        self.memory.flush_sessions(moment.now).await?;
        let mut batch = Batch::from(vec![
            self.memory.store.move_seats(),
            self.memory.store.leave_sessions_of_user(of.application, of.user),
        ]);
        batch.append(close_sessions(&self.memory.store, SessionsToClose::Unused, CloseReason::Released, moment));
        // Memory relists which applications use the sessions, as after a withdrawn consent.
        let change = Change { kind: ChangeKind::ConsentWithdrawn, subject: of.user.0 };
        batch.announce(change, moment.now);
        match self.memory.commit(batch, moment.now).await? {
            CommitOutcome::Committed => Ok(()),
            CommitOutcome::GuardFailed { .. } => Err(Fault::failed("the instance is gone")),
        }
    }
}
