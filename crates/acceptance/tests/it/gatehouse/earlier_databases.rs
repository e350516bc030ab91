//! This version opens databases written by earlier versions, and their contents keep their meaning.

use std::path::{Path, PathBuf};
use std::time::Duration;

use acceptance::{App, Browser, Fixture, TestDatabase, TestDevice, TestServer, TokenAnswer, app_code, jwt};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use image::ImageFormat;
use model::Timestamp;
use serde_json::{Value, json};

use super::legacy;
use super::links::{ask_for_reset, choose, invite, letter, link_in};
use super::profile::{csrf_of, email, picture, tokens};
use super::reference_tokens::issue;
use super::two_step::{STEP, add_passkey, enter_code, set_up_app, touch};
use crate::{FIRST, PORTAL, SERVICE};

const HERE: &str = "http://localhost:8080";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

/// The databases of earlier versions, oldest first.
fn fixtures() -> Vec<Fixture> {
    let files = std::fs::read_dir(folder()).expect("the folder is there");
    let texts = files.map(|file| std::fs::read_to_string(file.expect("it can be read").path()).expect("it is text"));
    let mut fixtures: Vec<Fixture> = texts.map(|text| Fixture::parse(&text)).collect();
    fixtures.sort_by_key(|fixture| fixture.version);
    assert!(!fixtures.is_empty(), "the databases of released versions are kept");
    fixtures
}

/// Keeps this version's database as a fixture when a version is released: `GATEHOUSE_KEEP_FIXTURE` names the folder.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::disallowed_methods, reason = "who releases a version says so by the environment")]
async fn a_database_of_this_version_can_be_kept() {
    let server = TestServer::open().await;
    let mut held = json!({});
    for part in [
        of_applications(&server).await,
        of_people(&server).await,
        of_second_factors(&server).await,
        of_the_register(&server).await,
    ] {
        held.as_object_mut().expect("a structure").extend(part.as_object().expect("a structure").clone());
    }
    server.advance(Duration::from_mins(2));
    server.seal().await;
    held["now"] = json!(server.now().0);
    let place = server.closed_before_disabling("my.trusted.app/reader").await;
    let fixture = Fixture::of(place.file().expect("a file"), held);
    let text = fixture.text();
    assert!(text.len() < 1_000_000, "{} bytes are many for a repository", text.len());
    assert_eq!(Fixture::parse(&text).text(), text, "what is kept reads back");
    if std::env::var_os("GATEHOUSE_KEEP_FIXTURE").is_some() {
        std::fs::write(folder().join(format!("V{}.jsonl", fixture.version)), text).expect("the folder is there");
    }
}

/// Tokens and a session of a user and of a service; some are revoked.
async fn of_applications(server: &TestServer) -> Value {
    let (app, mut alice) = (server.app(FIRST), server.browser("alice"));
    let tokens = app.sign_in(&mut alice, "openid profile email read update offline_access").await;
    assert_eq!(app.client.call_api(&tokens.access).await.status, 200);
    let refreshed = TokenAnswer::read(&app.refresh(tokens.refresh()).await);
    let portal = server.app(PORTAL);
    let ended = portal.sign_in(&mut alice, "read offline_access").await;
    assert_eq!(revoke(&portal, ended.refresh()).await, 200);
    let code = server.app(FIRST).code(&mut alice, "read").await;
    let service = TokenAnswer::read(&server.app(SERVICE).service_token("read").await);
    let revoked = TokenAnswer::read(&server.app(SERVICE).service_token("read").await);
    assert_eq!(revoke(&server.app(SERVICE), &revoked.access).await, 200);
    let (_, service_key) = issue(server, (SERVICE, None), ("read", None)).await.expect("issued");
    let erp = legacy::alices_session(&server.client()).await;
    assert_eq!(legacy::call(&server.client(), &legacy::alice()).await.status, 200);
    json!({
        "access": refreshed.access, "refresh": refreshed.refresh(), "ended": ended.access, "code": code,
        "service": service.access, "revoked": revoked.access, "service_key": service_key, "erp": erp,
        "cookies": alice.jar,
    })
}

/// RFC 7009.
async fn revoke(app: &App, token: &str) -> u16 {
    let secret = app.secret.as_deref().expect("a Confidential application");
    let fields = [("client_id", app.uri.as_str()), ("client_secret", secret), ("token", token)];
    app.client.post("/id/connect/revocation", &fields).await.status.as_u16()
}

/// Alice's credentials, and open one-time links.
async fn of_people(server: &TestServer) -> Value {
    let mut letters = server.server.open_outbox();
    let mut alice = server.browser("alice");
    alice.sign_in().await;
    let personal = tokens::value(&tokens::make(&mut alice, "nightly export", &["read"], "30").await);
    let csrf = csrf_of(&mut alice).await;
    let picture = picture::file(ImageFormat::Png);
    assert_eq!(picture::send(&alice, &csrf, &[("picture", &picture)]).await.status, 303);
    email::ask(&mut alice, "alice@home.example").await;
    let mut reset = None;
    let mut links = Vec::new();
    for _ in 0..3 {
        let letter = letter(&mut letters).await;
        match letter.about {
            "email-confirmation" | "email-changing" => links.push(link_in(&letter)),
            _ => reset = Some(letter.about),
        }
    }
    assert!(reset.is_some(), "somebody is told of a new token");
    ask_for_reset(&mut server.browser("admin"), "admin").await;
    let reset = link_in(&letter(&mut letters).await);
    json!({ "personal": personal, "email": links, "reset": reset })
}

/// Bob signs in by an authenticator app, a passkey, or a recovery code.
async fn of_second_factors(server: &TestServer) -> Value {
    let (mut bob, mut device) = (server.browser("bob"), TestDevice::new(HERE));
    let app = set_up_app(server, &mut bob).await;
    add_passkey(&mut bob, &mut device, "Laptop").await;
    json!({
        "bobs_app": app.key, "bobs_codes": app.recovery_codes,
        "bobs_device": {
            "private": STANDARD.encode(&device.private), "credential": STANDARD.encode(device.credential),
            "handle": device.user_handle,
        },
    })
}

/// Changed records, and an erased user.
async fn of_the_register(server: &TestServer) -> Value {
    legacy::set(server, "seats", "8").await;
    invite(server, "erin", Some("erin@example.com")).await;
    invite(server, "frank", None).await;
    let mut rng = server.rng();
    let mut moment = server.moment(&mut rng);
    let operator = server.operator().await;
    operator.erase_user("frank", &mut moment).await.expect("no fault").expect("erased");
    let further = operator.add_secret(FIRST, ("of the second server", None), &mut moment).await;
    let further = further.expect("no fault").expect("added").expose().to_owned();
    drop(operator);
    server.catch_up().await;
    json!({ "further_secret": further })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_earlier_database_opens_on_sqlite() {
    for fixture in fixtures() {
        Box::pin(open(TestDatabase::sqlite_of(&fixture).await, &fixture.held, 401)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_earlier_database_opens_on_postgres() {
    for fixture in fixtures() {
        if let Some(place) = TestDatabase::postgres_of(&fixture).await {
            Box::pin(open(place, &fixture.held, 200)).await;
        }
    }
}

fn text<'a>(held: &'a Value, name: &str) -> &'a str {
    held[name].as_str().unwrap_or_else(|| panic!("it holds {name}"))
}

/// `erp` is the status for the live ErpLogin session: on SQLite a start ends it.
async fn open(place: TestDatabase, held: &Value, erp: u16) {
    let now = Timestamp(held["now"].as_i64().expect("a time"));
    let server = TestServer::resumed(place, now).await;
    what_applications_held_works(&server, held).await;
    assert_eq!(legacy::call(&server.client(), text(held, "erp")).await.status, erp);
    people_sign_in(&server, held).await;
    links_are_good(&server, held).await;
    lists_list(&server).await;
    // A server seals and signs everything before it ends.
    let server = server.stopped().await;
    let verdict = server.verify_audit().await;
    assert!(verdict.is_whole() && !verdict.waiting, "{:?}", verdict.findings);
    assert!(verdict.newest > 0 && verdict.signed == verdict.newest, "{} of {}", verdict.signed, verdict.newest);
    assert_eq!(i64::try_from(verdict.seals), Ok(verdict.newest), "every seal from the first on");
    let server = server.started().await;
    assert_eq!(server.client().call_api(text(held, "service")).await.status, 200);
    let trail = server.audit().await;
    let count = |kind: &str| trail.iter().filter(|row| row.kind == kind).count();
    for (kind, before) in [("sign-in", 4), ("token-issued", 3), ("admin-change", 20), ("two-step-change", 2)] {
        assert!(count(kind) >= before, "{kind}: {}", count(kind));
    }
}

async fn what_applications_held_works(server: &TestServer, held: &Value) {
    let (app, client) = (server.app(FIRST), server.client());
    for name in ["access", "service", "personal", "service_key"] {
        assert_eq!(client.call_api(text(held, name)).await.status, 200, "{name}");
    }
    for name in ["ended", "revoked"] {
        assert_eq!(client.call_api(text(held, name)).await.status, 401, "{name}");
    }
    let name = client.user_info(text(held, "access")).await.json();
    assert_eq!(name["sub"], "alice");
    let refreshed = TokenAnswer::read(&app.refresh(text(held, "refresh")).await);
    assert_eq!(jwt::claims(&refreshed.access)["sub"], "alice");
    let further = app.with_secret(Some(text(held, "further_secret")));
    TokenAnswer::read(&further.refresh(refreshed.refresh()).await);
    assert_eq!(app.redeem(text(held, "code")).await.refusal().1, "invalid_grant", "two minutes old");
    assert_eq!(legacy::call(&client, &legacy::alice()).await.status, 200);
}

async fn people_sign_in(server: &TestServer, held: &Value) {
    let mut known = server.browser("alice");
    known.jar = serde_json::from_value(held["cookies"].clone()).expect("cookies");
    assert_eq!(known.open("/id/account").await.page(), "account", "a sign-in goes on");
    let again = server.app(FIRST).asks("openid profile email read update offline_access");
    let page = known.open(&again.path()).await;
    let answer = if page.page() == "sign-in" { known.go_on(&page).await } else { page };
    assert!(answer.is_callback(), "the consent is remembered: {}", answer.text());
    assert_eq!(known.open("/profile/me/picture").await.header("content-type"), "image/png");

    for login in ["admin", "alice", "carol"] {
        assert_eq!(server.browser(login).sign_in().await.page(), "account", "{login}");
    }
    assert_eq!(server.browser("dave").sign_in().await.page(), "sign-in", "he is switched off");
    assert_eq!(server.browser("frank").sign_in().await.page(), "sign-in", "he was erased");

    server.advance(STEP);
    let mut bob = server.browser("bob");
    let page = bob.sign_in().await;
    assert_eq!(enter_code(&mut bob, &page, &app_code(text(held, "bobs_app"), server.now())).await.page(), "account");
    let mut bob = server.browser("bob");
    bob.sign_in().await;
    let page = bob.open("/id/account/recovery-code").await;
    let code = held["bobs_codes"][3].as_str().expect("a code");
    let answer = bob.submit(&page, "recovery_code", &[("recovery_code", code)]).await;
    assert_eq!(answer.page(), "account", "{:?}", answer.words("#error"));
    assert_eq!(by_device(server, &held["bobs_device"]).await, "account");
}

async fn by_device(server: &TestServer, kept: &Value) -> String {
    let bytes = |name| STANDARD.decode(text(kept, name)).expect("base64");
    let credential = bytes("credential").try_into().expect("16 bytes");
    let mut device = TestDevice::kept(HERE, &bytes("private"), credential, text(kept, "handle"));
    let mut browser = server.browser("nobody typed");
    let page = browser.open("/id/account/login").await;
    touch(&mut browser, &page, &mut device).await.page()
}

async fn links_are_good(server: &TestServer, held: &Value) {
    let mut admin: Browser = server.browser("admin");
    let password = "a password of the next version";
    choose(&mut admin, text(held, "reset"), password).await;
    admin.password = password.to_owned();
    assert_eq!(admin.sign_in().await.page(), "account");
    for link in held["email"].as_array().expect("two links") {
        let mut reader = server.browser("alice");
        let page = reader.open(link.as_str().expect("a link")).await;
        assert_eq!(page.page(), "confirm-email", "{}", page.text());
        reader.submit(&page, "answer", &[("answer", "yes")]).await;
    }
    let users = server.users().await;
    let alice = users.iter().find(|user| user.login.as_str() == "alice").and_then(|user| user.email.clone());
    assert_eq!(alice.expect("an address").address, "alice@home.example");
}

/// The lists of administrators and users are complete.
async fn lists_list(server: &TestServer) {
    let mut admin = server.browser("admin");
    "a password of the next version".clone_into(&mut admin.password);
    admin.sign_in().await;
    let pages = [
        ("/manage/apps", FIRST),
        ("/manage/users", "erin"),
        ("/manage/roles", "Sales"),
        ("/manage/tokens", "nightly export"),
        ("/manage/sessions", "alice"),
        ("/manage/keys", "RS256"),
        ("/manage/settings", "seats"),
        ("/manage/legacy", "legacy.client"),
        ("/manage/audit", "sign-in"),
    ];
    for (path, expected) in pages {
        let page = admin.open(path).await;
        assert!(page.status == 200 && page.text().contains(expected), "{path}: {} {}", page.status, page.text());
    }
    let mut alice = server.browser("alice");
    alice.sign_in().await;
    for (path, expected) in
        [("/profile/tokens", "nightly export"), ("/profile/apps", "First Trusted App"), ("/profile/sessions", "")]
    {
        let page = alice.open(path).await;
        assert!(page.status == 200 && page.text().contains(expected), "{path}: {}", page.text());
    }
}
