//! Checks of the TLS certificate: chain, names and expiry.

use std::sync::Arc;
use std::time::Duration;

use flows::Platform as _;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, Error, RootCertStore};
use x509_cert::Certificate;
use x509_cert::der::Decode as _;

use crate::config::{Config, InstanceConfig};
use crate::doctor::{DoctorReport, days};
use crate::platform::SystemPlatform;

const AREA: &str = "tls";

/// Certificate authorities usually renew 30 days before expiry. Less time left means renewal is broken.
const SOON: Duration = Duration::from_hours(21 * 24);

pub(super) fn look(config: &Config, report: &mut DoctorReport) {
    let under_https: Vec<&InstanceConfig> =
        config.instances.iter().filter(|instance| instance.root.is_https()).collect();
    let Some(files) = config.tls() else {
        if !under_https.is_empty() {
            let what = "no [tls] section; a proxy must terminate TLS for the https root URLs";
            report.ok(AREA, what);
            let open = config.listen.iter().find(|address| !address.ip().is_loopback());
            if let Some(address) = open {
                let mend = "listen on a loopback or private address, or configure a certificate";
                report.warning(AREA, format!("plain HTTP on {address}"), mend);
            }
        }
        return;
    };
    if let Err(problem) = files.load() {
        return report.refused(AREA, &problem);
    }
    report.ok(AREA, "the private key matches the certificate");
    let chain: Vec<_> = CertificateDer::pem_file_iter(&files.certificate).into_iter().flatten().flatten().collect();
    let Some((own, intermediates)) = chain.split_first() else { return };
    ends(&chain, report);
    let now =
        UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(SystemPlatform.now().seconds()).unwrap_or(0)));
    for instance in under_https {
        for host in &instance.hosts {
            name(host.as_str(), own, intermediates, now, report);
        }
    }
}

/// Checks the expiry of every certificate of the chain.
fn ends(chain: &[CertificateDer<'_>], report: &mut DoctorReport) {
    let now = Duration::from_secs(u64::try_from(SystemPlatform.now().seconds()).unwrap_or(0));
    for (place, der) in chain.iter().enumerate() {
        let Ok(certificate) = Certificate::from_der(der) else {
            let mend = "write the chain in PEM format";
            report.problem(AREA, format!("certificate {} of the chain is not X.509", place + 1), mend);
            continue;
        };
        let end = certificate.tbs_certificate.validity.not_after.to_unix_duration();
        let which =
            if place == 0 { "the certificate".to_owned() } else { format!("certificate {} of the chain", place + 1) };
        let mend = "renew it; the server reloads the files automatically";
        match end.checked_sub(now) {
            None => report.problem(AREA, format!("{which} expired {} ago", days(now.saturating_sub(end))), mend),
            Some(left) if left < SOON => report.warning(AREA, format!("{which} expires in {}", days(left)), mend),
            Some(left) => report.ok(AREA, format!("{which} is valid for {}", days(left))),
        }
    }
}

/// Checks whether a browser would accept the certificate for this host.
fn name(
    host: &str,
    own: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    now: UnixTime,
    report: &mut DoctorReport,
) {
    let Ok(server) = ServerName::try_from(host.trim_matches(['[', ']']).to_owned()) else { return };
    let roots = Arc::new(RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() });
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier =
        WebPkiServerVerifier::builder_with_provider(roots, provider).build().expect("there are public roots");
    match verifier.verify_server_cert(own, intermediates, &server, &[], now) {
        Ok(_) => report.ok(AREA, format!("browsers accept the certificate for {host}")),
        Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {
            let known = rustls::server::ParsedCertificate::try_from(own);
            let named = known.is_ok_and(|own| rustls::client::verify_server_name(&own, &server).is_ok());
            if named {
                let mend = "fine if your browsers know the authority; else put the intermediate certificates into the file, \
                            or get a certificate from a public authority";
                report.warning(
                    AREA,
                    format!("the certificate for {host} is issued by an authority that browsers do not trust"),
                    mend,
                );
            } else {
                wrong_name(host, report);
            }
        }
        Err(Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        )) => {
            wrong_name(host, report);
        }
        // The check of the expiry reports this.
        Err(Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. })) => {}
        Err(error) => {
            let mend = "get a server certificate with the host in its subject alternative names";
            report.problem(AREA, format!("browsers reject the certificate for {host}: {error}"), mend);
        }
    }
}

fn wrong_name(host: &str, report: &mut DoctorReport) {
    let mend = "get a certificate for every host in the configuration";
    report.problem(AREA, format!("the certificate does not cover {host}"), mend);
}
