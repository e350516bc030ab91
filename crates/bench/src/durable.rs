//! The shapes that are limited by durable writes. They call the flows in this process, because commits can be
//! counted only from inside; between a caller and the database everything is as the server has it, HTTP excepted.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, anyhow, bail};
use flows::authorize::Next;
use flows::demo::{DemoInstance, DemoPasswords, password_of, seed};
use flows::sign_in::Browser;
use flows::{Database, DatabaseUrl, House, Instance, MasterKey, Passwords, Site, World};
use model::audit::{RequestId, Visitor};
use model::{Dice, Moment, RootUrl, Timestamp};
use oauth::client::ClientCredentials;
use oauth::params::Params;
use oauth::secret::Presented;
use oauth::token::{TokenRequest, TokenResponse};
use tempfile::TempDir;
use tokio::task::JoinSet;
use uuid::Uuid;
use web::SystemDice;

use crate::Effort;
use crate::naive::Pool;
use crate::stats::{Spread, percentile};

const REDIRECT_URI: &str = "http://localhost:3000/portal-callback";
/// RFC 7636 Appendix B.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

/// Callers at once, and how many changes each of them makes in a round.
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

/// One change with one number of callers, as measured. Latencies in milliseconds.
pub(crate) struct Durable {
    pub(crate) database: &'static str,
    pub(crate) change: Change,
    pub(crate) callers: usize,
    pub(crate) per_second: Spread,
    pub(crate) p50: Spread,
    pub(crate) p99: Spread,
    pub(crate) commits_per_change: Spread,
    /// Only where there is a naive pool to compare with.
    pub(crate) naive: Option<Naive>,
}

pub(crate) struct Naive {
    pub(crate) per_second: Spread,
    pub(crate) p99: Spread,
    /// The house's changes per second by the pool's.
    pub(crate) times: Spread,
}

/// What one run of changes took.
pub(crate) struct Taken {
    pub(crate) per_second: f64,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

/// Runs all callers at once; each answers the microseconds of its changes.
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

/// SQLite always; PostgreSQL where there is a server to ask.
pub(crate) async fn measure(effort: Effort, postgres: Option<&str>) -> Result<Vec<Durable>> {
    let folder = TempDir::new()?;
    let (ours, theirs) = (folder.path().join("house.db"), folder.path().join("naive.db"));
    let empty = Database::open(&DatabaseUrl::parse(&format!("sqlite:{}", theirs.display()))?).await?;
    empty.migrate().await?;
    empty.close().await;
    let pool = Pool::open(&theirs)?;
    let tenant = Tenant::open(&format!("sqlite:{}", ours.display())).await?;
    let mut measured = all(&tenant, "SQLite", Some(&pool), effort).await?;
    tenant.house.close().await;

    if let Some(server) = postgres {
        let name = format!("gatehouse_bench_{}", Uuid::now_v7().simple());
        administer(server, &format!("CREATE DATABASE {name}")).await?;
        let done = async {
            let tenant = Tenant::open(&with_database(server, &name)?).await?;
            let measured = all(&tenant, "PostgreSQL", None, effort).await;
            tenant.house.close().await;
            measured
        };
        let done = done.await;
        administer(server, &format!("DROP DATABASE {name} WITH (FORCE)")).await?;
        measured.extend(done?);
    }
    Ok(measured)
}

async fn administer(server: &str, sql: &str) -> Result<()> {
    let (client, connection) = tokio_postgres::connect(server, tokio_postgres::NoTls).await?;
    let talking = tokio::spawn(connection);
    client.batch_execute(sql).await?;
    drop(client);
    Ok(talking.await??)
}

fn with_database(server: &str, name: &str) -> Result<String> {
    let (start, query) = server.split_once('?').map_or((server, ""), |(start, query)| (start, query));
    let (host, _) = start
        .rsplit_once('/')
        .filter(|(host, _)| host.contains("://") && !host.ends_with('/'))
        .context("the URL of the PostgreSQL server names a database")?;
    Ok(if query.is_empty() { format!("{host}/{name}") } else { format!("{host}/{name}?{query}") })
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
    Ok(shapes.map(|((change, crowd), rounds)| summary(database, (change, crowd.callers), &rounds)).collect())
}

fn summary(database: &'static str, (change, callers): (Change, usize), rounds: &[Round]) -> Durable {
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

/// The real clock and the operating system's randomness.
struct RealWorld;

impl World for RealWorld {
    fn now(&self) -> Timestamp {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(i64::try_from(since_1970.as_micros()).unwrap_or(i64::MAX))
    }

    fn dice(&self) -> Box<dyn Dice> {
        Box::new(SystemDice)
    }
}

/// The demo's instance, with somebody signed in.
struct Tenant {
    house: Arc<House>,
    instance: Arc<Instance>,
    database: Database,
    browser: Browser,
}

fn visitor() -> Visitor {
    Visitor {
        address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        user_agent: Some("bench".into()),
        request: RequestId::new(Timestamp(0), 1, 1),
    }
}

impl Tenant {
    async fn open(url: &str) -> Result<Arc<Self>> {
        let demo = DemoInstance::DemoDb;
        let database = Database::open(&DatabaseUrl::parse(url)?).await?;
        database.migrate().await?;
        let master = MasterKey::new(&SystemDice.secret());
        let mut dice = SystemDice;
        let mut moment = Moment { now: RealWorld.now(), dice: &mut dice };
        let passwords = DemoPasswords::hash(&Passwords::new(), &mut moment).await?;
        seed((&database, &master), demo, &passwords, &mut moment).await?;
        let root = RootUrl::parse("http://localhost").map_err(anyhow::Error::msg)?;
        let site = Site { name: demo.name().to_owned(), root, hosts: Vec::new() };
        let house = House::open(database.clone(), master, vec![site], Some(demo.name()), Arc::new(RealWorld)).await?;
        let instance = Arc::clone(house.instances().first().context("one was opened")?);
        let password = Presented::new(password_of("alice"));
        let (browser, _) = instance
            .sign_in(&mut moment, &visitor(), ("alice", &password), None)
            .await?
            .map_err(|refusal| anyhow!("{refusal:?}"))?;
        Ok(Arc::new(Self { house, instance, database, browser }))
    }

    /// Returns what it took, and the commits that were made meanwhile.
    async fn measure(self: &Arc<Self>, change: Change, callers: usize, each: usize) -> Result<(Taken, u64)> {
        let codes = match change {
            Change::Redeem => each,
            Change::Rotate => 1,
        };
        let mut starts = self.codes(callers, codes).await?;
        if change == Change::Rotate {
            for caller in &mut starts {
                let Some(code) = caller.pop() else { continue };
                caller.push(refresh_token(&self.exchange(&redemption(&code)).await?)?);
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
            self.exchange(&redemption(code)).await?;
            latencies.push(u32::try_from(begun.elapsed().as_micros())?);
        }
        Ok(latencies)
    }

    async fn rotate(&self, token: &str, times: usize) -> Result<Vec<u32>> {
        let mut token = token.to_owned();
        let mut latencies = Vec::with_capacity(times);
        for _ in 0..times {
            let begun = Instant::now();
            let answer = self.exchange(&format!("grant_type=refresh_token&refresh_token={token}")).await?;
            latencies.push(u32::try_from(begun.elapsed().as_micros())?);
            token = refresh_token(&answer)?;
        }
        Ok(latencies)
    }

    /// As `POST /id/connect/token` does it.
    async fn exchange(&self, form: &str) -> Result<TokenResponse> {
        let secret = "client_id=portal.example.com&client_secret=portal-secret-demodb";
        let params = Params::parse(format!("{form}&{secret}").as_bytes()).map_err(|error| anyhow!("{error:?}"))?;
        let credentials = ClientCredentials::parse(None, &params).map_err(|error| anyhow!("{error:?}"))?;
        let request = TokenRequest::parse(&params).map_err(|error| anyhow!("{error:?}"))?;
        let mut dice = SystemDice;
        let mut moment = Moment { now: RealWorld.now(), dice: &mut dice };
        let answer = self.instance.exchange(&mut moment, &visitor(), &credentials, &request).await?;
        answer.map_err(|refusal| anyhow!("{refusal:?}"))
    }

    /// So many codes for each caller, given out side by side: a code lives for a minute only.
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
        let mut dice = SystemDice;
        let mut moment = Moment { now: RealWorld.now(), dice: &mut dice };
        let target = self.instance.authorization_target(&mut moment, &visitor(), &params)?;
        let target = target.map_err(|refusal| anyhow!("{refusal:?}"))?;
        let signed_in = (Some(&self.browser), false);
        let next = self.instance.authorize(&mut moment, &visitor(), (&target, &params), signed_in).await?;
        let Next::Redirect(location) = next else { bail!("somebody signed in needs no page") };
        let (_, query) = location.split_once('?').context("the answer is in the query")?;
        let code = query.split('&').find_map(|pair| pair.strip_prefix("code="));
        Ok(code.with_context(|| format!("no code in {location}"))?.to_owned())
    }
}

fn redemption(code: &str) -> String {
    format!("grant_type=authorization_code&code={code}&redirect_uri={REDIRECT_URI}&code_verifier={VERIFIER}")
}

fn refresh_token(answer: &TokenResponse) -> Result<String> {
    Ok(answer.refresh_token.as_ref().context("offline_access was granted")?.expose().to_owned())
}
