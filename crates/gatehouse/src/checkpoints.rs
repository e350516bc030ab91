//! Publishes the audit's signed checkpoints to the log, a file and a web server, in a background task. Failures are
//! logged; nothing waits for a delivery.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use flows::audit::PublishedCheckpoint;
use model::audit::chain::Chain;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use url::Url;

use crate::http_client;

/// Timeout of one delivery.
const PATIENCE: Duration = Duration::from_secs(10);
/// Pauses after failed deliveries. After the last one the checkpoint is dropped: the next checkpoint covers the same
/// events.
const PAUSES: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(10), Duration::from_mins(1)];
/// Maximum number of checkpoints queued for the web server, or while the file cannot be written.
const MAX_WAITING: usize = 256;

/// Destinations of checkpoints.
#[derive(Clone, Debug, Default)]
pub struct Publishing {
    pub log: bool,
    pub file: Option<PathBuf>,
    pub webhook: Option<Webhook>,
}

/// URL of a web server that accepts each checkpoint as a POST of JSON.
#[derive(Clone, Debug)]
pub struct Webhook(Url);

impl Webhook {
    pub fn new(url: &str) -> Result<Self, &'static str> {
        const WRITE: &str =
            "use an address such as https://auditor.example.com/checkpoints, without a password or query";
        let url = Url::parse(url).map_err(|_| WRITE)?;
        let plain = url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
        let fits =
            matches!(url.scheme(), "http" | "https") && url.host().is_some() && plain && url.password().is_none();
        if fits { Ok(Self(url)) } else { Err(WRITE) }
    }
}

impl Publishing {
    /// Publishes checkpoints in signing order until the server is closed.
    pub async fn publish(self, mut waiting: mpsc::Receiver<PublishedCheckpoint>) {
        let (sender, posting) = self
            .webhook
            .map(|webhook| {
                let (sender, waiting) = mpsc::channel(MAX_WAITING);
                (sender, tokio::spawn(webhook.post(waiting)))
            })
            .unzip();
        let mut file = self.file.map(Appending::new);
        while let Some(checkpoint) = waiting.recv().await {
            let line = line(&checkpoint);
            let PublishedCheckpoint { instance, chain, seal, hash, jws } = checkpoint;
            if self.log {
                tracing::info!(instance, chain = chain.as_str(), seal, %hash, checkpoint = jws, "audit checkpoint");
            }
            file = match file.take() {
                None => None,
                // On a thread that may wait for the disk.
                Some(mut file) => {
                    let line = line.clone();
                    let appending = move || {
                        file.append(line);
                        file
                    };
                    tokio::task::spawn_blocking(appending).await.ok()
                }
            };
            if let Some(sender) = &sender
                && sender.try_send((seal, line)).is_err()
            {
                tracing::error!(instance, seal, "too many checkpoints wait for the webhook: one is not published");
            }
        }
        drop(sender);
        if let Some(posting) = posting {
            let _posted = posting.await;
        }
    }
}

/// One line of JSON, in the format that `gatehouse audit verify --against` reads.
fn line(checkpoint: &PublishedCheckpoint) -> String {
    let PublishedCheckpoint { instance, chain, seal, hash, jws } = checkpoint;
    let mut json = json!({ "instance": instance, "seal": seal, "hash": hash, "checkpoint": jws });
    if *chain != Chain::Main {
        json["chain"] = chain.as_str().into();
    }
    format!("{json}\n")
}

/// Appends one line for each checkpoint to a file, and syncs it to the disk before taking the next. Lines that could
/// not be written are written with the next one.
struct Appending {
    path: PathBuf,
    unwritten: Vec<String>,
    well: bool,
}

impl Appending {
    fn new(path: PathBuf) -> Self {
        Self { path, unwritten: Vec::new(), well: true }
    }

    fn append(&mut self, line: String) {
        self.unwritten.push(line);
        match append(&self.path, &self.unwritten.concat()) {
            Ok(()) => {
                self.unwritten.clear();
                self.well = true;
            }
            Err(error) => {
                let excess = self.unwritten.len().saturating_sub(MAX_WAITING);
                self.unwritten.drain(..excess);
                if std::mem::take(&mut self.well) {
                    tracing::error!(%error, file = %self.path.display(), "checkpoints of the audit are not written");
                }
            }
        }
    }
}

/// Appends in a single write, so that processes sharing the file do not mix their lines. A line cut off by a crash is
/// ended first.
fn append(path: &Path, lines: &str) -> io::Result<()> {
    let is_new = !path.try_exists()?;
    let mut file = OpenOptions::new().read(true).append(true).create(true).mode(0o644).open(path)?;
    let end = if ends_in_a_line(&mut file)? { "" } else { "\n" };
    file.write_all(format!("{end}{lines}").as_bytes())?;
    file.sync_all()?;
    if is_new {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

fn ends_in_a_line(file: &mut File) -> io::Result<bool> {
    use std::io::{Read as _, Seek as _, SeekFrom};
    if file.metadata()?.len() == 0 {
        return Ok(true);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last == [b'\n'])
}

impl Webhook {
    async fn post(self, mut waiting: mpsc::Receiver<(i64, String)>) {
        let mut well = true;
        while let Some((seal, line)) = waiting.recv().await {
            match self.deliver(&line).await {
                Ok(()) => well = true,
                Err(problem) => {
                    if std::mem::take(&mut well) {
                        tracing::error!(problem, seal, "checkpoints of the audit do not reach the webhook");
                    }
                }
            }
        }
    }

    async fn deliver(&self, line: &str) -> Result<(), String> {
        let mut pauses = PAUSES.into_iter();
        loop {
            let problem = match timeout(PATIENCE, http_client::post_json(&self.0, line.as_bytes().to_vec())).await {
                Ok(Ok(status)) if status.is_success() => return Ok(()),
                Ok(Ok(status)) => format!("it answered {status}"),
                Ok(Err(error)) => format!("it cannot be reached: {error:#}"),
                Err(_) => "it does not answer".to_owned(),
            };
            match pauses.next() {
                Some(pause) => sleep(pause).await,
                None => return Err(problem),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_webhook_is_an_address_without_secrets() {
        assert!(Webhook::new("https://auditor.example.com/checkpoints").is_ok());
        assert!(Webhook::new("http://127.0.0.1:8080").is_ok());
        for bad in ["auditor.example.com", "ftp://x", "https://u:p@x", "https://:p@x", "https://x/?token=1", ""] {
            assert!(Webhook::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_could_not_be_written_is_written_with_the_next_and_behind_a_line_that_was_cut_off() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("missing/checkpoints.jsonl");
        let mut file = Appending::new(path.clone());
        file.append("1\n".to_owned());
        assert!(!path.exists() && !file.well);
        std::fs::create_dir(folder.path().join("missing")).expect("a folder");
        file.append("2\n".to_owned());
        let read = || std::fs::read_to_string(&path).expect("it is there");
        assert_eq!(read(), "1\n2\n");
        std::fs::write(&path, "1\n2").expect("it is written");
        file.append("3\n".to_owned());
        assert_eq!(read(), "1\n2\n3\n");
    }

    #[test]
    fn what_waits_for_the_file_is_bounded() {
        let mut file = Appending::new(PathBuf::from("/dev/null/checkpoints"));
        for number in 0..=MAX_WAITING {
            file.append(format!("{number}\n"));
        }
        assert_eq!((file.unwritten.len(), file.unwritten[0].as_str()), (MAX_WAITING, "1\n"));
    }
}
