//! Who is signed in, and what is known of them.

use axum::response::Response;
use http::StatusCode;
use model::UserType;

use super::frame;
use crate::pages::profile::{Overview, Section, When};
use crate::person::Person;
use crate::render::{self, FormTarget};

pub(super) async fn show(person: Person) -> Response {
    let csrf = person.csrf();
    let (user, words) = (&person.browser.user, person.visit.words());
    let page = Overview {
        words,
        frame: frame(&person, Section::Overview, &csrf),
        email: user.email.as_ref(),
        kind: match user.user_type {
            UserType::Internal => words.overview.internal,
            UserType::ExternalCommunity | UserType::SystemNoLogin => words.overview.community,
        },
        is_admin: user.is_admin(),
        since: When(person.browser.session.auth_time),
    };
    render::page(StatusCode::OK, &page, FormTarget::Ourselves)
}
