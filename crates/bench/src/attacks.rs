//! Storms by strangers, and what everybody else feels of them. Each has a file of its own, and tells goals and whether they
//! are met.

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
use crate::requests::client_credentials;
use crate::served::Requests;
use crate::stats::percentile;

const SERVICE: (&str, &str) = ("my.trusted.app/service", "service-secret-demodb");

/// A storm, as it was felt.
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

/// The storms, for those who have no time for all.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Attack {
    /// HTTP/2 that takes nothing
    Windows,
    /// Half requests, and answers that are not read
    Mixed,
    /// Guessed passwords
    Guesses,
    /// Refused requests
    Refusals,
}

/// Those of `only`; all if it is empty.
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

/// The honest traffic beside an attack: services that ask for tokens, a steady number a second.
struct Honest {
    address: SocketAddr,
    requests: Requests,
}

impl Honest {
    fn at(address: SocketAddr) -> Self {
        Self { address, requests: Arc::new([client_credentials(address, SERVICE)]) }
    }

    /// The p99 in microseconds. An answer that is no token is an error.
    async fn p99(&self, span: Duration) -> Result<f64> {
        let mut latencies = load::at(Pace::Steady(200, span), self.address, &self.requests).await?.latencies;
        Ok(percentile(&mut latencies, 99))
    }
}
