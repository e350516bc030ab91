//! Received parameters: `application/x-www-form-urlencoded` bodies and query strings (RFC 6749 Appendix B).

use std::fmt;

use form_urlencoded::Serializer;
use zeroize::Zeroizing;

/// Maximum bytes of the whole text: enough for the longest `state` with every byte percent-encoded, and for the rest.
pub const MAX_BYTES: usize = 32 * 1024;
/// Maximum number of pairs, including unknown ones.
pub const MAX_PARAMETERS: usize = 64;
/// Maximum bytes of a name after decoding.
pub const MAX_NAME: usize = 128;
/// Maximum bytes of a value after decoding. A `state` can be as long: libraries seal into it the data they need after
/// the sign-in.
pub const MAX_VALUE: usize = 8 * 1024;

/// Decoded pairs in the order received. Values may be secrets, so they are wiped when dropped and never printed.
#[derive(Default)]
pub struct Params(Vec<(String, Zeroizing<String>)>);

/// Why the text could not be parsed. The message is suitable for `error_description`: it never repeats a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ParamError {
    TooLarge,
    TooMany,
    /// The name, or the value of the parameter with this name, is too long.
    TooLong(String),
    /// Not UTF-8, or contains U+0000, which databases do not store. Names the parameter if its name was readable.
    NotUtf8(Option<String>),
    /// A `%` without two hexadecimal digits. Names the parameter if its name was readable.
    BadEncoding(Option<String>),
}

impl Params {
    /// Percent-decodes strictly. A repeated name is recorded, not refused: see [`Self::repeated`].
    pub fn parse(raw: &[u8]) -> Result<Self, ParamError> {
        if raw.len() > MAX_BYTES {
            return Err(ParamError::TooLarge);
        }
        let mut pairs = Vec::new();
        for pair in raw.split(|&byte| byte == b'&').filter(|pair| !pair.is_empty()) {
            if pairs.len() == MAX_PARAMETERS {
                return Err(ParamError::TooMany);
            }
            pairs.push(parse_pair(pair)?);
        }
        Ok(Self(pairs))
    }

    /// The value; `None` if absent or empty, since "parameters sent without a value MUST be treated as if they were
    /// omitted" (RFC 6749 §3.1). For a repeated parameter, the first value.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(known, _)| *known == name).map(|(_, value)| value).filter(|value| !value.is_empty())
    }

    /// The first repeated name, which no OAuth request may have (RFC 6749 §3.1, §3.2).
    pub fn repeated(&self) -> Option<&str> {
        let repeats =
            |(at, (name, _)): &(usize, (&str, &str))| self.iter().take(*at).any(|(earlier, _)| earlier == *name);
        self.iter().enumerate().find(repeats).map(|(_, (name, _))| name)
    }

    /// Whether this name is repeated.
    pub fn is_repeated(&self, name: &str) -> bool {
        self.iter().filter(|(known, _)| *known == name).count() > 1
    }

    /// The parameters without those of this name.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.0.retain(|(known, _)| known != name);
        self
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Encodes all pairs in order, without a leading `?`.
    pub fn to_query(&self) -> String {
        Serializer::new(String::new()).extend_pairs(self.iter()).finish()
    }

    /// The `error_description` if a name is repeated.
    pub(crate) fn repetition(&self) -> Option<String> {
        self.repeated().map(|name| format!("{} must not be repeated", called(Some(name))))
    }
}

impl fmt::Debug for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(|(name, _)| name)).finish()
    }
}

impl fmt::Display for ParamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge => write!(f, "the parameters are larger than {MAX_BYTES} bytes"),
            Self::TooMany => write!(f, "there are more than {MAX_PARAMETERS} parameters"),
            Self::TooLong(name) => write!(f, "{} is too long", called(Some(name))),
            Self::NotUtf8(name) => write!(f, "{} is not valid UTF-8", called(name.as_deref())),
            Self::BadEncoding(name) => write!(f, "{} is not correctly percent-encoded", called(name.as_deref())),
        }
    }
}

impl std::error::Error for ParamError {}

impl ParamError {
    /// The affected parameter, if its name may be repeated in a message.
    pub fn parameter(&self) -> Option<&str> {
        match self {
            Self::TooLarge | Self::TooMany => None,
            Self::TooLong(name) => Some(name.as_str()),
            Self::NotUtf8(name) | Self::BadEncoding(name) => name.as_deref(),
        }
        .filter(|name| is_harmless(name))
    }
}

/// The parameter as a description names it: by name only if the name is safe wherever a description may be sent.
fn called(name: Option<&str>) -> String {
    name.filter(|name| is_harmless(name)).map_or_else(|| "a parameter".to_owned(), |name| format!("parameter {name}"))
}

fn is_harmless(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
}

fn parse_pair(pair: &[u8]) -> Result<(String, Zeroizing<String>), ParamError> {
    let mut halves = pair.splitn(2, |&byte| byte == b'=');
    let name = decode(halves.next().unwrap_or_default()).map_err(|error| error.of(None))?;
    if name.len() > MAX_NAME {
        return Err(ParamError::TooLong(name.to_string()));
    }
    let value = decode(halves.next().unwrap_or_default()).map_err(|error| error.of(Some(&name)))?;
    if value.len() > MAX_VALUE {
        return Err(ParamError::TooLong(name.to_string()));
    }
    Ok((name.to_string(), value))
}

/// Why a text could not be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DecodeError {
    Percent,
    Text,
}

impl DecodeError {
    fn of(self, name: Option<&str>) -> ParamError {
        let name = name.map(str::to_owned);
        match self {
            Self::Percent => ParamError::BadEncoding(name),
            Self::Text => ParamError::NotUtf8(name),
        }
    }
}

/// Strictly decodes one name or value of `application/x-www-form-urlencoded`.
pub(crate) fn decode(encoded: &[u8]) -> Result<Zeroizing<String>, DecodeError> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(encoded.len()));
    let mut rest = encoded.iter();
    while let Some(&byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => (hex(rest.next())? << 4) | hex(rest.next())?,
            other => other,
        });
    }
    match std::str::from_utf8(&bytes) {
        Ok(text) if !text.contains('\0') => Ok(Zeroizing::new(text.to_owned())),
        _ => Err(DecodeError::Text),
    }
}

fn hex(digit: Option<&u8>) -> Result<u8, DecodeError> {
    let value = digit.and_then(|&digit| char::from(digit).to_digit(16)).ok_or(DecodeError::Percent)?;
    Ok(u8::try_from(value).expect("a hexadecimal digit is below 16"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(raw: &str) -> Vec<(String, String)> {
        let params = Params::parse(raw.as_bytes()).expect("well-formed");
        params.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    fn refused(raw: &[u8]) -> ParamError {
        Params::parse(raw).expect_err("must be refused")
    }

    #[test]
    fn pairs_are_decoded_in_order() {
        let table: &[(&str, &[(&str, &str)])] = &[
            ("", &[]),
            ("&&", &[]),
            ("a=1&b=2", &[("a", "1"), ("b", "2")]),
            ("a=b=c", &[("a", "b=c")]),
            ("a", &[("a", "")]),
            ("a=", &[("a", "")]),
            ("=x", &[("", "x")]),
            ("a+b=c+d", &[("a b", "c d")]),
            ("%61=%2B%26%3D%25", &[("a", "+&=%")]),
            ("a=%c3%A9", &[("a", "é")]),
            ("a=é", &[("a", "é")]),
            ("a=1&&a=2&", &[("a", "1"), ("a", "2")]),
        ];
        for (raw, expected) in table {
            let expected: Vec<_> = expected.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
            assert_eq!(pairs(raw), expected, "{raw}");
        }
    }

    /// RFC 6749 §3.1.
    #[test]
    fn a_parameter_without_a_value_counts_as_omitted() {
        let params = Params::parse(b"state=&nonce&scope=read").expect("well-formed");
        assert_eq!(params.get("state"), None);
        assert_eq!(params.get("nonce"), None);
        assert_eq!(params.get("absent"), None);
        assert_eq!(params.get("scope"), Some("read"));
    }

    #[test]
    fn the_first_repeated_name_is_remembered() {
        for (raw, expected) in [
            ("a=1&b=2", None),
            ("a=1&A=2", None),
            ("a=1&b=2&b=2&a=1", Some("b")),
            ("a=&a=1", Some("a")),
            ("a=1&%61=2", Some("a")),
        ] {
            let params = Params::parse(raw.as_bytes()).expect("well-formed");
            assert_eq!(params.repeated(), expected, "{raw}");
            assert_eq!(params.is_repeated("a"), raw.matches(['a']).count() + raw.matches("%61").count() > 1, "{raw}");
        }
    }

    #[test]
    fn malformed_text_is_refused_with_the_name_where_it_is_known() {
        let bad = |name: &str| ParamError::BadEncoding(Some(name.to_owned()));
        let not_text = |name: &str| ParamError::NotUtf8(Some(name.to_owned()));
        for (raw, expected) in [
            (&b"code=%"[..], bad("code")),
            (b"code=%4", bad("code")),
            (b"code=%4&x=1", bad("code")),
            (b"code=%zz", bad("code")),
            (b"code=%+1", bad("code")),
            (b"c%=1", ParamError::BadEncoding(None)),
            (b"state=%FF", not_text("state")),
            (b"state=\xff", not_text("state")),
            (b"state=%C3", not_text("state")),
            (b"state=%ED%A0%80", not_text("state")),
            (b"state=a%00b", not_text("state")),
            (b"%FF=1", ParamError::NotUtf8(None)),
            (b"%00=1", ParamError::NotUtf8(None)),
        ] {
            assert_eq!(refused(raw), expected, "{}", raw.escape_ascii());
        }
    }

    #[test]
    fn everything_is_bounded_and_the_bounds_themselves_are_allowed() {
        let whole = |bytes: usize| "&".repeat(bytes);
        assert!(Params::parse(whole(MAX_BYTES).as_bytes()).is_ok());
        assert_eq!(refused(whole(MAX_BYTES + 1).as_bytes()), ParamError::TooLarge);

        let many = |count: usize| vec!["a=1"; count].join("&");
        assert!(Params::parse(many(MAX_PARAMETERS).as_bytes()).is_ok());
        assert_eq!(refused(many(MAX_PARAMETERS + 1).as_bytes()), ParamError::TooMany);

        let name = |length: usize| "n".repeat(length);
        assert!(Params::parse(name(MAX_NAME).as_bytes()).is_ok());
        let long = name(MAX_NAME + 1);
        assert_eq!(refused(long.as_bytes()), ParamError::TooLong(long));

        let value = |length: usize| format!("state={}", "%41".repeat(length));
        assert!(Params::parse(value(MAX_VALUE).as_bytes()).is_ok());
        assert_eq!(refused(value(MAX_VALUE + 1).as_bytes()), ParamError::TooLong("state".to_owned()));
    }

    /// RFC 6749 §5.2: descriptions are printable ASCII without `"` and `\`.
    #[test]
    fn a_description_names_harmless_parameters_only_and_never_a_value() {
        for (raw, expected) in [
            (&b"client_id=secret%"[..], "parameter client_id is not correctly percent-encoded"),
            (b"state=secret%FF", "parameter state is not valid UTF-8"),
            (b"%22%5C=secret%", "a parameter is not correctly percent-encoded"),
            (b"a%0Db=%FF", "a parameter is not valid UTF-8"),
            (b"=%FF", "a parameter is not valid UTF-8"),
        ] {
            assert_eq!(refused(raw).to_string(), expected);
        }
        let long = format!("{}=%", "n".repeat(65));
        assert_eq!(refused(long.as_bytes()).to_string(), "a parameter is not correctly percent-encoded");
        assert_eq!(ParamError::TooLong("state".to_owned()).to_string(), "parameter state is too long");
        assert_eq!(ParamError::TooLarge.to_string(), "the parameters are larger than 32768 bytes");
        assert_eq!(ParamError::TooMany.to_string(), "there are more than 64 parameters");
        let twice = Params::parse(b"<b>=1&<b>=2").expect("well-formed");
        assert_eq!(twice.repetition().as_deref(), Some("a parameter must not be repeated"));
    }

    #[test]
    fn debugging_shows_names_but_no_values() {
        let params = Params::parse(b"client_secret=hush").expect("well-formed");
        assert_eq!(format!("{params:?}"), r#"["client_secret"]"#);
    }

    /// Random bytes never cause a panic, and parsed parameters survive encoding and parsing.
    #[test]
    fn any_bytes_are_refused_or_survive_a_round_trip() {
        const ALPHABET: &[u8] = b"ab=&+%0149fFcC3\xc3\xa9\\\"\x00 ";
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
        let mut accepted = 0;
        for _ in 0..20_000 {
            let mut raw = Vec::new();
            for _ in 0..seed % 24 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let at = usize::try_from(seed >> 33).expect("31 bits") % ALPHABET.len();
                raw.push(ALPHABET[at]);
            }
            seed = seed.wrapping_add(1);
            let Ok(params) = Params::parse(&raw) else { continue };
            accepted += 1;
            let again = Params::parse(params.to_query().as_bytes()).expect("written by us");
            let named = |params: &Params| -> Vec<(String, String)> {
                let all = params.iter().filter(|pair| *pair != ("", ""));
                all.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
            };
            assert_eq!(named(&again), named(&params), "{}", raw.escape_ascii());
        }
        assert!(accepted > 1000, "only {accepted} inputs were worth the test");
    }
}
