//! Work in the background: tasks that are started again when they panic, and threads that give way to requests.

use std::sync::Arc;
use std::time::Duration;

use model::meter::Tally;
use tokio::sync::watch;

pub(crate) type Stopping = watch::Receiver<bool>;

/// How often each task panicked, by its name.
pub(crate) type Panics = Arc<Tally>;

/// Runs a task until it ends by itself. A panic ends that run alone: it is logged and counted, and `start` is called
/// again after a pause, long enough that a bug which strikes every time does not fill the log.
pub(crate) async fn supervise<F>(
    name: &'static str,
    (panics, pause): (Panics, Duration),
    mut stopping: Stopping,
    mut start: impl FnMut() -> F + Send,
) where
    F: Future<Output = ()> + Send + 'static,
{
    while let Err(ended) = tokio::spawn(start()).await {
        if !ended.is_panic() {
            return;
        }
        panics.add(name);
        tracing::error!(task = name, "a background task panicked; this is a bug; it starts again");
        if tokio::time::timeout(pause, stopping.wait_for(|stop| *stop)).await.is_ok() {
            return;
        }
    }
}

/// A tenth of a core is left to this thread where tokens and calls want all of them; all of it where they do not (`nice`,
/// POSIX).
#[cfg(target_os = "linux")]
pub(crate) fn give_way() {
    if let Err(error) = rustix::process::nice(10) {
        tracing::warn!(%error, "background work runs at the priority of everything else");
    }
}

/// Elsewhere it would be the whole process that gives way.
#[cfg(not(target_os = "linux"))]
pub(crate) fn give_way() {}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test]
    async fn a_task_that_panics_is_counted_and_starts_again() {
        let (_stop, stopping) = watch::channel(false);
        let (runs, panics) = (Arc::new(AtomicU32::new(0)), Panics::default());
        let counted = Arc::clone(&runs);
        let start = move || {
            let run = counted.fetch_add(1, Ordering::AcqRel);
            async move { assert!(run >= 2, "the first two runs meet a bug") }
        };
        supervise("bug", (Arc::clone(&panics), Duration::ZERO), stopping, start).await;
        assert_eq!(runs.load(Ordering::Acquire), 3);
        assert_eq!(panics.read(), [("bug", 2)]);
    }

    #[tokio::test]
    async fn a_server_that_stops_does_not_wait_for_the_next_start() {
        let (stop, stopping) = watch::channel(false);
        stop.send_replace(true);
        supervise("bug", (Panics::default(), Duration::MAX), stopping, || async { panic!("at every start") }).await;
    }
}
