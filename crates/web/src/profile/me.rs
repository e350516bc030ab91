//! `/profile/me`: the user's data for applications. Also the picture, for any page's `<img>`.

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use flows::Fault;
use flows::account::pictures::PictureSize;
use flows::account::who::WhoRefusal;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use model::User;
use oauth::bearer::{self, BearerError};
use oauth::token::ErrorBody;
use serde_json::{Value, json};

use crate::pages::profile::ProfileSection;
use crate::profile::initials;
use crate::request::context::RequestContext;
use crate::request::cors;
use crate::request::cors::CorsReaders;
use crate::request::failures;
use crate::request::headers;
use crate::request::headers::entity_tag;
use crate::request::render;

/// The reason for which no user data is returned.
enum MeRefusal {
    /// RFC 6750 §3.1: no credentials, no error code.
    Nobody,
    Malformed,
    Who(WhoRefusal),
}

/// The user of the access token; without a token, the user signed in at the browser.
async fn who(context: &mut RequestContext, headers: &HeaderMap) -> Result<Result<Arc<User>, MeRefusal>, Fault> {
    let shown = match headers.get_all(header::AUTHORIZATION).iter().count() {
        0 => {
            let browser = context.browser(headers).await?;
            return Ok(browser.map(|browser| browser.user).ok_or(MeRefusal::Nobody));
        }
        1 => bearer::token(headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes)),
        _ => Err(BearerError::Malformed),
    };
    let token = match shown {
        Ok(token) => token,
        Err(BearerError::Missing | BearerError::OtherScheme) => return Ok(Err(MeRefusal::Nobody)),
        Err(BearerError::Malformed | BearerError::TooLong) => return Ok(Err(MeRefusal::Malformed)),
    };
    let (instance, mut ctx) = context.split();
    Ok(instance.account().person_of(&mut ctx, &token).await?.map_err(MeRefusal::Who))
}

pub(super) async fn me(mut context: RequestContext, headers: HeaderMap) -> Response {
    let response = match who(&mut context, &headers).await {
        Ok(Ok(user)) => render::json(StatusCode::OK, &about(&context, &user)),
        Ok(Err(refused)) => refusal(&context, &refused),
        Err(fault) => failures::fault_json(&context, &fault),
    };
    cors::share(CorsReaders::RegisteredAt(&context), &headers, render::no_store(response))
}

/// `identity.md` §3.7. Unknown attributes are null.
fn about(context: &RequestContext, user: &User) -> Value {
    let root = context.instance.info.root.as_str();
    let page = |section: ProfileSection| format!("{root}{}", section.path());
    json!({
        "id": user.id.0,
        "login": user.login.as_str(),
        "name": user.name,
        "email": user.email.as_ref().map(|email| &email.address),
        "phoneNumber": null,
        "isAdmin": user.is_admin(),
        "isActive": user.enabled,
        "userType": user.user_type.as_str(),
        "preferredLanguage": user.locale,
        "pictureUrl": format!("{root}/profile/me/picture/64"),
        "largePictureUrl": format!("{root}/profile/me/picture"),
        "person": null,
        "domain": null,
        "instance": { "database": context.instance.info.name, "url": root },
        "links": {
            "profile": page(ProfileSection::Overview),
            "changePassword": page(ProfileSection::Password),
            "accessTokens": page(ProfileSection::Tokens),
            "devices": page(ProfileSection::Sessions),
        },
    })
}

pub(super) async fn small(context: RequestContext, headers: HeaderMap) -> Response {
    picture(context, headers, PictureSize::Small).await
}

pub(super) async fn medium(context: RequestContext, headers: HeaderMap) -> Response {
    picture(context, headers, PictureSize::Medium).await
}

pub(super) async fn large(context: RequestContext, headers: HeaderMap) -> Response {
    picture(context, headers, PictureSize::Large).await
}

async fn picture(mut context: RequestContext, headers: HeaderMap, size: PictureSize) -> Response {
    let drawn = async {
        let user = match who(&mut context, &headers).await? {
            Ok(user) => user,
            Err(refused) => return Ok(render::no_store(refusal(&context, &refused))),
        };
        let (bytes, content_type) = match context.instance.account().picture(user.id, size).await? {
            Some(png) => (png, "image/png"),
            None => (initials::svg(&user, size.pixels()).into_bytes(), "image/svg+xml"),
        };
        Ok(image(&headers, bytes, content_type))
    };
    let response = match drawn.await {
        Ok(response) => response,
        Err(fault) => failures::fault_json(&context, &fault),
    };
    cors::share(CorsReaders::RegisteredAt(&context), &headers, response)
}

/// The policy allows nothing but the picture: opened by itself, it runs no script and fetches nothing.
fn image(headers: &HeaderMap, bytes: Vec<u8>, content_type: &'static str) -> Response {
    let tag = HeaderValue::try_from(entity_tag(&bytes)).expect("a tag is base64url in quotes");
    let unchanged = headers::has_already(headers, &tag);
    let mut response = Response::new(if unchanged { Body::empty() } else { Body::from(bytes) });
    if unchanged {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let said = response.headers_mut();
    said.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    said.insert(header::ETAG, tag);
    said.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    said.insert(header::VARY, HeaderValue::from_static("Cookie, Authorization"));
    said.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; sandbox"));
    response
}

fn refusal(context: &RequestContext, refused: &MeRefusal) -> Response {
    let realm = &context.instance.info.issuer;
    let (status, error, what) = match refused {
        MeRefusal::Nobody => {
            let body = ErrorBody { error: "invalid_request", error_description: "sign in, or send an access token" };
            return challenged(StatusCode::UNAUTHORIZED, &bearer::challenge(realm, None, None), &body);
        }
        MeRefusal::Malformed => {
            (StatusCode::BAD_REQUEST, "invalid_request", "the access token is malformed or sent twice")
        }
        MeRefusal::Who(WhoRefusal::NotAPerson) => {
            (StatusCode::FORBIDDEN, "access_denied", "the token belongs to a service and does not act as a person")
        }
        MeRefusal::Who(WhoRefusal::Token(refusal)) => {
            (StatusCode::UNAUTHORIZED, "invalid_token", refusal.description())
        }
    };
    let body = ErrorBody { error, error_description: what };
    challenged(status, &bearer::challenge(realm, Some((error, what)), None), &body)
}

fn challenged(status: StatusCode, challenge: &str, body: &ErrorBody<'_>) -> Response {
    let mut response = render::json(status, body);
    if let Ok(challenge) = HeaderValue::try_from(challenge) {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    }
    response
}
