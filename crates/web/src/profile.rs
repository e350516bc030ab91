//! `{root}/profile`: what people see and change of themselves.

mod apps;
mod device;
mod email;
mod initials;
mod language;
mod me;
mod overview;
pub(crate) mod password;
mod picture;
mod sessions;
mod tokens;
mod two_step;

use std::sync::Arc;

use axum::Router;
use axum::response::Response;
use axum::routing::get;
use http::{HeaderMap, Method};

use crate::cors::{self, Readers};
use crate::pages::profile::{Frame, Said, Section};
use crate::person::Person;
use crate::render;
use crate::visit::{Gate, Visit};

/// Whoever opens one of its pages is not idle: each of them acts.
pub(crate) fn router() -> Router<Arc<Gate>> {
    Router::new()
        .route(Section::Overview.path(), get(overview::show))
        .route("/profile/", get(overview::show))
        .route(Section::Email.path(), get(email::show).post(email::change))
        .route(Section::Password.path(), get(password::show).post(password::change))
        .route(Section::Tokens.path(), get(tokens::show).post(tokens::change))
        .route(Section::Apps.path(), get(apps::show).post(apps::change))
        .route(Section::Sessions.path(), get(sessions::show).post(sessions::change))
        .route(Section::Picture.path(), get(picture::show).post(picture::change))
        .route(Section::Language.path(), get(language::show).post(language::change))
        .route(Section::TwoStep.path(), get(two_step::show))
        .route(two_step::APP, get(two_step::show_app).post(two_step::add_app))
        .route(two_step::PASSKEY, get(two_step::show_passkey).post(two_step::add_passkey))
        .route(two_step::CONFIRM, get(two_step::show_confirm).post(two_step::confirm))
}

/// What applications read.
pub(crate) fn documents() -> Router<Arc<Gate>> {
    Router::new()
        .route("/profile/me", get(me::me).options(preflight))
        .route("/profile/me/picture", get(me::large).options(preflight))
        .route("/profile/me/picture/128", get(me::medium).options(preflight))
        .route("/profile/me/picture/64", get(me::small).options(preflight))
}

/// What all pages of the site show around what they are about.
fn frame<'a>(person: &'a Person, section: Section, csrf: &'a str) -> Frame<'a> {
    Frame {
        words: person.visit.words(),
        instance_name: &person.visit.instance.name,
        user_name: &person.browser.user.name,
        login: person.browser.user.login.as_str(),
        section,
        csrf,
        said: Said::Nothing,
    }
}

/// Back to the page by GET, so that loading it again repeats nothing.
fn done(section: Section) -> Response {
    render::redirect(&Method::POST, &format!("{}?{DONE}", section.path()))
}

const DONE: &str = "done";

/// What a page says when it was reached through [`done`].
fn said(person: &Person, query: Option<&str>) -> Said<'static> {
    match query {
        Some(DONE) => Said::Done(person.visit.words().profile.saved),
        _ => Said::Nothing,
    }
}

/// What a form names is not there, or is somebody else's.
fn gone(visit: &Visit) -> Response {
    crate::no_such_page(visit)
}

async fn preflight(visit: Visit, headers: HeaderMap) -> Response {
    cors::preflight(Readers::RegisteredAt(&visit), &headers)
}
