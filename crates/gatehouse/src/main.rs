//! The `gatehouse` binary: an identity provider for users and services that also guards the APIs of business systems.

#![deny(clippy::print_stdout, clippy::print_stderr)]

use std::process::ExitCode;

use clap::Parser as _;
use gatehouse::cli::Cli;
use gatehouse::commands;
use gatehouse::output::{self, ClosedPipe, UNREAD_EXIT_CODE};
use gatehouse::problem::{AuditBroken, AuditTampered};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
fn main() -> ExitCode {
    let cli = Cli::parse();
    let environment = |name: &str| std::env::var(name).ok();
    match commands::run(cli, &environment) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) if failure.is::<ClosedPipe>() => ExitCode::from(UNREAD_EXIT_CODE),
        Err(failure) => {
            output::note(format_args!("gatehouse: {failure:#}\n"));
            match () {
                () if failure.is::<AuditTampered>() => ExitCode::from(3),
                () if failure.is::<AuditBroken>() => ExitCode::from(4),
                () => ExitCode::FAILURE,
            }
        }
    }
}
