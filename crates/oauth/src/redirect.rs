//! Redirect URIs: rules for registration, and matching of presented URIs (RFC 6749 §3.1.2, RFC 8252 §7, RFC 9700
//! §4.1.3).

use form_urlencoded::Serializer;
use url::Url;

/// Maximum bytes of a redirect URI.
pub const LONGEST: usize = 2048;

/// Loopback hosts, the only ones allowed for `http` (RFC 8252 §7.3, §8.3).
const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

/// A registered redirect URI. Also used for `post_logout_redirect_uris`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RedirectUri(String);

/// How a presented redirect URI matched a registered one, the surest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RedirectMatch {
    /// `https`, or loopback `http` with its port: byte for byte.
    Exact,
    /// Loopback `http` registered without a port (RFC 8252 §7.3).
    AnyLoopbackPort,
    /// A private-use URI scheme (RFC 8252 §7.1): byte for byte.
    PrivateScheme,
}

impl RedirectMatch {
    /// Whether another program on the same device can receive the response: any program may listen on a loopback port
    /// or register a scheme (RFC 8252 §8.6).
    pub const fn is_claimable(self) -> bool {
        match self {
            Self::Exact => false,
            Self::AnyLoopbackPort | Self::PrivateScheme => true,
        }
    }
}

/// Why a URI may not be registered. The text states what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RedirectUriError {
    #[error("too long (at most {LONGEST} characters); pass variable data in state")]
    TooLong,
    #[error("contains characters that are not allowed in a URI; percent-encode them, and use punycode for host names")]
    Character,
    #[error("must not contain a fragment (#)")]
    Fragment,
    #[error("must be an absolute URI with scheme, host and path, for example https://app.example.com/callback")]
    NotAbsolute,
    #[error("must not contain a user name or password")]
    UserInfo,
    #[error("invalid host; use letters, digits, dots and hyphens, no wildcards")]
    Host,
    #[error("invalid port; use 1 to 65535 without leading zeros, and omit the default port")]
    Port,
    #[error("wildcards are not supported; register every address (write a literal * as %2A)")]
    Wildcard,
    #[error("http is allowed only for localhost, 127.0.0.1 and [::1]; use https")]
    HttpNotLoopback,
    #[error(
        "unsupported scheme; use https, http on a loopback host, or a private-use scheme based on your domain name, for example com.example.app:/callback, in lower case"
    )]
    Scheme,
}

impl RedirectUri {
    pub fn parse(text: &str) -> Result<Self, RedirectUriError> {
        if text.len() > LONGEST {
            return Err(RedirectUriError::TooLong);
        }
        if text.contains('#') {
            return Err(RedirectUriError::Fragment);
        }
        if !text.bytes().all(is_uri_character) {
            return Err(RedirectUriError::Character);
        }
        let (scheme, rest) = text.split_once(':').ok_or(RedirectUriError::NotAbsolute)?;
        match scheme {
            "https" => check_authority(authority(rest)?)?,
            "http" => {
                let authority = authority(rest)?;
                check_authority(authority)?;
                if !LOOPBACK.contains(&split_port(authority).0) {
                    return Err(RedirectUriError::HttpNotLoopback);
                }
            }
            private if is_private_use(private) => check_private_use(rest)?,
            _ => return Err(RedirectUriError::Scheme),
        }
        // The rules above check the text. This one checks that a browser can parse it.
        Url::parse(text).map_err(|_| RedirectUriError::Host)?;
        Ok(Self(text.to_owned()))
    }

    /// Parses a URI for a new registration. A `*` is refused: it is meant as a wildcard, but would match only itself
    /// (RFC 9700 §4.1.3). Older registrations may have one in the path or query.
    pub fn register(text: &str) -> Result<Self, RedirectUriError> {
        let uri = Self::parse(text)?;
        if text.contains('*') { Err(RedirectUriError::Wildcard) } else { Ok(uri) }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Compares byte for byte (RFC 9700 §4.1.3), but a loopback `http` URI registered without a port matches any port
    /// (RFC 8252 §7.3). Texts are compared, not parsed URIs, because two parsers may disagree.
    pub fn matches(&self, presented: &str) -> Option<RedirectMatch> {
        let is_same = self.0 == presented;
        if let Some((host, rest)) = self.without_port() {
            return (is_same || adds_port(presented, host, rest)).then_some(RedirectMatch::AnyLoopbackPort);
        }
        let is_web = self.0.starts_with("https:") || self.0.starts_with("http:");
        is_same.then_some(if is_web { RedirectMatch::Exact } else { RedirectMatch::PrivateScheme })
    }

    /// The host, and the path with query, of a loopback `http` URI without a port.
    fn without_port(&self) -> Option<(&'static str, &str)> {
        let after_scheme = self.0.strip_prefix("http://")?;
        let host = LOOPBACK.into_iter().find(|host| after_scheme.starts_with(host))?;
        let rest = after_scheme.strip_prefix(host).filter(|rest| !rest.starts_with(':'))?;
        Some((host, rest))
    }

    /// The origin of an `http` or `https` URI for CORS, as browsers write it (RFC 6454 §6.2).
    pub fn origin(&self) -> Option<String> {
        let url = Url::parse(&self.0).ok()?;
        matches!(url.scheme(), "http" | "https").then(|| url.origin().ascii_serialization())
    }
}

/// Appends parameters to the presented URI. An existing query is kept (RFC 6749 §3.1.2).
pub fn with_params(presented: &str, params: &[(&str, &str)]) -> String {
    let mut uri = presented.to_owned();
    if params.is_empty() {
        return uri;
    }
    if !uri.contains('?') {
        uri.push('?');
    } else if !uri.ends_with(['?', '&']) {
        uri.push('&');
    }
    let start = uri.len();
    Serializer::for_suffix(uri, start).extend_pairs(params).finish()
}

/// The URI with the parameters in its fragment. A registered redirect URI has none (RFC 6749 §3.1.2).
pub fn with_fragment(presented: &str, params: &[(&str, &str)]) -> String {
    let uri = format!("{presented}#");
    let start = uri.len();
    Serializer::for_suffix(uri, start).extend_pairs(params).finish()
}

/// Whether the URI is the loopback `http` URI of this host, path and query, with a port.
fn adds_port(presented: &str, host: &str, rest: &str) -> bool {
    let after_host = presented.strip_prefix("http://").and_then(|text| text.strip_prefix(host));
    let Some(from_port) = after_host.and_then(|text| text.strip_prefix(':')) else { return false };
    let digits = from_port.bytes().take_while(u8::is_ascii_digit).count();
    let (port, after_port) = from_port.split_at(digits);
    is_port(port) && after_port == rest
}

/// Characters of RFC 3986 §2: unreserved, reserved and `%`.
fn is_uri_character(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=%".contains(&byte)
}

/// RFC 8252 §7.1: a scheme derived from a domain name under the developer's control, so it contains a dot.
fn is_private_use(scheme: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-.".contains(&byte);
    scheme.starts_with(|first: char| first.is_ascii_lowercase()) && scheme.contains('.') && scheme.bytes().all(allowed)
}

fn check_private_use(rest: &str) -> Result<(), RedirectUriError> {
    if !rest.starts_with('/') {
        return Err(RedirectUriError::NotAbsolute);
    }
    match authority(rest) {
        Ok(authority) if authority.contains('@') => Err(RedirectUriError::UserInfo),
        _ => Ok(()),
    }
}

/// The text between `//` and the path. `rest` is the text after the scheme's colon.
fn authority(rest: &str) -> Result<&str, RedirectUriError> {
    let rest = rest.strip_prefix("//").ok_or(RedirectUriError::NotAbsolute)?;
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    if end == 0 { Err(RedirectUriError::NotAbsolute) } else { Ok(&rest[..end]) }
}

fn check_authority(authority: &str) -> Result<(), RedirectUriError> {
    if authority.contains('@') {
        return Err(RedirectUriError::UserInfo);
    }
    let (host, port) = split_port(authority);
    if port.is_some_and(|port| !is_port(port)) {
        return Err(RedirectUriError::Port);
    }
    let name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let fits = match address {
        Some(address) => address.bytes().all(|byte| byte.is_ascii_hexdigit() || b":.".contains(&byte)),
        None => host.bytes().all(name),
    };
    if fits && !host.is_empty() { Ok(()) } else { Err(RedirectUriError::Host) }
}

/// Splits host and port. Colons inside an IPv6 address do not count.
fn split_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    }
}

/// 1 to 65535, in canonical form.
fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0') && text.parse::<u16>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris_that_belong_to_somebody_are_accepted_for_registration() {
        for text in [
            "https://app.example.com/callback",
            "https://app.example.com",
            "https://app.example.com:8443/cb?tenant=1&x=%20",
            "https://[2001:db8::1]/cb",
            "https://intra_net/cb",
            "http://localhost/cb",
            "http://localhost:5173/cb",
            "http://127.0.0.1/callback",
            "http://127.0.0.1",
            "http://[::1]:3000/",
            "com.example.app:/callback",
            "com.example.app://callback/x",
            &format!("https://a/{}", "x".repeat(LONGEST - 10)),
        ] {
            assert_eq!(RedirectUri::parse(text).map(|uri| uri.as_str().to_owned()), Ok(text.to_owned()));
        }
    }

    #[test]
    fn all_others_are_refused_for_their_own_reason() {
        use RedirectUriError::{
            Character, Fragment, Host, HttpNotLoopback, NotAbsolute, Port, Scheme, TooLong, UserInfo,
        };
        for (text, expected) in [
            ("", NotAbsolute),
            ("/callback", NotAbsolute),
            ("app.example.com/callback", NotAbsolute),
            ("https:app.example.com", NotAbsolute),
            ("https:/app.example.com", NotAbsolute),
            ("https://", NotAbsolute),
            ("https:///cb", NotAbsolute),
            ("com.example.app:callback", NotAbsolute),
            ("com.example.app:", NotAbsolute),
            ("https://a.example/cb#", Fragment),
            ("https://a.example/cb#x", Fragment),
            ("https://a.example/c b", Character),
            ("https://a.example/cb\n", Character),
            ("https://a.example\\@evil.example/", Character),
            ("https://a.example/é", Character),
            ("https://bücher.example/", Character),
            ("https://a.example/\"", Character),
            ("https://user@a.example/", UserInfo),
            ("https://user:pw@a.example/", UserInfo),
            ("http://localhost@evil.example/", UserInfo),
            ("com.example.app://user@host/", UserInfo),
            ("https://*.example.com/cb", Host),
            ("https://a;script-src/cb", Host),
            ("https://a,b/cb", Host),
            ("https://ex%61mple.com/cb", Host),
            ("https://[::1/cb", Host),
            ("https://[1.2.3/cb", Host),
            ("https://[zz]/cb", Host),
            ("https://[::::]/cb", Host),
            ("https://:443/cb", Host),
            ("https://1.2.3.256/cb", Host),
            ("https://a.example:/cb", Port),
            ("https://a.example:0443/cb", Port),
            ("https://a.example:0/cb", Port),
            ("https://a.example:65536/cb", Port),
            ("https://a.example:+80/cb", Port),
            ("http://127.0.0.1:/cb", Port),
            ("http://a.example/cb", HttpNotLoopback),
            ("http://localhost.evil.example/cb", HttpNotLoopback),
            ("http://127.0.0.2/cb", HttpNotLoopback),
            ("http://0x7f.1/cb", HttpNotLoopback),
            ("http://LOCALHOST/cb", HttpNotLoopback),
            ("javascript:alert(1)", Scheme),
            ("data:text/html,x", Scheme),
            ("file:///etc/passwd", Scheme),
            ("blob:https://a.example/x", Scheme),
            ("vbscript:x", Scheme),
            ("myapp:/callback", Scheme),
            ("HTTPS://a.example/", Scheme),
            ("Com.Example.App:/cb", Scheme),
            ("1.com:/cb", Scheme),
            ("urn:ietf:wg:oauth:2.0:oob", Scheme),
            (&format!("https://a/{}", "x".repeat(LONGEST - 9)), TooLong),
        ] {
            assert_eq!(RedirectUri::parse(text), Err(expected), "{text:.60}");
        }
    }

    #[test]
    fn a_star_is_registered_nowhere() {
        for text in ["https://a.example/*", "https://a.example/cb?x=*", "com.example.app:/*", "http://localhost/*/cb"] {
            assert_eq!(RedirectUri::register(text), Err(RedirectUriError::Wildcard), "{text}");
            assert!(RedirectUri::parse(text).is_ok(), "{text} was registered before");
        }
        assert_eq!(RedirectUri::register("https://*.a.example/"), Err(RedirectUriError::Host));
        assert!(RedirectUri::register("https://a.example/%2A").is_ok());
    }

    fn accepts(registered: &str, presented: &str) -> bool {
        RedirectUri::parse(registered).expect("valid").matches(presented).is_some()
    }

    /// RFC 8252 §8.6.
    #[test]
    fn a_match_says_whether_another_program_can_receive_the_answer() {
        use RedirectMatch::{AnyLoopbackPort, Exact, PrivateScheme};
        for (registered, presented, expected) in [
            ("https://app.example.com/cb", "https://app.example.com/cb", Exact),
            ("https://localhost/cb", "https://localhost/cb", Exact),
            ("http://localhost:3000/cb", "http://localhost:3000/cb", Exact),
            ("http://[::1]:3000/cb", "http://[::1]:3000/cb", Exact),
            ("http://127.0.0.1/cb", "http://127.0.0.1/cb", AnyLoopbackPort),
            ("http://127.0.0.1/cb", "http://127.0.0.1:5000/cb", AnyLoopbackPort),
            ("http://localhost/cb", "http://localhost/cb", AnyLoopbackPort),
            ("http://localhost/cb", "http://localhost:5000/cb", AnyLoopbackPort),
            ("http://[::1]/cb", "http://[::1]/cb", AnyLoopbackPort),
            ("http://[::1]/cb", "http://[::1]:5000/cb", AnyLoopbackPort),
            ("http://127.0.0.1", "http://127.0.0.1", AnyLoopbackPort),
            ("com.example.app:/cb", "com.example.app:/cb", PrivateScheme),
            ("com.example.app://localhost:80/cb", "com.example.app://localhost:80/cb", PrivateScheme),
            ("http.example:/cb", "http.example:/cb", PrivateScheme),
        ] {
            let matched = RedirectUri::parse(registered).expect("valid").matches(presented);
            assert_eq!(matched, Some(expected), "{registered} {presented}");
            assert_eq!(expected.is_claimable(), expected != Exact);
        }
    }

    /// RFC 9700 §4.1.3.
    #[test]
    fn any_byte_of_difference_is_a_difference() {
        let registered = "https://app.example.com/cb?x=1";
        assert!(accepts(registered, registered));
        for presented in [
            "",
            "https://app.example.com/cb",
            "https://app.example.com/cb?x=1&",
            "https://app.example.com/cb?x=1#",
            "https://app.example.com/cb/?x=1",
            "https://APP.example.com/cb?x=1",
            "https://app.example.com:443/cb?x=1",
            "https://app.example.com/%63b?x=1",
            "https://app.example.com/a/../cb?x=1",
            "http://app.example.com/cb?x=1",
        ] {
            assert!(!accepts(registered, presented), "{presented}");
        }
    }

    /// RFC 8252 §7.3.
    #[test]
    fn a_loopback_uri_without_a_port_matches_any_port() {
        for (registered, presented) in [
            ("http://127.0.0.1/callback", "http://127.0.0.1/callback"),
            ("http://127.0.0.1/callback", "http://127.0.0.1:1/callback"),
            ("http://127.0.0.1/callback", "http://127.0.0.1:65535/callback"),
            ("http://localhost/cb?x=1", "http://localhost:5173/cb?x=1"),
            ("http://[::1]/cb", "http://[::1]:80/cb"),
            ("http://127.0.0.1", "http://127.0.0.1:8080"),
        ] {
            assert!(accepts(registered, presented), "{registered} {presented}");
        }
    }

    #[test]
    fn nothing_but_the_port_may_vary_and_only_a_port_that_is_one() {
        for presented in [
            "http://127.0.0.1:/callback",
            "http://127.0.0.1:0/callback",
            "http://127.0.0.1:0080/callback",
            "http://127.0.0.1:+80/callback",
            "http://127.0.0.1:-1/callback",
            "http://127.0.0.1:65536/callback",
            "http://127.0.0.1:123456/callback",
            "http://127.0.0.1:80@evil.example/callback",
            "http://127.0.0.1:80.evil.example/callback",
            "http://127.0.0.1:80:80/callback",
            "http://127.0.0.1:٣/callback",
            "http://127.0.0.1:80/callback/",
            "http://127.0.0.1:80/callback?x",
            "http://127.0.0.1:80/",
            "http://127.0.0.1.evil.example/callback",
            "http://127.0.0.1@evil.example/callback",
            "http://localhost:80/callback",
            "http://[::1]:80/callback",
            "https://127.0.0.1:80/callback",
        ] {
            assert!(!accepts("http://127.0.0.1/callback", presented), "{presented}");
        }
        assert!(!accepts("http://127.0.0.1", "http://127.0.0.1:80@evil.example"));
        assert!(!accepts("http://127.0.0.1", "http://127.0.0.1:80/"));
        assert!(!accepts("http://127.0.0.1:8080/cb", "http://127.0.0.1:8081/cb"));
        assert!(!accepts("http://127.0.0.1:8080/cb", "http://127.0.0.1/cb"));
        assert!(!accepts("https://127.0.0.1/cb", "https://127.0.0.1:8080/cb"));
        assert!(!accepts("com.example.app://localhost/cb", "com.example.app://localhost:80/cb"));
    }

    #[test]
    fn an_origin_is_what_a_browser_writes() {
        for (text, expected) in [
            ("https://App.Example.com/cb", Some("https://app.example.com")),
            ("https://app.example.com:443/cb", Some("https://app.example.com")),
            ("https://app.example.com:8443/cb", Some("https://app.example.com:8443")),
            ("http://localhost:5173/cb", Some("http://localhost:5173")),
            ("http://[::1]/", Some("http://[::1]")),
            ("com.example.app:/cb", None),
        ] {
            assert_eq!(RedirectUri::parse(text).expect("valid").origin().as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn parameters_are_appended_and_an_existing_query_is_kept() {
        let params = [("code", "a&b"), ("state", "x y=é")];
        for (presented, expected) in [
            ("https://a/cb", "https://a/cb?code=a%26b&state=x+y%3D%C3%A9"),
            ("https://a", "https://a?code=a%26b&state=x+y%3D%C3%A9"),
            ("https://a/cb?t=%31", "https://a/cb?t=%31&code=a%26b&state=x+y%3D%C3%A9"),
            ("https://a/cb?", "https://a/cb?code=a%26b&state=x+y%3D%C3%A9"),
            ("https://a/cb?t&", "https://a/cb?t&code=a%26b&state=x+y%3D%C3%A9"),
            ("com.example.app:/cb", "com.example.app:/cb?code=a%26b&state=x+y%3D%C3%A9"),
        ] {
            assert_eq!(with_params(presented, &params), expected);
            assert_eq!(with_params(presented, &[]), presented);
        }
    }
}
