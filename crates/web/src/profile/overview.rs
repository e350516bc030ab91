//! The overview page: the signed-in user's data.

use axum::response::Response;
use http::StatusCode;
use model::UserType;

use crate::pages::profile::{DisplayTime, OverviewPage, ProfileSection};
use crate::profile::frame;
use crate::request::render;
use crate::request::render::FormTarget;
use crate::request::signed_in_user::SignedInUser;

pub(super) async fn show(person: SignedInUser) -> Response {
    let csrf = person.csrf();
    let (user, messages) = (&person.browser.user, person.context.messages());
    let page = OverviewPage {
        messages,
        frame: frame(&person, ProfileSection::Overview, &csrf),
        email: user.email.as_ref(),
        kind: match user.user_type {
            UserType::Internal => messages.overview.internal,
            UserType::ExternalCommunity | UserType::SystemNoLogin => messages.overview.community,
        },
        is_admin: user.is_admin(),
        since: DisplayTime(person.browser.session.auth_time),
    };
    render::page(StatusCode::OK, &page, FormTarget::Ourselves)
}
