//! `gatehouse audit`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use model::Timestamp;
use model::audit::AuditKind;
use model::audit::chain::Chain;

use super::Target;

#[derive(Subcommand)]
pub enum AuditCommand {
    /// Write events, the oldest first
    Export {
        #[command(flatten)]
        target: Target,
        /// From this time on, as 2026-11-21 or 2026-11-21T12:00:00Z
        #[arg(long, value_name = "TIME", value_parser = time)]
        since: Option<Timestamp>,
        /// Before this time
        #[arg(long, value_name = "TIME", value_parser = time)]
        until: Option<Timestamp>,
        /// Only events of this kind, for example sign-in; may be repeated
        #[arg(long)]
        kind: Vec<String>,
        #[arg(long, value_enum, default_value = "jsonl")]
        format: AuditFormat,
        /// Which chain
        #[arg(long, value_parser = chain, default_value = "main")]
        chain: Chain,
        /// File to make; without it, standard output
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// List what happened, the newest first
    List {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        filter: AuditFilter,
    },
    /// Say whether an event was edited, removed, inserted or moved, and which; exit code 3 if so, 4 if all that is found is
    /// that the database lost its newest seals and the chain says so
    Verify {
        #[command(flatten)]
        target: Target,
        /// File with checkpoints that were kept elsewhere: as `audit checkpoint` printed one, or as they are published
        #[arg(long, value_name = "FILE", visible_alias = "checkpoint")]
        against: Option<PathBuf>,
        /// Only this chain; without it, both
        #[arg(long, value_parser = chain)]
        chain: Option<Chain>,
    },
    /// Print the newest signed checkpoint, to be kept where nobody of the house can change it
    Checkpoint {
        #[command(flatten)]
        target: Target,
        /// Which chain
        #[arg(long, value_parser = chain, default_value = "main")]
        chain: Chain,
    },
    /// Sign checkpoints with a new key; those of the old one stay good
    RenewKey {
        #[command(flatten)]
        target: Target,
    },
}

/// How an export is written.
#[derive(Clone, Copy, ValueEnum)]
pub enum AuditFormat {
    /// A line of JSON for each event, and what it takes to check them without us
    Jsonl,
    /// For spreadsheets
    Csv,
}

/// Which events are listed.
#[derive(Args)]
pub struct AuditFilter {
    /// Which chain: main has what was done, refusals what strangers were refused
    #[arg(long, value_parser = chain, default_value = "main")]
    pub chain: Chain,
    /// From this time on, as 2026-11-21 or 2026-11-21T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub since: Option<Timestamp>,
    /// Before this time
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub until: Option<Timestamp>,
    /// Only events of this kind, for example admin-change
    #[arg(long, value_parser = kind)]
    pub kind: Option<AuditKind>,
    /// Only what was refused
    #[arg(long)]
    pub refused: bool,
    /// Only events of this application
    #[arg(long, value_name = "URI")]
    pub app: Option<String>,
    /// Only events about this user; by id, who was erased
    #[arg(long, value_name = "LOGIN|ID")]
    pub user: Option<String>,
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub limit: u32,
}

fn kind(text: &str) -> Result<AuditKind, serde_json::Error> {
    serde_json::from_value(text.into())
}

fn chain(text: &str) -> Result<Chain, &'static str> {
    Chain::parse(text).ok_or("write main or refusals")
}

fn time(text: &str) -> Result<Timestamp, &'static str> {
    Timestamp::parse(text).ok_or("write a date (2026-11-21) or a time with its zone (2026-11-21T12:00:00Z)")
}
