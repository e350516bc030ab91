//! The pages people see: sign-in, consent, errors, sign-out, set-up (`identity.md` §3.1, §3.6, §4).
//!
//! A page is a value: a handler fills the fields and renders it, and every text is escaped on the way out. No page
//! needs a script (a passkey does, and those pages have other ways), and none carries a script or a style of its own,
//! so `default-src 'none'; style-src 'self'; img-src 'self'` with `form-action` (`render::FormTarget`) is the whole policy they need. Pages hold CSRF values and codes, so none can be printed (`Debug`).
//!
//! What tests and clients may hold on to: `<body data-page="…">`, the names of fields and buttons, and that the id of
//! every visible field is its name.

pub mod admin;
pub mod email;
pub mod profile;
pub mod tokens;
pub mod two_step;

use std::sync::LazyLock;

use askama::Template;
use aws_lc_rs::digest;
use http::StatusCode;

use self::two_step::PasskeyForm;
use crate::messages::Messages;

static STYLESHEET: &[u8] = include_bytes!("../assets/gatehouse.css");
static PASSKEYS: &[u8] = include_bytes!("../assets/passkeys.js");
static MANAGER: &[u8] = include_bytes!("../assets/manager.js");
static FAVICON: &[u8] = include_bytes!("../assets/favicon.svg");

/// The style sheet (`text/css`): its path, which changes with every byte of it and so may be cached for ever, and its
/// bytes.
pub fn stylesheet() -> (&'static str, &'static [u8]) {
    static PATH: LazyLock<String> = LazyLock::new(|| hashed_path(STYLESHEET, "css"));
    (&PATH, STYLESHEET)
}

/// The icon (`image/svg+xml`), as [`stylesheet`].
pub fn favicon() -> (&'static str, &'static [u8]) {
    static PATH: LazyLock<String> = LazyLock::new(|| hashed_path(FAVICON, "svg"));
    (&PATH, FAVICON)
}

/// What asks the browser for a passkey (`text/javascript`), as [`stylesheet`].
pub fn passkeys_script() -> (&'static str, &'static [u8]) {
    static PATH: LazyLock<String> = LazyLock::new(|| hashed_path(PASSKEYS, "js"));
    (&PATH, PASSKEYS)
}

/// What looks again at pages of the instance manager, and checks its forms (`text/javascript`), as [`stylesheet`].
pub fn manager_script() -> (&'static str, &'static [u8]) {
    static PATH: LazyLock<String> = LazyLock::new(|| hashed_path(MANAGER, "js"));
    (&PATH, MANAGER)
}

/// `/id/assets/gatehouse-<first 64 bits of SHA-256>.<extension>`.
fn hashed_path(bytes: &[u8], extension: &str) -> String {
    let digest = digest::digest(&digest::SHA256, bytes);
    let head = digest.as_ref().first_chunk().expect("a SHA-256 digest has 32 bytes");
    format!("/id/assets/gatehouse-{:016x}.{extension}", u64::from_be_bytes(*head))
}

/// `data-page="sign-in"`. Posts `login`, `password`, `csrf`; or `continue=1`, `csrf` to go on as `signed_in_as`.
#[derive(Template)]
#[template(path = "sign-in.html")]
pub struct SignInPage<'a> {
    pub messages: &'static Messages,
    pub instance_name: &'a str,
    /// The app that waits for the sign-in, if one does.
    pub application_name: Option<&'a str>,
    /// Where the form is posted to.
    pub action: &'a str,
    pub csrf: &'a str,
    /// What stands in the login field: the `login_hint`, or what was typed before.
    pub login: &'a str,
    /// Why the last try was refused, the same text for every cause.
    pub error: Option<&'a str>,
    /// What the person should know besides, such as how long to wait.
    pub notice: Option<&'a str>,
    /// The login of the session that may be continued (`prompt=select_account`).
    pub signed_in_as: Option<&'a str>,
    /// Where people go who forgot their password.
    pub forgotten_url: &'a str,
    /// Where the instance's address allows passkeys.
    pub passkey: Option<PasskeyForm<'a>>,
    /// Where a link is asked for that makes this browser known. Set if strangers have spent the login's guesses.
    pub spent: Option<SpentGuesses<'a>>,
}

/// What helps while a login's guesses are spent.
#[derive(Clone, Copy)]
pub struct SpentGuesses<'a> {
    /// Posts `login`, `csrf`; none where no mail is sent.
    pub link_action: Option<&'a str>,
}

/// Which field of [`SignInPage`] has the keyboard when the page opens.
#[derive(PartialEq)]
enum SignInFocus {
    Nothing,
    Login,
    Password,
}

impl SignInPage<'_> {
    /// The keyboard waits where typing goes on; not at all where continuing is one of the choices and nothing failed.
    fn focus(&self) -> SignInFocus {
        if self.signed_in_as.is_some() && self.error.is_none() {
            SignInFocus::Nothing
        } else if self.login.is_empty() {
            SignInFocus::Login
        } else {
            SignInFocus::Password
        }
    }

    fn continue_as(&self) -> Option<String> {
        self.signed_in_as.map(|login| (self.messages.sign_in.continue_as)(login))
    }

    /// The ids of the messages a screen reader reads with the fields.
    fn described_by(&self) -> Option<&'static str> {
        match (self.error, self.notice) {
            (Some(_), Some(_)) => Some("error notice"),
            (Some(_), None) => Some("error"),
            (None, Some(_)) => Some("notice"),
            (None, None) => None,
        }
    }
}

/// One permission on the [`ConsentPage`] page.
pub struct ScopeLine<'a> {
    /// The scope as it stands in the request; kept in `data-scope`, not shown.
    pub name: &'a str,
    /// What it lets the app do, after the words "It will be able to": "Read your data".
    pub title: &'a str,
    pub description: &'a str,
}

/// `data-page="consent"`. Posts `decision=allow` or `decision=deny`, and `csrf`.
#[derive(Template)]
#[template(path = "consent.html")]
pub struct ConsentPage<'a> {
    pub messages: &'static Messages,
    pub instance_name: &'a str,
    pub application_name: &'a str,
    pub application_uri: &'a str,
    pub user_name: &'a str,
    pub user_login: &'a str,
    pub scopes: &'a [ScopeLine<'a>],
    pub action: &'a str,
    pub csrf: &'a str,
    /// The app's privacy policy: an `http` or `https` address, or this link must not be shown.
    pub policy_url: Option<&'a str>,
    /// The app's terms of use, likewise.
    pub terms_url: Option<&'a str>,
    /// Where to sign in as someone else for the same request.
    pub switch_url: Option<&'a str>,
}

impl ConsentPage<'_> {
    fn heading(&self) -> String {
        (self.messages.consent.title)(self.application_name)
    }
}

/// `data-page="error"`: what went wrong where no app can be told of it (`identity.md` §3.1, checks 1 and 2).
#[derive(Template)]
#[template(path = "error.html")]
pub struct ErrorPage<'a> {
    pub messages: &'static Messages,
    pub title: &'a str,
    /// What happened, in plain words.
    pub message: &'a str,
    /// What the person in front of it can do next.
    pub what_to_do: &'a str,
    /// The OAuth error code (RFC 6749 §4.1.2.1), shown as it is.
    pub code: &'a str,
    /// The id under which an administrator finds the cause.
    pub reference: &'a str,
    /// The status the page is answered with; shown too.
    pub status: StatusCode,
}

/// `data-page="sign-out"`: asked when no valid hint says whose session ends (RP-Initiated Logout 1.0 §2). Posts `csrf`
/// and the `fields`.
#[derive(Template)]
#[template(path = "sign-out.html")]
pub struct SignOutPage<'a> {
    pub messages: &'static Messages,
    pub instance_name: &'a str,
    /// Who is signed in.
    pub user: &'a str,
    /// The app that asks for it, if one does.
    pub application_name: Option<&'a str>,
    pub action: &'a str,
    pub csrf: &'a str,
    /// Names and values of the request to send again with the answer.
    pub fields: &'a [(String, String)],
}

/// `data-page="signed-out"`.
#[derive(Template)]
#[template(path = "signed-out.html")]
pub struct SignedOutPage<'a> {
    pub messages: &'static Messages,
    pub instance_name: &'a str,
    pub application_name: Option<&'a str>,
    /// A registered post-logout address; never one that merely was asked for.
    pub return_url: Option<&'a str>,
}

/// One place to go to.
pub struct SiteLink<'a> {
    pub name: &'a str,
    pub description: &'a str,
    pub url: &'a str,
}

/// `data-page="account"`: who is signed in, for a person who came without an app.
#[derive(Template)]
#[template(path = "account.html")]
pub struct AccountPage<'a> {
    pub messages: &'static Messages,
    pub instance_name: &'a str,
    pub user_name: &'a str,
    pub login: &'a str,
    pub sign_out_url: &'a str,
    pub sites: &'a [SiteLink<'a>],
}

/// `data-page="set-up"`: a person chooses a password by a one-time link. Posts `code`, `login`, `password`, `repeat`,
/// `csrf`; the login is shown and cannot be changed, so only the `code` says whose password it is.
#[derive(Template)]
#[template(path = "set-up.html")]
pub struct SetUpPage<'a> {
    pub messages: &'static Messages,
    pub instance_name: &'a str,
    pub login: &'a str,
    /// There was a password before.
    pub reset: bool,
    pub action: &'a str,
    pub csrf: &'a str,
    /// The one-time code from the link.
    pub code: &'a str,
    pub error: Option<&'a str>,
}

/// `data-page="set-up-done"`.
#[derive(Template)]
#[template(path = "set-up-done.html")]
pub struct SetUpDonePage<'a> {
    pub messages: &'static Messages,
    pub instance_name: &'a str,
    pub sign_in_url: &'a str,
}

/// `data-page="forgotten"`: the way to a new password. Posts `login`, `csrf`.
#[derive(Template)]
#[template(path = "forgotten.html")]
pub struct PasswordResetPage<'a> {
    pub messages: &'static Messages,
    pub instance_name: &'a str,
    /// Without mail there is no form: an administrator helps.
    pub sends_mail: bool,
    pub action: &'a str,
    pub csrf: &'a str,
    /// How long to wait, for who asked too often.
    pub notice: Option<&'a str>,
    pub sign_in_url: &'a str,
}

/// `data-page="forgotten-sent"`: the same whether or not anything was sent.
#[derive(Template)]
#[template(path = "forgotten-sent.html")]
pub struct PasswordResetSentPage<'a> {
    pub messages: &'static Messages,
    pub instance_name: &'a str,
    pub sign_in_url: &'a str,
}

/// `data-page="known-browser"`: a link's user confirms that this browser is theirs. Posts `code`, `csrf`.
#[derive(Template)]
#[template(path = "known-browser.html")]
pub struct KnownBrowserPage<'a> {
    pub messages: &'static Messages,
    pub instance_name: &'a str,
    pub login: &'a str,
    pub action: &'a str,
    pub csrf: &'a str,
    pub code: &'a str,
}

/// `data-page="known-browser-done"`, or `-sent`: the same whether or not anything was sent.
#[derive(Template)]
#[template(path = "known-browser-done.html")]
pub struct KnownBrowserDonePage<'a> {
    pub messages: &'static Messages,
    pub instance_name: &'a str,
    pub is_sent: bool,
    pub sign_in_url: &'a str,
}

/// `data-page="landing"`: the root of an instance (`identity.md` §3.6).
#[derive(Template)]
#[template(path = "landing.html")]
pub struct LandingPage<'a> {
    pub messages: &'static Messages,
    pub instance_name: &'a str,
    pub sites: &'a [SiteLink<'a>],
    pub version: &'a str,
}

#[cfg(test)]
mod tests;
