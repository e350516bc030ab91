//! Password sign-in (OpenID Connect Core §3.1.2.3).

use std::sync::Arc;

use model::audit::{Asker, AuditEvent, AuditKind};
use model::pending_authorization::PendingAuthorization;
use model::refusal::Refusal;
use model::session::SessionCookie;
pub use model::session::SignInRefusal;
use model::throttle::Throttled;
use model::two_step::AuthenticationMethod;
use model::user::{Password, PasswordCredentials, PasswordHash};
use model::{Ctx, Login, User, UserId};
use oauth::secret::Presented;
use store::{Batch, CommitOutcome};

use crate::auth::Auth;
use crate::auth::browser_session::{NewSession, SignedIn};
use crate::auth::guesses::PasswordSource;
pub use crate::auth::guesses::SignInCookies;
use crate::auth::passwords::{HashingTurn, PasswordVerdict};
use crate::auth::reset_requests::ResetRequestKind;
use crate::auth::second_step::FirstStep;
use crate::{Answer, Fault};

/// Outcome of a sign-in with the right password.
pub enum SignInOutcome {
    Done(SignedIn, Presented<SessionCookie>),
    /// The user has a second factor: continue with [`Auth::second_step`], with this proof of the first step.
    SecondStep {
        first_step: Presented<FirstStep>,
        /// The request, which is stored from now on.
        pending: Option<PendingAuthorization>,
    },
}

/// A user whose password matched.
pub(crate) struct PasswordMatch {
    pub(crate) user: User,
    /// The stored hash, and a stronger one to replace it.
    pub(crate) better_hash: Option<(PasswordHash, PasswordHash)>,
}

/// A failed sign-in. `user` is set if the login exists, for the audit only.
pub(crate) struct FailedSignIn {
    pub(crate) refusal: SignInRefusal,
    pub(crate) user: Option<UserId>,
}

impl FailedSignIn {
    pub(crate) const fn held(held: Throttled) -> Self {
        Self { refusal: SignInRefusal::held(held), user: None }
    }
}

impl Auth<'_> {
    /// Signs in with login and password (`identity.md` §4). If the same user signs in again, the `sid` stays, so that
    /// no second seat is taken. The cookie is always new. `pending` is the request that the user signs in for.
    pub async fn sign_in(
        &self,
        ctx: &mut Ctx<'_>,
        credentials: PasswordCredentials<'_>,
        browser: SignInCookies<'_>,
        pending: Option<&PendingAuthorization>,
    ) -> Answer<SignInOutcome, SignInRefusal> {
        let source = PasswordSource::Page(browser);
        let checked = self.check_password(ctx, credentials, source, User::check_sign_in).await?;
        let PasswordMatch { user, better_hash } = match checked {
            Ok(proven) => proven,
            Err(denied) => return self.refuse_sign_in(ctx, denied.user, denied.refusal),
        };
        let rehash = better_hash.map(|(old, better)| self.memory.store.rehash_password(user.id, &old, &better));
        let (user, spends) = (Arc::new(user), Vec::from_iter(rehash));
        let overtaken = || Fault::unavailable("the password was set anew meanwhile");
        if user.has_second_factor {
            let (pending, keeping) =
                pending.map(|pending| self.pending_authorizations().kept(ctx, user.id, pending)).unzip();
            let batch = Batch::from(spends.into_iter().chain(keeping).collect::<Vec<_>>());
            let CommitOutcome::Committed = self.memory.store.commit(batch).await? else {
                return Err(overtaken());
            };
            let event = AuditEvent::done(ctx.now, AuditKind::FirstStep, ctx.request).user(user.id);
            self.audit.put(event)?;
            let first_step = self.first_step(browser.form, &user, ctx.now);
            return Ok(Ok(SignInOutcome::SecondStep { first_step, pending }));
        }
        let opening = NewSession { user, proof: AuthenticationMethod::Password, spends };
        let opened = self.open_identity_session(ctx, &opening, browser.signed_in).await?;
        opened.map(|(browser, cookie)| Ok(SignInOutcome::Done(browser, cookie))).ok_or_else(overtaken)
    }

    /// Checks the password of a signed-in user again, before an operation that a browser left unattended must not
    /// perform. Attempts are counted for this sign-in separately.
    pub(crate) async fn confirm_password(
        &self,
        ctx: &mut Ctx<'_>,
        browser: &SignedIn,
        password: &Presented<Password>,
    ) -> Answer<(), SignInRefusal> {
        let credentials = PasswordCredentials { login: browser.user.login.as_str(), password };
        let source = PasswordSource::SignedIn(browser.session.id);
        match self.check_password(ctx, credentials, source, User::check_sign_in).await? {
            Ok(_) => Ok(Ok(())),
            Err(denied) => self.refuse_sign_in(ctx, Some(browser.user.id), denied.refusal),
        }
    }

    pub(crate) fn refuse_sign_in<T, R: Refusal>(
        &self,
        ctx: &mut Ctx<'_>,
        user: Option<UserId>,
        refusal: R,
    ) -> Answer<T, R> {
        self.memory.meters.sign_ins.add(refusal.cause());
        let mut event = AuditEvent::refused(ctx.now, AuditKind::SignIn, ctx.request, Asker::Stranger, &refusal);
        event.user = user;
        self.audit.put(event)?;
        Ok(Err(refusal))
    }

    /// Compares a password, from any source: throttled, in the same time for every login. It counts as a failure unless
    /// the password is right and `may` admits the user. Does not audit.
    pub(crate) async fn check_password(
        &self,
        ctx: &mut Ctx<'_>,
        credentials: PasswordCredentials<'_>,
        source: PasswordSource<'_>,
        may: impl Fn(&User) -> Result<(), SignInRefusal>,
    ) -> Answer<PasswordMatch, FailedSignIn> {
        let PasswordCredentials { login, password } = credentials;
        let login = Login::typed(login);
        let attempt = self.attempt(login.as_ref(), password, ctx.request.address, source, ctx.now);
        let place = match self.begin_attempt(&attempt, ctx.now).await? {
            Ok(place) => place,
            Err(held) => {
                if let Some(login) = login.filter(|_| held.is_spent) {
                    self.report_attack(&attempt, ResetRequestKind::AccountAttacked(login), ctx.request, ctx.now);
                }
                return Ok(Err(FailedSignIn::held(held)));
            }
        };
        let known = match &login {
            Some(login) => self.memory.store.user_by_login(login).await?,
            None => None,
        };
        let mut salt = [0; 16];
        ctx.rng.fill(&mut salt);
        let kept = known.as_ref().and_then(|(_, hash)| hash.as_ref());
        let turn = place.stranger().map_or(HashingTurn::Known, HashingTurn::Stranger);
        let verdict = self.state.passwords.verify(turn, kept, password, salt).await?;
        let judged = judge(known, verdict, may);
        match &judged {
            Ok(_) => place.right(),
            Err(_) => {
                place.wrong(ctx.now);
            }
        }
        Ok(judged)
    }
}

fn judge(
    known: Option<(User, Option<PasswordHash>)>,
    verdict: PasswordVerdict,
    may: impl Fn(&User) -> Result<(), SignInRefusal>,
) -> Result<PasswordMatch, FailedSignIn> {
    let Some((user, kept)) = known else {
        return Err(FailedSignIn { refusal: SignInRefusal::UnknownUser, user: None });
    };
    let denied = |refusal| FailedSignIn { refusal, user: Some(user.id) };
    let better_hash = match verdict {
        PasswordVerdict::Wrong => return Err(denied(SignInRefusal::WrongPassword)),
        PasswordVerdict::Right => None,
        PasswordVerdict::RightButWeak(better) => kept.map(|kept| (kept, better)),
    };
    may(&user).map_err(denied)?;
    Ok(PasswordMatch { user, better_hash })
}
