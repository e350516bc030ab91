//! Authorization requests while their users sign in (`identity.md` §3.1): pages carry an id, and a stranger's request
//! writes nothing.

use std::time::Duration;

use acceptance::{Browser, HttpAnswer, TestServer, on_both};
use http::Method;
use model::pending_authorization::PendingId;

use super::two_step::{STEP, WithApp, enter_code, set_up_app};
use crate::{FIRST, PORTAL, assert_error_page};

on_both! {
    a_request_survives_a_restart_before_and_after_the_first_step
    a_request_is_over_after_a_day
}

const DAY: Duration = Duration::from_hours(24);

/// The id in a page's address, or in that of its form.
fn id_of(address: &str) -> PendingId {
    PendingId::parse(address.split_once("?request=").unwrap_or_else(|| panic!("no id: {address}")).1)
}

/// The page of the second step, for a request by FIRST.
async fn second_step(server: &TestServer, browser: &mut Browser) -> HttpAnswer {
    let page = browser.open(&server.app(FIRST).asks("openid read").path()).await;
    let page = browser.enter(&page).await;
    assert_eq!(page.page(), "second-step", "{}", page.text());
    page
}

/// Another browser of a user whose app is set up.
async fn with_app(server: &TestServer) -> (Browser, WithApp) {
    let app = set_up_app(server, &mut server.browser("alice")).await;
    server.advance(STEP);
    (server.browser("alice"), app)
}

#[tokio::test]
async fn pages_carry_an_id_and_none_of_the_parameters() {
    let server = TestServer::open().await;
    let (mut alice, app) = with_app(&server).await;
    let asked =
        server.app(FIRST).asks("openid read").with("nonce", "a nonce of the app").with("prompt", "login consent");
    let mut pages = vec![alice.open(&asked.path()).await];
    pages.push(alice.enter(&pages[0]).await);
    pages.push(enter_code(&mut alice, &pages[1], &app.code(&server)).await);
    assert_eq!(pages.iter().map(HttpAnswer::page).collect::<Vec<_>>(), ["sign-in", "second-step", "consent"]);
    for page in &pages {
        for parameter in [
            "redirect_uri",
            ":3000",
            "%3A3000",
            "a nonce",
            "nonce",
            "state of the app",
            "code_challenge",
            "login+consent",
        ] {
            assert!(!page.text().contains(parameter), "{}: {parameter}", page.page());
        }
        for action in page.attributes("form", "action").iter().filter(|action| !action.contains("known-browser")) {
            id_of(action);
        }
    }
    let ids: Vec<_> = pages.iter().map(|page| id_of(&page.form("csrf").action)).collect();
    assert!(
        matches!(&ids[..], [PendingId::Sealed(_), PendingId::Stored(a), PendingId::Stored(b)] if a == b),
        "{ids:?}"
    );
    let callback = alice.allow(&pages[2]).await.callback();
    assert_eq!((callback["state"].as_str(), callback.contains_key("code")), ("state of the app", true));
}

#[tokio::test]
async fn a_strangers_request_writes_nothing() {
    let server = TestServer::open().await;
    let before = server.store().await.newest_change().await.expect("the database answers");
    let mut stranger = server.browser("alice");
    stranger.password = "a wrong password".to_owned();
    let page = stranger.open(&server.app(FIRST).asks("openid read").path()).await;
    let refused = stranger.enter(&page).await;
    assert_eq!(refused.page(), "sign-in");
    for page in [&page, &refused] {
        assert!(matches!(id_of(&page.form("password").action), PendingId::Sealed(_)), "no row");
    }
    assert_eq!(server.store().await.newest_change().await.expect("the database answers"), before);
    let rows = server.beside().await.query("SELECT COUNT(*) FROM pending_authorizations", vec![]).await;
    assert_eq!(rows.expect("the database answers")[0].int(0).expect("a number"), 0);
}

#[tokio::test]
async fn a_request_belongs_to_its_browser_and_instance() {
    let server = TestServer::open().await;
    let (mut alice, app) = with_app(&server).await;
    let sign_in = alice.open(&server.app(FIRST).asks("openid read").path()).await;
    let second = alice.enter(&sign_in).await;
    let (sealed, stored) = (sign_in.form("password").action, second.form("code").action);
    let mut bent = sealed.clone();
    let last = bent.pop().expect("it has characters");
    bent.push(if last == 'A' { 'B' } else { 'A' });
    for address in [&*bent, &format!("{sealed}x"), "/id/account/login?request=", "/id/account/login?request=%00"] {
        assert_error_page(&alice.open(address).await, 403, "invalid_request");
    }
    for page in ["login", "second-step", "recovery-code", "consent"] {
        for id in [&sealed, &stored] {
            let id = id.split_once('?').expect("a query").1;
            let address = format!("/id/account/{page}?{id}");
            for mut other in [server.browser("alice"), server.browser_at_other("alice")] {
                assert_error_page(&other.open(&address).await, 403, "invalid_request");
                // With a form of its own, too.
                other.open("/id/account/login").await;
                assert_error_page(&other.open(&address).await, 403, "invalid_request");
            }
        }
    }
    // A page of another site cannot name the request of its own browser either: the form's token is the browser's.
    let mut thief = server.browser("bob");
    let csrf = thief.open("/id/account/login").await.form("csrf").field("csrf").expect("forms have it").to_owned();
    let fields = [("csrf", &*csrf), ("login", "bob"), ("password", &thief.password.clone())];
    assert_error_page(&thief.post(&sealed, &fields).await, 403, "invalid_request");
    assert!(!thief.jar.contains_key("gatehouse"), "nobody was signed in for it");
    assert_eq!(enter_code(&mut alice, &second, &app.code(&server)).await.page(), "consent", "the page still works");
}

async fn a_request_survives_a_restart_before_and_after_the_first_step(server: TestServer) {
    let (mut alice, app) = with_app(&server).await;
    let page = alice.open(&server.app(FIRST).asks("openid read").path()).await;
    let server = server.restarted().await;
    alice.client = server.client();
    let page = alice.enter(&page).await;
    assert_eq!(page.page(), "second-step");
    let server = server.restarted().await;
    alice.client = server.client();
    let page = enter_code(&mut alice, &page, &app.code(&server)).await;
    assert_eq!(page.page(), "consent");
    let server = server.restarted().await;
    alice.client = server.client();
    assert_eq!(alice.allow(&page).await.callback()["state"], "state of the app");
}

async fn a_request_is_over_after_a_day(server: TestServer) {
    let (mut alice, app) = with_app(&server).await;
    let in_time = alice.open(&server.app(FIRST).asks("openid read").path()).await;
    server.advance(DAY.saturating_sub(Duration::from_millis(1)));
    let second = alice.enter(&in_time).await;
    assert_eq!(second.page(), "second-step");
    server.advance(Duration::from_millis(1));
    for page in [&in_time.form("password").action, &second.form("code").action] {
        assert_error_page(&alice.open(page).await, 403, "invalid_request");
    }
    // Its rows are swept, and nothing of it is left.
    let PendingId::Stored(id) = id_of(&second.form("code").action) else { panic!("a row") };
    assert!(server.store().await.pending_authorization(id).await.expect("the database answers").is_some());
    server.advance(Duration::from_millis(1));
    server.tidy().await;
    assert!(server.store().await.pending_authorization(id).await.expect("the database answers").is_none());
    // A new request begins anew.
    let second = second_step(&server, &mut alice).await;
    assert_eq!(enter_code(&mut alice, &second, &app.code(&server)).await.page(), "consent");
}

#[tokio::test]
async fn a_late_second_step_begins_again_and_ends_at_the_application() {
    let server = TestServer::open().await;
    let (mut alice, app) = with_app(&server).await;
    let second = second_step(&server, &mut alice).await;
    server.advance(Duration::from_mins(10));
    let again = enter_code(&mut alice, &second, &app.code(&server)).await;
    assert_eq!(again.page(), "sign-in", "the password was proved too long ago; the page was not open too long");
    let second = alice.enter(&again).await;
    server.advance(STEP);
    let consent = enter_code(&mut alice, &second, &app.code(&server)).await;
    assert_eq!(alice.allow(&consent).await.callback()["state"], "state of the app");
}

#[tokio::test]
async fn two_tabs_end_each_at_its_own_request() {
    let server = TestServer::open().await;
    let (mut alice, app) = with_app(&server).await;
    let tab = |state: &str| server.app(FIRST).asks("openid read").with("state", state).path();
    let (left, right) = (alice.open(&tab("left")).await, alice.open(&tab("right")).await);
    let left = alice.enter(&left).await;
    let right = alice.enter(&right).await;
    assert_eq!((left.page(), right.page()), ("second-step".to_owned(), "second-step".to_owned()));
    let left = enter_code(&mut alice, &left, &app.code(&server)).await;
    server.advance(STEP);
    let signed_in = alice.jar.clone();
    // The step was taken in the other tab; this one goes on from its first step's address.
    let right = alice.open(&right.form("code").action).await;
    assert_eq!(right.page(), "sign-in", "the proof of the first step is spent with the sign-in");
    let right = alice.go_on(&right).await;
    assert_eq!((left.page(), right.page()), ("consent".to_owned(), "consent".to_owned()));
    assert_eq!(alice.jar["gatehouse"], signed_in["gatehouse"], "one sign-in");
    assert_eq!(alice.allow(&right).await.callback()["state"], "right");
    assert_eq!(alice.allow(&left).await.callback()["state"], "left");
}

#[tokio::test]
async fn the_back_button_leads_to_the_application_again() {
    let server = TestServer::open().await;
    let mut alice = server.browser("alice");
    let sign_in = alice.open(&server.app(FIRST).asks("openid read").path()).await;
    let consent = alice.enter(&sign_in).await;
    assert_eq!(alice.allow(&consent).await.callback()["state"], "state of the app");
    // To the consent page: sent again, or loaded again.
    assert_eq!(alice.allow(&consent).await.callback()["state"], "state of the app");
    assert_eq!(alice.open(&consent.form("decision").action).await.callback()["state"], "state of the app");
    // To the sign-in page: sent again, or loaded again, and continued.
    assert_eq!(alice.enter(&sign_in).await.callback()["state"], "state of the app");
    let page = alice.open(&sign_in.form("password").action).await;
    assert_eq!(alice.go_on(&page).await.callback()["state"], "state of the app");
}

/// Earlier versions put the whole request into the address of the sign-in page.
#[tokio::test]
async fn an_address_of_an_earlier_version_leads_to_its_application() {
    let server = TestServer::open().await;
    let asked = server.app(PORTAL).asks("openid read");
    let bookmark = format!("/id/account/login?{}", asked.query());
    let mut alice = server.browser("alice");
    let page = alice.open(&bookmark).await;
    assert_eq!(alice.enter(&page).await.callback()["state"], "state of the app");
    // The page was open while the server was updated.
    let mut bob = server.browser("bob");
    let csrf = bob.open("/id/account/login").await.form("csrf").field("csrf").expect("forms have it").to_owned();
    let fields = [("csrf", &*csrf), ("login", "bob"), ("password", &bob.password.clone())];
    let answer = bob.post(&bookmark, &fields).await;
    assert_eq!(answer.callback()["state"], "state of the app");
}

#[tokio::test]
async fn the_longest_parameters_come_through() {
    let server = TestServer::open().await;
    let state = "é\"\\".repeat(2048);
    let asked = server.app(PORTAL).asks("openid read").with("state", &state).with("nonce", &"n".repeat(2048));
    let mut alice = server.browser("alice");
    let fields: Vec<_> = asked.fields();
    let page = alice.step(&Method::POST, "/id/connect/authorize", &fields).await;
    let page = alice.open(page.location()).await;
    assert_eq!(alice.enter(&page).await.callback()["state"], state);
}

#[tokio::test]
async fn a_request_asks_in_its_languages_on_every_page() {
    let server = TestServer::open().await;
    let mut alice = server.browser("alice");
    let asked = server.app(FIRST).asks("openid read").with("ui_locales", "bg de").with("login_hint", "alice");
    let page = alice.open(&asked.path()).await;
    assert_eq!(page.attributes("html", "lang"), ["bg"]);
    assert_eq!(page.attributes("input[name=login]", "value"), ["alice"]);
    assert_eq!(alice.enter(&page).await.attributes("html", "lang"), ["bg"]);
}
