//! `gatehouse audit`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use flows::admin::operations::AdminOperation as _;
use flows::admin::operations::audit::{EXPORT_EVENTS, ListEvents};
use model::Timestamp;
use model::audit::AuditKind;
use model::audit::chain::Chain;

use crate::cli::Target;

#[derive(Subcommand)]
pub enum AuditCommand {
    #[command(about = EXPORT_EVENTS.summary)]
    Export {
        #[command(flatten)]
        target: Target,
        /// At or after this time, for example 2026-11-21 or 2026-11-21T12:00:00Z
        #[arg(long, value_name = "TIME", value_parser = time)]
        since: Option<Timestamp>,
        /// Before this time
        #[arg(long, value_name = "TIME", value_parser = time)]
        until: Option<Timestamp>,
        /// Only events of this kind, for example sign-in (can be repeated)
        #[arg(long)]
        kind: Vec<String>,
        #[arg(long, value_enum, default_value = "jsonl")]
        format: AuditFormat,
        /// Chain to export: main, or refusals (refusals of unauthenticated requests)
        #[arg(long, value_parser = chain, default_value = "main")]
        chain: Chain,
        /// File to create [default: standard output]
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    #[command(about = ListEvents::SUMMARY)]
    List {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        filter: AuditFilter,
    },
    /// Check whether events were edited, removed, inserted or moved. Exit code 3 if so; 4 if the only finding is a
    /// recorded loss of the newest seals
    Verify {
        #[command(flatten)]
        target: Target,
        /// File with checkpoints kept elsewhere: printed by `audit checkpoint`, or published
        #[arg(long, value_name = "FILE", visible_alias = "checkpoint")]
        against: Option<PathBuf>,
        /// Chain to verify [default: both]
        #[arg(long, value_parser = chain)]
        chain: Option<Chain>,
    },
    /// Print the newest signed checkpoint. Keep it where operators cannot change it
    Checkpoint {
        #[command(flatten)]
        target: Target,
        /// Chain of the checkpoint
        #[arg(long, value_parser = chain, default_value = "main")]
        chain: Chain,
    },
    /// Sign checkpoints with a new key (old checkpoints stay valid)
    RenewKey {
        #[command(flatten)]
        target: Target,
    },
}

/// How an export is written.
#[derive(Clone, Copy, ValueEnum)]
pub enum AuditFormat {
    /// JSON Lines, one event per line, with everything needed to verify them independently
    Jsonl,
    /// CSV, for spreadsheets
    Csv,
}

/// Which events are listed.
#[derive(Args)]
pub struct AuditFilter {
    /// Chain to list: main, or refusals (refusals of unauthenticated requests)
    #[arg(long, value_parser = chain, default_value = "main")]
    pub chain: Chain,
    /// At or after this time, for example 2026-11-21 or 2026-11-21T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub since: Option<Timestamp>,
    /// Before this time
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub until: Option<Timestamp>,
    /// Only events of this kind, for example admin-change
    #[arg(long, value_parser = kind)]
    pub kind: Option<AuditKind>,
    /// Only refusals
    #[arg(long)]
    pub refused: bool,
    /// Only events of this application
    #[arg(long, value_name = "URI")]
    pub app: Option<String>,
    /// Only events about this user (for an erased user, give the id)
    #[arg(long, value_name = "LOGIN|ID")]
    pub user: Option<String>,
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub limit: u32,
}

fn kind(text: &str) -> Result<AuditKind, serde_json::Error> {
    serde_json::from_value(text.into())
}

fn chain(text: &str) -> Result<Chain, &'static str> {
    Chain::parse(text).ok_or("use main or refusals")
}

fn time(text: &str) -> Result<Timestamp, &'static str> {
    Timestamp::parse(text).ok_or("use a date (2026-11-21) or a time with a time zone (2026-11-21T12:00:00Z)")
}
