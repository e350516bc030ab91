//! `gatehouse key`: signing keys. They rotate automatically; these commands rotate or replace them at once.

use anyhow::{Result, anyhow};
use flows::Platform as _;
use flows::admin::keys::{KeyView, ReplacementView};
use model::{Moment, Timestamp};
use oauth::jose::Algorithm;
use serde_json::{Value, json};
use web::SystemRng;

use crate::cli::KeyCommand;
use crate::commands::cli_session::{CliSession, granted, moment, print};
use crate::commands::table::table;
use crate::config::Environment;
use crate::platform::SystemPlatform;

pub(super) async fn run(command: KeyCommand, environment: Environment<'_>) -> Result<()> {
    let mut rng = SystemRng;
    match command {
        KeyCommand::List { target } => {
            let desk = CliSession::open(&target.installation, environment).await?;
            let admin = desk.admin(&target).await?;
            let admin = &admin.service;
            let now = SystemPlatform.now();
            let keys = admin.keys(now).await?;
            let list: Vec<Value> = keys.iter().map(entry).collect();
            let text = table(["key", "algorithm", "state", "days left"], keys.iter().map(|key| row(key, now)));
            print(&target.output, &json!(list), &text)?;
        }
        KeyCommand::Rotate { target, algorithm } => {
            let desk = CliSession::open(&target.installation, environment).await?;
            let admin = desk.admin(&target).await?;
            let admin = &admin.service;
            let key = granted(admin.rotate_key(&desk.master, parse(&algorithm)?, &mut moment!(rng)).await)?;
            let json = json!({ "kid": key.kid, "signsFrom": key.signs_from.seconds() });
            let text = format!("Key {} published. It signs from a day later; existing tokens stay valid.", key.kid);
            print(&target.output, &json, &text)?;
            desk.database.close().await;
        }
        KeyCommand::Replace { target, algorithm, yes } => {
            let desk = CliSession::open(&target.installation, environment).await?;
            let admin = desk.admin(&target).await?;
            let admin = &admin.service;
            let algorithm = parse(&algorithm)?;
            if !yes {
                let preview = granted(admin.preview_replacement(&desk.master, algorithm).await)?;
                return print(&target.output, &preview_entry(&preview), &preview_text(&preview));
            }
            let key = granted(admin.replace_keys(&desk.master, algorithm, &mut moment!(rng)).await)?;
            let text =
                format!("Key {} signs now. The old keys are removed, and every token they signed is invalid.", key.kid);
            print(&target.output, &json!({ "kid": key.kid }), &text)?;
            desk.database.close().await;
        }
    }
    Ok(())
}

fn parse(algorithm: &str) -> Result<Algorithm> {
    algorithm.parse().map_err(|_| anyhow!("unknown algorithm {algorithm}; use ES256, RS256, PS256 or EdDSA"))
}

fn entry(key: &KeyView) -> Value {
    json!({
        "kid": key.times.kid, "algorithm": key.times.algorithm.as_str(), "state": key.state.as_str(),
        "signsFrom": key.times.signs_from.seconds(), "until": key.until.seconds(),
    })
}

fn row(key: &KeyView, now: Timestamp) -> [String; 4] {
    const DAY: u64 = 24 * 3600;
    let (algorithm, state) = (key.times.algorithm.as_str().to_owned(), key.state.as_str().to_owned());
    [key.times.kid.clone(), algorithm, state, (key.until.since(now).as_secs() / DAY).to_string()]
}

fn preview_entry(preview: &ReplacementView) -> Value {
    json!({
        "algorithm": preview.algorithm.as_str(), "removed": preview.removed,
        "accessTokensOf": preview.access_tokens_of, "idTokensOf": preview.id_tokens_of,
        "liveSessions": preview.live_sessions,
    })
}

fn preview_text(preview: &ReplacementView) -> String {
    let named = |uris: &[String]| if uris.is_empty() { "no application".to_owned() } else { uris.join(", ") };
    format!(
        "{} keys of {} will be removed. This invalidates\n  every access token of {}\n  every ID token of {}\n\
         {} live API sessions: their applications must refresh tokens or sign users in again.\n\
         Nothing was changed. Repeat with --yes to apply.",
        preview.removed.len(),
        preview.algorithm.as_str(),
        named(&preview.access_tokens_of),
        named(&preview.id_tokens_of),
        preview.live_sessions
    )
}
