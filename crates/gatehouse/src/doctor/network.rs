//! Checks of the mail server, trusted proxies, and access from outside.

use std::time::Duration;

use tokio::time::timeout;

use crate::config::{Config, Environment, MailSecurity};
use crate::doctor::DoctorReport;
use crate::http_client;
use crate::post::Mailer;

/// Time-out of every request.
const PATIENCE: Duration = Duration::from_secs(15);

pub(super) async fn mail(config: &Config, environment: Environment<'_>, report: &mut DoctorReport) {
    const AREA: &str = "mail";
    let Some(settings) = &config.mail else {
        return report.ok(AREA, "no [mail] section; administrators hand out links themselves");
    };
    let post = match settings.login(environment).and_then(|login| Mailer::new(settings, login)) {
        Ok(post) => post,
        Err(problem) => return report.refused(AREA, &problem),
    };
    let server = format!("{}:{}", settings.host, settings.port);
    let login = if settings.username.is_some() { ", login accepted" } else { "" };
    let mend = "check host, port, `tls` and login under [mail], and that this machine can connect to the server";
    match timeout(PATIENCE, post.greet()).await {
        Ok(Ok(())) if settings.security == MailSecurity::None => {
            let what = format!("{server} answers, but e-mail with links is sent to it unencrypted");
            report.warning(AREA, what, "use tls = \"starttls\" or \"tls\" unless the server is on this machine");
        }
        Ok(Ok(())) => report.ok(AREA, format!("{server} answers over TLS{login}")),
        Ok(Err(undelivered)) => report.problem(AREA, format!("{server}: {undelivered}"), mend),
        Err(_) => report.problem(AREA, format!("{server} does not answer"), mend),
    }
}

/// A list of trusted proxies that is too wide lets clients choose the address under which they are throttled and
/// audited.
pub(super) fn proxies(config: &Config, report: &mut DoctorReport) {
    const AREA: &str = "proxies";
    let networks = config.trusted_proxies.networks();
    if networks.is_empty() {
        return report.ok(AREA, "no trusted proxies; the client address is that of the connection");
    }
    let mend = "list only the addresses of your own proxies; a trusted proxy can claim any client address";
    let mut sane = true;
    for network in networks {
        let (first, last) = (network.network(), network.broadcast());
        if is_private(first) && is_private(last) {
            continue;
        }
        sane = false;
        if network.prefix_len() < if first.is_ipv4() { 8 } else { 16 } {
            report.problem(AREA, format!("trusted proxy network {network} covers a large part of the Internet"), mend);
        } else {
            report.warning(AREA, format!("trusted proxy network {network} is public"), mend);
        }
    }
    if sane {
        report.ok(AREA, format!("{} trusted proxy networks, all private", networks.len()));
    }
}

fn is_private(address: std::net::IpAddr) -> bool {
    match address {
        // RFC 1918, RFC 3927, RFC 6598.
        std::net::IpAddr::V4(v4) => {
            let shared = v4.octets()[0] == 100 && v4.octets()[1] & 0xc0 == 64;
            v4.is_private() || v4.is_loopback() || v4.is_link_local() || shared
        }
        std::net::IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

/// Health as reported by the running server, if its metrics listener is configured.
pub(super) async fn health(config: &Config, report: &mut DoctorReport) {
    const AREA: &str = "server";
    let Some(metrics) = &config.metrics else { return };
    let url = format!("http://{}/readyz?verbose", metrics.listen);
    match timeout(PATIENCE, http_client::get(&url)).await {
        Ok(Ok((_, text))) => checks(&url, &text, report),
        Ok(Err(_)) => report.ok(AREA, format!("server not running on {}", metrics.listen)),
        Err(_) => report.problem(AREA, format!("{url} does not answer"), "restart the server"),
    }
}

/// One finding for each line of the health report that describes a problem.
fn checks(url: &str, text: &str, report: &mut DoctorReport) {
    const AREA: &str = "server";
    let mut well = 0;
    for line in text.lines() {
        let (what, mend) = line.split_once("; ").unwrap_or((line, "see Operating in the documentation"));
        if let Some(failed) = what.strip_prefix("[-]") {
            report.problem(AREA, failed, mend);
        } else if let Some(impaired) = what.strip_prefix("[!]") {
            report.warning(AREA, impaired, mend);
        } else {
            well += usize::from(what.starts_with("[+]"));
        }
    }
    report.ok(AREA, format!("{url} answers; {well} checks passed"));
}

/// Requests each instance at its root URL, as a browser would.
pub(super) async fn roots(config: &Config, report: &mut DoctorReport) {
    const AREA: &str = "reach";
    for instance in &config.instances {
        let url = format!("{}/readyz", instance.root.as_str());
        let mend = "check that the server is running, that DNS points to it and that the proxy forwards requests";
        match timeout(PATIENCE, http_client::get(&url)).await {
            Ok(Ok((status, _))) if status.is_success() => report.ok(AREA, format!("{url} answers")),
            Ok(Ok((status, _))) => report.problem(AREA, format!("{url} answers {status}"), mend),
            Ok(Err(error)) => report.problem(AREA, format!("{url} cannot be reached: {error:#}"), mend),
            Err(_) => report.problem(AREA, format!("{url} does not answer"), mend),
        }
    }
}
