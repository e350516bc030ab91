//! Time from a token's revocation on one node to its refusal on the others: three processes on one PostgreSQL database.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flows::MasterKey;
use model::Rng as _;
use serde_json::Value;
use tokio::task::JoinSet;
use web::SystemRng;

use crate::Effort;
use crate::installation::{Binary, Installation};
use crate::load::{self, Connection};
use crate::population;
use crate::postgres::with_database;
use crate::process::ServerProcess;
use crate::requests::{SERVICE, SERVICE_DOCUMENT, SecretClient, Shown, client_credentials, get, post};
use crate::stats::percentile;
use crate::tenant::plant;

const NODES: usize = 3;
/// Revocations of each kind.
const KILLS: usize = 200;
/// Tokens revoked at the same time, and the pause between calls with each. The calls are too few to be a load.
const AT_ONCE: usize = 4;
const ASK_EVERY: Duration = Duration::from_millis(5);
/// Far longer than any result worth measuring.
const LONGEST: Duration = Duration::from_secs(10);
/// A node first reads the feed from the start.
const SETTLE: Duration = Duration::from_secs(2);

/// Milliseconds from sending the revocation to the first refusal: one value per revocation and other node.
pub(crate) struct RevocationDelays {
    pub(crate) what: &'static str,
    pub(crate) revocations: usize,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) most: f64,
}

pub(crate) async fn measure(binary: &Binary, effort: Effort, server: &str) -> Result<Vec<RevocationDelays>> {
    with_database(server, async |url| on(binary, effort, url).await).await
}

async fn on(binary: &Binary, effort: Effort, url: &str) -> Result<Vec<RevocationDelays>> {
    let key = SystemRng.secret();
    plant(url, &MasterKey::new(&key)).await?.close().await;
    let revocations = effort.of(KILLS);
    let keys = population::add(url, revocations, revocations, revocations).await?;
    let installations =
        (0..NODES).map(|_| Installation::node(binary, url, &STANDARD.encode(key))).collect::<Result<Vec<_>>>()?;
    let nodes = installations.iter().map(|one| Ok(one.serve()?.0)).collect::<Result<Vec<_>>>()?;
    let nodes: Arc<[ServerProcess]> = nodes.into();
    tokio::time::sleep(SETTLE).await;

    let mut access = Vec::with_capacity(revocations);
    for _ in 0..revocations {
        let answer = load::once(nodes[0].address, &client_credentials(nodes[0].address, &SERVICE)).await?;
        let answer: Value = serde_json::from_slice(&answer)?;
        access.push(answer["access_token"].as_str().context("a token was given")?.to_owned());
    }
    let SecretClient { id, secret } = SERVICE;
    let client = format!("client_id={id}&client_secret={secret}");
    let access = delays_of(&nodes, "access token of a service", &access, &client).await?;
    let keys = delays_of(&nodes, "reference token", &keys, &format!("client_id={}", population::APPLICATION)).await?;
    Ok(vec![access, keys])
}

async fn delays_of(
    nodes: &Arc<[ServerProcess]>,
    what: &'static str,
    tokens: &[String],
    client: &str,
) -> Result<RevocationDelays> {
    let mut took: Vec<u32> = Vec::new();
    let mut under_way: JoinSet<Result<Vec<u32>>> = JoinSet::new();
    for (number, token) in tokens.iter().enumerate() {
        if under_way.len() >= AT_ONCE {
            took.extend(under_way.join_next().await.context("some are under way")???);
        }
        eprint!("\r{} of {} killed: {what}   ", number + 1, tokens.len());
        under_way.spawn(kill(Arc::clone(nodes), number % NODES, token.clone(), format!("token={token}&{client}")));
    }
    while let Some(done) = under_way.join_next().await {
        took.extend(done??);
    }
    eprintln!();
    let (p50, p99) = (percentile(&mut took, 50) / 1e3, percentile(&mut took, 99) / 1e3);
    Ok(RevocationDelays { what, revocations: tokens.len(), p50, p99, most: percentile(&mut took, 100) / 1e3 })
}

/// Microseconds until each other node refused. Before, every node knew the token and its session.
async fn kill(nodes: Arc<[ServerProcess]>, by: usize, token: String, revocation: String) -> Result<Vec<u32>> {
    let mut others = Vec::new();
    for number in 0..NODES {
        // The node that will revoke goes first: it opens the session, and the others join it.
        let node = (by + number) % NODES;
        let address = nodes[node].address;
        let mut connection = Connection::open(address).await?;
        let call = get(address, SERVICE_DOCUMENT, Shown::Bearer(&token));
        let status = connection.status(&call).await?;
        ensure!(status == 200, "a token that lives was answered {status}");
        if node != by {
            others.push((connection, call));
        }
    }
    let address = nodes[by].address;
    let mut killing = Connection::open(address).await?;
    let revocation = post(address, "/id/connect/revocation", &revocation, "");
    let begun = Instant::now();
    let asked: JoinSet<_> = others.into_iter().map(|(connection, call)| refused(connection, call, begun)).collect();
    let status = killing.status(&revocation).await?;
    ensure!(status == 200, "the revocation was answered {status}");
    asked.join_all().await.into_iter().collect()
}

/// Calls until the token is refused.
async fn refused(mut connection: Connection, call: Arc<[u8]>, begun: Instant) -> Result<u32> {
    loop {
        match connection.status(&call).await? {
            200 => ensure!(begun.elapsed() < LONGEST, "a revoked token is still good"),
            401 => return Ok(u32::try_from(begun.elapsed().as_micros())?),
            status => anyhow::bail!("neither let in nor refused: {status}"),
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}
