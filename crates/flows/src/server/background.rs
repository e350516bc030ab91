//! The background tasks: each takes its turns until the server stops.

use std::sync::Arc;
use std::time::Duration;

use crate::Fault;
use crate::platform::fault_log::FaultContext;
use crate::platform::tasks::StopSignal;
use crate::server::Server;

/// How often memory follows what changed elsewhere, timers are looked at, and sliding timers are written down.
const BEAT: Duration = Duration::from_millis(200);
const TIDY_EVERY: u32 = 300;
/// How often somebody looks whether a signing key is due.
const KEYS_EVERY: Duration = Duration::from_mins(1);
/// How often the database is asked whether it works.
const PROBE_EVERY: Duration = Duration::from_secs(1);

/// The background tasks, with their periods. A beat comes more often than every second, but on a busy disk a turn may take as
/// long.
pub(super) const TASKS: [(&str, Duration); 6] = [
    ("follow", Duration::from_secs(1)),
    ("beat", Duration::from_secs(1)),
    ("reset-requests", QUESTIONS_EVERY),
    ("seal", Duration::from_secs(1)),
    ("keys", KEYS_EVERY),
    ("probe", Duration::from_secs(2)),
];
/// A task that waits for questions says so often that it does.
const QUESTIONS_EVERY: Duration = Duration::from_secs(10);

/// Every task of [`TASKS`], under supervision.
pub(super) fn start(server: &Arc<Server>) {
    server.keep_running("follow", follow);
    server.keep_running("beat", beat);
    server.keep_running("reset-requests", answer);
    server.keep_running("seal", seal);
    server.keep_running("keys", keep_keys);
    server.keep_running("probe", probe);
}

/// Waits for the next beat; whether there is one.
async fn beats(stopping: &mut StopSignal) -> bool {
    tokio::time::timeout(BEAT, stopping.wait_for(|stop| *stop)).await.is_err()
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

/// Apart from everything else that beats: a kill must not wait until timers are written down.
async fn follow(server: Arc<Server>, mut stopping: StopSignal) {
    while beats(&mut stopping).await {
        let done = server.follow_in_time().await;
        server.end_turn("follow", done, "memory may be behind");
    }
}

async fn beat(server: Arc<Server>, mut stopping: StopSignal) {
    for beat in 1_u32.. {
        if !beats(&mut stopping).await {
            return;
        }
        let done = async {
            let beaten = server.tick().await;
            let tidied = if beat.is_multiple_of(TIDY_EVERY) { server.maintain().await } else { Ok(()) };
            beaten.and(tidied)
        };
        server.end_turn("beat", done.await, "timers and audit events wait to be written down");
    }
}

/// Looks into forgotten passwords one after another, of all instances in turn, away from the requests that told of them.
/// What waits when the server stops is asked again by its people.
async fn answer(server: Arc<Server>, mut stopping: StopSignal) {
    loop {
        let request = tokio::select! {
            request = server.asked.recv_async() => request,
            () = tokio::time::sleep(QUESTIONS_EVERY) => {
                server.turns.take("reset-requests");
                continue;
            }
            _ = stopping.wait_for(|stop| *stop) => None,
        };
        let Some(request) = request else { return };
        let done = server.handle_reset_request(request).await;
        server.end_turn("reset-requests", done, "a forgotten password could not be looked into");
    }
}

/// Apart from the beat: what is sealed late is late for nobody but the auditor.
async fn seal(server: Arc<Server>, mut stopping: StopSignal) {
    while beats(&mut stopping).await {
        server.end_turn("seal", server.seal().await, "the audit is not sealed");
    }
}

/// Apart from everything else: an RSA key is a search for primes.
async fn keep_keys(server: Arc<Server>, mut stopping: StopSignal) {
    loop {
        // Many keys may be due at once: a server that stops does not wait until all are made.
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

/// Asks the database whether it works, so that readiness need not.
async fn probe(server: Arc<Server>, mut stopping: StopSignal) {
    while tokio::time::timeout(PROBE_EVERY, stopping.wait_for(|stop| *stop)).await.is_err() {
        server.probe().await;
        server.turns.take("probe");
    }
}
