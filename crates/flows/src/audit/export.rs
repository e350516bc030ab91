//! Exports the chain as a file: JSON lines that can be verified without Gatehouse, or a table.

use std::fmt::Write as _;

use model::audit::chain::{Chain, Seal, SealHash};
use serde_json::json;

use crate::Fault;
use crate::audit::person_keys::KnownPerson;
use crate::audit::reader::{AuditRange, AuditReader, SealPages, SealedEvent};

/// File format of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportFormat {
    /// One line of JSON for each event, with everything needed to verify the events without Gatehouse.
    Jsonl,
    /// RFC 4180, for spreadsheets.
    Csv,
}

/// An export in progress: read piece by piece, in bounded memory.
pub struct AuditExport {
    span: AuditRange,
    /// Event kinds to export; empty for all.
    kinds: Vec<String>,
    format: ExportFormat,
    at: ExportStage,
    /// Numbers written so far.
    pub seals: u64,
    pub events: u64,
}

#[derive(Clone, Copy)]
enum ExportStage {
    Head,
    Seals { first: i64, next: i64, last: i64 },
    End,
}

impl AuditExport {
    pub fn new(span: AuditRange, kinds: Vec<String>, format: ExportFormat) -> Self {
        Self { span, kinds, format, at: ExportStage::Head, seals: 0, events: 0 }
    }

    /// The next piece of the file; `None` after its end.
    pub async fn next(&mut self, book: &AuditReader<'_>, name: &str) -> Result<Option<String>, Fault> {
        match self.at {
            ExportStage::Head => {
                let range = book.range(&self.span).await?;
                self.at =
                    range.map_or(ExportStage::End, |(first, last)| ExportStage::Seals { first, next: first, last });
                Ok(Some(match self.format {
                    ExportFormat::Csv => format!("{}\n", CSV.join(",")),
                    ExportFormat::Jsonl => {
                        let (instance, keys) = (book.instance(), book.keys().await?);
                        let mut head =
                            json!({ "format": "gatehouse-audit-1", "instance": instance, "name": name, "keys": keys });
                        if book.chain() != Chain::Main {
                            head["chain"] = book.chain().as_str().into();
                        }
                        format!("{head}\n")
                    }
                }))
            }
            ExportStage::Seals { first, next, last } => {
                let pages = book.pages(next, last).await?;
                if let Some(newest) = pages.seals.last() {
                    self.at = ExportStage::Seals { first, next: newest.number + 1, last };
                    return Ok(Some(self.written(&pages)));
                }
                self.at = ExportStage::End;
                self.checkpoints(book, (first, last)).await.map(Some)
            }
            ExportStage::End => Ok(None),
        }
    }

    async fn checkpoints(&self, book: &AuditReader<'_>, (first, last): (i64, i64)) -> Result<String, Fault> {
        if self.format == ExportFormat::Csv {
            return Ok(String::new());
        }
        let mut text = String::new();
        for jws in book.checkpoints(first - 1, last).await? {
            let _infallible = writeln!(text, "{}", json!({ "checkpoint": jws }));
        }
        Ok(text)
    }

    fn written(&mut self, pages: &SealPages) -> String {
        let mut text = String::new();
        for seal in &pages.seals {
            let chosen: Vec<SealedEvent<'_>> = pages.events(seal).filter(|event| self.has(event)).collect();
            self.seals += 1;
            self.events += chosen.len() as u64;
            match self.format {
                ExportFormat::Jsonl => jsonl(&mut text, seal, &chosen),
                ExportFormat::Csv => {
                    for event in &chosen {
                        let _infallible = writeln!(text, "{}", csv_line(seal.number, event));
                    }
                }
            }
        }
        text
    }

    fn has(&self, event: &SealedEvent<'_>) -> bool {
        let at = event.event.at;
        let is_kind = self.kinds.is_empty() || self.kinds.contains(&event.event.kind);
        is_kind && at >= self.span.since && at < self.span.until
    }
}

fn jsonl(text: &mut String, seal: &Seal, chosen: &[SealedEvent<'_>]) {
    let mut head = json!({
        "seal": seal.number, "at": seal.at.micros(), "previous": seal.previous, "count": seal.count,
        "contents": SealHash::of(seal.contents.as_bytes()).to_string(), "hash": seal.hash,
    });
    if !chosen.is_empty() {
        head["entries"] = seal.contents.lines().collect();
    }
    let _infallible = writeln!(text, "{head}");
    for event in chosen {
        jsonl_event(text, seal.number, event);
    }
}

/// The event comes last, byte for byte as in the chain, so that it can be cut out and hashed. So is the personal data.
fn jsonl_event(text: &mut String, seal: i64, event: &SealedEvent<'_>) {
    let person = match &event.person {
        None => String::new(),
        Some(KnownPerson::Text(text)) => format!(",\"person\":{text}"),
        Some(KnownPerson::Erased) => ",\"person\":\"erased\"".to_owned(),
        Some(KnownPerson::Edited) => ",\"person\":\"edited\"".to_owned(),
    };
    let SealedEvent { place, hash, line, .. } = event;
    let _infallible =
        writeln!(text, "{{\"of\":{seal},\"place\":{place},\"hash\":\"{hash}\"{person},\"event\":{line}}}");
}

const CSV: [&str; 20] = [
    "seal",
    "place",
    "hash",
    "id",
    "time",
    "kind",
    "outcome",
    "reason",
    "actor",
    "application",
    "user",
    "login",
    "token",
    "session",
    "address",
    "user_agent",
    "request",
    "detail",
    "earlier_address",
    "earlier_user_agent",
];

fn csv_line(seal: i64, found: &SealedEvent<'_>) -> String {
    let event = &found.event;
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let person = |value: &Option<String>| match &found.person {
        Some(KnownPerson::Erased) => "erased".to_owned(),
        _ => text(value),
    };
    let cells: [String; 20] = [
        seal.to_string(),
        found.place.to_string(),
        found.hash.to_string(),
        event.id.clone(),
        event.at.rfc3339(),
        event.kind.clone(),
        event.outcome.clone(),
        event.reason.clone(),
        text(&event.actor),
        text(&event.application),
        text(&event.user),
        person(&event.login),
        text(&event.token),
        text(&event.session),
        person(&event.address),
        person(&event.user_agent),
        text(&event.request),
        text(&event.detail),
        person(&event.earlier_address),
        person(&event.earlier_user_agent),
    ];
    cells.map(|cell| csv_cell(&cell)).join(",")
}

/// Quotes a cell (RFC 4180). A value that a spreadsheet would take for a formula gets an apostrophe in front: an
/// outsider may have sent it.
fn csv_cell(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let text = if formula { format!("'{text}") } else { text.to_owned() };
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_never_a_formula_and_never_two_cells() {
        for (text, cell) in [
            ("plain", "plain"),
            ("a,b", "\"a,b\""),
            ("say \"x\"", "\"say \"\"x\"\"\""),
            ("=1+1", "'=1+1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("+1,-1", "\"'+1,-1\""),
            ("a\nb", "\"a\nb\""),
            ("", ""),
        ] {
            assert_eq!(csv_cell(text), cell);
        }
    }
}
