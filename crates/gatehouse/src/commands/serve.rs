//! `gatehouse serve`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use flows::{DefaultInstance, InstanceLocation, Server};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use web::server::{Limits, ListenerSettings, Security, TrustedProxies, listen, serve};
use web::traces::Tracer;
use web::{AppState, HttpService};

use crate::cli::Installation;
use crate::commands::{SystemPlatform, open_to_serve, provisions};
use crate::config::{Config, Environment, TraceSettings};
use crate::problem::StartupProblem;
use crate::watch::{Watch, WatchSettings, tell_unwritten};
use crate::{logging, signals, tls};

// Shutdown waits for running requests, then for these one after the other. Their sum is less than the watch's limit.
/// Time to write the state held in memory.
const CLOSING: Duration = Duration::from_secs(4);
/// Time to send queued letters and spans.
const LAST_POST: Duration = Duration::from_secs(2);

pub(super) async fn run(installation: &Installation, environment: Environment<'_>) -> Result<()> {
    let (config, provisions) = provisions(installation, environment)?;
    // Dropped last, so that log lines of the shutdown are still written.
    let _log = logging::start(config.log, environment("RUST_LOG").as_deref())?;
    let mut watch = Watch::start()?;
    let reload = signals::reload()?;
    let listeners = bind(&config.listen)?;
    // The bound address: with port 0 the operating system chooses the port.
    let listen = listeners.iter().map(TcpListener::local_addr).collect::<Result<Vec<_>, _>>()?;
    let figures = config.metrics.as_ref().map(|metrics| bind_aside(metrics.listen)).transpose()?;
    let metrics = figures.iter().map(std::net::TcpListener::local_addr).collect::<Result<Vec<_>, _>>()?;
    let database = open_to_serve(&provisions).await?;
    check_made(&config, &flows::admin::instances(&database).await.context("database error")?)?;
    let sites = config
        .instances
        .iter()
        .map(|instance| InstanceLocation {
            name: instance.name.clone(),
            root: instance.root.clone(),
            hosts: instance.hosts.clone(),
        })
        .collect();
    let master = provisions.master_keys.sealing();
    let default = config.default_instance.as_deref().map(DefaultInstance::OfEveryHost);
    let server = Server::open(database, master, sites, default, Arc::new(SystemPlatform)).await?;
    let security = match provisions.certificate {
        None => Security::Plain,
        Some(certificate) => {
            let newest = certificate.subscribe();
            tokio::spawn(certificate.keep_fresh(tls::LOOK_EVERY, reload));
            Security::Tls(newest)
        }
    };
    let delivering = provisions.post.map(|post| tokio::spawn(post.deliver(server.open_outbox())));
    let publishing = config.publishing.map(|publishing| tokio::spawn(publishing.publish(server.open_checkpoints())));
    let (tracer, exporting) = config.traces.map(trace).unzip();
    let limits = config.connections.limits();
    let trusted_proxies = config.trusted_proxies.clone();
    let gate = AppState::traced(Arc::clone(&server), config.trusted_proxies, tracer);
    let terms = ListenerSettings { security, limits, trusted_proxies, figures: Arc::clone(&gate.connections) };
    watch.over(&server);
    if let Some(listener) = figures {
        let hosts = config.metrics.map(|metrics| metrics.hosts).unwrap_or_default();
        watch.show(WatchSettings { listeners: vec![listener], gate: Arc::clone(&gate), hosts });
    }
    tracing::info!(version = web::VERSION, ?listen, ?metrics, instances = config.instances.len(), "ready");
    serve(listeners, HttpService::new(Arc::clone(&gate)), terms, watch.stop()).await;
    close(&server).await;
    watch.hide().await;
    // The last owner of the tracer: dropping it closes the span channel.
    drop(gate);
    tokio::join!(
        at_last(exporting, "the collector of traces is too slow: the last spans are not exported"),
        at_last(publishing, "the last checkpoints of the audit are not published in time"),
        at_last(delivering, "the mail server is too slow: letters that waited are not sent"),
    );
    tracing::info!("stopped");
    Ok(())
}

async fn at_last(task: Option<JoinHandle<()>>, too_slow: &'static str) {
    if let Some(task) = task
        && timeout(LAST_POST, task).await.is_err()
    {
        tracing::error!("{too_slow}");
    }
}

/// Writes the state held in memory, if the database accepts it.
async fn close(server: &Arc<Server>) {
    if !server.close_within(CLOSING).await {
        tracing::error!("the database does not take what is to be written before the end");
        tell_unwritten(Some(server));
    }
}

/// Every configured instance must exist in the database, because it needs keys and an administrator.
fn check_made(config: &Config, made: &[String]) -> Result<()> {
    let missing = config.instances.iter().map(|instance| instance.name.as_str());
    let problems: Vec<String> = missing
        .filter(|name| !made.iter().any(|known| known == name))
        .map(|name| {
            let what = format!("instance {name} is configured but was not created yet");
            StartupProblem::new(what, format!("run `gatehouse instance create {name}`, with the same --config"))
                .to_string()
        })
        .collect();
    if problems.is_empty() { Ok(()) } else { bail!("{}", problems.join("\n")) }
}

/// Starts a tracer and a task that exports its spans.
fn trace(settings: TraceSettings) -> (Tracer, JoinHandle<()>) {
    let (tracer, spans) = Tracer::new(settings.sample);
    (tracer, tokio::spawn(settings.collector.export(spans)))
}

/// Binds a listener that is served by another runtime.
fn bind_aside(address: SocketAddr) -> Result<std::net::TcpListener> {
    let listener = std::net::TcpListener::bind(address).with_context(|| taken(address))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn taken(address: SocketAddr) -> String {
    format!("cannot listen on {address}; is another server running?")
}

pub(super) fn bind(addresses: &[SocketAddr]) -> Result<Vec<TcpListener>> {
    let mut listeners = Vec::new();
    for address in addresses {
        listeners.push(listen(*address).with_context(|| taken(*address))?);
    }
    Ok(listeners)
}

/// Serves until `stop` completes, then finishes running requests and writes the state held in memory.
pub(super) async fn answer(
    server: &Arc<Server>,
    proxies: TrustedProxies,
    (listeners, security): (Vec<TcpListener>, Security),
    stop: impl Future<Output = ()>,
) {
    let gate = AppState::new(Arc::clone(server), proxies.clone());
    let figures = Arc::clone(&gate.connections);
    let terms = ListenerSettings { security, limits: Limits::default(), trusted_proxies: proxies, figures };
    serve(listeners, HttpService::new(gate), terms, stop).await;
    close(server).await;
}
