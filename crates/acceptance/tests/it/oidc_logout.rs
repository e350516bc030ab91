//! OpenID Connect RP-Initiated Logout 1.0.

use std::time::Duration;

use acceptance::{App, Browser, HttpAnswer, TestServer, TokenAnswer, jwt, on_both};
use http::Method;
use serde_json::json;
use url::form_urlencoded::Serializer;

use crate::{FIRST, PORTAL, SERVICE, SPA, assert_refused};

on_both! {
    signing_out_ends_everything_of_the_sign_in_at_once
}

const END: &str = "/id/connect/endsession";
const SIGNED_OUT: &str = "http://localhost:3000/signed-out";
const SCOPE: &str = "openid read offline_access";

fn path(params: &[(&str, &str)]) -> String {
    format!("{END}?{}", Serializer::new(String::new()).extend_pairs(params).finish())
}

async fn is_signed_in(app: &App, browser: &mut Browser) -> bool {
    let answer = browser.open(&app.asks("openid read").with("prompt", "none").path()).await;
    answer.callback().get("error").map(String::as_str) != Some("login_required")
}

#[track_caller]
fn assert_page(answer: &HttpAnswer, page: &str) {
    assert_eq!((answer.status.as_u16(), answer.page().as_str(), answer.location()), (200, page, ""));
}

async fn signing_out_ends_everything_of_the_sign_in_at_once(server: TestServer) {
    let (app, portal, mut alice) = (server.app(FIRST), server.app(PORTAL), server.browser("alice"));
    let tokens = app.sign_in(&mut alice, SCOPE).await;
    let of_portal = portal.sign_in(&mut alice, SCOPE).await;
    let unredeemed = app.code(&mut alice, SCOPE).await;
    let mut elsewhere = server.browser("alice");
    let of_elsewhere = app.sign_in(&mut elsewhere, SCOPE).await;
    assert_eq!(app.client.call_api(&tokens.access).await.status, 200);
    // All seats except the administrator's.
    assert_eq!(app.client.call_api(&of_elsewhere.access).await.status, 200);
    let mut services = Vec::new();
    for _ in 0..3 {
        services.push(TokenAnswer::read(&server.app(SERVICE).service_token("").await).access);
    }
    for (service, status) in services.iter().zip([200, 200, 429]) {
        assert_eq!(app.client.call_api(service).await.status, status);
    }

    let answer = alice.open(&path(&[("id_token_hint", tokens.id()), ("post_logout_redirect_uri", SIGNED_OUT)])).await;
    assert_eq!(answer.location(), SIGNED_OUT);

    assert_eq!(app.client.call_api(&services[2]).await.status, 200, "its seat is free at once");
    let silent = alice.open(&app.asks("openid read").with("prompt", "none").path()).await;
    assert_eq!(silent.callback_error(), "login_required");
    for (app, tokens) in [(&app, &tokens), (&portal, &of_portal)] {
        for answer in [app.client.call_api(&tokens.access).await, app.client.user_info(&tokens.access).await] {
            assert_eq!(answer.status, 401);
            assert!(answer.header("www-authenticate").contains("invalid_token"));
        }
        assert_refused(&app.refresh(tokens.refresh()).await, 400, "invalid_grant");
    }
    assert_refused(&app.redeem(&unredeemed).await, 400, "invalid_grant");
    assert_eq!(app.client.call_api(&of_elsewhere.access).await.status, 200, "another browser's sign-in goes on");
    assert!(is_signed_in(&app, &mut elsewhere).await);

    let server = server.restarted().await;
    assert_eq!(server.client().user_info(&tokens.access).await.status, 401, "after a restart, too");
    let trail = server.audit().await;
    let ended: Vec<_> = trail.iter().filter(|row| row.kind == "sign-out").collect();
    assert_eq!(ended.len(), 1);
    let closed = trail.iter().filter(|row| row.kind == "session-closed" && row.reason == "sign_out");
    assert_eq!(closed.count(), 1);
}

#[tokio::test]
async fn the_browser_is_sent_back_with_state_and_nothing_else() {
    let server = TestServer::open().await;
    let state = "a b&c=\u{e9}-._~".to_owned() + &"s".repeat(128);
    for method in [Method::GET, Method::POST] {
        let (app, mut alice) = (server.app(FIRST), server.browser("alice"));
        let tokens = app.sign_in(&mut alice, SCOPE).await;
        let params = [("id_token_hint", tokens.id()), ("post_logout_redirect_uri", SIGNED_OUT), ("state", &state)];
        let answer = match method {
            Method::GET => alice.open(&path(&params)).await,
            _ => alice.post(END, &params).await,
        };
        assert!(answer.location().starts_with(&format!("{SIGNED_OUT}?")), "{}", answer.location());
        let callback = answer.callback();
        assert_eq!((callback.len(), &callback["state"]), (1, &state));
        let is_no_sign_in = |name: &String| name.contains("form") || name.contains("device");
        assert!(alice.jar.keys().all(is_no_sign_in), "the cookie is taken back: {:?}", alice.jar);
        assert!(!is_signed_in(&app, &mut alice).await);
    }
}

#[tokio::test]
async fn an_expired_hint_is_accepted() {
    let server = TestServer::open().await;
    let (app, mut alice) = (server.app(FIRST), server.browser("alice"));
    let tokens = app.sign_in(&mut alice, SCOPE).await;
    server.advance(Duration::from_mins(100));
    assert!(is_signed_in(&app, &mut alice).await);
    let answer = alice.open(&path(&[("id_token_hint", tokens.id()), ("post_logout_redirect_uri", SIGNED_OUT)])).await;
    assert_eq!(answer.location(), SIGNED_OUT);
    assert!(!is_signed_in(&app, &mut alice).await);
}

#[tokio::test]
async fn a_hint_that_proves_nothing_asks_and_ends_nothing() {
    let server = TestServer::open().await;
    let (app, mut alice) = (server.app(FIRST), server.browser("alice"));
    let tokens = app.sign_in(&mut alice, SCOPE).await;
    let foreign = server.app_at_other(FIRST).sign_in(&mut server.browser_at_other("alice"), SCOPE).await;
    let of_bob = app.sign_in(&mut server.browser("bob"), SCOPE).await;
    let claims = jwt::claims(tokens.id());
    let kid = jwt::header(tokens.id())["kid"].clone();
    let none = jwt::unsigned(&json!({"alg": "none", "typ": "JWT"}), &claims, b"");
    let wrong = jwt::unsigned(&json!({"alg": "RS256", "typ": "JWT", "kid": kid}), &claims, &[1; 256]);
    let mut of_the_other_issuer = claims.clone();
    of_the_other_issuer["iss"] = json!("http://demodb.localhost:8080/id");
    let other_issuer =
        jwt::unsigned(&json!({"alg": "RS256", "typ": "JWT", "kid": kid}), &of_the_other_issuer, &[1; 256]);
    let hints = [foreign.id(), of_bob.id(), &none, &wrong, &other_issuer, &tokens.access, "x", ""];
    for hint in hints {
        for more in [None, Some(("post_logout_redirect_uri", SIGNED_OUT))] {
            let params: Vec<_> = [("id_token_hint", hint)].into_iter().chain(more).collect();
            assert_page(&alice.open(&path(&params)).await, "sign-out");
            assert_page(&alice.post(END, &params).await, "sign-out");
        }
    }
    assert!(is_signed_in(&app, &mut alice).await);
    assert_eq!(app.client.user_info(&of_bob.access).await.status, 200, "nor anybody else's");
    TokenAnswer::read(&app.refresh(tokens.refresh()).await);
}

#[tokio::test]
async fn an_address_that_is_not_registered_is_never_gone_to() {
    let server = TestServer::open().await;
    for uri in [
        "http://localhost:3000/signed-out/",
        "http://localhost:3000/signed-out?x=1",
        "http://localhost:3000/Signed-out",
        "http://localhost:3001/signed-out",
        "https://localhost:3000/signed-out",
        "http://localhost:3000/portal-out",
        "http://localhost:3000/signin-callback",
        "https://evil.example/",
        "javascript:alert(1)",
        "//evil.example",
    ] {
        let (app, mut alice) = (server.app(FIRST), server.browser("alice"));
        let tokens = app.sign_in(&mut alice, "openid read").await;
        let params = [("id_token_hint", tokens.id()), ("post_logout_redirect_uri", uri), ("state", "s")];
        let answer = alice.open(&path(&params)).await;
        assert_page(&answer, "signed-out");
        assert!(!answer.text().contains("evil.example"));
        assert!(!is_signed_in(&app, &mut alice).await, "{uri}: the person is signed out all the same");
    }
}

#[tokio::test]
async fn without_a_hint_the_person_is_asked() {
    let server = TestServer::open().await;
    let (app, mut alice) = (server.app(FIRST), server.browser("alice"));
    app.sign_in(&mut alice, SCOPE).await;
    for params in [&[][..], &[("state", "s")], &[("post_logout_redirect_uri", SIGNED_OUT)], &[("client_id", FIRST)]] {
        let page = alice.open(&path(params)).await;
        assert_page(&page, "sign-out");
        assert!(page.text().contains("alice"));
        assert!(is_signed_in(&app, &mut alice).await);
    }
    let unknown_client = [("client_id", "nobody"), ("post_logout_redirect_uri", SIGNED_OUT)];
    let page = alice.open(&path(&unknown_client)).await;
    assert_page(&alice.submit(&page, "csrf", &[]).await, "signed-out");
    assert!(!is_signed_in(&app, &mut alice).await);
}

#[tokio::test]
async fn a_confirmed_sign_out_returns_to_the_app_that_asked() {
    let server = TestServer::open().await;
    let (app, mut alice) = (server.app(SPA), server.browser("alice"));
    app.sign_in(&mut alice, "openid read").await;
    let params = [("client_id", SPA), ("post_logout_redirect_uri", "http://localhost:3000/"), ("state", "s t")];
    let page = alice.open(&path(&params)).await;
    assert_page(&page, "sign-out");
    assert!(page.text().contains("Single-page App"));
    assert!(!page.header("content-security-policy").contains("form-action"), "the application may redirect anywhere");
    let answer = alice.submit(&page, "csrf", &[]).await;
    assert_eq!(answer.location(), "http://localhost:3000/?state=s+t");
    assert!(!is_signed_in(&app, &mut alice).await);
}

#[tokio::test]
async fn a_confirmation_that_our_page_did_not_send_counts_for_nothing() {
    let server = TestServer::open().await;
    let (app, mut alice) = (server.app(FIRST), server.browser("alice"));
    app.sign_in(&mut alice, SCOPE).await;
    let of_another_browser = server.browser("bob").open("/id/account/login").await.form("csrf");
    let csrf = of_another_browser.field("csrf").expect("forms have it");
    for fields in [&[][..], &[("csrf", "x")], &[("csrf", csrf)]] {
        assert_page(&alice.post(END, fields).await, "sign-out");
        assert!(is_signed_in(&app, &mut alice).await);
    }
}

#[tokio::test]
async fn a_client_id_that_disagrees_with_the_hint_is_not_believed() {
    let server = TestServer::open().await;
    let (app, mut alice) = (server.app(FIRST), server.browser("alice"));
    let tokens = app.sign_in(&mut alice, SCOPE).await;
    let params = [
        ("id_token_hint", tokens.id()),
        ("client_id", PORTAL),
        ("post_logout_redirect_uri", "http://localhost:3000/portal-out"),
    ];
    assert_page(&alice.open(&path(&params)).await, "signed-out");
}

#[tokio::test]
async fn signing_out_twice_does_no_harm() {
    let server = TestServer::open().await;
    let (app, mut alice) = (server.app(FIRST), server.browser("alice"));
    let tokens = app.sign_in(&mut alice, SCOPE).await;
    let params = [("id_token_hint", tokens.id()), ("post_logout_redirect_uri", SIGNED_OUT)];
    for _ in 0..2 {
        assert_eq!(alice.open(&path(&params)).await.location(), SIGNED_OUT);
    }
    assert_page(&alice.open(END).await, "signed-out");
    let again = app.sign_in(&mut alice, SCOPE).await;
    assert_ne!(jwt::claims(again.id())["sid"], jwt::claims(tokens.id())["sid"]);
    assert_eq!(app.client.user_info(&again.access).await.status, 200);
}

#[tokio::test]
async fn a_hint_alone_ends_nobodys_sign_in() {
    let server = TestServer::open().await;
    let (app, mut alice) = (server.app(FIRST), server.browser("alice"));
    let tokens = app.sign_in(&mut alice, SCOPE).await;
    let mut somebody = server.browser("bob");
    let answer =
        somebody.open(&path(&[("id_token_hint", tokens.id()), ("post_logout_redirect_uri", SIGNED_OUT)])).await;
    assert_eq!(answer.location(), SIGNED_OUT);
    assert!(is_signed_in(&app, &mut alice).await, "an ID token is no credential");
    assert_eq!(app.client.user_info(&tokens.access).await.status, 200);
}

/// Browsers do not send a `SameSite=Lax` cookie with a POST from another site.
#[tokio::test]
async fn a_post_without_the_cookie_is_asked_again_by_get() {
    let server = TestServer::open().await;
    let (app, mut alice) = (server.app(FIRST), server.browser("alice"));
    let tokens = app.sign_in(&mut alice, SCOPE).await;
    let params = [("id_token_hint", tokens.id()), ("post_logout_redirect_uri", SIGNED_OUT), ("state", "s")];
    let answer = app.client.post(END, &params).await;
    assert_eq!(answer.status, 303);
    assert!(answer.headers.get("set-cookie").is_none());
    let again = answer.location().to_owned();
    assert_eq!(again, path(&params));
    assert!(is_signed_in(&app, &mut alice).await);
    assert_eq!(alice.open(&again).await.location(), format!("{SIGNED_OUT}?state=s"));
    assert!(!is_signed_in(&app, &mut alice).await);
}
