//! The pages of the instance manager (`identity.md` §3.8): each is a title and parts, of which there are few kinds.

use std::fmt::Write as _;

use askama::Template;
use model::line::marked;

use crate::messages::Messages;
use crate::pages::profile::DisplayTime;
use crate::pages::{favicon, manager_script, stylesheet};

/// A page of the site, as the menu lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdminSection {
    Dashboard,
    Applications,
    Users,
    Roles,
    Sessions,
    Tokens,
    Keys,
    Audit,
    Refusals,
    Legacy,
    Settings,
}

impl AdminSection {
    /// In the order of the menu.
    pub const ALL: [Self; 11] = [
        Self::Dashboard,
        Self::Applications,
        Self::Users,
        Self::Roles,
        Self::Sessions,
        Self::Tokens,
        Self::Keys,
        Self::Audit,
        Self::Refusals,
        Self::Legacy,
        Self::Settings,
    ];

    pub const fn path(self) -> &'static str {
        match self {
            Self::Dashboard => "/manage",
            Self::Applications => "/manage/apps",
            Self::Users => "/manage/users",
            Self::Roles => "/manage/roles",
            Self::Sessions => "/manage/sessions",
            Self::Tokens => "/manage/tokens",
            Self::Keys => "/manage/keys",
            Self::Audit => "/manage/audit",
            Self::Refusals => "/manage/refusals",
            Self::Legacy => "/manage/legacy",
            Self::Settings => "/manage/settings",
        }
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::Dashboard => "Dashboard",
            Self::Applications => "Applications",
            Self::Users => "Users",
            Self::Roles => "Roles",
            Self::Sessions => "Seats and sessions",
            Self::Tokens => "Reference tokens",
            Self::Keys => "Signing keys",
            Self::Audit => "Audit",
            Self::Refusals => "Refusals",
            Self::Legacy => "Legacy sign-in",
            Self::Settings => "Settings",
        }
    }
}

impl AdminSection {
    /// Whether changes here need a recent sign-in. Ending sessions and tokens does not.
    pub const fn asks_recent_sign_in(self) -> bool {
        matches!(self, Self::Applications | Self::Users | Self::Roles | Self::Tokens | Self::Keys | Self::Settings)
    }
}

/// What became of the form that was sent, if one was.
#[derive(Clone, Debug, Default)]
pub enum FormNotice {
    #[default]
    Nothing,
    Done(&'static str),
    /// Everything that was wrong.
    Refused(Vec<String>),
}

/// What a page of the site is about.
pub struct PageContent {
    /// `data-page`.
    pub name: &'static str,
    pub title: String,
    /// One sentence below the title, or empty.
    pub lead: String,
    /// It is looked at again every few seconds, where the browser runs scripts.
    pub is_live: bool,
    /// Where one goes from here.
    pub links: Vec<PageLink>,
    pub parts: Vec<PagePart>,
}

impl PageContent {
    /// Whether a form of it changes something.
    pub fn changes(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, PagePart::Form(form) if !form.is_question))
    }
}

pub struct PageLink {
    pub to: String,
    pub text: String,
}

impl PageLink {
    pub fn new(to: impl Into<String>, text: impl Into<String>) -> Self {
        Self { to: to.into(), text: text.into() }
    }
}

pub enum PagePart {
    Heading(&'static str),
    Text(String),
    /// A secret or a link that is shown this once.
    Once {
        what: &'static str,
        value: String,
    },
    Facts(Vec<(&'static str, Cell)>),
    Form(PageForm),
    List(PageList),
    Chart(Chart),
    Step(TrialStep),
}

/// How a count went over a day.
pub struct Chart {
    /// The same in words.
    pub said: String,
    /// At equal distances, the last is now.
    pub points: Vec<u64>,
    /// What it cannot be above.
    pub limit: Option<u64>,
}

/// In the units of the drawing; the tallest is a little lower.
const HEIGHT: u64 = 1000;
const TALLEST: u64 = 900;

impl Chart {
    fn height(&self, count: u64) -> u64 {
        let top = self.points.iter().copied().chain(self.limit).max().unwrap_or_default().max(1);
        HEIGHT - count * TALLEST / top
    }

    fn height_of_limit(&self) -> Option<u64> {
        self.limit.map(|limit| self.height(limit))
    }

    /// The outline of the area below the counts, a step for each.
    fn outline(&self) -> String {
        let mut path = format!("M0,{HEIGHT}");
        for (place, count) in self.points.iter().enumerate() {
            let _infallible = write!(path, "V{}H{}", self.height(*count), place + 1);
        }
        path + &format!("V{HEIGHT}Z")
    }
}

/// A request and its answer.
pub struct TrialStep {
    pub title: &'static str,
    pub went_well: bool,
    pub request: String,
    pub answer: String,
    /// What it means, or empty.
    pub note: String,
    /// Where it is told why it was refused.
    pub why: Option<String>,
}

/// What stands at one place of a list.
#[derive(Clone, Debug, Default)]
pub struct Cell {
    pub text: String,
    pub link: Option<String>,
    /// Names and values that programs know.
    pub is_code: bool,
    /// A word that stands out behind it.
    pub badge: Option<&'static str>,
    /// For the `datetime` attribute.
    pub time: Option<String>,
    /// In characters, where it begins to differ from what it is compared with.
    pub differs_at: Option<usize>,
}

impl Cell {
    /// What strangers typed is shown without misleading who reads it.
    pub fn text(text: impl Into<String>) -> Self {
        Self { text: marked(&text.into()).into_owned(), ..Self::default() }
    }

    pub fn code(text: impl Into<String>) -> Self {
        Self { is_code: true, ..Self::text(text) }
    }

    pub fn time(when: DisplayTime) -> Self {
        Self { text: when.shown(), time: Some(when.exact()), ..Self::default() }
    }

    /// What is the same, and what is not.
    fn parted(&self) -> (&str, &str) {
        let at = self.differs_at.and_then(|count| self.text.char_indices().nth(count)).map(|(at, _)| at);
        self.text.split_at(at.unwrap_or(self.text.len()))
    }

    #[must_use]
    pub fn link(self, to: impl Into<String>) -> Self {
        Self { link: Some(to.into()), ..self }
    }

    #[must_use]
    pub fn badge(self, badge: Option<&'static str>) -> Self {
        Self { badge, ..self }
    }
}

pub struct PageList {
    /// For screen readers.
    pub caption: &'static str,
    pub columns: Vec<&'static str>,
    pub rows: Vec<ListRow>,
    /// What is said where there is no row.
    pub empty: &'static str,
    /// The page with the rows that follow.
    pub next: Option<String>,
    /// Where the buttons of rows are sent.
    pub to: String,
}

pub struct ListRow {
    pub cells: Vec<Cell>,
    pub button: Option<Button>,
}

/// Posts `do` and `id`.
pub struct Button {
    pub does: &'static str,
    pub id: String,
    pub text: &'static str,
    /// What it is done to, for screen readers.
    pub about: String,
}

pub struct PageForm {
    pub to: String,
    /// A question changes nothing and is asked by GET.
    pub is_question: bool,
    /// Sent along.
    pub hidden: Vec<(&'static str, String)>,
    pub fields: Vec<FormField>,
    pub button: &'static str,
    /// What it does cannot be taken back.
    pub is_grave: bool,
    /// It is checked while it is filled in, where the browser runs scripts: sent with `check`, it is answered with what is
    /// wrong, and nothing is done.
    pub is_checked: bool,
}

pub struct FormField {
    /// Name and id.
    pub name: &'static str,
    pub label: &'static str,
    /// Or empty.
    pub hint: &'static str,
    pub value: String,
    pub input: FieldInput,
}

impl FormField {
    pub fn line(name: &'static str, label: &'static str, hint: &'static str, value: impl Into<String>) -> Self {
        Self { name, label, hint, value: value.into(), input: FieldInput::Line }
    }

    pub fn lines(name: &'static str, label: &'static str, hint: &'static str, value: &[String]) -> Self {
        Self { name, label, hint, value: value.join("\n"), input: FieldInput::Lines }
    }

    pub fn check(name: &'static str, label: &'static str, hint: &'static str, is_checked: bool) -> Self {
        Self { name, label, hint, value: String::new(), input: FieldInput::Check(is_checked) }
    }

    pub fn choice(
        name: &'static str,
        label: &'static str,
        options: impl IntoIterator<Item = (String, String)>,
        value: impl Into<String>,
    ) -> Self {
        let options = options.into_iter().map(|(value, text)| Choice { value, text }).collect();
        Self { name, label, hint: "", value: value.into(), input: FieldInput::Choice(options) }
    }

    /// Of which any number may be chosen.
    pub fn several(
        name: &'static str,
        label: &'static str,
        options: impl IntoIterator<Item = (&'static str, &'static str, bool)>,
    ) -> Self {
        let options =
            options.into_iter().map(|(value, text, is_chosen)| MultipleChoice { value, text, is_chosen }).collect();
        Self { name, label, hint: "", value: String::new(), input: FieldInput::Several(options) }
    }

    #[must_use]
    pub fn required(self) -> Self {
        Self { input: FieldInput::Required, ..self }
    }
}

pub enum FieldInput {
    Line,
    /// A line that says something.
    Required,
    Lines,
    /// A line that nobody else should read.
    Secret,
    /// A day, as browsers let one choose it.
    Day,
    Check(bool),
    Choice(Vec<Choice>),
    Several(Vec<MultipleChoice>),
}

pub struct Choice {
    pub value: String,
    pub text: String,
}

pub struct MultipleChoice {
    pub value: &'static str,
    pub text: &'static str,
    pub is_chosen: bool,
}

/// `data-page="manage-…"`.
#[derive(Template)]
#[template(path = "manager/page.html")]
pub struct ManagerPage<'a> {
    pub messages: &'static Messages,
    pub instance_name: &'a str,
    pub user_name: &'a str,
    pub login: &'a str,
    pub section: AdminSection,
    /// What forms bring back.
    pub csrf: &'a str,
    pub said: FormNotice,
    /// Where to sign in again, where the page's changes need a more recent sign-in.
    pub sign_in_again: Option<String>,
    pub content: PageContent,
}

impl ManagerPage<'_> {
    /// Whether there is something for the script to do.
    pub fn runs_script(&self) -> bool {
        let is_checked = |part: &PagePart| matches!(part, PagePart::Form(form) if form.is_checked);
        self.content.is_live || self.content.parts.iter().any(is_checked)
    }

    fn problems(&self) -> &[String] {
        match &self.said {
            FormNotice::Refused(problems) => problems,
            FormNotice::Nothing | FormNotice::Done(_) => &[],
        }
    }

    fn done(&self) -> Option<&'static str> {
        match self.said {
            FormNotice::Done(what) => Some(what),
            FormNotice::Nothing | FormNotice::Refused(_) => None,
        }
    }
}
