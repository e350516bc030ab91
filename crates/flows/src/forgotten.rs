//! Questions about who exists: a forgotten password, a browser that is to be known, an account that is attacked. What is
//! answered, and when, tells nothing of it: the question is put into a queue, and looked into after the answer.

use std::sync::Arc;
use std::time::Duration;

use model::audit::{Asker, AuditEvent, AuditKind, Visitor};
use model::fair::{Receiver, Sender, channel};
use model::link::{LinkLife, LinkPurpose, MAX_RESETS, ResetUnsent};
use model::mail::EmailAddress;
use model::{InstanceId, Login, Moment, Timestamp, User, UserId};
use store::Outcome;

use crate::Fault;
use crate::attacks::Attack;
use crate::audit::Trail;
use crate::instance::{BelievedInstance, Instance};
use crate::links::draw_link;

/// Questions that may wait, in fair shares; more are forgotten too.
const MAX_WAITING: usize = 256;

/// Users who share one address and are all written to.
const MAX_NAMESAKES: i64 = 5;

/// A question, and who asked it or gave rise to it.
pub(crate) struct Asked {
    instance: Arc<Instance>,
    question: Question,
    visitor: Visitor,
    at: Timestamp,
}

pub(crate) enum Question {
    /// The login or address that was typed by somebody who forgot the password.
    Forgotten(String),
    /// Somebody wants a link that makes their browser known for this login.
    KnownBrowser(String),
    /// Strangers have used up their guesses at the login.
    AccountAttacked(Login),
    SecondStepAttacked(UserId),
}

/// Where questions wait.
pub(crate) type Questions = Arc<Sender<InstanceId, Asked>>;

pub(crate) fn questions() -> (Questions, Receiver<InstanceId, Asked>) {
    let (questions, asked) = channel(MAX_WAITING);
    (Arc::new(questions), asked)
}

impl BelievedInstance {
    /// Somebody says they forgot the password of the login or address that they typed. `Some`: asked too often, wait so
    /// long. Otherwise mail is sent to whom there is; nothing here tells whether there is anybody.
    pub fn forgotten(&self, visitor: &Visitor, typed: &str, now: Timestamp) -> Result<Option<Duration>, Fault> {
        let question = Question::Forgotten(typed.trim().chars().take(254).collect());
        self.ask((visitor, now), typed, question)
    }

    /// Somebody wants a link that makes their browser known for a login that strangers have spent. Answers as
    /// [`Self::forgotten`] does.
    pub fn ask_for_known_browser(
        &self,
        visitor: &Visitor,
        login: &str,
        now: Timestamp,
    ) -> Result<Option<Duration>, Fault> {
        self.ask((visitor, now), login, Question::KnownBrowser(login.trim().chars().take(254).collect()))
    }

    fn ask(
        &self,
        (visitor, now): (&Visitor, Timestamp),
        typed: &str,
        question: Question,
    ) -> Result<Option<Duration>, Fault> {
        let wait = self.count_question(Login::typed(typed).as_ref(), visitor.address, now);
        if let Some(wait) = wait {
            self.tell_unsent(now, visitor, None, ResetUnsent::Throttled(wait))?;
            return Ok(Some(wait));
        }
        let asked = Asked::new(self.unchecked(), question, visitor, now);
        if self.questions.send(*self.store.instance(), asked).is_err() {
            self.tell_unsent(now, visitor, None, ResetUnsent::TooManyQuestions)?;
        }
        Ok(None)
    }
}

impl Instance {
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

    async fn by_login(&self, login: Option<Login>) -> Result<Option<User>, Fault> {
        let Some(login) = login else { return Ok(None) };
        Ok(self.store.user_by_login(&login).await?.map(|(user, _)| user))
    }

    /// By login, else by address: people remember either.
    async fn meant_by(&self, typed: &str) -> Result<Vec<User>, Fault> {
        if let Some(user) = self.by_login(Login::parse(typed)).await? {
            return Ok(vec![user]);
        }
        match EmailAddress::parse(typed) {
            Some(address) => self.store.users_by_email(&address, MAX_NAMESAKES).await,
            None => Ok(Vec::new()),
        }
    }

    /// Mails the user a link.
    async fn send_link(
        &self,
        (user, purpose): (User, LinkPurpose),
        visitor: &Visitor,
        moment: &mut Moment<'_>,
    ) -> Result<(), Fault> {
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
            .detail(&serde_json::json!({ "what": "link-sent", "for": purpose.kind() }));
        let (link, insert) = draw_link(&self.store, user, (purpose, LinkLife::Asked), moment);
        let batch = vec![
            self.store.hold_user(&link.user),
            insert,
            self.store.expect_links_at_most(purpose, link.user.id, (moment.now, MAX_RESETS)),
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
                self.tell_unsent(moment.now, visitor, Some(&link.user), ResetUnsent::LinksStillLive(MAX_RESETS))
            }
        }
    }
}

impl Asked {
    pub(crate) fn new(instance: &Arc<Instance>, question: Question, visitor: &Visitor, now: Timestamp) -> Self {
        Self { instance: Arc::clone(instance), question, visitor: visitor.clone(), at: now }
    }

    /// Looks into it.
    pub(crate) async fn answer(self, dice: &mut dyn model::Dice) -> Result<(), Fault> {
        let Self { instance, question, visitor, at } = self;
        let mut moment = Moment { now: at, dice: &mut *dice };
        let (users, purpose) = match question {
            Question::Forgotten(typed) => (instance.meant_by(&typed).await?, LinkPurpose::PasswordReset),
            Question::KnownBrowser(typed) => {
                (Vec::from_iter(instance.by_login(Login::parse(&typed)).await?), LinkPurpose::KnownBrowser)
            }
            Question::AccountAttacked(login) => {
                let user = instance.by_login(Some(login)).await?;
                return instance.tell_of_attack((user, Attack::Password), &visitor, &mut moment).await;
            }
            Question::SecondStepAttacked(user) => {
                let user = instance.store.user(user).await?;
                return instance.tell_of_attack((user, Attack::SecondStep), &visitor, &mut moment).await;
            }
        };
        if users.is_empty() {
            return instance.tell_unsent(at, &visitor, None, ResetUnsent::UnknownUser);
        }
        for user in users {
            instance.send_link((user, purpose), &visitor, &mut moment).await?;
        }
        Ok(())
    }
}
