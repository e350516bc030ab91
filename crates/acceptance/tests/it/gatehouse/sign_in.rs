//! The login as users type it, wherever a login is accepted.

use acceptance::{Browser, TestServer};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use serde_json::json;

use super::links::letter;

/// As keyboards send it: white space of several kinds at the ends.
const TYPED: &[&str] = &["alice ", " Alice", "\u{a0}alice\u{2003}", "alice\t"];

async fn entered(server: &TestServer, login: &str, password: &str) -> String {
    let mut browser = Browser { password: password.to_owned(), ..server.browser(login) };
    browser.sign_in().await.page()
}

#[tokio::test]
async fn blanks_around_a_login_are_the_keyboards_at_every_door() {
    let server = TestServer::open().await;
    let (client, password) = (server.client(), "ecila-Demo1");
    for typed in TYPED {
        assert_eq!(entered(&server, typed, password).await, "account", "{typed:?}");
        let basic = format!("Basic {}", STANDARD.encode(format!("{typed}:{password}")));
        let called = client.ask(&Method::GET, "/api/domain/odata/Crm_Customers?$top=1");
        let answer = called.header("authorization", &basic).send().await;
        // RFC 7617 §2: no control characters.
        assert_eq!(answer.status, if typed.contains('\t') { 400 } else { 200 }, "{typed:?}");
        let body = json!({ "user": typed, "pass": password, "app": "legacy.client" }).to_string();
        let opened = client.ask(&Method::POST, "/api/domain/login").body("application/json", body).send().await;
        assert_eq!(opened.status, 200, "{typed:?}: {}", opened.text());
        let found = server.operator().await.user_by_name(typed).await.expect("no fault");
        assert_eq!(found.expect("found").user.login.as_str(), "alice");
    }
}

#[tokio::test]
async fn a_forgotten_password_is_asked_for_with_a_blank_behind_the_login() {
    let server = TestServer::open().await;
    let mut letters = server.server.open_outbox();
    let mut browser = server.browser("alice");
    for typed in ["alice ", "\u{a0}alice@example.com "] {
        let page = browser.open("/id/account/forgotten").await;
        assert_eq!(browser.submit(&page, "login", &[("login", typed)]).await.page(), "forgotten-sent");
        assert_eq!(letter(&mut letters).await.to.as_str(), "alice@example.com");
    }
}

#[tokio::test]
async fn blanks_hide_no_guesses_from_the_throttle_and_belong_to_a_password() {
    let server = TestServer::open().await;
    for (number, padded) in
        ["ecila-Demo1 ", " ecila-Demo1", "\u{a0}ecila-Demo1", "ecila-Demo1\u{3000}"].iter().enumerate()
    {
        assert_eq!(entered(&server, TYPED[number], padded).await, "sign-in", "{padded:?}");
    }
    assert_eq!(entered(&server, "alice", "guess").await, "sign-in");
    let mut browser = server.browser("  alice  ");
    "ecila-Demo1".clone_into(&mut browser.password);
    assert_eq!(browser.sign_in().await.status, 429, "one account, however it is typed");
}
