//! `cargo run --release -p bench`: runs server and load on this machine and every shape in every round, and reports
//! medians and spreads. docs/performance.md describes each shape and its limits.

#![allow(clippy::disallowed_methods, reason = "it measures")]
#![allow(clippy::cast_precision_loss, reason = "what is measured here has far fewer than 52 bits")]

mod attacks;
mod bare;
mod changes;
mod crowd;
mod durable;
mod fairness;
mod faults;
mod installation;
mod lists;
mod load;
mod naive;
mod population;
mod postgres;
mod process;
mod report;
mod requests;
mod revocations;
mod seats;
mod served;
mod sign_in;
mod starts;
mod stats;
mod storm;
mod tenant;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use clap::{Parser, Subcommand, ValueEnum};

use crate::attacks::Attack;
use crate::installation::Binary;
use crate::load::Pace;
use crate::report::{Chapter, Report};

/// The same allocator as the server.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures the server against a bare handler of the same HTTP stack, and its store against a naive one.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Inner>,
    /// Measure only these parts
    #[arg(long, value_name = "PART", value_delimiter = ',')]
    only: Vec<Part>,
    /// Number of rounds; every shape runs in each
    #[arg(long, default_value_t = 7)]
    rounds: u32,
    /// Send a tenth of the requests, for a quick check
    #[arg(long)]
    quick: bool,
    /// Also write the results to this file as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// For `attacks`: measure only these storms
    #[arg(long, value_name = "STORM", value_delimiter = ',')]
    storms: Vec<Attack>,
    /// For `faults`: minimum number of injected faults
    #[arg(long, default_value_t = 100_000)]
    faults: u64,
    /// For `faults`: seed of a run to repeat [default: random]
    #[arg(long)]
    seed: Option<u64>,
    /// Server binary to measure [default: build it]
    #[arg(long, value_name = "FILE")]
    gatehouse: Option<PathBuf>,
    /// PostgreSQL server on which databases may be created [default: do not measure PostgreSQL]
    #[arg(long, value_name = "URL", env = "GATEHOUSE_TEST_POSTGRES", hide_env_values = true)]
    postgres: Option<String>,
}

#[derive(Subcommand)]
enum Inner {
    /// The handler that others are compared to: answers every request to a path with the same bytes
    #[command(hide = true)]
    Bare { path: String, bytes: usize },
}

/// The parts of the benchmark.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Tokens, calls and documents against the bare handler; memory
    Served,
    /// Sizes, and starts
    Starts,
    /// Codes and refresh tokens, durable, against a naive pool
    Durable,
    /// A guarded call with an access token and with reference tokens
    Credentials,
    /// Opening sessions, durable
    Seats,
    /// From a revocation to the refusal on other nodes; needs PostgreSQL
    Kills,
    /// 100 000 live sessions and 1 000 000 reference tokens
    Crowd,
    /// Pages of the instance manager with 1 000 000 rows in every list
    Lists,
    /// The token path in a storm of sign-ins
    Storm,
    /// One instance while another is under a storm
    Fairness,
    /// Storms by unauthenticated clients, beside honest traffic
    Attacks,
    /// Random database faults and the invariants; only if named
    Faults,
}

/// Amount of measurement.
#[derive(Clone, Copy)]
pub(crate) struct Effort {
    rounds: u32,
    quick: bool,
}

impl Effort {
    fn of(self, count: usize) -> usize {
        if self.quick { (count / 10).max(1) } else { count }
    }

    fn pace(self, pace: Pace) -> Pace {
        if self.quick { pace.part(10) } else { pace }
    }
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if arguments.only == [Part::Faults] {
        return faults::inject(arguments.faults, arguments.seed);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match &arguments.command {
        Some(Inner::Bare { path, bytes }) => runtime.block_on(bare::serve(path, *bytes)),
        None => runtime.block_on(measure(&arguments)),
    }
}

async fn measure(arguments: &Arguments) -> Result<()> {
    ensure!(arguments.rounds > 0, "at least one round");
    let effort = Effort { rounds: arguments.rounds, quick: arguments.quick };
    let binary = match &arguments.gatehouse {
        Some(path) => Binary::new(path.clone()),
        None => Binary::new(build()?),
    };
    let parts = if arguments.only.is_empty() { Part::value_variants() } else { arguments.only.as_slice() };
    let mut report = Report::new(effort);
    // `faults` measures nothing and takes long, so it only runs if named.
    for part in parts.iter().filter(|part| **part != Part::Faults) {
        let chapter = chapter(*part, &binary, effort, arguments).await?;
        println!("{}\n", report.add(chapter));
    }
    if let Some(file) = &arguments.json {
        let json = serde_json::to_vec_pretty(&report.json())?;
        std::fs::write(file, json).with_context(|| format!("{} cannot be written", file.display()))?;
    }
    Ok(())
}

async fn chapter(part: Part, binary: &Binary, effort: Effort, arguments: &Arguments) -> Result<Chapter> {
    let postgres = arguments.postgres.as_deref();
    Ok(match part {
        Part::Served => {
            let (served, memory) = served::measure(binary, effort).await?;
            Chapter::served(&served, &memory)
        }
        Part::Starts => Chapter::starts(&starts::measure(binary)?, binary.bytes()?),
        Part::Durable => Chapter::durable(&durable::measure(effort, postgres).await?),
        Part::Credentials => Chapter::credentials(&served::measure_credentials(binary, effort).await?),
        Part::Seats => Chapter::seats(&seats::measure(effort, postgres).await?),
        Part::Kills => match postgres {
            Some(server) => Chapter::revocations(&revocations::measure(binary, effort, server).await?),
            None => Chapter::revocations(&[]),
        },
        Part::Crowd => Chapter::crowd(&crowd::measure(binary, effort).await?),
        Part::Lists => Chapter::lists(&lists::measure(binary, effort).await?),
        Part::Storm => Chapter::storm(&storm::measure(binary, effort).await?),
        Part::Fairness => Chapter::fairness(&fairness::measure(effort, postgres).await?),
        Part::Faults => unreachable!("it has a run of its own"),
        Part::Attacks => Chapter::attacks(attacks::measure(binary, effort, &arguments.storms).await?),
    })
}

/// Builds the release binary as it is shipped.
fn build() -> Result<PathBuf> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../gatehouse/Cargo.toml");
    let built = Command::new(env!("CARGO"))
        .args(["build", "--release", "--quiet", "--message-format", "json", "--manifest-path"])
        .arg(manifest)
        .stderr(std::process::Stdio::inherit())
        .output()
        .context("cargo does not start; name the server with --gatehouse")?;
    ensure!(built.status.success(), "the server does not build");
    let artifacts = String::from_utf8(built.stdout)?;
    let executable = artifacts
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter_map(|artifact| artifact["executable"].as_str().map(PathBuf::from))
        .next_back();
    executable.context("cargo built no executable")
}
