//! Startup problems, with instructions for the operator.

use std::fmt;
use std::ops::Range;
use std::path::Path;

/// A reason why the server cannot start, and the next step to take. Never contains a secret.
#[derive(Debug, PartialEq, Eq)]
pub struct StartupProblem {
    what: String,
    mend: String,
}

impl StartupProblem {
    pub fn new(what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { what: what.into(), mend: mend.into() }
    }

    pub fn what(&self) -> &str {
        &self.what
    }

    /// The next step to take.
    pub fn mend(&self) -> &str {
        &self.mend
    }

    /// Reports `what` at `span` (bytes) of the file's `text`, with the line and a caret.
    pub(crate) fn at(path: &Path, text: &str, span: Range<usize>, what: &str, mend: &str) -> Self {
        let start = text.floor_char_boundary(span.start);
        let line_start = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let line_end = text[start..].find('\n').map_or(text.len(), |newline| start + newline);
        let number = text[..line_start].matches('\n').count() + 1;
        let end = text.floor_char_boundary(span.end).clamp(start, line_end);

        // The text after the span may be a secret, and the span may contain a password.
        let shown = without_password(&text[line_start..end]);
        let more = if text[end..line_end].trim().is_empty() { "" } else { " …" };
        let indent = " ".repeat(text[line_start..start].chars().count());
        let carets = "^".repeat(text[start..end].chars().count().max(1));
        let margin = " ".repeat(number.to_string().len());
        let what = without_password(what);
        Self::new(
            format!(
                "{}, line {number}: {what}\n{margin} |\n{number} | {shown}{more}\n{margin} | {indent}{carets}",
                path.display()
            ),
            mend,
        )
    }
}

impl fmt::Display for StartupProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n  → {}", self.what, self.mend)
    }
}

impl std::error::Error for StartupProblem {}

/// The audit differs from the events that were written; holds the number of findings reported. Exit code 3.
#[derive(Debug)]
pub struct AuditTampered(pub usize);

impl fmt::Display for AuditTampered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let findings = if self.0 == 1 { "1 finding".to_owned() } else { format!("{} findings", self.0) };
        write!(f, "the audit was tampered with: {findings}")
    }
}

impl std::error::Error for AuditTampered {}

/// The database lost events that the audit had, and the chain records the loss; there is no other finding. Exit code 4.
#[derive(Debug)]
pub struct AuditBroken(pub usize);

impl fmt::Display for AuditBroken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let findings = if self.0 == 1 { "1 finding".to_owned() } else { format!("{} findings", self.0) };
        write!(f, "the audit has a recorded break, because the database was restored to an earlier state: {findings}")
    }
}

impl std::error::Error for AuditBroken {}

/// Masks the user-info of a URL (RFC 3986 §3.2.1), keeping the width so that carets still point at the right column.
fn without_password(text: &str) -> String {
    match (text.find("://"), text.rfind('@')) {
        (Some(scheme), Some(at)) if scheme + 3 <= at => {
            let covered = "*".repeat(text[scheme + 3..at].chars().count());
            format!("{}{covered}{}", &text[..scheme + 3], &text[at..])
        }
        _ => text.to_owned(),
    }
}

/// The problem of a missing database, and the next step to take.
pub(crate) fn missing_database(what: String) -> StartupProblem {
    StartupProblem::new(
        what,
        "restore it from a backup, or correct `database` in the configuration; for a new installation, run \
         `gatehouse instance create NAME`",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_points_at_its_place_and_covers_passwords() {
        let text = "a = 1\ndätabase = \"postgres://u:secret@db/x\" # note\n";
        let start = text.find('"').expect("there");
        let end = text.rfind('"').expect("there") + 1;
        let problem =
            StartupProblem::at(Path::new("g.toml"), text, start..end, "bad postgres://u:secret@db", "mend it");
        let expected = "g.toml, line 2: bad postgres://********@db\n  |\n\
                        2 | dätabase = \"postgres://********@db/x\" …\n  |            ^^^^^^^^^^^^^^^^^^^^^^^^^^\n  → mend it";
        assert_eq!(problem.to_string(), expected);
    }

    #[test]
    fn a_value_that_follows_a_wrong_key_is_not_shown() {
        let problem = StartupProblem::at(Path::new("g.toml"), "key = \"hunter2\"", 0..3, "unknown", "mend it");
        assert!(!problem.to_string().contains("hunter2"), "{problem}");
    }

    #[test]
    fn a_place_at_the_end_of_the_file_is_still_a_place() {
        let problem = StartupProblem::at(Path::new("g.toml"), "a = ", 4..4, "nothing", "mend it");
        assert!(problem.to_string().contains("1 | a = \n  |     ^"), "{problem}");
    }
}
