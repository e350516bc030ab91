//! Bearer tokens in `Authorization`, and the challenge for invalid ones (RFC 6750 §2.1, §3).

use crate::auth_header::quotable;
use crate::auth_header::split_scheme;
use crate::secret::{AccessToken, Presented};

/// Maximum bytes of a token.
pub const MAX_TOKEN_BYTES: usize = 16 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BearerError {
    #[error("no access token was sent")]
    Missing,
    #[error("Authorization must use the Bearer scheme")]
    OtherScheme,
    #[error("the access token is malformed")]
    Malformed,
    #[error("the access token is longer than {MAX_TOKEN_BYTES} bytes")]
    TooLong,
}

/// The token in an `Authorization` value, if present. The scheme's case does not matter (RFC 9110 §11.1).
pub fn token(authorization: Option<&[u8]>) -> Result<Presented<AccessToken>, BearerError> {
    let value = authorization.ok_or(BearerError::Missing)?;
    let (scheme, token) = split_scheme(value);
    if !scheme.eq_ignore_ascii_case(b"Bearer") {
        return Err(BearerError::OtherScheme);
    }
    if token.len() > MAX_TOKEN_BYTES {
        return Err(BearerError::TooLong);
    }
    match std::str::from_utf8(token) {
        Ok(text) if is_b64token(text) => Ok(Presented::new(text)),
        _ => Err(BearerError::Malformed),
    }
}

/// `b64token`, RFC 6750 §2.1.
fn is_b64token(text: &str) -> bool {
    let body = text.trim_end_matches('=');
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() | matches!(byte, b'-' | b'.' | b'_' | b'~' | b'+' | b'/');
    // `fold` without an early exit, so that many bytes are compared in one step: tokens are long, and checked often.
    !body.is_empty() && body.bytes().fold(true, |all, byte| all & allowed(byte))
}

/// The `WWW-Authenticate` value. `error` is a code of RFC 6750 §3.1 with its description, and is left out for a request
/// without a token (§3.1, last paragraph).
pub fn challenge(realm: &str, error: Option<(&str, &str)>, scope: Option<&str>) -> String {
    let (code, description) = error.unzip();
    let members = [("realm", Some(realm)), ("error", code), ("error_description", description), ("scope", scope)];
    let written: Vec<String> = members
        .into_iter()
        .filter_map(|(name, text)| text.map(|text| format!("{name}=\"{}\"", quotable(text))))
        .collect();
    format!("Bearer {}", written.join(", "))
}

/// The `WWW-Authenticate` value if the sign-in of a token is too old. A new authorization request with this `max_age`,
/// in seconds, leads to an acceptable token (RFC 9470 §3, §4).
pub fn step_up_challenge(realm: &str, description: &str, max_age: u64) -> String {
    let error = ("insufficient_user_authentication", description);
    format!("{}, max_age=\"{max_age}\"", challenge(realm, Some(error), None))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bearer_token_is_found_whatever_the_case_of_the_scheme() {
        let long = "x".repeat(MAX_TOKEN_BYTES);
        for (value, expected) in [
            ("Bearer abc", "abc"),
            ("bearer abc", "abc"),
            ("BEARER  abc ", "abc"),
            ("Bearer aA0-._~+/==", "aA0-._~+/=="),
            (&format!("Bearer {long}"), &long),
        ] {
            let token = token(Some(value.as_bytes())).map(|token| token.expose().to_owned());
            assert_eq!(token, Ok(expected.to_owned()));
        }
    }

    #[test]
    fn each_way_of_not_being_one_is_told_apart() {
        let long = format!("Bearer {}", "x".repeat(MAX_TOKEN_BYTES + 1));
        for (value, expected) in [
            (None, BearerError::Missing),
            (Some(&b""[..]), BearerError::OtherScheme),
            (Some(b"Basic YTpi"), BearerError::OtherScheme),
            (Some(b"Bearerabc"), BearerError::OtherScheme),
            (Some(b" Bearer abc"), BearerError::OtherScheme),
            (Some(b"ErpSession 1"), BearerError::OtherScheme),
            (Some(b"Bearer"), BearerError::Malformed),
            (Some(b"Bearer "), BearerError::Malformed),
            (Some(b"Bearer =="), BearerError::Malformed),
            (Some(b"Bearer a=b"), BearerError::Malformed),
            (Some(b"Bearer a b"), BearerError::Malformed),
            (Some(b"Bearer a,b"), BearerError::Malformed),
            (Some(b"Bearer \xff"), BearerError::Malformed),
            (Some(long.as_bytes()), BearerError::TooLong),
        ] {
            let found = token(value).map(|_| ());
            assert_eq!(found, Err(expected), "{:?}", value.map(|value| value.escape_ascii().to_string()));
        }
    }

    /// RFC 6750 §3.
    #[test]
    fn a_challenge_names_the_realm_and_what_is_known() {
        let error = Some(("insufficient_scope", "this needs update"));
        for (error, scope, expected) in [
            (None, None, r#"Bearer realm="api""#),
            (
                error,
                Some("read update"),
                r#"Bearer realm="api", error="insufficient_scope", error_description="this needs update", scope="read update""#,
            ),
            (None, Some("read"), r#"Bearer realm="api", scope="read""#),
        ] {
            assert_eq!(challenge("api", error, scope), expected);
        }
    }

    #[test]
    fn a_sign_in_that_is_too_old_is_challenged_with_the_age_that_will_do() {
        assert_eq!(
            step_up_challenge("api", "sign in again", 600),
            r#"Bearer realm="api", error="insufficient_user_authentication", error_description="sign in again", max_age="600""#
        );
    }

    #[test]
    fn nothing_breaks_out_of_a_quoted_string() {
        let value = challenge("a\"b\\c", Some(("invalid_token", "x\r\ny\té\"")), Some("\""));
        assert_eq!(value, r#"Bearer realm="a?b?c", error="invalid_token", error_description="x??y???", scope="?""#);
    }
}
