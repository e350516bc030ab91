//! Requests and errors of the authorization endpoint (RFC 6749 §4.1.1, OIDC Core §3.1.2.1).

mod response;

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

pub use self::response::{
    AuthorizationError, AuthorizationErrorCode, AuthorizationResponse, ResponseMode, ResponseType,
};
use crate::client::ClientId;
use crate::params::Params;
use crate::pkce::{Challenge, PkceError};
use crate::scope::Scope;

/// Maximum bytes of `nonce` and of `login_hint`.
pub const MAX_ECHO_BYTES: usize = 2048;

/// The recipient of the response. Errors may be sent there only once the client is known to have registered the URI
/// (RFC 6749 §4.1.2.1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthorizationTarget {
    pub client_id: ClientId,
    /// As presented, to be compared with the registered ones.
    pub redirect_uri: String,
}

/// Why a response has no recipient.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    #[error("client_id is missing")]
    ClientIdMissing,
    #[error("client_id is malformed")]
    ClientIdMalformed,
    #[error("client_id must not be repeated")]
    ClientIdRepeated,
    #[error("redirect_uri is missing")]
    RedirectUriMissing { client_id: ClientId },
    #[error("redirect_uri must not be repeated")]
    RedirectUriRepeated { client_id: ClientId },
}

impl AuthorizationTarget {
    fn parse(params: &Params) -> Result<Self, TargetError> {
        if params.is_repeated("client_id") {
            return Err(TargetError::ClientIdRepeated);
        }
        let client_id = params.get("client_id").ok_or(TargetError::ClientIdMissing)?;
        let client_id: ClientId = client_id.parse().map_err(|_| TargetError::ClientIdMalformed)?;
        if params.is_repeated("redirect_uri") {
            return Err(TargetError::RedirectUriRepeated { client_id });
        }
        match params.get("redirect_uri") {
            Some(uri) => Ok(Self { client_id, redirect_uri: uri.to_owned() }),
            None => Err(TargetError::RedirectUriMissing { client_id }),
        }
    }
}

/// `prompt`, OIDC Core §3.1.2.1: a set; `none` stands alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "a set of the four values that there are")]
pub struct Prompt {
    pub none: bool,
    pub login: bool,
    pub consent: bool,
    pub select_account: bool,
}

impl Prompt {
    pub fn parse(text: &str) -> Result<Self, AuthorizationError> {
        let mut prompt = Self::default();
        for value in text.split(' ').filter(|value| !value.is_empty()) {
            match value {
                "none" => prompt.none = true,
                "login" => prompt.login = true,
                "consent" => prompt.consent = true,
                "select_account" => prompt.select_account = true,
                _ => {
                    return Err(invalid("prompt must be none, or any of login, consent and select_account"));
                }
            }
        }
        if prompt.none && (prompt.login || prompt.consent || prompt.select_account) {
            return Err(invalid("prompt=none cannot be combined with other values"));
        }
        Ok(prompt)
    }
}

/// An authorization request with well-formed parameters. Whether it may be granted is not decided here.
///
/// It is serialized while its user signs in, so members are only ever added, and may be missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthorizationRequest {
    pub target: AuthorizationTarget,
    pub response_type: ResponseType,
    pub response_mode: ResponseMode,
    pub scope: Option<Scope>,
    pub state: Option<String>,
    pub nonce: Option<String>,
    /// As sent; see [`Self::challenge`].
    pub code_challenge: Option<String>,
    /// As sent; see [`Self::challenge`].
    pub code_challenge_method: Option<String>,
    pub prompt: Prompt,
    /// Seconds.
    pub max_age: Option<u64>,
    pub login_hint: Option<String>,
    pub ui_locales: Option<String>,
    pub acr_values: Option<String>,
    pub id_token_hint: Option<String>,
}

/// Why a request cannot be parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MalformedAuthorizationRequest {
    /// The error has no recipient.
    Target(TargetError),
    /// The error may be returned to the client, once its redirect URI is verified.
    Parameters(Box<MalformedParameters>),
}

/// A request whose recipient is well-formed, and another parameter is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MalformedParameters {
    pub target: AuthorizationTarget,
    pub response_mode: ResponseMode,
    /// To be returned. `None` if it is absent or repeated.
    pub state: Option<String>,
    pub error: AuthorizationError,
    pub sent: SentParameters,
}

/// Parameters of the request that may be recorded: those that identify no person and hold no secret.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SentParameters(Vec<(&'static str, String)>);

impl SentParameters {
    fn of(params: &Params) -> Self {
        const RECORDED: [&str; 8] = [
            "response_type",
            "response_mode",
            "scope",
            "prompt",
            "max_age",
            "code_challenge",
            "code_challenge_method",
            "acr_values",
        ];
        Self(RECORDED.iter().filter_map(|name| Some((*name, params.get(name)?.to_owned()))).collect())
    }

    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0.iter().map(|(name, value)| (*name, value.as_str()))
    }
}

impl AuthorizationRequest {
    /// Returns the first failing check in this order. `display`, `ui_locales`, `claims_locales`, `acr_values` and
    /// unknown parameters never fail a request.
    pub fn parse(params: &Params) -> Result<Self, MalformedAuthorizationRequest> {
        let target = AuthorizationTarget::parse(params).map_err(MalformedAuthorizationRequest::Target)?;
        Self::parse_parameters(target.clone(), params).map_err(|error| {
            let state = if params.is_repeated("state") { None } else { params.get("state").map(str::to_owned) };
            let (response_mode, sent) = (ResponseMode::of_refusal(params), SentParameters::of(params));
            let malformed = MalformedParameters { target, response_mode, state, error, sent };
            MalformedAuthorizationRequest::Parameters(Box::new(malformed))
        })
    }

    fn parse_parameters(target: AuthorizationTarget, params: &Params) -> Result<Self, AuthorizationError> {
        for check in CHECKS {
            check(params)?;
        }
        let text = |name| params.get(name).map(str::to_owned);
        let response_type = ResponseType::of(params)?;
        Ok(Self {
            target,
            response_type,
            response_mode: ResponseMode::of(params, response_type)?,
            prompt: params.get("prompt").map(Prompt::parse).transpose()?.unwrap_or_default(),
            max_age: max_age(params)?,
            scope: scope(params)?,
            state: text("state"),
            nonce: echo(params, "nonce")?,
            login_hint: echo(params, "login_hint")?,
            code_challenge: text("code_challenge"),
            code_challenge_method: text("code_challenge_method"),
            ui_locales: text("ui_locales"),
            acr_values: text("acr_values"),
            id_token_hint: text("id_token_hint"),
        })
    }

    /// RFC 7636 §4.3.
    pub fn challenge(&self) -> Result<Option<Challenge>, PkceError> {
        Challenge::parse(self.code_challenge.as_deref(), self.code_challenge_method.as_deref())
    }

    /// The parameters of PKCE as sent.
    pub fn sent_challenge(&self) -> SentParameters {
        let sent = [("code_challenge", &self.code_challenge), ("code_challenge_method", &self.code_challenge_method)];
        SentParameters(sent.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))).collect())
    }
}

type Check = fn(&Params) -> Result<(), AuthorizationError>;

/// One check per line.
const CHECKS: &[Check] = &[
    nothing_is_repeated,                 // RFC 6749 §3.1
    no_request_object,                   // OIDC Core §6.1
    no_request_uri,                      // OIDC Core §6.2
    response_type_is_known,              // RFC 6749 §3.1.1, Multiple Response Types §3
    response_mode_fits_the_type,         // Multiple Response Types §2.1, §5, Form Post §2
    nonce_is_sent_for_an_id_token,       // OIDC Core §3.2.2.1, §3.3.2.11
    openid_is_requested_for_an_id_token, // OIDC Core §3.1.2.1
];

fn nothing_is_repeated(params: &Params) -> Result<(), AuthorizationError> {
    params.repetition().map_or(Ok(()), |description| Err(invalid(description)))
}

fn no_request_object(params: &Params) -> Result<(), AuthorizationError> {
    absent(params, "request", AuthorizationErrorCode::RequestNotSupported, "request objects are not supported")
}

fn no_request_uri(params: &Params) -> Result<(), AuthorizationError> {
    absent(params, "request_uri", AuthorizationErrorCode::RequestUriNotSupported, "request_uri is not supported")
}

fn response_type_is_known(params: &Params) -> Result<(), AuthorizationError> {
    ResponseType::of(params).map(|_| ())
}

fn response_mode_fits_the_type(params: &Params) -> Result<(), AuthorizationError> {
    ResponseMode::of(params, ResponseType::of(params)?).map(|_| ())
}

fn nonce_is_sent_for_an_id_token(params: &Params) -> Result<(), AuthorizationError> {
    if ResponseType::of(params)?.has_id_token() && params.get("nonce").is_none() {
        return Err(invalid("nonce is required, because response_type contains id_token"));
    }
    Ok(())
}

fn openid_is_requested_for_an_id_token(params: &Params) -> Result<(), AuthorizationError> {
    let has_openid = params.get("scope").is_some_and(|scope| scope.split(' ').any(|token| token == "openid"));
    if ResponseType::of(params)?.has_id_token() && !has_openid {
        return Err(invalid("scope must contain openid, because response_type contains id_token"));
    }
    Ok(())
}

fn absent(
    params: &Params,
    name: &str,
    code: AuthorizationErrorCode,
    description: &'static str,
) -> Result<(), AuthorizationError> {
    params.get(name).map_or(Ok(()), |_| Err(AuthorizationError::new(code, description)))
}

fn max_age(params: &Params) -> Result<Option<u64>, AuthorizationError> {
    let Some(text) = params.get("max_age") else {
        return Ok(None);
    };
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let seconds = if digits { text.parse().ok() } else { None };
    seconds.map(Some).ok_or_else(|| invalid("max_age must be a number of seconds"))
}

fn scope(params: &Params) -> Result<Option<Scope>, AuthorizationError> {
    let parsed = params.get("scope").map(Scope::parse).transpose();
    parsed.map_err(|error| AuthorizationError::new(AuthorizationErrorCode::InvalidScope, error.to_string()))
}

fn echo(params: &Params, name: &str) -> Result<Option<String>, AuthorizationError> {
    match params.get(name) {
        Some(text) if text.len() > MAX_ECHO_BYTES => {
            Err(invalid(format!("{name} is longer than {MAX_ECHO_BYTES} bytes")))
        }
        value => Ok(value.map(str::to_owned)),
    }
}

fn invalid(description: impl Into<Cow<'static, str>>) -> AuthorizationError {
    AuthorizationError::new(AuthorizationErrorCode::InvalidRequest, description)
}

#[cfg(test)]
mod tests;
