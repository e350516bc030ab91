//! What is done by one-time links: choosing a password.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use model::audit::{Asker, AuditEvent, AuditKind};
use model::link::{DeadLink, LinkCode, LinkLifetime, LinkPurpose};
use model::mail::{EmailAddress, Letter, MailMessage};
use model::user::Password;
use model::{Ctx, Moment, Timestamp, User};
use oauth::secret::Presented;
use store::{Batch, CommitOutcome, Statement, Store};

use crate::admin::{AdminRefusal, ElevatedAdminService, ending_user};
use crate::audit::AuditWriter;
use crate::instance::Instance;
use crate::strength::Weakness;
use crate::{Answer, Fault};

/// A link that was made, and is shown or sent once.
pub struct IssuedLink {
    pub user: User,
    pub purpose: LinkPurpose,
    pub life: LinkLifetime,
    pub code: Presented<LinkCode>,
}

impl IssuedLink {
    /// The letter that brings it to the user; `None` where no mail reaches the user.
    pub fn letter(&self, instance: &str, url: &str) -> Option<MailMessage> {
        let to = self.user.mailbox()?;
        let letter = Letter { to, instance, user: &self.user };
        Some(match self.purpose {
            LinkPurpose::SetUp => letter.invitation(url, self.life),
            LinkPurpose::PasswordReset => letter.password_reset(url, self.life),
            LinkPurpose::KnownBrowser => letter.known_browser(url),
        })
    }
}

/// How a link reaches its user.
#[derive(Debug, PartialEq, Eq)]
pub enum HandedOver {
    /// It is on its way to this address.
    Mailed(EmailAddress),
    /// No mail goes there: whoever asked for the link gives it to the user.
    Shown(String),
}

/// Why a link did nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkRefusal {
    /// Unknown, used, expired, or its user changed meanwhile.
    Spent,
    Weak(Weakness),
}

pub(crate) fn new_code(moment: &mut Moment<'_>) -> Presented<LinkCode> {
    Presented::new(URL_SAFE_NO_PAD.encode(moment.rng.secret()))
}

/// The link, and the statement that makes it good.
pub(crate) fn draw_link(
    store: &Store,
    user: User,
    (purpose, life): (LinkPurpose, LinkLifetime),
    moment: &mut Moment<'_>,
) -> (IssuedLink, Statement) {
    let code = new_code(moment);
    let insert = store.insert_link(code.digest().as_bytes(), purpose, &user, moment.now.plus(life.span()));
    (IssuedLink { user, purpose, life, code }, insert)
}

impl ElevatedAdminService<'_> {
    /// A link by which a new user chooses a first password, to be handed over.
    pub async fn set_up_link(&self, login: &str, moment: &mut Moment<'_>) -> Answer<IssuedLink, AdminRefusal> {
        self.issue_link(login, (LinkPurpose::SetUp, LinkLifetime::HandedOver), moment).await
    }

    /// The same, to wait in the user's mailbox.
    pub async fn invite(&self, login: &str, moment: &mut Moment<'_>) -> Answer<IssuedLink, AdminRefusal> {
        self.issue_link(login, (LinkPurpose::SetUp, LinkLifetime::Invitation), moment).await
    }

    /// A link by which a user chooses a new password.
    pub async fn reset_link(&self, login: &str, moment: &mut Moment<'_>) -> Answer<IssuedLink, AdminRefusal> {
        self.issue_link(login, (LinkPurpose::PasswordReset, LinkLifetime::HandedOver), moment).await
    }

    async fn issue_link(
        &self,
        login: &str,
        (purpose, life): (LinkPurpose, LinkLifetime),
        moment: &mut Moment<'_>,
    ) -> Answer<IssuedLink, AdminRefusal> {
        let invalid = |problem: String| Ok(Err(AdminRefusal::Invalid(vec![problem])));
        let (user, has_password) = match self.find_user_with_password(login).await? {
            Ok(found) => found,
            Err(refusal) => return Ok(Err(refusal)),
        };
        if !user.may_sign_in() {
            let why =
                if user.is_on() { "service accounts cannot sign in" } else { "the user is disabled; enable it first" };
            return invalid(format!("no link can be created for {login}: {why}"));
        }
        if purpose == LinkPurpose::SetUp && has_password {
            return invalid(format!("{login} already has a password; create a password reset link instead"));
        }
        let event = self.event_about(created(purpose), (user.id, &user.login), moment);
        let (link, insert) = draw_link(self.store(), user, (purpose, life), moment);
        Ok(self.commit(vec![insert, event], AdminRefusal::Overtaken, moment).await?.map(|()| link))
    }
}

const fn created(purpose: LinkPurpose) -> &'static str {
    match purpose {
        LinkPurpose::SetUp => "create-set-up-link",
        LinkPurpose::PasswordReset => "create-reset-link",
        LinkPurpose::KnownBrowser => "create-known-browser-link",
    }
}

impl Instance {
    /// Does the house send mail?
    pub fn sends_mail(&self) -> bool {
        self.outbox.is_open()
    }

    /// Mails the link to its user, or gives it back to be shown to whoever made it.
    pub fn hand_over(&self, link: &IssuedLink) -> HandedOver {
        let url = link.purpose.url(&self.root, &link.code);
        match link.letter(&self.name, &url) {
            Some(letter) => {
                let to = letter.to.clone();
                if self.outbox.send(*self.store.instance(), letter) {
                    HandedOver::Mailed(to)
                } else {
                    HandedOver::Shown(url)
                }
            }
            None => HandedOver::Shown(url),
        }
    }

    /// Tells the user, if mail reaches them.
    pub fn write_to<'a>(&'a self, user: &'a User, letter: impl FnOnce(Letter<'a>) -> MailMessage) {
        if let Some(to) = user.mailbox() {
            self.outbox.send(*self.store.instance(), letter(Letter { to, instance: &self.name, user }));
        }
    }

    /// What a link is for, and whose it is, while it is good.
    pub async fn link(&self, code: &Presented<LinkCode>, now: Timestamp) -> Result<Option<(LinkPurpose, User)>, Fault> {
        let Some((purpose, user)) = self.store.link(code.digest().as_bytes(), now).await? else { return Ok(None) };
        Ok(self.store.user(user).await?.map(|user| (purpose, user)))
    }

    /// The person chooses a password by a link. Ends everything that was opened with the old one.
    pub async fn choose_password(
        &self,
        ctx: &mut Ctx<'_>,
        (code, password): (&Presented<LinkCode>, &Presented<Password>),
    ) -> Answer<User, LinkRefusal> {
        let found = self.link(code, ctx.now).await?.filter(|(purpose, _)| purpose.sets_password());
        let Some((purpose, user)) = found else {
            return self.refuse_link(ctx, AuditKind::PasswordReset);
        };
        let password = match self.passwords.accept(password, &user).await? {
            Ok(accepted) => accepted,
            Err(weakness) => return Ok(Err(LinkRefusal::Weak(weakness))),
        };
        let mut salt = [0; 16];
        ctx.rng.fill(&mut salt);
        let hash = self.passwords.hash(password, salt).await?;
        let event = AuditEvent::done(ctx.now, AuditKind::PasswordReset, ctx.request)
            .user(user.id)
            .detail(&serde_json::json!({ "what": purpose.kind() }));
        let mut batch = Batch::from(vec![
            // It locks the user, whose address the link is bound to.
            self.store.set_password(&user, &hash, ctx.now),
            self.store.use_link(code.digest().as_bytes()),
            AuditWriter::new(&self.store, ctx.rng, ctx.now).event(&event),
        ]);
        batch.append(ending_user(&self.store, user.id, &mut ctx.moment()));
        if let CommitOutcome::GuardFailed { .. } = self.commit(batch, ctx.now).await? {
            return self.refuse_link(ctx, AuditKind::PasswordReset);
        }
        if purpose == LinkPurpose::PasswordReset {
            self.write_to(&user, Letter::password_changed);
        }
        Ok(Ok(user))
    }

    pub(crate) fn refuse_link<T>(&self, ctx: &Ctx<'_>, kind: AuditKind) -> Answer<T, LinkRefusal> {
        self.audit.put(AuditEvent::refused(ctx.now, kind, ctx.request, (Asker::Stranger, &DeadLink)))?;
        Ok(Err(LinkRefusal::Spent))
    }
}
