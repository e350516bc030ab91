//! `gatehouse audit`: exports and verifies the audit.

mod list;

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Read as _, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use flows::Platform as _;
use flows::admin::AdminRefusal;
use flows::audit::{AuditExport, AuditRange, AuditReader, ExportFormat, VerificationResult};
use model::audit::chain::Chain;
use model::audit::verify::Unattested;
use model::{Moment, Timestamp};
use serde_json::{Value, json};
use web::SystemRng;

use crate::cli::{AuditCommand, AuditFormat, Target};
use crate::commands::cli_session::{CliSession, granted, moment, print, print_answer};
use crate::config::Environment;
use crate::output;
use crate::output::Progress;
use crate::platform::SystemPlatform;
use crate::problem::{AuditBroken, AuditTampered};

/// Maximum size of a file of checkpoints: two months at one a minute, about 700 bytes each.
const LARGEST_FILE: u64 = 64 * 1024 * 1024;

pub(super) async fn run(command: AuditCommand, environment: Environment<'_>) -> Result<()> {
    let mut rng = SystemRng;
    match command {
        AuditCommand::Export { target, since, until, kind, format, chain, out } => {
            let span = AuditRange { since: since.unwrap_or(Timestamp(0)), until: until.unwrap_or(Timestamp(i64::MAX)) };
            let format = match format {
                AuditFormat::Jsonl => ExportFormat::Jsonl,
                AuditFormat::Csv => ExportFormat::Csv,
            };
            export(&target, chain, AuditExport::new(span, kind, format), out.as_deref(), environment).await
        }
        AuditCommand::List { target, filter } => list::run(&target, filter, environment).await,
        AuditCommand::Verify { target, against, chain } => {
            verify((&target, chain), against.as_deref(), environment).await
        }
        AuditCommand::Checkpoint { target, chain } => {
            let desk = CliSession::open(&target.installation, environment).await?;
            let admin = desk.admin(&target).await?;
            let admin = &admin.service;
            let book = admin.audit_reader_of(chain, &desk.master).await?;
            book.seal(&mut moment!(rng)).await.context("database error")?;
            let checkpoint = book.checkpoint().await?.context("the chain is empty")?;
            let json = json!({ "checkpoint": checkpoint, "keys": book.keys().await? });
            print(&target.output, &json, &checkpoint)?;
            desk.database.close().await;
            Ok(())
        }
        AuditCommand::RenewKey { target } => {
            let desk = CliSession::open(&target.installation, environment).await?;
            let admin = desk.admin(&target).await?;
            let admin = &admin.service;
            let book = admin.audit_reader(&desk.master);
            granted(book.renew_key(&mut moment!(rng)).await.map(|renewed| renewed.map_err(AdminRefusal::from)))?;
            let text = "Checkpoints are now signed with a new key. Old checkpoints stay valid.";
            print(&target.output, &json!({ "keys": book.keys().await? }), text)?;
            desk.database.close().await;
            Ok(())
        }
    }
}

async fn verify(
    (target, chain): (&Target, Option<Chain>),
    against: Option<&Path>,
    environment: Environment<'_>,
) -> Result<()> {
    let elsewhere = against.map(read_checkpoints).transpose()?.unwrap_or_default();
    let desk = CliSession::open(&target.installation, environment).await?;
    let admin = desk.admin(target).await?;
    let name = admin.instance.clone();
    let admin = &admin.service;
    let mut verdicts = Vec::new();
    for chain in chain.map_or(Chain::ALL.to_vec(), |chain| vec![chain]) {
        let book = admin.audit_reader_of(chain, &desk.master).await?;
        let progress = Progress::new();
        let verdict = book
            .verify(&elsewhere, |seals, events| {
                progress.tell(format_args!("{seals} seals, {events} events"));
            })
            .await;
        progress.done();
        verdicts.push((chain, granted(verdict.map(|verdict| verdict.map_err(AdminRefusal::from)))?));
    }
    let texts: Vec<String> = verdicts.iter().map(|(chain, verdict)| as_text(&name, *chain, verdict)).collect();
    print_answer(&target.output, "audit verify", &all_as_json(&verdicts), &texts.join("\n"))?;
    desk.database.close().await;
    let findings = verdicts.iter().map(|(_, verdict)| verdict.findings.len() + verdict.more).sum();
    match () {
        () if findings == 0 => Ok(()),
        () if verdicts.iter().all(|(_, verdict)| verdict.is_whole() || verdict.is_only_broken()) => {
            Err(AuditBroken(findings).into())
        }
        () => Err(AuditTampered(findings).into()),
    }
}

/// The first chain's result as an object. The other chain is a member under its name; `whole` covers both.
fn all_as_json(verdicts: &[(Chain, VerificationResult)]) -> Value {
    let Some(((first, verdict), others)) = verdicts.split_first() else { return Value::Null };
    let mut json = as_json(*first, verdict);
    json["whole"] = verdicts.iter().all(|(_, verdict)| verdict.is_whole()).into();
    for (chain, verdict) in others {
        json[chain.as_str()] = as_json(*chain, verdict);
    }
    json
}

/// Reads checkpoints: one as printed by `audit checkpoint`, with or without `--json`, or published ones, one a line.
fn read_checkpoints(path: &Path) -> Result<Vec<String>> {
    let mut text = String::new();
    let file = File::open(path).with_context(|| format!("{} cannot be read", path.display()))?;
    file.take(LARGEST_FILE + 1).read_to_string(&mut text)?;
    if text.len() as u64 > LARGEST_FILE {
        bail!("{} is larger than {} MiB: keep only its newest lines (`tail`)", path.display(), LARGEST_FILE >> 20);
    }
    let of = |json: Value| json["checkpoint"].as_str().map(str::to_owned);
    if let Some(one) = serde_json::from_str(&text).ok().and_then(of) {
        return Ok(vec![one]);
    }
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let read = |line: &str| serde_json::from_str(line).ok().and_then(of).unwrap_or_else(|| line.to_owned());
    let checkpoints: Vec<String> = lines.map(read).collect();
    if checkpoints.is_empty() {
        bail!("{} contains no checkpoint", path.display());
    }
    Ok(checkpoints)
}

fn as_json(chain: Chain, verdict: &VerificationResult) -> Value {
    let remembered_since = verdict.remembered_since.map(|(seal, at)| json!({ "seal": seal, "at": at.micros() }));
    json!({
        "chain": chain.as_str(),
        "whole": verdict.is_whole(),
        "onlyBroken": verdict.is_only_broken(),
        "seals": verdict.seals,
        "events": verdict.events,
        "erased": verdict.erased,
        "unattested": verdict.unattested,
        "unknownSeals": verdict.unknown_seals,
        "rememberedSince": remembered_since,
        "newest": verdict.newest,
        "signed": verdict.signed,
        "waiting": verdict.waiting,
        "findings": verdict.findings,
        "more": verdict.more,
    })
}

fn as_text(name: &str, chain: Chain, verdict: &VerificationResult) -> String {
    let VerificationResult { seals, events, erased, newest, signed, waiting, .. } = verdict;
    let chain = chain.as_str();
    let mut lines = vec![format!(
        "Audit of {name}, {chain} chain: {events} events in {seals} seals, signed up to seal {signed} of {newest}."
    )];
    if *erased > 0 {
        lines.push(format!("{erased} events are about erased users."));
    }
    let time = |micros: i64| Timestamp(micros).rfc3339();
    if verdict.unattested.events > 0 {
        let Unattested { events, first_at, last_at } = verdict.unattested;
        let (first, last) = (time(first_at), time(last_at));
        lines.push(format!(
            "{events} events, sealed from {first} to {last}, have no authentication code: written by an older version or \
             by someone else."
        ));
    }
    if verdict.unknown_seals > 0 {
        let seals = verdict.unknown_seals;
        lines.push(format!("{seals} seals were added by an older version running in parallel or by someone else."));
    }
    if let Some((seal, at)) = verdict.remembered_since {
        lines.push(format!("The end of the chain has been tracked since seal {seal} ({}).", at.rfc3339()));
    }
    if *waiting {
        lines.push("The newest events are not sealed yet. A running server seals them within a second.".to_owned());
    }
    lines.extend(verdict.findings.iter().map(ToString::to_string));
    if verdict.more > 0 {
        lines.push(format!("… and {} more.", verdict.more));
    }
    if verdict.is_whole() {
        lines.push("No tampering found.".to_owned());
    }
    lines.join("\n")
}

async fn export(
    target: &Target,
    chain: Chain,
    mut export: AuditExport,
    out: Option<&Path>,
    environment: Environment<'_>,
) -> Result<()> {
    let desk = CliSession::open(&target.installation, environment).await?;
    let admin = desk.admin(target).await?;
    let name = admin.instance.clone();
    let admin = &admin.service;
    let book = admin.audit_reader_of(chain, &desk.master).await?;
    let mut rng = SystemRng;
    book.seal(&mut moment!(rng)).await.context("database error")?;
    match out {
        None => write(&name, &book, &mut export, BufWriter::new(std::io::stdout().lock())).await?,
        Some(path) => {
            let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
            let file = file.with_context(|| format!("cannot create {}", path.display()))?;
            write(&name, &book, &mut export, BufWriter::new(file)).await?;
        }
    }
    if let Some(path) = out {
        let AuditExport { seals, events, .. } = export;
        let text = format!("Exported {events} events in {seals} seals to {}.", path.display());
        print(&target.output, &json!({ "events": events, "seals": seals, "file": path }), &text)?;
    }
    desk.database.close().await;
    Ok(())
}

async fn write(name: &str, book: &AuditReader<'_>, export: &mut AuditExport, mut out: impl Write) -> Result<()> {
    let full = "the export cannot be written";
    let progress = Progress::new();
    while let Some(piece) = export.next(book, name).await? {
        output::written(out.write_all(piece.as_bytes())).context(full)?;
        progress.tell(format_args!("{} seals, {} events", export.seals, export.events));
    }
    output::written(out.flush()).context(full)?;
    progress.done();
    Ok(())
}
