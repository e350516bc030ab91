//! The background tasks. Each runs in turns until the server stops.

use std::sync::Arc;
use std::time::Duration;

use crate::Fault;
use crate::platform::fault_log::FaultContext;
use crate::platform::tasks::StopSignal;
use crate::server::Server;

/// The tick: how often memory follows changes made elsewhere, timers are checked, and sliding timers are flushed.
const TICK: Duration = Duration::from_millis(200);
const MAINTENANCE_EVERY: u32 = 300;
/// How often signing keys are checked for rotation.
const KEYS_EVERY: Duration = Duration::from_mins(1);
/// How often the database is probed.
const PROBE_EVERY: Duration = Duration::from_secs(1);

/// The background tasks, with their expected periods. A tick is due more often than every second, but a turn may take
/// that long on a busy disk.
pub(super) const TASKS: [(&str, Duration); 6] = [
    ("follow", Duration::from_secs(1)),
    ("beat", Duration::from_secs(1)),
    ("reset-requests", RESET_REQUESTS_EVERY),
    ("seal", Duration::from_secs(1)),
    ("keys", KEYS_EVERY),
    ("probe", Duration::from_secs(2)),
];
/// An idle task reports that it is waiting this often.
const RESET_REQUESTS_EVERY: Duration = Duration::from_secs(10);

/// Starts every task of [`TASKS`], under supervision.
pub(super) fn start(server: &Arc<Server>) {
    server.keep_running("follow", follow);
    server.keep_running("beat", beat);
    server.keep_running("reset-requests", answer);
    server.keep_running("seal", seal);
    server.keep_running("keys", keep_keys);
    server.keep_running("probe", probe);
}

/// Waits for the next tick. Returns `false` when the server stops.
async fn ticks(stopping: &mut StopSignal) -> bool {
    tokio::time::timeout(TICK, stopping.wait_for(|stop| *stop)).await.is_err()
}

impl Server {
    /// Ends a turn of a background task.
    fn end_turn(&self, task: &str, done: Result<(), Fault>, what: &str) {
        self.turns.take(task);
        if let Err(fault) = done {
            self.faults.report(&fault, what, FaultContext::default());
        }
    }
}

/// Separate from the tick: applying revocations must not wait for the flush of timers.
async fn follow(server: Arc<Server>, mut stopping: StopSignal) {
    while ticks(&mut stopping).await {
        let done = server.follow_in_time().await;
        server.end_turn("follow", done, "memory may be behind");
    }
}

async fn beat(server: Arc<Server>, mut stopping: StopSignal) {
    for beat in 1_u32.. {
        if !ticks(&mut stopping).await {
            return;
        }
        let done = async {
            let beaten = server.tick().await;
            let tidied = if beat.is_multiple_of(MAINTENANCE_EVERY) { server.maintain().await } else { Ok(()) };
            beaten.and(tidied)
        };
        server.end_turn("beat", done.await, "timers and audit events wait to be written down");
    }
}

/// Handles password reset requests one by one, taking turns between instances, after their HTTP requests were answered.
/// Requests that are still queued when the server stops are lost; users ask again.
async fn answer(server: Arc<Server>, mut stopping: StopSignal) {
    loop {
        let request = tokio::select! {
            request = server.reset_requests.recv_async() => request,
            () = tokio::time::sleep(RESET_REQUESTS_EVERY) => {
                server.turns.take("reset-requests");
                continue;
            }
            _ = stopping.wait_for(|stop| *stop) => None,
        };
        let Some((id, request)) = request else { return };
        let done = server.handle_reset_request(id, request).await;
        server.end_turn("reset-requests", done, "a forgotten password could not be looked into");
    }
}

/// Separate from the tick: a late seal delays no request.
async fn seal(server: Arc<Server>, mut stopping: StopSignal) {
    while ticks(&mut stopping).await {
        server.end_turn("seal", server.seal().await, "the audit is not sealed");
    }
}

/// Separate from all other tasks: generating an RSA key is a search for primes.
async fn keep_keys(server: Arc<Server>, mut stopping: StopSignal) {
    loop {
        // Many keys may be due at once. A server that stops does not wait for all of them.
        tokio::select! {
            done = server.maintain_keys() => server.end_turn("keys", done, "signing keys are not rotated"),
            _ = stopping.wait_for(|stop| *stop) => return,
        }
        let wanted = tokio::time::timeout(KEYS_EVERY, server.keys_wanted.notified());
        tokio::select! {
            _woken_or_due = wanted => {}
            _ = stopping.wait_for(|stop| *stop) => return,
        }
    }
}

/// Probes the database, so that a readiness check need not.
async fn probe(server: Arc<Server>, mut stopping: StopSignal) {
    while tokio::time::timeout(PROBE_EVERY, stopping.wait_for(|stop| *stop)).await.is_err() {
        server.probe().await;
        server.turns.take("probe");
    }
}
