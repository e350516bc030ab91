//! Shapes limited by durable writes. They call the flows in this process, because commits can only be counted from
//! inside. Except for HTTP, everything between a caller and the database is the same as in the server.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result, anyhow, bail};
use flows::protocol::authorize::{AuthorizeOutcome, RequestUser};
use flows::{Database, DatabaseUrl, Platform as _};
use model::Ctx;
use oauth::authorize::AuthorizationRequest;
use oauth::params::Params;
use oauth::token::TokenResponse;
use tempfile::TempDir;
use tokio::task::JoinSet;
use web::SystemRng;

use crate::Effort;
use crate::changes::{Change, Taken, together};
use crate::naive::Pool;
use crate::postgres::with_database;
use crate::stats::Spread;
use crate::tenant::{RealWorld, Tenant, request};

const REDIRECT_URI: &str = "http://localhost:3000/portal-callback";
/// RFC 7636 Appendix B.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

/// Number of concurrent callers, and of changes by each of them in a round.
#[derive(Clone, Copy)]
struct Crowd {
    callers: usize,
    each: usize,
    each_in_naive_pool: usize,
}

const CROWDS: [Crowd; 3] = [
    Crowd { callers: 1, each: 150, each_in_naive_pool: 100 },
    Crowd { callers: 16, each: 60, each_in_naive_pool: 20 },
    Crowd { callers: 128, each: 50, each_in_naive_pool: 8 },
];

/// Results of one kind of change with one number of callers. Latencies in milliseconds.
pub(crate) struct Durable {
    pub(crate) database: &'static str,
    pub(crate) change: Change,
    pub(crate) callers: usize,
    pub(crate) per_second: Spread,
    pub(crate) p50: Spread,
    pub(crate) p99: Spread,
    pub(crate) commits_per_change: Spread,
    /// Only for SQLite, where a naive pool is measured too.
    pub(crate) naive: Option<Naive>,
}

pub(crate) struct Naive {
    pub(crate) per_second: Spread,
    pub(crate) p99: Spread,
    /// Gatehouse's changes per second divided by the naive pool's.
    pub(crate) times: Spread,
}

/// Measures SQLite, and PostgreSQL if a server is given.
pub(crate) async fn measure(effort: Effort, postgres: Option<&str>) -> Result<Vec<Durable>> {
    let folder = TempDir::new()?;
    let (ours, theirs) = (folder.path().join("house.db"), folder.path().join("naive.db"));
    let empty = Database::open(&DatabaseUrl::parse(&format!("sqlite:{}", theirs.display()))?).await?;
    empty.migrate().await?;
    empty.close().await;
    let pool = Pool::open(&theirs)?;
    let tenant = Tenant::open(&format!("sqlite:{}", ours.display())).await?;
    let mut measured = all(&tenant, "SQLite", Some(&pool), effort).await?;
    tenant.server.close().await;

    if let Some(server) = postgres {
        let done = with_database(server, async |url| {
            let tenant = Tenant::open(url).await?;
            let measured = all(&tenant, "PostgreSQL", None, effort).await;
            tenant.server.close().await;
            measured
        });
        measured.extend(done.await?);
    }
    Ok(measured)
}

struct Round {
    ours: Taken,
    commits_per_change: f64,
    theirs: Option<Taken>,
}

async fn all(
    tenant: &Arc<Tenant>,
    database: &'static str,
    pool: Option<&Arc<Pool>>,
    effort: Effort,
) -> Result<Vec<Durable>> {
    let of_change = |change| CROWDS.map(|crowd| (change, crowd));
    let shapes = [of_change(Change::Redeem), of_change(Change::Rotate)].concat();
    let mut rounds: Vec<Vec<Round>> = shapes.iter().map(|_| Vec::new()).collect();
    for round in 1..=effort.rounds {
        for ((change, crowd), rounds) in shapes.iter().zip(&mut rounds) {
            let Crowd { callers, each, each_in_naive_pool } = *crowd;
            eprint!("\rround {round} of {}: {database}, {}, {callers} callers   ", effort.rounds, change.name());
            let theirs = match pool {
                Some(pool) => Some(pool.measure(*change, callers, effort.of(each_in_naive_pool)).await?),
                None => None,
            };
            let each = effort.of(each);
            let (ours, commits) = tenant.measure(*change, callers, each).await?;
            rounds.push(Round { ours, commits_per_change: commits as f64 / (callers * each) as f64, theirs });
        }
    }
    eprintln!();
    let shapes = shapes.into_iter().zip(rounds);
    Ok(shapes.map(|((change, crowd), rounds)| summary(database, change, crowd.callers, &rounds)).collect())
}

fn summary(database: &'static str, change: Change, callers: usize, rounds: &[Round]) -> Durable {
    Durable {
        database,
        change,
        callers,
        per_second: Spread::of(rounds.iter().map(|round| round.ours.per_second)),
        p50: Spread::of(rounds.iter().map(|round| round.ours.p50)),
        p99: Spread::of(rounds.iter().map(|round| round.ours.p99)),
        commits_per_change: Spread::of(rounds.iter().map(|round| round.commits_per_change)),
        naive: rounds[0].theirs.is_some().then(|| naive(rounds)),
    }
}

fn naive(rounds: &[Round]) -> Naive {
    let both = || rounds.iter().filter_map(|round| round.theirs.as_ref().map(|theirs| (&round.ours, theirs)));
    Naive {
        per_second: Spread::of(both().map(|(_, theirs)| theirs.per_second)),
        p99: Spread::of(both().map(|(_, theirs)| theirs.p99)),
        times: Spread::of(both().map(|(ours, theirs)| ours.per_second / theirs.per_second)),
    }
}

impl Tenant {
    /// Returns the results, and the number of commits during the run.
    async fn measure(self: &Arc<Self>, change: Change, callers: usize, each: usize) -> Result<(Taken, u64)> {
        let codes = match change {
            Change::Redeem => each,
            Change::Rotate => 1,
        };
        let mut starts = self.codes(callers, codes).await?;
        if change == Change::Rotate {
            for caller in &mut starts {
                let Some(code) = caller.pop() else { continue };
                caller.push(refresh_token(&self.exchange(&self.redemption(&code)).await?)?);
            }
        }
        let starts: Arc<[Vec<String>]> = starts.into();
        let (before, _) = self.database.commits();
        let taken = together(callers, |caller| {
            let (tenant, starts) = (Arc::clone(self), Arc::clone(&starts));
            async move {
                match change {
                    Change::Redeem => tenant.redeem(&starts[caller]).await,
                    Change::Rotate => tenant.rotate(&starts[caller][0], each).await,
                }
            }
        })
        .await?;
        let (after, _) = self.database.commits();
        Ok((taken, after - before))
    }

    async fn redeem(&self, codes: &[String]) -> Result<Vec<u32>> {
        let mut latencies = Vec::with_capacity(codes.len());
        for code in codes {
            let begun = Instant::now();
            self.exchange(&self.redemption(code)).await?;
            latencies.push(u32::try_from(begun.elapsed().as_micros())?);
        }
        Ok(latencies)
    }

    async fn rotate(&self, token: &str, times: usize) -> Result<Vec<u32>> {
        let mut token = token.to_owned();
        let mut latencies = Vec::with_capacity(times);
        for _ in 0..times {
            let begun = Instant::now();
            token = self.refresh(&token).await?;
            latencies.push(u32::try_from(begun.elapsed().as_micros())?);
        }
        Ok(latencies)
    }

    /// Refreshes and returns the next refresh token.
    pub(crate) async fn refresh(&self, token: &str) -> Result<String> {
        let client = &self.client;
        refresh_token(&self.exchange(&format!("grant_type=refresh_token&refresh_token={token}&{client}")).await?)
    }

    /// The first refresh tokens of this many authorizations.
    pub(crate) async fn refresh_tokens(self: &Arc<Self>, count: usize) -> Result<Vec<String>> {
        let mut tokens = Vec::with_capacity(count);
        // Fewer at once than the database's queue holds.
        for code in self.codes(count.min(100), count.div_ceil(100)).await?.into_iter().flatten().take(count) {
            tokens.push(refresh_token(&self.exchange(&self.redemption(&code)).await?)?);
        }
        Ok(tokens)
    }

    fn redemption(&self, code: &str) -> String {
        let client = &self.client;
        format!(
            "grant_type=authorization_code&code={code}&redirect_uri={REDIRECT_URI}&code_verifier={VERIFIER}&{client}"
        )
    }

    /// Codes for each caller. They are issued concurrently, because a code is valid for one minute only.
    async fn codes(self: &Arc<Self>, callers: usize, each: usize) -> Result<Vec<Vec<String>>> {
        let tasks: JoinSet<_> = (0..callers)
            .map(|_| {
                let tenant = Arc::clone(self);
                async move {
                    let mut codes = Vec::with_capacity(each);
                    for _ in 0..each {
                        codes.push(tenant.code().await?);
                    }
                    anyhow::Ok(codes)
                }
            })
            .collect();
        tasks.join_all().await.into_iter().collect()
    }

    async fn code(&self) -> Result<String> {
        let query = format!(
            "client_id=portal.example.com&response_type=code&redirect_uri={REDIRECT_URI}\
             &scope=read offline_access&code_challenge={CHALLENGE}&code_challenge_method=S256"
        );
        let params = Params::parse(query.as_bytes()).map_err(|error| anyhow!("{error:?}"))?;
        let mut rng = SystemRng;
        let from = request();
        let mut ctx = Ctx { now: RealWorld.now(), rng: &mut rng, request: &from };
        let request = AuthorizationRequest::parse(&params).map_err(|malformed| anyhow!("{malformed:?}"))?;
        let verified = self.instance.protocol().verify_request(&mut ctx, request.into()).await?;
        let verified = verified.map_err(|refusal| anyhow!("{refusal:?}"))?;
        let user = RequestUser { browser: &self.browser, for_this_request: false };
        let next = self.instance.protocol().authorize(&mut ctx, &verified, Some(user)).await?;
        let AuthorizeOutcome::Respond(response) = next else { bail!("a signed-in user needs no page") };
        let code = response.parameters.into_iter().find(|(name, _)| *name == "code");
        Ok(code.context("the response has no code")?.1)
    }
}

fn refresh_token(answer: &TokenResponse) -> Result<String> {
    Ok(answer.refresh_token.as_ref().context("offline_access was granted")?.expose().to_owned())
}
