//! Pages of two-step sign-in: the second step, and its setup.

use askama::Template;
use model::PasskeyId;

use crate::messages::Messages;
use crate::pages::profile::{DisplayTime, ProfileFrame};
use crate::pages::{favicon, passkeys_script, stylesheet};

/// A form that the script shows and submits with the authenticator's answer. Posts `state`, `answer`, `csrf`.
pub struct PasskeyForm<'a> {
    pub action: &'a str,
    pub label: &'a str,
    /// JSON for the script.
    pub options: &'a str,
    pub state: &'a str,
}

/// The code that the second step asks for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum CodeField {
    App,
    Recovery,
}

impl CodeField {
    pub const fn name(self) -> &'static str {
        match self {
            Self::App => "code",
            Self::Recovery => "recovery_code",
        }
    }

    const fn label(self, messages: &Messages) -> &'static str {
        match self {
            Self::App => messages.two_step.code,
            Self::Recovery => messages.two_step.recovery_code,
        }
    }

    const fn hint(self, messages: &Messages) -> &'static str {
        match self {
            Self::App => messages.two_step.code_hint,
            Self::Recovery => messages.two_step.recovery_code_hint,
        }
    }
}

/// `data-page="second-step"`: after the password, for users with a second factor. Posts the `field` and `csrf`.
#[derive(Template)]
#[template(path = "second-step.html")]
pub struct SecondStepPage<'a> {
    pub messages: &'static Messages,
    pub instance_name: &'a str,
    pub login: &'a str,
    pub action: &'a str,
    pub csrf: &'a str,
    pub field: Option<CodeField>,
    pub passkey: Option<PasskeyForm<'a>>,
    pub error: Option<&'a str>,
    pub notice: Option<&'a str>,
    /// Address and text of the link to the form for the other kind of code.
    pub other_way: Option<(&'a str, &'a str)>,
    pub begin_anew_url: &'a str,
    /// The address for choosing a new password, set if too many guesses have closed the step for this browser.
    pub new_password_url: Option<&'a str>,
}

/// A passkey in the user's list.
pub struct PasskeyLine<'a> {
    pub id: PasskeyId,
    pub name: &'a str,
    pub added: DisplayTime,
    pub last_used: Option<DisplayTime>,
}

/// `data-page="profile-two-step"`: the user's second factors.
#[derive(Template)]
#[template(path = "profile/two-step.html")]
pub struct TwoStepPage<'a> {
    pub messages: &'static Messages,
    pub frame: ProfileFrame<'a>,
    pub is_on: bool,
    pub app_since: Option<DisplayTime>,
    pub passkeys: &'a [PasskeyLine<'a>],
    /// True if the instance's address allows passkeys.
    pub knows_passkeys: bool,
    pub recovery_codes_left: usize,
}

impl TwoStepPage<'_> {
    fn codes_left(&self) -> String {
        (self.messages.two_step.codes_left)(self.recovery_codes_left)
    }
}

/// `data-page="profile-two-step-app"`. Posts `offer`, `code`, `password`, `csrf`.
#[derive(Template)]
#[template(path = "profile/two-step-app.html")]
pub struct AuthenticatorPage<'a> {
    pub messages: &'static Messages,
    pub frame: ProfileFrame<'a>,
    /// The QR code, as SVG that Gatehouse creates.
    pub picture: &'a str,
    /// The content of the QR code, for an app on the same device.
    pub uri: &'a str,
    pub secret: &'a str,
    pub offer: &'a str,
    /// True if it is the first factor, so that the user's other sessions end.
    pub is_first: bool,
}

/// `data-page="profile-two-step-passkey"`. Posts `name`, `password`, `state`, `answer`, `csrf`.
#[derive(Template)]
#[template(path = "profile/two-step-passkey.html")]
pub struct PasskeyPage<'a> {
    pub messages: &'static Messages,
    pub frame: ProfileFrame<'a>,
    pub options: &'a str,
    pub state: &'a str,
    pub name: &'a str,
    pub is_first: bool,
}

/// `data-page="profile-two-step-confirm"`. Posts `what`, `password`, `csrf`.
#[derive(Template)]
#[template(path = "profile/two-step-confirm.html")]
pub struct ConfirmPage<'a> {
    pub messages: &'static Messages,
    pub frame: ProfileFrame<'a>,
    pub what: &'a str,
    pub title: &'a str,
    pub meaning: &'a str,
    pub button: &'a str,
}

/// `data-page="profile-two-step-prove"`: leads to the sign-in page and back.
#[derive(Template)]
#[template(path = "profile/two-step-prove.html")]
pub struct ProvePage<'a> {
    pub messages: &'static Messages,
    pub frame: ProfileFrame<'a>,
    /// The title of the page that this one replaces.
    pub title: &'a str,
    pub sign_in_url: &'a str,
}

/// `data-page="profile-recovery-codes"`: shown once.
#[derive(Template)]
#[template(path = "profile/recovery-codes.html")]
pub struct RecoveryCodesPage<'a> {
    pub messages: &'static Messages,
    pub frame: ProfileFrame<'a>,
    pub codes: &'a [&'a str],
}
