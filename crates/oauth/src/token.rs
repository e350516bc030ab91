//! Requests and responses of the token endpoint (RFC 6749 §4.1.3, §4.4.2, §5, §6).

use std::borrow::Cow;

use serde::{Serialize, Serializer};

use crate::params::Params;
use crate::pkce::Verifier;
use crate::scope::Scope;
use crate::secret::{AccessToken, AuthorizationCode, Presented, RefreshToken};

/// The grant to be exchanged for tokens. Client authentication is parsed separately, by
/// [`crate::client::ClientCredentials`].
#[derive(Debug)]
pub enum TokenRequest {
    /// RFC 6749 §4.1.3, RFC 7636 §4.5.
    AuthorizationCode { code: Presented<AuthorizationCode>, redirect_uri: Option<String>, verifier: Option<Verifier> },
    /// RFC 6749 §4.4.2.
    ClientCredentials { scope: Option<Scope> },
    /// RFC 6749 §6.
    RefreshToken { refresh_token: Presented<RefreshToken>, scope: Option<Scope> },
}

impl TokenRequest {
    pub fn parse(params: &Params) -> Result<Self, TokenError> {
        if let Some(description) = params.repetition() {
            return Err(TokenError::new(TokenErrorCode::InvalidRequest, description));
        }
        match required(params, "grant_type")? {
            "authorization_code" => Ok(Self::AuthorizationCode {
                code: Presented::new(required(params, "code")?),
                redirect_uri: params.get("redirect_uri").map(str::to_owned),
                verifier: verifier(params)?,
            }),
            "client_credentials" => Ok(Self::ClientCredentials { scope: scope(params)? }),
            "refresh_token" => Ok(Self::RefreshToken {
                refresh_token: Presented::new(required(params, "refresh_token")?),
                scope: scope(params)?,
            }),
            _ => Err(TokenError::new(
                TokenErrorCode::UnsupportedGrantType,
                "unsupported grant_type; use authorization_code, refresh_token or client_credentials",
            )),
        }
    }

    /// `grant_type` on the wire.
    pub const fn grant_type(&self) -> &'static str {
        match self {
            Self::AuthorizationCode { .. } => "authorization_code",
            Self::ClientCredentials { .. } => "client_credentials",
            Self::RefreshToken { .. } => "refresh_token",
        }
    }
}

fn required<'a>(params: &'a Params, name: &str) -> Result<&'a str, TokenError> {
    params.get(name).ok_or_else(|| TokenError::new(TokenErrorCode::InvalidRequest, format!("{name} is missing")))
}

fn scope(params: &Params) -> Result<Option<Scope>, TokenError> {
    let parsed = params.get("scope").map(Scope::parse).transpose();
    parsed.map_err(|error| TokenError::new(TokenErrorCode::InvalidScope, error.to_string()))
}

/// A verifier outside the grammar cannot match, so it is refused like a wrong one (RFC 7636 §4.6).
fn verifier(params: &Params) -> Result<Option<Verifier>, TokenError> {
    let parsed = params.get("code_verifier").map(Verifier::parse).transpose();
    parsed.map_err(|_| TokenError::new(TokenErrorCode::InvalidGrant, "PKCE verification failed"))
}

/// RFC 6749 §5.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenErrorCode {
    InvalidRequest,
    InvalidClient,
    InvalidGrant,
    UnauthorizedClient,
    UnsupportedGrantType,
    InvalidScope,
}

impl TokenErrorCode {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidClient => "invalid_client",
            Self::InvalidGrant => "invalid_grant",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::InvalidScope => "invalid_scope",
        }
    }

    /// HTTP status: 401 (with `WWW-Authenticate`) if client authentication failed, else 400.
    pub const fn status(self) -> u16 {
        match self {
            Self::InvalidClient => 401,
            _ => 400,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {description}", code.as_str())]
pub struct TokenError {
    pub code: TokenErrorCode,
    /// Printable ASCII without `"` and `\` (RFC 6749 §5.2).
    pub description: Cow<'static, str>,
}

impl TokenError {
    pub fn new(code: TokenErrorCode, description: impl Into<Cow<'static, str>>) -> Self {
        Self { code, description: description.into() }
    }

    pub fn body(&self) -> ErrorBody<'_> {
        ErrorBody { error: self.code.as_str(), error_description: &self.description }
    }
}

/// The error response of RFC 6749 §5.2 in JSON.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct ErrorBody<'a> {
    pub error: &'a str,
    pub error_description: &'a str,
}

/// The success response of RFC 6749 §5.1 in JSON. `id_token` is from OIDC Core §3.1.3.3.
#[derive(Serialize)]
pub struct TokenResponse {
    #[serde(serialize_with = "exposed")]
    pub access_token: Presented<AccessToken>,
    pub token_type: &'static str,
    /// Seconds.
    pub expires_in: u64,
    pub scope: String,
    #[serde(serialize_with = "exposed_option", skip_serializing_if = "Option::is_none")]
    pub refresh_token: Option<Presented<RefreshToken>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id_token: Option<String>,
}

fn exposed<K, S: Serializer>(secret: &Presented<K>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(secret.expose())
}

#[expect(clippy::ref_option, reason = "serde calls it with a reference to the field")]
fn exposed_option<K, S: Serializer>(secret: &Option<Presented<K>>, serializer: S) -> Result<S::Ok, S::Error> {
    secret.as_ref().map(Presented::expose).serialize(serializer)
}

#[cfg(test)]
mod tests {
    use super::*;

    const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

    fn parse(body: &str) -> Result<TokenRequest, TokenError> {
        TokenRequest::parse(&Params::parse(body.as_bytes()).expect("well-formed"))
    }

    #[test]
    fn a_code_is_exchanged_with_what_belongs_to_it() {
        let body =
            format!("grant_type=authorization_code&code=c&redirect_uri=https://a/cb&code_verifier={VERIFIER}&x=1");
        let Ok(TokenRequest::AuthorizationCode { code, redirect_uri, verifier }) = parse(&body) else {
            panic!("must be a code exchange")
        };
        assert_eq!((code.expose(), redirect_uri.as_deref()), ("c", Some("https://a/cb")));
        assert!(verifier.is_some());
        assert!(matches!(
            parse("grant_type=authorization_code&code=c"),
            Ok(TokenRequest::AuthorizationCode { redirect_uri: None, verifier: None, .. })
        ));
    }

    #[test]
    fn the_other_grants_carry_an_optional_scope() {
        let read = Scope::parse("read").expect("valid");
        for (body, grant_type, expected) in [
            ("grant_type=client_credentials", "client_credentials", None),
            ("grant_type=client_credentials&scope=read", "client_credentials", Some(&read)),
            ("grant_type=client_credentials&scope=", "client_credentials", None),
            ("grant_type=refresh_token&refresh_token=r", "refresh_token", None),
            ("grant_type=refresh_token&refresh_token=r&scope=read", "refresh_token", Some(&read)),
        ] {
            let request = parse(body).expect("valid");
            assert_eq!(request.grant_type(), grant_type);
            let (TokenRequest::ClientCredentials { scope } | TokenRequest::RefreshToken { scope, .. }) = request else {
                panic!("{body} carries a scope")
            };
            assert_eq!(scope.as_ref(), expected, "{body}");
        }
    }

    /// RFC 6749 §5.2.
    #[test]
    fn every_refusal_has_its_code_and_names_the_parameter() {
        use TokenErrorCode::{InvalidGrant, InvalidRequest, InvalidScope, UnsupportedGrantType};
        for (body, code, description) in [
            ("", InvalidRequest, "grant_type is missing"),
            ("grant_type=", InvalidRequest, "grant_type is missing"),
            (
                "grant_type=refresh_token&grant_type=refresh_token",
                InvalidRequest,
                "parameter grant_type must not be repeated",
            ),
            ("grant_type=client_credentials&x=1&x=2", InvalidRequest, "parameter x must not be repeated"),
            (
                "grant_type=password&username=u&password=p",
                UnsupportedGrantType,
                "unsupported grant_type; use authorization_code, refresh_token or client_credentials",
            ),
            (
                "grant_type=Refresh_Token",
                UnsupportedGrantType,
                "unsupported grant_type; use authorization_code, refresh_token or client_credentials",
            ),
            ("grant_type=authorization_code", InvalidRequest, "code is missing"),
            ("grant_type=refresh_token", InvalidRequest, "refresh_token is missing"),
            ("grant_type=authorization_code&code=c&code_verifier=short", InvalidGrant, "PKCE verification failed"),
            (
                "grant_type=client_credentials&scope=a%22",
                InvalidScope,
                "scope contains a character that RFC 6749 section 3.3 does not allow",
            ),
            (
                "grant_type=refresh_token&refresh_token=r&scope=%C3%A9",
                InvalidScope,
                "scope contains a character that RFC 6749 section 3.3 does not allow",
            ),
        ] {
            let error = parse(body).expect_err(body);
            assert_eq!((error.code, &*error.description), (code, description), "{body}");
        }
    }

    #[test]
    fn only_an_invalid_client_is_answered_with_401() {
        use TokenErrorCode::{
            InvalidClient, InvalidGrant, InvalidRequest, InvalidScope, UnauthorizedClient, UnsupportedGrantType,
        };
        for (code, text, status) in [
            (InvalidRequest, "invalid_request", 400),
            (InvalidClient, "invalid_client", 401),
            (InvalidGrant, "invalid_grant", 400),
            (UnauthorizedClient, "unauthorized_client", 400),
            (UnsupportedGrantType, "unsupported_grant_type", 400),
            (InvalidScope, "invalid_scope", 400),
        ] {
            assert_eq!((code.as_str(), code.status()), (text, status));
        }
    }

    #[test]
    fn answers_are_written_as_the_specification_shows_them() {
        let error = TokenError::new(TokenErrorCode::InvalidGrant, "the code has expired");
        let json = serde_json::to_string(&error.body()).expect("plain");
        assert_eq!(json, r#"{"error":"invalid_grant","error_description":"the code has expired"}"#);

        let mut answer = TokenResponse {
            access_token: Presented::new("a"),
            token_type: "Bearer",
            expires_in: 300,
            scope: "openid read".to_owned(),
            refresh_token: None,
            id_token: None,
        };
        let json = |answer: &TokenResponse| serde_json::to_string(answer).expect("plain");
        let short = r#"{"access_token":"a","token_type":"Bearer","expires_in":300,"scope":"openid read"}"#;
        assert_eq!(json(&answer), short);
        answer.refresh_token = Some(Presented::new("r"));
        answer.id_token = Some("i.d.t".to_owned());
        let long = short.replace('}', r#","refresh_token":"r","id_token":"i.d.t"}"#);
        assert_eq!(json(&answer), long);
    }
}
