//! Many live sessions and very many reference tokens: their memory, and their effect on the cost of a call.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::Effort;
use crate::installation::{Binary, Installation};
use crate::load::{self, Pace};
use crate::population;
use crate::process::ServerProcess;
use crate::requests::{SERVICE_DOCUMENT, Shown, get};
use crate::served::{One, Requests, bare_like, one};
use crate::stats::Spread;

const TOKENS: usize = 1_000_000;
/// Each session belongs to a different user and was opened by that user's reference token.
const SESSIONS: usize = 100_000;
/// Number of tokens in use and their rate. Each token is used once before any is used again. The single tokens come
/// first: no uses of other tokens are waiting to be written then, so they show the cost of the other tokens' existence
/// alone.
const IN_USE: [(usize, Pace); 4] = [
    (1, Pace::Steady(8000, Duration::from_secs(4))),
    (1, Pace::Full(80_000)),
    (10_000, Pace::Full(80_000)),
    (SESSIONS, Pace::Full(SESSIONS)),
];
/// How long the servers are measured without calls.
const QUIET: Duration = Duration::from_secs(3);
/// Maximum time until the server is idle: it writes 500 sessions and 500 last uses a second.
const REST: Duration = Duration::from_mins(5);

/// Results with this many tokens in use, and of a server with one session and one token. CPU and latencies in
/// microseconds.
pub(crate) struct InUse {
    pub(crate) tokens: usize,
    pub(crate) pace: Pace,
    pub(crate) cpu: Spread,
    pub(crate) of_bare: Spread,
    pub(crate) small_of_bare: Spread,
    /// CPU of a call at the small server divided by CPU of a call here.
    pub(crate) of_small: Spread,
    pub(crate) p50: Spread,
    pub(crate) p99: Spread,
}

pub(crate) struct Crowd {
    pub(crate) sessions: usize,
    pub(crate) tokens: usize,
    pub(crate) in_use: Vec<InUse>,
    /// Sessions opened per second, over HTTP.
    pub(crate) opened_per_second: f64,
    /// Resident memory in KiB: at the start, with all sessions live, and after all rounds; and of the small server
    /// after all rounds.
    pub(crate) started: u32,
    pub(crate) live: u32,
    pub(crate) used: u32,
    pub(crate) small: u32,
    /// Milliseconds of CPU per second without calls: of the small server, of this one after all sessions were opened,
    /// and of this one after they were all written.
    pub(crate) resting: (f64, f64, f64),
}

pub(crate) async fn measure(binary: &Binary, effort: Effort) -> Result<Crowd> {
    let (sessions, tokens) = (effort.of(SESSIONS), effort.of(TOKENS));
    let filled = Installation::with_data(binary)?;
    let keys = population::add(&filled.database_url(), sessions, tokens, sessions).await?;
    let almost_empty = Installation::with_data(binary)?;
    let only = population::add(&almost_empty.database_url(), 1, 1, 1).await?;

    let (server, _) = filled.serve()?;
    let (small, _) = almost_empty.serve()?;
    let calls = |server: &ServerProcess, keys: &[String]| -> Requests {
        keys.iter().map(|key| get(server.address, SERVICE_DOCUMENT, Shown::Bearer(key))).collect()
    };
    let at_small = calls(&small, &only);
    let bare = bare_like(&small, &at_small[0], SERVICE_DOCUMENT).await?;
    let (started, _) = server.resident()?;
    let everybody = calls(&server, &keys);
    let begun = Instant::now();
    load::run(server.address, &everybody, sessions).await?;
    let opened_per_second = sessions as f64 / begun.elapsed().as_secs_f64();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (live, _) = server.resident()?;
    let resting = (resting(&small).await?, resting(&server).await?);

    let in_use = IN_USE
        .map(|(count, pace)| Shape { requests: Arc::from(&everybody[..count.min(sessions)]), pace: effort.pace(pace) });
    let at_rest = rest(&server, resting.0).await?;
    let mut measured = Vec::new();
    for shape in &in_use {
        let mut rounds = Vec::new();
        for round in 0..=effort.rounds {
            eprint!("\rround {round} of {}: {} tokens in use   ", effort.rounds, shape.requests.len());
            let round_of_all = together(&bare, &small, &at_small, &server, shape).await?;
            // The first round warms caches and does not count.
            if round > 0 {
                rounds.push(round_of_all);
            }
        }
        measured.push(summary(shape, &rounds));
    }
    eprintln!();
    let crowd = Crowd {
        sessions,
        tokens,
        in_use: measured,
        opened_per_second,
        started,
        live,
        used: server.resident()?.0,
        small: small.resident()?.0,
        resting: (resting.0, resting.1, at_rest),
    };
    small.stop()?;
    server.stop()?;
    Ok(crowd)
}

struct Shape {
    requests: Requests,
    pace: Pace,
}

/// Measured one directly after the other, because a shared machine slows down over time.
struct Together {
    bare: One,
    small: One,
    server: One,
}

async fn together(
    bare: &ServerProcess,
    small: &ServerProcess,
    at_small: &Requests,
    server: &ServerProcess,
    shape: &Shape,
) -> Result<Together> {
    Ok(Together {
        bare: one(bare, at_small, shape.pace).await?,
        small: one(small, at_small, shape.pace).await?,
        server: one(server, &shape.requests, shape.pace).await?,
    })
}

/// Cost of ticks and sweeps without calls, in milliseconds of CPU per second.
async fn resting(server: &ServerProcess) -> Result<f64> {
    let before = server.cpu()?;
    tokio::time::sleep(QUIET).await;
    Ok(server.cpu()?.since(&before).as_secs_f64() * 1e3 / QUIET.as_secs_f64())
}

/// Waits until no writes are pending, and returns the server's CPU use then.
async fn rest(server: &ServerProcess, small: f64) -> Result<f64> {
    let begun = Instant::now();
    loop {
        let now = resting(server).await?;
        if now < 2.0 * small || begun.elapsed() > REST {
            return Ok(now);
        }
    }
}

fn summary(shape: &Shape, rounds: &[Together]) -> InUse {
    let of = |value: &dyn Fn(&Together) -> f64| Spread::of(rounds.iter().map(value));
    InUse {
        tokens: shape.requests.len(),
        pace: shape.pace,
        cpu: of(&|measured| measured.server.cpu),
        of_bare: of(&|measured| measured.bare.cpu / measured.server.cpu),
        small_of_bare: of(&|measured| measured.bare.cpu / measured.small.cpu),
        of_small: of(&|measured| measured.small.cpu / measured.server.cpu),
        p50: of(&|measured| measured.server.p50),
        p99: of(&|measured| measured.server.p99),
    }
}
