//! `scope` (RFC 6749 §3.3).

use std::fmt;

use serde::{Deserialize, Serialize};

/// Maximum number of scope-tokens in one scope.
pub const MAX_TOKENS: usize = 64;
/// Maximum bytes of a scope-token.
pub const MAX_SCOPE_TOKEN_BYTES: usize = 128;

/// A set of scope-tokens in the order in which they were named. Scopes are compared as sets.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Scope(Vec<String>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScopeError {
    #[error("scope has more than {MAX_TOKENS} values")]
    TooMany,
    #[error("a value of scope is longer than {MAX_SCOPE_TOKEN_BYTES} characters")]
    TooLong,
    #[error("scope contains a character that RFC 6749 section 3.3 does not allow")]
    Character,
}

impl TryFrom<String> for Scope {
    type Error = ScopeError;

    fn try_from(text: String) -> Result<Self, ScopeError> {
        Self::parse(&text)
    }
}

impl From<Scope> for String {
    fn from(scope: Scope) -> Self {
        scope.to_string()
    }
}

impl Scope {
    /// Splits at spaces. Several spaces count as one. Without tokens, the scope is empty.
    pub fn parse(text: &str) -> Result<Self, ScopeError> {
        let mut scope = Self::default();
        for token in text.split(' ').filter(|token| !token.is_empty()) {
            if !token.bytes().all(is_nqchar) {
                return Err(ScopeError::Character);
            }
            if token.len() > MAX_SCOPE_TOKEN_BYTES {
                return Err(ScopeError::TooLong);
            }
            scope.insert(token);
            if scope.0.len() > MAX_TOKENS {
                return Err(ScopeError::TooMany);
            }
        }
        Ok(scope)
    }

    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    pub fn contains(&self, token: &str) -> bool {
        self.iter().any(|known| known == token)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn is_subset(&self, of: &Self) -> bool {
        self.iter().all(|token| of.contains(token))
    }

    /// The tokens for which `keep` returns true.
    #[must_use]
    pub fn filter(&self, keep: impl Fn(&str) -> bool) -> Self {
        Self(self.0.iter().filter(|token| keep(token)).cloned().collect())
    }

    /// The tokens in both scopes, in the order of this one.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        self.filter(|token| other.contains(token))
    }

    /// The tokens in either scope, those of this one first.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let mut all = self.clone();
        other.iter().for_each(|token| all.insert(token));
        all
    }

    fn insert(&mut self, token: &str) {
        if !self.contains(token) {
            self.0.push(token.to_owned());
        }
    }
}

impl PartialEq for Scope {
    fn eq(&self, other: &Self) -> bool {
        self.0.len() == other.0.len() && self.is_subset(other)
    }
}

impl Eq for Scope {}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(" "))
    }
}

/// RFC 6749 Appendix A: `NQCHAR = %x21 / %x23-5B / %x5D-7E`.
fn is_nqchar(byte: u8) -> bool {
    byte.is_ascii_graphic() && byte != b'"' && byte != b'\\'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(text: &str) -> Scope {
        Scope::parse(text).expect("well-formed")
    }

    #[test]
    fn tokens_are_kept_once_in_the_order_they_were_named() {
        for (text, expected) in [
            ("", ""),
            ("  ", ""),
            ("read", "read"),
            ("openid read openid", "openid read"),
            (" update  read ", "update read"),
            ("urn:x!#[]~ https://api.example.com/a", "urn:x!#[]~ https://api.example.com/a"),
        ] {
            assert_eq!(scope(text).to_string(), expected, "{text:?}");
        }
        assert!(scope("").is_empty() && !scope("read").is_empty());
        assert!(Scope::default().is_empty());
    }

    /// RFC 6749 §3.3.
    #[test]
    fn characters_outside_the_grammar_are_refused() {
        for text in ["a\"b", "a\\b", "a\tb", "a\nb", "é", "a\u{7f}", "a\u{a0}b", "read\r"] {
            assert_eq!(Scope::parse(text), Err(ScopeError::Character), "{text:?}");
        }
    }

    #[test]
    fn tokens_are_bounded_in_length_and_number() {
        assert!(Scope::parse(&"x".repeat(MAX_SCOPE_TOKEN_BYTES)).is_ok());
        assert_eq!(Scope::parse(&"x".repeat(MAX_SCOPE_TOKEN_BYTES + 1)), Err(ScopeError::TooLong));
        let many = |count: usize| (0..count).map(|number| format!("s{number}")).collect::<Vec<_>>().join(" ");
        assert!(Scope::parse(&many(MAX_TOKENS)).is_ok());
        assert_eq!(Scope::parse(&many(MAX_TOKENS + 1)), Err(ScopeError::TooMany));
        assert!(Scope::parse(&"same ".repeat(MAX_TOKENS * 2)).is_ok());
    }

    #[test]
    fn scopes_compare_and_combine_as_sets() {
        let (a, b) = (scope("openid read update"), scope("update sec openid"));
        assert_eq!(scope("a b"), scope("b a"));
        assert_ne!(scope("a b"), scope("a"));
        assert_ne!(scope("a b"), scope("a c"));
        assert!(scope("read openid").is_subset(&a) && scope("").is_subset(&a) && a.is_subset(&a));
        assert!(!b.is_subset(&a));
        assert!(a.contains("read") && !a.contains("rea") && !a.contains("Read"));
        assert_eq!(a.intersection(&b).to_string(), "openid update");
        assert_eq!(a.union(&b).to_string(), "openid read update sec");
        assert_eq!(a.filter(|token| token != "read").to_string(), "openid update");
        assert_eq!(a.iter().collect::<Vec<_>>(), ["openid", "read", "update"]);
    }
}
