//! A storm of sign-ins with wrong passwords, and its effect on the token path. Each sign-in uses another account and
//! network, so that no throttle slows it.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tokio::task::JoinSet;

use crate::Effort;
use crate::installation::{Binary, Installation};
use crate::load::{self, Connection, Pace};
use crate::requests::{SERVICE, SERVICE_DOCUMENT, Shown, client_credentials, get, post};
use crate::served::Requests;
use crate::sign_in::{FORM_COOKIE, LOGIN, csrf};
use crate::stats::{Spread, percentile};

const SIGN_INS: usize = 64;
/// Results of one path at one rate. Latencies in microseconds.
pub(crate) struct PathLatencies {
    pub(crate) path: &'static str,
    pub(crate) pace: Pace,
    pub(crate) quiet: (Spread, Spread),
    pub(crate) storm: (Spread, Spread),
    /// The p99 during the storm divided by the p99 before it, for each round.
    pub(crate) times: Spread,
}

pub(crate) struct Storm {
    pub(crate) paths: Vec<PathLatencies>,
    /// Passwords compared per second during the token requests.
    pub(crate) sign_ins_per_second: Spread,
}

struct Shape {
    path: &'static str,
    pace: Pace,
    requests: Requests,
}

pub(crate) async fn measure(binary: &Binary, effort: Effort) -> Result<Storm> {
    let installation = Installation::with_data(binary)?.behind_a_proxy()?;
    let (server, _) = installation.serve()?;
    let shapes = shapes(server.address, effort).await?;
    let mut rounds = Vec::new();
    for round in 0..=effort.rounds {
        eprint!("\rround {round} of {}: a storm of sign-ins   ", effort.rounds);
        let quiet = all(server.address, &shapes).await?;
        let running = RunningStorm::start(server.address, round).await?;
        let storm = all(server.address, &shapes).await?;
        let per_second = running.end().await?;
        // The first round warms pools and tables and does not count.
        if round > 0 {
            rounds.push(Round { quiet, storm, per_second });
        }
    }
    eprintln!();
    server.stop()?;
    let paths = shapes.iter().enumerate().map(|(place, shape)| {
        let of = |value: &dyn Fn(&Latencies, &Latencies) -> f64| {
            Spread::of(rounds.iter().map(|round| value(&round.quiet[place], &round.storm[place])))
        };
        PathLatencies {
            path: shape.path,
            pace: shape.pace,
            quiet: (of(&|quiet, _| quiet.p50), of(&|quiet, _| quiet.p99)),
            storm: (of(&|_, storm| storm.p50), of(&|_, storm| storm.p99)),
            times: of(&|quiet, storm| storm.p99 / quiet.p99),
        }
    });
    Ok(Storm { paths: paths.collect(), sign_ins_per_second: Spread::of(rounds.iter().map(|round| round.per_second)) })
}

async fn shapes(address: SocketAddr, effort: Effort) -> Result<Vec<Shape>> {
    let ask = client_credentials(address, &SERVICE);
    let answer: Value = serde_json::from_slice(&load::once(address, &ask).await?)?;
    let token = answer["access_token"].as_str().context("a token was given")?;
    let call = get(address, SERVICE_DOCUMENT, Shown::Bearer(token));
    let shape = |path, request: &Arc<[u8]>, pace| Shape { path, pace, requests: Arc::new([Arc::clone(request)]) };
    let steady = effort.pace(Pace::Steady(500, Duration::from_secs(2)));
    Ok(vec![
        shape("client credentials", &ask, steady),
        shape("guarded call", &call, steady),
        shape("client credentials", &ask, effort.pace(Pace::Full(20_000))),
        shape("guarded call", &call, effort.pace(Pace::Full(40_000))),
    ])
}

struct Latencies {
    p50: f64,
    p99: f64,
}

struct Round {
    quiet: Vec<Latencies>,
    storm: Vec<Latencies>,
    per_second: f64,
}

async fn all(address: SocketAddr, shapes: &[Shape]) -> Result<Vec<Latencies>> {
    let mut all = Vec::with_capacity(shapes.len());
    for shape in shapes {
        let mut latencies = load::at(shape.pace, address, &shape.requests).await?.latencies;
        all.push(Latencies { p50: percentile(&mut latencies, 50), p99: percentile(&mut latencies, 99) });
    }
    Ok(all)
}

/// A running storm.
struct RunningStorm {
    over: Arc<AtomicBool>,
    begun: Instant,
    tasks: JoinSet<Result<u32>>,
}

impl RunningStorm {
    async fn start(address: SocketAddr, round: u32) -> Result<Self> {
        let csrf = csrf(address).await?;
        // The first byte of each network is the round, so that no account is used in two rounds.
        let next = Arc::new(AtomicU32::new((10 + round) << 24));
        let over = Arc::new(AtomicBool::new(false));
        let mut tasks = JoinSet::new();
        for _ in 0..SIGN_INS {
            let (over, next, csrf) = (Arc::clone(&over), Arc::clone(&next), csrf.clone());
            tasks.spawn(async move {
                let mut connection = Connection::open(address).await?;
                let mut compared = 0;
                while !over.load(Ordering::Relaxed) {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    // Spreads consecutive numbers over networks of every prefix width.
                    let from = (number & 0xff00_0000) | ((number & 0xffff) << 8) | ((number >> 16) & 0xff);
                    let from = Ipv4Addr::from_bits(from);
                    let form = format!("csrf={csrf}&login=storm.{number}&password=wrong");
                    let post =
                        post(address, LOGIN, &form, &format!("cookie: {FORM_COOKIE}\r\nx-forwarded-for: {from}\r\n"));
                    let status = connection.status(&post).await?;
                    ensure!(status == 200, "a wrong password was answered {status}");
                    compared += 1;
                }
                Ok(compared)
            });
        }
        // Waits until all sign-ins are queued.
        tokio::time::sleep(Duration::from_millis(200)).await;
        Ok(Self { over, begun: Instant::now(), tasks })
    }

    /// Ends the storm and returns the passwords compared per second.
    async fn end(mut self) -> Result<f64> {
        self.over.store(true, Ordering::Relaxed);
        let mut compared = 0;
        while let Some(done) = self.tasks.join_next().await {
            compared += done??;
        }
        Ok(f64::from(compared) / self.begun.elapsed().as_secs_f64())
    }
}
