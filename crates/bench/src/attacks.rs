//! Storms by strangers, and what everybody else feels of them. Each has a file of its own, and tells goals and whether they
//! are met.

mod guesses;
mod pinned;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
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

pub(crate) async fn measure(binary: &Binary, effort: Effort) -> Result<Vec<Storm>> {
    let mut storms = Vec::new();
    for shape in pinned::Shape::ALL {
        storms.push(pinned::measure(binary, effort, shape).await?);
    }
    storms.extend(guesses::measure(binary, effort).await?);
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
