//! The shapes that go over HTTP: CPU per request of the server against CPU per request of the bare handler, which
//! gets the same request and answers as many bytes.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use oauth::jose::{Algorithm, SigningKey};
use serde_json::Value;

use crate::Effort;
use crate::installation::{Binary, Installation};
use crate::load::{self, CONNECTIONS};
use crate::process::{Server, thread_cpu};
use crate::stats::{Spread, percentile};

/// The audit's last batch is written at most this long after the event it holds.
const SETTLE: Duration = Duration::from_millis(400);

/// What a shape's CPU per request is compared to.
#[derive(Clone, Copy)]
pub(crate) enum Bar {
    /// At least this part of the bare handler's requests for the same CPU.
    OfBare(f64),
    /// At least this part of the signatures that the same CPU would make in a loop.
    OfSigning(f64),
    None,
}

struct Shape {
    name: &'static str,
    bar: Bar,
    path: &'static str,
    /// One for each connection.
    requests: Vec<Arc<[u8]>>,
    count: usize,
}

/// A shape as measured. CPU and latencies in microseconds.
pub(crate) struct Served {
    pub(crate) name: &'static str,
    pub(crate) bar: Bar,
    pub(crate) cpu: Spread,
    pub(crate) bare_cpu: Spread,
    /// Bare CPU by CPU.
    pub(crate) of_bare: Spread,
    /// CPU of one signature by CPU; only where a signature is what is measured.
    pub(crate) of_signing: Option<Spread>,
    pub(crate) per_second: Spread,
    pub(crate) bare_per_second: Spread,
    pub(crate) p50: Spread,
    pub(crate) p99: Spread,
}

/// Resident, in KiB.
pub(crate) struct Memory {
    pub(crate) idle: u32,
    pub(crate) most_under_load: u32,
}

pub(crate) async fn measure(binary: &Binary, effort: Effort) -> Result<(Vec<Served>, Memory)> {
    let installation = Installation::with_data(binary)?;
    let apps = Applications::create(&installation)?;
    let (house, _) = installation.serve()?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (idle, _) = house.resident()?;

    let shapes = shapes(house.address, &apps, effort).await?;
    let mut bare = Vec::new();
    for shape in &shapes {
        let answer = load::once(house.address, &shape.requests[0]).await?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("bare").arg(shape.path).arg(answer.len().to_string());
        bare.push(Server::that_tells(command)?);
    }

    let mut rounds: Vec<Vec<Round>> = shapes.iter().map(|_| Vec::new()).collect();
    for round in 0..=effort.rounds {
        for ((shape, bare), rounds) in shapes.iter().zip(&bare).zip(&mut rounds) {
            eprint!("\rround {round} of {}: {:40}", effort.rounds, shape.name);
            // The first round warms caches, pools and tables, and is not counted.
            let count = if round == 0 { shape.count / 4 } else { shape.count };
            let signing = match shape.bar {
                Bar::OfSigning(_) => Some(signing_cpu()?),
                _ => None,
            };
            let bare = one(bare, &shape.requests, count).await?;
            let served = one(&house, &shape.requests, count).await?;
            if round > 0 {
                rounds.push(Round { served, bare, signing });
            }
        }
    }
    eprintln!();
    let (_, most_under_load) = house.resident()?;
    house.stop()?;
    let served = shapes.iter().zip(&rounds).map(|(shape, rounds)| summary(shape, rounds)).collect();
    Ok((served, Memory { idle, most_under_load }))
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

const TOKEN: &str = "/id/connect/token";
const SERVICE_DOCUMENT: &str = "/api/domain/odata/";
const CUSTOMERS: &str = "/api/domain/odata/Crm_Sales_Customers";
const DISCOVERY: &str = "/id/.well-known/openid-configuration";
const JWKS: &str = "/id/.well-known/openid-configuration/jwks";

async fn shapes(address: SocketAddr, apps: &Applications, effort: Effort) -> Result<Vec<Shape>> {
    let ask_token = token_request(address, &apps.es256);
    let (mut documents, mut customers) = (Vec::new(), Vec::new());
    for _ in 0..CONNECTIONS {
        let answer: Value = serde_json::from_slice(&load::once(address, &ask_token).await?)?;
        let token = answer["access_token"].as_str().context("a token was given")?;
        documents.push(get(address, SERVICE_DOCUMENT, Some(token)));
        customers.push(get(address, &format!("{CUSTOMERS}?$top=10"), Some(token)));
    }
    let same = |request: Arc<[u8]>| vec![request; CONNECTIONS];
    let shape = |name, bar, path, requests, count| Shape { name, bar, path, requests, count: effort.of(count) };
    let credentials = |app| same(token_request(address, app));
    Ok(vec![
        shape("guarded call: service document", Bar::OfBare(0.60), SERVICE_DOCUMENT, documents, 40_000),
        shape("guarded call: ten customers", Bar::None, CUSTOMERS, customers, 10_000),
        shape("client credentials, ES256", Bar::OfBare(0.18), TOKEN, credentials(&apps.es256), 20_000),
        shape("client credentials, EdDSA", Bar::OfBare(0.22), TOKEN, credentials(&apps.eddsa), 20_000),
        shape("client credentials, RS256", Bar::OfSigning(0.75), TOKEN, credentials(&apps.rs256), 4_000),
        shape("discovery", Bar::OfBare(0.90), DISCOVERY, same(get(address, DISCOVERY, None)), 60_000),
        shape("key set", Bar::OfBare(0.90), JWKS, same(get(address, JWKS, None)), 60_000),
    ])
}

fn get(address: SocketAddr, target: &str, token: Option<&str>) -> Arc<[u8]> {
    let authorization = token.map(|token| format!("authorization: Bearer {token}\r\n")).unwrap_or_default();
    let text = format!(
        "GET {target} HTTP/1.1\r\nhost: {address}\r\nuser-agent: bench\r\naccept: application/json\r\n\
         {authorization}\r\n"
    );
    text.into_bytes().into()
}

fn token_request(address: SocketAddr, (id, secret): &(&str, String)) -> Arc<[u8]> {
    let form = format!("grant_type=client_credentials&client_id={id}&client_secret={secret}&scope=read");
    let text = format!(
        "POST {TOKEN} HTTP/1.1\r\nhost: {address}\r\nuser-agent: bench\r\naccept: application/json\r\n\
         content-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{form}",
        form.len()
    );
    text.into_bytes().into()
}

/// One server's part of a round, in microseconds.
struct One {
    cpu: f64,
    per_second: f64,
    p50: f64,
    p99: f64,
}

struct Round {
    served: One,
    bare: One,
    signing: Option<f64>,
}

async fn one(server: &Server, requests: &[Arc<[u8]>], count: usize) -> Result<One> {
    let before = server.cpu()?;
    let mut run = load::run(server.address, requests, count).await?;
    tokio::time::sleep(SETTLE).await;
    let cpu = server.cpu()?.since(&before);
    Ok(One {
        cpu: cpu.as_secs_f64() * 1e6 / run.requests as f64,
        per_second: run.requests as f64 / run.elapsed.as_secs_f64(),
        p50: percentile(&mut run.latencies, 50),
        p99: percentile(&mut run.latencies, 99),
    })
}

/// CPU of one RS256 signature over an access token's claims, made in a loop by one thread; microseconds.
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
