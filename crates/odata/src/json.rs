use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::{Decimal, ParseError};

/// A JSON value of a write body: members in order, none repeated, numbers exact, no U+0000.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Json {
    Null,
    Boolean(bool),
    Number(Decimal),
    Text(String),
    Array(Vec<Json>),
    Object(Vec<(String, Json)>),
}

const MAX_DEPTH: usize = 16;
const PLACE: &str = "body";

impl Json {
    /// The caller limits the length of `body`.
    pub fn parse(body: &[u8]) -> Result<Self, ParseError> {
        let raw: &RawValue = serde_json::from_slice(body).map_err(|_| syntax("JSON"))?;
        Self::read(raw.get(), 0)
    }

    fn read(text: &str, depth: usize) -> Result<Self, ParseError> {
        if depth > MAX_DEPTH {
            return Err(ParseError::TooMany { place: PLACE, limit: MAX_DEPTH, unit: "levels" });
        }
        match text.as_bytes() {
            [b'{', ..] => {
                let Members(members) = from_str(text)?;
                Self::object(members, depth)
            }
            [b'[', ..] => {
                let items: Vec<&RawValue> = from_str(text)?;
                let items = items.iter().map(|item| Self::read(item.get(), depth + 1));
                items.collect::<Result<_, _>>().map(Self::Array)
            }
            [b'"', ..] => checked_text(from_str(text)?).map(Self::Text),
            b"null" => Ok(Self::Null),
            b"true" => Ok(Self::Boolean(true)),
            b"false" => Ok(Self::Boolean(false)),
            _ => Decimal::parse(text).map(Self::Number).ok_or(syntax("a number of at most 28 digits")),
        }
    }

    fn object(members: Vec<(String, &RawValue)>, depth: usize) -> Result<Self, ParseError> {
        let mut names: Vec<&str> = members.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        if names.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(syntax("each member once"));
        }
        let read = |(name, raw): (String, &RawValue)| Ok((checked_text(name)?, Self::read(raw.get(), depth + 1)?));
        members.into_iter().map(read).collect::<Result<_, _>>().map(Self::Object)
    }
}

fn from_str<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, ParseError> {
    serde_json::from_str(text).map_err(|_| syntax("JSON"))
}

fn checked_text(text: String) -> Result<String, ParseError> {
    if text.contains('\0') { Err(syntax("text without U+0000")) } else { Ok(text) }
}

const fn syntax(expected: &'static str) -> ParseError {
    ParseError::Syntax { place: PLACE, at: 0, expected }
}

/// An object's members with unparsed values.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Members(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_keep_their_order_and_numbers_their_digits() {
        let body = r#" { "b" : 9007199254.740993, "a": {"z":[null,true,"\u00e9"]}, "A":-1e2 } "#;
        let number = |text| Json::Number(Decimal::parse(text).expect("a number"));
        let list = Json::Array(vec![Json::Null, Json::Boolean(true), Json::Text("é".to_owned())]);
        let expected = Json::Object(vec![
            ("b".to_owned(), number("9007199254.740993")),
            ("a".to_owned(), Json::Object(vec![("z".to_owned(), list)])),
            ("A".to_owned(), number("-1e2")),
        ]);
        assert_eq!(Json::parse(body.as_bytes()), Ok(expected));
    }

    #[test]
    fn what_is_no_json_or_says_a_thing_twice_is_refused() {
        for body in [
            "",
            "{",
            "{} {}",
            "{'a':1}",
            r#"{"a":1,"a":1}"#,
            r#"{"o":{"a":1,"b":2,"a":1}}"#,
            r#"{"a":"\u0000"}"#,
            r#"{"\u0000":1}"#,
            "[1,]",
            "NaN",
            "1e9999",
            r#""\ud800""#,
            r#"{"a":01}"#,
        ] {
            assert!(matches!(Json::parse(body.as_bytes()), Err(ParseError::Syntax { .. })), "{body}");
        }
        assert!(Json::parse(b"\xff").is_err());
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        assert!(Json::parse(nested(17).as_bytes()).is_ok());
        assert!(matches!(Json::parse(nested(18).as_bytes()), Err(ParseError::TooMany { .. })));
        assert!(Json::parse(nested(100_000).as_bytes()).is_err());
    }
}
