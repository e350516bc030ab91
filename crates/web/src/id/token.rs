//! `/connect/token` and `/connect/userinfo`.

use axum::body::Body;
use axum::response::Response;
use flows::protocol::guard::GuardRefusal;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use model::audit::AuditKind::{TokenRefused, UserInfo};
use model::refusal::MalformedRequest;
use oauth::bearer::{self, BearerError};
use oauth::client::ClientCredentials;
use oauth::secret::{AccessToken, Presented};
use oauth::token::{ErrorBody, TokenError, TokenErrorCode, TokenRequest};

use crate::id::is_post;
use crate::request::body;
use crate::request::body::BodyError;
use crate::request::context::{RequestContext, UncheckedContext};
use crate::request::cors;
use crate::request::cors::CorsReaders;
use crate::request::extract::Headers;
use crate::request::failures;
use crate::request::malformed::tell_refused;
use crate::request::malformed::unreadable;
use crate::request::render;

/// Lets the router name the allowed method to clients that use another one. Token requests bypass the router.
pub(super) async fn token(context: RequestContext, Headers(headers): Headers, body: Body) -> Response {
    answer(context, headers, body).await
}

/// RFC 6749 §3.2.
pub(crate) async fn tokens(context: UncheckedContext, headers: HeaderMap, body: Body) -> Response {
    match context.believed().await {
        Ok(context) => answer(context, headers, body).await,
        Err(refused) => render::no_store(failures::fault_json(&refused.0, &refused.1)),
    }
}

async fn answer(mut context: RequestContext, headers: HeaderMap, body: Body) -> Response {
    let response = exchange(&mut context, &headers, body).await;
    cors::share(CorsReaders::RegisteredAt(&context), &headers, render::no_store(response))
}

async fn exchange(context: &mut RequestContext, headers: &HeaderMap, body: Body) -> Response {
    let params = match body::form(headers, body).await {
        Ok(params) => params,
        Err(error) => {
            if let Err(fault) = tell_refused(context, TokenRefused, &unreadable(&error.description())) {
                return failures::fault_json(context, &fault);
            }
            return body_error(&error);
        }
    };
    let authorization = headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
    let parsed = ClientCredentials::parse(authorization, &params)
        .and_then(|credentials| TokenRequest::parse(&params).map(|request| (credentials, request)));
    let (credentials, request) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => {
            return match tell_refused(context, TokenRefused, &unreadable(&error.description)) {
                Ok(()) => token_error(context, &error),
                Err(fault) => failures::fault_json(context, &fault),
            };
        }
    };
    let (instance, mut ctx) = context.split();
    match instance.protocol().exchange(&mut ctx, &credentials, &request).await {
        Ok(Ok(tokens)) => render::json(StatusCode::OK, &tokens),
        Ok(Err(refusal)) => token_error(context, &TokenError::new(refusal.code(), refusal.description())),
        Err(fault) => failures::fault_json(context, &fault),
    }
}

pub(super) fn body_error(error: &BodyError) -> Response {
    let error_description = &*error.description();
    error.answered(render::json(error.status(), &ErrorBody { error: "invalid_request", error_description }))
}

/// RFC 6749 §5.2. With `invalid_client`, names the accepted scheme.
pub(super) fn token_error(context: &RequestContext, error: &TokenError) -> Response {
    let status = StatusCode::from_u16(error.code.status()).unwrap_or(StatusCode::BAD_REQUEST);
    let mut response = render::json(status, &error.body());
    if error.code == TokenErrorCode::InvalidClient {
        let challenge = format!("Basic realm=\"{}\", charset=\"UTF-8\"", context.instance.info.issuer);
        if let Ok(challenge) = HeaderValue::try_from(challenge) {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
    }
    response
}

/// OpenID Connect Core §5.3.
pub(super) async fn user_info(mut context: RequestContext, method: Method, headers: HeaderMap, body: Body) -> Response {
    if let Err(error) = body::check_encoding(&headers) {
        let response = match tell_refused(&mut context, UserInfo, &unreadable(&error.description())) {
            Ok(()) => body_error(&error),
            Err(fault) => failures::fault_json(&context, &fault),
        };
        return cors::share(CorsReaders::RegisteredAt(&context), &headers, render::no_store(response));
    }
    let response = match shown_token(&method, &headers, body).await {
        Ok(token) => {
            let (instance, mut ctx) = context.split();
            match instance.protocol().user_info(&mut ctx, &token).await {
                Ok(Ok(claims)) => render::json(StatusCode::OK, &claims),
                Ok(Err(refusal)) => refused(&context, &refusal),
                Err(fault) => failures::fault_json(&context, &fault),
            }
        }
        Err(error) => {
            let refusal = MalformedRequest { cause: cause_of(error), problem: &error.to_string() };
            match tell_refused(&mut context, UserInfo, &refusal) {
                Ok(()) => bearer_error(&context, error),
                Err(fault) => failures::fault_json(&context, &fault),
            }
        }
    };
    cors::share(CorsReaders::RegisteredAt(&context), &headers, render::no_store(response))
}

/// Reads the access token as in RFC 6750 §2.1, and as in §2.2 if the request has a form.
async fn shown_token(method: &Method, headers: &HeaderMap, body: Body) -> Result<Presented<AccessToken>, BearerError> {
    if headers.get_all(header::AUTHORIZATION).iter().nth(1).is_some() {
        return Err(BearerError::Malformed);
    }
    let in_header = bearer::token(headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes));
    if !is_post(method) {
        return in_header;
    }
    let in_form = body::form(headers, body).await.ok().and_then(|form| form.get("access_token").map(Presented::new));
    match (in_header, in_form) {
        (Err(BearerError::Missing), Some(token)) => Ok(token),
        // RFC 6750 §2: "Clients MUST NOT use more than one method".
        (Ok(_), Some(_)) => Err(BearerError::Malformed),
        (in_header, _) => in_header,
    }
}

fn refused(context: &RequestContext, refusal: &GuardRefusal) -> Response {
    let (status, error, description, scope) = match refusal {
        GuardRefusal::InsufficientScope { needed, .. } => {
            (StatusCode::FORBIDDEN, "insufficient_scope", "the token lacks the scope openid", Some(*needed))
        }
        GuardRefusal::Token(refusal) => (StatusCode::UNAUTHORIZED, "invalid_token", refusal.description(), None),
        GuardRefusal::WrongAudience { .. }
        | GuardRefusal::NotForCommunityUsers
        | GuardRefusal::NoSeat(_)
        | GuardRefusal::Legacy(_) => {
            (StatusCode::UNAUTHORIZED, "invalid_token", "the token is not for this endpoint", None)
        }
    };
    let challenge = bearer::challenge(&context.instance.info.issuer, Some((error, description)), scope);
    challenged(status, &challenge, &ErrorBody { error, error_description: description })
}

pub(crate) const fn cause_of(error: BearerError) -> &'static str {
    match error {
        BearerError::Missing | BearerError::OtherScheme => "no_credential",
        BearerError::Malformed | BearerError::TooLong => "malformed_credential",
    }
}

fn bearer_error(context: &RequestContext, error: BearerError) -> Response {
    let realm = &context.instance.info.issuer;
    match error {
        // RFC 6750 §3.1: no credentials, no error code.
        BearerError::Missing | BearerError::OtherScheme => {
            let body = ErrorBody { error: "invalid_request", error_description: "send an access token" };
            challenged(StatusCode::UNAUTHORIZED, &bearer::challenge(realm, None, None), &body)
        }
        BearerError::Malformed | BearerError::TooLong => {
            let (error, error_description) =
                ("invalid_request", "the access token is malformed, too long or sent twice");
            let challenge = bearer::challenge(realm, Some((error, error_description)), None);
            challenged(StatusCode::BAD_REQUEST, &challenge, &ErrorBody { error, error_description })
        }
    }
}

fn challenged(status: StatusCode, challenge: &str, body: &ErrorBody<'_>) -> Response {
    let mut response = render::json(status, body);
    if let Ok(challenge) = HeaderValue::try_from(challenge) {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    }
    response
}
