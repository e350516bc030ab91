//! Attacks on an account or a second step: the owner is notified, and a link makes a new browser known.

use model::audit::{AuditEvent, AuditKind};
use model::link::{LinkCode, LinkPurpose};
use model::mail::Letter;
use model::{Ctx, User};
use oauth::secret::Presented;
use store::{Batch, CommitOutcome};

use crate::account::Account;
use crate::account::PasswordReset;
use crate::account::links::LinkRefusal;
use crate::audit::AuditWriter;
use crate::{Answer, Fault};

/// The factor under attack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attack {
    Password,
    SecondStep,
}

impl Attack {
    const fn kind(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::SecondStep => "second-step",
        }
    }
}

impl PasswordReset<'_> {
    /// Audits the attack and writes to the user, once a day over all nodes.
    pub(super) async fn notify_of_attack(
        &self,
        user: Option<User>,
        attack: Attack,
        ctx: &mut Ctx<'_>,
    ) -> Result<(), Fault> {
        let Some(user) = user.filter(User::may_sign_in) else { return Ok(()) };
        let event = AuditEvent::done(ctx.now, AuditKind::Attacked, ctx.request)
            .user(user.id)
            .detail(&serde_json::json!({ "what": attack.kind() }));
        let batch = vec![
            self.store.tell_of_attack(user.id, attack.kind(), ctx.now),
            AuditWriter::new(self.store, ctx.rng, ctx.now).event(&event),
        ];
        if let CommitOutcome::Committed = self.store.commit(batch.into()).await? {
            let reset = format!("{}/account/forgotten", self.info.root.issuer());
            self.mail.write_to(&user, |letter: Letter<'_>| match attack {
                Attack::Password => letter.password_attacked(),
                Attack::SecondStep => letter.second_step_attacked(&reset),
            });
        }
        Ok(())
    }
}

impl Account<'_> {
    /// The user opened the link in this browser and confirmed: the browser becomes known. Does not sign in.
    pub async fn recognise_browser(&self, ctx: &mut Ctx<'_>, code: &Presented<LinkCode>) -> Answer<User, LinkRefusal> {
        let found = self.link(code, ctx.now).await?;
        let Some((LinkPurpose::KnownBrowser, user)) = found else {
            return self.refuse_link(ctx, AuditKind::KnownBrowser);
        };
        let event = AuditEvent::done(ctx.now, AuditKind::KnownBrowser, ctx.request).user(user.id);
        let batch = Batch::from(vec![
            // Locks the user, whose address the link is bound to.
            self.memory.store.hold_user(&user),
            self.memory.store.use_link(code.digest().as_bytes()),
            AuditWriter::new(&self.memory.store, ctx.rng, ctx.now).event(&event),
        ]);
        match self.memory.store.commit(batch).await? {
            CommitOutcome::Committed => Ok(Ok(user)),
            CommitOutcome::GuardFailed { .. } => self.refuse_link(ctx, AuditKind::KnownBrowser),
        }
    }
}
