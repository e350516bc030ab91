//! Answered API calls. They are by far the most frequent events, so each is formatted once, in the form of the chain.

use serde::Serialize;
use uuid::Uuid;

use crate::audit::{AuditKind, AuditOutcome, RequestId};
use crate::{ApiSessionId, Timestamp, UserId};

/// An accepted call. Nothing in it identifies a person: the event of its session's opening has the address and the
/// credential.
pub struct AnsweredCall<'a> {
    pub at: Timestamp,
    /// `ApplicationUri`.
    pub application: &'a str,
    pub user: UserId,
    pub session: ApiSessionId,
    pub request: RequestId,
    pub method: &'a str,
    /// Without the query, which may hold anything.
    pub path: &'a str,
    pub status: u16,
}

/// Repeated doubling leads to whole mebibytes.
const FIRST_ROOM: usize = 4096;

/// Calls in the order in which they were answered, to be written into one seal.
pub struct Calls {
    /// The common part of the event ids; each event appends its number.
    id: String,
    lines: Vec<u8>,
    /// The time of each call, and the end of its line without the line feed.
    ends: Vec<(Timestamp, usize)>,
}

impl Calls {
    /// Starts with the first call's request id as the event id: request ids are unique, so the event ids are too.
    pub fn beginning_with(request: RequestId) -> Self {
        Self { id: Uuid::from_u128(request.0).to_string(), lines: Vec::with_capacity(FIRST_ROOM), ends: Vec::new() }
    }

    /// Bytes of text.
    pub fn bytes(&self) -> usize {
        self.lines.len()
    }

    pub fn add(&mut self, call: &AnsweredCall<'_>) {
        call.write(&self.id, self.ends.len(), &mut self.lines);
        self.ends.push((call.at, self.lines.len()));
        self.lines.push(b'\n');
    }

    /// The lines of all calls, each with its line feed.
    pub fn lines(&self) -> &str {
        std::str::from_utf8(&self.lines).expect("JSON is UTF-8")
    }

    /// The id, the time and the line of each event.
    pub fn events(&self) -> impl Iterator<Item = ((&str, usize), Timestamp, &str)> {
        let (lines, mut begin) = (self.lines(), 0);
        self.ends.iter().enumerate().map(move |(number, (at, end))| {
            let line = &lines[begin..*end];
            begin = end + 1;
            ((self.id.as_str(), number), *at, line)
        })
    }
}

impl AnsweredCall<'_> {
    /// Writes the form of [`super::StoredEvent::chained`], without a line feed.
    fn write(&self, id: &str, number: usize, line: &mut Vec<u8>) {
        let mut hyphens = [0; 36];
        line.reserve(512 + self.application.len() + self.path.len());
        line.extend_from_slice(b"{\"id\":\"");
        line.extend_from_slice(id.as_bytes());
        line.push(b'.');
        push(line, &number);
        line.extend_from_slice(b"\",\"at\":");
        push(line, &self.at.micros());
        plain(line, "kind", AuditKind::ApiCall.as_str().as_bytes());
        plain(line, "outcome", AuditOutcome::Done.as_str().as_bytes());
        member(line, "application", self.application);
        plain(line, "user", self.user.0.hyphenated().encode_lower(&mut hyphens).as_bytes());
        plain(line, "session", self.session.0.hyphenated().encode_lower(&mut hyphens).as_bytes());
        plain(line, "request", &self.request.digits());
        line.extend_from_slice(b",\"detail\":{\"method\":");
        push(line, self.method);
        member(line, "path", self.path);
        line.extend_from_slice(b",\"status\":");
        push(line, &self.status);
        line.extend_from_slice(b"}}");
    }
}

fn member(line: &mut Vec<u8>, name: &str, text: &str) {
    line.extend_from_slice(b",\"");
    line.extend_from_slice(name.as_bytes());
    line.extend_from_slice(b"\":");
    push(line, text);
}

/// Writes a text in which no character needs an escape.
fn plain(line: &mut Vec<u8>, name: &str, text: &[u8]) {
    for part in [b",\"", name.as_bytes(), b"\":\"", text, b"\""] {
        line.extend_from_slice(part);
    }
}

fn push<T: Serialize + ?Sized>(line: &mut Vec<u8>, value: &T) {
    serde_json::to_writer(line, value).expect("texts and numbers are JSON");
}

#[cfg(test)]
mod tests {
    use super::super::StoredEvent;
    use super::super::chain::{ChainHead, Seal};
    use super::super::verify::{AuditFinding, ChainVerifier, Checkpoints};
    use super::*;
    use crate::InstanceId;

    fn calls(paths: &[&str]) -> Calls {
        let request = |number| RequestId::new(Timestamp::from_seconds(1_795_255_032), 7, number);
        let mut calls = Calls::beginning_with(request(0));
        for (number, path) in (0..).zip(paths) {
            calls.add(&AnsweredCall {
                at: Timestamp(1000 - i64::try_from(number).expect("few")),
                application: "my.trusted.app/first",
                user: UserId(Uuid::from_u128(1)),
                session: ApiSessionId(Uuid::from_u128(2)),
                request: request(number),
                method: "GET",
                path,
                status: 200,
            });
        }
        calls
    }

    #[test]
    fn a_call_is_the_line_that_the_chain_would_make_of_it_whatever_its_path() {
        let calls = calls(&["/api/domain/odata/", "/api/\"\\\n\u{1}é"]);
        let mut seen = 0;
        for ((id, number), at, line) in calls.events() {
            let (event, person) = StoredEvent::parse(line).expect("a line");
            assert_eq!((event.id.as_str(), event.at, person), (format!("{id}.{number}").as_str(), at, None));
            assert_eq!(event.chained(None), line);
            seen += 1;
        }
        assert_eq!((seen, calls.lines().lines().count()), (2, 2));
    }

    #[test]
    fn a_seal_of_calls_is_whole_until_one_of_them_is_edited() {
        let instance = InstanceId(Uuid::from_u128(9));
        let seal = Seal::of_calls(instance, &ChainHead::NONE, Timestamp(2000), &calls(&["/a", "/b", "/c"]));
        assert_eq!((seal.count, seal.first_at, seal.last_at), (3, Timestamp(998), Timestamp(1000)));
        let findings = |seal: &Seal| {
            let mut found = Vec::new();
            ChainVerifier::new(instance).seal(seal, Checkpoints::default(), &mut found);
            found
        };
        assert_eq!(findings(&seal), []);
        let edited = Seal { events: seal.events.replace("/b", "/x"), ..seal };
        assert!(matches!(&findings(&edited)[..], [AuditFinding::EventEdited(event)] if event.id.ends_with(".1")));
    }
}
