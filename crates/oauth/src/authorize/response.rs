//! Responses of the authorization endpoint (RFC 6749 §4.1.2, OIDC Core §3.1.2.5).

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::redirect::with_params;

/// `response_mode`: how the response reaches the client (OAuth 2.0 Multiple Response Type Encoding Practices §2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResponseMode {
    /// In the query of the redirect URI.
    Query,
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
        let parameters: Vec<_> = self.parameters.iter().map(|(name, value)| (*name, value.as_str())).collect();
        with_params(&self.redirect_uri, &parameters)
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
