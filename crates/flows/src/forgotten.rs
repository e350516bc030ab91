//! Questions about who exists: a forgotten password, a browser that is to be known, an account that is attacked. What is
//! answered, and when, tells nothing of it: the question is put into a queue, and looked into after the answer.

use std::sync::Arc;
use std::time::Duration;

use model::audit::{Asker, AuditEvent, AuditKind, RequestInfo};
use model::fair::{FairReceiver, FairSender, channel};
use model::link::{LinkLifetime, LinkPurpose, MAX_RESETS, ResetNotSent};
use model::mail::EmailAddress;
use model::{Ctx, InstanceId, Login, Timestamp, User, UserId};
use store::CommitOutcome;

use crate::Fault;
use crate::attacks::Attack;
use crate::audit::AuditWriter;
use crate::instance::{BelievedInstance, Instance};
use crate::links::draw_link;

/// Questions that may wait, in fair shares; more are forgotten too.
const MAX_WAITING: usize = 256;

/// Users who share one address and are all written to.
const MAX_NAMESAKES: i64 = 5;

/// A question, and who asked it or gave rise to it.
pub(crate) struct ResetRequest {
    instance: Arc<Instance>,
    kind: ResetRequestKind,
    request: RequestInfo,
    at: Timestamp,
}

pub(crate) enum ResetRequestKind {
    /// The login or address that was typed by somebody who forgot the password.
    Forgotten(String),
    /// Somebody wants a link that makes their browser known for this login.
    KnownBrowser(String),
    /// Strangers have used up their guesses at the login.
    AccountAttacked(Login),
    SecondStepAttacked(UserId),
}

/// Where questions wait.
pub(crate) type ResetQueue = Arc<FairSender<InstanceId, ResetRequest>>;

pub(crate) fn reset_queue() -> (ResetQueue, FairReceiver<InstanceId, ResetRequest>) {
    let (questions, asked) = channel(MAX_WAITING);
    (Arc::new(questions), asked)
}

impl BelievedInstance {
    /// Somebody says they forgot the password of the login or address that they typed. `Some`: asked too often, wait so
    /// long. Otherwise mail is sent to whom there is; nothing here tells whether there is anybody.
    pub fn request_password_reset(
        &self,
        request: &RequestInfo,
        typed: &str,
        now: Timestamp,
    ) -> Result<Option<Duration>, Fault> {
        let question = ResetRequestKind::Forgotten(typed.trim().chars().take(254).collect());
        self.enqueue((request, now), typed, question)
    }

    /// Somebody wants a link that makes their browser known for a login that strangers have spent. Answers as
    /// [`Self::forgotten`] does.
    pub fn request_browser_link(
        &self,
        request: &RequestInfo,
        login: &str,
        now: Timestamp,
    ) -> Result<Option<Duration>, Fault> {
        self.enqueue((request, now), login, ResetRequestKind::KnownBrowser(login.trim().chars().take(254).collect()))
    }

    fn enqueue(
        &self,
        (request, now): (&RequestInfo, Timestamp),
        typed: &str,
        question: ResetRequestKind,
    ) -> Result<Option<Duration>, Fault> {
        let wait = self.count_reset_request(Login::typed(typed).as_ref(), request.address, now);
        if let Some(wait) = wait {
            self.audit_unsent(now, request, None, ResetNotSent::Throttled(wait))?;
            return Ok(Some(wait));
        }
        let asked = ResetRequest::new(self.unchecked(), question, request, now);
        if self.reset_queue.send(*self.store.instance(), asked).is_err() {
            self.audit_unsent(now, request, None, ResetNotSent::TooManyQuestions)?;
        }
        Ok(None)
    }
}

impl Instance {
    fn audit_unsent(
        &self,
        now: Timestamp,
        request: &RequestInfo,
        user: Option<&User>,
        unsent: ResetNotSent,
    ) -> Result<(), Fault> {
        let mut event = AuditEvent::refused(now, AuditKind::PasswordReset, request, (Asker::Stranger, &unsent));
        event.user = user.map(|user| user.id);
        self.audit.put(event)
    }

    async fn by_login(&self, login: Option<Login>) -> Result<Option<User>, Fault> {
        let Some(login) = login else { return Ok(None) };
        Ok(self.store.user_by_login(&login).await?.map(|(user, _)| user))
    }

    /// By login, else by address: people remember either.
    async fn users_matching(&self, typed: &str) -> Result<Vec<User>, Fault> {
        if let Some(user) = self.by_login(Login::parse(typed)).await? {
            return Ok(vec![user]);
        }
        match EmailAddress::parse(typed) {
            Some(address) => self.store.users_by_email(&address, MAX_NAMESAKES).await,
            None => Ok(Vec::new()),
        }
    }

    /// Mails the user a link.
    async fn send_link(&self, (user, purpose): (User, LinkPurpose), ctx: &mut Ctx<'_>) -> Result<(), Fault> {
        let unsent = if !user.may_sign_in() {
            Some(ResetNotSent::UserMayNotSignIn)
        } else if user.mailbox().is_none() {
            Some(ResetNotSent::NoAddress)
        } else if !self.sends_mail() {
            Some(ResetNotSent::NoMail)
        } else {
            None
        };
        if let Some(unsent) = unsent {
            return self.audit_unsent(ctx.now, ctx.request, Some(&user), unsent);
        }
        let event = AuditEvent::done(ctx.now, AuditKind::PasswordReset, ctx.request)
            .user(user.id)
            .detail(&serde_json::json!({ "what": "link-sent", "for": purpose.kind() }));
        let (link, insert) = draw_link(&self.store, user, (purpose, LinkLifetime::Asked), &mut ctx.moment());
        let batch = vec![
            self.store.hold_user(&link.user),
            insert,
            self.store.expect_links_at_most(purpose, link.user.id, (ctx.now, MAX_RESETS)),
            AuditWriter::new(&self.store, ctx.rng, ctx.now).event(&event),
        ];
        match self.store.commit(batch.into()).await? {
            CommitOutcome::Committed => {
                let _by_mail = self.hand_over(&link);
                Ok(())
            }
            // Their password or state changed while this was looked into: who still wants a link asks again.
            CommitOutcome::GuardFailed { statement: 0 } => {
                self.audit_unsent(ctx.now, ctx.request, Some(&link.user), ResetNotSent::UserChanged)
            }
            CommitOutcome::GuardFailed { .. } => {
                self.audit_unsent(ctx.now, ctx.request, Some(&link.user), ResetNotSent::LinksStillLive(MAX_RESETS))
            }
        }
    }
}

impl ResetRequest {
    pub(crate) fn new(instance: &Arc<Instance>, kind: ResetRequestKind, request: &RequestInfo, now: Timestamp) -> Self {
        Self { instance: Arc::clone(instance), kind, request: request.clone(), at: now }
    }

    /// Looks into it.
    pub(crate) async fn answer(self, rng: &mut dyn model::Rng) -> Result<(), Fault> {
        let Self { instance, kind: question, request, at } = self;
        let mut ctx = Ctx { now: at, rng: &mut *rng, request: &request };
        let (users, purpose) = match question {
            ResetRequestKind::Forgotten(typed) => (instance.users_matching(&typed).await?, LinkPurpose::PasswordReset),
            ResetRequestKind::KnownBrowser(typed) => {
                (Vec::from_iter(instance.by_login(Login::parse(&typed)).await?), LinkPurpose::KnownBrowser)
            }
            ResetRequestKind::AccountAttacked(login) => {
                let user = instance.by_login(Some(login)).await?;
                return instance.notify_of_attack((user, Attack::Password), &mut ctx).await;
            }
            ResetRequestKind::SecondStepAttacked(user) => {
                let user = instance.store.user(user).await?;
                return instance.notify_of_attack((user, Attack::SecondStep), &mut ctx).await;
            }
        };
        if users.is_empty() {
            return instance.audit_unsent(at, &request, None, ResetNotSent::UnknownUser);
        }
        for user in users {
            instance.send_link((user, purpose), &mut ctx).await?;
        }
        Ok(())
    }
}
