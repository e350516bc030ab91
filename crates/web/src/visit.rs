//! What a handler gets of one request: its instance, one reading of clock and dice, and who asks from where.

use std::convert::Infallible;
use std::sync::Arc;

use aws_lc_rs::digest;
use axum::extract::{FromRequestParts, Request};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use flows::forms::FormCookie;
use flows::second_step::FirstStep;
use flows::sign_in::Browser;
use flows::{Fault, House, Instance};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use model::audit::Visitor;
use model::session::SessionCookie;
use model::{Dice, Language, Moment, Timestamp, User};
use oauth::params::Params;
use oauth::secret::Presented;

use crate::documents::Documents;
use crate::layer::Arrival;
use crate::metrics::Latencies;
use crate::render;
use crate::server::TrustedProxies;
use crate::traces::Tracer;
use crate::words::{self, Words};

/// What all requests share.
pub struct Gate {
    pub house: Arc<House>,
    pub(crate) proxies: TrustedProxies,
    pub(crate) documents: Documents,
    pub(crate) latencies: Latencies,
    pub(crate) tracer: Option<Tracer>,
}

impl Gate {
    pub fn new(house: Arc<House>, proxies: TrustedProxies) -> Arc<Self> {
        Self::traced(house, proxies, None)
    }

    /// With traces of some requests.
    pub fn traced(house: Arc<House>, proxies: TrustedProxies, tracer: Option<Tracer>) -> Arc<Self> {
        Arc::new(Self { documents: Documents::default(), latencies: Latencies::default(), house, proxies, tracer })
    }

    /// Whom a request is for.
    pub(crate) fn instance_of(&self, request: &Request) -> Option<&Arc<Instance>> {
        host(request.uri(), request.headers()).ok().and_then(|host| self.house.instance(host))
    }
}

const LONGEST_USER_AGENT: usize = 256;

pub(crate) struct Visit {
    pub instance: Arc<Instance>,
    pub now: Timestamp,
    pub dice: Box<dyn Dice>,
    pub visitor: Visitor,
    languages: Languages,
}

/// What is known of the languages that this person reads.
#[derive(Default)]
struct Languages {
    /// What the person chose on the profile site.
    chosen: Option<Language>,
    /// `ui_locales` (OpenID Connect Core §3.1.2.1).
    asked: Option<Language>,
    /// `Accept-Language`, read when a page is made: most requests make none.
    accepted: Option<HeaderValue>,
}

impl Visit {
    /// What pages say, in the language that the person chose; else that the application asked for; else the browser.
    pub(crate) fn words(&self) -> &'static Words {
        let accepted = || Language::of_accept_language(self.languages.accepted.as_ref()?.to_str().ok()?);
        let known = self.languages.chosen.or(self.languages.asked).or_else(accepted);
        words::of(known.unwrap_or_default())
    }

    #[must_use]
    pub(crate) fn speaking_to(mut self, user: &User) -> Self {
        self.speak_to(user);
        self
    }

    pub(crate) fn speak_to(&mut self, user: &User) {
        self.languages.chosen = user.locale.as_deref().and_then(Language::of_tag);
    }

    /// Who is signed in at the browser that asks.
    pub(crate) async fn browser(&self, headers: &HeaderMap) -> Result<Option<Browser>, Fault> {
        match self.session_cookie(headers) {
            Some(cookie) => self.instance.browser(&cookie, self.now).await,
            None => Ok(None),
        }
    }

    pub(crate) fn moment(&mut self) -> Moment<'_> {
        Moment { now: self.now, dice: &mut *self.dice }
    }

    pub(crate) fn reference(&self) -> String {
        self.visitor.request.to_string()
    }

    /// The browser's sign-in cookie, if it has one that could be ours.
    pub(crate) fn session_cookie(&self, headers: &HeaderMap) -> Option<Presented<SessionCookie>> {
        cookie(headers, self.cookie_names().session).map(Presented::new)
    }

    /// The browser's proof that the password was right, where a second step follows.
    pub(crate) fn step_cookie(&self, headers: &HeaderMap) -> Option<Presented<FirstStep>> {
        cookie(headers, self.cookie_names().step).map(Presented::new)
    }

    /// The browser's form cookie, and whether it must be given one.
    pub(crate) fn form_cookie(&mut self, headers: &HeaderMap) -> (Presented<FormCookie>, bool) {
        match cookie(headers, self.cookie_names().form).filter(|value| value.len() >= 32) {
            Some(value) => (Presented::new(value), false),
            None => (Presented::new(URL_SAFE_NO_PAD.encode(self.dice.secret())), true),
        }
    }

    pub(crate) fn cookie_names(&self) -> &'static CookieNames {
        if self.instance.root.is_https() { &SECURE } else { &PLAIN }
    }
}

pub(crate) struct CookieNames {
    pub(crate) session: &'static str,
    pub(crate) form: &'static str,
    pub(crate) step: &'static str,
    pub(crate) attributes: &'static str,
}

/// Under https the browser itself keeps the cookies to this host and this path (RFC 6265bis §4.1.3.2).
const SECURE: CookieNames = CookieNames {
    session: "__Host-gatehouse",
    form: "__Host-gatehouse-form",
    step: "__Host-gatehouse-step",
    attributes: "; Path=/; HttpOnly; SameSite=Lax; Secure",
};

const PLAIN: CookieNames = CookieNames {
    session: "gatehouse",
    form: "gatehouse-form",
    step: "gatehouse-step",
    attributes: "; Path=/; HttpOnly; SameSite=Lax",
};

impl CookieNames {
    pub(crate) fn set(&self, name: &str, value: &str) -> String {
        format!("{name}={value}{}", self.attributes)
    }

    pub(crate) fn clear(&self, name: &str) -> String {
        format!("{name}=; Max-Age=0{}", self.attributes)
    }
}

fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    cookies.flat_map(|line| line.split(';')).find_map(|pair| {
        let (known, value) = pair.trim().split_once('=')?;
        (known == name && value.len() <= 256).then_some(value)
    })
}

/// RFC 9112 §3.2: "A server MUST respond with a 400 … to any request message that lacks a Host header field and to any
/// request message that contains more than one Host header field line or a Host header field with an invalid value."
struct BadHost;

/// RFC 9110 §7.2; for HTTP/2 and absolute targets the authority there. Without the port.
fn host<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Result<&'a str, BadHost> {
    let mut lines = headers.get_all(header::HOST).iter();
    let authority = match (uri.authority(), lines.next(), lines.next()) {
        (_, _, Some(_)) | (None, None, _) => return Err(BadHost),
        (Some(authority), ..) => authority.as_str(),
        (None, Some(line), None) => line.to_str().map_err(|_| BadHost)?,
    };
    let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) => (authority.get(..address.len() + 2).ok_or(BadHost)?, port),
        None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
    };
    let is_port =
        port.is_empty() || port.strip_prefix(':').is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_digit()));
    let is_host = !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~[]:".contains(&b));
    let is_bracketed = host.starts_with('[') || !host.contains(['[', ']', ':']);
    if is_port && is_host && is_bracketed { Ok(host) } else { Err(BadHost) }
}

impl Visit {
    /// Or what is answered where there is no instance.
    #[expect(clippy::result_large_err, reason = "it is the answer")]
    pub(crate) fn of(gate: &Gate, arrival: Arrival, parts: &Parts) -> Result<Self, Response> {
        let Ok(host) = host(&parts.uri, &parts.headers) else {
            return Err(render::text(StatusCode::BAD_REQUEST, "Send one valid Host header.\n"));
        };
        let Some(instance) = gate.house.instance(host) else {
            return Err(render::text(StatusCode::NOT_FOUND, "No instance answers to this host name.\n"));
        };
        let user_agent = parts.headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok());
        Ok(Self {
            instance: Arc::clone(instance),
            now: arrival.now,
            dice: gate.house.world().dice(),
            visitor: Visitor {
                address: gate.proxies.client_address(arrival.peer, &parts.headers),
                user_agent: user_agent.map(|text| cut(text).into()),
                request: arrival.id,
            },
            languages: Languages {
                chosen: None,
                asked: parts.uri.query().and_then(ui_locales),
                accepted: parts.headers.get(header::ACCEPT_LANGUAGE).cloned(),
            },
        })
    }
}

fn ui_locales(query: &str) -> Option<Language> {
    if !query.contains("ui_locales=") {
        return None;
    }
    Language::of_locales(Params::parse(query.as_bytes()).ok()?.get("ui_locales")?)
}

impl FromRequestParts<Arc<Gate>> for Visit {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, gate: &Arc<Gate>) -> Result<Self, Response> {
        let arrival = *parts.extensions.get::<Arrival>().expect("every request has arrived");
        Self::of(gate, arrival, parts)
    }
}

/// A request's headers, taken and not copied: no later extractor sees them.
pub(crate) struct Headers(pub(crate) HeaderMap);

impl<S: Sync> FromRequestParts<S> for Headers {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(std::mem::take(&mut parts.headers)))
    }
}

/// Header values that read as text are ASCII, so that a cut is never within a character.
fn cut(text: &str) -> &str {
    text.get(..LONGEST_USER_AGENT).unwrap_or(text)
}

/// The operating system's randomness.
pub struct SystemDice;

impl Dice for SystemDice {
    fn fill(&mut self, bytes: &mut [u8]) {
        aws_lc_rs::rand::fill(bytes).expect("the operating system has randomness");
    }
}

/// A strong validator (RFC 9110 §8.8.3) of bytes.
pub(crate) fn entity_tag(bytes: &[u8]) -> String {
    format!("\"{}\"", URL_SAFE_NO_PAD.encode(&digest::digest(&digest::SHA256, bytes).as_ref()[..12]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_valid_host_and_it_is_read_without_its_port() {
        let of = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, value.parse().expect("a header value"));
            host(&Uri::from_static("/"), &headers).ok().map(str::to_owned)
        };
        assert_eq!(of("localhost:8080").as_deref(), Some("localhost"));
        assert_eq!(of("demodb.localhost").as_deref(), Some("demodb.localhost"));
        assert_eq!(of("[::1]:8080").as_deref(), Some("[::1]"));
        for bad in ["evil@localhost", "a, b", "[::1", "::1", "localhost:80x", "", "a b", "a/b"] {
            assert_eq!(of(bad), None, "{bad:?}");
        }
        let absolute = Uri::from_static("http://demodb.localhost:1/");
        assert!(host(&absolute, &HeaderMap::new()).is_ok_and(|host| host == "demodb.localhost"));
        assert!(host(&Uri::from_static("/"), &HeaderMap::new()).is_err(), "none");
        let mut two = HeaderMap::new();
        two.append(header::HOST, http::HeaderValue::from_static("localhost"));
        two.append(header::HOST, http::HeaderValue::from_static("localhost"));
        assert!(host(&Uri::from_static("/"), &two).is_err(), "two");
    }

    #[test]
    fn a_cookie_is_found_by_its_whole_name() {
        let mut headers = HeaderMap::new();
        headers.append(header::COOKIE, "a=1; xgatehouse=2".parse().expect("a header value"));
        headers.append(header::COOKIE, "gatehouse=3; b=4".parse().expect("a header value"));
        assert_eq!(cookie(&headers, "gatehouse"), Some("3"));
        assert_eq!(cookie(&headers, "gate"), None);
    }
}
