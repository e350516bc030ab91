//! The pages for a change of the e-mail address, and for confirming it from either address.

use askama::Template;
use model::Email;
use model::email_change::AddressSide;

use crate::messages::Messages;
use crate::pages::profile::{DisplayTime, ProfileFrame};
use crate::pages::{favicon, stylesheet};

/// A pending change of address.
pub struct PendingAddress<'a> {
    /// Each address that must agree, and whether it has.
    pub asked: &'a [(&'a str, bool)],
    pub until: DisplayTime,
}

/// The options for changing the address.
pub enum EmailChangeMethod<'a> {
    /// A form. The value is the previous input.
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

/// `data-page="confirm-email"`: the owner of an address agrees or refuses. Posts `code`, `answer=yes` or `answer=no`,
/// `csrf`.
#[derive(Template)]
#[template(path = "confirm-email.html")]
pub struct ConfirmEmailPage<'a> {
    pub messages: &'static Messages,
    pub instance_name: &'a str,
    pub side: AddressSide,
    pub login: &'a str,
    /// The new address.
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

    /// The button texts for yes and no.
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
    /// The address for choosing another password, for users who did not request the change.
    pub password_url: Option<&'a str>,
}
