//! The watch thread: handles signals, health and metrics on its own runtime, so that they work when all workers are
//! busy.

use std::net::TcpListener;
use std::process;
use std::sync::mpsc;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use flows::Server;
use model::HostName;
use tokio::runtime::Runtime;
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;
use web::AppState;
use web::server::{Limits, ListenerSettings, serve};

use crate::signals;

/// A stopping process exits after this time, whatever it still waits for. Supervisors kill after 30 s (Kubernetes) or
/// 90 s (systemd).
const LAST_MOMENT: Duration = Duration::from_secs(14);
/// Time to write the last lines of the log.
const LAST_WORDS: Duration = Duration::from_millis(200);
/// Time for running metrics requests when the listener closes.
const DRAIN: Duration = Duration::from_millis(500);

/// Listeners and state of the health and metrics endpoints, for the operator's network.
pub struct WatchSettings {
    pub listeners: Vec<TcpListener>,
    pub gate: Arc<AppState>,
    pub hosts: Vec<HostName>,
}

/// Handle on the watch thread. The thread runs until this is dropped.
pub struct Watch {
    stop: watch::Receiver<bool>,
    show: Option<oneshot::Sender<WatchSettings>>,
    hide: Option<oneshot::Sender<()>>,
    hidden: Option<oneshot::Receiver<()>>,
    server: Arc<OnceLock<Arc<Server>>>,
    _end: oneshot::Sender<()>,
}

impl Watch {
    /// Starts the thread. From now on neither SIGINT nor SIGTERM ends the process by itself.
    pub fn start() -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.context("the runtime of the watch does not start")?;
        let (told, stop) = watch::channel(false);
        let (show, shown) = oneshot::channel();
        let (hide, hiding) = oneshot::channel();
        let (gone, hidden) = oneshot::channel();
        let (end, ended) = oneshot::channel();
        let server = Arc::<OnceLock<Arc<Server>>>::default();
        let (listens, listening) = mpsc::channel();
        let known = Arc::clone(&server);
        let work = move || watch_over(&runtime, &listens, (told, ended), (shown, hiding, gone), known);
        thread::Builder::new().name("watch".to_owned()).spawn(work).context("the watch does not start")?;
        listening.recv().context("the watch ended before it began")?.context("signals cannot be had")?;
        Ok(Self { stop, show: Some(show), hide: Some(hide), hidden: Some(hidden), server, _end: end })
    }

    /// Completes at the first SIGINT or SIGTERM.
    pub fn stop(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut stop = self.stop.clone();
        async move {
            // The thread lives as long as this handle.
            let _ended = stop.wait_for(|stop| *stop).await;
        }
    }

    /// Sets the server whose unwritten audit events are logged if the process has to exit early.
    pub fn over(&self, server: &Arc<Server>) {
        let _first = self.server.set(Arc::clone(server));
    }

    /// Starts answering on these listeners.
    pub fn show(&mut self, shown: WatchSettings) {
        if let Some(show) = self.show.take() {
            let _thread_lives = show.send(shown);
        }
    }

    /// Closes the listeners and releases the settings given to [`Self::show`].
    pub async fn hide(&mut self) {
        // If nothing was shown, dropping these ends the wait at once.
        self.show = None;
        self.hide = None;
        if let Some(hidden) = self.hidden.take() {
            let _gone = timeout(2 * DRAIN, hidden).await;
        }
    }
}

type Ends = (watch::Sender<bool>, oneshot::Receiver<()>);
type Stage = (oneshot::Receiver<WatchSettings>, oneshot::Receiver<()>, oneshot::Sender<()>);

fn watch_over(
    runtime: &Runtime,
    listens: &mpsc::Sender<std::io::Result<()>>,
    (stop, ended): Ends,
    (shown, hiding, gone): Stage,
    server: Arc<OnceLock<Arc<Server>>>,
) {
    runtime.block_on(async move {
        let signal = match signals::stop() {
            Ok(signal) => signal,
            Err(error) => return drop(listens.send(Err(error))),
        };
        let _waits_for_us = listens.send(Ok(()));
        tokio::spawn(async move {
            if let Ok(shown) = shown.await {
                answer(shown, hiding).await;
            }
            drop(gone);
        });
        tokio::spawn(async move {
            signal.await;
            stop.send_replace(true);
            // A separate thread, so that no pending task can delay the exit.
            thread::spawn(move || end_at_last(&server));
        });
        let _dropped = ended.await;
    });
}

async fn answer(shown: WatchSettings, hiding: oneshot::Receiver<()>) {
    let listeners = shown.listeners.into_iter().map(tokio::net::TcpListener::from_std).collect::<Result<Vec<_>, _>>();
    match listeners {
        Ok(listeners) => {
            let limits = Limits { drain: DRAIN, ..Limits::default() };
            let doors = web::metrics::router(shown.gate, shown.hosts);
            serve(listeners, doors, ListenerSettings::plain(limits), async move { drop(hiding.await) }).await;
        }
        Err(error) => tracing::error!(%error, "figures and health cannot be shown"),
    }
}

/// Exits after [`LAST_MOMENT`], whatever the process still waits for.
fn end_at_last(server: &OnceLock<Arc<Server>>) {
    thread::sleep(LAST_MOMENT);
    tell_unwritten(server.get());
    tracing::error!(seconds = LAST_MOMENT.as_secs(), "stopping took too long: the process ends as it is");
    thread::sleep(LAST_WORDS);
    process::exit(1);
}

/// Logs the audit events that are lost with the process.
pub fn tell_unwritten(server: Option<&Arc<Server>>) {
    for (instance, bytes) in server.into_iter().flat_map(|server| server.unwritten_audit_bytes()) {
        tracing::error!(instance, bytes, "audit events are lost: the database did not take them before the end");
    }
}
