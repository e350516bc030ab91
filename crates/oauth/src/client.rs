//! Client identification and authentication (RFC 6749 §2.2, §2.3).

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::params::{self, Params};
use crate::secret::{ClientSecret, Presented};
use crate::token::{TokenError, TokenErrorCode};

/// `client_id`, RFC 6749 §2.2: 1 to 255 printable ASCII characters (Appendix A.1).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ClientId(String);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a client identifier is 1 to 255 printable ASCII characters")]
pub struct NotAClientId;

impl ClientId {
    /// A stored id, accepted by the rules of its time. An id that violates today's rules is never presented again.
    pub const fn kept(text: String) -> Self {
        Self(text)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ClientId {
    type Error = NotAClientId;

    fn try_from(text: String) -> Result<Self, NotAClientId> {
        let fits = (1..=255).contains(&text.len()) && text.bytes().all(|byte| (0x20..=0x7e).contains(&byte));
        if fits { Ok(Self(text)) } else { Err(NotAClientId) }
    }
}

impl From<ClientId> for String {
    fn from(id: ClientId) -> Self {
        id.0
    }
}

impl FromStr for ClientId {
    type Err = NotAClientId;

    fn from_str(text: &str) -> Result<Self, NotAClientId> {
        Self::try_from(text.to_owned())
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Client credentials by authentication method, not verified.
#[derive(Debug)]
pub enum ClientCredentials {
    /// `none`, RFC 7591 §2.
    None { client_id: ClientId },
    /// `client_secret_post`, RFC 6749 §2.3.1.
    Post { client_id: ClientId, secret: Presented<ClientSecret> },
    /// `client_secret_basic`, RFC 6749 §2.3.1.
    Basic { client_id: ClientId, secret: Presented<ClientSecret> },
}

impl ClientCredentials {
    /// Reads the `Authorization` value, if present, and the body. "The client MUST NOT use more than one authentication
    /// method in each request" (RFC 6749 §2.3).
    pub fn parse(authorization: Option<&[u8]>, params: &Params) -> Result<Self, TokenError> {
        if let Some(description) = params.repetition() {
            return Err(TokenError::new(TokenErrorCode::InvalidRequest, description));
        }
        let assertion = params.get("client_assertion").or_else(|| params.get("client_assertion_type")).is_some();
        let secret = params.get("client_secret");
        if usize::from(authorization.is_some()) + usize::from(assertion) + usize::from(secret.is_some()) > 1 {
            return Err(TokenError::new(
                TokenErrorCode::InvalidRequest,
                "use one method of client authentication only",
            ));
        }
        if assertion {
            return Err(refused("client_assertion is not supported"));
        }
        if let Some(authorization) = authorization {
            return Self::from_basic(authorization, params.get("client_id"));
        }
        let client_id = params
            .get("client_id")
            .ok_or_else(|| TokenError::new(TokenErrorCode::InvalidRequest, "client_id is missing"))?;
        let client_id = client_id.parse().map_err(|_| refused("client_id is malformed"))?;
        Ok(match secret {
            Some(secret) => Self::Post { client_id, secret: Presented::new(secret) },
            None => Self::None { client_id },
        })
    }

    pub fn client_id(&self) -> &ClientId {
        match self {
            Self::None { client_id } | Self::Post { client_id, .. } | Self::Basic { client_id, .. } => client_id,
        }
    }

    /// The name in the IANA registry of token endpoint authentication methods.
    pub const fn method(&self) -> &'static str {
        match self {
            Self::None { .. } => "none",
            Self::Post { .. } => "client_secret_post",
            Self::Basic { .. } => "client_secret_basic",
        }
    }

    /// An empty secret counts as none: widespread clients send `Basic` with an empty secret for public applications.
    fn from_basic(authorization: &[u8], in_body: Option<&str>) -> Result<Self, TokenError> {
        let (client_id, secret) = basic_pair(authorization).ok_or_else(|| {
            refused("Authorization must be Basic with client_id and client_secret, each form-encoded, in base64")
        })?;
        if in_body.is_some_and(|in_body| in_body != client_id.as_str()) {
            return Err(TokenError::new(
                TokenErrorCode::InvalidRequest,
                "client_id in the body differs from the one in Authorization",
            ));
        }
        Ok(if secret.is_empty() {
            Self::None { client_id }
        } else {
            Self::Basic { client_id, secret: Presented::new(secret.as_str()) }
        })
    }
}

fn refused(description: &'static str) -> TokenError {
    TokenError::new(TokenErrorCode::InvalidClient, description)
}

/// RFC 7617 §2 with RFC 6749 §2.3.1: split at the first colon, then form-decode both halves.
fn basic_pair(authorization: &[u8]) -> Option<(ClientId, Zeroizing<String>)> {
    if authorization.len() > params::MAX_VALUE {
        return None;
    }
    let (scheme, rest) = authorization.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"Basic ") {
        return None;
    }
    let pair = Zeroizing::new(STANDARD.decode(rest.trim_ascii()).ok()?);
    let colon = pair.iter().position(|&byte| byte == b':')?;
    let client_id = params::decode(&pair[..colon]).ok()?;
    let secret = params::decode(&pair[colon + 1..]).ok()?;
    Some((client_id.parse().ok()?, secret))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn basic(pair: &str) -> String {
        format!("Basic {}", STANDARD.encode(pair))
    }

    fn parse(
        authorization: Option<&str>,
        body: &str,
    ) -> Result<(&'static str, String, Option<String>), TokenErrorCode> {
        let params = Params::parse(body.as_bytes()).expect("well-formed");
        let shown = ClientCredentials::parse(authorization.map(str::as_bytes), &params).map_err(|error| error.code)?;
        let secret = match &shown {
            ClientCredentials::None { .. } => None,
            ClientCredentials::Post { secret, .. } | ClientCredentials::Basic { secret, .. } => {
                Some(secret.expose().to_owned())
            }
        };
        Ok((shown.method(), shown.client_id().to_string(), secret))
    }

    #[test]
    fn a_client_identifier_is_printable_ascii_of_bounded_length() {
        for text in ["a", "my.trusted.app/first", "with space", "~!\"\\", &"x".repeat(255)] {
            assert_eq!(text.parse::<ClientId>().map(|id| id.as_str().to_owned()), Ok(text.to_owned()));
        }
        for text in ["", "é", "a\nb", "a\u{7f}", &"x".repeat(256)] {
            assert_eq!(text.parse::<ClientId>(), Err(NotAClientId), "{text:?}");
        }
    }

    /// RFC 6749 §2.3.1.
    #[test]
    fn each_method_is_recognised() {
        let found = |method, id: &str, secret: Option<&str>| Ok((method, id.to_owned(), secret.map(str::to_owned)));
        let (plain, encoded) = (basic("app:s3cret"), basic("my%2Fapp:a%3Ab+c%25"));
        let (colons, empty) = (basic("app:a:b"), basic("app:"));
        let lower = plain.replace("Basic", "bAsIc");
        for (authorization, body, expected) in [
            (None, "client_id=app", found("none", "app", None)),
            (None, "client_id=app&client_secret=", found("none", "app", None)),
            (None, "client_id=app&client_secret=s3cret", found("client_secret_post", "app", Some("s3cret"))),
            (Some(&plain), "", found("client_secret_basic", "app", Some("s3cret"))),
            (Some(&plain), "client_id=app", found("client_secret_basic", "app", Some("s3cret"))),
            (Some(&lower), "", found("client_secret_basic", "app", Some("s3cret"))),
            (Some(&encoded), "", found("client_secret_basic", "my/app", Some("a:b c%"))),
            (Some(&colons), "", found("client_secret_basic", "app", Some("a:b"))),
            (Some(&empty), "", found("none", "app", None)),
        ] {
            assert_eq!(parse(authorization.map(String::as_str), body), expected, "{authorization:?} {body}");
        }
    }

    #[test]
    fn two_methods_at_once_are_an_invalid_request() {
        let basic = basic("app:s3cret");
        for (authorization, body) in [
            (Some(basic.as_str()), "client_secret=s3cret"),
            (Some(&basic), "client_id=app&client_secret=s3cret"),
            (Some(&basic), "client_id=other"),
            (Some(&basic), "client_assertion=a.b.c"),
            (Some("Bearer x"), "client_secret=s3cret"),
            (None, "client_id=app&client_secret=s&client_assertion=a.b.c"),
            (None, "client_id=app&client_secret=s&client_assertion_type=urn:x"),
            (None, "client_id=app&client_id=app"),
            (None, "client_id=app&client_secret=a&client_secret=b"),
            (None, ""),
            (None, "client_secret=s3cret"),
        ] {
            assert_eq!(parse(authorization, body), Err(TokenErrorCode::InvalidRequest), "{authorization:?} {body}");
        }
    }

    #[test]
    fn what_proves_nothing_is_an_invalid_client() {
        let standard = basic("app:~~~???");
        let url_safe = standard.replace('/', "_").replace('+', "-");
        assert_ne!(standard, url_safe);
        let long = basic(&format!("app:{}", "x".repeat(params::MAX_VALUE)));
        let bad = [
            "",
            "Basic",
            "Basic ",
            "Basic ?",
            "Basic YQ",
            "Bearer abc",
            "Digest username=x",
            "Basicx YTpi",
            &basic("nocolon"),
            &basic(":secret"),
            &basic("app:%zz"),
            &basic("app:%FF"),
            &basic("a\nb:c"),
            &basic(&format!("{}:s", "x".repeat(256))),
            &url_safe,
            &long,
        ];
        for authorization in bad {
            assert_eq!(parse(Some(authorization), ""), Err(TokenErrorCode::InvalidClient), "{authorization:.60}");
        }
        for body in [
            "client_id=%C3%A9",
            "client_id=a%0Ab&client_secret=s",
            "client_id=app&client_assertion=a.b.c",
            "client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer&client_assertion=a.b.c",
        ] {
            assert_eq!(parse(None, body), Err(TokenErrorCode::InvalidClient), "{body}");
        }
        let not_ascii = ClientCredentials::parse(Some(b"Basic \xff"), &Params::parse(b"").expect("empty"));
        assert_eq!(not_ascii.map(|_| ()).map_err(|error| error.code), Err(TokenErrorCode::InvalidClient));
    }

    #[test]
    fn debugging_does_not_show_the_secret() {
        let params = Params::parse(b"client_id=app&client_secret=hush").expect("well-formed");
        let shown = ClientCredentials::parse(None, &params).expect("valid");
        assert!(!format!("{shown:?}").contains("hush"));
    }
}
