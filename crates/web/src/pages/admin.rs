//! The pages of the instance manager (`identity.md` §3.8). Each page is a title and a list of parts.

use std::fmt::Write as _;

use askama::Template;
use model::line::marked;

use crate::messages::Messages;
use crate::pages::profile::DisplayTime;
use crate::pages::{favicon, manager_script, stylesheet};

/// A section of the instance manager, as in the menu.
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
    /// In menu order.
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
    /// True if changes need a recent sign-in. Ending sessions and revoking tokens does not.
    pub const fn asks_recent_sign_in(self) -> bool {
        matches!(self, Self::Applications | Self::Users | Self::Roles | Self::Tokens | Self::Keys | Self::Settings)
    }
}

/// The outcome of the submitted form, if any.
#[derive(Clone, Debug, Default)]
pub enum FormNotice {
    #[default]
    Nothing,
    Done(&'static str),
    /// All errors found.
    Refused(Vec<String>),
}

/// The content of a page.
pub struct PageContent {
    /// `data-page`.
    pub name: &'static str,
    pub title: String,
    /// One sentence below the title, or empty.
    pub lead: String,
    /// The page refreshes itself every few seconds, if the browser runs scripts.
    pub is_live: bool,
    /// Links to related pages.
    pub links: Vec<PageLink>,
    pub parts: Vec<PagePart>,
}

impl PageContent {
    /// True if one of its forms changes something.
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
    /// A secret or link that is shown only once.
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

/// A count over one day.
pub struct Chart {
    /// The same as text.
    pub said: String,
    /// At equal intervals. The last is the current count.
    pub points: Vec<u64>,
    /// The maximum of the count.
    pub limit: Option<u64>,
}

/// Heights in units of the drawing. The highest point stays a little below the top.
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

    /// The outline of the area below the counts, one step for each.
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
    /// An explanation, or empty.
    pub note: String,
    /// The address of the page that explains a refusal.
    pub why: Option<String>,
}

/// One cell of a list.
#[derive(Clone, Debug, Default)]
pub struct Cell {
    pub text: String,
    pub link: Option<String>,
    /// An identifier or value for programs.
    pub is_code: bool,
    /// A highlighted word after the text.
    pub badge: Option<&'static str>,
    /// The value of the `datetime` attribute.
    pub time: Option<String>,
    /// The character at which it starts to differ from the compared text.
    pub differs_at: Option<usize>,
}

impl Cell {
    /// Untrusted text. Characters that could mislead the reader are marked.
    pub fn text(text: impl Into<String>) -> Self {
        Self { text: marked(&text.into()).into_owned(), ..Self::default() }
    }

    pub fn code(text: impl Into<String>) -> Self {
        Self { is_code: true, ..Self::text(text) }
    }

    pub fn time(when: DisplayTime) -> Self {
        Self { text: when.shown(), time: Some(when.exact()), ..Self::default() }
    }

    /// Splits the text into the equal and the differing part.
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
    /// The text for an empty list.
    pub empty: &'static str,
    /// The address of the page with the next rows.
    pub next: Option<String>,
    /// The address that the buttons of rows post to.
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
    /// The object of the action, for screen readers.
    pub about: String,
}

pub struct PageForm {
    pub to: String,
    /// The form changes nothing and is sent by GET.
    pub is_question: bool,
    /// Hidden fields.
    pub hidden: Vec<(&'static str, String)>,
    pub fields: Vec<FormField>,
    pub button: &'static str,
    /// The action cannot be undone.
    pub is_grave: bool,
    /// The form is checked while it is filled in, if the browser runs scripts. Sent with `check`, it returns the errors
    /// and changes nothing.
    pub is_checked: bool,
}

pub struct FormField {
    /// Name and id.
    pub name: &'static str,
    pub label: &'static str,
    /// A hint, or empty.
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

    /// A field with any number of choices.
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
    /// A line that must not be empty.
    Required,
    Lines,
    /// A masked line.
    Secret,
    /// A date, chosen with the browser's date picker.
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
    /// The CSRF token of the forms.
    pub csrf: &'a str,
    pub said: FormNotice,
    /// The sign-in address, set if the page's changes need a more recent sign-in.
    pub sign_in_again: Option<String>,
    pub content: PageContent,
}

impl ManagerPage<'_> {
    /// True if the page needs the script.
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
