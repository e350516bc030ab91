//! Shapes over HTTP: the server's CPU per request against that of the bare handler, which gets the same requests and
//! sends answers of the same size.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use oauth::jose::{Algorithm, SigningKey};
use serde_json::Value;

use crate::Effort;
use crate::installation::{Binary, Installation};
use crate::load::{self, CONNECTIONS, Pace};
use crate::population;
use crate::process::{ServerProcess, thread_cpu};
use crate::requests::{SERVICE_DOCUMENT, SecretClient, Shown, TOKEN, client_credentials, get};
use crate::stats::{Spread, percentile};

/// The audit's last batch is written at most this long after the event it holds.
const SETTLE: Duration = Duration::from_millis(400);

/// Comparison for a shape's CPU per request.
#[derive(Clone, Copy)]
pub(crate) enum Bar {
    /// Minimum requests as a fraction of the bare handler's, for the same CPU.
    OfBare(f64),
    /// Minimum requests as a fraction of the signatures that the same CPU makes in a loop.
    OfSigning(f64),
    None,
}

/// Requests of one kind, and how many of them are sent at full speed.
struct Workload {
    name: &'static str,
    bar: Bar,
    path: &'static str,
    requests: Requests,
    count: usize,
}

struct Shape {
    name: &'static str,
    bar: Bar,
    path: &'static str,
    requests: Requests,
    pace: Pace,
}

/// Results of one shape. CPU and latencies in microseconds.
pub(crate) struct Served {
    pub(crate) name: &'static str,
    pub(crate) pace: Pace,
    pub(crate) bar: Bar,
    pub(crate) cpu: Spread,
    pub(crate) bare_cpu: Spread,
    /// The bare handler's CPU divided by this CPU.
    pub(crate) of_bare: Spread,
    /// The CPU of one signature divided by this CPU. Only for shapes whose cost is a signature.
    pub(crate) of_signing: Option<Spread>,
    pub(crate) per_second: Spread,
    pub(crate) bare_per_second: Spread,
    pub(crate) p50: Spread,
    pub(crate) p99: Spread,
}

/// Resident memory in KiB.
pub(crate) struct Memory {
    pub(crate) idle: u32,
    pub(crate) most_under_load: u32,
}

/// Measures token requests, calls with tokens, documents, and the server's memory.
pub(crate) async fn measure(binary: &Binary, effort: Effort) -> Result<(Vec<Served>, Memory)> {
    let installation = Installation::with_data(binary)?;
    let apps = Applications::create(&installation)?;
    let (server, _) = installation.serve()?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (idle, _) = server.resident()?;
    let measured = rounds(&server, &main_job(server.address, &apps, effort).await?, effort).await?;
    let (_, most_under_load) = server.resident()?;
    server.stop()?;
    Ok((measured, Memory { idle, most_under_load }))
}

/// Measures a guarded call with an access token, and with a reference token in either header.
pub(crate) async fn measure_credentials(binary: &Binary, effort: Effort) -> Result<Vec<Served>> {
    let installation = Installation::with_data(binary)?;
    let apps = Applications::create(&installation)?;
    let keys = population::add(&installation.database_url(), CONNECTIONS, CONNECTIONS, CONNECTIONS).await?;
    let (server, _) = installation.serve()?;
    let measured = rounds(&server, &by_credential(server.address, &apps, &keys, effort).await?, effort).await?;
    server.stop()?;
    Ok(measured)
}

async fn rounds(server: &ServerProcess, shapes: &[Shape], effort: Effort) -> Result<Vec<Served>> {
    let mut bare = Vec::new();
    for shape in shapes {
        bare.push(bare_like(server, &shape.requests[0], shape.path).await?);
    }
    let mut rounds: Vec<Vec<Round>> = shapes.iter().map(|_| Vec::new()).collect();
    for round in 0..=effort.rounds {
        for ((shape, bare), rounds) in shapes.iter().zip(&bare).zip(&mut rounds) {
            eprint!("\rround {round} of {}: {:45} {:12}", effort.rounds, shape.name, shape.pace.name());
            // The first round warms caches, pools and tables and does not count.
            let pace = if round == 0 { shape.pace.part(4) } else { shape.pace };
            let signing = match shape.bar {
                Bar::OfSigning(_) => Some(signing_cpu()?),
                _ => None,
            };
            let bare = one(bare, &shape.requests, pace).await?;
            let of_server = one(server, &shape.requests, pace).await?;
            if round > 0 {
                rounds.push(Round { served: of_server, bare, signing });
            }
        }
    }
    eprintln!();
    Ok(shapes.iter().zip(&rounds).map(|(shape, rounds)| summary(shape, rounds)).collect())
}

/// Starts the bare handler with answers of the same size as the server's answer to this request.
pub(crate) async fn bare_like(server: &ServerProcess, request: &[u8], path: &str) -> Result<ServerProcess> {
    let answer = load::once(server.address, request).await?;
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("bare").arg(path).arg(answer.len().to_string());
    ServerProcess::that_tells(command)
}

/// Client identifiers and secrets, by algorithm.
struct Applications {
    es256: (&'static str, String),
    eddsa: (&'static str, String),
    rs256: (&'static str, String),
}

impl Applications {
    fn create(installation: &Installation<'_>) -> Result<Self> {
        let create = |uri: &'static str, algorithm| anyhow::Ok((uri, installation.service(uri, algorithm)?));
        Ok(Self {
            es256: create("bench.es256", "ES256")?,
            eddsa: create("bench.eddsa", "EdDSA")?,
            rs256: create("bench.rs256", "RS256")?,
        })
    }
}

const CUSTOMERS: &str = "/api/domain/odata/Crm_Sales_Customers";
const DISCOVERY: &str = "/id/.well-known/openid-configuration";
const JWKS: &str = "/id/.well-known/openid-configuration/jwks";

/// Shared by all connections: see [`load::run`].
pub(crate) type Requests = Arc<[Arc<[u8]>]>;

/// The same rate for every server, whatever its capacity.
const STEADY: Pace = Pace::Steady(8000, Duration::from_secs(2));

/// A shape that is compared with the bare handler is also measured at a steady rate: at full speed, a server that
/// answers more requests a second finds more of them at each wake-up.
fn shapes(workload: Workload, effort: Effort) -> Vec<Shape> {
    let Workload { name, bar, path, requests, count } = workload;
    let shape = |pace| Shape { name, bar, path, requests: Arc::clone(&requests), pace: effort.pace(pace) };
    let full = shape(Pace::Full(count));
    match bar {
        Bar::OfBare(_) => vec![shape(STEADY), full],
        Bar::OfSigning(_) | Bar::None => vec![full],
    }
}

/// The main workload: token requests, calls with tokens, and the documents that clients read.
async fn main_job(address: SocketAddr, apps: &Applications, effort: Effort) -> Result<Vec<Shape>> {
    let tokens = access_tokens(address, apps).await?;
    let of_tokens = |target: &str| tokens.iter().map(|token| get(address, target, Shown::Bearer(token))).collect();
    let same = |request: Arc<[u8]>| -> Requests { Arc::new([request]) };
    let credentials =
        |(id, secret): &(&'static str, String)| same(client_credentials(address, &SecretClient { id, secret }));
    let document = |path| same(get(address, path, Shown::Nothing));
    let calls: Requests = of_tokens(SERVICE_DOCUMENT);
    let customers: Requests = of_tokens(&format!("{CUSTOMERS}?$top=10"));
    let workloads = [
        Workload {
            name: "guarded call: service document",
            bar: Bar::OfBare(0.60),
            path: SERVICE_DOCUMENT,
            requests: calls,
            count: 40_000,
        },
        Workload {
            name: "guarded call: ten customers",
            bar: Bar::None,
            path: CUSTOMERS,
            requests: customers,
            count: 10_000,
        },
        Workload {
            name: "client credentials, ES256",
            bar: Bar::OfBare(0.18),
            path: TOKEN,
            requests: credentials(&apps.es256),
            count: 20_000,
        },
        Workload {
            name: "client credentials, EdDSA",
            bar: Bar::OfBare(0.22),
            path: TOKEN,
            requests: credentials(&apps.eddsa),
            count: 20_000,
        },
        Workload {
            name: "client credentials, RS256",
            bar: Bar::OfSigning(0.75),
            path: TOKEN,
            requests: credentials(&apps.rs256),
            count: 4_000,
        },
        Workload {
            name: "discovery",
            bar: Bar::OfBare(0.90),
            path: DISCOVERY,
            requests: document(DISCOVERY),
            count: 60_000,
        },
        Workload { name: "key set", bar: Bar::OfBare(0.90), path: JWKS, requests: document(JWKS), count: 60_000 },
    ];
    Ok(workloads.into_iter().flat_map(|workload| shapes(workload, effort)).collect())
}

/// The same guarded call with each kind of credential.
async fn by_credential(
    address: SocketAddr,
    apps: &Applications,
    keys: &[String],
    effort: Effort,
) -> Result<Vec<Shape>> {
    let call = |shown: Shown<'_>| get(address, SERVICE_DOCUMENT, shown);
    let tokens = access_tokens(address, apps).await?;
    let access: Requests = tokens.iter().map(|token| call(Shown::Bearer(token))).collect();
    let bearer: Requests = keys.iter().map(|key| call(Shown::Bearer(key))).collect();
    let api_key: Requests = keys.iter().map(|key| call(Shown::ApiKey(key))).collect();
    let kinds = [
        ("guarded call: access token", access),
        ("guarded call: reference token", bearer),
        ("guarded call: reference token, `X-Api-Key`", api_key),
    ];
    let workloads = kinds.into_iter().map(|(name, requests)| Workload {
        name,
        bar: Bar::OfBare(0.60),
        path: SERVICE_DOCUMENT,
        requests,
        count: 40_000,
    });
    Ok(workloads.flat_map(|workload| shapes(workload, effort)).collect())
}

/// One access token for each connection.
async fn access_tokens(address: SocketAddr, apps: &Applications) -> Result<Vec<String>> {
    let (id, secret) = &apps.es256;
    let request = client_credentials(address, &SecretClient { id, secret });
    let mut tokens = Vec::with_capacity(CONNECTIONS);
    for _ in 0..CONNECTIONS {
        let answer: Value = serde_json::from_slice(&load::once(address, &request).await?)?;
        tokens.push(answer["access_token"].as_str().context("a token was given")?.to_owned());
    }
    Ok(tokens)
}

/// Results of one server in one round, in microseconds.
pub(crate) struct One {
    pub(crate) cpu: f64,
    pub(crate) per_second: f64,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

struct Round {
    served: One,
    bare: One,
    signing: Option<f64>,
}

pub(crate) async fn one(server: &ServerProcess, requests: &Requests, pace: Pace) -> Result<One> {
    let before = server.cpu()?;
    let mut run = load::at(pace, server.address, requests).await?;
    tokio::time::sleep(SETTLE).await;
    let cpu = server.cpu()?.since(&before);
    Ok(One {
        cpu: cpu.as_secs_f64() * 1e6 / run.requests as f64,
        per_second: run.requests as f64 / run.elapsed.as_secs_f64(),
        p50: percentile(&mut run.latencies, 50),
        p99: percentile(&mut run.latencies, 99),
    })
}

/// CPU time of one RS256 signature over an access token's claims, made in a loop by one thread, in microseconds.
fn signing_cpu() -> Result<f64> {
    const SIGNATURES: u32 = 500;
    let claims = vec![b'x'; 400];
    let (key, _) = SigningKey::generate(Algorithm::Rs256)?;
    let before = thread_cpu()?;
    for _ in 0..SIGNATURES {
        std::hint::black_box(key.sign("at+jwt", std::hint::black_box(&claims))?);
    }
    Ok(thread_cpu()?.saturating_sub(before).as_secs_f64() * 1e6 / f64::from(SIGNATURES))
}

fn summary(shape: &Shape, rounds: &[Round]) -> Served {
    let of = |value: &dyn Fn(&Round) -> f64| Spread::of(rounds.iter().map(value));
    let signed = matches!(shape.bar, Bar::OfSigning(_));
    Served {
        name: shape.name,
        pace: shape.pace,
        bar: shape.bar,
        cpu: of(&|round| round.served.cpu),
        bare_cpu: of(&|round| round.bare.cpu),
        of_bare: of(&|round| round.bare.cpu / round.served.cpu),
        of_signing: signed.then(|| of(&|round| round.signing.unwrap_or_default() / round.served.cpu)),
        per_second: of(&|round| round.served.per_second),
        bare_per_second: of(&|round| round.bare.per_second),
        p50: of(&|round| round.served.p50),
        p99: of(&|round| round.served.p99),
    }
}
