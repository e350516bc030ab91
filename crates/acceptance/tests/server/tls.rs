use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::get;
use gatehouse::tls::{Certificate, TlsFiles};
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, RsaKeySize};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{AlertDescription, CipherSuite, ClientConfig, RootCertStore, SupportedCipherSuite};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use web::server::{Limits, Security};

use crate::{PATIENCE, Running, rest, until};

/// A folder with a certificate chain and its key.
struct Files {
    folder: TempDir,
}

impl Files {
    /// Self-signed, for `localhost` and a mark that identifies it.
    fn new(key: &KeyPair, mark: &str) -> Self {
        let files = Self { folder: tempfile::tempdir().expect("a folder") };
        files.write(key, mark);
        files
    }

    fn write(&self, key: &KeyPair, mark: &str) {
        let names = vec!["localhost".to_owned(), format!("{mark}.localhost")];
        let certificate = CertificateParams::new(names).expect("names").self_signed(key).expect("signed");
        fs::write(self.paths().private_key, key.serialize_pem()).expect("written");
        fs::write(self.paths().certificate, certificate.pem()).expect("written");
    }

    fn paths(&self) -> TlsFiles {
        let path = |name: &str| -> PathBuf { self.folder.path().join(name) };
        TlsFiles { certificate: path("chain.pem"), private_key: path("key.pem") }
    }

    fn certificate(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_file(self.paths().certificate).expect("PEM")
    }

    fn load(&self) -> Certificate {
        Certificate::load(self.paths()).expect("a good certificate")
    }
}

fn ecdsa() -> KeyPair {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key")
}

fn start(certificate: &Certificate) -> Running {
    let router = Router::new().route("/", get(async || "hello"));
    Running::start(router, Security::Tls(certificate.subscribe()), Limits::default())
}

fn client(trusted: CertificateDer<'static>, suites: Vec<SupportedCipherSuite>) -> ClientConfig {
    let provider = CryptoProvider { cipher_suites: suites, ..aws_lc_rs::default_provider() };
    let mut roots = RootCertStore::empty();
    roots.add(trusted).expect("a certificate");
    let versions: Vec<_> = [&rustls::version::TLS12, &rustls::version::TLS13]
        .into_iter()
        .filter(|version| provider.cipher_suites.iter().any(|suite| *suite.version() == **version))
        .collect();
    ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&versions)
        .expect("suites for these versions")
        .with_root_certificates(roots)
        .with_no_client_auth()
}

async fn shake(config: ClientConfig, address: SocketAddr) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost").expect("a name");
    timeout(PATIENCE, TlsConnector::from(Arc::new(config)).connect(name, stream)).await.expect("no hang")
}

/// The certificate presented to a new connection.
async fn presented(server: &Running, trusted: CertificateDer<'static>) -> CertificateDer<'static> {
    let config = client(trusted, aws_lc_rs::DEFAULT_CIPHER_SUITES.to_vec());
    let stream = shake(config, server.address).await.expect("a good handshake");
    stream.get_ref().1.peer_certificates().expect("shown")[0].clone().into_owned()
}

fn is_promised(suite: CipherSuite) -> bool {
    matches!(
        suite,
        CipherSuite::TLS13_AES_128_GCM_SHA256
            | CipherSuite::TLS13_AES_256_GCM_SHA384
            | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
            | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384
            | CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
            | CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384
    )
}

/// RFC 9325 §4.2 and FAPI 2.0 §5.2.2; refusals end with an alert, not with a hang.
#[tokio::test]
async fn aes_gcm_with_ephemeral_keys_is_spoken_and_chacha_is_not() {
    let rsa = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).expect("a key");
    let mut spoken = 0;
    for (key, other) in [(ecdsa(), "_RSA_"), (rsa, "_ECDSA_")] {
        let files = Files::new(&key, "suites");
        let certificate = files.load();
        let server = start(&certificate);
        for suite in aws_lc_rs::ALL_CIPHER_SUITES {
            let name = format!("{:?}", suite.suite());
            if name.contains(other) {
                continue;
            }
            let outcome = shake(client(files.certificate(), vec![*suite]), server.address).await;
            if is_promised(suite.suite()) {
                let mut stream = outcome.expect(&name);
                assert_eq!(stream.get_ref().1.protocol_version(), Some(suite.version().version));
                stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.expect("sent");
                until(&mut stream, "hello").await;
                spoken += 1;
            } else {
                let error = outcome.expect_err(&name);
                let refusal = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
                let alert = rustls::Error::AlertReceived(AlertDescription::HandshakeFailure);
                assert_eq!(refusal, Some(&alert), "{name}");
            }
        }
    }
    assert_eq!(spoken, 8, "four of TLS 1.2, and two of TLS 1.3 with either key");
}

/// A `ClientHello` (RFC 5246 §7.4.1.2) that a TLS library would not write.
fn client_hello(version: [u8; 2], suites: &[[u8; 2]]) -> Vec<u8> {
    fn sized(bytes: &[u8]) -> Vec<u8> {
        [&u16::try_from(bytes.len()).expect("short").to_be_bytes()[..], bytes].concat()
    }
    let extensions = [
        &[0, 10][..],
        &sized(&sized(&[0, 23, 0, 29])), // supported_groups: secp256r1, x25519
        &[0, 11],
        &sized(&[1, 0]), // ec_point_formats: uncompressed
        &[0, 13],
        &sized(&sized(&[4, 3, 4, 1])), // signature_algorithms: ECDSA and RSA with SHA-256
    ]
    .concat();
    let no_session_and_suites = [&[0][..], &sized(&suites.concat())].concat();
    let no_compression = [1, 0];
    let body = [&version[..], &[7; 32], &no_session_and_suites, &no_compression, &sized(&extensions)].concat();
    let message = [&[1, 0][..], &sized(&body)].concat();
    [&[22, 3, 1][..], &sized(&message)].concat()
}

#[tokio::test]
async fn old_versions_and_old_suites_end_with_an_alert() {
    const TLS_1_1: [u8; 2] = [3, 2];
    const TLS_1_2: [u8; 2] = [3, 3];
    const HANDSHAKE_FAILURE: u8 = 40;
    const PROTOCOL_VERSION: u8 = 70;
    let files = Files::new(&ecdsa(), "old");
    let certificate = files.load();
    let server = start(&certificate);
    for (name, version, suite, alert) in [
        ("TLS 1.0", [3, 1], [0xc0, 0x09], PROTOCOL_VERSION),
        ("TLS 1.1", TLS_1_1, [0xc0, 0x09], PROTOCOL_VERSION),
        ("ECDHE with CBC", TLS_1_2, [0xc0, 0x09], HANDSHAKE_FAILURE),
        ("DHE", TLS_1_2, [0x00, 0x9e], HANDSHAKE_FAILURE),
        ("static RSA", TLS_1_2, [0x00, 0x9c], HANDSHAKE_FAILURE),
    ] {
        let mut stream = server.connect().await;
        stream.write_all(&client_hello(version, &[suite])).await.expect("sent");
        let mut record = [0; 7];
        timeout(PATIENCE, stream.read_exact(&mut record)).await.expect("no hang").expect("an alert");
        let [kind, _, _, _, _, level, description] = record;
        assert_eq!((kind, level, description), (21, 2, alert), "{name}");
    }
    // The same greeting with a supported suite gets a handshake record, so the greeting itself is valid.
    let mut stream = server.connect().await;
    stream.write_all(&client_hello(TLS_1_2, &[[0xc0, 0x2b]])).await.expect("sent");
    assert_eq!(timeout(PATIENCE, stream.read_u8()).await.expect("no hang").expect("an answer"), 22);
}

#[tokio::test]
async fn the_newest_protocols_are_chosen_when_offered() {
    let files = Files::new(&ecdsa(), "alpn");
    let certificate = files.load();
    let server = start(&certificate);
    for (offered, chosen) in [(&["http/1.1", "h2"][..], "h2"), (&["http/1.1"], "http/1.1")] {
        let mut config = client(files.certificate(), aws_lc_rs::DEFAULT_CIPHER_SUITES.to_vec());
        config.alpn_protocols = offered.iter().map(|name| name.as_bytes().to_vec()).collect();
        let stream = shake(config, server.address).await.expect("a good handshake");
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(chosen.as_bytes()));
        assert_eq!(stream.get_ref().1.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
    }
}

#[tokio::test]
async fn a_handshake_that_does_not_come_holds_nobody_up_and_is_closed() {
    let files = Files::new(&ecdsa(), "slow");
    let certificate = files.load();
    let tls_handshake_timeout = Duration::from_millis(150);
    let limits = Limits { tls_handshake_timeout, ..Limits::default() };
    let server = Running::start(Router::new(), Security::Tls(certificate.subscribe()), limits);
    let began = Instant::now();
    let mut silent = server.connect().await;
    assert_eq!(presented(&server, files.certificate()).await, files.certificate());
    assert_eq!(rest(&mut silent).await, "");
    assert!(began.elapsed() >= tls_handshake_timeout);
}

/// Without a time limit that would end it earlier.
#[tokio::test]
async fn a_handshake_that_does_not_come_gives_way_to_the_next_connection_of_its_network() {
    let files = Files::new(&ecdsa(), "share");
    let certificate = files.load();
    let limits = Limits { connections_per_network: 1, tls_handshake_timeout: 10 * PATIENCE, ..Limits::default() };
    let router = Router::new().route("/", get(async || "hello"));
    let server = Running::start(router, Security::Tls(certificate.subscribe()), limits);
    let mut silent = server.connect().await;
    let mut half = server.connect().await;
    assert_eq!(rest(&mut silent).await, "");
    half.write_all(&[22, 3, 1]).await.expect("sent");
    let config = client(files.certificate(), aws_lc_rs::DEFAULT_CIPHER_SUITES.to_vec());
    let mut good = shake(config, server.address).await.expect("a good handshake");
    assert_eq!(rest(&mut half).await, "");
    good.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.expect("sent");
    until(&mut good, "hello").await;
}

/// Encrypted data for a client that does not read is bounded, and counted before encryption.
#[tokio::test]
async fn answers_that_nobody_reads_give_way_to_others_under_tls_too() {
    let files = Files::new(&ecdsa(), "deaf");
    let certificate = files.load();
    let limits = Limits { unread_bytes: 24 << 20, ..Limits::default() };
    let router = Router::new().route("/", get(async || vec![b'x'; 16 << 20])).route("/small", get(async || "hello"));
    let server = Running::start(router, Security::Tls(certificate.subscribe()), limits);
    let config = client(files.certificate(), aws_lc_rs::DEFAULT_CIPHER_SUITES.to_vec());
    let mut deaf = Vec::new();
    for _ in 0..2 {
        let mut stream = shake(config.clone(), server.address).await.expect("a good handshake");
        stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.expect("sent");
        until(&mut stream, "\r\n\r\n").await;
        deaf.push(stream);
    }
    let mut good = shake(config, server.address).await.expect("a good handshake");
    good.write_all(b"GET /small HTTP/1.1\r\nhost: a\r\n\r\n").await.expect("sent");
    until(&mut good, "hello").await;
    let mut taken = Vec::new();
    let cut = timeout(PATIENCE, deaf[0].read_to_end(&mut taken)).await.expect("closed in time");
    assert!(
        cut.is_err() && taken.len() < 16 << 20,
        "{} bytes of the first, which stood still the longest",
        taken.len()
    );
}

#[tokio::test]
async fn a_new_certificate_serves_the_next_connection() {
    let files = Files::new(&ecdsa(), "first");
    let mut certificate = files.load();
    let server = start(&certificate);
    let first = files.certificate();
    assert_eq!(presented(&server, first.clone()).await, first);

    files.write(&ecdsa(), "second");
    assert_eq!(presented(&server, first.clone()).await, first, "not before it is loaded");
    certificate.reload().expect("a good certificate");
    assert_ne!(files.certificate(), first);
    assert_eq!(presented(&server, files.certificate()).await, files.certificate());
}

#[tokio::test]
async fn a_bad_new_certificate_is_refused_and_the_old_one_stays() {
    let files = Files::new(&ecdsa(), "good");
    let mut certificate = files.load();
    let server = start(&certificate);
    let good = files.certificate();
    let TlsFiles { certificate: chain, private_key } = files.paths();

    let spoil: [(&str, &dyn Fn()); 5] = [
        ("does not match the first certificate", &|| {
            fs::write(&private_key, ecdsa().serialize_pem()).expect("written");
        }),
        ("contains no PEM section", &|| fs::write(&private_key, "nothing").expect("written")),
        ("not found", &|| fs::remove_file(&private_key).expect("removed")),
        ("contains no PEM section", &|| fs::write(&chain, "").expect("written")),
        ("is not PEM", &|| fs::write(&chain, "-----BEGIN CERTIFICATE-----\n!\n").expect("written")),
    ];
    for (expected, spoil) in spoil {
        spoil();
        let problem = certificate.reload().expect_err(expected).to_string();
        assert!(problem.contains(expected), "{problem}");
        assert_eq!(presented(&server, good.clone()).await, good, "{expected}");
    }
}

#[tokio::test]
async fn changed_files_are_noticed_and_a_signal_is_obeyed() {
    let look_often = Duration::from_millis(5);
    let never_look = Duration::from_hours(1);
    for every in [look_often, never_look] {
        let files = Files::new(&ecdsa(), "before");
        let certificate = files.load();
        let mut current = certificate.subscribe();
        let signal = Arc::new(Notify::new());
        let keeping = tokio::spawn(certificate.keep_fresh(every, signal.clone()));
        files.write(&ecdsa(), "afterwards");
        if every == never_look {
            signal.notify_one();
        }
        timeout(PATIENCE, current.changed()).await.expect("noticed in time").expect("still kept");
        drop(current);
        timeout(PATIENCE, keeping).await.expect("ends when nobody listens").expect("no panic");
    }
}
