//! Who is at the browser, and how somebody comes to be.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use model::audit::{Asker, AuditEvent, AuditKind};
use model::session::SessionCookie;
pub use model::session::SignInRefusal;
use model::throttle::Throttled;
use model::two_step::AuthenticationMethod;
use model::user::{Password, PasswordHash};
use model::why::Refusal;
use model::{Ctx, IdentitySession, InstanceId, Login, Moment, SessionId, Timestamp, User, UserId};
use oauth::secret::Presented;
use store::{Batch, CommitOutcome, Statement};
use uuid::Uuid;

use crate::audit::AuditWriter;
use crate::forgotten::ResetRequestKind;
use crate::guesses::PasswordSource;
pub use crate::guesses::SignInCookies;
use crate::instance::BelievedInstance;
use crate::passwords::{HashingTurn, PasswordVerdict};
use crate::second_step::FirstStep;
use crate::{Answer, Fault};

/// A person signed in at this browser.
#[derive(Clone)]
pub struct SignedIn {
    pub user: Arc<User>,
    pub session: IdentitySession,
    /// Where; only that instance makes one.
    instance: InstanceId,
}

impl SignedIn {
    /// Whether the sign-in is one of this instance.
    pub(crate) fn is_of(&self, instance: InstanceId) -> bool {
        self.instance == instance
    }

    /// The same sign-in under a new cookie, in a new epoch of the user: it goes on where all others end.
    pub(crate) fn renewed(
        &self,
        moment: &mut Moment<'_>,
        user_epoch: i64,
    ) -> (IdentitySession, Presented<SessionCookie>) {
        let cookie = new_cookie(self.session.id, moment);
        (IdentitySession { secret: cookie.digest(), user_epoch, ..self.session.clone() }, cookie)
    }
}

fn new_cookie(id: SessionId, moment: &mut Moment<'_>) -> Presented<SessionCookie> {
    Presented::new(format!("{}.{}", id.0.simple(), URL_SAFE_NO_PAD.encode(moment.rng.secret())))
}

/// How often the use of our own pages is written down.
const SEEN_EVERY: Duration = Duration::from_mins(1);

/// What a right password led to.
pub enum SignInOutcome {
    Done(SignedIn, Presented<SessionCookie>),
    /// The person has a second factor: on to [`BelievedInstance::second_step`], with a proof of the first.
    SecondStep(Presented<FirstStep>),
}

/// What a new sign-in rests on.
pub(crate) struct NewSession {
    pub(crate) user: Arc<User>,
    pub(crate) proof: AuthenticationMethod,
    /// Guarded: each must take effect, or nobody is signed in.
    pub(crate) spends: Vec<Statement>,
}

/// Whose password it was.
pub(crate) struct PasswordMatch {
    pub(crate) user: User,
    /// The hash that is kept, and a better one to put in its place.
    pub(crate) better_hash: Option<(PasswordHash, PasswordHash)>,
}

/// Why a password let nobody in, and whose it was thought to be.
pub(crate) struct FailedSignIn {
    pub(crate) refusal: SignInRefusal,
    pub(crate) user: Option<UserId>,
}

impl FailedSignIn {
    pub(crate) const fn held(held: Throttled) -> Self {
        Self { refusal: SignInRefusal::held(held), user: None }
    }
}

impl BelievedInstance {
    /// The cookie's value is `sid.secret`; only the secret is a credential.
    pub async fn signed_in(
        &self,
        cookie: &Presented<SessionCookie>,
        now: Timestamp,
    ) -> Result<Option<SignedIn>, Fault> {
        let Some((id, _)) = cookie.expose().split_once('.') else { return Ok(None) };
        let Ok(id) = Uuid::try_parse(id) else { return Ok(None) };
        // Before it is judged by memory's users and settings: whether it stands, and whether it has ended.
        self.renew(now).await?;
        let Some(session) = self.store.identity_session(SessionId(id)).await? else { return Ok(None) };
        if !session.secret.matches(cookie) || !session.is_live(now, self.settings().session_lifetimes()) {
            return Ok(None);
        }
        let user = self.user(session.user).await?;
        let same = |user: &Arc<User>| user.may_sign_in() && user.epoch == session.user_epoch;
        Ok(user.filter(same).map(|user| SignedIn { user, session, instance: *self.store.instance() }))
    }

    /// Whoever looks at our own pages is not idle. Written once a minute at most.
    pub async fn extend_session(&self, browser: &SignedIn, now: Timestamp) -> Result<(), Fault> {
        if now.since(browser.session.last_seen) < SEEN_EVERY {
            return Ok(());
        }
        let touch = self.store.touch_identity_session(browser.session.id, now);
        // A failed guard: the sign-in has ended meanwhile, and the next request hears of it.
        self.store.commit(Batch::new().with(touch)).await.map(|_| ())
    }

    /// `identity.md` §4. The person who signs in again keeps the `sid`, so that no second seat is taken; the cookie is
    /// new either way.
    pub async fn sign_in(
        &self,
        ctx: &mut Ctx<'_>,
        (login, password): (&str, &Presented<Password>),
        browser: SignInCookies<'_>,
    ) -> Answer<SignInOutcome, SignInRefusal> {
        let shown = (login, password, PasswordSource::Page(browser));
        let PasswordMatch { user, better_hash } = match self.check_password(ctx, shown, User::check_sign_in).await? {
            Ok(proven) => proven,
            Err(denied) => return self.refuse_sign_in(ctx, denied.user, denied.refusal),
        };
        let rehash = better_hash.map(|(old, better)| self.store.rehash_password(user.id, &old, &better));
        let (user, spends) = (Arc::new(user), Vec::from_iter(rehash));
        let overtaken = || Fault::unavailable("the password was set anew meanwhile");
        if user.has_second_factor {
            let CommitOutcome::Committed = self.store.commit(spends.into()).await? else { return Err(overtaken()) };
            let event = AuditEvent::done(ctx.now, AuditKind::FirstStep, ctx.request).user(user.id);
            self.audit.put(event)?;
            return Ok(Ok(SignInOutcome::SecondStep(self.first_step(browser.form, &user, ctx.now))));
        }
        let opening = NewSession { user, proof: AuthenticationMethod::Password, spends };
        let opened = self.open_identity_session(ctx, &opening, browser.signed_in).await?;
        opened.map(|(browser, cookie)| Ok(SignInOutcome::Done(browser, cookie))).ok_or_else(overtaken)
    }

    /// A person who is signed in types the password again, before something that a found browser must not do. The
    /// sign-in's tries are counted by themselves.
    pub(crate) async fn confirm_password(
        &self,
        ctx: &mut Ctx<'_>,
        (browser, password): (&SignedIn, &Presented<Password>),
    ) -> Answer<(), SignInRefusal> {
        let shown = (browser.user.login.as_str(), password, PasswordSource::SignedIn(browser.session.id));
        match self.check_password(ctx, shown, User::check_sign_in).await? {
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
        self.meters.sign_ins.add(refusal.cause());
        let mut event = AuditEvent::refused(ctx.now, AuditKind::SignIn, ctx.request, (Asker::Stranger, &refusal));
        event.user = user;
        self.audit.put(event)?;
        Ok(Err(refusal))
    }

    /// Compares a password, whichever door it is shown at: throttled, in the same time for everybody, and a failure unless
    /// it is right and `may` lets the user in. Tells the audit nothing.
    pub(crate) async fn check_password(
        &self,
        ctx: &mut Ctx<'_>,
        (login, password, door): (&str, &Presented<Password>, PasswordSource<'_>),
        may: impl Fn(&User) -> Result<(), SignInRefusal>,
    ) -> Answer<PasswordMatch, FailedSignIn> {
        let login = Login::typed(login);
        let attempt = self.attempt((login.as_ref(), password), ctx.request.address, door, ctx.now);
        let place = match self.begin_attempt(&attempt, ctx.now).await? {
            Ok(place) => place,
            Err(held) => {
                if let Some(login) = login.filter(|_| held.is_spent) {
                    self.report_attack(&attempt, ResetRequestKind::AccountAttacked(login), (ctx.request, ctx.now));
                }
                return Ok(Err(FailedSignIn::held(held)));
            }
        };
        let known = match &login {
            Some(login) => self.store.user_by_login(login).await?,
            None => None,
        };
        let mut salt = [0; 16];
        ctx.rng.fill(&mut salt);
        let kept = known.as_ref().and_then(|(_, hash)| hash.as_ref());
        let turn = place.stranger().map_or(HashingTurn::Known, HashingTurn::Stranger);
        let verdict = self.passwords.verify(turn, kept, password, salt).await?;
        let judged = judge(known, verdict, may);
        match &judged {
            Ok(_) => place.right(),
            Err(_) => {
                place.wrong(ctx.now);
            }
        }
        Ok(judged)
    }

    /// `None` when somebody was first to spend what the sign-in rests on.
    pub(crate) async fn open_identity_session(
        &self,
        ctx: &mut Ctx<'_>,
        NewSession { user, proof, spends }: &NewSession,
        previous: Option<&SignedIn>,
    ) -> Result<Option<(SignedIn, Presented<SessionCookie>)>, Fault> {
        let mut again = previous.filter(|browser| browser.user.id == user.id);
        loop {
            let id = again.map_or_else(|| SessionId(ctx.id()), |browser| browser.session.id);
            let cookie = new_cookie(id, &mut ctx.moment());
            let session = IdentitySession {
                id,
                secret: cookie.digest(),
                user: user.id,
                auth_time: ctx.now,
                amr: proof.amr(),
                created_at: ctx.now,
                last_seen: ctx.now,
                user_epoch: user.epoch,
            };
            let mut batch = Batch::from(spends.clone());
            batch.push(match again {
                None => self.store.insert_identity_session(&session),
                Some(browser) => self.store.renew_identity_session(&session, &browser.session.secret),
            });
            batch.push(self.store.signed_in_from(id, ctx.request));
            let event = AuditEvent::done(ctx.now, AuditKind::SignIn, ctx.request).user(user.id).session(id);
            let event = event.detail(&serde_json::json!({ "proved": proof.as_str() }));
            batch.push(AuditWriter::new(&self.store, ctx.rng, ctx.now).event(&event));
            match self.store.commit(batch).await? {
                CommitOutcome::Committed => {
                    self.meters.sign_ins.add("done");
                    let browser = SignedIn { user: Arc::clone(user), session, instance: *self.store.instance() };
                    return Ok(Some((browser, cookie)));
                }
                CommitOutcome::GuardFailed { statement } if statement < spends.len() => return Ok(None),
                // The old session ended, or another tab renewed it: this one begins on its own.
                CommitOutcome::GuardFailed { .. } if again.take().is_some() => {}
                CommitOutcome::GuardFailed { .. } => return Err(Fault::failed("two sign-ins with one id")),
            }
        }
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
