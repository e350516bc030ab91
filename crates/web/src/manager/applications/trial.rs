//! `/manage/apps/{id}/try`: an application's real flow, one request after another. Each goes through the door of this house
//! that everybody's requests go through, as the administrator's browser and the application would send it.

mod shown;

use std::net::SocketAddr;
use std::sync::Arc;

use aws_lc_rs::constant_time;
use axum::body::{Body, to_bytes};
use axum::extract::{Path, Request, State};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use flows::Fault;
use flows::admin::AdminRefusal;
use form_urlencoded::Serializer;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use model::TrustedApplication;
use model::record::RecordClientType;
use oauth::params::Params;
use oauth::pkce::Verifier;
use oauth::secret::{ClientSecret, Presented};
use serde_json::Value;

use self::shown::{as_answered, as_asked};
use super::{HERE, found};
use crate::Doors;
use crate::layer::Arrival;
use crate::manager::{Answered, AtDesk, Sent, at, is_checked, refused};
use crate::pages::manager::{Content, Field, Form, Input, Link, Part, Said, Section, Step};
use crate::server::Answer as _;
use crate::visit::Gate;

/// For a secret that was made for one run, should the run never end.
const LONGEST_RUN: std::time::Duration = std::time::Duration::from_mins(10);
const LARGEST_ANSWER: usize = 1024 * 1024;
const API: &str = "/api/domain/odata/";

/// What the administrator wants to see done.
struct Wanted {
    signs_in: bool,
    redirect_uri: String,
    scope: String,
    secret: Option<Presented<ClientSecret>>,
    agrees: bool,
    calls: bool,
}

impl Wanted {
    fn usual(application: &TrustedApplication) -> Self {
        let record = application.to_record();
        let signs_in = record.impersonate_as_internal_user_allowed || record.impersonate_as_community_user_allowed;
        let scope = if signs_in { format!("openid profile {}", record.scope) } else { record.scope };
        Self {
            signs_in,
            redirect_uri: record.impersonate_login_url.into_iter().next().unwrap_or_default(),
            scope,
            secret: None,
            agrees: false,
            calls: true,
        }
    }

    fn entered(form: &Params) -> Self {
        let text = |name: &str| form.get(name).unwrap_or_default().trim();
        Self {
            signs_in: text("flow") == "code",
            redirect_uri: text("redirect_uri").to_owned(),
            scope: text("scope").to_owned(),
            secret: form.get("secret").map(str::trim).filter(|secret| !secret.is_empty()).map(Presented::new),
            agrees: is_checked(form, "agrees"),
            calls: is_checked(form, "calls"),
        }
    }
}

pub(in crate::manager) async fn show(mut at_desk: AtDesk, Path(text): Path<String>) -> Response {
    let answer = match found(&mut at_desk, &text).await {
        Ok(Some(application)) => {
            Ok(page(&at_desk, &application, &Wanted::usual(&application), (vec![], Said::Nothing)))
        }
        Ok(None) => Ok(at_desk.gone()),
        Err(fault) => Err(fault),
    };
    at_desk.answer(answer)
}

fn page(
    at_desk: &AtDesk,
    application: &TrustedApplication,
    wanted: &Wanted,
    (steps, said): (Vec<Step>, Said),
) -> Response {
    let here = format!("{}/{}", HERE.path(), application.id);
    let record = application.to_record();
    let flows =
        [("code", "Sign a person in: you, in this browser"), ("service", "Call on its own, as its System User")];
    let flows = flows.map(|(value, text)| (value.to_owned(), text.to_owned()));
    let uris = record.impersonate_login_url.iter().map(|uri| (uri.clone(), uri.clone()));
    let mut fields = vec![
        Field::choice("flow", "What it does", flows, if wanted.signs_in { "code" } else { "service" }),
        Field::choice("redirect_uri", "Where people are sent back to", uris, &wanted.redirect_uri),
        Field::line("scope", "Scope", "Names, with blanks between them.", &wanted.scope),
    ];
    if record.client_type == RecordClientType::Confidential {
        let hint = "As the application has it. Left empty, one is made for this run and taken away after it.";
        fields.push(Field { input: Input::Secret, ..Field::line("secret", "Client secret", hint, "") });
    }
    fields.extend([
        Field::check(
            "agrees",
            "Agree where a person is asked for consent",
            "Remembered as your own consent, until you withdraw it on your profile",
            wanted.agrees,
        ),
        Field::check("calls", "Call the API", "Takes a seat until the run is over", wanted.calls),
    ]);
    let form = Form {
        to: format!("{here}/try"),
        is_question: false,
        hidden: vec![],
        fields,
        button: "Run it",
        is_grave: false,
        is_checked: false,
    };
    let mut parts = vec![Part::Form(form)];
    if !steps.is_empty() {
        parts.insert(0, Part::Heading("Try it again"));
        let well = steps.iter().all(|step| step.went_well);
        let outcome = if well { "Everything went well." } else { "It ends at the step that went wrong." };
        parts.splice(0..0, steps.into_iter().map(Part::Step));
        parts.insert(0, Part::Text(outcome.to_owned()));
    }
    let content = Content {
        name: "manage-app-try",
        title: format!("Try {}", application.name),
        lead: "Its flow as it really is, with each request and its answer. What is given out is revoked at the end."
            .to_owned(),
        is_live: false,
        links: vec![Link::new(here, "Back to the application")],
        parts,
    };
    at_desk.page(HERE, content, said)
}

pub(in crate::manager) async fn run(
    mut at_desk: AtDesk,
    State(gate): State<Arc<Gate>>,
    Path(text): Path<String>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let sent = match at_desk.begin(&parts.headers, body).await {
        Ok(sent) => sent,
        Err(page) => return page,
    };
    let answer = ran(&mut at_desk, Trial::new(gate, &parts), &text, &sent).await;
    at_desk.end(sent.since, answer).await
}

async fn ran(at_desk: &mut AtDesk, mut trial: Trial, text: &str, sent: &Sent) -> Answered {
    let Some(application) = found(at_desk, text).await? else { return Ok(at_desk.gone()) };
    let mut wanted = Wanted::entered(&sent.form);
    let is_confidential = application.to_record().client_type == RecordClientType::Confidential;
    let made = if is_confidential && wanted.secret.is_none() {
        match lend_secret(at_desk, &application, sent.since).await? {
            Ok((id, secret)) => {
                wanted.secret = Some(secret);
                Some(id)
            }
            Err(refusal) => return Ok(page(at_desk, &application, &wanted, (vec![], refused(refusal)))),
        }
    } else {
        None
    };
    let client = Client { id: application.uri.as_str().to_owned(), secret: wanted.secret.take() };
    let [state, nonce, verifier] = [(); 3].map(|()| URL_SAFE_NO_PAD.encode(at_desk.person.visit.dice.secret()));
    let _ended = if wanted.signs_in {
        trial.code(&client, &wanted, [&state, &nonce, &verifier]).await
    } else {
        trial.service(&client, &wanted).await
    };
    if wanted.signs_in && wanted.calls {
        let who = (at_desk.person.browser.user.id, application.id);
        let instance = Arc::clone(at_desk.manager.instance());
        instance.release_sessions(&mut at_desk.person.visit.moment(), who).await?;
    }
    if let Some(id) = made {
        take_secret_back(at_desk, &application, &id).await?;
    }
    Ok(page(at_desk, &application, &wanted, (trial.steps, Said::Nothing)))
}

type Lent = (String, Presented<ClientSecret>);

/// A secret for this run alone; the doors know it when this returns.
async fn lend_secret(
    at_desk: &mut AtDesk,
    application: &TrustedApplication,
    since: i64,
) -> Result<Result<Lent, AdminRefusal>, Fault> {
    let expires = at_desk.now().plus(LONGEST_RUN);
    let (office, mut moment) = at_desk.open();
    let lent = office.add_secret_to(application, ("try it", Some(expires)), &mut moment).await?;
    let instance = Arc::clone(at_desk.manager.instance());
    instance.settle(since, &mut at_desk.person.visit.moment()).await?;
    Ok(lent.map(|(secret, shown)| (secret.id, shown)))
}

/// One that cannot be taken back, because somebody changes the application at this moment, expires.
async fn take_secret_back(at_desk: &mut AtDesk, application: &TrustedApplication, id: &str) -> Result<(), Fault> {
    let (office, mut moment) = at_desk.open();
    if let Ok(application) = office.application_by_id(application.id).await? {
        let _taken = office.remove_secret(&application, id, &mut moment).await?;
    }
    Ok(())
}

/// As whom the application asks.
struct Client {
    id: String,
    secret: Option<Presented<ClientSecret>>,
}

impl Client {
    /// RFC 6749 §2.3.1, in the body.
    fn with<'a>(&'a self, form: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
        let own = [("client_id", self.id.as_str())];
        let secret = self.secret.as_ref().map(|secret| ("client_secret", secret.expose()));
        form.iter().copied().chain(own).chain(secret).collect()
    }
}

/// Who sends a request.
#[derive(Clone, Copy)]
enum By<'a> {
    Browser,
    Application { token: Option<&'a str> },
}

/// What a request came to.
struct Heard {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Heard {
    fn location(&self) -> &str {
        self.headers.get(header::LOCATION).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    fn member(&self, name: &str) -> Option<String> {
        self.json()[name].as_str().map(str::to_owned)
    }

    fn reference(&self) -> Option<&str> {
        self.headers.get("x-request-id").and_then(|value| value.to_str().ok())
    }
}

/// The flow ends here; the last step tells why.
struct Ended;

struct Trial {
    doors: Doors,
    peer: SocketAddr,
    /// What the connection of the administrator says of every request on it.
    connection: HeaderMap,
    /// The browser's.
    cookies: Vec<HeaderValue>,
    steps: Vec<Step>,
}

const OF_THE_CONNECTION: [HeaderName; 3] =
    [header::USER_AGENT, header::ACCEPT_LANGUAGE, HeaderName::from_static("x-forwarded-for")];

impl Trial {
    fn new(gate: Arc<Gate>, parts: &Parts) -> Self {
        let arrival = parts.extensions.get::<Arrival>().expect("every request has arrived");
        let mut connection = HeaderMap::new();
        for name in OF_THE_CONNECTION {
            for value in parts.headers.get_all(&name) {
                connection.append(&name, value.clone());
            }
        }
        // HTTP/2 says it in the address.
        let authority = parts.uri.authority().and_then(|host| HeaderValue::try_from(host.as_str()).ok());
        if let Some(host) = authority.or_else(|| parts.headers.get(header::HOST).cloned()) {
            connection.insert(header::HOST, host);
        }
        let cookies = parts.headers.get_all(header::COOKIE).iter().cloned().collect();
        Self { doors: Doors::new(gate), peer: SocketAddr::new(arrival.peer, 0), connection, cookies, steps: Vec::new() }
    }

    /// Sends a request and notes it and its answer as a step.
    async fn ask(
        &mut self,
        title: &'static str,
        by: By<'_>,
        (method, address): (Method, &str),
        form: Option<&[(&str, &str)]>,
    ) -> Result<Heard, Ended> {
        let sent = form.map(|form| Serializer::new(String::new()).extend_pairs(form).finish());
        let mut request = Request::new(sent.map_or_else(Body::empty, Body::from));
        let headers = request.headers_mut();
        *headers = self.connection.clone();
        if form.is_some() {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        }
        match by {
            By::Browser => self.cookies.iter().for_each(|cookie| {
                headers.append(header::COOKIE, cookie.clone());
            }),
            By::Application { token } => {
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
            self.steps.push(Step {
                title,
                went_well: false,
                request: request_text,
                answer,
                note: String::new(),
                why: None,
            });
            return Err(Ended);
        };
        self.cookies.extend(parts.headers.get_all(header::SET_COOKIE).iter().filter_map(crumb));
        let heard = Heard { status: parts.status, headers: parts.headers, body };
        let went_well = heard.status.as_u16() < 400;
        let why = heard.reference().filter(|_| !went_well);
        let why = why.map(|reference| at(Section::Refusals.path(), &[("reference", reference)]));
        let answer = as_answered(&heard);
        self.steps.push(Step { title, went_well, request: request_text, answer, note: String::new(), why });
        Ok(heard)
    }

    /// As [`Self::ask`], where anything but success is the end.
    async fn must(
        &mut self,
        title: &'static str,
        by: By<'_>,
        target: (Method, &str),
        form: Option<&[(&str, &str)]>,
    ) -> Result<Heard, Ended> {
        let heard = self.ask(title, by, target, form).await?;
        if heard.status.as_u16() < 400 { Ok(heard) } else { Err(Ended) }
    }

    fn note(&mut self, went_well: bool, note: impl Into<String>) {
        if let Some(step) = self.steps.last_mut() {
            step.went_well &= went_well;
            step.note = note.into();
        }
    }

    /// The authorization code flow with PKCE, as an OpenID Connect client goes through it.
    async fn code(
        &mut self,
        client: &Client,
        wanted: &Wanted,
        [state, nonce, verifier]: [&str; 3],
    ) -> Result<(), Ended> {
        let app = By::Application { token: None };
        self.must(
            "The application looks up the addresses",
            app,
            (Method::GET, "/id/.well-known/openid-configuration"),
            None,
        )
        .await?;
        let challenge = Verifier::parse(verifier).map_err(|_| Ended)?.challenge();
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
        let sent = self.must("The browser is sent to sign in", By::Browser, (Method::GET, &authorize), None).await?;
        let sent = self.consented(sent, wanted.agrees).await?;
        let code = self.code_of(&sent, wanted, state)?;
        let form = client.with(&[
            ("grant_type", "authorization_code"),
            ("code", &code),
            ("redirect_uri", &wanted.redirect_uri),
            ("code_verifier", verifier),
        ]);
        let tokens = self
            .must("The application exchanges the code", app, (Method::POST, "/id/connect/token"), Some(&form))
            .await?;
        let access = tokens.member("access_token").ok_or(Ended)?;
        if let Some(id_token) = tokens.member("id_token") {
            let came_back = shown::claims(&id_token)["nonce"].as_str() == Some(nonce);
            self.note(
                came_back,
                if came_back { "The nonce came back in the ID token." } else { "The nonce is another." },
            );
            let by = By::Application { token: Some(&access) };
            self.must("The application asks who it is", by, (Method::GET, "/id/connect/userinfo"), None).await?;
        }
        let refresh = tokens.member("refresh_token");
        self.used(client, wanted, (&access, refresh)).await
    }

    /// Through the consent page, if the person is asked.
    async fn consented(&mut self, sent: Heard, agrees: bool) -> Result<Heard, Ended> {
        let page = sent.location().to_owned();
        if page.starts_with("/id/account/login") {
            self.note(false, "You would have to sign in anew first.");
            return Err(Ended);
        }
        if !page.starts_with("/id/account/consent") {
            return Ok(sent);
        }
        let shown = self.must("The person is asked for consent", By::Browser, (Method::GET, &page), None).await?;
        if !agrees {
            self.note(false, "Agree to it below, and the flow goes on.");
            return Err(Ended);
        }
        let html = String::from_utf8_lossy(&shown.body);
        let value = html.split_once("name=\"csrf\" value=\"").and_then(|(_, rest)| rest.split_once('"'));
        let (csrf, _) = value.ok_or(Ended)?;
        let form = [("csrf", csrf), ("decision", "allow")];
        self.must("The person agrees", By::Browser, (Method::POST, &page), Some(&form)).await
    }

    /// RFC 6749 §4.1.2, with the checks of §10.12 and RFC 9207 that a client makes.
    fn code_of(&mut self, sent: &Heard, wanted: &Wanted, state: &str) -> Result<String, Ended> {
        let (target, query) = sent.location().split_once('?').unwrap_or_default();
        let registered = wanted.redirect_uri.split('?').next().unwrap_or_default();
        let answer = Params::parse(query.as_bytes()).map_err(|_| Ended)?;
        if let Some(error) = answer.get("error") {
            let said = answer.get("error_description").unwrap_or_default();
            self.note(false, format!("The application is told: {error}. {said}"));
            if let (Some(step), Some(reference)) = (self.steps.last_mut(), sent.reference()) {
                step.why = Some(at(Section::Refusals.path(), &[("reference", reference)]));
            }
            return Err(Ended);
        }
        let came_back = answer.get("state").unwrap_or_default();
        let is_same = constant_time::verify_slices_are_equal(came_back.as_bytes(), state.as_bytes()).is_ok();
        let Some(code) = answer.get("code").filter(|_| is_same && target == registered) else {
            self.note(false, "No code came back, or not where it was asked for.");
            return Err(Ended);
        };
        self.note(
            true,
            format!("The browser goes to {target}, where the application takes over. The state came back."),
        );
        Ok(code.to_owned())
    }

    /// RFC 6749 §4.4.
    async fn service(&mut self, client: &Client, wanted: &Wanted) -> Result<(), Ended> {
        let app = By::Application { token: None };
        let form = client.with(&[("grant_type", "client_credentials"), ("scope", &wanted.scope)]);
        let tokens = self
            .must("The application asks for a token", app, (Method::POST, "/id/connect/token"), Some(&form))
            .await?;
        let access = tokens.member("access_token").ok_or(Ended)?;
        self.used(client, wanted, (&access, None)).await
    }

    /// What tokens are for, and that they end: whatever went wrong between, they are revoked.
    async fn used(
        &mut self,
        client: &Client,
        wanted: &Wanted,
        (access, refresh): (&str, Option<String>),
    ) -> Result<(), Ended> {
        let app = By::Application { token: None };
        let by = By::Application { token: Some(access) };
        if wanted.calls {
            let called = self.ask("The application calls the API", by, (Method::GET, API), None).await?;
            if called.status == StatusCode::OK {
                self.note(true, "A session was opened: it takes one seat, however many calls follow.");
            }
        }
        let mut last = refresh.unwrap_or_default();
        if !last.is_empty() {
            let form = client.with(&[("grant_type", "refresh_token"), ("refresh_token", &last)]);
            let again = self
                .ask("The application refreshes its token", app, (Method::POST, "/id/connect/token"), Some(&form))
                .await?;
            last = again.member("refresh_token").unwrap_or(last);
        }
        let newest = if last.is_empty() { access } else { &last };
        let form = client.with(&[("token", newest)]);
        self.ask("The tokens are revoked", app, (Method::POST, "/id/connect/revocation"), Some(&form)).await?;
        if wanted.calls {
            let dead = self.ask("Nothing opens any more", by, (Method::GET, API), None).await?;
            let is_dead = dead.status == StatusCode::UNAUTHORIZED;
            if let Some(step) = self.steps.last_mut() {
                step.went_well = is_dead;
                step.why = None;
            }
            self.note(is_dead, if is_dead { "As it must be. The seat is free." } else { "It should be refused." });
        }
        Ok(())
    }
}

/// `name=value` of a `Set-Cookie` line.
fn crumb(line: &HeaderValue) -> Option<HeaderValue> {
    let bytes = line.as_bytes();
    let end = bytes.iter().position(|byte| *byte == b';').unwrap_or(bytes.len());
    HeaderValue::from_bytes(&bytes[..end]).ok()
}
