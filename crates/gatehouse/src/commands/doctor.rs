//! `gatehouse doctor`.

use anyhow::{Result, bail};
use serde_json::json;

use crate::cli::Doctor;
use crate::commands::cli_session::print;
use crate::config::{Config, Environment};
use crate::doctor::examine;

pub(super) async fn run(doctor: Doctor, environment: Environment<'_>) -> Result<()> {
    let config = Config::load(&doctor.installation.config)?;
    let report = examine(&config, environment, doctor.reach).await;
    let lines: Vec<String> = report.0.iter().map(ToString::to_string).collect();
    print(&doctor.output, &json!(report.0), &lines.join("\n"))?;
    match report.problems() {
        0 => Ok(()),
        1 => bail!("1 problem found"),
        problems => bail!("{problems} problems found"),
    }
}
