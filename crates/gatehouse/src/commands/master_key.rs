//! `gatehouse master-key`: counts the secrets encrypted with each master key, and re-encrypts them with a new one.

use anyhow::{Context as _, Result, bail};
use flows::admin::rotation::{MasterKeyRotationRefusal, SealCounts, examine_seals, rotate_master_key};
use serde_json::{Value, json};

use crate::cli::{Installation, MasterKeyCommand, Output};
use crate::commands::cli_session::{CliSession, print};
use crate::config::Environment;
use crate::output::Progress;
use crate::platform::SystemPlatform;
use crate::problem::StartupProblem;

const FAILED: &str = "database error";

pub(super) async fn run(command: MasterKeyCommand, environment: Environment<'_>) -> Result<()> {
    match command {
        MasterKeyCommand::Check { installation, output } => check(&installation, &output, environment).await,
        MasterKeyCommand::Rotate { installation, output } => rotate(&installation, &output, environment).await,
    }
}

async fn check(installation: &Installation, output: &Output, environment: Environment<'_>) -> Result<()> {
    let desk = CliSession::open(installation, environment).await?;
    let seals = examine_seals(&desk.database, &desk.master).await.context(FAILED)?.map_err(refused)?;
    desk.database.close().await;
    print(output, &as_json(&seals, None), &as_text(&seals, &desk.config.master_key_places()))?;
    check_opened(&seals)
}

async fn rotate(installation: &Installation, output: &Output, environment: Environment<'_>) -> Result<()> {
    let desk = CliSession::open(installation, environment).await?;
    let progress = Progress::new();
    let tell = |resealed| progress.tell(format_args!("{resealed} secrets re-encrypted"));
    let rotated = rotate_master_key(&desk.database, &desk.master, &SystemPlatform, tell).await;
    progress.done();
    let rotated = rotated.context("database error; repeat the command to continue")?.map_err(refused)?;
    desk.database.close().await;
    let (seals, resealed) = (&rotated.seals, rotated.resealed);
    let places = desk.config.master_key_places();
    let text = format!("{resealed} secrets re-encrypted.\n{}", as_text(seals, &places));
    print(output, &as_json(seals, Some(resealed)), &text)?;
    check_opened(seals)?;
    if seals.previous > 0 {
        let what = format!("{} secrets are still encrypted with the previous master key", seals.previous);
        let mend = "a server is still using it; restart every server with both keys, then repeat the command";
        bail!(StartupProblem::new(what, mend));
    }
    Ok(())
}

/// Fails if a secret could not be decrypted, even if all others were re-encrypted.
fn check_opened(seals: &SealCounts) -> Result<()> {
    if seals.neither == 0 {
        return Ok(());
    }
    let named: Vec<String> = seals
        .unopened
        .iter()
        .map(|secret| format!("\n  instance {}, table {}, row {}", secret.instance, secret.table, secret.key))
        .collect();
    let more = seals.neither - seals.unopened.len() as u64;
    let more = if more > 0 { format!("\n  and {more} more") } else { String::new() };
    Err(StartupProblem::new(
        format!(
            "{} secrets cannot be decrypted with any configured master key and were left unchanged:{}{more}",
            seals.neither,
            named.concat()
        ),
        "configure the key that they are sealed under as [previous_master_key] and run `gatehouse master-key rotate`, \
         or restore them from a backup",
    )
    .into())
}

fn refused(refusal: MasterKeyRotationRefusal) -> anyhow::Error {
    let (what, mend) = match refusal {
        MasterKeyRotationRefusal::NoPreviousKey => (
            "no previous master key is configured",
            "put the new key into [master_key], the one before it into [previous_master_key], \
             restart every server, then repeat the command",
        ),
        MasterKeyRotationRefusal::NewerDatabase => {
            ("the database was created by a newer version of gatehouse", "use the same version as the server")
        }
        MasterKeyRotationRefusal::Overtaken => {
            ("a root secret was changed in the meantime", "repeat the command to continue")
        }
    };
    StartupProblem::new(what, mend).into()
}

fn as_json(seals: &SealCounts, resealed: Option<u64>) -> Value {
    let unopened = seals
        .unopened
        .iter()
        .map(|secret| json!({ "instance": secret.instance, "table": secret.table, "row": secret.key }));
    let mut json = json!({
        "current": seals.current, "previous": seals.previous, "neither": seals.neither,
        "unopened": unopened.collect::<Vec<Value>>(),
    });
    if let Some(resealed) = resealed {
        json["resealed"] = resealed.into();
    }
    json
}

/// The counts, with the source of each key: the operator must keep the key that encrypts the secrets, which may not be
/// the expected one.
fn as_text(seals: &SealCounts, (current, previous): &(String, Option<String>)) -> String {
    let text = format!("{} secrets are encrypted with [master_key] ({current}).", seals.current);
    match (previous, seals.previous) {
        (None, _) => text,
        (Some(place), 0) => format!(
            "{text}\nNo secrets are encrypted with [previous_master_key] ({place}). Remove it from the configuration and \
             restart every server. Keep the key: existing backups need it."
        ),
        (Some(place), left) => format!(
            "{text}\n{left} secrets are encrypted with [previous_master_key] ({place}). Run `gatehouse master-key rotate`."
        ),
    }
}
