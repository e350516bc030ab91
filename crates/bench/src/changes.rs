//! State changes by many concurrent callers.

use std::time::Instant;

use anyhow::Result;
use tokio::task::JoinSet;

use crate::stats::percentile;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Redeem,
    Rotate,
}

impl Change {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Redeem => "code to token",
            Self::Rotate => "refresh rotation",
        }
    }
}

/// Results of one run of changes.
pub(crate) struct Taken {
    pub(crate) per_second: f64,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

/// Runs all callers concurrently. Each returns the latencies of its changes in microseconds.
pub(crate) async fn together<F>(callers: usize, caller: impl Fn(usize) -> F) -> Result<Taken>
where
    F: Future<Output = Result<Vec<u32>>> + Send + 'static,
{
    let begun = Instant::now();
    let mut tasks: JoinSet<_> = (0..callers).map(caller).collect();
    let mut latencies = Vec::new();
    while let Some(done) = tasks.join_next().await {
        latencies.extend(done??);
    }
    let per_second = latencies.len() as f64 / begun.elapsed().as_secs_f64();
    let p50 = percentile(&mut latencies, 50) / 1e3;
    Ok(Taken { per_second, p50, p99: percentile(&mut latencies, 99) / 1e3 })
}
