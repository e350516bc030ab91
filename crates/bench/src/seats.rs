//! Opening API sessions: the first call with each token, durable, by many concurrent callers. Runs in this process,
//! because commits can only be counted from inside.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Result, anyhow};
use flows::Platform as _;
use model::Ctx;
use model::claims::DOMAIN_API;
use oauth::secret::{AccessToken, Presented};
use tempfile::TempDir;
use tokio::task::JoinSet;
use web::SystemRng;

use crate::Effort;
use crate::changes::{Taken, together};
use crate::postgres::with_database;
use crate::stats::Spread;
use crate::tenant::{RealWorld, Tenant, request};

const CALLERS: usize = 64;
/// Sessions that each caller opens in a round, each with its own token.
const EACH: usize = 60;

/// Results. Latencies in milliseconds.
pub(crate) struct Openings {
    pub(crate) database: &'static str,
    pub(crate) callers: usize,
    pub(crate) per_second: Spread,
    pub(crate) p50: Spread,
    pub(crate) p99: Spread,
    pub(crate) commits_per_opening: Spread,
}

/// Measures SQLite, and PostgreSQL if a server is given.
pub(crate) async fn measure(effort: Effort, postgres: Option<&str>) -> Result<Vec<Openings>> {
    let folder = TempDir::new()?;
    let file = folder.path().join("house.db");
    let mut measured = vec![on(&format!("sqlite:{}", file.display()), "SQLite", effort).await?];
    if let Some(server) = postgres {
        measured.push(with_database(server, async |url| on(url, "PostgreSQL", effort).await).await?);
    }
    Ok(measured)
}

async fn on(url: &str, database: &'static str, effort: Effort) -> Result<Openings> {
    let tenant = Tenant::open(url).await?;
    let mut rounds = Vec::new();
    for round in 0..=effort.rounds {
        eprint!("\rround {round} of {}: opening sessions on {database}   ", effort.rounds);
        let measured = openings(&tenant, effort.of(EACH)).await?;
        // The first round warms connections and tables and does not count.
        if round > 0 {
            rounds.push(measured);
        }
    }
    eprintln!();
    tenant.server.close().await;
    Ok(Openings {
        database,
        callers: CALLERS,
        per_second: Spread::of(rounds.iter().map(|(taken, _)| taken.per_second)),
        p50: Spread::of(rounds.iter().map(|(taken, _)| taken.p50)),
        p99: Spread::of(rounds.iter().map(|(taken, _)| taken.p99)),
        commits_per_opening: Spread::of(rounds.iter().map(|(_, commits)| *commits)),
    })
}

async fn openings(tenant: &Arc<Tenant>, each: usize) -> Result<(Taken, f64)> {
    let tokens = tokens(tenant, each).await?;
    let (before, _) = tenant.database.commits();
    let taken = together(CALLERS, |caller| {
        let (tenant, tokens) = (Arc::clone(tenant), Arc::clone(&tokens));
        async move {
            let mut latencies = Vec::with_capacity(each);
            for token in &tokens[caller] {
                let begun = Instant::now();
                open(&tenant, token).await?;
                latencies.push(u32::try_from(begun.elapsed().as_micros())?);
            }
            Ok(latencies)
        }
    })
    .await?;
    let (after, _) = tenant.database.commits();
    Ok((taken, (after - before) as f64 / (CALLERS * each) as f64))
}

/// Opens a session as the API guard does for an unknown token.
async fn open(tenant: &Tenant, token: &Presented<AccessToken>) -> Result<()> {
    let mut rng = SystemRng;
    let from = request();
    let mut ctx = Ctx { now: RealWorld.now(), rng: &mut rng, request: &from };
    let entered = tenant.instance.protocol().authorize_call(&mut ctx, token, DOMAIN_API, "read").await?;
    entered.map(drop).map_err(|refusal| anyhow!("{refusal:?}"))
}

/// Service tokens, each of which opens its own session. They are issued before the measurement.
async fn tokens(tenant: &Arc<Tenant>, each: usize) -> Result<Arc<[Vec<Presented<AccessToken>>]>> {
    const ASK: &str = "grant_type=client_credentials&client_id=my.trusted.app/service\
                       &client_secret=service-secret-demodb&scope=read";
    let tasks: JoinSet<_> = (0..CALLERS)
        .map(|_| {
            let tenant = Arc::clone(tenant);
            async move {
                let mut tokens = Vec::with_capacity(each);
                for _ in 0..each {
                    tokens.push(tenant.exchange(ASK).await?.access_token);
                }
                anyhow::Ok(tokens)
            }
        })
        .collect();
    tasks.join_all().await.into_iter().collect()
}
