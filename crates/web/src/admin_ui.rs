//! `{root}/manage`: the instance manager, pages for administrators (`identity.md` §3.8). Its pages, the admin API and
//! the command line call the same flows.

mod applications;
mod audit;
mod dashboard;
mod install;
mod keys;
mod legacy;
mod refusals;
mod roles;
mod sessions;
mod settings;
mod tokens;
mod users;

use std::fmt::Display;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::response::Response;
use axum::routing::get;
use flows::Fault;
use flows::admin::operations::AdminOperation;
use flows::admin::{AdminRefusal, AdminService, ElevatedAdminService};
use flows::server::InstanceAdmin;
use form_urlencoded::Serializer;
use http::request::Parts;
use http::{HeaderMap, Method, StatusCode, Uri, header};
use model::session::SignInTooOld;
use model::{Language, Moment, Timestamp};
use oauth::params::Params;
use uuid::Uuid;

use crate::messages;
use crate::pages::admin::{AdminSection, FormNotice, ManagerPage, PageContent, PagePart};
use crate::request::context::AppState;
use crate::request::failures;
use crate::request::malformed;
use crate::request::render;
use crate::request::render::FormTarget;
use crate::request::signed_in_user::{SignedInUser, way_back};

/// Rows of a list per page.
const ROWS: usize = 50;
/// Rows read per page: one extra row tells whether a next page exists.
const READ: u32 = 51;

pub(crate) fn router() -> Router<Arc<AppState>> {
    Router::new()
        .route(AdminSection::Dashboard.path(), get(dashboard::show))
        .route("/manage/", get(dashboard::show))
        .route(AdminSection::Applications.path(), get(applications::list))
        .route("/manage/apps/new", get(applications::blank).post(applications::create))
        .route("/manage/apps/install", get(install::show).post(install::install))
        .route("/manage/apps/uninstall", get(install::show_removal).post(install::uninstall))
        .route("/manage/apps/{id}", get(applications::show).post(applications::change))
        .route("/manage/apps/{id}/try", get(applications::trial::show).post(applications::trial::run))
        .route(AdminSection::Users.path(), get(users::list))
        .route("/manage/users/new", get(users::blank).post(users::create))
        .route("/manage/users/{id}", get(users::show).post(users::change))
        .route(AdminSection::Roles.path(), get(roles::show).post(roles::change))
        .route(AdminSection::Sessions.path(), get(sessions::show).post(sessions::end))
        .route(AdminSection::Tokens.path(), get(tokens::show).post(tokens::change))
        .route(AdminSection::Keys.path(), get(keys::show).post(keys::change))
        .route(AdminSection::Audit.path(), get(audit::show).post(audit::verify))
        .route("/manage/audit/export", get(audit::export))
        .route(AdminSection::Refusals.path(), get(refusals::show))
        .route(AdminSection::Legacy.path(), get(legacy::show))
        .route(AdminSection::Settings.path(), get(settings::show).post(settings::change))
}

/// The problems for which this version refuses a stored record, above the form that corrects them.
fn repairs(problems: &[String], what: &str) -> Vec<PagePart> {
    let lines = problems.iter().map(|problem| PagePart::Text(problem.clone()));
    let told = (!problems.is_empty()).then(|| PagePart::Text(what.to_owned()));
    told.into_iter().chain(lines).collect()
}

/// A request by an administrator.
struct AdminPage {
    person: SignedInUser,
    manager: Arc<InstanceAdmin>,
    /// The current page, or the page that a form was sent from.
    here: String,
}

/// A request that ends without its page.
enum PageInterruption {
    Fault(Fault),
    SignInTooOld(SignInTooOld),
}

impl From<Fault> for PageInterruption {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

type PageResult = Result<Response, PageInterruption>;

impl FromRequestParts<Arc<AppState>> for AdminPage {
    type Rejection = Response;

    /// Redirects to sign-in if no user is signed in. Answers users who are not administrators with an error page.
    async fn from_request_parts(parts: &mut Parts, state: &Arc<AppState>) -> Result<Self, Response> {
        let mut person = SignedInUser::from_request_parts(parts, state).await?;
        let (instance, mut ctx, browser) = person.split();
        match instance.admit_admin_at_browser(&mut ctx, browser) {
            Ok(Ok(manager)) => Ok(Self { person, manager: Arc::new(manager), here: here(parts) }),
            Ok(Err(_)) => Err(malformed::for_administrators(&person.context)),
            Err(fault) => Err(failures::fault_page(&person.context, &fault)),
        }
    }
}

impl AdminPage {
    fn open(&mut self) -> (AdminService<'_>, Moment<'_>) {
        (self.manager.service(), self.person.context.moment())
    }

    /// The service for critical changes. An old sign-in leads to the sign-in page, and nothing is changed.
    fn elevate(&mut self) -> Result<(ElevatedAdminService<'_>, Moment<'_>), PageInterruption> {
        let service = self.manager.elevated_service(self.person.context.now).map_err(PageInterruption::SignInTooOld)?;
        Ok((service, self.person.context.moment()))
    }

    /// Runs an operation. An old sign-in leads to the sign-in page, and nothing is changed.
    async fn run<O: AdminOperation>(
        &mut self,
        input: O::Input,
    ) -> Result<Result<O::Output, AdminRefusal>, PageInterruption> {
        let moment = self.person.context.moment();
        let mut context = self.manager.context::<O::Authority>(moment).map_err(PageInterruption::SignInTooOld)?;
        Ok(O::run(&mut context, input).await?)
    }

    fn now(&self) -> Timestamp {
        self.person.context.now
    }

    /// Reads the form of a change.
    async fn form(&mut self, headers: &HeaderMap, body: Body) -> Result<Params, Response> {
        self.person.form(headers, body).await
    }

    fn answer(&self, answer: PageResult) -> Response {
        let told = match answer {
            Ok(response) => return response,
            Err(PageInterruption::SignInTooOld(refusal)) => self.manager.audit_refusal(self.now(), &refusal),
            Err(PageInterruption::Fault(fault)) => Err(fault),
        };
        match told {
            Ok(()) => render::redirect(&Method::POST, &self.person.sign_in_again(&self.here)),
            Err(fault) => failures::fault_page(&self.person.context, &fault),
        }
    }

    fn page(&self, section: AdminSection, content: PageContent, said: FormNotice) -> Response {
        let status = match &said {
            FormNotice::Refused(_) => StatusCode::UNPROCESSABLE_ENTITY,
            FormNotice::Nothing | FormNotice::Done(_) => StatusCode::OK,
        };
        self.page_with(status, section, content, said)
    }

    fn page_with(&self, status: StatusCode, section: AdminSection, about: PageContent, said: FormNotice) -> Response {
        let (context, browser) = (&self.person.context, &self.person.browser);
        let asks_sign_in = section.asks_recent_sign_in() && about.changes() && !self.manager.is_recent(self.now());
        let page = ManagerPage {
            sign_in_again: asks_sign_in.then(|| self.person.sign_in_again(&self.here)),
            messages: messages::of(Language::English),
            instance_name: &context.instance.info.name,
            user_name: &browser.user.name,
            login: browser.user.login.as_str(),
            section,
            csrf: &self.person.csrf(),
            said,
            content: about,
        };
        if page.runs_script() {
            render::page_that_asks(status, &page)
        } else {
            render::page(status, &page, FormTarget::Ourselves)
        }
    }

    /// The object that the address or a form names does not exist.
    fn gone(&self) -> Response {
        crate::no_such_page(&self.person.context)
    }
}

/// The path of the current page. For a form it is the `Referer`: our pages send their full address to each other.
fn here(parts: &Parts) -> String {
    let page = |uri: &Uri| {
        let page = uri.path_and_query().and_then(|page| way_back(page.as_str()));
        page.filter(|page| page.starts_with("/manage")).map(str::to_owned)
    };
    let from = parts.headers.get(header::REFERER).filter(|_| parts.method == Method::POST);
    let from = from.and_then(|from| from.to_str().ok()?.parse::<Uri>().ok()).and_then(|from| page(&from));
    from.or_else(|| page(&parts.uri)).unwrap_or_else(|| AdminSection::Dashboard.path().to_owned())
}

/// Redirects to a page by GET, so that a reload repeats nothing.
fn done(path: impl Display) -> Response {
    render::redirect(&Method::POST, &format!("{path}?{DONE}"))
}

const DONE: &str = "done";

/// The notice of a page reached through [`done`].
fn said(query: Option<&str>) -> FormNotice {
    if query == Some(DONE) { FormNotice::Done("Saved.") } else { FormNotice::Nothing }
}

/// The query's parameters. A malformed query counts as empty.
fn asked(query: Option<&str>) -> Params {
    let read = Params::parse(query.unwrap_or_default().as_bytes());
    read.unwrap_or_else(|_| Params::parse(b"").expect("nothing is readable"))
}

fn refused(refusal: AdminRefusal) -> FormNotice {
    FormNotice::Refused(match refusal {
        AdminRefusal::Invalid(problems) => problems,
        other => vec![other.to_string()],
    })
}

/// The record was changed after the form was rendered.
fn overtaken() -> FormNotice {
    refused(AdminRefusal::Overtaken)
}

fn id(text: Option<&str>) -> Option<Uuid> {
    text.and_then(|text| Uuid::try_parse(text).ok())
}

/// The version of the record that the form was rendered from.
fn version(form: &Params) -> Option<i64> {
    form.get("version").and_then(|text| text.parse().ok())
}

fn is_checked(form: &Params, name: &str) -> bool {
    form.get(name).is_some()
}

/// The non-empty lines of a text field.
fn lines(form: &Params, name: &str) -> Vec<String> {
    let text = form.get(name).unwrap_or_default();
    text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

fn several(form: &Params, name: &str) -> Vec<String> {
    form.iter().filter(|(known, _)| *known == name).map(|(_, value)| value.to_owned()).collect()
}

/// A path with a query.
fn at(path: &str, query: &[(&str, &str)]) -> String {
    let mut text = Serializer::new(String::new());
    text.extend_pairs(query);
    format!("{path}?{}", text.finish())
}

/// The rows of this page, and the key to continue after if a next page exists.
fn paged<T>(mut rows: Vec<T>, key: impl Fn(&T) -> String) -> (Vec<T>, Option<String>) {
    let more = rows.len() > ROWS;
    rows.truncate(ROWS);
    let last = if more { rows.last().map(key) } else { None };
    (rows, last)
}

/// The end of the day in a form field, in UTC.
fn day(form: &Params, name: &str) -> Result<Option<Timestamp>, String> {
    let Some(text) = form.get(name) else { return Ok(None) };
    let read = text.trim().parse::<jiff::civil::Date>().and_then(jiff::civil::Date::tomorrow).and_then(|day| {
        let midnight = day.to_zoned(jiff::tz::TimeZone::UTC)?;
        Ok(Timestamp(midnight.timestamp().as_microsecond()))
    });
    read.map(Some).map_err(|_| format!("{name}: enter a date like 2027-01-31"))
}
