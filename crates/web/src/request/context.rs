//! The context of one request: its instance, one clock reading, randomness, and the request info for the audit.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use flows::BelievedInstance;
use flows::auth::browser_session::SignedIn;
use flows::auth::devices::{DEVICE_LIFETIME, DeviceCookie};
use flows::auth::second_step::FirstStep;
use flows::{Fault, Instance, Server};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use model::audit::RequestInfo;
use model::session::{FormCookie, SessionCookie};
use model::{Ctx, Language, Login, Moment, Rng, Timestamp, User};
use oauth::params::Params;
use oauth::secret::Presented;

use crate::messages;
use crate::messages::Messages;
use crate::request::documents::Documents;
use crate::request::headers;
use crate::request::latencies::Latencies;
use crate::request::render;
use crate::request::start::RequestStart;
use crate::request::traces::Tracer;
use crate::server::{ConnectionFigures, TrustedProxies};

/// State shared by all requests.
pub struct AppState {
    pub server: Arc<Server>,
    pub(crate) proxies: TrustedProxies,
    pub(crate) documents: Documents,
    pub(crate) latencies: Latencies,
    pub(crate) tracer: Option<Tracer>,
    /// Figures of the listeners that use this state.
    pub connections: Arc<ConnectionFigures>,
}

impl AppState {
    pub fn new(server: Arc<Server>, proxies: TrustedProxies) -> Arc<Self> {
        Self::traced(server, proxies, None)
    }

    /// Like [`AppState::new`], with a tracer that samples requests.
    pub fn traced(server: Arc<Server>, proxies: TrustedProxies, tracer: Option<Tracer>) -> Arc<Self> {
        let (documents, latencies) = (Documents::default(), Latencies::default());
        Arc::new(Self { documents, latencies, server, proxies, tracer, connections: Arc::default() })
    }

    /// The instance that the request's host names.
    pub(crate) fn instance_of(&self, request: &Request) -> Option<&Arc<Instance>> {
        headers::host_of(request).ok().and_then(|host| self.server.instance(host))
    }
}

const MAX_USER_AGENT: usize = 256;

/// One request. `I` tells whether memory was checked against the database. Code that decides by memory takes a
/// `RequestContext`, whose instance is a [`BelievedInstance`]; code that only renders takes either.
pub(crate) struct RequestContext<I = BelievedInstance> {
    pub instance: I,
    pub now: Timestamp,
    pub rng: Box<dyn Rng>,
    pub request: RequestInfo,
    languages: Languages,
}

/// The user's languages, by source.
#[derive(Default)]
struct Languages {
    /// The language set on the profile page.
    chosen: Option<Language>,
    /// `ui_locales` (OpenID Connect Core §3.1.2.1).
    asked: Option<Language>,
    /// `Accept-Language`. Parsed only when a page is rendered: most requests render none.
    accepted: Vec<HeaderValue>,
}

/// A request whose instance was not checked against the database.
pub(crate) type UncheckedContext = RequestContext<Arc<Instance>>;

/// An instance, checked or not. Rendering needs no more.
pub(crate) trait AnyInstance: Deref<Target = Instance> {}

impl<I: Deref<Target = Instance>> AnyInstance for I {}

impl<I: AnyInstance> RequestContext<I> {
    /// Page texts in the user's own language; else the one from `ui_locales`; else the browser's.
    pub(crate) fn messages(&self) -> &'static Messages {
        let accepted = || {
            let lines: Vec<_> =
                self.languages.accepted.iter().map(|line| String::from_utf8_lossy(line.as_bytes())).collect();
            Language::of_accept_language(&lines.join(","))
        };
        let known = self.languages.chosen.or(self.languages.asked).or_else(accepted);
        messages::of(known.unwrap_or_default())
    }

    /// The arguments of a flow: the instance and its [`Ctx`].
    pub(crate) fn split(&mut self) -> (&I, Ctx<'_>) {
        (&self.instance, Ctx { now: self.now, rng: &mut *self.rng, request: &self.request })
    }

    pub(crate) fn moment(&mut self) -> Moment<'_> {
        Moment { now: self.now, rng: &mut *self.rng }
    }

    pub(crate) fn reference(&self) -> String {
        self.request.id.to_string()
    }
}

impl RequestContext {
    /// Sets the languages that a pending request asked for.
    pub(crate) fn ask_for_languages(&mut self, ui_locales: Option<&str>) {
        self.languages.asked = ui_locales.and_then(Language::of_locales);
    }

    #[must_use]
    pub(crate) fn speaking_to(mut self, user: &User) -> Self {
        self.speak_to(user);
        self
    }

    pub(crate) fn speak_to(&mut self, user: &User) {
        self.languages.chosen = user.locale.as_deref().and_then(Language::of_tag);
    }

    /// The user and session of the request's session cookie.
    pub(crate) async fn browser(&self, headers: &HeaderMap) -> Result<Option<SignedIn>, Fault> {
        for cookie in self.session_cookies(headers) {
            if let Some(browser) = self.instance.auth().signed_in(&cookie, self.now).await? {
                return Ok(Some(browser));
            }
        }
        Ok(None)
    }

    /// Values of the session cookie. A browser sends several if an older cookie has another path; the valid one counts.
    pub(crate) fn session_cookies(&self, headers: &HeaderMap) -> impl Iterator<Item = Presented<SessionCookie>> {
        headers::cookies(headers, self.cookie_names().session).map(Presented::new)
    }

    /// Values of the cookie that proves the right password before a second step. Of several, the valid one counts.
    pub(crate) fn step_cookies(&self, headers: &HeaderMap) -> Vec<Presented<FirstStep>> {
        headers::cookies(headers, self.cookie_names().step).map(Presented::new).collect()
    }

    /// Values of the cookie that a browser gets when it signs in. See [`flows::auth::devices`].
    pub(crate) fn device_cookies(&self, headers: &HeaderMap) -> Vec<Presented<DeviceCookie>> {
        headers::cookies(headers, self.cookie_names().device).map(Presented::new).collect()
    }

    /// A `Set-Cookie` value by which this browser is known for the login from now on.
    pub(crate) fn know_browser(&mut self, headers: &HeaderMap, login: &Login) -> String {
        let (shown, names) = (self.device_cookies(headers), self.cookie_names());
        let (instance, mut ctx) = self.split();
        let cookie = instance.auth().device_cookie(login, &shown, &mut ctx.moment());
        names.set_for(names.device, cookie.expose(), DEVICE_LIFETIME)
    }

    /// Values of the form cookie. A form is valid if it matches any of them; a new form uses the first.
    pub(crate) fn form_cookies(&self, headers: &HeaderMap) -> impl Iterator<Item = Presented<FormCookie>> {
        headers::cookies(headers, self.cookie_names().form).filter(|value| value.len() >= 32).map(Presented::new)
    }

    /// The form cookie for a new form, and whether it has to be set.
    pub(crate) fn form_cookie(&mut self, headers: &HeaderMap) -> (Presented<FormCookie>, bool) {
        let known = self.form_cookies(headers).next();
        match known {
            Some(known) => (known, false),
            None => (Presented::new(URL_SAFE_NO_PAD.encode(self.rng.secret())), true),
        }
    }

    pub(crate) fn cookie_names(&self) -> &'static CookieNames {
        if self.instance.info.root.is_https() { &SECURE } else { &PLAIN }
    }
}

pub(crate) struct CookieNames {
    pub(crate) session: &'static str,
    pub(crate) form: &'static str,
    pub(crate) step: &'static str,
    pub(crate) device: &'static str,
    pub(crate) attributes: &'static str,
}

/// Under https, the `__Host-` prefix makes the browser limit the cookies to this host and path (RFC 6265bis §4.1.3.2).
const SECURE: CookieNames = CookieNames {
    session: "__Host-gatehouse",
    form: "__Host-gatehouse-form",
    step: "__Host-gatehouse-step",
    device: "__Host-gatehouse-device",
    attributes: "; Path=/; HttpOnly; SameSite=Lax; Secure",
};

const PLAIN: CookieNames = CookieNames {
    session: "gatehouse",
    form: "gatehouse-form",
    step: "gatehouse-step",
    device: "gatehouse-device",
    attributes: "; Path=/; HttpOnly; SameSite=Lax",
};

impl CookieNames {
    pub(crate) fn set(&self, name: &str, value: &str) -> String {
        format!("{name}={value}{}", self.attributes)
    }

    /// A `Set-Cookie` value with a lifetime beyond the browser's session.
    pub(crate) fn set_for(&self, name: &str, value: &str, lifetime: Duration) -> String {
        format!("{name}={value}; Max-Age={}{}", lifetime.as_secs(), self.attributes)
    }

    pub(crate) fn clear(&self, name: &str) -> String {
        format!("{name}=; Max-Age=0{}", self.attributes)
    }
}

impl UncheckedContext {
    /// Waits until memory is up to date with the database. On failure, returns the context with the fault.
    pub(crate) async fn believed(self) -> Result<RequestContext, Box<(Self, Fault)>> {
        let Self { instance, now, rng, request, languages } = self;
        match BelievedInstance::of(instance, now).await {
            Ok(instance) => Ok(RequestContext { instance, now, rng, request, languages }),
            Err((instance, fault)) => Err(Box::new((Self { instance, now, rng, request, languages }, fault))),
        }
    }

    /// Returns the error response if the host is invalid or names no instance.
    #[expect(clippy::result_large_err, reason = "it is the answer")]
    pub(crate) fn of(state: &AppState, arrival: RequestStart, parts: &Parts) -> Result<Self, Response> {
        let Ok(host) = headers::host(&parts.uri, &parts.headers) else {
            return Err(render::text(StatusCode::BAD_REQUEST, "Send one valid Host header.\n"));
        };
        let Some(instance) = state.server.instance(host) else {
            if state.server.is_refused(host) {
                return Err(render::refused_instance());
            }
            return Err(render::text(StatusCode::NOT_FOUND, "No instance answers to this host name.\n"));
        };
        let user_agent = parts.headers.get(header::USER_AGENT);
        Ok(Self {
            instance: Arc::clone(instance),
            now: arrival.now,
            rng: state.server.platform().rng(),
            request: RequestInfo {
                address: state.proxies.client_address(arrival.peer, &parts.headers),
                user_agent: user_agent.map(|value| headers::printable(value, MAX_USER_AGENT).into()),
                id: arrival.id,
            },
            languages: Languages {
                chosen: None,
                asked: parts.uri.query().and_then(ui_locales),
                accepted: parts.headers.get_all(header::ACCEPT_LANGUAGE).iter().cloned().collect(),
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

/// A request for a public resource, answered whatever the state of memory and database.
pub(crate) struct PublicContext(pub(crate) UncheckedContext);

/// The operating system's randomness.
pub struct SystemRng;

impl Rng for SystemRng {
    fn fill(&mut self, bytes: &mut [u8]) {
        aws_lc_rs::rand::fill(bytes).expect("the operating system has randomness");
    }
}
