//! TLS certificates from files, and Gatehouse's only TLS policy.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{InconsistentKeys, ServerConfig};
use serde::Deserialize;
use tokio::sync::{Notify, watch};
use tokio::time::sleep;

use crate::problem::StartupProblem;

/// Interval at which [`Certificate::keep_fresh`] should check the files.
pub const LOOK_EVERY: Duration = Duration::from_secs(10);

/// PEM files: the chain with the server's own certificate first, and its private key.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsFiles {
    pub certificate: PathBuf,
    pub private_key: PathBuf,
}

impl TlsFiles {
    /// Resolves relative paths against `folder`.
    pub(crate) fn within(self, folder: &Path) -> Self {
        Self { certificate: folder.join(self.certificate), private_key: folder.join(self.private_key) }
    }

    /// Reads both files. Refuses a key that does not match the certificate.
    pub fn load(&self) -> Result<Arc<ServerConfig>, StartupProblem> {
        let chain = CertificateDer::pem_file_iter(&self.certificate)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| unreadable(&self.certificate, &error))?;
        if chain.is_empty() {
            return Err(unreadable(&self.certificate, &PemError::NoItemsFound));
        }
        let key =
            PrivateKeyDer::from_pem_file(&self.private_key).map_err(|error| unreadable(&self.private_key, &error))?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(provider()))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .expect("the provider has suites for both versions")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(|error| self.unusable(&error))?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    fn unusable(&self, error: &rustls::Error) -> StartupProblem {
        let (certificate, key) = (self.certificate.display(), self.private_key.display());
        if matches!(error, rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) {
            return StartupProblem::new(
                format!("the private key in {key} does not match the first certificate in {certificate}"),
                "put the server certificate first in the chain, and configure its private key",
            );
        }
        StartupProblem::new(
            format!("{certificate} and {key} cannot be used: {error}"),
            "use an X.509 certificate with an RSA (2048 bits or more), ECDSA or Ed25519 key in PKCS #8, PKCS #1 or SEC 1 form",
        )
    }

    /// Modification time and size of both files, which change when a file is written or replaced. `None` for a file
    /// that cannot be read now.
    fn fingerprint(&self) -> [Option<(SystemTime, u64)>; 2] {
        [&self.certificate, &self.private_key].map(|path| {
            let seen = std::fs::metadata(path).ok()?;
            Some((seen.modified().ok()?, seen.len()))
        })
    }
}

fn unreadable(path: &Path, error: &PemError) -> StartupProblem {
    let path = path.display();
    match error {
        PemError::Io(error) if error.kind() == io::ErrorKind::NotFound => {
            StartupProblem::new(format!("file {path} not found"), "correct the path under [tls]")
        }
        PemError::Io(error) => StartupProblem::new(
            format!("{path} cannot be read: {error}"),
            "give the user that runs gatehouse read access",
        ),
        PemError::NoItemsFound => StartupProblem::new(
            format!("{path} contains no PEM section of the expected type"),
            "`certificate` needs BEGIN CERTIFICATE sections, `private_key` an unencrypted BEGIN PRIVATE KEY section",
        ),
        error => StartupProblem::new(format!("{path} is not PEM: {error}"), "write the file in PEM format"),
    }
}

/// RFC 9325 §4.2, FAPI 2.0 §5.2.2 and this server's promise: AES-GCM with ephemeral keys only, in order of preference.
fn provider() -> CryptoProvider {
    use aws_lc_rs::cipher_suite::{
        TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, TLS13_AES_128_GCM_SHA256,
        TLS13_AES_256_GCM_SHA384,
    };
    let cipher_suites = vec![
        TLS13_AES_128_GCM_SHA256,
        TLS13_AES_256_GCM_SHA384,
        TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    ];
    CryptoProvider { cipher_suites, ..aws_lc_rs::default_provider() }
}

/// The certificate in use, and the files it comes from.
#[derive(Debug)]
pub struct Certificate {
    files: TlsFiles,
    seen: [Option<(SystemTime, u64)>; 2],
    current: watch::Sender<Arc<ServerConfig>>,
}

impl Certificate {
    pub fn load(files: TlsFiles) -> Result<Self, StartupProblem> {
        let seen = files.fingerprint();
        let current = watch::Sender::new(files.load()?);
        Ok(Self { files, seen, current })
    }

    /// For [`web::server::Security::Tls`]: follows the newest usable certificate.
    pub fn subscribe(&self) -> watch::Receiver<Arc<ServerConfig>> {
        self.current.subscribe()
    }

    /// Reads the files again. If they are unusable, the current certificate stays.
    pub fn reload(&mut self) -> Result<(), StartupProblem> {
        self.seen = self.files.fingerprint();
        self.current.send_replace(self.files.load()?);
        Ok(())
    }

    /// Reloads the certificate until all subscribers are gone: checks the files at the interval `every`, and reads them
    /// at each `told`.
    pub async fn keep_fresh(mut self, every: Duration, told: Arc<Notify>) {
        loop {
            let forced = tokio::select! {
                () = sleep(every) => false,
                () = told.notified() => true,
                () = self.current.closed() => return,
            };
            self = tokio::task::spawn_blocking(move || self.look(forced)).await.expect("reading files does not panic");
        }
    }

    fn look(mut self, forced: bool) -> Self {
        if forced || self.files.fingerprint() != self.seen {
            let certificate = self.files.certificate.display().to_string();
            match self.reload() {
                Ok(()) => tracing::info!(certificate, "certificate loaded"),
                Err(problem) => {
                    tracing::error!(%problem, "the new certificate is refused; the old one stays in use");
                }
            }
        }
        self
    }
}
