//! OAuth 2.0 for Native Apps.

use acceptance::{App, TestHouse, Tokens};

use crate::{FIRST, NATIVE, assert_error_page};

#[tokio::test]
async fn a_loopback_uri_registered_without_a_port_takes_any_port() {
    let house = TestHouse::open().await;
    let mut alice = house.browser("alice");
    for uri in ["http://127.0.0.1:51004/callback", "http://127.0.0.1/callback", "http://127.0.0.1:1/callback"] {
        let app = App { redirect_uri: uri.to_owned(), ..house.app(NATIVE) };
        let answer = alice.authorize(&app.asks("read")).await;
        assert!(answer.location().starts_with(&format!("{uri}?code=")), "{}", answer.location());
        Tokens::read(&app.redeem(&answer.callback()["code"]).await);
    }
}

#[tokio::test]
async fn the_port_is_all_that_may_differ() {
    let house = TestHouse::open().await;
    let (app, mut alice) = (house.app(NATIVE), house.browser("alice"));
    for uri in [
        "http://localhost:51004/callback",
        "http://[::1]:51004/callback",
        "https://127.0.0.1:51004/callback",
        "http://127.0.0.1:51004/callback/",
        "http://127.0.0.1:51004/other",
        "http://127.0.0.1:51004/callback?x=1",
        "http://127.0.0.1:/callback",
        "http://127.0.0.1:0/callback",
        "http://127.0.0.1:65536/callback",
        "http://127.0.0.1:51004@evil.example/callback",
        "http://127.0.0.1.evil.example/callback",
        "http://127.0.0.2:51004/callback",
    ] {
        let answer = alice.open(&app.asks("read").with("redirect_uri", uri).path()).await;
        assert_error_page(&answer, 400, "invalid_request");
    }
}

#[tokio::test]
async fn a_code_is_bound_to_the_port_it_was_asked_from() {
    let house = TestHouse::open().await;
    let mut alice = house.browser("alice");
    let app = App { redirect_uri: "http://127.0.0.1:51004/callback".to_owned(), ..house.app(NATIVE) };
    let code = app.code(&mut alice, "read").await;
    let elsewhere = app.redeem_with(&code, &[("redirect_uri", "http://127.0.0.1:51005/callback")]).await;
    crate::assert_refused(&elsewhere, 400, "invalid_grant");
    Tokens::read(&app.redeem(&code).await);
}

#[tokio::test]
async fn a_port_that_was_registered_is_the_only_one() {
    let house = TestHouse::open().await;
    let (app, mut alice) = (house.app(FIRST), house.browser("alice"));
    for uri in ["http://localhost:3001/signin-callback", "http://localhost/signin-callback"] {
        let answer = alice.open(&app.asks("read").with("redirect_uri", uri).path()).await;
        assert_error_page(&answer, 400, "invalid_request");
    }
}

#[tokio::test]
async fn a_private_scheme_is_called_back() {
    let house = TestHouse::open().await;
    let (app, mut alice) = (house.app(NATIVE), house.browser("alice"));
    let answer = alice.authorize(&app.asks("read")).await;
    assert!(answer.location().starts_with("com.example.fieldapp:/callback?code="), "{}", answer.location());
    for uri in ["com.example.fieldapp:callback", "com.example.fieldapp://callback", "COM.example.fieldapp:/callback"] {
        let answer = alice.open(&app.asks("read").with("redirect_uri", uri).path()).await;
        assert_error_page(&answer, 400, "invalid_request");
    }
}
