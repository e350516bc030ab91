//! Storms by unauthenticated clients, and their effect on honest traffic. Each file covers one kind of storm and
//! reports whether its goals are met.

mod guesses;
mod pinned;
mod refusals;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use clap::ValueEnum;
use serde_json::Value;

use crate::Effort;
use crate::installation::Binary;
use crate::load::{self, Pace};
use crate::requests::{SERVICE, client_credentials};
use crate::served::Requests;
use crate::stats::percentile;

/// Results of one storm.
pub(crate) struct Storm {
    pub(crate) name: String,
    pub(crate) goals: Vec<Goal>,
    pub(crate) json: Value,
}

pub(crate) struct Goal {
    pub(crate) what: &'static str,
    pub(crate) measured: String,
    pub(crate) bound: String,
    pub(crate) is_met: bool,
}

/// The storms.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Attack {
    /// HTTP/2 connections that read nothing
    Windows,
    /// Unfinished requests and unread responses
    Mixed,
    /// Guessed passwords
    Guesses,
    /// Refused requests
    Refusals,
}

/// Measures the storms in `only`, or all storms if it is empty.
pub(crate) async fn measure(binary: &Binary, effort: Effort, only: &[Attack]) -> Result<Vec<Storm>> {
    let chosen = if only.is_empty() { Attack::value_variants() } else { only };
    let mut storms = Vec::new();
    for attack in chosen {
        match attack {
            Attack::Windows => storms.push(pinned::measure(binary, effort, pinned::Shape::Windows).await?),
            Attack::Mixed => storms.push(pinned::measure(binary, effort, pinned::Shape::Mixed).await?),
            Attack::Guesses => storms.extend(guesses::measure(binary, effort).await?),
            Attack::Refusals => storms.push(refusals::measure(binary, effort).await?),
        }
    }
    Ok(storms)
}

/// Honest traffic beside an attack: services that request tokens at a steady rate.
struct Honest {
    address: SocketAddr,
    requests: Requests,
}

impl Honest {
    fn at(address: SocketAddr) -> Self {
        Self { address, requests: Arc::new([client_credentials(address, &SERVICE)]) }
    }

    /// The p99 latency in microseconds. An answer without a token is an error.
    async fn p99(&self, span: Duration) -> Result<f64> {
        let mut latencies = load::at(Pace::Steady(200, span), self.address, &self.requests).await?.latencies;
        Ok(percentile(&mut latencies, 99))
    }
}
