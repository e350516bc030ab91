//! A change of the e-mail address: where it is asked for, and where the addresses answer.

use askama::Template;
use model::Email;
use model::email_change::AddressSide;

use crate::messages::Messages;
use crate::pages::profile::{DisplayTime, ProfileFrame};
use crate::pages::{favicon, stylesheet};

/// What is being waited for.
pub struct PendingAddress<'a> {
    /// Each address that is asked, and whether it has agreed.
    pub asked: &'a [(&'a str, bool)],
    pub until: DisplayTime,
}

/// How a person gets another address.
pub enum EmailChangeMethod<'a> {
    /// What the field holds: what was typed before.
    Ask(&'a str),
    /// The address of the sign-in page.
    SignInAgain(&'a str),
    NoMail,
}

/// `data-page="profile-email"`. Posts `email`, or `withdraw=1`, and `csrf`.
#[derive(Template)]
#[template(path = "profile/email.html")]
pub struct EmailPage<'a> {
    pub messages: &'static Messages,
    pub frame: ProfileFrame<'a>,
    pub email: Option<&'a Email>,
    pub waiting: Option<PendingAddress<'a>>,
    pub way: EmailChangeMethod<'a>,
}

/// `data-page="confirm-email"`: whoever reads an address's mail says yes or no. Posts `code`, `answer=yes` or
/// `answer=no`, `csrf`.
#[derive(Template)]
#[template(path = "confirm-email.html")]
pub struct ConfirmEmailPage<'a> {
    pub messages: &'static Messages,
    pub instance_name: &'a str,
    pub side: AddressSide,
    pub login: &'a str,
    /// The new one.
    pub address: &'a str,
    pub action: &'a str,
    pub csrf: &'a str,
    /// The one-time code from the link.
    pub code: &'a str,
}

impl ConfirmEmailPage<'_> {
    const fn title(&self) -> &'static str {
        match self.side {
            AddressSide::New => self.messages.email.confirm_title,
            AddressSide::Old => self.messages.email.replace_title,
        }
    }

    fn question(&self) -> String {
        let ask = match self.side {
            AddressSide::New => self.messages.email.confirm,
            AddressSide::Old => self.messages.email.replace,
        };
        ask(self.login, self.address)
    }

    /// Yes and no.
    const fn answers(&self) -> (&'static str, &'static str) {
        match self.side {
            AddressSide::New => (self.messages.email.confirm_yes, self.messages.email.confirm_no),
            AddressSide::Old => (self.messages.email.replace_yes, self.messages.email.replace_no),
        }
    }
}

/// `data-page="email-answered"`.
#[derive(Template)]
#[template(path = "email-answered.html")]
pub struct EmailAnsweredPage<'a> {
    pub messages: &'static Messages,
    pub instance_name: &'a str,
    pub title: &'a str,
    pub meaning: &'a str,
    /// For whoever did not ask for it: where to choose another password.
    pub password_url: Option<&'a str>,
}
