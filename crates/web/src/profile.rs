//! `{root}/profile`: what people see and change of themselves.

mod language;
mod overview;

use std::sync::Arc;

use axum::Router;
use axum::response::Response;
use axum::routing::get;
use http::Method;

use crate::layer;
use crate::pages::profile::{Frame, Said, Section};
use crate::person::Person;
use crate::render;
use crate::visit::Gate;

pub(crate) fn router() -> Router<Arc<Gate>> {
    Router::new()
        .route(Section::Overview.path(), get(overview::show))
        .route("/profile/", get(overview::show))
        .route(Section::Language.path(), get(language::show).post(language::change))
        .layer(axum::middleware::from_fn(layer::to_the_end))
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
