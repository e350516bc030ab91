//! The pages of the profile site (`identity.md` §3.7).

use askama::Template;
use model::{Email, Language, Timestamp};

use super::{favicon, stylesheet};
use crate::words::Words;

/// A page of the site, as the menu lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    Overview,
    Language,
}

impl Section {
    /// In the order of the menu.
    pub const ALL: [Self; 2] = [Self::Overview, Self::Language];

    pub const fn path(self) -> &'static str {
        match self {
            Self::Overview => "/profile",
            Self::Language => "/profile/language",
        }
    }

    const fn name(self, words: &Words) -> &'static str {
        match self {
            Self::Overview => words.profile.overview,
            Self::Language => words.profile.language,
        }
    }
}

/// What stands around every page of the site.
pub struct Frame<'a> {
    pub words: &'static Words,
    pub instance_name: &'a str,
    pub user_name: &'a str,
    pub login: &'a str,
    /// The page that is shown.
    pub section: Section,
    /// What its forms bring back.
    pub csrf: &'a str,
    /// What became of the form that was sent, if one was.
    pub said: Said<'a>,
}

/// What a page tells of the form that was just sent.
#[derive(Clone, Copy, Debug, Default)]
pub enum Said<'a> {
    #[default]
    Nothing,
    Done(&'a str),
    Refused(&'a str),
}

/// One line of the menu.
struct Entry {
    path: &'static str,
    name: &'static str,
    is_here: bool,
}

impl<'a> Frame<'a> {
    #[must_use]
    pub fn saying(self, said: Said<'a>) -> Self {
        Self { said, ..self }
    }
}

impl Frame<'_> {
    fn menu(&self) -> impl Iterator<Item = Entry> {
        Section::ALL.into_iter().map(|section| Entry {
            path: section.path(),
            name: section.name(self.words),
            is_here: section == self.section,
        })
    }

    const fn refused(&self) -> Option<&str> {
        match self.said {
            Said::Refused(why) => Some(why),
            Said::Nothing | Said::Done(_) => None,
        }
    }

    const fn done(&self) -> Option<&str> {
        match self.said {
            Said::Done(what) => Some(what),
            Said::Nothing | Said::Refused(_) => None,
        }
    }

    const fn title(&self) -> &'static str {
        self.section.name(self.words)
    }
}

/// A moment as people read it, the same in every language: to the minute, in UTC.
#[derive(Clone, Copy, Debug)]
pub struct When(pub Timestamp);

impl When {
    fn format(self, format: &str) -> String {
        let time = jiff::Timestamp::from_microsecond(self.0.micros()).unwrap_or_default();
        time.strftime(format).to_string()
    }

    /// For the `datetime` attribute.
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
pub struct Overview<'a> {
    pub words: &'static Words,
    pub frame: Frame<'a>,
    pub email: Option<&'a Email>,
    /// What kind of account it is, in words.
    pub kind: &'a str,
    pub is_admin: bool,
    pub since: When,
}

/// `data-page="profile-language"`. Posts `language` (a tag, or `auto`), `csrf`.
#[derive(Template)]
#[template(path = "profile/language.html")]
pub struct LanguagePage<'a> {
    pub words: &'static Words,
    pub frame: Frame<'a>,
    pub chosen: Option<Language>,
}

impl LanguagePage<'_> {
    fn is_chosen(&self, language: Language) -> bool {
        self.chosen == Some(language)
    }
}
