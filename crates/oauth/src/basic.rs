//! Login and password in `Authorization` (RFC 7617).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::auth_header::quotable;
use crate::auth_header::split_scheme;
use crate::secret::Presented;

/// Maximum bytes of the credentials as received.
pub const MAX_CREDENTIALS: usize = 4 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BasicError {
    #[error("Authorization must use the Basic scheme")]
    OtherScheme,
    #[error("the credentials are longer than {MAX_CREDENTIALS} bytes")]
    TooLong,
    #[error("the credentials are not base64")]
    NotBase64,
    #[error("there is no colon between name and password")]
    NoColon,
    #[error("name and password must be sent in UTF-8")]
    NotUtf8,
    /// RFC 7617 §2: "The user-id and password MUST NOT contain any control characters".
    #[error("name and password must not hold control characters")]
    ControlCharacter,
}

/// The credentials as received, not verified.
pub struct Basic<K> {
    pub name: String,
    pub password: Presented<K>,
}

impl<K> fmt::Debug for Basic<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Basic(…)")
    }
}

/// RFC 7617 §2, in UTF-8 (§2.1): a password may contain colons, a login cannot.
pub fn parse<K>(authorization: &[u8]) -> Result<Basic<K>, BasicError> {
    let (scheme, credentials) = split_scheme(authorization);
    if !scheme.eq_ignore_ascii_case(b"Basic") {
        return Err(BasicError::OtherScheme);
    }
    if credentials.len() > MAX_CREDENTIALS {
        return Err(BasicError::TooLong);
    }
    let pair = Zeroizing::new(STANDARD.decode(credentials).map_err(|_| BasicError::NotBase64)?);
    let pair = std::str::from_utf8(&pair).map_err(|_| BasicError::NotUtf8)?;
    let (name, password) = pair.split_once(':').ok_or(BasicError::NoColon)?;
    if pair.chars().any(char::is_control) {
        return Err(BasicError::ControlCharacter);
    }
    Ok(Basic { name: name.to_owned(), password: Presented::new(password) })
}

/// The `WWW-Authenticate` value that requests Basic credentials in UTF-8 (RFC 7617 §2.1).
pub fn challenge(realm: &str) -> String {
    format!("Basic realm=\"{}\", charset=\"UTF-8\"", quotable(realm))
}

#[cfg(test)]
mod tests {
    use super::*;

    enum Password {}

    fn read(authorization: &[u8]) -> Result<(String, String), BasicError> {
        parse::<Password>(authorization).map(|basic| (basic.name, basic.password.expose().to_owned()))
    }

    fn basic(scheme: &str, pair: &[u8]) -> Vec<u8> {
        format!("{scheme} {}", STANDARD.encode(pair)).into_bytes()
    }

    /// The first two examples are from RFC 7617 §2 and §2.1.
    #[test]
    fn a_name_and_a_password_are_read_in_utf_8() {
        for (authorization, name, password) in [
            (b"Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==".to_vec(), "Aladdin", "open sesame"),
            (b"Basic dGVzdDoxMjPCow==".to_vec(), "test", "123£"),
            (basic("basic", b"alice:"), "alice", ""),
            (basic("BASIC", b":a:b"), "", "a:b"),
            (basic("Basic ", "алиса:паро́ль".as_bytes()), "алиса", "паро́ль"),
        ] {
            let shown = authorization.escape_ascii().to_string();
            assert_eq!(read(&authorization), Ok((name.to_owned(), password.to_owned())), "{shown}");
        }
    }

    #[test]
    fn each_way_of_not_being_one_is_told_apart() {
        let long = basic("Basic", &[b'a'; MAX_CREDENTIALS]);
        for (authorization, expected) in [
            (b"".to_vec(), BasicError::OtherScheme),
            (b"Bearer YTpi".to_vec(), BasicError::OtherScheme),
            (b"BasicYTpi".to_vec(), BasicError::OtherScheme),
            (long, BasicError::TooLong),
            (b"Basic ?".to_vec(), BasicError::NotBase64),
            (b"Basic YTpi YTpi".to_vec(), BasicError::NotBase64),
            (b"Basic YTp".to_vec(), BasicError::NotBase64),
            (b"Basic".to_vec(), BasicError::NoColon),
            (basic("Basic", b"alice"), BasicError::NoColon),
            (basic("Basic", b"alice:p\xe4ss"), BasicError::NotUtf8),
            (basic("Basic", b"alice:a\nb"), BasicError::ControlCharacter),
            (basic("Basic", "alice:a\u{85}b".as_bytes()), BasicError::ControlCharacter),
        ] {
            assert_eq!(read(&authorization), Err(expected), "{}", authorization.escape_ascii());
        }
    }

    #[test]
    fn a_challenge_asks_for_utf_8_and_nothing_breaks_out_of_it() {
        assert_eq!(challenge("a\"b"), "Basic realm=\"a?b\", charset=\"UTF-8\"");
        let shown = parse::<Password>(&basic("Basic", b"alice:hush")).expect("good");
        assert!(!format!("{shown:?}").contains("hush"));
    }
}
