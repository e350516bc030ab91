//! `gatehouse`: one binary that signs people and services in, and guards the APIs of business systems.

use std::process::ExitCode;

use clap::Parser as _;
use gatehouse::cli::Cli;
use gatehouse::commands;
use gatehouse::problem::Tampered;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
fn main() -> ExitCode {
    let cli = Cli::parse();
    let environment = |name: &str| std::env::var(name).ok();
    match commands::run(cli, &environment) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("gatehouse: {failure:#}");
            if failure.is::<Tampered>() { ExitCode::from(3) } else { ExitCode::FAILURE }
        }
    }
}
