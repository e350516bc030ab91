//! The public pages: sign-in, consent, errors, sign-out, set-up (`identity.md` §3.1, §3.6, §4).
//!
//! A page is a struct: a handler fills its fields and renders it, and every text is escaped. No page needs a script,
//! except for passkeys, and pages with passkeys offer other ways to sign in; [`FormPostPage`] submits itself by one. No page has an inline script or style, so
//! the policy `default-src 'none'; style-src 'self'; img-src 'self'` with `form-action` (`render::FormTarget`)
//! suffices. Pages hold CSRF tokens and codes, so no page implements `Debug`.
//!
//! Tests and clients may rely on `<body data-page="…">`, on the names of fields and buttons, and on the id of every
//! visible field being its name.

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
static FORM_POST: &[u8] = include_bytes!("../assets/form-post.js");
static MANAGER: &[u8] = include_bytes!("../assets/manager.js");
static FAVICON: &[u8] = include_bytes!("../assets/favicon.svg");

/// The style sheet (`text/css`): its path and its bytes. The path contains a hash of the bytes, so the file may be
/// cached for ever.
pub fn stylesheet() -> (&'static str, &'static [u8]) {
    static PATH: LazyLock<String> = LazyLock::new(|| hashed_path(STYLESHEET, "css"));
    (&PATH, STYLESHEET)
}

/// The icon (`image/svg+xml`), like [`stylesheet`].
pub fn favicon() -> (&'static str, &'static [u8]) {
    static PATH: LazyLock<String> = LazyLock::new(|| hashed_path(FAVICON, "svg"));
    (&PATH, FAVICON)
}

/// The script that asks the browser for a passkey (`text/javascript`), like [`stylesheet`].
pub fn passkeys_script() -> (&'static str, &'static [u8]) {
    static PATH: LazyLock<String> = LazyLock::new(|| hashed_path(PASSKEYS, "js"));
    (&PATH, PASSKEYS)
}

/// The script that submits [`FormPostPage`] (`text/javascript`), like [`stylesheet`].
pub fn form_post_script() -> (&'static str, &'static [u8]) {
    static PATH: LazyLock<String> = LazyLock::new(|| hashed_path(FORM_POST, "js"));
    (&PATH, FORM_POST)
}

/// The script that refreshes pages of the instance manager and checks its forms (`text/javascript`), like
/// [`stylesheet`].
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

/// `data-page="sign-in"`. Posts `login`, `password`, `csrf`; or `continue=1`, `csrf` to continue as `signed_in_as`.
#[derive(Template)]
#[template(path = "sign-in.html")]
pub struct SignInPage<'a> {
    pub messages: &'static Messages,
    pub instance_name: &'a str,
    /// The application that waits for the sign-in, if any.
    pub application_name: Option<&'a str>,
    /// The address that the form is posted to.
    pub action: &'a str,
    pub csrf: &'a str,
    /// The value of the login field: the `login_hint`, or the previous input.
    pub login: &'a str,
    /// The error of the last attempt. The text is the same for every cause.
    pub error: Option<&'a str>,
    /// A further message, such as the time to wait.
    pub notice: Option<&'a str>,
    /// The login of the session that may be continued (`prompt=select_account`).
    pub signed_in_as: Option<&'a str>,
    /// The address for a forgotten password.
    pub forgotten_url: &'a str,
    /// Set if the instance's address allows passkeys.
    pub passkey: Option<PasskeyForm<'a>>,
    /// Set if others have used up the login's guesses. Offers a link that makes this browser known.
    pub spent: Option<SpentGuesses<'a>>,
}

/// The help offered while a login's guesses are used up.
#[derive(Clone, Copy)]
pub struct SpentGuesses<'a> {
    /// Posts `login`, `csrf`. `None` if no mail is sent.
    pub link_action: Option<&'a str>,
}

/// The field of [`SignInPage`] with the focus when the page opens.
#[derive(PartialEq)]
enum SignInFocus {
    Nothing,
    Login,
    Password,
}

impl SignInPage<'_> {
    /// The first field to fill in. None if the user can continue a session and nothing failed.
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

    /// The ids of the messages that screen readers read with the fields.
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
    /// The scope as in the request. Kept in `data-scope`, not shown.
    pub name: &'a str,
    /// The permission, after the words "It will be able to": "Read your data".
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
    /// The application's privacy policy. Must be an `http` or `https` address; `None` otherwise.
    pub policy_url: Option<&'a str>,
    /// The application's terms of use, under the same condition.
    pub terms_url: Option<&'a str>,
    /// The address for signing in as another user for the same request.
    pub switch_url: Option<&'a str>,
}

impl ConsentPage<'_> {
    fn heading(&self) -> String {
        (self.messages.consent.title)(self.application_name)
    }
}

/// `data-page="error"`: an error that cannot be returned to an application (`identity.md` §3.1, checks 1 and 2).
#[derive(Template)]
#[template(path = "error.html")]
pub struct ErrorPage<'a> {
    pub messages: &'static Messages,
    pub title: &'a str,
    /// The error in plain words.
    pub message: &'a str,
    /// The user's next step.
    pub what_to_do: &'a str,
    /// The OAuth error code (RFC 6749 §4.1.2.1), shown unchanged.
    pub code: &'a str,
    /// The reference under which an administrator finds the cause.
    pub reference: &'a str,
    /// The HTTP status of the page, which is also shown.
    pub status: StatusCode,
}

/// `data-page="sign-out"`: asks for confirmation when no valid hint names the session to end (RP-Initiated Logout
/// 1.0 §2). Posts `csrf` and the `fields`.
#[derive(Template)]
#[template(path = "sign-out.html")]
pub struct SignOutPage<'a> {
    pub messages: &'static Messages,
    pub instance_name: &'a str,
    /// The signed-in user.
    pub user: &'a str,
    /// The application that requests the sign-out, if any.
    pub application_name: Option<&'a str>,
    pub action: &'a str,
    pub csrf: &'a str,
    /// Names and values of the request, to send again with the answer.
    pub fields: &'a [(String, String)],
}

/// `data-page="form-post"`. Posts the response of an authorization request to the application's redirect URI, by a script
/// or by its button.
#[derive(Template)]
#[template(path = "form-post.html")]
pub struct FormPostPage<'a> {
    pub messages: &'static Messages,
    pub instance_name: &'a str,
    /// The redirect URI.
    pub action: &'a str,
    pub parameters: &'a [(&'static str, String)],
}

/// `data-page="signed-out"`.
#[derive(Template)]
#[template(path = "signed-out.html")]
pub struct SignedOutPage<'a> {
    pub messages: &'static Messages,
    pub instance_name: &'a str,
    pub application_name: Option<&'a str>,
    /// A registered post-logout address. An address that is merely requested is not shown.
    pub return_url: Option<&'a str>,
}

/// A link to a site.
pub struct SiteLink<'a> {
    pub name: &'a str,
    pub description: &'a str,
    pub url: &'a str,
}

/// `data-page="account"`: the signed-in user, after a sign-in without an application.
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

/// `data-page="set-up"`: choice of a password by a one-time link. Posts `code`, `login`, `password`, `repeat`, `csrf`.
/// The login is shown and cannot be changed; only the `code` decides which user the password is for.
#[derive(Template)]
#[template(path = "set-up.html")]
pub struct SetUpPage<'a> {
    pub messages: &'static Messages,
    pub instance_name: &'a str,
    pub login: &'a str,
    /// True if the user had a password before.
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

/// `data-page="forgotten"`: request for a new password. Posts `login`, `csrf`.
#[derive(Template)]
#[template(path = "forgotten.html")]
pub struct PasswordResetPage<'a> {
    pub messages: &'static Messages,
    pub instance_name: &'a str,
    /// Without mail there is no form, and users must ask an administrator.
    pub sends_mail: bool,
    pub action: &'a str,
    pub csrf: &'a str,
    /// The time to wait after too many requests.
    pub notice: Option<&'a str>,
    pub sign_in_url: &'a str,
}

/// `data-page="forgotten-sent"`: the same page whether or not a mail was sent.
#[derive(Template)]
#[template(path = "forgotten-sent.html")]
pub struct PasswordResetSentPage<'a> {
    pub messages: &'static Messages,
    pub instance_name: &'a str,
    pub sign_in_url: &'a str,
}

/// `data-page="known-browser"`: the link's user confirms that this browser is theirs. Posts `code`, `csrf`.
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

/// `data-page="known-browser-done"`, or `-sent`: the same page whether or not a mail was sent.
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
