//! `gatehouse doctor`: checks an installation and suggests fixes (read-only).

mod database;
mod files;
mod network;
mod tls;

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::config::{Config, Environment};
use crate::problem::StartupProblem;

/// Severity of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Ok,
    /// It works now, but may stop working or could be safer.
    Warning,
    /// It does not work.
    Problem,
}

/// One check and its result.
#[derive(Debug, Serialize)]
pub struct DoctorFinding {
    pub level: Level,
    /// The area checked: `database`, `keys`, …
    pub area: &'static str,
    pub what: String,
    /// Suggested fix.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
}

impl fmt::Display for DoctorFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Ok => "OK",
            Level::Warning => "warning",
            Level::Problem => "PROBLEM",
        };
        write!(f, "{level:8} {:9} {}", self.area, self.what)?;
        match &self.mend {
            Some(mend) => write!(f, "\n{:19}→ {mend}", ""),
            None => Ok(()),
        }
    }
}

/// The findings of one run.
#[derive(Default)]
pub struct DoctorReport(pub Vec<DoctorFinding>);

impl DoctorReport {
    fn ok(&mut self, area: &'static str, what: impl Into<String>) {
        self.0.push(DoctorFinding { level: Level::Ok, area, what: what.into(), mend: None });
    }

    fn warning(&mut self, area: &'static str, what: impl Into<String>, mend: impl Into<String>) {
        self.0.push(DoctorFinding { level: Level::Warning, area, what: what.into(), mend: Some(mend.into()) });
    }

    fn problem(&mut self, area: &'static str, what: impl Into<String>, mend: impl Into<String>) {
        self.0.push(DoctorFinding { level: Level::Problem, area, what: what.into(), mend: Some(mend.into()) });
    }

    fn refused(&mut self, area: &'static str, problem: &StartupProblem) {
        self.problem(area, problem.what(), problem.mend());
    }

    pub fn worst(&self) -> Level {
        self.0.iter().map(|finding| finding.level).max().unwrap_or(Level::Ok)
    }

    pub fn problems(&self) -> usize {
        self.0.iter().filter(|finding| finding.level == Level::Problem).count()
    }
}

/// Runs all checks. `reach` also requests the root URLs from this machine, as a browser would.
pub async fn examine(config: &Config, environment: Environment<'_>, reach: bool) -> DoctorReport {
    let mut report = DoctorReport::default();
    report.ok("config", "the configuration is valid");
    files::look(config, &mut report);
    database::look(config, environment, &mut report).await;
    tls::look(config, &mut report);
    network::mail(config, environment, &mut report).await;
    network::proxies(config, &mut report);
    network::health(config, &mut report).await;
    if reach {
        network::roots(config, &mut report).await;
    }
    report
}

/// A span in days, for display.
fn days(span: Duration) -> String {
    match span.as_secs() / (24 * 3600) {
        0 => format!("{} hours", span.as_secs() / 3600),
        1 => "1 day".to_owned(),
        days => format!("{days} days"),
    }
}
