//! Nodes on one database, with a clock that the test moves.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use acceptance::{Created, change_setting, server};
use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use demo::{DemoInstance, password_of};
use flows::admin::ElevatedAdminService;
use flows::{DefaultInstance, InstanceLocation, MasterKey, Passwords, Platform, Server};
use gatehouse::demo::{DemoPasswords, seed};
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::BodyExt as _;
use model::{Moment, Rng, RootUrl, Timestamp};
use serde_json::Value;
use store::{Database, DatabaseUrl, Store};
use tempfile::TempDir;
use web::server::{Responder as _, TrustedProxies};
use web::{AppState, HttpService, SystemRng};

const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const AUTHORIZE: &str = "client_id=portal.example.com&redirect_uri=http%3A%2F%2Flocalhost%3A3000%2Fportal-callback\
     &response_type=code&scope=openid%20read&code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM\
     &code_challenge_method=S256";

/// Time limit for an expected effect. Only a failing test waits this long.
const PATIENCE: Duration = Duration::from_secs(10);

struct Clock(AtomicI64);

impl Platform for Clock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }

    fn rng(&self) -> Box<dyn Rng> {
        Box::new(SystemRng)
    }
}

/// A database that is removed on drop.
enum Place {
    File(TempDir),
    Server(Created),
}

impl Place {
    fn url(&self) -> String {
        match self {
            Self::File(directory) => format!("sqlite:{}", directory.path().join("house.db").display()),
            Self::Server(database) => database.url(),
        }
    }
}

pub(crate) struct Town {
    clock: Arc<Clock>,
    place: Place,
    master: MasterKey,
}

pub(crate) struct Node {
    pub(crate) server: Arc<Server>,
    doors: HttpService,
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {} {}", self.status, self.text))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("ASCII"))
    }
}

/// A user at their own browser, with a token of the portal.
pub(crate) struct Person {
    pub(crate) token: String,
    id_token: String,
    cookies: String,
}

impl Town {
    pub(crate) async fn on_sqlite() -> Self {
        Self::found(Place::File(TempDir::new().expect("a directory for a test"))).await
    }

    /// `None` without a PostgreSQL server for tests.
    pub(crate) async fn on_postgres() -> Option<Self> {
        Some(Self::found(Place::Server(Created::new(&server()?, None).await)).await)
    }

    async fn found(place: Place) -> Self {
        let clock = Arc::new(Clock(AtomicI64::new(1_800_000_000_000_000)));
        let master = Self::master();
        let town = Self { clock, place, master: Self::master() };
        let database = town.database().await;
        let mut rng = SystemRng;
        let mut moment = Moment { now: town.now(), rng: &mut rng };
        let passwords = DemoPasswords::hash(&Passwords::new(), &mut moment).await.expect("hashed");
        seed(&database, &master, DemoInstance::TestDb, &passwords, &mut moment).await.expect("seeded");
        database.close().await;
        town
    }

    fn master() -> MasterKey {
        MasterKey::from_base64(&STANDARD.encode([7; 32])).expect("a key")
    }

    pub(crate) async fn database(&self) -> Database {
        let url = DatabaseUrl::parse(&self.place.url()).expect("a URL");
        let database = Database::open(&url).await.expect("it opens");
        database.migrate().await.expect("it migrates");
        database
    }

    pub(crate) async fn node(&self) -> Node {
        let root = RootUrl::parse("http://localhost:1").expect("a root");
        let site = InstanceLocation { name: "testdb".to_owned(), root, hosts: Vec::new() };
        let platform = Arc::clone(&self.clock) as Arc<dyn Platform>;
        let server = Server::open(
            self.database().await,
            Self::master(),
            vec![site],
            Some(DefaultInstance::OfEveryHost("testdb")),
            platform,
        );
        let server = server.await.expect("the server opens");
        let doors = HttpService::new(AppState::new(Arc::clone(&server), TrustedProxies::default()));
        Node { server, doors }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn pass(&self, time: Duration) {
        self.set_clock(self.now().plus(time));
    }

    pub(crate) fn set_clock(&self, now: Timestamp) {
        self.clock.0.store(now.0, Ordering::SeqCst);
    }

    /// Runs a command of the command line, as another process beside the servers.
    pub(crate) async fn operator(&self, what: impl AsyncFnOnce(ElevatedAdminService<'_>, &mut Moment<'_>)) {
        let database = self.database().await;
        let operator = ElevatedAdminService::open(&database, &self.master, "testdb")
            .await
            .expect("no fault")
            .expect("it is there");
        let mut rng = SystemRng;
        what(operator, &mut Moment { now: self.now(), rng: &mut rng }).await;
        database.close().await;
    }

    pub(crate) async fn set(&self, name: &str, value: &str) {
        self.operator(async |operator, moment| {
            change_setting(&operator, name, value, moment).await.expect("no fault").expect("a good setting");
        })
        .await;
    }

    /// The number of live sessions. Also checks that the seats' row has the same count.
    pub(crate) async fn live(&self) -> u64 {
        let database = self.database().await;
        let id = database.instances().await.expect("no fault")[0].id;
        let (live, counted) = Store::new(database.clone(), id).seats_taken().await.expect("no fault");
        database.close().await;
        assert_eq!(live, counted, "every live session has a seat, once");
        live
    }

    /// The number of rows that a query finds.
    pub(crate) async fn rows(&self, sql: &'static str) -> usize {
        let database = self.database().await;
        let id = database.instances().await.expect("no fault")[0].id;
        let rows = Store::new(database.clone(), id).query(sql, vec![]).await.expect("no fault");
        database.close().await;
        rows.len()
    }

    /// The reasons of closed sessions, in order.
    pub(crate) async fn closings(&self) -> Vec<String> {
        let database = self.database().await;
        let id = database.instances().await.expect("no fault")[0].id;
        let trail = Store::new(database.clone(), id).audit_trail().await.expect("no fault");
        database.close().await;
        trail.into_iter().filter(|event| event.kind == "session-closed").map(|event| event.reason).collect()
    }
}

impl Node {
    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.doors.answer(request, ([127, 0, 0, 1], 50_000).into()).await;
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.expect("a body").to_bytes();
        let text = String::from_utf8(bytes.to_vec()).expect("UTF-8");
        Answer { status: parts.status, headers: parts.headers, text }
    }

    async fn form(&self, path: &str, cookies: &str, fields: &[(&str, &str)]) -> Answer {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let request = Request::post(path)
            .header(header::HOST, "localhost")
            .header(header::COOKIE, cookies)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        self.send(request.body(Body::from(body)).expect("a request")).await
    }

    pub(crate) async fn call(&self, token: &str) -> Answer {
        self.call_as(&format!("Bearer {token}")).await
    }

    pub(crate) async fn call_as(&self, authorization: &str) -> Answer {
        let request = Request::get("/api/domain/odata/Crm_Customers?$top=1")
            .header(header::HOST, "localhost")
            .header(header::AUTHORIZATION, authorization);
        self.send(request.body(Body::empty()).expect("a request")).await
    }

    async fn ask_erp_login(&self, login: &str) -> Answer {
        let body = serde_json::json!({ "user": login, "pass": password_of(login), "app": "legacy.client" });
        let request = Request::post("/api/domain/login").header(header::HOST, "localhost");
        self.send(request.body(Body::from(body.to_string())).expect("a request")).await
    }

    pub(crate) async fn erp_login_status(&self, login: &str) -> u16 {
        self.ask_erp_login(login).await.status.as_u16()
    }

    /// ErpLogin; returns the `Authorization` value that the client sends from then on.
    pub(crate) async fn erp_login(&self, login: &str) -> String {
        let answer = self.ask_erp_login(login).await;
        answer.json()["authorization"].as_str().unwrap_or_else(|| panic!("{}", answer.text)).to_owned()
    }

    pub(crate) async fn status(&self, token: &str) -> u16 {
        self.call(token).await.status.as_u16()
    }

    /// A new token, and therefore a new session.
    pub(crate) async fn service(&self, application: &str) -> String {
        let secret = format!("{}-secret", application.rsplit('/').next().expect("a name"));
        let fields =
            [("grant_type", "client_credentials"), ("client_id", application), ("client_secret", secret.as_str())];
        let answer = self.form("/id/connect/token", "", &fields).await;
        answer.json()["access_token"].as_str().unwrap_or_else(|| panic!("{}", answer.text)).to_owned()
    }

    pub(crate) async fn token(&self) -> String {
        self.service("my.trusted.app/service").await
    }

    pub(crate) async fn person(&self, login: &str) -> Person {
        let path = format!("/id/connect/authorize?{AUTHORIZE}");
        let request = Request::get(&path).header(header::HOST, "localhost").body(Body::empty()).expect("a request");
        let sent = self.send(request).await;
        let (path, form_cookie) = (sent.header("location").to_owned(), cookie(&sent));
        let request = Request::get(&path).header(header::HOST, "localhost").header(header::COOKIE, &form_cookie);
        let page = self.send(request.body(Body::empty()).expect("a request")).await;
        let (_, rest) = page.text.split_once("name=\"csrf\" value=\"").expect("a form of our own");
        let csrf = rest.split('"').next().expect("a value");
        let password = password_of(login);
        let fields = [("csrf", csrf), ("login", login), ("password", password.as_str())];
        let signed_in = self.form(&path, &form_cookie, &fields).await;
        let location = url::Url::parse(signed_in.header("location")).unwrap_or_else(|_| panic!("{}", signed_in.text));
        let code = location.query_pairs().find(|(name, _)| name == "code").expect("a code").1.into_owned();
        let fields = [
            ("grant_type", "authorization_code"),
            ("client_id", "portal.example.com"),
            ("client_secret", "portal-secret"),
            ("code", code.as_str()),
            ("redirect_uri", "http://localhost:3000/portal-callback"),
            ("code_verifier", VERIFIER),
        ];
        let tokens = self.form("/id/connect/token", "", &fields).await.json();
        let text = |name: &str| tokens[name].as_str().unwrap_or_else(|| panic!("{tokens}")).to_owned();
        let cookies = format!("{form_cookie}; {}", cookie(&signed_in));
        Person { token: text("access_token"), id_token: text("id_token"), cookies }
    }

    pub(crate) async fn sign_out(&self, person: &Person) {
        let path = format!("/id/connect/endsession?id_token_hint={}", person.id_token);
        let request = Request::get(path).header(header::HOST, "localhost").header(header::COOKIE, &person.cookies);
        let answer = self.send(request.body(Body::empty()).expect("a request")).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    }

    pub(crate) async fn user_info(&self, token: &str) -> u16 {
        let request = Request::get("/id/connect/userinfo")
            .header(header::HOST, "localhost")
            .header(header::AUTHORIZATION, format!("Bearer {token}"));
        self.send(request.body(Body::empty()).expect("a request")).await.status.as_u16()
    }

    /// Calls until the answer has this status. Ticks run meanwhile.
    pub(crate) async fn until(&self, token: &str, status: u16) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let answered = self.status(token).await;
            if answered == status {
                return;
            }
            assert!(tokio::time::Instant::now() < deadline, "still {answered}, not {status}");
            tokio::task::yield_now().await;
        }
    }

    pub(crate) async fn tick(&self) {
        self.server.tick().await.expect("no fault");
    }
}

fn cookie(answer: &Answer) -> String {
    let set = answer.headers.get_all(header::SET_COOKIE).iter();
    let pairs = set.filter_map(|value| value.to_str().ok()?.split(';').next());
    pairs.collect::<Vec<_>>().join("; ")
}
