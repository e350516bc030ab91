//! The client's address. Any client can write the headers, so only entries appended by a trusted proxy count.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName};
use ipnet::IpNet;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The trusted proxies from the configuration.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    pub fn new(networks: Vec<IpNet>) -> Self {
        Self(networks)
    }

    /// The address that the request came from. Starts with the peer; while that is a trusted proxy, takes the address
    /// that it reports in `X-Forwarded-For`, read from the right. Stops at the first address that is not trusted, or
    /// before the first entry that is no address. No other header is used.
    pub fn client_address(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut address = peer.to_canonical();
        let lines = headers.get_all(X_FORWARDED_FOR);
        let mut reported = lines.iter().rev().flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
        while self.trusts(address) {
            match reported.next().and_then(address_in) {
                Some(earlier) => address = earlier,
                None => break,
            }
        }
        address
    }

    pub fn networks(&self) -> &[IpNet] {
        &self.0
    }

    pub(crate) fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }
}

/// Parses an entry. Some proxies add the port.
fn address_in(entry: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(entry).ok()?.trim();
    let address = text.parse().or_else(|_| text.parse::<SocketAddr>().map(|socket| socket.ip()));
    address.ok().map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn seen_from(peer: &str, lines: &[&'static str]) -> String {
        let networks = ["10.0.0.0/8", "fd00::/8"].map(|text| text.parse().expect("a network"));
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(X_FORWARDED_FOR, HeaderValue::from_static(line));
        }
        for believed_by_others in ["forwarded", "x-real-ip", "client-ip"] {
            headers.insert(HeaderName::from_static(believed_by_others), HeaderValue::from_static("192.0.2.66"));
        }
        let proxies = TrustedProxies::new(networks.into());
        proxies.client_address(peer.parse().expect("an address"), &headers).to_string()
    }

    #[test]
    fn only_a_trusted_proxy_is_asked_for_whom_it_speaks() {
        for (peer, lines, client) in [
            ("198.51.100.7", &[][..], "198.51.100.7"),
            ("198.51.100.7", &["192.0.2.1"], "198.51.100.7"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["192.0.2.1"], "192.0.2.1"),
            ("10.0.0.1", &["192.0.2.66, 192.0.2.1"], "192.0.2.1"),
            ("10.0.0.1", &["192.0.2.66", "192.0.2.1, 10.9.9.9"], "192.0.2.1"),
            ("10.0.0.1", &["192.0.2.1,10.0.0.3 , 10.0.0.2"], "192.0.2.1"),
            ("10.0.0.1", &["10.0.0.3"], "10.0.0.3"),
            ("10.0.0.1", &["192.0.2.66, unknown"], "10.0.0.1"),
            ("10.0.0.1", &["192.0.2.66, unknown, 10.0.0.2"], "10.0.0.2"),
            ("10.0.0.1", &["192.0.2.66,"], "10.0.0.1"),
            ("10.0.0.1", &["192.0.2.1:4711"], "192.0.2.1"),
            ("10.0.0.1", &["[2001:db8::1]:4711"], "2001:db8::1"),
            ("fd00::1", &["2001:db8::1"], "2001:db8::1"),
            ("::ffff:10.0.0.1", &["::ffff:192.0.2.1"], "192.0.2.1"),
        ] {
            assert_eq!(seen_from(peer, lines), client, "{peer} {lines:?}");
        }
    }

    #[test]
    fn without_proxies_the_peer_is_the_client() {
        let mut headers = HeaderMap::new();
        headers.insert(X_FORWARDED_FOR, HeaderValue::from_static("192.0.2.66"));
        let peer = "127.0.0.1".parse().expect("an address");
        assert_eq!(TrustedProxies::default().client_address(peer, &headers), peer);
    }
}
