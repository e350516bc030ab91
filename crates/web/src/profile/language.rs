//! The language of pages for this user.

use axum::body::Body;
use axum::extract::RawQuery;
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use model::Language;

use crate::pages::profile::{LanguagePage, ProfileNotice, ProfileSection};
use crate::profile::{done, frame, said};
use crate::request::failures;
use crate::request::render;
use crate::request::render::FormTarget;
use crate::request::signed_in_user::SignedInUser;

pub(super) async fn show(person: SignedInUser, RawQuery(query): RawQuery) -> Response {
    page(&person, said(&person, query.as_deref()))
}

fn page(person: &SignedInUser, said: ProfileNotice<'_>) -> Response {
    let csrf = person.csrf();
    let page = LanguagePage {
        messages: person.context.messages(),
        frame: frame(person, ProfileSection::Language, &csrf).saying(said),
        chosen: person.browser.user.locale.as_deref().and_then(Language::of_tag),
    };
    render::page(StatusCode::OK, &page, FormTarget::Ourselves)
}

pub(super) async fn change(mut person: SignedInUser, headers: HeaderMap, body: Body) -> Response {
    let form = match person.form(&headers, body).await {
        Ok(form) => form,
        Err(page) => return page,
    };
    let language = form.get("language").and_then(Language::of_tag);
    let (instance, mut ctx, browser) = person.split();
    match instance.account().choose_language(&mut ctx, browser, language).await {
        Ok(Ok(())) => done(ProfileSection::Language),
        Ok(Err(_)) => page(&person, ProfileNotice::Refused(person.context.messages().profile.overtaken)),
        Err(fault) => failures::fault_page(&person.context, &fault),
    }
}
