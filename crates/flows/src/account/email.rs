//! Changing the user's e-mail address. Both addresses get an e-mail, and the change happens when both have confirmed.

use model::audit::{Asker, AuditEvent, AuditKind, RequestInfo};
use model::email_change::{ANSWER_LIFE, MAX_NEW_ADDRESSES, answer_url, asked_besides, until_midnight};
pub use model::email_change::{AddressSide, EmailChange, EmailRefusal};
use model::link::LinkCode;
use model::mail::{EmailAddress, Letter};
use model::{Ctx, Timestamp, User};
use oauth::secret::Presented;
use serde_json::json;
use store::{Batch, Change, ChangeKind, CommitOutcome, Statement};

use crate::account::Account;
use crate::account::links::LinkRefusal;
use crate::account::profile::ConcurrentChange;
use crate::audit::AuditWriter;
use crate::auth::browser_session::SignedIn;
use crate::auth::links::new_code;
use crate::{Answer, Fault};

/// Attempts when the answer of the other address wins the race.
const MAX_ATTEMPTS: usize = 4;

/// The question that a link asks, and its user.
pub struct EmailConfirmation {
    pub change: EmailChange,
    pub side: AddressSide,
    pub user: User,
}

/// The result of an answer.
#[derive(Debug, PartialEq, Eq)]
pub enum EmailOutcome {
    /// The answer is recorded; the other address has not answered yet.
    Waiting,
    Changed,
    Declined,
}

impl Account<'_> {
    /// The pending change of the signed-in user.
    pub async fn email_change(&self, browser: &SignedIn, now: Timestamp) -> Result<Option<EmailChange>, Fault> {
        let Some(user) = self.current_user(browser).await? else { return Ok(None) };
        Ok(self.memory.store.email_change(user.id).await?.filter(|change| change.stands(&user, now)))
    }

    /// A new request replaces the earlier one, whose links become invalid. The answer does not depend on whether the
    /// new address belongs to another user.
    pub async fn ask_for_email(
        &self,
        ctx: &mut Ctx<'_>,
        browser: &SignedIn,
        address: &str,
    ) -> Answer<EmailAddress, EmailRefusal> {
        let (user, new) = match self.check_email(ctx.now, ctx.request, browser, address).await? {
            Ok(checked) => checked,
            Err(refusal) => return self.refuse_email(ctx.now, ctx.request, browser, refusal),
        };
        let old = asked_besides(&user, &new);
        let code_of_new = new_code(&mut ctx.moment());
        let besides = old.map(|address| (address, new_code(&mut ctx.moment())));
        let change = EmailChange {
            user: user.id,
            user_epoch: user.epoch,
            old: user.email.as_ref().map(|email| email.address.clone()),
            new: new.clone(),
            old_code: besides.as_ref().map(|(_, code)| code.digest()),
            new_code: Some(code_of_new.digest()),
            expires_at: ctx.now.plus(ANSWER_LIFE.span()),
        };
        let batch = vec![
            self.memory.store.touch_identity_session(browser.session.id, ctx.now),
            self.memory.store.put_email_change(&change),
            self.memory.store.count_new_address_letter(user.id, ctx.now, MAX_NEW_ADDRESSES),
            self.email_event(ctx, &user, &json!({ "what": "asked" })),
        ];
        match self.memory.store.commit(batch.into()).await? {
            CommitOutcome::Committed => {}
            CommitOutcome::GuardFailed { statement: 2 } => {
                let refusal = EmailRefusal::TooManyToday(until_midnight(ctx.now));
                return self.refuse_email(ctx.now, ctx.request, browser, refusal);
            }
            CommitOutcome::GuardFailed { .. } => {
                return self.refuse_email(ctx.now, ctx.request, browser, EmailRefusal::Overtaken);
            }
        }
        let write = |to: EmailAddress| Letter { to, instance: &self.info.name, user: &user };
        let url = |code: &Presented<LinkCode>| answer_url(&self.info.root, code);
        let mut all_sent = self.mail.send(write(new.clone()).email_confirmation(&url(&code_of_new), ANSWER_LIFE));
        if let Some((address, code)) = besides {
            all_sent &= self.mail.send(write(address).email_changing(&new, &url(&code), ANSWER_LIFE));
        }
        if all_sent { Ok(Ok(new)) } else { Err(Fault::unavailable("too many letters wait to be sent")) }
    }

    async fn check_email(
        &self,
        now: Timestamp,
        request: &RequestInfo,
        browser: &SignedIn,
        address: &str,
    ) -> Answer<(User, EmailAddress), EmailRefusal> {
        if !self.mail.is_open() {
            return Ok(Err(EmailRefusal::NoMail));
        }
        if !browser.session.is_recent(now) {
            return Ok(Err(EmailRefusal::NotLately));
        }
        let Some(address) = EmailAddress::parse(address.trim()) else { return Ok(Err(EmailRefusal::NotAnAddress)) };
        let Some(user) = self.current_user(browser).await? else { return Ok(Err(EmailRefusal::Overtaken)) };
        if user.email.as_ref().is_some_and(|known| known.verified && known.address == address.as_str()) {
            return Ok(Err(EmailRefusal::Known));
        }
        // The user chooses the recipient of the e-mail, so it counts against the limit for password reset e-mails.
        Ok(match self.auth.count_reset_request(Some(&user.login), request.address, now) {
            Some(wait) => Err(EmailRefusal::Throttled(wait)),
            None => Ok((user, address)),
        })
    }

    fn refuse_email<T>(
        &self,
        now: Timestamp,
        request: &RequestInfo,
        browser: &SignedIn,
        refusal: EmailRefusal,
    ) -> Answer<T, EmailRefusal> {
        let event = AuditEvent::refused(now, AuditKind::EmailChange, request, Asker::Authenticated, &refusal);
        self.audit.put(event.user(browser.user.id).session(browser.session.id))?;
        Ok(Err(refusal))
    }

    /// Withdraws the signed-in user's pending change. Succeeds if there is none.
    pub async fn withdraw_email(&self, ctx: &mut Ctx<'_>, browser: &SignedIn) -> Answer<(), ConcurrentChange> {
        for _ in 0..MAX_ATTEMPTS {
            let Some(user) = self.current_user(browser).await? else { return Ok(Err(ConcurrentChange)) };
            let Some(change) = self.memory.store.email_change(user.id).await? else { return Ok(Ok(())) };
            let event = self.email_event(ctx, &user, &json!({ "what": "withdrawn" }));
            let batch = vec![self.memory.store.end_email_change(&change), event];
            if self.memory.store.commit(batch.into()).await? == CommitOutcome::Committed {
                return Ok(Ok(()));
            }
        }
        Ok(Err(ConcurrentChange))
    }

    /// The question of a link, while it is valid. Does not use up the link.
    pub async fn email_question(
        &self,
        code: &Presented<LinkCode>,
        now: Timestamp,
    ) -> Result<Option<EmailConfirmation>, Fault> {
        let code = code.digest();
        let Some(change) = self.memory.store.email_change_by_code(&code).await? else { return Ok(None) };
        let Some(side) = change.side(&code) else { return Ok(None) };
        let user = self.memory.store.user(change.user).await?.filter(|user| change.stands(user, now));
        Ok(user.map(|user| EmailConfirmation { change, side, user }))
    }

    /// The link proves access to the mailbox, so no sign-in is required. One "no" ends the change; the second "yes"
    /// sets the address.
    pub async fn answer_email(
        &self,
        ctx: &mut Ctx<'_>,
        code: &Presented<LinkCode>,
        agrees: bool,
    ) -> Answer<(EmailConfirmation, EmailOutcome), LinkRefusal> {
        for _ in 0..MAX_ATTEMPTS {
            let Some(question) = self.email_question(code, ctx.now).await? else { break };
            let EmailConfirmation { change, side, user } = &question;
            let next = if agrees { change.agreed(*side) } else { None };
            let (what, answer, mut batch) = match next {
                Some(next) => {
                    let advance = self.memory.store.advance_email_change(change, &next);
                    ("agreed", EmailOutcome::Waiting, Batch::new().with(advance))
                }
                None if agrees => ("changed", EmailOutcome::Changed, self.changing_email(&question, ctx.now)),
                None => {
                    ("declined", EmailOutcome::Declined, Batch::new().with(self.memory.store.end_email_change(change)))
                }
            };
            batch.push(self.email_event(ctx, user, &json!({ "what": what, "by": side.as_str() })));
            if self.memory.commit(batch, ctx.now).await? == CommitOutcome::Committed {
                return Ok(Ok((question, answer)));
            }
        }
        self.refuse_link(ctx, AuditKind::EmailChange)
    }

    fn changing_email(&self, EmailConfirmation { change, user, .. }: &EmailConfirmation, now: Timestamp) -> Batch {
        let mut batch = Batch::from(vec![
            self.memory.store.set_email(user, &change.new, now),
            self.memory.store.end_email_change(change),
        ]);
        batch.announce(of_user(user), now);
        batch
    }

    fn email_event(&self, ctx: &mut Ctx<'_>, user: &User, detail: &serde_json::Value) -> Statement {
        let event = AuditEvent::done(ctx.now, AuditKind::EmailChange, ctx.request).user(user.id).detail(detail);
        AuditWriter::new(&self.memory.store, ctx.rng, ctx.now).event(&event)
    }
}

fn of_user(user: &User) -> Change {
    Change { kind: ChangeKind::User, subject: user.id.0 }
}
