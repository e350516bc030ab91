//! Actions by one-time links: choosing a password.

use model::audit::{Asker, AuditEvent, AuditKind};
use model::link::{DeadLink, LinkCode, LinkPurpose};
use model::mail::Letter;
use model::user::Password;
use model::{Ctx, Timestamp, User};
use oauth::secret::Presented;
use store::{Batch, CommitOutcome};

use crate::account::Account;
use crate::audit::AuditWriter;
use crate::auth::strength::Weakness;
use crate::memory::live_sessions::ending_user;
use crate::{Answer, Fault};

/// A refused link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkRefusal {
    /// Unknown, used or expired, or its user changed since.
    Spent,
    Weak(Weakness),
}

impl Account<'_> {
    /// The purpose and the user of a link, while it is valid.
    pub async fn link(&self, code: &Presented<LinkCode>, now: Timestamp) -> Result<Option<(LinkPurpose, User)>, Fault> {
        let Some((purpose, user)) = self.memory.store.link(code.digest().as_bytes(), now).await? else {
            return Ok(None);
        };
        Ok(self.memory.store.user(user).await?.map(|user| (purpose, user)))
    }

    /// Sets the password that the user chose by a link. Ends everything opened with the old one.
    pub async fn choose_password(
        &self,
        ctx: &mut Ctx<'_>,
        code: &Presented<LinkCode>,
        password: &Presented<Password>,
    ) -> Answer<User, LinkRefusal> {
        let found = self.link(code, ctx.now).await?.filter(|(purpose, _)| purpose.sets_password());
        let Some((purpose, user)) = found else {
            return self.refuse_link(ctx, AuditKind::PasswordReset);
        };
        let password = match self.auth.state.passwords.accept(password, &user).await? {
            Ok(accepted) => accepted,
            Err(weakness) => return Ok(Err(LinkRefusal::Weak(weakness))),
        };
        let mut salt = [0; 16];
        ctx.rng.fill(&mut salt);
        let hash = self.auth.state.passwords.hash(password, salt).await?;
        let event = AuditEvent::done(ctx.now, AuditKind::PasswordReset, ctx.request)
            .user(user.id)
            .detail(&serde_json::json!({ "what": purpose.kind() }));
        let mut batch = Batch::from(vec![
            // Locks the user, whose address the link is bound to.
            self.memory.store.set_password(&user, &hash, ctx.now),
            self.memory.store.use_link(code.digest().as_bytes()),
            AuditWriter::new(&self.memory.store, ctx.rng, ctx.now).event(&event),
        ]);
        batch.append(ending_user(&self.memory.store, user.id, &mut ctx.moment()));
        if let CommitOutcome::GuardFailed { .. } = self.memory.commit(batch, ctx.now).await? {
            return self.refuse_link(ctx, AuditKind::PasswordReset);
        }
        if purpose == LinkPurpose::PasswordReset {
            self.mail.write_to(&user, Letter::password_changed);
        }
        Ok(Ok(user))
    }

    pub(crate) fn refuse_link<T>(&self, ctx: &Ctx<'_>, kind: AuditKind) -> Answer<T, LinkRefusal> {
        self.audit.put(AuditEvent::refused(ctx.now, kind, ctx.request, Asker::Stranger, &DeadLink))?;
        Ok(Err(LinkRefusal::Spent))
    }
}
