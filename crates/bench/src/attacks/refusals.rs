//! Refused requests of many kinds, without a pause and from many networks. The growth of the database is compared with
//! its growth under honest traffic alone.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;
use tokio::task::JoinSet;

use super::{Goal, Honest, Storm};
use crate::Effort;
use crate::installation::{Binary, Installation};
use crate::load::Connection;
use crate::requests::{SERVICE_DOCUMENT, Shown, TOKEN, get, post};

const CONNECTIONS: u32 = 64;
/// Requests on one connection before the next connection, which comes from another network.
const REQUESTS_EACH: u32 = 200;

/// Maximum growth of the database in MB during one minute of the storm. A shorter storm gets the same limit, because
/// the first records are written at once.
const MAX_GROWTH: f64 = 5.0;

/// Results of one span, with or without the storm.
struct SpanResults {
    /// In microseconds; or the first answer without a token.
    p99: Result<f64>,
    /// In MB.
    growth: f64,
}

pub(super) async fn measure(binary: &Binary, effort: Effort) -> Result<Storm> {
    let span = Duration::from_secs(if effort.quick { 6 } else { 60 });
    let installation = Installation::with_data(binary)?;
    eprintln!("a storm of refusals: without");
    // Warms caches, pools and the first pages of tables.
    measure_span(&installation, span / 4, None).await?;
    let quiet = measure_span(&installation, span, None).await?;
    eprintln!("a storm of refusals: with");
    let refused = Arc::new(AtomicU32::new(0));
    let storm = measure_span(&installation, span, Some(&refused)).await?;
    Ok(report(span, refused.load(Ordering::Relaxed), quiet.p99?, quiet.growth, &storm))
}

fn report(span: Duration, refused: u32, quiet_p99: f64, quiet_growth: f64, storm: &SpanResults) -> Storm {
    let growth = storm.growth - quiet_growth;
    let p99 = match &storm.p99 {
        Ok(p99) => format!("{p99:.0} µs, {:.1} times {quiet_p99:.0} µs", p99 / quiet_p99),
        Err(_) => "not measured".to_owned(),
    };
    let not_served = storm.p99.as_ref().err().map(ToString::to_string);
    let goals = vec![
        Goal {
            what: "the database grew, MB",
            measured: format!("{growth:.2}"),
            bound: format!("at most {MAX_GROWTH:.0}"),
            is_met: growth <= MAX_GROWTH,
        },
        Goal {
            what: "answers that were no tokens",
            // The first line of the error: the answer's status without its page.
            measured: not_served.as_deref().and_then(|error| error.lines().next()).unwrap_or("none").to_owned(),
            bound: "none".to_owned(),
            is_met: not_served.is_none(),
        },
        Goal { what: "p99 of a token", measured: p99, bound: "to be told".to_owned(), is_met: not_served.is_none() },
    ];
    Storm {
        name: format!("{refused} refusals in {} s", span.as_secs()),
        goals,
        json: json!({
            "refused": refused,
            "seconds": span.as_secs(),
            "growth_mb": growth,
            "growth_mb_quiet": quiet_growth,
            "p99_us_quiet": quiet_p99,
            "p99_us_storm": storm.p99.as_ref().ok(),
        }),
    }
}

/// Runs a server from start to stop. After the stop, the database is one file.
async fn measure_span(
    installation: &Installation<'_>,
    span: Duration,
    refused: Option<&Arc<AtomicU32>>,
) -> Result<SpanResults> {
    let before = installation.database_bytes()?;
    let (server, _) = installation.serve()?;
    let mut attackers = JoinSet::new();
    for number in 0..CONNECTIONS {
        if let Some(refused) = refused {
            attackers.spawn(ask(server.address, number, Arc::clone(refused)));
        }
    }
    let p99 = Honest::at(server.address).p99(span).await;
    if let Some(ended) = attackers.try_join_next() {
        ended??;
    }
    attackers.shutdown().await;
    server.stop()?;
    let growth = installation.database_bytes()?.saturating_sub(before);
    Ok(SpanResults { p99, growth: growth as f64 / 1e6 })
}

/// Sends refused requests until the task is aborted.
async fn ask(server: SocketAddr, number: u32, refused: Arc<AtomicU32>) -> Result<()> {
    for round in 0.. {
        // Spreads consecutive numbers over networks of every prefix width.
        let network = round * CONNECTIONS + number;
        let [_, _, upper, lower] = (network % 0xffff).to_be_bytes();
        let mut connection = Connection::open_from(Ipv4Addr::new(127, 1 + lower % 250, upper, 1), server).await?;
        for _ in 0..REQUESTS_EACH {
            let status = connection.status(&request(server, refused.fetch_add(1, Ordering::Relaxed))).await?;
            ensure!((400..=503).contains(&status), "what should be refused was answered {status}");
        }
    }
    Ok(())
}

/// A refused request. No two are alike in the values that the client chooses.
fn request(server: SocketAddr, number: u32) -> Arc<[u8]> {
    const AUTHORIZE: &str = "/id/connect/authorize?response_type=code&scope=read&state=0123456789";
    let token = |form: String| post(server, TOKEN, &form, "");
    let secret = format!("client_secret=wrong.{number}");
    let long = "x".repeat(2000);
    match number % 11 {
        0 => token(format!("grant_type=client_credentials&client_id=unknown.{number}&{secret}")),
        1 => token(format!("grant_type=client_credentials&client_id=my.trusted.app/reader&{secret}")),
        2 => token(format!("grant_type=authorization_code&client_id=my.trusted.app/spa&code={number}&{secret}")),
        3 => token(format!("grant_type=refresh_token&client_id=my.trusted.app/native&refresh_token={number}")),
        4 => token(format!("grant_type=of.{number}{long}&client_id=my.trusted.app/reader&{secret}")),
        5 => get(server, &format!("{AUTHORIZE}&client_id=unknown.{number}"), Shown::Nothing),
        6 => {
            let target =
                format!("{AUTHORIZE}&client_id=my.trusted.app/spa&redirect_uri=https://{number}.example/{long}");
            get(server, &target, Shown::Nothing)
        }
        7 => get(server, SERVICE_DOCUMENT, Shown::Bearer(&format!("wrong.{number}.token"))),
        8 => get(server, SERVICE_DOCUMENT, Shown::ApiKey(&format!("wrong-{number}"))),
        9 => get(server, "/id/connect/userinfo", Shown::Bearer(&format!("wrong-{number}"))),
        _ => post(server, "/id/account/login", &format!("csrf=wrong&login=made.up.{number}&password=x"), ""),
    }
}
