//! The thread that answers for the process when its workers cannot: signals, health and figures, on a runtime of its own.

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

/// A process that was told to stop is gone after so long, whatever it waits for. Supervisors kill after 30 s (Kubernetes) or
/// 90 s (systemd).
const LAST_MOMENT: Duration = Duration::from_secs(14);
/// For the last lines of the log.
const LAST_WORDS: Duration = Duration::from_millis(200);
/// What questions for figures get that run when the listener closes.
const DRAIN: Duration = Duration::from_millis(500);

/// What is shown to the operator's network.
pub struct WatchSettings {
    pub listeners: Vec<TcpListener>,
    pub gate: Arc<AppState>,
    pub hosts: Vec<HostName>,
}

/// The other end of the thread, which goes on until this is dropped.
pub struct Watch {
    stop: watch::Receiver<bool>,
    show: Option<oneshot::Sender<WatchSettings>>,
    hide: Option<oneshot::Sender<()>>,
    hidden: Option<oneshot::Receiver<()>>,
    server: Arc<OnceLock<Arc<Server>>>,
    _end: oneshot::Sender<()>,
}

impl Watch {
    /// From now on neither SIGINT nor SIGTERM ends the process by itself.
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

    /// Done at the first SIGINT or SIGTERM.
    pub fn stop(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut stop = self.stop.clone();
        async move {
            // The thread lives as long as we do.
            let _ended = stop.wait_for(|stop| *stop).await;
        }
    }

    /// Whose work is told of if it cannot be written down in time.
    pub fn over(&self, server: &Arc<Server>) {
        let _first = self.server.set(Arc::clone(server));
    }

    /// Answers on these listeners from now on.
    pub fn show(&mut self, shown: WatchSettings) {
        if let Some(show) = self.show.take() {
            let _thread_lives = show.send(shown);
        }
    }

    /// Closes the listeners, and lets go of what was shown.
    pub async fn hide(&mut self) {
        // Without anything to show, nothing is waited for.
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
            // A thread, because nothing that could wait for something may come between.
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

/// Whatever the process still waits for, it has had its time.
fn end_at_last(server: &OnceLock<Arc<Server>>) {
    thread::sleep(LAST_MOMENT);
    tell_unwritten(server.get());
    tracing::error!(seconds = LAST_MOMENT.as_secs(), "stopping took too long: the process ends as it is");
    thread::sleep(LAST_WORDS);
    process::exit(1);
}

/// Says what is lost with the process.
pub fn tell_unwritten(server: Option<&Arc<Server>>) {
    for (instance, bytes) in server.into_iter().flat_map(|server| server.unwritten_audit_bytes()) {
        tracing::error!(instance, bytes, "audit events are lost: the database did not take them before the end");
    }
}
