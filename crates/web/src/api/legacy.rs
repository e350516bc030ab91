//! ErpLogin (`domain-api.md` §1.9), and the answers and refusals of the legacy schemes.

use axum::body::Body;
use axum::response::Response;
use flows::Fault;
use flows::protocol::guard::Caller;
use flows::protocol::legacy::LegacyPassword;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use jiff::fmt::rfc2822::DateTimePrinter;
use model::legacy::{LegacyRefusal, LegacyScheme};
use model::user::{Password, PasswordCredentials};
use oauth::bearer;
use oauth::secret::Presented;
use serde::Deserialize;
use serde_json::json;

use crate::api::credential::ApiCredential;
use crate::api::{CallOutcome, CallRefusal, challenge_beside};
use crate::request::body;
use crate::request::context::RequestContext;
use crate::request::failures::api_error;
use crate::request::render;

const LARGEST_LOGIN: usize = 8 * 1024;

/// The members in use. The language (`lang`, in older clients `ln`) is ignored: every text is in English. Other members
/// of old clients are ignored too.
#[derive(Deserialize)]
struct LoginBody {
    user: Option<String>,
    pass: Option<String>,
    app: Option<String>,
}

pub(super) async fn login(context: &mut RequestContext, headers: &HeaderMap, body: Body) -> CallOutcome {
    match read_login(headers, body).await {
        Err(refused) => CallOutcome { caller: None, answer: Ok(Err(refused)) },
        Ok((login, password, application)) => {
            let shown = LegacyPassword {
                scheme: LegacyScheme::ErpLogin,
                credentials: PasswordCredentials { login: &login, password: &password },
                application: application.as_deref(),
            };
            let (instance, mut ctx) = context.split();
            match instance.legacy_schemes().erp_login(&mut ctx, &shown).await {
                Err(fault) => CallOutcome { caller: None, answer: Err(fault) },
                Ok(Err(refusal)) => CallOutcome { caller: None, answer: Ok(Err(CallRefusal::Guard(refusal))) },
                Ok(Ok((caller, session))) => {
                    // Old clients cut the text at its first colon: one member, no spaces, no colon in the id.
                    let text = json!({ "authorization": format!("ErpSession {}", session.expose()) });
                    let answer = Ok(Ok(render::json(StatusCode::OK, &text)));
                    CallOutcome { caller: Some(caller), answer }
                }
            }
        }
    }
}

async fn read_login(
    headers: &HeaderMap,
    body: Body,
) -> Result<(String, Presented<Password>, Option<String>), CallRefusal> {
    let bytes = body::read(headers, body, LARGEST_LOGIN).await.map_err(CallRefusal::Body)?;
    let login = parse_login(&bytes)
        .ok_or(CallRefusal::BadLogin("Send a JSON object with the string members user, pass and app, each once."))?;
    let (Some(user), Some(pass)) = (login.user, login.pass) else {
        return Err(CallRefusal::BadLogin("The members user and pass are required."));
    };
    Ok((user, Presented::new(pass), login.app.filter(|app| !app.is_empty())))
}

/// Maximum brackets and braces of a body in the notation of scripts, whose parser does not limit nesting.
const MAX_BRACKETS: usize = 64;

/// JSON; otherwise the notation of scripts, which clients send whose authors wrote the body by hand:
/// `{app:'my.app',user:'alice',pass:'…'}`. Both refuse a member that is repeated.
fn parse_login(bytes: &[u8]) -> Option<LoginBody> {
    serde_json::from_slice(bytes).ok().or_else(|| {
        let text = std::str::from_utf8(bytes).ok()?;
        let is_shallow = text.bytes().filter(|byte| matches!(byte, b'[' | b'{')).count() <= MAX_BRACKETS;
        if is_shallow { json5::from_str(text).ok() } else { None }
    })
}

/// Authorizes a logout. It requires a live ErpSession and no scope.
pub(super) async fn enter_to_leave(
    context: &mut RequestContext,
    credential: &ApiCredential,
) -> Result<Result<Caller, CallRefusal>, Fault> {
    let ApiCredential::ErpSession(session) = credential else {
        return Ok(Err(CallRefusal::NoCredential));
    };
    let (instance, mut ctx) = context.split();
    let answer = instance.legacy_schemes().authorize_call_by_erp_session(&mut ctx, session, None).await?;
    Ok(answer.map_err(CallRefusal::Guard))
}

/// Answers a logout. The session is left to its idle timer, because ErpLogin may have given the same id to others.
pub(super) fn left() -> Response {
    render::json(StatusCode::OK, &json!({}))
}

pub(super) fn only_post() -> Response {
    let mut response =
        api_error(StatusCode::METHOD_NOT_ALLOWED, "NotSupportedException", "Use POST for this resource.".to_owned());
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST, OPTIONS"));
    response
}

/// 401 with a challenge that names the accepted scheme (RFC 9110 §15.5.2), or 429.
pub(super) fn refusal(realm: &str, refusal: &LegacyRefusal) -> Response {
    let status = match refusal.wait() {
        Some(_) => StatusCode::TOO_MANY_REQUESTS,
        None => StatusCode::UNAUTHORIZED,
    };
    let mut response = api_error(status, "AuthenticationException", refusal.description());
    if let Some(wait) = refusal.wait() {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs() + 1));
    } else {
        challenge_beside(&mut response, &bearer::challenge(realm, None, None));
    }
    response
}

/// RFC 8594 §3: adds the date on which the legacy schemes end, if one is set.
pub(super) fn announce_sunset(context: &RequestContext, response: &mut Response) {
    const SUNSET: HeaderName = HeaderName::from_static("sunset");
    let Some(day) = context.instance.settings().legacy_sunset else { return };
    let begins = jiff::Timestamp::from_microsecond(day.begins().micros()).ok();
    let text = begins.and_then(|begins| DateTimePrinter::new().timestamp_to_rfc9110_string(&begins).ok());
    if let Some(Ok(value)) = text.map(HeaderValue::try_from) {
        response.headers_mut().insert(SUNSET, value);
    }
}
