//! Upload, replacement and removal of a user's picture.

use axum::body::Body;
use axum::extract::RawQuery;
use axum::response::Response;
use flows::Fault;
use flows::account::pictures::LARGEST_PICTURE;
use flows::account::pictures::PictureRefusal;
use flows::account::pictures::PictureSize;
use http::{HeaderMap, StatusCode};

use crate::messages::Messages;
use crate::pages::profile::{PicturePage, ProfileNotice, ProfileSection};
use crate::profile::{done, frame, said};
use crate::request::body;
use crate::request::body::BodyError;
use crate::request::failures;
use crate::request::malformed;
use crate::request::render;
use crate::request::render::FormTarget;
use crate::request::signed_in_user::SignedInUser;

/// Bytes allowed besides the file: the other field and the multipart separators.
const ROOM_FOR_FIELDS: usize = 8 * 1024;

pub(super) async fn show(person: SignedInUser, RawQuery(query): RawQuery) -> Response {
    let said = said(&person, query.as_deref());
    page(&person, said).await.unwrap_or_else(|fault| failures::fault_page(&person.context, &fault))
}

async fn page(person: &SignedInUser, said: ProfileNotice<'_>) -> Result<Response, Fault> {
    let picture = person.context.instance.account().picture(person.browser.user.id, PictureSize::Small).await?;
    let csrf = person.csrf();
    let frame = frame(person, ProfileSection::Picture, &csrf).saying(said);
    let page = PicturePage { messages: person.context.messages(), frame, is_chosen: picture.is_some() };
    Ok(render::page(StatusCode::OK, &page, FormTarget::Ourselves))
}

/// Form fields: a file in `picture`, or `remove=1`.
pub(super) async fn change(mut person: SignedInUser, headers: HeaderMap, body: Body) -> Response {
    let form = match body::multipart(&headers, body, LARGEST_PICTURE + ROOM_FOR_FIELDS).await {
        Ok(form) => form,
        Err(BodyError::TooLarge) => return refused(&person, PictureRefusal::TooLarge).await,
        Err(error) => return malformed::malformed(&mut person.context, error),
    };
    if !person.sent(&headers, form.text("csrf")) {
        return malformed::form_expired(&mut person.context);
    }
    let (instance, mut ctx, browser) = person.split();
    let changed = if form.text("remove").is_some() {
        instance.account().remove_picture(&mut ctx, browser).await
    } else {
        let file = form.bytes("picture").unwrap_or_default().to_vec();
        instance.account().choose_picture(&mut ctx, browser, file).await
    };
    match changed {
        Ok(Ok(())) => done(ProfileSection::Picture),
        Ok(Err(refusal)) => refused(&person, refusal).await,
        Err(fault) => failures::fault_page(&person.context, &fault),
    }
}

async fn refused(person: &SignedInUser, refusal: PictureRefusal) -> Response {
    let said = ProfileNotice::Refused(text(refusal, person.context.messages()));
    page(person, said).await.unwrap_or_else(|fault| failures::fault_page(&person.context, &fault))
}

const fn text(refusal: PictureRefusal, messages: &Messages) -> &'static str {
    match refusal {
        PictureRefusal::TooLarge => messages.picture.too_large,
        PictureRefusal::UnknownFormat => messages.picture.unknown_format,
        PictureRefusal::TooManyPixels => messages.picture.too_many_pixels,
        PictureRefusal::Damaged => messages.picture.damaged,
        PictureRefusal::SignedOut => messages.profile.overtaken,
    }
}
