//! The log: one line per event on standard error, as text or JSON.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use serde::Deserialize;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::problem::StartupProblem;

/// Maximum number of lines queued for a slow reader. Further lines are dropped and counted, because a full pipe must
/// not block the server.
const WAITING_LINES: usize = 8192;
/// Time for which lines are collected before they are written. Waking the log thread for every line would cost a
/// request more than formatting the line.
const GATHERING: Duration = Duration::from_millis(10);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    #[default]
    Json,
    Text,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

/// `[log]` of the configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogSettings {
    pub format: LogFormat,
    pub level: LogLevel,
}

/// Starts the log of this process. `directives` (the value of `RUST_LOG`) override the configured level where they
/// apply. All lines are written once the returned value is dropped.
pub fn start(settings: LogSettings, directives: Option<&str>) -> Result<LogEnd, StartupProblem> {
    let filter = filter(settings.level, directives)?;
    let (lines, end) = writer(io::stderr(), settings.format);
    let events = tracing_subscriber::fmt().with_env_filter(filter).with_writer(lines);
    let outcome = match settings.format {
        LogFormat::Json => events.json().flatten_event(true).with_current_span(false).try_init(),
        LogFormat::Text => events.with_ansi(false).try_init(),
    };
    outcome.map_err(|error| StartupProblem::new(format!("the log is already running: {error}"), "start it once"))?;
    Ok(end)
}

fn filter(level: LogLevel, directives: Option<&str>) -> Result<EnvFilter, StartupProblem> {
    let level = match level {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
        LogLevel::Trace => "trace",
    };
    // Invalid passkey answers from clients are audited. This library would log them as server errors.
    let quiet = "webauthn_rs=off,webauthn_rs_core=off";
    let directives = directives.unwrap_or_default();
    EnvFilter::builder().parse(format!("{level},{quiet},{directives}")).map_err(|error| {
        StartupProblem::new(
            format!("RUST_LOG cannot be understood: {error}"),
            "write it like `info,web=debug`, or unset it to use `level` of the [log] section",
        )
    })
}

/// Sends lines to the log thread, so that no request waits for the log's reader.
#[derive(Clone)]
struct LogLines {
    queue: SyncSender<LogMessage>,
    dropped: Arc<AtomicU64>,
}

enum LogMessage {
    Line(Vec<u8>),
    End,
}

/// The log thread. Dropping this writes the queued lines.
#[must_use = "dropping it ends the log"]
pub struct LogEnd {
    queue: SyncSender<LogMessage>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for LogEnd {
    fn drop(&mut self) {
        // Sending fails only if the thread has ended; then there is nothing to wait for.
        let _ = self.queue.send(LogMessage::End);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn writer(output: impl Write + Send + 'static, format: LogFormat) -> (LogLines, LogEnd) {
    let (queue, waiting) = sync_channel(WAITING_LINES);
    let lines = LogLines { queue: queue.clone(), dropped: Arc::default() };
    let dropped = lines.dropped.clone();
    let thread = std::thread::Builder::new()
        .name("log".to_owned())
        .spawn(move || write_out(output, &waiting, &dropped, format))
        .expect("a process that starts can start a thread");
    (lines, LogEnd { queue, thread: Some(thread) })
}

/// Writes in large pieces while lines are queued, and flushes when the queue is empty. A broken output loses lines and
/// has no other effect.
fn write_out(output: impl Write, waiting: &Receiver<LogMessage>, dropped: &AtomicU64, format: LogFormat) {
    let mut output = io::BufWriter::with_capacity(64 * 1024, output);
    let mut ended = false;
    while !ended {
        let Ok(first) = waiting.recv() else { return };
        if matches!(first, LogMessage::Line(_)) {
            std::thread::sleep(GATHERING);
        }
        for message in std::iter::once(first).chain(waiting.try_iter()) {
            match message {
                LogMessage::Line(line) => {
                    let _ = output.write_all(&line);
                }
                LogMessage::End => ended = true,
            }
        }
        let lost = dropped.swap(0, Relaxed);
        if lost > 0 {
            let _ = match format {
                LogFormat::Json => {
                    writeln!(output, r#"{{"level":"WARN","message":"log lines dropped","count":{lost}}}"#)
                }
                LogFormat::Text => writeln!(output, "WARN log lines dropped count={lost}"),
            };
        }
        let _ = output.flush();
    }
}

impl Write for LogLines {
    /// One call is one event: the subscriber formats the whole event before it writes.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if let Err(TrySendError::Full(_)) = self.queue.try_send(LogMessage::Line(line.to_vec())) {
            self.dropped.fetch_add(1, Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for LogLines {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::mpsc;

    use super::*;

    #[derive(Clone, Default)]
    struct LogPage(Arc<Mutex<Vec<u8>>>);

    impl LogPage {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().expect("not poisoned").clone()).expect("text")
        }
    }

    impl Write for LogPage {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("not poisoned").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_end_waits_until_every_line_is_out() {
        let page = LogPage::default();
        let (lines, end) = writer(page.clone(), LogFormat::Json);
        let events = tracing_subscriber::fmt().with_writer(lines).json().flatten_event(true).finish();
        tracing::subscriber::with_default(events, || {
            for number in 0..1000 {
                tracing::info!(number, "counted");
            }
        });
        drop(end);
        let text = page.text();
        assert_eq!(text.lines().count(), 1000);
        let last: serde_json::Value = serde_json::from_str(text.lines().last().expect("a line")).expect("JSON");
        assert_eq!((&last["message"], &last["number"]), (&"counted".into(), &999.into()));
    }

    /// Blocks in its first write until released.
    struct Stuck(mpsc::Receiver<()>, LogPage);

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.recv();
            self.1.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_does_not_read_loses_lines_and_holds_nobody_up() {
        let page = LogPage::default();
        let (release, released) = mpsc::channel();
        let (mut lines, end) = writer(Stuck(released, page.clone()), LogFormat::Text);
        // More lines than the queue, the thread's buffer and its current batch hold together.
        for _ in 0..4 * WAITING_LINES {
            lines.write_all(&[b'x'; 64]).expect("never fails");
        }
        drop(release);
        drop(end);
        assert!(page.text().contains("WARN log lines dropped count="));
    }

    #[test]
    fn directives_override_the_level_and_nonsense_is_refused() {
        let read = |directives| {
            let text = filter(LogLevel::Warn, directives).expect("good").to_string();
            text.replace("webauthn_rs_core=off,", "").replace("webauthn_rs=off,", "")
        };
        assert_eq!(read(None), "warn");
        assert_eq!(read(Some("web=debug")), "web=debug,warn");
        assert_eq!(read(Some("info")), "info");
        assert_eq!(read(Some("webauthn_rs=debug")), "webauthn_rs=debug,warn");
        let problem = filter(LogLevel::Warn, Some("web=loud")).expect_err("no such level");
        assert!(problem.to_string().contains("RUST_LOG"));
    }
}
