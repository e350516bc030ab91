//! `{root}/id`: the authorization server and OpenID Provider.

pub(crate) mod authorize;
mod email;
mod end_session;
mod known_browser;
mod links;
mod password_reset;
mod pending;
mod revocation;
mod second_step;
mod sign_in;
mod sign_in_page;
mod token;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::{get, post};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use crate::pages;
use crate::request::context::{AppState, PublicContext, RequestContext};
use crate::request::cors;
use crate::request::cors::CorsReaders;
use crate::request::documents::Document;
use crate::request::extract::Headers;
use crate::request::headers;
use crate::request::render;
use crate::site;

pub(crate) use self::token::tokens;

const SIGN_IN_PATH: &str = "/id/account/login";
const KNOWN_BROWSER_PATH: &str = "/id/account/known-browser";

/// Routes that act, by any method.
pub(crate) fn acting() -> Router<Arc<AppState>> {
    Router::new()
        .route("/id/connect/authorize", get(authorize::get).post(authorize::post))
        .route(TOKEN, post(token::token).options(preflight))
        .route("/id/connect/revocation", post(revocation::revoke).options(preflight))
        .route("/id/connect/introspect", post(revocation::introspect))
        .route("/id/tokens/leaked", post(revocation::leaked))
        .route("/id/connect/endsession", get(end_session::get).post(end_session::post))
        .route(SIGN_IN_PATH, get(sign_in::show).post(sign_in::submit))
        .route("/id/account/passkey", post(second_step::submit_passkey))
        .route(second_step::PATH, get(second_step::show).post(second_step::submit))
        .route(second_step::RECOVERY_PATH, get(second_step::show_recovery).post(second_step::submit_recovery))
        .route(pending::CONSENT_PATH, get(authorize::show_consent).post(authorize::submit_consent))
        .route("/id/account/set-up", get(links::show).post(links::choose_password))
        .route("/id/account/reset-password", get(links::show).post(links::choose_password))
        .route(email::PATH, get(email::show).post(email::answer))
        .route(password_reset::PATH, get(password_reset::show).post(password_reset::submit))
        .route(KNOWN_BROWSER_PATH, get(known_browser::show).post(known_browser::submit))
}

/// Routes that only read.
pub(crate) fn router() -> Router<Arc<AppState>> {
    Router::new()
        .route(DISCOVERY[0], get(discovery).options(preflight_anybody))
        .route(DISCOVERY[1], get(discovery).options(preflight_anybody))
        .route(DISCOVERY[2], get(discovery).options(preflight_anybody))
        .route(JWKS, get(jwks).options(preflight_anybody))
        .route("/id/connect/userinfo", get(token::user_info).post(token::user_info).options(preflight))
        .route("/id", get(async || render::redirect(&Method::GET, site::ACCOUNT)))
        .route("/id/", get(async || render::redirect(&Method::GET, site::ACCOUNT)))
        .route(site::ACCOUNT, get(sign_in::account))
        .route(pages::stylesheet().0, get(async || asset(pages::stylesheet().1, "text/css; charset=utf-8")))
        .route(
            pages::passkeys_script().0,
            get(async || asset(pages::passkeys_script().1, "text/javascript; charset=utf-8")),
        )
        .route(
            pages::form_post_script().0,
            get(async || asset(pages::form_post_script().1, "text/javascript; charset=utf-8")),
        )
        .route(
            pages::manager_script().0,
            get(async || asset(pages::manager_script().1, "text/javascript; charset=utf-8")),
        )
        .route(pages::favicon().0, get(async || asset(pages::favicon().1, "image/svg+xml")))
}

const TOKEN: &str = "/id/connect/token";
const DISCOVERY: [&str; 3] = [
    "/id/.well-known/openid-configuration",
    "/id/.well-known/oauth-authorization-server",
    "/.well-known/oauth-authorization-server/id",
];
const JWKS: &str = "/id/.well-known/openid-configuration/jwks";

/// RFC 6749 §3.2. Token requests are frequent, so they bypass the router; the router handles the other methods.
pub(crate) fn asks_for_tokens(request: &Request) -> bool {
    request.method() == Method::POST && request.uri().path() == TOKEN
}

/// The two discovery documents, for plain GET requests. The router serves the other requests for them.
pub(crate) fn prepared(state: &AppState, request: &Request) -> Option<Response> {
    let path = request.uri().path();
    let is_jwks = path == JWKS;
    if request.method() != Method::GET || !(is_jwks || DISCOVERY.contains(&path)) {
        return None;
    }
    let instance = state.instance_of(request)?;
    let prepared = state.documents.of(instance);
    Some(document(request.headers(), if is_jwks { &prepared.jwks } else { &prepared.discovery }))
}

async fn discovery(
    State(state): State<Arc<AppState>>,
    PublicContext(context): PublicContext,
    Headers(headers): Headers,
) -> Response {
    document(&headers, &state.documents.of(&context.instance).discovery)
}

async fn jwks(
    State(state): State<Arc<AppState>>,
    PublicContext(context): PublicContext,
    Headers(headers): Headers,
) -> Response {
    document(&headers, &state.documents.of(&context.instance).jwks)
}

/// Clients may cache it for minutes: a key is published a day before it signs.
fn document(headers: &HeaderMap, document: &Document) -> Response {
    let unchanged = headers::has_already(headers, &document.tag);
    let mut response = if unchanged {
        let mut response = Response::new(axum::body::Body::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        render::json_bytes(document.bytes.clone())
    };
    let said = response.headers_mut();
    said.insert(header::ETAG, document.tag.clone());
    said.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
    cors::share_with_anybody(response)
}

async fn preflight_anybody(_: PublicContext, headers: HeaderMap) -> Response {
    cors::preflight(CorsReaders::Anybody, &headers)
}

async fn preflight(context: RequestContext, headers: HeaderMap) -> Response {
    cors::preflight(CorsReaders::RegisteredAt(&context), &headers)
}

/// An asset. Its name contains the hash of its content, so it never changes.
fn asset(bytes: &'static [u8], content_type: &'static str) -> Response {
    let mut response = Response::new(axum::body::Body::from(bytes));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable"));
    response
}

/// True if the form returns this browser's token and `Sec-Fetch-Site` does not name another site.
fn form_is_ours(context: &RequestContext, headers: &HeaderMap, shown: Option<&str>) -> bool {
    let same_site =
        headers.get("sec-fetch-site").is_none_or(|site| site == "same-origin" || site == "none" || site == "same-site");
    let goes_with = |shown: &str| {
        context.form_cookies(headers).any(|cookie| context.instance.form_tokens().is_of_browser(&cookie, shown))
    };
    same_site && shown.is_some_and(goes_with)
}

/// A page with a form, and the cookie that its token is bound to.
fn form_page(
    context: &mut RequestContext,
    headers: &HeaderMap,
    fill: impl FnOnce(&RequestContext, &str) -> Response,
) -> Response {
    let (cookie, is_new) = context.form_cookie(headers);
    let csrf = context.instance.form_tokens().of_browser(&cookie);
    let mut response = fill(context, &csrf);
    if is_new {
        let names = context.cookie_names();
        response = render::with_cookie(response, &names.set(names.form, cookie.expose()));
    }
    response
}

fn is_post(method: &Method) -> bool {
    method == Method::POST
}
