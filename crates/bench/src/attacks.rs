//! Storms by strangers, and what everybody else feels of them.

mod pinned;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;

use crate::Effort;
use crate::installation::{Binary, Installation};
use crate::load::{self, Pace};
use crate::requests::client_credentials;
use crate::served::Requests;
use crate::stats::percentile;

pub(crate) use pinned::Pinned;

const SERVICE: (&str, &str) = ("my.trusted.app/service", "service-secret-demodb");

pub(crate) struct Attacks {
    pub(crate) pinned: Pinned,
}

pub(crate) async fn measure(binary: &Binary, effort: Effort) -> Result<Attacks> {
    let installation = Installation::with_data(binary)?;
    let (server, _) = installation.serve()?;
    let pinned = pinned::measure(&server, effort).await?;
    server.stop()?;
    Ok(Attacks { pinned })
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
