//! The requests of a run in order, and their answers.

use std::net::SocketAddr;
use std::sync::Arc;

use aws_lc_rs::constant_time;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use form_urlencoded::Serializer;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use oauth::params::Params;
use oauth::pkce::Verifier;
use oauth::secret::{ClientSecret, Presented};

use crate::HttpService;
use crate::admin_ui::applications::trial::TrialRequest;
use crate::admin_ui::applications::trial::exchange::{RequestSender, TrialAnswer};
use crate::admin_ui::applications::trial::shown::{as_answered, as_asked, claims};
use crate::admin_ui::at;
use crate::pages::admin::{AdminSection, TrialStep};
use crate::request::context::AppState;
use crate::request::start::RequestStart;
use crate::server::Responder as _;

const LARGEST_ANSWER: usize = 1024 * 1024;
const API: &str = "/api/domain/odata/";

/// The client credentials that the application uses.
pub(super) struct TrialClient {
    pub(super) id: String,
    pub(super) secret: Option<Presented<ClientSecret>>,
}

impl TrialClient {
    /// RFC 6749 §2.3.1: credentials in the body.
    fn with<'a>(&'a self, form: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
        let own = [("client_id", self.id.as_str())];
        let secret = self.secret.as_ref().map(|secret| ("client_secret", secret.expose()));
        form.iter().copied().chain(own).chain(secret).collect()
    }
}

/// The flow has ended early. The last step has the reason.
pub(super) struct TrialEnded;

pub(super) struct Trial {
    doors: HttpService,
    peer: SocketAddr,
    /// Headers of the administrator's connection, sent with every request.
    connection: HeaderMap,
    /// The browser's cookies.
    cookies: Vec<HeaderValue>,
    pub(super) steps: Vec<TrialStep>,
}

const OF_THE_CONNECTION: [HeaderName; 3] =
    [header::USER_AGENT, header::ACCEPT_LANGUAGE, HeaderName::from_static("x-forwarded-for")];

impl Trial {
    pub(super) fn new(state: Arc<AppState>, parts: &Parts) -> Self {
        let arrival = parts.extensions.get::<RequestStart>().expect("every request has arrived");
        let mut connection = HeaderMap::new();
        for name in OF_THE_CONNECTION {
            for value in parts.headers.get_all(&name) {
                connection.append(&name, value.clone());
            }
        }
        // In HTTP/2 the host is in the request's authority.
        let authority = parts.uri.authority().and_then(|host| HeaderValue::try_from(host.as_str()).ok());
        if let Some(host) = authority.or_else(|| parts.headers.get(header::HOST).cloned()) {
            connection.insert(header::HOST, host);
        }
        let cookies = parts.headers.get_all(header::COOKIE).iter().cloned().collect();
        Self {
            doors: HttpService::new(state),
            peer: SocketAddr::new(arrival.peer, 0),
            connection,
            cookies,
            steps: Vec::new(),
        }
    }

    /// Sends a request and records it with its answer as a step.
    async fn ask(
        &mut self,
        title: &'static str,
        by: RequestSender<'_>,
        method: Method,
        address: &str,
        form: Option<&[(&str, &str)]>,
    ) -> Result<TrialAnswer, TrialEnded> {
        let sent = form.map(|form| Serializer::new(String::new()).extend_pairs(form).finish());
        let mut request = Request::new(sent.map_or_else(Body::empty, Body::from));
        let headers = request.headers_mut();
        *headers = self.connection.clone();
        if form.is_some() {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        }
        match by {
            RequestSender::Browser => self.cookies.iter().for_each(|cookie| {
                headers.append(header::COOKIE, cookie.clone());
            }),
            RequestSender::Application { token } => {
                let bearer = token.and_then(|token| HeaderValue::try_from(format!("Bearer {token}")).ok());
                headers.extend(bearer.map(|bearer| (header::AUTHORIZATION, bearer)));
            }
        }
        let request_text = as_asked(&method, address, by, form);
        *request.method_mut() = method;
        let read = match address.parse() {
            Ok(uri) => {
                *request.uri_mut() = uri;
                let (parts, body) = self.doors.answer(request, self.peer).await.into_parts();
                to_bytes(body, LARGEST_ANSWER).await.ok().map(|body| (parts, body))
            }
            Err(_) => None,
        };
        let Some((parts, body)) = read else {
            let answer = "The address is too long, or the answer too large.".to_owned();
            self.steps.push(TrialStep {
                title,
                went_well: false,
                request: request_text,
                answer,
                note: String::new(),
                why: None,
            });
            return Err(TrialEnded);
        };
        self.cookies.extend(parts.headers.get_all(header::SET_COOKIE).iter().filter_map(crumb));
        let heard = TrialAnswer { status: parts.status, headers: parts.headers, body };
        let went_well = heard.status.as_u16() < 400;
        let why = heard.reference().filter(|_| !went_well);
        let why = why.map(|reference| at(AdminSection::Refusals.path(), &[("reference", reference)]));
        let answer = as_answered(&heard);
        self.steps.push(TrialStep { title, went_well, request: request_text, answer, note: String::new(), why });
        Ok(heard)
    }

    /// Like [`Self::ask`], but any answer except success ends the flow.
    async fn must(
        &mut self,
        title: &'static str,
        by: RequestSender<'_>,
        method: Method,
        address: &str,
        form: Option<&[(&str, &str)]>,
    ) -> Result<TrialAnswer, TrialEnded> {
        let heard = self.ask(title, by, method, address, form).await?;
        if heard.status.as_u16() < 400 { Ok(heard) } else { Err(TrialEnded) }
    }

    fn note(&mut self, went_well: bool, note: impl Into<String>) {
        if let Some(step) = self.steps.last_mut() {
            step.went_well &= went_well;
            step.note = note.into();
        }
    }

    /// The authorization code flow with PKCE, as an OpenID Connect client runs it.
    pub(super) async fn code(
        &mut self,
        client: &TrialClient,
        wanted: &TrialRequest,
        [state, nonce, verifier]: [&str; 3],
    ) -> Result<(), TrialEnded> {
        let app = RequestSender::Application { token: None };
        self.must(
            "The application reads the discovery document",
            app,
            Method::GET,
            "/id/.well-known/openid-configuration",
            None,
        )
        .await?;
        let challenge = Verifier::parse(verifier).map_err(|_| TrialEnded)?.challenge();
        let query = [
            ("client_id", client.id.as_str()),
            ("response_type", "code"),
            ("redirect_uri", &wanted.redirect_uri),
            ("scope", &wanted.scope),
            ("state", state),
            ("nonce", nonce),
            ("code_challenge", challenge.as_str()),
            ("code_challenge_method", "S256"),
        ];
        let authorize = at("/id/connect/authorize", &query);
        let sent = self
            .must("The browser opens the authorization endpoint", RequestSender::Browser, Method::GET, &authorize, None)
            .await?;
        let sent = self.confirmed(sent).await?;
        let sent = self.consented(sent, wanted.agrees).await?;
        let code = self.code_of(&sent, wanted, state)?;
        let form = client.with(&[
            ("grant_type", "authorization_code"),
            ("code", &code),
            ("redirect_uri", &wanted.redirect_uri),
            ("code_verifier", verifier),
        ]);
        let tokens = self
            .must("The application exchanges the code", app, Method::POST, "/id/connect/token", Some(&form))
            .await?;
        let access = tokens.member("access_token").ok_or(TrialEnded)?;
        if let Some(id_token) = tokens.member("id_token") {
            let came_back = claims(&id_token)["nonce"].as_str() == Some(nonce);
            self.note(
                came_back,
                if came_back { "The nonce came back in the ID token." } else { "The nonce does not match." },
            );
            let by = RequestSender::Application { token: Some(&access) };
            // Whether refused or not, the tokens exist and are revoked below.
            self.ask("The application requests the user info", by, Method::GET, "/id/connect/userinfo", None).await?;
        }
        let refresh = tokens.member("refresh_token");
        self.used(client, wanted, &access, refresh).await
    }

    /// Submits *Continue as*, if that page appears.
    async fn confirmed(&mut self, sent: TrialAnswer) -> Result<TrialAnswer, TrialEnded> {
        let page = sent.location().to_owned();
        if !page.starts_with("/id/account/login") {
            return Ok(sent);
        }
        let title = "The user is asked to continue";
        let shown = self.must(title, RequestSender::Browser, Method::GET, &page, None).await?;
        let html = String::from_utf8_lossy(&shown.body);
        if !html.contains("name=\"continue\"") {
            self.note(false, "You have to sign in again first.");
            return Err(TrialEnded);
        }
        let form = [("csrf", form_token(&html).ok_or(TrialEnded)?), ("continue", "1")];
        self.must("The user continues", RequestSender::Browser, Method::POST, &page, Some(&form)).await
    }

    /// Submits the consent page, if it appears.
    async fn consented(&mut self, sent: TrialAnswer, agrees: bool) -> Result<TrialAnswer, TrialEnded> {
        let page = sent.location().to_owned();
        if !page.starts_with("/id/account/consent") {
            return Ok(sent);
        }
        let shown =
            self.must("The user is asked for consent", RequestSender::Browser, Method::GET, &page, None).await?;
        if !agrees {
            self.note(false, "Select automatic consent below to continue the flow.");
            return Err(TrialEnded);
        }
        let html = String::from_utf8_lossy(&shown.body);
        let form = [("csrf", form_token(&html).ok_or(TrialEnded)?), ("decision", "allow")];
        self.must("The user consents", RequestSender::Browser, Method::POST, &page, Some(&form)).await
    }

    /// Reads the answer (RFC 6749 §4.1.2) with the checks of a client (§10.12 and RFC 9207).
    fn code_of(&mut self, sent: &TrialAnswer, wanted: &TrialRequest, state: &str) -> Result<String, TrialEnded> {
        let (target, query) = sent.location().split_once('?').unwrap_or_default();
        let registered = wanted.redirect_uri.split('?').next().unwrap_or_default();
        let answer = Params::parse(query.as_bytes()).map_err(|_| TrialEnded)?;
        if let Some(error) = answer.get("error") {
            let said = answer.get("error_description").unwrap_or_default();
            self.note(false, format!("The application receives the error {error}: {said}"));
            if let (Some(step), Some(reference)) = (self.steps.last_mut(), sent.reference()) {
                step.why = Some(at(AdminSection::Refusals.path(), &[("reference", reference)]));
            }
            return Err(TrialEnded);
        }
        let came_back = answer.get("state").unwrap_or_default();
        let is_same = constant_time::verify_slices_are_equal(came_back.as_bytes(), state.as_bytes()).is_ok();
        let Some(code) = answer.get("code").filter(|_| is_same && target == registered) else {
            self.note(false, "No code was returned to the redirect URI.");
            return Err(TrialEnded);
        };
        self.note(true, format!("The browser is redirected to {target} with the same state."));
        Ok(code.to_owned())
    }

    /// The client credentials flow (RFC 6749 §4.4).
    pub(super) async fn service(&mut self, client: &TrialClient, wanted: &TrialRequest) -> Result<(), TrialEnded> {
        let app = RequestSender::Application { token: None };
        let form = client.with(&[("grant_type", "client_credentials"), ("scope", &wanted.scope)]);
        let tokens =
            self.must("The application requests a token", app, Method::POST, "/id/connect/token", Some(&form)).await?;
        let access = tokens.member("access_token").ok_or(TrialEnded)?;
        self.used(client, wanted, &access, None).await
    }

    /// Uses the tokens, then revokes them, whether or not a step in between failed.
    async fn used(
        &mut self,
        client: &TrialClient,
        wanted: &TrialRequest,
        access: &str,
        refresh: Option<String>,
    ) -> Result<(), TrialEnded> {
        let app = RequestSender::Application { token: None };
        let by = RequestSender::Application { token: Some(access) };
        if wanted.calls {
            let called = self.ask("The application calls the API", by, Method::GET, API, None).await?;
            if called.status == StatusCode::OK {
                self.note(true, "An API session was opened. It uses one seat, regardless of the number of calls.");
            }
        }
        let mut last = refresh.unwrap_or_default();
        if !last.is_empty() {
            let form = client.with(&[("grant_type", "refresh_token"), ("refresh_token", &last)]);
            let again = self
                .ask("The application refreshes its token", app, Method::POST, "/id/connect/token", Some(&form))
                .await?;
            last = again.member("refresh_token").unwrap_or(last);
        }
        let newest = if last.is_empty() { access } else { &last };
        let form = client.with(&[("token", newest)]);
        self.ask("The tokens are revoked", app, Method::POST, "/id/connect/revocation", Some(&form)).await?;
        if wanted.calls {
            let dead = self.ask("The token no longer works", by, Method::GET, API, None).await?;
            let is_dead = dead.status == StatusCode::UNAUTHORIZED;
            if let Some(step) = self.steps.last_mut() {
                step.went_well = is_dead;
                step.why = None;
            }
            self.note(
                is_dead,
                if is_dead { "Refused, as expected. The seat is free." } else { "The call should have been refused." },
            );
        }
        Ok(())
    }
}

/// The CSRF token of the first form on a page.
fn form_token(html: &str) -> Option<&str> {
    let (_, rest) = html.split_once("name=\"csrf\" value=\"")?;
    rest.split_once('"').map(|(token, _)| token)
}

/// The `name=value` part of a `Set-Cookie` line.
fn crumb(line: &HeaderValue) -> Option<HeaderValue> {
    let bytes = line.as_bytes();
    let end = bytes.iter().position(|byte| *byte == b';').unwrap_or(bytes.len());
    HeaderValue::from_bytes(&bytes[..end]).ok()
}
