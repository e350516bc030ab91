//! Health of the server, judged by the results of its own work. A health check asks the database nothing, so that its
//! answer never waits for it.

use std::time::Duration;

use store::{Outage, Trouble};

use crate::memory::change::MemoryBehind;
use crate::platform::fault_log::FaultContext;
use crate::platform::meters::QueueFill;
use crate::server::Server;

/// The result of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CheckState {
    Well,
    /// It works, but worse than usual or not for everyone. Another node would do no better.
    Impaired,
    /// The server is not ready.
    Failed,
}

/// The check of one part of the server.
#[derive(Clone, Debug)]
pub struct HealthCheck {
    /// A fixed name: `database-writes`, `memory`.
    pub name: &'static str,
    pub subject: CheckSubject,
    pub state: CheckState,
    /// The problem, since when, and what to do. Empty if there is none.
    pub detail: String,
}

/// The subject of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckSubject {
    Server,
    /// By name.
    Instance(String),
    /// By name.
    Task(&'static str),
}

/// [`Server::probe`] reads every second. No answer within this time means that the database is stuck.
const UNANSWERED: Duration = Duration::from_secs(5);
/// After this time without a commit, [`Server::probe`] tries one.
const IDLE: Duration = Duration::from_secs(10);

impl HealthCheck {
    fn new(name: &'static str, wrong: Option<(CheckState, String)>) -> Self {
        let (state, detail) = wrong.unwrap_or((CheckState::Well, String::new()));
        Self { name, subject: CheckSubject::Server, state, detail }
    }

    fn failed(name: &'static str, detail: Option<String>) -> Self {
        Self::new(name, detail.map(|detail| (CheckState::Failed, detail)))
    }
}

/// On the disk of an embedded database. With less, refusals of unauthenticated clients are no longer recorded.
pub const MIN_FREE_BYTES: u64 = 64 * 1024 * 1024;

impl Server {
    /// All checks that readiness depends on.
    pub fn health(&self) -> Vec<HealthCheck> {
        self.probing.asked();
        let mut checks = vec![
            HealthCheck::failed("shutdown", self.is_stopping().then(|| "the server stops".to_owned())),
            HealthCheck::failed("database-reads", self.reads()),
            HealthCheck::failed("database-writes", self.database().writes().ailment().map(outage_text)),
        ];
        for instance in self.instances() {
            let of = |check| HealthCheck { subject: CheckSubject::Instance(instance.info.name.clone()), ..check };
            let impaired = || (CheckState::Impaired, memory(instance.behind()));
            let memory = HealthCheck::new("memory", (!instance.memory.is_current()).then(impaired));
            let buffer = HealthCheck::new("audit-buffer", buffer(instance.audit_buffer_fill()));
            checks.extend([of(memory), of(buffer)]);
        }
        for refused in self.refused() {
            let why = (CheckState::Impaired, "it cannot be served: repair it, and restart the server".to_owned());
            checks.push(HealthCheck {
                subject: CheckSubject::Instance(refused.name.clone()),
                ..HealthCheck::new("instance", Some(why))
            });
        }
        for (name, idle, is_late) in self.turns.all() {
            let late = || format!("no turn for {}; if it lasts, restart the server", seconds(idle));
            checks.push(HealthCheck {
                subject: CheckSubject::Task(name),
                ..HealthCheck::failed("task", is_late.then(late))
            });
        }
        checks
    }

    /// Stops or resumes recording the refusals of unauthenticated clients. They are the first to be dropped when the
    /// disk is nearly full.
    pub fn hold_refusals_back(&self, held_back: bool) {
        for instance in self.instances() {
            let refusals = &instance.audit().buffer.refusals;
            if refusals.is_held_back() != held_back {
                refusals.hold_back(held_back);
                let instance = instance.info.name.as_str();
                if held_back {
                    tracing::warn!(
                        instance,
                        "the disk is nearly full: refusals of strangers are counted, and not recorded"
                    );
                } else {
                    tracing::info!(instance, "there is room on the disk: refusals of strangers are recorded again");
                }
            }
        }
    }

    fn reads(&self) -> Option<String> {
        let reads = self.database().reads();
        let silent = || Outage { trouble: Trouble::Silent, span: reads.age() };
        reads.ailment().or_else(|| (reads.age() > UNANSWERED).then(silent)).map(outage_text)
    }

    /// Asks the database once, so that there is a result to judge. Writes only while commits fail, or if nothing
    /// commits while health is being checked.
    pub(crate) async fn probe(&self) {
        let database = self.database();
        let write = async {
            let writes = database.writes();
            let wanted = writes.ailment().is_some() || (writes.age() > IDLE && self.probing.take());
            if wanted { database.try_write().await.map(drop) } else { Ok(()) }
        };
        let (read, written, free) = tokio::join!(database.try_read(), write, database.free_bytes());
        let trouble = database.writes().ailment().map(|ailment| ailment.trouble);
        self.hold_refusals_back(is_nearly_full(trouble, free));
        for fault in [read, written].into_iter().filter_map(Result::err) {
            self.faults.report(&fault, "the database does not work", FaultContext::default());
        }
        self.faults.sum_up();
    }
}

/// Judged by the errors of commits, and by the free bytes if they are known.
fn is_nearly_full(trouble: Option<Trouble>, free: Option<u64>) -> bool {
    trouble == Some(Trouble::Full) || free.is_some_and(|free| free < MIN_FREE_BYTES)
}

/// Why memory is not trusted. `None`: no change is missing, but the feed has been silent for too long.
fn memory(behind: Option<MemoryBehind>) -> String {
    let Some(MemoryBehind { lasting, fault, unapplied }) = behind else {
        return "the change feed does not answer; requests ask the database".to_owned();
    };
    let mut told = vec![format!("memory lacks a committed change for {}; requests ask the database", seconds(lasting))];
    if !unapplied.is_empty() {
        told.push(format!("not applied: {}", unapplied.join(", ")));
    }
    told.extend(Some(fault).filter(|fault| !fault.is_empty()));
    told.join("; ")
}

fn outage_text(ailment: Outage) -> String {
    let (name, mend) = (ailment.trouble.name(), ailment.trouble.mend());
    format!("{name} for {}; {mend}", seconds(ailment.span))
}

fn buffer(fill: QueueFill) -> Option<(CheckState, String)> {
    let said = |state, what: &str| {
        Some((state, format!("{what}: {} of {} bytes wait to be written", fill.waiting, fill.most)))
    };
    // Calls are counted in pages and the last page may be partly filled, so they are refused one page early.
    if fill.waiting >= fill.most - fill.most / 32 {
        said(CheckState::Failed, "full")
    } else if fill.waiting > fill.most / 2 {
        said(CheckState::Impaired, "filling up")
    } else {
        None
    }
}

fn seconds(span: Duration) -> String {
    format!("{} s", span.as_secs())
}

/// Whether health was checked since the last write made only for a check.
#[derive(Default)]
pub(crate) struct WriteProbe(std::sync::atomic::AtomicBool);

impl WriteProbe {
    fn asked(&self) {
        self.0.store(true, std::sync::atomic::Ordering::Relaxed);
    }

    fn take(&self) -> bool {
        self.0.swap(false, std::sync::atomic::Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_nearly_full_below_the_least_or_when_a_commit_says_so() {
        assert!(is_nearly_full(None, Some(MIN_FREE_BYTES - 1)));
        assert!(!is_nearly_full(None, Some(MIN_FREE_BYTES)));
        assert!(is_nearly_full(Some(Trouble::Full), Some(u64::MAX)), "a quota shows in commits alone");
        assert!(is_nearly_full(Some(Trouble::Full), None));
        assert!(!is_nearly_full(Some(Trouble::Locked), None));
        assert!(!is_nearly_full(None, None), "a server's disk is not seen");
    }

    #[test]
    fn a_buffer_fails_when_it_is_full() {
        let state = |waiting| buffer(QueueFill { waiting, most: 100 }).map(|(state, _)| state);
        assert_eq!(state(50), None);
        assert_eq!(state(51), Some(CheckState::Impaired));
        assert_eq!(state(96), Some(CheckState::Impaired));
        assert_eq!(state(97), Some(CheckState::Failed));
    }
}
