//! `{root}/api`: access control in front of the Domain API. All answers, refusals included, are JSON; nothing
//! redirects.

mod credential;
mod legacy;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use flows::Fault;
use flows::entities::Actor;
use flows::protocol::guard::{ApiCallReport, Caller, GuardRefusal};
use flows::protocol::legacy::LegacyPassword;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use model::Culture;
use model::audit::Asker;
use model::claims::DOMAIN_API;
use model::legacy::LegacyScheme;
use model::refusal::{FailedRequest, Refusal, RefusalDetails};
use model::seat::{FullCeiling, NoSeat};
use model::user::PasswordCredentials;
use oauth::{basic, bearer};

use self::credential::{ApiCredential, credential};
use crate::odata as domain_api;
use crate::request::body;
use crate::request::body::BodyError;
use crate::request::context::{AnyInstance, RequestContext, UncheckedContext};
use crate::request::cors;
use crate::request::cors::CorsReaders;
use crate::request::failures;
use crate::request::render;
use crate::request::scope;
use crate::server::DetachedWork;

const PREFIX: &str = "/api/domain/odata";
const LOGIN: &str = "/api/domain/login";
const LOGOUT: &str = "/api/domain/logout";

/// The largest request body of a write.
const LARGEST_BODY: usize = 1024 * 1024;

pub(crate) fn is_api_path(path: &str) -> bool {
    let rest = path.get(..4).filter(|start| start.eq_ignore_ascii_case("/api")).and_then(|_| path.get(4..));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Fixed segments match in any case, because clients differ in it.
fn below_service_root(path: &str) -> Option<&str> {
    let (start, rest) = path.split_at_checked(PREFIX.len())?;
    let rest = if rest.is_empty() { Some("") } else { rest.strip_prefix('/') };
    rest.filter(|_| start.eq_ignore_ascii_case(PREFIX))
}

/// The kinds of addresses below `/api`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ApiRoute {
    Data,
    Login,
    Logout,
}

impl ApiRoute {
    fn at(path: &str) -> Option<Self> {
        match path {
            _ if path.eq_ignore_ascii_case(LOGIN) => Some(Self::Login),
            _ if path.eq_ignore_ascii_case(LOGOUT) => Some(Self::Logout),
            _ => below_service_root(path).map(|_| Self::Data),
        }
    }
}

/// The authenticated caller, if any, and the outcome of the call.
struct CallOutcome {
    caller: Option<Caller>,
    answer: Result<Result<Response, CallRefusal>, Fault>,
}

/// The reason for which a call was refused before it reached the API.
enum CallRefusal {
    /// RFC 6750 §3.1: no credentials, no error code.
    NoCredential,
    /// Malformed, too long, or more than one credential.
    BadCredential(&'static str),
    Guard(GuardRefusal),
    Body(BodyError),
    /// ErpLogin with a body that is not a login.
    BadLogin(&'static str),
}

/// Answers a call. A read may be cancelled with its connection; a change runs to its end, audit included.
pub(crate) async fn call(context: UncheckedContext, parts: Parts, body: Body, work: Option<DetachedWork>) -> Response {
    let context = match context.believed().await {
        Ok(context) => context,
        Err(refused) => return unbelieved(&refused.0, &parts, &refused.1),
    };
    if parts.method == Method::OPTIONS {
        return cors::preflight(CorsReaders::RegisteredAt(&context), &parts.headers);
    }
    let answerable = match ApiRoute::at(parts.uri.path()) {
        None => Err(nothing_here()),
        Some(ApiRoute::Login | ApiRoute::Logout) if parts.method != Method::POST => Err(legacy::only_post()),
        Some(door) => Ok(door),
    };
    let door = match answerable {
        Ok(door) => door,
        Err(response) => return cors::share(CorsReaders::RegisteredAt(&context), &parts.headers, response),
    };
    if matches!(parts.method, Method::GET | Method::HEAD) {
        guarded(context, door, parts, body).await
    } else {
        scope::finish(work, guarded(context, door, parts, body)).await
    }
}

/// No page may read this answer: the registered origins come from memory too, which may be out of date.
fn unbelieved(context: &UncheckedContext, parts: &Parts, fault: &Fault) -> Response {
    let response = fault_response(context, fault);
    let call = ApiCallReport {
        method: parts.method.as_str(),
        path: parts.uri.path(),
        status: response.status().as_u16(),
        caller: None,
        refused: Some((Asker::Stranger, &FailedRequest)),
    };
    let told = match parts.method {
        Method::OPTIONS => Ok(()),
        _ => context.instance.audit_call(context.now, &context.request, &call),
    };
    render::no_store(match told {
        Ok(()) => response,
        Err(fault) => fault_response(context, &fault),
    })
}

async fn guarded(mut context: RequestContext, door: ApiRoute, parts: Parts, body: Body) -> Response {
    let shown = credential(&parts.headers);
    let is_legacy = door != ApiRoute::Data || shown.as_ref().is_ok_and(ApiCredential::is_legacy);
    let CallOutcome { caller, answer } = match door {
        // Legacy schemes are boxed: their futures are large, and would enlarge the future of every token call.
        ApiRoute::Login => Box::pin(legacy::login(&mut context, &parts.headers, body)).await,
        ApiRoute::Data | ApiRoute::Logout => call_with(&mut context, door, shown, &parts, body).await,
    };
    let asker = match (&caller, &answer) {
        (Some(_), _) => Asker::Authenticated,
        (None, Ok(Err(CallRefusal::Guard(refusal)))) => refusal.asker(),
        (None, _) => Asker::Stranger,
    };
    let (mut response, refused) = match answer {
        Err(fault) => (fault_response(&context, &fault), Some(told(FailedRequest))),
        Ok(Err(refused)) => {
            let mut response = refusal(&context, &refused);
            if door == ApiRoute::Data && asks_for_basic(&context, &parts.headers, &refused) {
                challenge_beside(&mut response, &basic::challenge(&context.instance.info.issuer));
            }
            (response, Some(told(refused)))
        }
        Ok(Ok(mut response)) => {
            let refused = response.extensions_mut().remove::<domain_api::RefusalNote>().map(told);
            (response, refused)
        }
    };
    if is_legacy {
        legacy::announce_sunset(&context, &mut response);
    }
    let call = ApiCallReport {
        method: parts.method.as_str(),
        path: parts.uri.path(),
        status: response.status().as_u16(),
        caller: caller.as_ref(),
        refused: refused.as_deref().map(|refused| -> (Asker, &dyn Refusal) { (asker, refused) }),
    };
    let response = match context.instance.audit_call(context.now, &context.request, &call) {
        Ok(()) => response,
        Err(fault) => fault_response(&context, &fault),
    };
    cors::share(CorsReaders::RegisteredAt(&context), &parts.headers, render::no_store(response))
}

type CallNote = Box<dyn Refusal + Send>;

fn told(refusal: impl Refusal + Send + 'static) -> CallNote {
    Box::new(refusal)
}

async fn call_with(
    context: &mut RequestContext,
    door: ApiRoute,
    shown: Result<ApiCredential, CallRefusal>,
    parts: &Parts,
    body: Body,
) -> CallOutcome {
    let entered = match shown {
        Err(refused) => Ok(Err(refused)),
        Ok(credential) if door == ApiRoute::Logout => Box::pin(legacy::enter_to_leave(context, &credential)).await,
        Ok(credential) => enter(context, &credential, &parts.method).await,
    };
    let caller = match entered {
        Ok(Ok(caller)) => caller,
        Ok(Err(refused)) => return CallOutcome { caller: None, answer: Ok(Err(refused)) },
        Err(fault) => return CallOutcome { caller: None, answer: Err(fault) },
    };
    let answer = match door {
        ApiRoute::Data => answer(context, &caller, parts, body).await,
        ApiRoute::Login | ApiRoute::Logout => Ok(Ok(legacy::left())),
    };
    CallOutcome { caller: Some(caller), answer }
}

async fn enter(
    context: &mut RequestContext,
    credential: &ApiCredential,
    method: &Method,
) -> Result<Result<Caller, CallRefusal>, Fault> {
    let scope = domain_api::required_scope(method);
    let (instance, mut ctx) = context.split();
    let answer = match credential {
        ApiCredential::Token(token) => instance.protocol().authorize_call(&mut ctx, token, DOMAIN_API, scope).await?,
        ApiCredential::Basic(basic, application) => {
            let shown = LegacyPassword {
                scheme: LegacyScheme::Basic,
                credentials: PasswordCredentials { login: &basic.name, password: &basic.password },
                application: application.as_deref(),
            };
            Box::pin(instance.legacy_schemes().authorize_call_by_password(&mut ctx, &shown, scope)).await?
        }
        ApiCredential::ErpSession(session) => {
            Box::pin(instance.legacy_schemes().authorize_call_by_erp_session(&mut ctx, session, Some(scope))).await?
        }
    };
    Ok(answer.map_err(CallRefusal::Guard))
}

/// True if the answer should have a Basic challenge, which some clients wait for. Browsers, known by their fetch
/// metadata, get none: they would show a password prompt that no page of ours explains.
fn asks_for_basic(context: &RequestContext, headers: &HeaderMap, refused: &CallRefusal) -> bool {
    match refused {
        _ if headers.contains_key("sec-fetch-site") => false,
        CallRefusal::Guard(GuardRefusal::Legacy(refusal)) => refusal.is_wrong_password(),
        CallRefusal::NoCredential => credential::application(headers)
            .is_ok_and(|named| context.instance.legacy_schemes().offers_basic(named.as_deref(), context.now)),
        _ => false,
    }
}

async fn answer(
    context: &mut RequestContext,
    caller: &Caller,
    parts: &Parts,
    body: Body,
) -> Result<Result<Response, CallRefusal>, Fault> {
    let body = match parts.method {
        // The body of a read has no meaning (RFC 9110 §9.3.1).
        Method::GET | Method::HEAD => Bytes::new(),
        _ => match body::read(&parts.headers, body, LARGEST_BODY).await {
            Ok(body) => body,
            Err(error) => return Ok(Err(CallRefusal::Body(error))),
        },
    };
    let permissions = caller.permissions();
    let accepted = parts.headers.get(header::ACCEPT_LANGUAGE).map(|value| String::from_utf8_lossy(value.as_bytes()));
    let actor = Actor {
        permissions: &permissions,
        login: caller.user.login.as_str(),
        culture: accepted.and_then(|accepted| Culture::of_accept_language(&accepted)).unwrap_or_default(),
        now: context.now,
    };
    let (instance, ctx) = context.split();
    let asked = domain_api::EntityRequest {
        method: &parts.method,
        path: below_service_root(parts.uri.path()).unwrap_or_default(),
        query: parts.uri.query().unwrap_or_default(),
        headers: &parts.headers,
        body: &body,
        service_root: &instance.info.service_root,
    };
    domain_api::handle(&instance.entities, actor, &asked, ctx.rng).await.map(Ok)
}

impl Refusal for CallRefusal {
    fn cause(&self) -> &'static str {
        match self {
            Self::NoCredential => "no_credential",
            Self::BadCredential(_) => "malformed_credential",
            Self::Guard(refusal) => refusal.cause(),
            Self::Body(_) => "unreadable_body",
            Self::BadLogin(_) => "malformed_login",
        }
    }

    fn details(&self) -> RefusalDetails {
        match self {
            Self::NoCredential => RefusalDetails::new("the call carries a credential", "RFC 6750 §3.1")
                .expected("Authorization", "Bearer …; or X-Api-Key, or Api-Key"),
            Self::BadCredential(what) => {
                RefusalDetails::new("the call carries one well-formed credential", "RFC 6750 §2, §3.1")
                    .sent("problem", what)
            }
            Self::Guard(refusal) => refusal.details(),
            Self::Body(problem) => {
                RefusalDetails::new("the body can be read", "docs/api.md").sent("problem", problem.description())
            }
            Self::BadLogin(what) => {
                RefusalDetails::new("the login has the required members", "docs/api.md, Old clients")
                    .sent("problem", what)
            }
        }
    }
}

/// Names the limit reached, its size, and the time until a seat may become free.
fn no_seat_message(no_seat: &NoSeat, seconds: u64) -> String {
    let (reached, until) = match no_seat {
        NoSeat::Licences { seats, .. } => (format!("All {seats} licence seats are in use."), "when someone signs out"),
        NoSeat::User(FullCeiling { most, .. }) => (
            format!("The user has reached the limit of {most} licence seats per user."),
            "when one of the user's sessions is ended",
        ),
        NoSeat::Application(FullCeiling { most, .. }) => (
            format!("The application has reached the limit of {most} licence seats per application."),
            "when one of its sessions is ended",
        ),
    };
    format!("{reached} One may come free in {seconds} seconds, or earlier {until}.")
}

fn refusal(context: &RequestContext, refused: &CallRefusal) -> Response {
    let realm = &context.instance.info.issuer;
    let challenge = |error: &str, description: &str, scope: Option<&str>| {
        bearer::challenge(realm, Some((error, description)), scope)
    };
    let (status, kind, message, challenge) = match refused {
        CallRefusal::NoCredential => (
            StatusCode::UNAUTHORIZED,
            "AuthenticationException",
            "Send an access token: Authorization: Bearer ….".to_owned(),
            Some(bearer::challenge(realm, None, None)),
        ),
        CallRefusal::BadCredential(what) => (
            StatusCode::BAD_REQUEST,
            "AuthenticationException",
            (*what).to_owned(),
            Some(challenge("invalid_request", what, None)),
        ),
        CallRefusal::Guard(GuardRefusal::Token(refusal)) => (
            StatusCode::UNAUTHORIZED,
            "AuthenticationException",
            refusal.description().to_owned(),
            Some(challenge("invalid_token", refusal.description(), None)),
        ),
        CallRefusal::Guard(GuardRefusal::WrongAudience { .. }) => {
            let what = "the token is not for this API; request one of its scopes";
            let challenge = challenge("invalid_token", what, None);
            (StatusCode::UNAUTHORIZED, "AuthenticationException", what.to_owned(), Some(challenge))
        }
        CallRefusal::Guard(GuardRefusal::NotForCommunityUsers) => {
            let what = "the APIs are not open to community users";
            let challenge = challenge("insufficient_scope", what, None);
            (StatusCode::FORBIDDEN, "AuthorizationException", what.to_owned(), Some(challenge))
        }
        CallRefusal::Guard(GuardRefusal::InsufficientScope { needed, .. }) => {
            let what = format!("the token lacks the scope {needed}");
            let challenge = challenge("insufficient_scope", &what, Some(needed));
            (StatusCode::FORBIDDEN, "AuthorizationException", what, Some(challenge))
        }
        CallRefusal::Guard(GuardRefusal::NoSeat(no_seat)) => {
            let seconds = no_seat.free_at().since(context.now).as_secs() + 1;
            let message = no_seat_message(no_seat, seconds);
            let mut response =
                failures::api_error(StatusCode::TOO_MANY_REQUESTS, "MaximumLicenseCountExceeded", message);
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
            return response;
        }
        CallRefusal::Guard(GuardRefusal::Legacy(refusal)) => return legacy::refusal(realm, refusal),
        CallRefusal::BadLogin(what) => (StatusCode::BAD_REQUEST, "ArgumentException", (*what).to_owned(), None),
        CallRefusal::Body(problem) => {
            return problem.answered(failures::api_error(problem.status(), "ArgumentException", problem.description()));
        }
    };
    let mut response = failures::api_error(status, kind, message);
    if let Some(challenge) = challenge {
        challenge_beside(&mut response, &challenge);
    }
    response
}

/// Adds another challenge (RFC 9110 §11.6.1).
fn challenge_beside(response: &mut Response, challenge: &str) {
    if let Ok(challenge) = HeaderValue::try_from(challenge) {
        response.headers_mut().append(header::WWW_AUTHENTICATE, challenge);
    }
}

fn nothing_here() -> Response {
    failures::api_error(StatusCode::NOT_FOUND, "NotFoundException", "There is no operation at this path.".to_owned())
}

fn fault_response(context: &RequestContext<impl AnyInstance>, fault: &Fault) -> Response {
    failures::api_failure(failures::fault_status(context, fault), &context.reference())
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
        assert!(
            ApiRoute::at("/API/Domain/Login") == Some(ApiRoute::Login)
                && ApiRoute::at("/api/domain/Logout") == Some(ApiRoute::Logout)
        );
        assert!(ApiRoute::at("/api/domain/login/").is_none() && ApiRoute::at("/api/domain/loginx").is_none());
    }
}
