//! Background tasks: restarted when they panic, on threads that yield to requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use model::meter::NamedCounters;
use tokio::sync::watch;
use tokio::time::Instant;

pub(crate) type StopSignal = watch::Receiver<bool>;

/// Number of panics by task name.
pub(crate) type PanicCounts = Arc<NamedCounters>;

/// When each task last ran.
pub(crate) struct TaskTimes {
    born: Instant,
    tasks: Vec<LastRun>,
}

struct LastRun {
    name: &'static str,
    period: Duration,
    /// In milliseconds.
    last: AtomicU64,
}

/// A task that has not run for this many of its periods counts as stuck.
const MISSED: u32 = 10;

impl TaskTimes {
    /// Tasks by name, with their periods.
    pub(crate) fn new(tasks: &[(&'static str, Duration)]) -> Self {
        let turn =
            |(name, period): &(&'static str, Duration)| LastRun { name, period: *period, last: AtomicU64::new(0) };
        Self { born: Instant::now(), tasks: tasks.iter().map(turn).collect() }
    }

    pub(crate) fn take(&self, name: &str) {
        self.take_at(name, Instant::now());
    }

    fn take_at(&self, name: &str, now: Instant) {
        if let Some(turn) = self.tasks.iter().find(|turn| turn.name == name) {
            turn.last.store(self.millis(now), Ordering::Relaxed);
        }
    }

    /// Each task, the time since it last ran, and whether that is too long.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&'static str, Duration, bool)> {
        self.all_at(Instant::now())
    }

    fn all_at(&self, now: Instant) -> impl Iterator<Item = (&'static str, Duration, bool)> {
        let now = self.millis(now);
        self.tasks.iter().map(move |turn| {
            let idle = Duration::from_millis(now.saturating_sub(turn.last.load(Ordering::Relaxed)));
            (turn.name, idle, idle > turn.period * MISSED)
        })
    }

    fn millis(&self, at: Instant) -> u64 {
        u64::try_from(at.duration_since(self.born).as_millis()).unwrap_or(u64::MAX)
    }
}

/// Runs a task until it ends by itself. A panic ends only that run: it is logged and counted, and `start` is called
/// again after a pause. The pause keeps a bug that strikes every time from filling the log.
pub(crate) async fn supervise<F>(
    name: &'static str,
    panics: PanicCounts,
    pause: Duration,
    mut stopping: StopSignal,
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

/// Lowers this thread's priority (`nice`, POSIX): about a tenth of a core while tokens and calls use all cores, a whole
/// core otherwise.
#[cfg(target_os = "linux")]
pub(crate) fn give_way() {
    if let Err(error) = rustix::process::nice(10) {
        tracing::warn!(%error, "background work runs at the priority of everything else");
    }
}

/// On other systems, `nice` would lower the priority of the whole process.
#[cfg(not(target_os = "linux"))]
pub(crate) fn give_way() {}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn a_task_without_a_turn_for_ten_periods_is_late() {
        let turns = TaskTimes::new(&[("quick", Duration::from_secs(1)), ("slow", Duration::from_mins(1))]);
        let at = |seconds| turns.born + Duration::from_secs(seconds);
        let late = |seconds| turns.all_at(at(seconds)).filter(|turn| turn.2).map(|turn| turn.0).collect::<Vec<_>>();
        assert!(late(10).is_empty());
        assert_eq!(late(11), ["quick"]);
        turns.take_at("quick", at(11));
        assert!(late(21).is_empty());
        assert_eq!(late(601), ["quick", "slow"]);
    }

    #[tokio::test]
    async fn a_task_that_panics_is_counted_and_starts_again() {
        let (_stop, stopping) = watch::channel(false);
        let (runs, panics) = (Arc::new(AtomicU32::new(0)), PanicCounts::default());
        let counted = Arc::clone(&runs);
        let start = move || {
            let run = counted.fetch_add(1, Ordering::AcqRel);
            async move { assert!(run >= 2, "the first two runs meet a bug") }
        };
        supervise("bug", Arc::clone(&panics), Duration::ZERO, stopping, start).await;
        assert_eq!(runs.load(Ordering::Acquire), 3);
        assert_eq!(panics.read(), [("bug", 2)]);
    }

    #[tokio::test]
    async fn a_server_that_stops_does_not_wait_for_the_next_start() {
        let (stop, stopping) = watch::channel(false);
        stop.send_replace(true);
        supervise("bug", PanicCounts::default(), Duration::MAX, stopping, || async { panic!("at every start") }).await;
    }
}
