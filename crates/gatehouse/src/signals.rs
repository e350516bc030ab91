//! Signals from the operating system.

use std::future::Future;
use std::io;
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;

/// Completes at the first SIGINT (Ctrl-C) or SIGTERM. After this call neither signal ends the process by itself.
pub fn stop() -> io::Result<impl Future<Output = ()> + Send + 'static> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => tracing::info!("stopping: interrupted"),
            _ = terminate.recv() => tracing::info!("stopping: told to terminate"),
        }
    })
}

/// Notifies at every SIGHUP, which conventionally asks a process to reload its files. Must be called within the
/// runtime.
pub fn reload() -> io::Result<Arc<Notify>> {
    let mut hangup = signal(SignalKind::hangup())?;
    let asked = Arc::new(Notify::new());
    let told = asked.clone();
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            told.notify_one();
        }
    });
    Ok(asked)
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    /// Sends the signal to this process, which already handles it.
    fn send(signal: &str) {
        let kill = format!("kill -{signal} {}", std::process::id());
        let sent = Command::new("sh").args(["-c", &kill]).status().expect("a shell");
        assert!(sent.success());
    }

    #[tokio::test]
    async fn ctrl_c_and_sigterm_stop() {
        for signal in ["INT", "TERM"] {
            let stopped = stop().expect("signals can be had");
            send(signal);
            timeout(PATIENCE, stopped).await.expect(signal);
        }
    }

    #[tokio::test]
    async fn every_sighup_reloads() {
        let asked = reload().expect("signals can be had");
        for round in ["first", "second"] {
            send("HUP");
            timeout(PATIENCE, asked.notified()).await.expect(round);
        }
    }
}
