//! The pages of a person's own access tokens.

use askama::Template;

use crate::messages::Messages;
use crate::pages::profile::{DisplayTime, ProfileFrame};
use crate::pages::{favicon, stylesheet};

/// A token as a list shows it.
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

/// An application that tokens can be made for.
pub struct TokenApplication<'a> {
    pub id: String,
    pub name: &'a str,
    pub uri: &'a str,
}

/// `data-page="profile-tokens"`. Posts `revoke=<id>`, `csrf`; `GET` with `for=<application's id>` leads to the form.
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
    /// Days, or `never`.
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
    /// Absent where the person must first prove again who they are.
    pub form: Option<NewTokenForm<'a>>,
    pub sign_in_url: &'a str,
}

/// `data-page="profile-token-made"`: the only page that ever shows the value.
#[derive(Template)]
#[template(path = "profile/token-made.html")]
pub struct TokenCreatedPage<'a> {
    pub messages: &'static Messages,
    pub frame: ProfileFrame<'a>,
    pub value: &'a str,
    pub description: &'a str,
    pub expires: Option<DisplayTime>,
    /// An address to try it at.
    pub call: &'a str,
}
