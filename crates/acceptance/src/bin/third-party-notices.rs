//! Prints `THIRD-PARTY-NOTICES.md`.

use std::io::Write as _;
use std::process::ExitCode;

use acceptance::notices::{metadata, notices};

fn main() -> std::io::Result<ExitCode> {
    match notices(&metadata()) {
        Ok(text) => std::io::stdout().write_all(text.as_bytes()).map(|()| ExitCode::SUCCESS),
        Err(problems) => {
            problems.iter().try_for_each(|problem| writeln!(std::io::stderr(), "{problem}"))?;
            Ok(ExitCode::FAILURE)
        }
    }
}
