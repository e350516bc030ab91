//! `{root}/api`: the guard before the Domain API. Answers are JSON, also when they refuse; nothing here redirects.

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use flows::Fault;
use flows::domain::Actor;
use flows::guard::{Call, Caller, GuardRefusal, TokenRefusal};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use model::claims::DOMAIN_API;
use model::reference_token::is_reference_token;
use model::why::{Details, Failed, Refusal};
use oauth::bearer::{self, BearerError};
use oauth::secret::{AccessToken, Presented};
use odata::ErrorBody;

use crate::body::{self, BodyError};
use crate::cors::{self, Readers};
use crate::layer;
use crate::odata as domain_api;
use crate::render;
use crate::site::service_root;
use crate::visit::Visit;

const PREFIX: &str = "/api/domain/odata";

/// The largest entity that may be written.
const LARGEST_BODY: usize = 1024 * 1024;

/// Headers that carry a credential beside `Authorization`.
const KEY_HEADERS: [HeaderName; 2] = [HeaderName::from_static("x-api-key"), HeaderName::from_static("api-key")];

pub(crate) fn is_api_path(path: &str) -> bool {
    let rest = path.get(..4).filter(|start| start.eq_ignore_ascii_case("/api")).and_then(|_| path.get(4..));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Fixed segments are matched in any case: clients write them so.
fn below_service_root(path: &str) -> Option<&str> {
    let (start, rest) = path.split_at_checked(PREFIX.len())?;
    let rest = if rest.is_empty() { Some("") } else { rest.strip_prefix('/') };
    rest.filter(|_| start.eq_ignore_ascii_case(PREFIX))
}

/// Why the guard did not let a call through.
enum Refused {
    /// RFC 6750 §3.1: no credentials, no error code.
    NoCredential,
    /// Malformed, too long, or more than one.
    BadCredential(&'static str),
    Guard(GuardRefusal),
    Body(BodyError),
}

/// Reading may be given up with its connection; a change is made and told of to the end.
pub(crate) async fn call(visit: Visit, parts: Parts, body: Body) -> Response {
    if parts.method == Method::OPTIONS {
        return cors::preflight(&visit, &parts.headers, Readers::RegisteredOrigins);
    }
    if below_service_root(parts.uri.path()).is_none() {
        return cors::share(&visit, &parts.headers, Readers::RegisteredOrigins, nothing_here());
    }
    if matches!(parts.method, Method::GET | Method::HEAD) {
        guarded(visit, parts, body).await
    } else {
        layer::finish(guarded(visit, parts, body)).await
    }
}

async fn guarded(mut visit: Visit, parts: Parts, body: Body) -> Response {
    let (response, caller, refused) = match enter(&mut visit, &parts.method, &parts.headers).await {
        Err(fault) => (fault_response(&visit, &fault), None, Some(told(Failed))),
        Ok(Err(refused)) => (refusal(&visit, &refused), None, Some(told(refused))),
        Ok(Ok(caller)) => match answer(&mut visit, &caller, &parts, body).await {
            Err(fault) => (fault_response(&visit, &fault), Some(caller), Some(told(Failed))),
            Ok(Err(refused)) => (refusal(&visit, &refused), Some(caller), Some(told(refused))),
            Ok(Ok(mut response)) => {
                let refused = response.extensions_mut().remove::<domain_api::Told>().map(told);
                (response, Some(caller), refused)
            }
        },
    };
    let call = Call {
        method: parts.method.as_str(),
        path: parts.uri.path(),
        status: response.status().as_u16(),
        caller: caller.as_ref(),
        refused: refused.as_deref().map(|refused| -> &dyn Refusal { refused }),
    };
    let response = match visit.instance.tell_call(visit.now, &visit.visitor, &call) {
        Ok(()) => response,
        Err(fault) => fault_response(&visit, &fault),
    };
    cors::share(&visit, &parts.headers, Readers::RegisteredOrigins, render::no_store(response))
}

type Told = Box<dyn Refusal + Send>;

fn told(refusal: impl Refusal + Send + 'static) -> Told {
    Box::new(refusal)
}

async fn enter(visit: &mut Visit, method: &Method, headers: &HeaderMap) -> Result<Result<Caller, Refused>, Fault> {
    let token = match credential(headers) {
        Ok(token) => token,
        Err(refused) => return Ok(Err(refused)),
    };
    let needed = (DOMAIN_API, domain_api::required_scope(method));
    let (instance, visitor) = (visit.instance.clone(), visit.visitor.clone());
    let answer = instance.enter(&mut visit.moment(), &visitor, &token, needed).await?;
    Ok(answer.map_err(Refused::Guard))
}

fn credential(headers: &HeaderMap) -> Result<Presented<AccessToken>, Refused> {
    let shown = headers.get_all(header::AUTHORIZATION).iter().count()
        + KEY_HEADERS.iter().map(|name| headers.get_all(name).iter().count()).sum::<usize>();
    if shown > 1 {
        return Err(Refused::BadCredential("send one credential, in one header"));
    }
    if let Some(key) = KEY_HEADERS.iter().find_map(|name| headers.get(name)) {
        return match key.to_str() {
            Ok(key) if is_reference_token(key) => Ok(Presented::new(key)),
            _ => {
                let length = key.as_bytes().len();
                Err(Refused::Guard(GuardRefusal::Token(TokenRefusal::Malformed { length })))
            }
        };
    }
    bearer::token(headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes)).map_err(|error| match error {
        BearerError::Missing | BearerError::OtherScheme => Refused::NoCredential,
        BearerError::Malformed => Refused::BadCredential("the access token is malformed"),
        BearerError::TooLong => Refused::BadCredential("the access token is too long"),
    })
}

async fn answer(
    visit: &mut Visit,
    caller: &Caller,
    parts: &Parts,
    body: Body,
) -> Result<Result<Response, Refused>, Fault> {
    let body = match parts.method {
        // A reading has no body that would mean anything (RFC 9110 §9.3.1).
        Method::GET | Method::HEAD => Bytes::new(),
        _ => match body::read(body, LARGEST_BODY).await {
            Ok(body) => body,
            Err(error) => return Ok(Err(Refused::Body(error))),
        },
    };
    let permissions = caller.permissions();
    let actor = Actor { permissions: &permissions, login: caller.user.login.as_str(), now: visit.now };
    let root = service_root(&visit.instance);
    let asked = domain_api::Asked {
        method: &parts.method,
        path: below_service_root(parts.uri.path()).unwrap_or_default(),
        query: parts.uri.query().unwrap_or_default(),
        headers: &parts.headers,
        body: &body,
        service_root: &root,
    };
    let instance = visit.instance.clone();
    domain_api::handle(&instance.domain, actor, &asked, &mut *visit.dice).await.map(Ok)
}

impl Refusal for Refused {
    fn cause(&self) -> &'static str {
        match self {
            Self::NoCredential => "no_credential",
            Self::BadCredential(_) => "malformed_credential",
            Self::Guard(refusal) => refusal.cause(),
            Self::Body(_) => "unreadable_body",
        }
    }

    fn details(&self) -> Details {
        match self {
            Self::NoCredential => Details::new("the call shows a credential", "RFC 6750 §3.1")
                .expected("Authorization", "Bearer …; or X-Api-Key, or Api-Key"),
            Self::BadCredential(what) => {
                Details::new("the call shows one credential, well-formed", "RFC 6750 §2, §3.1").sent("problem", what)
            }
            Self::Guard(refusal) => refusal.details(),
            Self::Body(problem) => {
                Details::new("the body can be read", "docs/api.md").sent("problem", problem.description())
            }
        }
    }
}

fn refusal(visit: &Visit, refused: &Refused) -> Response {
    let realm = &visit.instance.issuer;
    let challenge = |error: &str, description: &str, scope: Option<&str>| {
        bearer::challenge(realm, Some((error, description)), scope)
    };
    let (status, kind, message, challenge) = match refused {
        Refused::NoCredential => (
            StatusCode::UNAUTHORIZED,
            "AuthenticationException",
            "Send an access token: Authorization: Bearer ….".to_owned(),
            Some(bearer::challenge(realm, None, None)),
        ),
        Refused::BadCredential(what) => (
            StatusCode::BAD_REQUEST,
            "AuthenticationException",
            (*what).to_owned(),
            Some(challenge("invalid_request", what, None)),
        ),
        Refused::Guard(GuardRefusal::Token(refusal)) => (
            StatusCode::UNAUTHORIZED,
            "AuthenticationException",
            refusal.description().to_owned(),
            Some(challenge("invalid_token", refusal.description(), None)),
        ),
        Refused::Guard(GuardRefusal::WrongAudience { .. }) => {
            let what = "the token is not for this API: ask for one of its scopes";
            let challenge = challenge("invalid_token", what, None);
            (StatusCode::UNAUTHORIZED, "AuthenticationException", what.to_owned(), Some(challenge))
        }
        Refused::Guard(GuardRefusal::NotForCommunityUsers) => {
            let what = "the APIs are not open to community users";
            let challenge = challenge("insufficient_scope", what, None);
            (StatusCode::FORBIDDEN, "AuthorizationException", what.to_owned(), Some(challenge))
        }
        Refused::Guard(GuardRefusal::InsufficientScope { needed, .. }) => {
            let what = format!("the token does not have the scope {needed}");
            let challenge = challenge("insufficient_scope", &what, Some(needed));
            (StatusCode::FORBIDDEN, "AuthorizationException", what, Some(challenge))
        }
        Refused::Guard(GuardRefusal::NoSeat(no_seat)) => {
            let seconds = no_seat.free_at.since(visit.now).as_secs() + 1;
            let message = format!(
                "All {} licence seats are taken. One may come free in {seconds} seconds, or earlier when somebody signs out.",
                no_seat.seats
            );
            let mut response = error(StatusCode::TOO_MANY_REQUESTS, "MaximumLicenseCountExceeded", message);
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
            return response;
        }
        Refused::Body(problem) => {
            let status = match problem {
                BodyError::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
                _ => StatusCode::BAD_REQUEST,
            };
            (status, "ArgumentException", problem.description(), None)
        }
    };
    let mut response = error(status, kind, message);
    if let Some(Ok(challenge)) = challenge.map(HeaderValue::try_from) {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    }
    response
}

/// The error body of the documented API: `code` is a number, in refusals of the guard too.
fn error(status: StatusCode, kind: &'static str, message: String) -> Response {
    let body = ErrorBody::new(kind, 0, "{0}", vec![message]);
    let mut response = render::no_store(Response::new(Body::from(body.to_json())));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn nothing_here() -> Response {
    error(StatusCode::NOT_FOUND, "NotFoundException", "There is nothing at this address.".to_owned())
}

fn fault_response(visit: &Visit, fault: &Fault) -> Response {
    let status = render::fault_status(visit, fault);
    let message = format!("Something went wrong on our side. Reference: {}", visit.reference());
    render::retry_later(error(status, "SystemException", message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_service_root_is_found_in_any_case_and_only_as_a_whole() {
        assert_eq!(below_service_root("/api/domain/odata/Crm_Customers"), Some("Crm_Customers"));
        assert_eq!(below_service_root("/API/Domain/OData/"), Some(""));
        assert_eq!(below_service_root("/api/domain/odata"), Some(""));
        assert_eq!(below_service_root("/api/domain/odatas"), None);
        assert_eq!(below_service_root("/api/domain"), None);
    }
}
