//! The browser's session (OpenID Connect Core §3.1.2.3): opened by a sign-in, renewed by the next, ended by a sign-out.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use model::audit::{AuditEvent, AuditKind};
use model::seat::CloseReason;
use model::session::SessionCookie;
use model::two_step::AuthenticationMethod;
use model::{Ctx, IdentitySession, InstanceId, Moment, SessionId, Timestamp, User};
use oauth::secret::Presented;
use store::{Batch, Change, ChangeKind, CommitOutcome, SessionsToClose, Statement};
use uuid::Uuid;

use crate::Fault;
use crate::audit::AuditWriter;
use crate::auth::Auth;
use crate::memory::live_sessions::close_sessions;

/// Page views refresh the session's idle timer at most this often.
const SEEN_EVERY: Duration = Duration::from_mins(1);

/// A user signed in at this browser.
#[derive(Clone)]
pub struct SignedIn {
    pub user: Arc<User>,
    pub session: IdentitySession,
    /// The instance of the sign-in. Only that instance makes one.
    instance: InstanceId,
}

impl SignedIn {
    /// Whether the sign-in is for this instance.
    pub(crate) fn is_of(&self, instance: InstanceId) -> bool {
        self.instance == instance
    }

    /// The same sign-in under a new cookie, in a new epoch of the user: it continues while all others end.
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

/// Inputs for a new session: the user, the authentication method, and the statements that spend one-time factors.
pub(crate) struct NewSession {
    pub(crate) user: Arc<User>,
    pub(crate) proof: AuthenticationMethod,
    /// Guarded: each must take effect, or the sign-in fails.
    pub(crate) spends: Vec<Statement>,
}

impl Auth<'_> {
    /// The cookie's value is `sid.secret`; only the secret is a credential.
    pub async fn signed_in(
        &self,
        cookie: &Presented<SessionCookie>,
        now: Timestamp,
    ) -> Result<Option<SignedIn>, Fault> {
        let Some((id, _)) = cookie.expose().split_once('.') else { return Ok(None) };
        let Ok(id) = Uuid::try_parse(id) else { return Ok(None) };
        // Before memory's users and settings are used: checks whether the session is valid, and whether it has ended.
        self.memory.renew(now).await?;
        let Some(session) = self.memory.store.identity_session(SessionId(id)).await? else { return Ok(None) };
        if !session.secret.matches(cookie) || !session.is_live(now, self.memory.settings().session_lifetimes()) {
            return Ok(None);
        }
        let user = self.memory.user(session.user).await?;
        let same = |user: &Arc<User>| user.may_sign_in() && user.epoch == session.user_epoch;
        Ok(user.filter(same).map(|user| SignedIn { user, session, instance: *self.memory.store.instance() }))
    }

    /// A user who views Gatehouse's own pages is not idle. Written once a minute at most.
    pub async fn extend_session(&self, browser: &SignedIn, now: Timestamp) -> Result<(), Fault> {
        if now.since(browser.session.last_seen) < SEEN_EVERY {
            return Ok(());
        }
        let touch = self.memory.store.touch_identity_session(browser.session.id, now);
        // A failed guard means that the sign-in has ended meanwhile; the next request reads that.
        self.memory.store.commit(Batch::new().with(touch)).await.map(|_| ())
    }

    /// `None` if a one-time factor was spent by another request first.
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
                None => self.memory.store.insert_identity_session(&session),
                Some(browser) => self.memory.store.renew_identity_session(&session, &browser.session.secret),
            });
            batch.push(self.memory.store.signed_in_from(id, ctx.request));
            let event = AuditEvent::done(ctx.now, AuditKind::SignIn, ctx.request).user(user.id).session(id);
            let event = event.detail(&serde_json::json!({ "proved": proof.as_str() }));
            batch.push(AuditWriter::new(&self.memory.store, ctx.rng, ctx.now).event(&event));
            match self.memory.store.commit(batch).await? {
                CommitOutcome::Committed => {
                    self.memory.meters.sign_ins.add("done");
                    let browser = SignedIn { user: Arc::clone(user), session, instance: *self.memory.store.instance() };
                    return Ok(Some((browser, cookie)));
                }
                CommitOutcome::GuardFailed { statement } if statement < spends.len() => return Ok(None),
                // The old session ended, or another tab renewed it: this sign-in opens a new session.
                CommitOutcome::GuardFailed { .. } if again.take().is_some() => {}
                CommitOutcome::GuardFailed { .. } => return Err(Fault::failed("two sign-ins with one id")),
            }
        }
    }

    pub(crate) async fn end_sign_in(&self, ctx: &mut Ctx<'_>, session: SessionId) -> Result<(), Fault> {
        let now = ctx.now;
        let Some(known) = self.memory.store.identity_session(session).await? else { return Ok(()) };
        let event = AuditEvent::done(now, AuditKind::SignOut, ctx.request).user(known.user).session(session);
        let change = Change { kind: ChangeKind::SessionEnded, subject: session.0 };
        let mut batch = Batch::from(vec![
            // The seats' row first, as everywhere: batches that lock in one order do not wait for each other.
            self.memory.store.move_seats(),
            self.memory.store.end_identity_session(session, now).expect(1),
            self.memory.store.end_authorizations_of(session, "sign_out", now),
            AuditWriter::new(&self.memory.store, ctx.rng, now).event(&event),
        ]);
        batch.append(close_sessions(
            &self.memory.store,
            SessionsToClose::OfSignIn(session),
            CloseReason::SignOut,
            &mut ctx.moment(),
        ));
        batch.announce(change, now);
        // A failed guard means that another request ended it, and announced it.
        self.memory.commit(batch, now).await.map(|_| ())
    }
}
