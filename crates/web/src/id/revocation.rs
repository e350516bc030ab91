//! `/connect/revocation` (RFC 7009), `/connect/introspect` (RFC 7662), and reports of leaked tokens.

use axum::body::Body;
use axum::response::Response;
use flows::protocol::exchange::ExchangeRefusal;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use model::application::ClientRefusal;
use model::audit::AuditKind;
use oauth::client::ClientCredentials;
use oauth::params::Params;
use oauth::secret::{AccessToken, Presented};
use oauth::token::{TokenError, TokenErrorCode};

use crate::id::token::{body_error, token_error};
use crate::request::body;
use crate::request::body::BodyError;
use crate::request::context::RequestContext;
use crate::request::cors;
use crate::request::cors::CorsReaders;
use crate::request::failures;
use crate::request::render;

/// A token and the credentials of the client that presents it.
struct PresentedToken {
    credentials: ClientCredentials,
    token: String,
}

/// A request without a readable token or client.
enum TokenRequestError {
    Body(BodyError),
    Request(TokenError),
}

impl From<TokenError> for TokenRequestError {
    fn from(error: TokenError) -> Self {
        Self::Request(error)
    }
}

/// A request that names no client fails client authentication (RFC 7662 §2.1, RFC 7009 §2.1). A Public application is
/// named by its `client_id`.
async fn read(headers: &HeaderMap, body: Body) -> Result<PresentedToken, TokenRequestError> {
    let params: Params = body::form(headers, body).await.map_err(TokenRequestError::Body)?;
    let authorization = headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
    if authorization.is_none() && params.get("client_id").is_none() && params.get("client_assertion").is_none() {
        return Err(TokenError::new(TokenErrorCode::InvalidClient, "client authentication is missing").into());
    }
    let credentials = ClientCredentials::parse(authorization, &params)?;
    let missing = || TokenError::new(TokenErrorCode::InvalidRequest, "token is missing");
    let token = params.get("token").ok_or_else(missing)?;
    Ok(PresentedToken { credentials, token: token.to_owned() })
}

fn unreadable(context: &mut RequestContext, error: &TokenRequestError) -> Response {
    let problem = match error {
        TokenRequestError::Body(error) => error.description(),
        TokenRequestError::Request(error) => error.description.to_string(),
    };
    match (
        crate::request::malformed::tell_refused(
            context,
            AuditKind::TokenRefused,
            &crate::request::malformed::unreadable(&problem),
        ),
        error,
    ) {
        (Ok(()), TokenRequestError::Body(error)) => body_error(error),
        (Ok(()), TokenRequestError::Request(error)) => token_error(context, error),
        (Err(fault), _) => failures::fault_json(context, &fault),
    }
}

fn refused(context: &RequestContext, refusal: ClientRefusal) -> Response {
    let refusal = ExchangeRefusal::Client(refusal);
    token_error(context, &TokenError::new(refusal.code(), refusal.description()))
}

pub(super) async fn revoke(mut context: RequestContext, headers: HeaderMap, body: Body) -> Response {
    let response = match read(&headers, body).await {
        Err(error) => unreadable(&mut context, &error),
        Ok(PresentedToken { credentials, token }) => {
            let (instance, mut ctx) = context.split();
            match instance.protocol().revoke(&mut ctx, &credentials, &token).await {
                Ok(Ok(())) => Response::new(Body::empty()),
                Ok(Err(refusal)) => refused(&context, refusal),
                Err(fault) => failures::fault_json(&context, &fault),
            }
        }
    };
    cors::share(CorsReaders::RegisteredAt(&context), &headers, render::no_store(response))
}

pub(super) async fn introspect(mut context: RequestContext, headers: HeaderMap, body: Body) -> Response {
    let response = match read(&headers, body).await {
        Err(error) => unreadable(&mut context, &error),
        Ok(PresentedToken { credentials, token }) => {
            let (instance, mut ctx) = context.split();
            match instance.protocol().introspect(&mut ctx, &credentials, &token).await {
                Ok(Ok(found)) => render::json(StatusCode::OK, &found),
                Ok(Err(refusal)) => refused(&context, refusal),
                Err(fault) => failures::fault_json(&context, &fault),
            }
        }
    };
    render::no_store(response)
}

/// Open to unauthenticated clients. The answer is the same for every token, so it reveals nothing.
pub(super) async fn leaked(mut context: RequestContext, headers: HeaderMap, body: Body) -> Response {
    const LONGEST: usize = 1024;
    let is_form = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.to_ascii_lowercase().starts_with("application/x-www-form-urlencoded"));
    let found = match body::read(&headers, body, LONGEST).await {
        Ok(bytes) if is_form => Params::parse(&bytes).ok().and_then(|form| form.get("token").map(str::to_owned)),
        Ok(bytes) => std::str::from_utf8(&bytes).ok().map(|text| text.trim().to_owned()),
        Err(error @ BodyError::Encoded) => return unreadable(&mut context, &TokenRequestError::Body(error)),
        Err(_) => None,
    };
    if let Some(found) = found {
        let (instance, mut ctx) = context.split();
        let shown = Presented::<AccessToken>::new(found);
        if let Err(fault) = instance.auth().revoke_leaked(&mut ctx, &shown).await {
            return failures::fault_json(&context, &fault);
        }
    }
    let mut response = render::no_store(Response::new(Body::empty()));
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}
