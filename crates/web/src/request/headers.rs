//! Request headers: bytes, from many sources (RFC 9110 §5.5). Values of others beside ours are skipped, valid or not.

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::borrow::Cow;

use axum::extract::Request;
use http::header::AsHeaderName;
use http::{HeaderMap, HeaderValue, Uri, header};

/// Maximum length in bytes of one of our cookies.
const MAX_COOKIE: usize = 256;

/// Maximum number of values read per cookie name. A host may have several: an older cookie with a longer path comes
/// first (RFC 6265 §5.4).
const MAX_COOKIES: usize = 8;

/// The values of the cookies with this name, in the browser's order.
pub(crate) fn cookies<'a>(headers: &'a HeaderMap, name: &'a str) -> impl Iterator<Item = &'a str> {
    let lines = headers.get_all(header::COOKIE).iter();
    let pairs = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
    let values = pairs.filter_map(move |pair| {
        let value = pair.trim_ascii().strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
        std::str::from_utf8(value).ok().filter(|value| value.len() <= MAX_COOKIE)
    });
    values.take(MAX_COOKIES)
}

/// The members of a list (RFC 9110 §5.6.1), over all its lines. A member that is not UTF-8 does not affect the others.
pub(crate) fn members(headers: &HeaderMap, name: impl AsHeaderName) -> impl Iterator<Item = Cow<'_, str>> {
    let lines = headers.get_all(name).into_iter();
    let members = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    members.map(|member| String::from_utf8_lossy(member.trim_ascii()))
}

/// True if the client has this representation already. `If-None-Match` compares weakly (RFC 9110 §13.1.2).
pub(crate) fn has_already(headers: &HeaderMap, tag: &HeaderValue) -> bool {
    let is_it =
        |member: &str| member == "*" || member.strip_prefix("W/").unwrap_or(member).as_bytes() == tag.as_bytes();
    members(headers, header::IF_NONE_MATCH).any(|member| is_it(&member))
}

/// A value for display and storage, at most `most` bytes long. Bytes beyond ASCII become `?`: they have no agreed
/// meaning (RFC 9110 §5.5), and some change how the text around them reads.
pub(crate) fn printable(value: &HeaderValue, most: usize) -> String {
    let visible = |byte: &u8| if matches!(byte, b' '..=b'~') { char::from(*byte) } else { '?' };
    value.as_bytes().iter().take(most).map(visible).collect()
}

/// True if a browser prefetches a page that the user has not opened.
pub(crate) fn is_prefetch(headers: &HeaderMap) -> bool {
    // `sec-purpose` is the standard header (Fetch §3.4); older Chromium and Safari send `purpose`, older Firefox
    // `x-moz`.
    const NAMES: [&str; 3] = ["sec-purpose", "purpose", "x-moz"];
    let is_one = |member: &str| member.split(';').any(|purpose| purpose.trim().eq_ignore_ascii_case("prefetch"));
    NAMES.into_iter().any(|name| members(headers, name).any(|member| is_one(&member)))
}

/// RFC 9112 §3.2: "A server MUST respond with a 400 … to any request message that lacks a Host header field and to any
/// request message that contains more than one Host header field line or a Host header field with an invalid value."
pub(crate) struct BadHost;

/// The host of a request, without the port.
pub(crate) fn host_of(request: &Request) -> Result<&str, BadHost> {
    host(request.uri(), request.headers())
}

/// The host without the port (RFC 9110 §7.2). For HTTP/2 and absolute targets, the authority.
pub(crate) fn host<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Result<&'a str, BadHost> {
    let mut lines = headers.get_all(header::HOST).iter();
    let authority = match (uri.authority(), lines.next(), lines.next()) {
        (_, _, Some(_)) | (None, None, _) => return Err(BadHost),
        (Some(authority), ..) => authority.as_str(),
        (None, Some(line), None) => line.to_str().map_err(|_| BadHost)?,
    };
    let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) => (authority.get(..address.len() + 2).ok_or(BadHost)?, port),
        None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
    };
    let is_port =
        port.is_empty() || port.strip_prefix(':').is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_digit()));
    let is_host = !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~[]:".contains(&b));
    let is_bracketed = host.starts_with('[') || !host.contains(['[', ']', ':']);
    if is_port && is_host && is_bracketed { Ok(host) } else { Err(BadHost) }
}

/// A strong validator (RFC 9110 §8.8.3) from a hash of the bytes.
pub(crate) fn entity_tag(bytes: &[u8]) -> String {
    format!("\"{}\"", URL_SAFE_NO_PAD.encode(&digest::digest(&digest::SHA256, bytes).as_ref()[..12]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: &'static str, lines: &[&[u8]]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(name, HeaderValue::from_bytes(line).expect("a header value"));
        }
        headers
    }

    #[test]
    fn there_is_one_valid_host_and_it_is_read_without_its_port() {
        let of = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, value.parse().expect("a header value"));
            host(&Uri::from_static("/"), &headers).ok().map(str::to_owned)
        };
        assert_eq!(of("localhost:8080").as_deref(), Some("localhost"));
        assert_eq!(of("demodb.localhost").as_deref(), Some("demodb.localhost"));
        assert_eq!(of("[::1]:8080").as_deref(), Some("[::1]"));
        for bad in ["evil@localhost", "a, b", "[::1", "::1", "localhost:80x", "", "a b", "a/b"] {
            assert_eq!(of(bad), None, "{bad:?}");
        }
        let absolute = Uri::from_static("http://demodb.localhost:1/");
        assert!(host(&absolute, &HeaderMap::new()).is_ok_and(|host| host == "demodb.localhost"));
        assert!(host(&Uri::from_static("/"), &HeaderMap::new()).is_err(), "none");
        let mut two = HeaderMap::new();
        two.append(header::HOST, http::HeaderValue::from_static("localhost"));
        two.append(header::HOST, http::HeaderValue::from_static("localhost"));
        assert!(host(&Uri::from_static("/"), &two).is_err(), "two");
    }

    #[test]
    fn a_cookie_is_found_by_its_whole_name_whatever_stands_beside_it() {
        let found = |lines: &[&[u8]]| -> Vec<String> {
            cookies(&with("cookie", lines), "gatehouse").map(str::to_owned).collect()
        };
        assert_eq!(found(&[b"a=1; xgatehouse=2", b"gatehouse=3; b=4"]), ["3"]);
        assert_eq!(found(&["city=София; gatehouse=3".as_bytes()]), ["3"]);
        assert_eq!(found(&[b"city=\xd1\xee\xf4\xe8\xff;gatehouse=3; \xff"]), ["3"]);
        assert_eq!(found(&[b"gatehouse=\xff; gatehouse=3"]), ["3"]);
        assert_eq!(found(&[b"gatehouse=1; gatehouse=2"]), ["1", "2"], "in their order");
        assert_eq!(found(&[b"gatehouse-form=1; gatehouse; Gatehouse=2; gatehouse =3"]), [""; 0]);
        let long = format!("gatehouse={}; gatehouse=3", "x".repeat(MAX_COOKIE + 1));
        assert_eq!(found(&[long.as_bytes()]), ["3"]);
        assert_eq!(found(&["gatehouse=1;".repeat(100).as_bytes()]).len(), MAX_COOKIES);
    }

    #[test]
    fn a_member_that_is_no_text_hides_no_other() {
        let headers = with("prefer", &[b"caf\xe9, return=minimal", b" wait=1 "]);
        let found: Vec<_> = members(&headers, "prefer").collect();
        assert_eq!(found, ["caf\u{fffd}", "return=minimal", "wait=1"]);
    }

    /// RFC 9110 §13.1.2.
    #[test]
    fn what_a_client_has_already_is_found_in_any_form_of_the_list() {
        let tag = HeaderValue::from_static("\"abc\"");
        for has in ["\"abc\"", "W/\"abc\"", "\"x\", \"abc\"", "\"x\",W/\"abc\" ,\"y\"", "*"] {
            assert!(has_already(&with("if-none-match", &[has.as_bytes()]), &tag), "{has}");
        }
        assert!(has_already(&with("if-none-match", &[b"\"caf\xe9\"", b"\"abc\""]), &tag));
        for has_not in ["", "abc", "\"ab\"", "w/\"abc\"", "\"x\", \"y\""] {
            assert!(!has_already(&with("if-none-match", &[has_not.as_bytes()]), &tag), "{has_not}");
        }
        assert!(!has_already(&HeaderMap::new(), &tag));
    }

    #[test]
    fn what_is_kept_of_a_header_is_printable_and_bounded() {
        let value = |bytes| HeaderValue::from_bytes(bytes).expect("a header value");
        assert_eq!(printable(&value(b"curl/8.5 (x)"), 256), "curl/8.5 (x)");
        assert_eq!(printable(&value(b"Caf\xe9/1\t\xe2\x80\xae"), 256), "Caf?/1????");
        assert_eq!(printable(&value(b"abcdef"), 3), "abc");
    }

    #[test]
    fn a_guess_of_the_browser_is_known_by_any_of_its_headers() {
        for (name, line) in [
            ("sec-purpose", "prefetch"),
            ("sec-purpose", "prefetch;prerender"),
            ("sec-purpose", "prefetch;anonymous-client-ip"),
            ("purpose", "prefetch"),
            ("x-moz", "Prefetch"),
        ] {
            assert!(is_prefetch(&with(name, &[line.as_bytes()])), "{name}: {line}");
        }
        for (name, line) in [("sec-purpose", ""), ("purpose", "prefetched"), ("x-purpose", "prefetch")] {
            assert!(!is_prefetch(&with(name, &[line.as_bytes()])), "{name}: {line}");
        }
    }
}
