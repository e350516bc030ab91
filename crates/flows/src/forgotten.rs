//! A forgotten password. What is answered, and when, says nothing about who exists: the question is put into a queue, and
//! looked into after the answer.

use std::sync::Arc;
use std::time::Duration;

use model::audit::{Asker, AuditEvent, AuditKind, Visitor};
use model::fair::{Receiver, Sender, channel};
use model::link::{LinkLife, LinkPurpose, MOST_RESETS, ResetUnsent};
use model::mail::EmailAddress;
use model::{InstanceId, Login, Moment, Timestamp, User};
use store::Outcome;

use crate::Fault;
use crate::audit::Trail;
use crate::instance::Instance;
use crate::links::draw_link;

/// Questions that may wait, in fair shares; more are forgotten too.
const MOST_WAITING: usize = 256;

/// Users who share one address and are all written to.
const MOST_NAMESAKES: i64 = 5;

/// Somebody forgot a password.
pub(crate) struct Forgotten {
    instance: Arc<Instance>,
    typed: String,
    visitor: Visitor,
    asked_at: Timestamp,
}

/// Where such questions wait.
pub(crate) type Questions = Arc<Sender<InstanceId, Forgotten>>;

pub(crate) fn questions() -> (Questions, Receiver<InstanceId, Forgotten>) {
    let (questions, asked) = channel(MOST_WAITING);
    (Arc::new(questions), asked)
}

impl Instance {
    /// Somebody says they forgot the password of the login or address that they typed. `Some`: asked too often, wait so
    /// long. Otherwise mail is sent to whom there is; nothing here tells whether there is anybody.
    pub fn forgotten(
        self: &Arc<Self>,
        visitor: &Visitor,
        typed: &str,
        now: Timestamp,
    ) -> Result<Option<Duration>, Fault> {
        let typed = typed.trim();
        let wait = self.count_question(Login::parse(typed).as_ref(), visitor.address, now);
        if let Some(wait) = wait {
            self.tell_unsent(now, visitor, None, ResetUnsent::Throttled(wait))?;
            return Ok(Some(wait));
        }
        let question = Forgotten {
            instance: Arc::clone(self),
            typed: typed.chars().take(254).collect(),
            visitor: visitor.clone(),
            asked_at: now,
        };
        if self.questions.send(*self.store.instance(), question).is_err() {
            self.tell_unsent(now, visitor, None, ResetUnsent::TooManyQuestions)?;
        }
        Ok(None)
    }

    fn tell_unsent(
        &self,
        now: Timestamp,
        visitor: &Visitor,
        user: Option<&User>,
        unsent: ResetUnsent,
    ) -> Result<(), Fault> {
        let mut event = AuditEvent::refused(now, AuditKind::PasswordReset, visitor, (Asker::Stranger, &unsent));
        event.user = user.map(|user| user.id);
        self.audit.put(event)
    }

    /// By login, else by address: people remember either.
    async fn meant_by(&self, typed: &str) -> Result<Vec<User>, Fault> {
        if let Some(login) = Login::parse(typed)
            && let Some((user, _)) = self.store.user_by_login(&login).await?
        {
            return Ok(vec![user]);
        }
        match EmailAddress::parse(typed) {
            Some(address) => self.store.users_by_email(&address, MOST_NAMESAKES).await,
            None => Ok(Vec::new()),
        }
    }

    async fn send_reset(&self, user: User, visitor: &Visitor, moment: &mut Moment<'_>) -> Result<(), Fault> {
        let unsent = if !user.may_sign_in() {
            Some(ResetUnsent::UserMayNotSignIn)
        } else if user.mailbox().is_none() {
            Some(ResetUnsent::NoAddress)
        } else if !self.sends_mail() {
            Some(ResetUnsent::NoMail)
        } else {
            None
        };
        if let Some(unsent) = unsent {
            return self.tell_unsent(moment.now, visitor, Some(&user), unsent);
        }
        let event = AuditEvent::done(moment.now, AuditKind::PasswordReset, visitor)
            .user(user.id)
            .detail(&serde_json::json!({ "what": "link-sent" }));
        let purpose = LinkPurpose::PasswordReset;
        let (link, insert) = draw_link(&self.store, user, (purpose, LinkLife::Asked), moment);
        let batch = vec![
            self.store.hold_user(&link.user),
            insert,
            self.store.expect_links_at_most(purpose, link.user.id, (moment.now, MOST_RESETS)),
            Trail::new(&self.store, moment.dice, moment.now).event(&event),
        ];
        match self.store.commit(batch.into()).await? {
            Outcome::Committed => {
                let _by_mail = self.hand_over(&link);
                Ok(())
            }
            // Their password or state changed while this was looked into: who still wants a link asks again.
            Outcome::GuardFailed { statement: 0 } => {
                self.tell_unsent(moment.now, visitor, Some(&link.user), ResetUnsent::UserChanged)
            }
            Outcome::GuardFailed { .. } => {
                self.tell_unsent(moment.now, visitor, Some(&link.user), ResetUnsent::LinksStillLive(MOST_RESETS))
            }
        }
    }
}

impl Forgotten {
    /// Looks into it.
    pub(crate) async fn answer(self, dice: &mut dyn model::Dice) -> Result<(), Fault> {
        let Self { instance, typed, visitor, asked_at } = self;
        let users = instance.meant_by(&typed).await?;
        if users.is_empty() {
            return instance.tell_unsent(asked_at, &visitor, None, ResetUnsent::UnknownUser);
        }
        for user in users {
            instance.send_reset(user, &visitor, &mut Moment { now: asked_at, dice: &mut *dice }).await?;
        }
        Ok(())
    }
}
