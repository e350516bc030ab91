//! The pages of the profile site (`identity.md` §3.7).

use askama::Template;
use model::{Email, Language, Timestamp};

use crate::messages::Messages;
use crate::pages::{favicon, stylesheet};

/// A page of the profile site, as in the menu.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProfileSection {
    Overview,
    Email,
    Password,
    TwoStep,
    Tokens,
    Apps,
    Sessions,
    Picture,
    Language,
}

impl ProfileSection {
    /// In menu order.
    pub const ALL: [Self; 9] = [
        Self::Overview,
        Self::Email,
        Self::Password,
        Self::TwoStep,
        Self::Tokens,
        Self::Apps,
        Self::Sessions,
        Self::Picture,
        Self::Language,
    ];

    pub const fn path(self) -> &'static str {
        match self {
            Self::Overview => "/profile",
            Self::Email => "/profile/email",
            Self::Password => "/profile/password",
            Self::TwoStep => "/profile/two-step",
            Self::Tokens => "/profile/tokens",
            Self::Apps => "/profile/apps",
            Self::Sessions => "/profile/sessions",
            Self::Picture => "/profile/picture",
            Self::Language => "/profile/language",
        }
    }

    const fn name(self, messages: &Messages) -> &'static str {
        match self {
            Self::Overview => messages.profile.overview,
            Self::Email => messages.email.menu,
            Self::Password => messages.profile.password,
            Self::TwoStep => messages.two_step.menu,
            Self::Tokens => messages.profile.tokens,
            Self::Apps => messages.profile.apps,
            Self::Sessions => messages.profile.sessions,
            Self::Picture => messages.profile.picture,
            Self::Language => messages.profile.language,
        }
    }
}

/// The parts that all profile pages share.
pub struct ProfileFrame<'a> {
    pub messages: &'static Messages,
    pub instance_name: &'a str,
    pub user_name: &'a str,
    pub login: &'a str,
    /// The current page.
    pub section: ProfileSection,
    /// The CSRF token of the forms.
    pub csrf: &'a str,
    /// The outcome of the submitted form, if any.
    pub said: ProfileNotice<'a>,
}

/// The outcome of a submitted form.
#[derive(Clone, Copy, Debug, Default)]
pub enum ProfileNotice<'a> {
    #[default]
    Nothing,
    Done(&'a str),
    Refused(&'a str),
}

/// One entry of the menu.
pub(super) struct MenuEntry {
    pub(super) path: &'static str,
    pub(super) name: &'static str,
    pub(super) is_here: bool,
}

impl<'a> ProfileFrame<'a> {
    #[must_use]
    pub fn saying(self, said: ProfileNotice<'a>) -> Self {
        Self { said, ..self }
    }
}

impl ProfileFrame<'_> {
    pub(super) fn menu(&self) -> impl Iterator<Item = MenuEntry> {
        ProfileSection::ALL.into_iter().map(|section| MenuEntry {
            path: section.path(),
            name: section.name(self.messages),
            is_here: section == self.section,
        })
    }

    pub(super) const fn refused(&self) -> Option<&str> {
        match self.said {
            ProfileNotice::Refused(why) => Some(why),
            ProfileNotice::Nothing | ProfileNotice::Done(_) => None,
        }
    }

    pub(super) const fn done(&self) -> Option<&str> {
        match self.said {
            ProfileNotice::Done(what) => Some(what),
            ProfileNotice::Nothing | ProfileNotice::Refused(_) => None,
        }
    }

    pub(super) const fn title(&self) -> &'static str {
        self.section.name(self.messages)
    }
}

/// A time for display, the same in every language: to the minute, in UTC.
#[derive(Clone, Copy, Debug)]
pub struct DisplayTime(pub Timestamp);

impl DisplayTime {
    fn format(self, format: &str) -> String {
        let time = jiff::Timestamp::from_microsecond(self.0.micros()).unwrap_or_default();
        time.strftime(format).to_string()
    }

    /// The value of the `datetime` attribute.
    pub fn exact(self) -> String {
        self.format("%Y-%m-%dT%H:%M:%SZ")
    }

    pub fn shown(self) -> String {
        self.format("%Y-%m-%d %H:%M UTC")
    }

    pub fn day(self) -> String {
        self.format("%Y-%m-%d")
    }
}

/// `data-page="profile"`.
#[derive(Template)]
#[template(path = "profile/overview.html")]
pub struct OverviewPage<'a> {
    pub messages: &'static Messages,
    pub frame: ProfileFrame<'a>,
    pub email: Option<&'a Email>,
    /// The user type in words.
    pub kind: &'a str,
    pub is_admin: bool,
    pub since: DisplayTime,
}

/// `data-page="profile-language"`. Posts `language` (a tag, or `auto`), `csrf`.
#[derive(Template)]
#[template(path = "profile/language.html")]
pub struct LanguagePage<'a> {
    pub messages: &'static Messages,
    pub frame: ProfileFrame<'a>,
    pub chosen: Option<Language>,
}

impl LanguagePage<'_> {
    fn is_chosen(&self, language: Language) -> bool {
        self.chosen == Some(language)
    }
}

/// `data-page="profile-password"`. Posts `current`, `password`, `repeat`, `csrf`.
#[derive(Template)]
#[template(path = "profile/password.html")]
pub struct PasswordPage<'a> {
    pub messages: &'static Messages,
    pub frame: ProfileFrame<'a>,
    /// The number of reference tokens to revoke, offered after a change; 0 offers nothing.
    pub live_tokens: usize,
}

impl PasswordPage<'_> {
    fn tokens_live(&self) -> String {
        (self.messages.password.tokens_live)(self.live_tokens)
    }

    fn revoke_tokens(&self) -> String {
        (self.messages.password.revoke_tokens)(self.live_tokens)
    }
}

/// A session of the user.
pub struct SessionLine {
    pub id: String,
    pub device: String,
    /// Empty if unknown.
    pub address: String,
    pub since: DisplayTime,
    pub last_used: DisplayTime,
    /// Names of the applications that currently call the APIs with it.
    pub applications: Vec<String>,
    pub is_this: bool,
}

/// `data-page="profile-sessions"`. Posts `end=<id>`, or `others=1`, and `csrf`.
#[derive(Template)]
#[template(path = "profile/sessions.html")]
pub struct SessionsPage<'a> {
    pub messages: &'static Messages,
    pub frame: ProfileFrame<'a>,
    pub lines: &'a [SessionLine],
}

/// An application that the user consented to.
pub struct AppLine {
    pub id: String,
    pub name: String,
    pub uri: String,
    /// Its permissions in words.
    pub allowed: Vec<&'static str>,
    pub since: Option<DisplayTime>,
    pub holds_tokens: bool,
}

/// `data-page="profile-apps"`. Posts `withdraw=<id>`, `csrf`.
#[derive(Template)]
#[template(path = "profile/apps.html")]
pub struct AppsPage<'a> {
    pub messages: &'static Messages,
    pub frame: ProfileFrame<'a>,
    pub lines: &'a [AppLine],
}

/// `data-page="profile-picture"`. Posts a file `picture`, or `remove=1`, and `csrf`, as `multipart/form-data`.
#[derive(Template)]
#[template(path = "profile/picture.html")]
pub struct PicturePage<'a> {
    pub messages: &'static Messages,
    pub frame: ProfileFrame<'a>,
    pub is_chosen: bool,
}
