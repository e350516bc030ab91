//! `gatehouse serve`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use flows::{DefaultInstance, House, MasterKey, Site};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use web::server::{Limits, Security, Terms, TrustedProxies, serve};
use web::traces::Tracer;
use web::{Doors, Gate};

use super::{SystemWorld, open, provisions};
use crate::cli::Installation;
use crate::config::{Config, Environment, TraceSettings};
use crate::problem::Problem;
use crate::{logging, signals, tls};

/// What letters get that wait when the server stops, and spans.
const LAST_POST: Duration = Duration::from_secs(5);

pub(super) async fn run(installation: &Installation, environment: Environment<'_>) -> Result<()> {
    let (config, provisions) = provisions(installation, environment)?;
    // Dropped last: what is logged while stopping is still written.
    let _log = logging::start(config.log, environment("RUST_LOG").as_deref())?;
    let stop = signals::stop()?;
    let reload = signals::reload()?;
    let listeners = bind(&config.listen).await?;
    // As bound: with port 0 the operating system chose it.
    let listen = listeners.iter().map(TcpListener::local_addr).collect::<Result<Vec<_>, _>>()?;
    let figures = bind(config.metrics.as_ref().map(|metrics| metrics.listen).as_slice()).await?;
    let metrics = figures.iter().map(TcpListener::local_addr).collect::<Result<Vec<_>, _>>()?;
    let database = open(&provisions).await?;
    check_made(&config, &flows::admin::instances(&database).await.context("the database failed")?)?;
    let sites = config
        .instances
        .iter()
        .map(|instance| Site {
            name: instance.name.clone(),
            root: instance.root.clone(),
            hosts: instance.hosts.clone(),
        })
        .collect();
    let master = MasterKey::new(provisions.master_key.bytes());
    let default = config.default_instance.as_deref().map(DefaultInstance::OfEveryHost);
    let house = House::open(database, master, sites, default, Arc::new(SystemWorld)).await?;
    let security = match provisions.certificate {
        None => Security::Plain,
        Some(certificate) => {
            let newest = certificate.subscribe();
            tokio::spawn(certificate.keep_fresh(tls::LOOK_EVERY, reload));
            Security::Tls(newest)
        }
    };
    let delivering = provisions.post.map(|post| tokio::spawn(post.deliver(house.open_outbox())));
    let (tracer, exporting) = config.traces.map(trace).unzip();
    let limits = config.connections.limits();
    let terms = Terms { security, limits, trusted_proxies: config.trusted_proxies.clone() };
    let gate = Gate::traced(Arc::clone(&house), config.trusted_proxies, tracer);
    let (stopping, stopped) = tokio::sync::oneshot::channel::<()>();
    let showing = tokio::spawn(serve(
        figures,
        web::metrics::router(Arc::clone(&gate), config.metrics.map(|metrics| metrics.hosts).unwrap_or_default()),
        Terms { security: Security::Plain, limits: Limits::default(), trusted_proxies: TrustedProxies::default() },
        async move { drop(stopped.await) },
    ));
    tracing::info!(version = web::VERSION, ?listen, ?metrics, instances = config.instances.len(), "ready");
    serve(listeners, Doors::new(Arc::clone(&gate)), terms, stop).await;
    house.close().await;
    drop(stopping);
    let _shown = showing.await;
    // The last owner of the tracer: its spans end here.
    drop(gate);
    if let Some(exporting) = exporting
        && timeout(LAST_POST, exporting).await.is_err()
    {
        tracing::error!("the collector of traces is too slow: the last spans are not exported");
    }
    if let Some(delivering) = delivering
        && timeout(LAST_POST, delivering).await.is_err()
    {
        tracing::error!("the mail server is too slow: letters that waited are not sent");
    }
    tracing::info!("stopped");
    Ok(())
}

/// Every instance of the configuration must have been made, because it has keys and an administrator.
fn check_made(config: &Config, made: &[String]) -> Result<()> {
    let missing = config.instances.iter().map(|instance| instance.name.as_str());
    let problems: Vec<String> = missing
        .filter(|name| !made.iter().any(|known| known == name))
        .map(|name| {
            let what = format!("instance {name} is configured, and was not made yet");
            Problem::new(what, format!("run `gatehouse instance create {name}`, with the same --config")).to_string()
        })
        .collect();
    if problems.is_empty() { Ok(()) } else { bail!("{}", problems.join("\n")) }
}

/// Decides which requests are traced, and exports their spans.
fn trace(settings: TraceSettings) -> (Tracer, JoinHandle<()>) {
    let (tracer, spans) = Tracer::new(settings.sample);
    (tracer, tokio::spawn(settings.collector.export(spans)))
}

pub(super) async fn bind(addresses: &[SocketAddr]) -> Result<Vec<TcpListener>> {
    let mut listeners = Vec::new();
    for address in addresses {
        let listener = TcpListener::bind(address).await;
        listeners
            .push(listener.with_context(|| format!("{address} cannot be listened on; is another server running?"))?);
    }
    Ok(listeners)
}

/// Serves until told to stop; then finishes what runs and writes everything down.
pub(super) async fn answer(
    house: &Arc<House>,
    proxies: TrustedProxies,
    (listeners, security): (Vec<TcpListener>, Security),
    stop: impl Future<Output = ()>,
) {
    let doors = Doors::new(Gate::new(Arc::clone(house), proxies.clone()));
    let terms = Terms { security, limits: Limits::default(), trusted_proxies: proxies };
    serve(listeners, doors, terms, stop).await;
    house.close().await;
}
