//! Details of a refusal for administrators: the failed check, the values sent, and the values expected.

use std::fmt::Display;

use serde::Serialize;

use crate::Timestamp;
use crate::line::marked;

/// A refusal with its audit details. Implementations match exhaustively, so a new variant does not compile without
/// them.
pub trait Refusal {
    /// The exact cause, one word for programs.
    fn cause(&self) -> &'static str;

    fn details(&self) -> RefusalDetails;
}

/// Maximum characters of a value. Values are external input.
const LONGEST: usize = 512;

/// Maximum number of values sent, and of values expected.
const MOST: usize = 16;

/// The details of a refusal. Never holds a secret: [`RefusalDetails::hidden`] records only its length.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RefusalDetails {
    /// The check that failed, as a sentence that is true of an accepted request.
    pub check: &'static str,
    /// The source of the rule: a section of a specification, or an attribute of the application or the instance.
    pub rule: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sent: Vec<Fact>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub expected: Vec<Fact>,
}

/// A named value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fact {
    pub name: &'static str,
    pub value: String,
    /// Index in characters of the first difference from the value sent under the same name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub differs_at: Option<usize>,
}

impl RefusalDetails {
    pub const fn new(check: &'static str, rule: &'static str) -> Self {
        Self { check, rule, sent: Vec::new(), expected: Vec::new() }
    }

    #[must_use]
    pub fn sent(mut self, name: &'static str, value: impl Display) -> Self {
        push(&mut self.sent, name, clean(&value.to_string()));
        self
    }

    /// A secret value: only its length in bytes is kept.
    #[must_use]
    pub fn hidden(self, name: &'static str, length: usize) -> Self {
        self.sent(name, format_args!("{length} bytes, not stored"))
    }

    #[must_use]
    pub fn expected(mut self, name: &'static str, value: impl Display) -> Self {
        push(&mut self.expected, name, clean(&value.to_string()));
        self
    }

    /// A value expected character for character. Marks where it differs from the value sent under this name.
    #[must_use]
    pub fn expected_exactly(mut self, name: &'static str, value: impl Display) -> Self {
        let value = clean(&value.to_string());
        let sent = self.sent.iter().find(|fact| fact.name == name);
        let differs_at = sent.map(|sent| first_difference(&sent.value, &value));
        if let Some(fact) = push(&mut self.expected, name, value) {
            fact.differs_at = differs_at;
        }
        self
    }

    /// The time of an earlier event and the time of the attempt.
    #[must_use]
    pub fn at(self, name: &'static str, at: Timestamp, now: Timestamp) -> Self {
        self.sent("at", when(now)).expected(name, when(at))
    }
}

fn push<'a>(facts: &'a mut Vec<Fact>, name: &'static str, value: String) -> Option<&'a mut Fact> {
    if facts.len() >= MOST {
        return None;
    }
    facts.push(Fact { name, value, differs_at: None });
    facts.last_mut()
}

/// One line, without control characters that act on a terminal or characters that mislead a reader.
fn clean(text: &str) -> String {
    let end = text.char_indices().nth(LONGEST).map(|(end, _)| end);
    let mut clean = marked(&text[..end.unwrap_or(text.len())]).into_owned();
    if end.is_some() {
        clean.push('…');
    }
    clean
}

fn first_difference(a: &str, b: &str) -> usize {
    a.chars().zip(b.chars()).take_while(|(a, b)| a == b).count()
}

/// A time for readers: RFC 3339, in UTC.
pub fn when(at: Timestamp) -> String {
    odata::format_instant(at.micros())
}

/// A request too malformed to be decided on.
pub struct MalformedRequest<'a> {
    pub cause: &'static str,
    pub problem: &'a str,
}

impl Refusal for MalformedRequest<'_> {
    fn cause(&self) -> &'static str {
        self.cause
    }

    fn details(&self) -> RefusalDetails {
        RefusalDetails::new("the request can be read", "RFC 6749 §3.1, §3.2, Appendix B").sent("problem", self.problem)
    }
}

/// A failure inside Gatehouse. The request itself was valid.
pub struct FailedRequest;

impl Refusal for FailedRequest {
    fn cause(&self) -> &'static str {
        "fault"
    }

    fn details(&self) -> RefusalDetails {
        RefusalDetails::new(
            "the request is processed without an internal error",
            "see the server log, under the same reference",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_expected_exactly_is_marked_where_it_parts() {
        let details = RefusalDetails::new("a", "b")
            .sent("uri", "https://a.example/cbé/x")
            .expected_exactly("uri", "https://a.example/cbé/y")
            .expected_exactly("other", "z");
        let marks: Vec<_> = details.expected.iter().map(|fact| fact.differs_at).collect();
        assert_eq!(marks, [Some(22), None]);
        let json = serde_json::to_string(&details).expect("strings");
        assert_eq!(
            json,
            r#"{"check":"a","rule":"b","sent":[{"name":"uri","value":"https://a.example/cbé/x"}],"expected":[{"name":"uri","value":"https://a.example/cbé/y","differs_at":22},{"name":"other","value":"z"}]}"#
        );
    }

    #[test]
    fn what_outsiders_send_is_cut_and_obeyed_by_no_terminal() {
        let details = RefusalDetails::new("a", "b").sent("x", "a\n\u{1b}[2J\u{202e}z").sent("long", "é".repeat(600));
        assert_eq!(details.sent[0].value, "a\u{fffd}\u{fffd}[2J\u{fffd}z");
        assert_eq!(details.sent[1].value.chars().count(), 513);
        let many = (0..40).fold(RefusalDetails::new("a", "b"), |details, number| details.expected("n", number));
        assert_eq!(many.expected.len(), 16);
        assert_eq!(RefusalDetails::new("a", "b").hidden("code", 64).sent[0].value, "64 bytes, not stored");
    }

    #[test]
    fn times_are_read_by_people() {
        assert_eq!(when(Timestamp::from_seconds(1_900_000_000)), "2030-03-17T17:46:40Z");
    }
}
