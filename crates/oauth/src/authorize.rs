//! Requests and errors of the authorization endpoint (RFC 6749 §4.1.1, OIDC Core §3.1.2.1).

use std::borrow::Cow;

use crate::client::ClientId;
use crate::params::Params;
use crate::pkce::{Challenge, PkceError};
use crate::scope::Scope;

/// Maximum bytes of `nonce` and of `login_hint`.
pub const MAX_ECHO_BYTES: usize = 2048;

/// The recipient of the response. Errors may be sent there only once the client is known to have registered the URI
/// (RFC 6749 §4.1.2.1).
#[derive(Clone, Debug, PartialEq, Eq)]
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
    pub fn parse(params: &Params) -> Result<Self, TargetError> {
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

/// `response_type`, RFC 6749 §3.1.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseType {
    Code,
}

/// `prompt`, OIDC Core §3.1.2.1: a set; `none` stands alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorizationRequest {
    pub response_type: ResponseType,
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

impl AuthorizationRequest {
    /// Returns the first failing check in this order. `display`, `ui_locales`, `claims_locales`, `acr_values` and
    /// unknown parameters never fail a request.
    pub fn parse(params: &Params) -> Result<Self, AuthorizationError> {
        for check in CHECKS {
            check(params)?;
        }
        let text = |name| params.get(name).map(str::to_owned);
        Ok(Self {
            response_type: ResponseType::Code,
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

    /// The `state` to return with an error, even of a request that [`Self::parse`] refuses. `None` if it is absent or
    /// repeated.
    pub fn returnable_state(params: &Params) -> Option<&str> {
        if params.is_repeated("state") { None } else { params.get("state") }
    }
}

type Check = fn(&Params) -> Result<(), AuthorizationError>;

/// One check per line.
const CHECKS: &[Check] = &[
    nothing_is_repeated,    // RFC 6749 §3.1
    no_request_object,      // OIDC Core §6.1
    no_request_uri,         // OIDC Core §6.2
    response_type_is_code,  // RFC 6749 §3.1.1
    response_mode_is_query, // OAuth 2.0 Multiple Response Type Encoding Practices §2.1
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

fn response_type_is_code(params: &Params) -> Result<(), AuthorizationError> {
    match params.get("response_type") {
        Some("code") => Ok(()),
        Some(_) => {
            Err(AuthorizationError::new(AuthorizationErrorCode::UnsupportedResponseType, "response_type must be code"))
        }
        None => Err(invalid("response_type is missing")),
    }
}

fn response_mode_is_query(params: &Params) -> Result<(), AuthorizationError> {
    match params.get("response_mode") {
        None | Some("query") => Ok(()),
        Some(_) => Err(invalid("response_mode must be query")),
    }
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

/// RFC 6749 §4.1.2.1 and OIDC Core §3.1.2.6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthorizationErrorCode {
    InvalidRequest,
    UnauthorizedClient,
    AccessDenied,
    UnsupportedResponseType,
    InvalidScope,
    ServerError,
    TemporarilyUnavailable,
    InteractionRequired,
    LoginRequired,
    AccountSelectionRequired,
    ConsentRequired,
    InvalidRequestUri,
    InvalidRequestObject,
    RequestNotSupported,
    RequestUriNotSupported,
    RegistrationNotSupported,
}

impl AuthorizationErrorCode {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::AccessDenied => "access_denied",
            Self::UnsupportedResponseType => "unsupported_response_type",
            Self::InvalidScope => "invalid_scope",
            Self::ServerError => "server_error",
            Self::TemporarilyUnavailable => "temporarily_unavailable",
            Self::InteractionRequired => "interaction_required",
            Self::LoginRequired => "login_required",
            Self::AccountSelectionRequired => "account_selection_required",
            Self::ConsentRequired => "consent_required",
            Self::InvalidRequestUri => "invalid_request_uri",
            Self::InvalidRequestObject => "invalid_request_object",
            Self::RequestNotSupported => "request_not_supported",
            Self::RequestUriNotSupported => "request_uri_not_supported",
            Self::RegistrationNotSupported => "registration_not_supported",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {description}", code.as_str())]
pub struct AuthorizationError {
    pub code: AuthorizationErrorCode,
    /// Printable ASCII without `"` and `\` (RFC 6749 §4.1.2.1).
    pub description: Cow<'static, str>,
}

impl AuthorizationError {
    pub fn new(code: AuthorizationErrorCode, description: impl Into<Cow<'static, str>>) -> Self {
        Self { code, description: description.into() }
    }
}

fn invalid(description: impl Into<Cow<'static, str>>) -> AuthorizationError {
    AuthorizationError::new(AuthorizationErrorCode::InvalidRequest, description)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(query: &str) -> Params {
        Params::parse(query.as_bytes()).expect("well-formed")
    }

    fn parse(query: &str) -> Result<AuthorizationRequest, AuthorizationError> {
        AuthorizationRequest::parse(&params(query))
    }

    #[test]
    fn the_target_is_one_client_and_one_redirect_uri() {
        let client_id: ClientId = "app".parse().expect("valid");
        let target = AuthorizationTarget::parse(&params("redirect_uri=https://a/cb?x%3D1&client_id=app&scope=%22"));
        let redirect_uri = "https://a/cb?x=1".to_owned();
        assert_eq!(target, Ok(AuthorizationTarget { client_id: client_id.clone(), redirect_uri }));
        for (query, expected) in [
            ("redirect_uri=https://a", TargetError::ClientIdMissing),
            ("client_id=&redirect_uri=https://a", TargetError::ClientIdMissing),
            ("client_id=%C3%A9&redirect_uri=https://a", TargetError::ClientIdMalformed),
            ("client_id=app&client_id=app&redirect_uri=https://a", TargetError::ClientIdRepeated),
            ("client_id=app", TargetError::RedirectUriMissing { client_id: client_id.clone() }),
            ("client_id=app&redirect_uri=", TargetError::RedirectUriMissing { client_id: client_id.clone() }),
            ("client_id=app&redirect_uri=a&redirect_uri=a", TargetError::RedirectUriRepeated { client_id }),
        ] {
            assert_eq!(AuthorizationTarget::parse(&params(query)), Err(expected), "{query}");
        }
    }

    #[test]
    fn a_whole_request_is_read() {
        let request = parse(
            "response_type=code&scope=openid+read&state=s&nonce=n&code_challenge=c&code_challenge_method=S256\
             &prompt=login+consent&max_age=60&login_hint=alice&ui_locales=de+xx&acr_values=a&id_token_hint=i.d.t\
             &response_mode=query&client_id=app",
        );
        let text = |text: &str| Some(text.to_owned());
        let expected = AuthorizationRequest {
            response_type: ResponseType::Code,
            scope: Some(Scope::parse("openid read").expect("valid")),
            state: text("s"),
            nonce: text("n"),
            code_challenge: text("c"),
            code_challenge_method: text("S256"),
            prompt: Prompt { login: true, consent: true, ..Prompt::default() },
            max_age: Some(60),
            login_hint: text("alice"),
            ui_locales: text("de xx"),
            acr_values: text("a"),
            id_token_hint: text("i.d.t"),
        };
        assert_eq!(request, Ok(expected));
    }

    #[test]
    fn everything_but_the_response_type_may_be_missing() {
        let request = parse("response_type=code&state=").expect("valid");
        assert_eq!((request.scope, request.state, request.max_age), (None, None, None));
        assert_eq!(request.prompt, Prompt::default());
    }

    /// OIDC Core §3.1.2.1: these parameters are preferences.
    #[test]
    fn display_locales_hints_and_unknown_parameters_never_fail() {
        for wish in [
            "display=hologram",
            "ui_locales=%22",
            "claims_locales=zz",
            "acr_values=%C3%A9",
            "login_hint=%C3%A9",
            "unknown=%22",
        ] {
            assert!(parse(&format!("response_type=code&{wish}")).is_ok(), "{wish}");
        }
    }

    #[test]
    fn every_refusal_has_its_code() {
        use AuthorizationErrorCode::{
            InvalidRequest, InvalidScope, RequestNotSupported, RequestUriNotSupported, UnsupportedResponseType,
        };
        let long = |name: &str| format!("response_type=code&{name}={}", "x".repeat(MAX_ECHO_BYTES + 1));
        for (query, code, description) in [
            ("", InvalidRequest, "response_type is missing"),
            ("response_type=", InvalidRequest, "response_type is missing"),
            ("response_type=token", UnsupportedResponseType, "response_type must be code"),
            ("response_type=code+id_token", UnsupportedResponseType, "response_type must be code"),
            ("response_type=code&state=1&state=2", InvalidRequest, "parameter state must not be repeated"),
            ("request=x&request=x", InvalidRequest, "parameter request must not be repeated"),
            ("request=x&request_uri=y", RequestNotSupported, "request objects are not supported"),
            ("request_uri=y&response_type=token", RequestUriNotSupported, "request_uri is not supported"),
            ("response_type=code&response_mode=fragment", InvalidRequest, "response_mode must be query"),
            (
                "response_type=code&prompt=none+login",
                InvalidRequest,
                "prompt=none cannot be combined with other values",
            ),
            (
                "response_type=code&prompt=select_account+none",
                InvalidRequest,
                "prompt=none cannot be combined with other values",
            ),
            (
                "response_type=code&prompt=create",
                InvalidRequest,
                "prompt must be none, or any of login, consent and select_account",
            ),
            ("response_type=code&max_age=-1", InvalidRequest, "max_age must be a number of seconds"),
            ("response_type=code&max_age=%2B1", InvalidRequest, "max_age must be a number of seconds"),
            ("response_type=code&max_age=1.5", InvalidRequest, "max_age must be a number of seconds"),
            ("response_type=code&max_age=99999999999999999999", InvalidRequest, "max_age must be a number of seconds"),
            (
                "response_type=code&scope=%22",
                InvalidScope,
                "scope contains a character that RFC 6749 section 3.3 does not allow",
            ),
            (&long("nonce"), InvalidRequest, "nonce is longer than 2048 bytes"),
            (&long("login_hint"), InvalidRequest, "login_hint is longer than 2048 bytes"),
        ] {
            let error = parse(query).expect_err(query);
            assert_eq!((error.code, &*error.description), (code, description), "{query:.80}");
        }
    }

    #[test]
    fn state_goes_back_with_an_error_if_it_was_sent_once() {
        let long = "é".repeat(crate::params::MAX_VALUE / 2);
        for (query, expected) in [
            ("state=s&scope=%22".to_owned(), Some("s")),
            ("scope=read".to_owned(), None),
            ("state=".to_owned(), None),
            ("state=a&state=a".to_owned(), None),
            (format!("state={long}"), Some(long.as_str())),
        ] {
            assert_eq!(AuthorizationRequest::returnable_state(&params(&query)), expected);
        }
    }

    #[test]
    fn prompt_is_a_set() {
        let prompt = |text| Prompt::parse(text).expect("valid");
        assert_eq!(prompt("none"), Prompt { none: true, ..Prompt::default() });
        assert_eq!(prompt("login login"), Prompt { login: true, ..Prompt::default() });
        let all = Prompt { none: false, login: true, consent: true, select_account: true };
        assert_eq!(prompt("select_account consent login"), all);
    }

    #[test]
    fn the_challenge_is_judged_by_its_own_rules() {
        let of = |query: &str| parse(&format!("response_type=code{query}")).expect("valid").challenge();
        assert_eq!(of(""), Ok(None));
        assert_eq!(of("&code_challenge_method=S256"), Err(PkceError::ChallengeMissing));
        assert_eq!(of("&code_challenge=x"), Err(PkceError::MethodMissing));
        let sent = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
        let challenge = of(&format!("&code_challenge={sent}&code_challenge_method=S256"));
        assert_eq!(challenge, Challenge::parse(Some(sent), Some("S256")));
    }

    #[test]
    fn error_codes_are_written_as_registered() {
        use AuthorizationErrorCode as Code;
        for (code, text) in [
            (Code::InvalidRequest, "invalid_request"),
            (Code::UnauthorizedClient, "unauthorized_client"),
            (Code::AccessDenied, "access_denied"),
            (Code::UnsupportedResponseType, "unsupported_response_type"),
            (Code::InvalidScope, "invalid_scope"),
            (Code::ServerError, "server_error"),
            (Code::TemporarilyUnavailable, "temporarily_unavailable"),
            (Code::InteractionRequired, "interaction_required"),
            (Code::LoginRequired, "login_required"),
            (Code::AccountSelectionRequired, "account_selection_required"),
            (Code::ConsentRequired, "consent_required"),
            (Code::InvalidRequestUri, "invalid_request_uri"),
            (Code::InvalidRequestObject, "invalid_request_object"),
            (Code::RequestNotSupported, "request_not_supported"),
            (Code::RequestUriNotSupported, "request_uri_not_supported"),
            (Code::RegistrationNotSupported, "registration_not_supported"),
        ] {
            assert_eq!(code.as_str(), text);
        }
    }
}
