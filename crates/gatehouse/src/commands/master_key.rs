//! `gatehouse master-key`: what is sealed under which key, and sealing it under a new one.

use anyhow::{Context as _, Result, bail};
use flows::rotation::{RotationRefusal, Seals, examine_seals, rotate_master_key};
use serde_json::{Value, json};

use super::SystemWorld;
use super::desk::{Desk, print};
use crate::cli::{Installation, MasterKeyCommand, Output};
use crate::config::Environment;
use crate::output::Progress;
use crate::problem::Problem;

const FAILED: &str = "the database failed";

pub(super) async fn run(command: MasterKeyCommand, environment: Environment<'_>) -> Result<()> {
    match command {
        MasterKeyCommand::Check { installation, output } => check(&installation, &output, environment).await,
        MasterKeyCommand::Rotate { installation, output } => rotate(&installation, &output, environment).await,
    }
}

async fn check(installation: &Installation, output: &Output, environment: Environment<'_>) -> Result<()> {
    let desk = Desk::open(installation, environment).await?;
    let seals = examine_seals(&desk.database, &desk.master).await.context(FAILED)?.map_err(refused)?;
    desk.database.close().await;
    print(output, &as_json(&seals, None), &as_text(&seals, &desk.config.master_key_places()))?;
    check_opened(&seals)
}

async fn rotate(installation: &Installation, output: &Output, environment: Environment<'_>) -> Result<()> {
    let desk = Desk::open(installation, environment).await?;
    let progress = Progress::new();
    let tell = |resealed| progress.tell(format_args!("{resealed} secrets sealed anew"));
    let rotated = rotate_master_key((&desk.database, &desk.master), &SystemWorld, tell).await;
    progress.done();
    let rotated = rotated.context("the database failed; repeat the command to go on")?.map_err(refused)?;
    desk.database.close().await;
    let (seals, resealed) = (&rotated.seals, rotated.resealed);
    let places = desk.config.master_key_places();
    let text = format!("{resealed} secrets were sealed anew.\n{}", as_text(seals, &places));
    print(output, &as_json(seals, Some(resealed)), &text)?;
    check_opened(seals)?;
    if seals.previous > 0 {
        let what = format!("{} secrets are still sealed under the previous key", seals.previous);
        let mend = "a server seals under it: restart every server with both keys, then repeat the command";
        bail!(Problem::new(what, mend));
    }
    Ok(())
}

/// A secret that does not open is a reason for an exit code, whatever was done with the others.
fn check_opened(seals: &Seals) -> Result<()> {
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
    Err(Problem::new(
        format!(
            "{} secrets open under no key that is configured; they are left as they are:{}{more}",
            seals.neither,
            named.concat()
        ),
        "configure the key that they are sealed under as [previous_master_key] and run `gatehouse master-key rotate`, \
         or restore them from a backup",
    )
    .into())
}

fn refused(refusal: RotationRefusal) -> anyhow::Error {
    let (what, mend) = match refusal {
        RotationRefusal::NoPreviousKey => (
            "no previous master key is configured, so there is nothing to rotate from",
            "put the new key into [master_key], the one before it into [previous_master_key], \
             restart every server, then repeat the command",
        ),
        RotationRefusal::NewerDatabase => (
            "the database is of a newer version, which may seal what this program does not know",
            "use the program that the server runs",
        ),
        RotationRefusal::Overtaken => (
            "somebody else changed a root secret meanwhile; what was sealed anew stays so",
            "repeat the command to go on",
        ),
    };
    Problem::new(what, mend).into()
}

fn as_json(seals: &Seals, resealed: Option<u64>) -> Value {
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

/// With where each key is: the one that seals everything is the one to keep, whatever was thought of it before.
fn as_text(seals: &Seals, (current, previous): &(String, Option<String>)) -> String {
    let text = format!("{} secrets are sealed under [master_key] ({current}).", seals.current);
    match (previous, seals.previous) {
        (None, _) => text,
        (Some(place), 0) => format!(
            "{text}\nNothing is sealed under [previous_master_key] ({place}): take it out of the configuration and \
             restart every server. Backups that were made until now need that key."
        ),
        (Some(place), left) => format!(
            "{text}\n{left} secrets are sealed under [previous_master_key] ({place}): run `gatehouse master-key rotate`."
        ),
    }
}
