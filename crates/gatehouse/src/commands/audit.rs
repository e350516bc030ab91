//! `gatehouse audit`: the chain as a file, and whether it is whole.

mod list;

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, IsTerminal as _, Read as _, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use flows::World as _;
use flows::audit::{Book, BookEvent, Known, Pages, Span, Verdict};
use model::audit::chain::{Hash, Seal};
use model::{Moment, Timestamp};
use serde_json::{Value, json};
use web::SystemDice;

use super::SystemWorld;
use super::desk::{Desk, granted, moment, print};
use crate::cli::{AuditCommand, AuditFormat, Target};
use crate::config::Environment;
use crate::problem::Tampered;

/// A checkpoint is half a kilobyte.
const LARGEST_CHECKPOINT: u64 = 16 * 1024;

pub(super) async fn run(command: AuditCommand, environment: Environment<'_>) -> Result<()> {
    let mut dice = SystemDice;
    match command {
        AuditCommand::Export { target, since, until, kind, format, out } => {
            let span = Span { since: since.unwrap_or(Timestamp(0)), until: until.unwrap_or(Timestamp(i64::MAX)) };
            let wanted = Wanted { span, kinds: kind, format };
            export(&target, &wanted, out.as_deref(), environment).await
        }
        AuditCommand::List { target, filter } => list::run(&target, filter, environment).await,
        AuditCommand::Verify { target, checkpoint } => verify(&target, checkpoint.as_deref(), environment).await,
        AuditCommand::Checkpoint { target } => {
            let desk = Desk::open(&target.installation, environment).await?;
            let (_, office) = desk.office(&target).await?;
            let book = office.book(&desk.master);
            book.seal(&mut moment!(dice)).await.context("the database failed")?;
            let checkpoint = book.checkpoint().await?.context("there is nothing in the audit yet")?;
            let json = json!({ "checkpoint": checkpoint, "keys": book.keys().await? });
            print(&target.output, &json, &checkpoint)?;
            desk.database.close().await;
            Ok(())
        }
        AuditCommand::RenewKey { target } => {
            let desk = Desk::open(&target.installation, environment).await?;
            let (_, office) = desk.office(&target).await?;
            let book = office.book(&desk.master);
            granted(book.renew_key(&mut moment!(dice)).await)?;
            let text = "Checkpoints are signed by a new key from now on; those of the old one stay good.";
            print(&target.output, &json!({ "keys": book.keys().await? }), text)?;
            desk.database.close().await;
            Ok(())
        }
    }
}

async fn verify(target: &Target, checkpoint: Option<&Path>, environment: Environment<'_>) -> Result<()> {
    let elsewhere = checkpoint.map(read_checkpoint).transpose()?;
    let desk = Desk::open(&target.installation, environment).await?;
    let (name, office) = desk.office(target).await?;
    let book = office.book(&desk.master);
    let mut progress = Progress::new();
    let verdict = book.verify(elsewhere.as_deref(), |seals, events| progress.tell(seals, events)).await;
    progress.done();
    let verdict = granted(verdict)?;
    print(&target.output, &as_json(&verdict), &as_text(&name, &verdict))?;
    desk.database.close().await;
    if verdict.is_whole() { Ok(()) } else { Err(Tampered(verdict.findings.len() + verdict.more).into()) }
}

fn read_checkpoint(path: &Path) -> Result<String> {
    let mut text = String::new();
    let file = File::open(path).with_context(|| format!("{} cannot be read", path.display()))?;
    file.take(LARGEST_CHECKPOINT).read_to_string(&mut text)?;
    // As `audit checkpoint` prints it, with or without `--json`.
    let json: Option<Value> = serde_json::from_str(&text).ok();
    Ok(json.as_ref().and_then(|json| json["checkpoint"].as_str()).map_or(text, str::to_owned))
}

fn as_json(verdict: &Verdict) -> Value {
    json!({
        "whole": verdict.is_whole(),
        "seals": verdict.seals,
        "events": verdict.events,
        "erased": verdict.erased,
        "newest": verdict.newest,
        "signed": verdict.signed,
        "waiting": verdict.waiting,
        "findings": verdict.findings,
        "more": verdict.more,
    })
}

fn as_text(name: &str, verdict: &Verdict) -> String {
    let Verdict { seals, events, erased, newest, signed, waiting, .. } = verdict;
    let mut lines =
        vec![format!("The audit of {name}: {events} events in {seals} seals, signed up to seal {signed} of {newest}.")];
    if *erased > 0 {
        lines.push(format!("{erased} events are about persons who were erased."));
    }
    if *waiting {
        lines.push("The newest events are not sealed yet: a running server does it within a second.".to_owned());
    }
    lines.extend(verdict.findings.iter().map(ToString::to_string));
    if verdict.more > 0 {
        lines.push(format!("… and {} more.", verdict.more));
    }
    if verdict.is_whole() {
        lines.push("Nothing was edited, removed, inserted or moved.".to_owned());
    }
    lines.join("\n")
}

/// Tells a person at a terminal that it goes on.
struct Progress(bool);

impl Progress {
    fn new() -> Self {
        Self(std::io::stderr().is_terminal())
    }

    fn tell(&mut self, seals: u64, events: u64) {
        if self.0 {
            eprint!("\r{seals} seals, {events} events ");
        }
    }

    fn done(&self) {
        if self.0 {
            eprint!("\r{:40}\r", "");
        }
    }
}

struct Wanted {
    span: Span,
    /// None: all.
    kinds: Vec<String>,
    format: AuditFormat,
}

impl Wanted {
    fn has(&self, event: &BookEvent<'_>) -> bool {
        let at = event.event.at;
        let is_kind = self.kinds.is_empty() || self.kinds.contains(&event.event.kind);
        is_kind && at >= self.span.since && at < self.span.until
    }
}

async fn export(target: &Target, wanted: &Wanted, out: Option<&Path>, environment: Environment<'_>) -> Result<()> {
    let desk = Desk::open(&target.installation, environment).await?;
    let (name, office) = desk.office(target).await?;
    let book = office.book(&desk.master);
    let mut dice = SystemDice;
    book.seal(&mut moment!(dice)).await.context("the database failed")?;
    let (seals, events) = match out {
        None => write(&name, &book, wanted, BufWriter::new(std::io::stdout().lock())).await?,
        Some(path) => {
            let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
            let file = file.with_context(|| format!("{} cannot be made", path.display()))?;
            write(&name, &book, wanted, BufWriter::new(file)).await?
        }
    };
    if let Some(path) = out {
        let text = format!("{events} events in {seals} seals are in {}.", path.display());
        print(&target.output, &json!({ "events": events, "seals": seals, "file": path }), &text)?;
    }
    desk.database.close().await;
    Ok(())
}

/// How many seals and events were written.
async fn write(name: &str, book: &Book<'_>, wanted: &Wanted, mut out: impl Write) -> Result<(u64, u64)> {
    let full = "the export cannot be written";
    match wanted.format {
        AuditFormat::Jsonl => {
            let first = json!({ "format": "gatehouse-audit-1", "instance": book.instance(), "name": name, "keys": book.keys().await? });
            writeln!(out, "{first}").context(full)?;
        }
        AuditFormat::Csv => writeln!(out, "{}", CSV.join(",")).context(full)?,
    }
    let (mut seals, mut events, mut progress) = (0, 0, Progress::new());
    if let Some((first, last)) = book.range(&wanted.span).await? {
        let mut next = first;
        while next <= last {
            let pages = book.pages(next, last).await?;
            let Some(newest) = pages.seals.last() else { break };
            next = newest.number + 1;
            for seal in &pages.seals {
                events += write_seal(&pages, seal, wanted, &mut out).context(full)?;
                seals += 1;
            }
            progress.tell(seals, events);
        }
        if matches!(wanted.format, AuditFormat::Jsonl) {
            for jws in book.checkpoints(first - 1, last).await? {
                writeln!(out, "{}", json!({ "checkpoint": jws })).context(full)?;
            }
        }
    }
    out.flush().context(full)?;
    progress.done();
    Ok((seals, events))
}

fn write_seal(pages: &Pages, seal: &Seal, wanted: &Wanted, out: &mut impl Write) -> std::io::Result<u64> {
    let chosen: Vec<BookEvent<'_>> = pages.events(seal).filter(|event| wanted.has(event)).collect();
    match wanted.format {
        AuditFormat::Jsonl => {
            let mut head = json!({
                "seal": seal.number, "at": seal.at.micros(), "previous": seal.previous, "count": seal.count,
                "contents": Hash::of(seal.contents.as_bytes()).to_string(), "hash": seal.hash,
            });
            if !chosen.is_empty() {
                head["entries"] = seal.contents.lines().collect();
            }
            writeln!(out, "{head}")?;
            chosen.iter().try_for_each(|event| write_event(seal.number, event, out))?;
        }
        AuditFormat::Csv => chosen.iter().try_for_each(|event| writeln!(out, "{}", csv_line(seal.number, event)))?,
    }
    Ok(chosen.len() as u64)
}

/// The event stands last and as it is in the chain, so that its bytes can be cut out and hashed; so does the person.
fn write_event(seal: i64, event: &BookEvent<'_>, out: &mut impl Write) -> std::io::Result<()> {
    write!(out, "{{\"of\":{seal},\"place\":{},\"hash\":\"{}\"", event.place, event.hash)?;
    match &event.person {
        None => {}
        Some(Known::Text(text)) => write!(out, ",\"person\":{text}")?,
        Some(Known::Erased) => write!(out, ",\"person\":\"erased\"")?,
        Some(Known::Edited) => write!(out, ",\"person\":\"edited\"")?,
    }
    writeln!(out, ",\"event\":{}}}", event.line)
}

const CSV: [&str; 18] = [
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
];

fn csv_line(seal: i64, found: &BookEvent<'_>) -> String {
    let event = &found.event;
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let person = |value: &Option<String>| match &found.person {
        Some(Known::Erased) => "erased".to_owned(),
        _ => text(value),
    };
    let cells: [String; 18] = [
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
    ];
    cells.map(|cell| csv_cell(&cell)).join(",")
}

/// RFC 4180. What a spreadsheet would take for a formula gets an apostrophe in front: an outsider may have sent it.
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
