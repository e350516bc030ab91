//! `gatehouse key`: signing keys. They rotate automatically; these commands rotate or replace them at once.

use anyhow::{Result, anyhow};
use flows::admin::operations::keys::{KeyEntry, ListKeys, PreviewReplacement, ReplaceKeys, Replacement, RotateKey};
use model::Timestamp;
use oauth::jose::Algorithm;

use crate::cli::KeyCommand;
use crate::commands::cli_session::{CliSession, print_answer};
use crate::commands::table::table;
use crate::config::Environment;

pub(super) async fn run(command: KeyCommand, environment: Environment<'_>) -> Result<()> {
    let desk = CliSession::open(&command.target().installation, environment).await?;
    let admin = desk.admin(command.target()).await?;
    match command {
        KeyCommand::List { target } => {
            let (keys, now) = (admin.run::<ListKeys>(()).await?.items, admin.now);
            let text = table(["key", "algorithm", "state", "days left"], keys.iter().map(|key| row(key, now)));
            print_answer(&target.output, "key list", &keys, &text)?;
        }
        KeyCommand::Rotate { target, algorithm } => {
            let key = admin.run::<RotateKey>(parse(&algorithm)?).await?;
            let text = format!("Key {} published. It signs from a day later; existing tokens stay valid.", key.kid);
            print_answer(&target.output, "key rotate", &key, &text)?;
        }
        KeyCommand::Replace { target, algorithm, yes: false } => {
            let preview = admin.run::<PreviewReplacement>(parse(&algorithm)?).await?;
            print_answer(&target.output, "key replace", &preview, &preview_text(&preview))?;
        }
        KeyCommand::Replace { target, algorithm, yes: true } => {
            let key = admin.run::<ReplaceKeys>(parse(&algorithm)?).await?;
            let text =
                format!("Key {} signs now. The old keys are removed, and every token they signed is invalid.", key.kid);
            print_answer(&target.output, "key replace", &key, &text)?;
        }
    }
    desk.database.close().await;
    Ok(())
}

fn parse(algorithm: &str) -> Result<Algorithm> {
    algorithm.parse().map_err(|_| anyhow!("unknown algorithm {algorithm}; use ES256, RS256, PS256 or EdDSA"))
}

fn row(key: &KeyEntry, now: Timestamp) -> [String; 4] {
    const DAY: u64 = 24 * 3600;
    let days = key.until.0.since(now).as_secs() / DAY;
    [key.kid.clone(), key.algorithm.to_owned(), key.state.to_owned(), days.to_string()]
}

fn preview_text(preview: &Replacement) -> String {
    let named = |uris: &[String]| if uris.is_empty() { "no application".to_owned() } else { uris.join(", ") };
    format!(
        "{} keys of {} will be removed. This invalidates\n  every access token of {}\n  every ID token of {}\n\
         {} live API sessions: their applications must refresh tokens or sign users in again.\n\
         Nothing was changed. Repeat with --yes to apply.",
        preview.removed.len(),
        preview.algorithm,
        named(&preview.access_tokens_of),
        named(&preview.id_tokens_of),
        preview.live_sessions
    )
}
