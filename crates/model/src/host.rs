//! Host names in one canonical spelling for comparison: case-insensitive (RFC 9110 §4.2.3), without a final dot
//! (RFC 1034 §3.1).

use std::borrow::Borrow;
use std::fmt;
use std::net::IpAddr;

use url::Host;

/// Bytes of a host name, and of each of its labels (RFC 1035 §2.3.4).
const MAX_NAME: usize = 253;
const MAX_LABEL: usize = 63;

/// A host name or IP address (IPv6 in brackets), in lower case, without a port and without a final dot.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostName(String);

/// Why a text is not a host that a request could name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostNameError {
    #[error("wildcards are not supported; list every name")]
    Wildcard,
    #[error("write the name alone: no scheme, no port, no path, no blank")]
    NotAlone,
    #[error("write the name in ASCII, as browsers send it: xn--…")]
    NotAscii,
    #[error("not a host name like alias.example.com, nor an address")]
    Malformed,
}

impl HostName {
    /// Parses a host from configuration. Accepts only hosts that a browser can request.
    pub fn parse(text: &str) -> Result<Self, HostNameError> {
        if !text.is_ascii() {
            return Err(HostNameError::NotAscii);
        }
        if text.contains('*') {
            return Err(HostNameError::Wildcard);
        }
        let is_bracketed = text.starts_with('[');
        let apart =
            |byte: u8| b"/\\?#@".contains(&byte) || byte.is_ascii_whitespace() || (byte == b':' && !is_bracketed);
        if text.bytes().any(apart) || text.rsplit_once(']').is_some_and(|(_, port)| !port.is_empty()) {
            return Err(HostNameError::NotAlone);
        }
        let is_label = |label: &str| {
            (1..=MAX_LABEL).contains(&label.len())
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        };
        let name = text.strip_suffix('.').unwrap_or(text);
        let is_name = name.len() <= MAX_NAME && name.split('.').all(is_label);
        if is_bracketed || is_name {
            Self::of(text).ok_or(HostNameError::Malformed)
        } else {
            Err(HostNameError::Malformed)
        }
    }

    /// Parses the host of a request.
    pub fn of(text: &str) -> Option<Self> {
        let host = Host::parse(text.strip_suffix('.').unwrap_or(text)).ok()?;
        Some(Self(host.to_string()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The IP address; `None` for a name.
    pub fn address(&self) -> Option<IpAddr> {
        let bare = self.0.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(&self.0);
        bare.parse().ok()
    }

    /// Whether the host is loopback: `localhost` and names below it (RFC 6761 §6.3), 127/8, `[::1]`.
    pub fn is_loopback(&self) -> bool {
        match self.address() {
            Some(address) => address.is_loopback(),
            None => self.0 == "localhost" || self.0.ends_with(".localhost"),
        }
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Allows a lookup by a text that is already canonical, without parsing it.
impl Borrow<str> for HostName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_host_are_one() {
        for (text, host) in [
            ("erp.example.com", "erp.example.com"),
            ("ERP.Example.com", "erp.example.com"),
            ("erp.example.com.", "erp.example.com"),
            ("LOCALHOST.", "localhost"),
            ("intra_net", "intra_net"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
            ("127.0.0.1", "127.0.0.1"),
            ("[::1]", "[::1]"),
            ("[0:0::0:1]", "[::1]"),
        ] {
            assert_eq!(HostName::parse(text).as_ref().map(HostName::as_str), Ok(host), "{text}");
            assert_eq!(HostName::of(text).as_ref().map(HostName::as_str), Some(host), "{text}");
        }
    }

    #[test]
    fn what_no_request_can_name_is_refused_for_its_own_reason() {
        use HostNameError::{Malformed, NotAlone, NotAscii, Wildcard};
        for (text, expected) in [
            ("*.example.com", Wildcard),
            ("*", Wildcard),
            ("https://*.example.com", Wildcard),
            ("erp.example.com:8080", NotAlone),
            ("[::1]:8080", NotAlone),
            ("::1", NotAlone),
            ("https://erp.example.com", NotAlone),
            ("erp.example.com/id", NotAlone),
            ("me@erp.example.com", NotAlone),
            (" erp.example.com", NotAlone),
            ("a b", NotAlone),
            ("bücher.example", NotAscii),
            ("", Malformed),
            (".", Malformed),
            ("erp..example.com", Malformed),
            (".example.com", Malformed),
            ("erp.example.com..", Malformed),
            ("ex%61mple.com", Malformed),
            ("a,b", Malformed),
            ("1.2.3.256", Malformed),
            ("[::zz]", Malformed),
            ("xn--a", Malformed),
            (&"a".repeat(64), Malformed),
            (&"a.".repeat(127).repeat(2), Malformed),
        ] {
            assert_eq!(HostName::parse(text), Err(expected), "{text:?}");
        }
    }

    #[test]
    fn only_what_stays_on_the_machine_is_loopback() {
        for (text, expected) in [
            ("localhost", true),
            ("LocalHost.", true),
            ("a.b.localhost", true),
            ("127.0.0.1", true),
            ("127.255.0.9", true),
            ("[::1]", true),
            ("localhost.example.com", false),
            ("notlocalhost", false),
            ("127.example.com", false),
            ("128.0.0.1", false),
            ("0.0.0.0", false),
            ("[::]", false),
            ("[::2]", false),
            ("erp", false),
        ] {
            assert_eq!(HostName::of(text).map(|host| host.is_loopback()), Some(expected), "{text}");
        }
    }
}
