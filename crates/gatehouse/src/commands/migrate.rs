//! `gatehouse migrate`: applies an installation's migrations before a server of this version starts.

use anyhow::Result;
use flows::DatabaseReport;
use serde_json::json;

use crate::cli::Migrate;
use crate::commands::cli_session::print;
use crate::commands::{bring_up, look, open_as_it_is};
use crate::config::{Config, Environment};

/// Needs only the database, so that a deployment does not need the master key.
pub(super) async fn run(migrate: &Migrate, environment: Environment<'_>) -> Result<()> {
    let config = Config::load(&migrate.installation.config)?;
    let url = config.database(environment)?;
    let (database, before) = open_as_it_is(&url).await?;
    let names = if migrate.dry_run { before.pending() } else { bring_up(&database).await? };
    let after = look(&database, &url).await?;
    database.close().await;
    let json = json!({
        "version": after.applied, "known": after.known, "dryRun": migrate.dry_run,
        (if migrate.dry_run { "pending" } else { "applied" }): names,
    });
    print(&migrate.output, &json, &told(&after, migrate.dry_run, &names))
}

fn told(look: &DatabaseReport, is_dry: bool, names: &[String]) -> String {
    let (version, list) = (look.applied.unwrap_or(0), names.join("\n  "));
    if look.is_newer() {
        return format!(
            "The database is at version {version}, newer than this program ({}). Nothing to do.",
            look.known
        );
    }
    match (names, is_dry) {
        ([], _) => format!("The database is at version {version}. Nothing to do."),
        (_, true) => {
            format!("The database is at version {version}. Pending migrations to version {}:\n  {list}", look.known)
        }
        (_, false) => format!("The database is now at version {version}. Applied migrations:\n  {list}"),
    }
}
