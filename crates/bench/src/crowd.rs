//! Many live sessions and very many reference tokens: what they take of memory, and whether a call costs more for them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::Effort;
use crate::installation::{Binary, Installation};
use crate::load::{self, Pace};
use crate::population;
use crate::process::Server;
use crate::requests::{SERVICE_DOCUMENT, Shown, get};
use crate::served::{One, Requests, bare_like, one};
use crate::stats::Spread;

const TOKENS: usize = 1_000_000;
/// Each session is another person's, opened by a reference token of theirs.
const SESSIONS: usize = 100_000;
/// Requests of a measurement.
const CALLS: usize = 40_000;
/// How many tokens are in use at the same time: each is used once before any is used again.
const IN_USE: [usize; 3] = [1, 10_000, SESSIONS];
/// How long the servers are watched while nobody calls.
const QUIET: Duration = Duration::from_secs(3);

/// So many tokens in use, beside a server with one session and one token. CPU and latencies in microseconds.
pub(crate) struct InUse {
    pub(crate) tokens: usize,
    pub(crate) cpu: Spread,
    pub(crate) of_bare: Spread,
    /// CPU of the call at the small server by CPU here.
    pub(crate) of_small: Spread,
    pub(crate) p50: Spread,
    pub(crate) p99: Spread,
}

pub(crate) struct Crowd {
    pub(crate) sessions: usize,
    pub(crate) tokens: usize,
    pub(crate) small_of_bare: Spread,
    pub(crate) in_use: Vec<InUse>,
    /// Sessions opened a second, over HTTP.
    pub(crate) opened_per_second: f64,
    /// Resident, in KiB: at the start, with all sessions live, after all rounds; and the small server after all rounds.
    pub(crate) started: u32,
    pub(crate) live: u32,
    pub(crate) used: u32,
    pub(crate) small: u32,
    /// Milliseconds of a core each second while nobody calls: the small server, this one.
    pub(crate) resting: (f64, f64),
}

pub(crate) async fn measure(binary: &Binary, effort: Effort) -> Result<Crowd> {
    let (sessions, tokens) = (effort.of(SESSIONS), effort.of(TOKENS));
    let filled = Installation::with_data(binary)?;
    let keys = population::add(&filled.database_url(), sessions, tokens, sessions).await?;
    let almost_empty = Installation::with_data(binary)?;
    let only = population::add(&almost_empty.database_url(), 1, 1, 1).await?;

    let (house, _) = filled.serve()?;
    let (small, _) = almost_empty.serve()?;
    let calls = |server: &Server, keys: &[String]| -> Requests {
        keys.iter().map(|key| get(server.address, SERVICE_DOCUMENT, Shown::Bearer(key))).collect()
    };
    let at_small = calls(&small, &only);
    let bare = bare_like(&small, &at_small[0], SERVICE_DOCUMENT).await?;
    let (started, _) = house.resident()?;
    let everybody = calls(&house, &keys);
    let begun = Instant::now();
    load::run(house.address, &everybody, sessions).await?;
    let opened_per_second = sessions as f64 / begun.elapsed().as_secs_f64();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (live, _) = house.resident()?;
    let resting = (resting(&small).await?, resting(&house).await?);

    let in_use: Vec<Requests> = IN_USE.iter().map(|count| Arc::from(&everybody[..(*count).min(sessions)])).collect();
    let mut rounds = Vec::new();
    for round in 0..=effort.rounds {
        eprint!("\rround {round} of {}: calls among {sessions} sessions   ", effort.rounds);
        let measured = together(&bare, (&small, &at_small), (&house, &in_use), effort.of(CALLS)).await?;
        // The first round warms caches, and is not counted.
        if round > 0 {
            rounds.push(measured);
        }
    }
    eprintln!();
    let crowd = Crowd {
        sessions,
        tokens,
        small_of_bare: Spread::of(rounds.iter().map(|round| round.bare.cpu / round.pairs[0].0.cpu)),
        in_use: (0..in_use.len()).map(|place| summary(in_use[place].len(), place, &rounds)).collect(),
        opened_per_second,
        started,
        live,
        used: house.resident()?.0,
        small: small.resident()?.0,
        resting,
    };
    small.stop()?;
    house.stop()?;
    Ok(crowd)
}

struct Round {
    bare: One,
    /// Each beside a measurement of the small server: a machine that is shared gets slower while it works.
    pairs: Vec<(One, One)>,
}

async fn together(
    bare: &Server,
    (small, at_small): (&Server, &Requests),
    (house, in_use): (&Server, &[Requests]),
    calls: usize,
) -> Result<Round> {
    let mut round = Round { bare: one(bare, at_small, Pace::Full(calls)).await?, pairs: vec![] };
    for requests in in_use {
        let pace = Pace::Full(calls.max(requests.len()));
        round.pairs.push((one(small, at_small, pace).await?, one(house, requests, pace).await?));
    }
    Ok(round)
}

/// What beats and sweeps cost while nobody calls: milliseconds of a core in each second.
async fn resting(server: &Server) -> Result<f64> {
    let before = server.cpu()?;
    tokio::time::sleep(QUIET).await;
    Ok(server.cpu()?.since(&before).as_secs_f64() * 1e3 / QUIET.as_secs_f64())
}

fn summary(tokens: usize, place: usize, rounds: &[Round]) -> InUse {
    let of = |value: &dyn Fn(&Round) -> f64| Spread::of(rounds.iter().map(value));
    InUse {
        tokens,
        cpu: of(&|round| round.pairs[place].1.cpu),
        of_bare: of(&|round| round.bare.cpu / round.pairs[place].1.cpu),
        of_small: of(&|round| round.pairs[place].0.cpu / round.pairs[place].1.cpu),
        p50: of(&|round| round.pairs[place].1.p50),
        p99: of(&|round| round.pairs[place].1.p99),
    }
}
