//! `{root}/profile`: the pages on which users see and change their own data.

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

use crate::pages::profile::{ProfileFrame, ProfileNotice, ProfileSection};
use crate::request::context::{AppState, RequestContext};
use crate::request::cors;
use crate::request::cors::CorsReaders;
use crate::request::render;
use crate::request::signed_in_user::SignedInUser;

/// Opening a page refreshes the session, so all these routes act.
pub(crate) fn router() -> Router<Arc<AppState>> {
    Router::new()
        .route(ProfileSection::Overview.path(), get(overview::show))
        .route("/profile/", get(overview::show))
        .route(ProfileSection::Email.path(), get(email::show).post(email::change))
        .route(ProfileSection::Password.path(), get(password::show).post(password::change))
        .route(ProfileSection::Tokens.path(), get(tokens::show).post(tokens::change))
        .route(ProfileSection::Apps.path(), get(apps::show).post(apps::change))
        .route(ProfileSection::Sessions.path(), get(sessions::show).post(sessions::change))
        .route(ProfileSection::Picture.path(), get(picture::show).post(picture::change))
        .route(ProfileSection::Language.path(), get(language::show).post(language::change))
        .route(ProfileSection::TwoStep.path(), get(two_step::show))
        .route(two_step::APP, get(two_step::show_app).post(two_step::add_app))
        .route(two_step::PASSKEY, get(two_step::show_passkey).post(two_step::add_passkey))
        .route(two_step::CONFIRM, get(two_step::show_confirm).post(two_step::confirm))
}

/// Resources for applications.
pub(crate) fn documents() -> Router<Arc<AppState>> {
    Router::new()
        .route("/profile/me", get(me::me).options(preflight))
        .route("/profile/me/picture", get(me::large).options(preflight))
        .route("/profile/me/picture/128", get(me::medium).options(preflight))
        .route("/profile/me/picture/64", get(me::small).options(preflight))
}

/// The parts that all profile pages share.
fn frame<'a>(person: &'a SignedInUser, section: ProfileSection, csrf: &'a str) -> ProfileFrame<'a> {
    ProfileFrame {
        messages: person.context.messages(),
        instance_name: &person.context.instance.info.name,
        user_name: &person.browser.user.name,
        login: person.browser.user.login.as_str(),
        section,
        csrf,
        said: ProfileNotice::Nothing,
    }
}

/// Redirects to the page by GET, so that a reload repeats nothing.
fn done(section: ProfileSection) -> Response {
    render::redirect(&Method::POST, &format!("{}?{DONE}", section.path()))
}

const DONE: &str = "done";

/// The notice of a page reached through [`done`].
fn said(person: &SignedInUser, query: Option<&str>) -> ProfileNotice<'static> {
    match query {
        Some(DONE) => ProfileNotice::Done(person.context.messages().profile.saved),
        _ => ProfileNotice::Nothing,
    }
}

/// The object that a form names does not exist or belongs to another user.
fn gone(context: &RequestContext) -> Response {
    crate::no_such_page(context)
}

async fn preflight(context: RequestContext, headers: HeaderMap) -> Response {
    cors::preflight(CorsReaders::RegisteredAt(&context), &headers)
}
