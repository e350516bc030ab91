//! Changing the password.

use std::time::Duration;

use model::Ctx;
use model::mail::Letter;
use model::seat::CloseReason;
use model::session::SessionCookie;
use model::user::Password;
use oauth::secret::Presented;
use store::{Batch, Change, ChangeKind, CommitOutcome, SessionsToClose};

use crate::Answer;
use crate::account::Account;
use crate::auth::browser_session::SignedIn;
use crate::auth::passwords::is_same;
use crate::auth::strength::Weakness;
use crate::memory::live_sessions::close_sessions;

/// Both passwords as typed.
#[derive(Clone, Copy)]
pub struct PasswordChange<'a> {
    pub current: &'a Presented<Password>,
    pub new: &'a Presented<Password>,
}

/// A refused password change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasswordRefusal {
    /// The current password is wrong.
    Wrong,
    /// Too many wrong passwords: wait this long.
    Throttled(Duration),
    /// The new password equals the current one.
    Same,
    Weak(Weakness),
    /// The account changed concurrently.
    Overtaken,
}

impl Account<'_> {
    /// Ends every other sign-in, and every token that a sign-in issued. The current sign-in continues with a new
    /// cookie.
    pub async fn change_password(
        &self,
        ctx: &mut Ctx<'_>,
        browser: &SignedIn,
        change: PasswordChange<'_>,
    ) -> Answer<Presented<SessionCookie>, PasswordRefusal> {
        let PasswordChange { current, new } = change;
        match self.auth.confirm_password(ctx, browser, current).await? {
            Ok(()) => {}
            Err(refusal) => return Ok(Err(refusal.wait().map_or(PasswordRefusal::Wrong, PasswordRefusal::Throttled))),
        }
        let Some(user) = self.current_user(browser).await? else { return Ok(Err(PasswordRefusal::Overtaken)) };
        if is_same(current, new) {
            return Ok(Err(PasswordRefusal::Same));
        }
        let new = match self.auth.state.passwords.accept(new, &user).await? {
            Ok(accepted) => accepted,
            Err(weakness) => return Ok(Err(PasswordRefusal::Weak(weakness))),
        };
        let mut salt = [0; 16];
        ctx.rng.fill(&mut salt);
        let hash = self.auth.state.passwords.hash(new, salt).await?;
        let (renewed, cookie) = browser.renewed(&mut ctx.moment(), user.epoch + 1);
        let change = Change { kind: ChangeKind::User, subject: user.id.0 };
        let detail = serde_json::json!({ "what": "password" });
        // The seats' row is locked first, as in every batch.
        let mut batch = Batch::new().with(self.memory.store.move_seats());
        batch.push(self.memory.store.set_password(&user, &hash, ctx.now));
        batch.push(self.memory.store.renew_identity_session(&renewed, &browser.session.secret));
        batch.push(self.profile_event(ctx, browser, &detail));
        batch.append(close_sessions(
            &self.memory.store,
            SessionsToClose::OfUser(user.id),
            CloseReason::UserChanged,
            &mut ctx.moment(),
        ));
        batch.announce(change, ctx.now);
        match self.memory.commit(batch, ctx.now).await? {
            CommitOutcome::Committed => {
                self.mail.write_to(&user, Letter::password_changed);
                Ok(Ok(cookie))
            }
            CommitOutcome::GuardFailed { .. } => Ok(Err(PasswordRefusal::Overtaken)),
        }
    }
}
