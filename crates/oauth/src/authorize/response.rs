//! Responses of the authorization endpoint (RFC 6749 §4.1.2, OIDC Core §3.1.2.5).

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::params::Params;
use crate::redirect::{with_fragment, with_params};

/// `response_type`: what the response contains (RFC 6749 §3.1.1, OAuth 2.0 Multiple Response Type Encoding Practices §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResponseType {
    Code,
    CodeIdToken,
    /// Only with [`ResponseMode::FormPost`], so that no ID token stays in a browser's history.
    IdToken,
}

impl ResponseType {
    /// `response_types_supported`, RFC 8414 §2.
    pub const ALL: [Self; 3] = [Self::Code, Self::CodeIdToken, Self::IdToken];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Code => "code",
            Self::CodeIdToken => "code id_token",
            Self::IdToken => "id_token",
        }
    }

    /// The order of the words is of no importance (RFC 6749 §3.1.1).
    pub fn parse(text: &str) -> Option<Self> {
        let words = |text: &str| {
            let mut words: Vec<String> = text.split(' ').map(str::to_owned).collect();
            words.sort_unstable();
            words
        };
        Self::ALL.into_iter().find(|known| words(known.as_str()) == words(text))
    }

    pub(super) fn of(params: &Params) -> Result<Self, AuthorizationError> {
        let sent = params.get("response_type").ok_or_else(|| {
            AuthorizationError::new(AuthorizationErrorCode::InvalidRequest, "response_type is missing")
        })?;
        Self::parse(sent).ok_or_else(|| {
            AuthorizationError::new(
                AuthorizationErrorCode::UnsupportedResponseType,
                "response_type must be code, code id_token or id_token",
            )
        })
    }

    pub const fn has_code(self) -> bool {
        matches!(self, Self::Code | Self::CodeIdToken)
    }

    pub const fn has_id_token(self) -> bool {
        matches!(self, Self::CodeIdToken | Self::IdToken)
    }
}

/// `response_mode`: how the response reaches the client (OAuth 2.0 Multiple Response Type Encoding Practices §2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResponseMode {
    /// In the query of the redirect URI.
    Query,
    /// In the fragment of the redirect URI.
    Fragment,
    /// In a form that the browser posts to the redirect URI (OAuth 2.0 Form Post Response Mode §2).
    FormPost,
}

impl ResponseMode {
    /// `response_modes_supported`, RFC 8414 §2.
    pub const ALL: [Self; 3] = [Self::Query, Self::Fragment, Self::FormPost];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Query => "query",
            Self::Fragment => "fragment",
            Self::FormPost => "form_post",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.as_str() == text)
    }

    /// A token never goes into a query (Multiple Response Types §3, §5), and an ID token alone only into a form.
    pub(super) fn of(params: &Params, response_type: ResponseType) -> Result<Self, AuthorizationError> {
        let invalid = |description| AuthorizationError::new(AuthorizationErrorCode::InvalidRequest, description);
        let default = if response_type.has_id_token() { Self::Fragment } else { Self::Query };
        let mode = match params.get("response_mode") {
            None => default,
            Some(sent) => {
                Self::parse(sent).ok_or_else(|| invalid("response_mode must be query, fragment or form_post"))?
            }
        };
        match (response_type, mode) {
            (ResponseType::IdToken, Self::Query | Self::Fragment) => {
                Err(invalid("response_type id_token requires response_mode form_post"))
            }
            (ResponseType::CodeIdToken, Self::Query) => {
                Err(invalid("response_type code id_token requires response_mode fragment or form_post"))
            }
            _ => Ok(mode),
        }
    }

    /// How an error returns if the request is malformed: as its response would have.
    pub(super) fn of_refusal(params: &Params) -> Self {
        let once = |name| if params.is_repeated(name) { None } else { params.get(name) };
        let is_token = |word: &str| matches!(word, "token" | "id_token");
        let has_token = once("response_type").is_some_and(|sent| sent.split(' ').any(is_token));
        match once("response_mode").and_then(Self::parse) {
            Some(Self::FormPost) => Self::FormPost,
            Some(Self::Fragment) => Self::Fragment,
            Some(Self::Query) | None if has_token => Self::Fragment,
            Some(Self::Query) | None => Self::Query,
        }
    }
}

/// A code or an error for the client.
#[derive(PartialEq, Eq)]
pub struct AuthorizationResponse {
    pub mode: ResponseMode,
    /// Verified to be the client's.
    pub redirect_uri: String,
    /// Each name once.
    pub parameters: Vec<(&'static str, String)>,
}

impl AuthorizationResponse {
    /// The redirect URI with the parameters in its query.
    pub fn in_query(&self) -> String {
        with_params(&self.redirect_uri, &self.pairs())
    }

    /// The redirect URI with the parameters in its fragment.
    pub fn in_fragment(&self) -> String {
        with_fragment(&self.redirect_uri, &self.pairs())
    }

    fn pairs(&self) -> Vec<(&'static str, &str)> {
        self.parameters.iter().map(|(name, value)| (*name, value.as_str())).collect()
    }
}

/// Prints no values: one may be a code.
impl fmt::Debug for AuthorizationResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.parameters.iter().map(|(name, _)| name).collect();
        f.debug_struct("AuthorizationResponse").field("mode", &self.mode).field("names", &names).finish_non_exhaustive()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_type_is_a_set_of_words() {
        for (text, expected) in [
            ("code", Some(ResponseType::Code)),
            ("code id_token", Some(ResponseType::CodeIdToken)),
            ("id_token code", Some(ResponseType::CodeIdToken)),
            ("id_token", Some(ResponseType::IdToken)),
            ("code code", None),
            ("code  id_token", None),
            ("token", None),
            ("code token", None),
            ("none", None),
            ("Code", None),
        ] {
            assert_eq!(ResponseType::parse(text), expected, "{text}");
        }
    }

    #[test]
    fn a_response_in_the_fragment_keeps_the_query_of_its_uri() {
        let response = AuthorizationResponse {
            mode: ResponseMode::Fragment,
            redirect_uri: "https://app.example.com/cb?x=1".to_owned(),
            parameters: vec![("code", "a b".to_owned()), ("state", "&".to_owned())],
        };
        assert_eq!(response.in_fragment(), "https://app.example.com/cb?x=1#code=a+b&state=%26");
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
