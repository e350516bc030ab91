//! Lists of addresses in records written by administrators and other systems (`identity.md` §2).

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};

/// A list of addresses, or one comma-separated string.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged, expecting = "a list of addresses or a comma-separated string")]
#[schemars(inline)]
pub(crate) enum Addresses {
    List(Vec<String>),
    Text(String),
}

pub(crate) fn addresses_as_written<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    Ok(match Addresses::deserialize(from)? {
        Addresses::List(list) => list,
        Addresses::Text(text) if text.trim().is_empty() => Vec::new(),
        Addresses::Text(text) => vec![text],
    })
}

/// Splits texts that may hold several comma-separated addresses. A comma separates if the next address begins after it
/// (RFC 3986 §3.1: a scheme and its colon) or nothing follows. Any other comma is part of an address.
pub(crate) fn single_addresses(texts: &[String]) -> Vec<String> {
    texts.iter().flat_map(|text| split_addresses(text)).map(str::to_owned).collect()
}

fn split_addresses(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut begin = 0;
    for (at, _) in text.match_indices(',') {
        let rest = text[at + 1..].trim_start();
        if rest.is_empty() || rest.starts_with(',') || begins_with_scheme(rest) {
            parts.push(text[begin..at].trim());
            begin = at + 1;
        }
    }
    let last = text[begin..].trim();
    // A list may end with a comma.
    if parts.is_empty() || !last.is_empty() {
        parts.push(last);
    }
    parts
}

fn begins_with_scheme(text: &str) -> bool {
    let end = text.bytes().position(|byte| !(byte.is_ascii_alphanumeric() || b"+-.".contains(&byte)));
    text.starts_with(|first: char| first.is_ascii_alphabetic()) && end.is_some_and(|end| text[end..].starts_with(':'))
}

#[cfg(test)]
mod tests {
    use super::split_addresses;

    #[test]
    fn a_comma_separates_where_another_address_begins() {
        for (text, parts) in [
            ("https://a/cb", &["https://a/cb"][..]),
            ("https://a/cb,https://b/cb", &["https://a/cb", "https://b/cb"]),
            ("https://a/cb , com.example.b:/cb,", &["https://a/cb", "com.example.b:/cb"]),
            ("https://a/x,y?z=1,2", &["https://a/x,y?z=1,2"]),
            ("https://a/x,/y", &["https://a/x,/y"]),
            ("https://a/cb,localhost:3000/", &["https://a/cb", "localhost:3000/"]),
            ("https://a/cb,,https://b/", &["https://a/cb", "", "https://b/"]),
            ("https://a/cb,1x:y", &["https://a/cb,1x:y"]),
            (",", &[""]),
            ("", &[""]),
        ] {
            assert_eq!(split_addresses(text), parts, "{text}");
        }
    }
}
