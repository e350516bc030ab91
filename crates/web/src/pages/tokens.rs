//! The pages of a user's personal access tokens.

use askama::Template;

use crate::messages::Messages;
use crate::pages::profile::{DisplayTime, ProfileFrame};
use crate::pages::{favicon, stylesheet};

/// A token in a list.
pub struct TokenLine {
    pub id: String,
    pub masked: String,
    pub description: String,
    pub application: String,
    pub scope: String,
    pub created: DisplayTime,
    pub expires: Option<DisplayTime>,
    pub is_expired: bool,
    pub last_used: Option<DisplayTime>,
}

/// An application for which tokens can be created.
pub struct TokenApplication<'a> {
    pub id: String,
    pub name: &'a str,
    pub uri: &'a str,
}

/// `data-page="profile-tokens"`. Posts `revoke=<id>`, `csrf`. `GET` with `for=<application's id>` shows the form.
#[derive(Template)]
#[template(path = "profile/tokens.html")]
pub struct TokensPage<'a> {
    pub messages: &'static Messages,
    pub frame: ProfileFrame<'a>,
    pub lines: &'a [TokenLine],
    pub applications: &'a [TokenApplication<'a>],
}

pub struct ScopeChoice<'a> {
    pub name: &'a str,
    pub title: &'static str,
    pub description: &'static str,
    pub is_chosen: bool,
}

pub struct Expiry {
    /// A number of days, or `never`.
    pub value: String,
    pub name: String,
    pub is_chosen: bool,
}

pub struct NewTokenForm<'a> {
    pub description: &'a str,
    pub scopes: &'a [ScopeChoice<'a>],
    pub expiries: &'a [Expiry],
}

/// `data-page="profile-token-new"`. Posts `application`, `description`, `scope` (any number), `expires`, `csrf`.
#[derive(Template)]
#[template(path = "profile/token-new.html")]
pub struct NewTokenPage<'a> {
    pub messages: &'static Messages,
    pub frame: ProfileFrame<'a>,
    pub application: TokenApplication<'a>,
    /// `None` if the user has to sign in again first.
    pub form: Option<NewTokenForm<'a>>,
    pub sign_in_url: &'a str,
}

/// `data-page="profile-token-made"`: the only page that shows the value.
#[derive(Template)]
#[template(path = "profile/token-made.html")]
pub struct TokenCreatedPage<'a> {
    pub messages: &'static Messages,
    pub frame: ProfileFrame<'a>,
    pub value: &'a str,
    pub description: &'a str,
    pub expires: Option<DisplayTime>,
    /// An address to test the token with.
    pub call: &'a str,
}
