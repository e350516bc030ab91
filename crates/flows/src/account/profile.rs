//! The profile: what users view and change of themselves (`identity.md` §3.7).

use model::audit::{AuditEvent, AuditKind};
use model::{Ctx, Language, User};
use store::{Batch, Change, ChangeKind, CommitOutcome, Statement};

use crate::account::Account;
use crate::audit::AuditWriter;
use crate::auth::browser_session::SignedIn;
use crate::{Answer, Fault};

/// Attempts when concurrent changes win the race, before the user is asked to try again.
pub(super) const MAX_ATTEMPTS: usize = 4;

/// Concurrent changes won every attempt, or the account was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConcurrentChange;

/// The object does not exist or belongs to another user. The caller must not learn which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotOwned;

impl Account<'_> {
    /// Sets the language of the user's pages. `None`: pages follow the browser.
    pub async fn choose_language(
        &self,
        ctx: &mut Ctx<'_>,
        browser: &SignedIn,
        language: Option<Language>,
    ) -> Answer<(), ConcurrentChange> {
        let tag = language.map(Language::tag);
        for _ in 0..MAX_ATTEMPTS {
            let Some(user) = self.current_user(browser).await? else { return Ok(Err(ConcurrentChange)) };
            if user.locale.as_deref() == tag {
                return Ok(Ok(()));
            }
            let detail = serde_json::json!({ "what": "language", "before": user.locale, "after": tag });
            let change = Change { kind: ChangeKind::Person, subject: user.id.0 };
            let mut batch = Batch::from(vec![
                self.memory.store.set_locale(&user, tag, ctx.now),
                self.profile_event(ctx, browser, &detail),
            ]);
            batch.announce(change, ctx.now);
            if self.memory.commit(batch, ctx.now).await? == CommitOutcome::Committed {
                return Ok(Ok(()));
            }
        }
        Ok(Err(ConcurrentChange))
    }

    /// The user as stored now, if the sign-in still belongs to them.
    pub(crate) async fn current_user(&self, browser: &SignedIn) -> Result<Option<User>, Fault> {
        let user = self.memory.store.user(browser.user.id).await?;
        Ok(user.filter(|user| user.may_sign_in() && user.epoch == browser.session.user_epoch))
    }

    /// The event of a change that users made to their own account.
    pub(super) fn profile_event(&self, ctx: &mut Ctx<'_>, browser: &SignedIn, detail: &serde_json::Value) -> Statement {
        let event = AuditEvent::done(ctx.now, AuditKind::ProfileChange, ctx.request)
            .user(browser.user.id)
            .session(browser.session.id)
            .detail(detail);
        AuditWriter::new(&self.memory.store, ctx.rng, ctx.now).event(&event)
    }
}
