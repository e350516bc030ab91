//! Requests that must not disclose whether a user exists: password reset, making a browser known, an attacked account.
//! The answer and its timing are independent of the user: the request is queued, and handled after the answer.

use model::Rng;

use model::audit::{AuditEvent, AuditKind};
use model::link::{LinkLifetime, LinkPurpose, MAX_RESETS, ResetNotSent};
use model::mail::EmailAddress;
use model::{Ctx, Login, User};
use store::CommitOutcome;

use crate::Fault;
use crate::account::PasswordReset;
use crate::account::attacks::Attack;
use crate::audit::AuditWriter;
use crate::auth::links::draw_link;
use crate::auth::reset_requests::ResetRequest;
use crate::auth::reset_requests::ResetRequestKind;
use crate::auth::reset_requests::audit_unsent;

/// Maximum users with a shared address who all get an e-mail.
const MAX_NAMESAKES: i64 = 5;

impl PasswordReset<'_> {
    async fn by_login(&self, login: Option<Login>) -> Result<Option<User>, Fault> {
        let Some(login) = login else { return Ok(None) };
        Ok(self.store.user_by_login(&login).await?.map(|(user, _)| user))
    }

    /// By login, else by address: users remember either.
    async fn users_matching(&self, typed: &str) -> Result<Vec<User>, Fault> {
        if let Some(user) = self.by_login(Login::parse(typed)).await? {
            return Ok(vec![user]);
        }
        match EmailAddress::parse(typed) {
            Some(address) => self.store.users_by_email(&address, MAX_NAMESAKES).await,
            None => Ok(Vec::new()),
        }
    }

    /// Sends a link to the user.
    async fn send_link(&self, user: User, purpose: LinkPurpose, ctx: &mut Ctx<'_>) -> Result<(), Fault> {
        let unsent = if !user.may_sign_in() {
            Some(ResetNotSent::UserMayNotSignIn)
        } else if user.mailbox().is_none() {
            Some(ResetNotSent::NoAddress)
        } else if !self.mail.is_open() {
            Some(ResetNotSent::NoMail)
        } else {
            None
        };
        if let Some(unsent) = unsent {
            return audit_unsent(self.audit, ctx.now, ctx.request, Some(&user), unsent);
        }
        let event = AuditEvent::done(ctx.now, AuditKind::PasswordReset, ctx.request)
            .user(user.id)
            .detail(&serde_json::json!({ "what": "link-sent", "for": purpose.kind() }));
        let (link, insert) = draw_link(self.store, user, purpose, LinkLifetime::Asked, &mut ctx.moment());
        let batch = vec![
            self.store.hold_user(&link.user),
            insert,
            self.store.expect_links_at_most(purpose, link.user.id, ctx.now, MAX_RESETS),
            AuditWriter::new(self.store, ctx.rng, ctx.now).event(&event),
        ];
        match self.store.commit(batch.into()).await? {
            CommitOutcome::Committed => {
                let _by_mail = link.hand_over(self.mail);
                Ok(())
            }
            // The password or state changed meanwhile. Users who still want a link request another.
            CommitOutcome::GuardFailed { statement: 0 } => {
                audit_unsent(self.audit, ctx.now, ctx.request, Some(&link.user), ResetNotSent::UserChanged)
            }
            CommitOutcome::GuardFailed { .. } => audit_unsent(
                self.audit,
                ctx.now,
                ctx.request,
                Some(&link.user),
                ResetNotSent::LinksStillLive(MAX_RESETS),
            ),
        }
    }

    /// Handles a queued request.
    pub(crate) async fn answer(&self, request: ResetRequest, rng: &mut dyn Rng) -> Result<(), Fault> {
        let ResetRequest { kind, request, at } = request;
        let mut ctx = Ctx { now: at, rng: &mut *rng, request: &request };
        let (users, purpose) = match kind {
            ResetRequestKind::Forgotten(typed) => (self.users_matching(&typed).await?, LinkPurpose::PasswordReset),
            ResetRequestKind::KnownBrowser(typed) => {
                (Vec::from_iter(self.by_login(Login::parse(&typed)).await?), LinkPurpose::KnownBrowser)
            }
            ResetRequestKind::AccountAttacked(login) => {
                let user = self.by_login(Some(login)).await?;
                return self.notify_of_attack(user, Attack::Password, &mut ctx).await;
            }
            ResetRequestKind::SecondStepAttacked(user) => {
                let user = self.store.user(user).await?;
                return self.notify_of_attack(user, Attack::SecondStep, &mut ctx).await;
            }
        };
        if users.is_empty() {
            return audit_unsent(self.audit, at, &request, None, ResetNotSent::UnknownUser);
        }
        for user in users {
            self.send_link(user, purpose, &mut ctx).await?;
        }
        Ok(())
    }
}
