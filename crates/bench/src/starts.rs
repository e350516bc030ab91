//! Time from starting the process to the first 200 from `/readyz`.

use std::time::Instant;

use anyhow::Result;
use tempfile::TempDir;

use crate::installation::{Binary, Installation};
use crate::process::ServerProcess;
use crate::stats::Spread;

const TIMES: usize = 5;

/// Start times in milliseconds.
pub(crate) struct Starts {
    pub(crate) existing: Spread,
    /// `instance create` on a new database, then `serve`.
    pub(crate) empty: Spread,
    pub(crate) demo: Spread,
}

pub(crate) fn measure(binary: &Binary) -> Result<Starts> {
    let filled = Installation::with_data(binary)?;
    let (mut existing, mut empty, mut demo) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..TIMES {
        let (server, took) = filled.serve()?;
        existing.push(took.as_secs_f64() * 1e3);
        server.stop()?;

        let new = Installation::empty(binary, &filled)?;
        let begun = Instant::now();
        new.create_instance()?;
        let (server, _) = new.serve()?;
        empty.push(begun.elapsed().as_secs_f64() * 1e3);
        server.stop()?;

        let folder = TempDir::new()?;
        let (command, address) = binary.demo(folder.path())?;
        let (server, took) = ServerProcess::that_was_told(command, address)?;
        demo.push(took.as_secs_f64() * 1e3);
        server.stop()?;
    }
    Ok(Starts { existing: Spread::of(existing), empty: Spread::of(empty), demo: Spread::of(demo) })
}
