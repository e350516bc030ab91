//! OAuth 2.0 for Native Apps.

use acceptance::{App, TestServer, TokenAnswer, jwt};
use serde_json::json;

use crate::{FIRST, NATIVE, SPA, assert_error_page};

#[tokio::test]
async fn a_loopback_uri_registered_without_a_port_takes_any_port() {
    let server = TestServer::open().await;
    let mut alice = server.browser("alice");
    for uri in ["http://127.0.0.1:51004/callback", "http://127.0.0.1/callback", "http://127.0.0.1:1/callback"] {
        let app = App { redirect_uri: uri.to_owned(), ..server.app(NATIVE) };
        let answer = alice.authorize(&app.asks("read")).await;
        assert!(answer.location().starts_with(&format!("{uri}?code=")), "{}", answer.location());
        TokenAnswer::read(&app.redeem(&answer.callback()["code"]).await);
    }
}

#[tokio::test]
async fn the_port_is_all_that_may_differ() {
    let server = TestServer::open().await;
    let (app, mut alice) = (server.app(NATIVE), server.browser("alice"));
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
    let server = TestServer::open().await;
    let mut alice = server.browser("alice");
    let app = App { redirect_uri: "http://127.0.0.1:51004/callback".to_owned(), ..server.app(NATIVE) };
    let code = app.code(&mut alice, "read").await;
    let elsewhere = app.redeem_with(&code, &[("redirect_uri", "http://127.0.0.1:51005/callback")]).await;
    crate::assert_refused(&elsewhere, 400, "invalid_grant");
    TokenAnswer::read(&app.redeem(&code).await);
}

#[tokio::test]
async fn a_port_that_was_registered_is_the_only_one() {
    let server = TestServer::open().await;
    let (app, mut alice) = (server.app(FIRST), server.browser("alice"));
    for uri in ["http://localhost:3001/signin-callback", "http://localhost/signin-callback"] {
        let answer = alice.open(&app.asks("read").with("redirect_uri", uri).path()).await;
        assert_error_page(&answer, 400, "invalid_request");
    }
}

#[tokio::test]
async fn a_private_scheme_is_called_back() {
    let server = TestServer::open().await;
    let (app, mut alice) = (server.app(NATIVE), server.browser("alice"));
    let answer = alice.authorize(&app.asks("read")).await;
    assert!(answer.location().starts_with("com.example.fieldapp:/callback?code="), "{}", answer.location());
    for uri in ["com.example.fieldapp:callback", "com.example.fieldapp://callback", "COM.example.fieldapp:/callback"] {
        let answer = alice.open(&app.asks("read").with("redirect_uri", uri).path()).await;
        assert_error_page(&answer, 400, "invalid_request");
    }
}

/// §8.6: a remembered consent would serve every program that listens on a port or claims the scheme.
#[tokio::test]
async fn a_native_app_gets_no_code_from_somebody_signed_in_before_they_press_a_button() {
    let server = TestServer::open().await;
    let mut alice = server.browser("alice");
    let native = server.app(NATIVE);
    let first = native.sign_in(&mut alice, "openid read").await;
    server.advance(std::time::Duration::from_mins(1));
    for uri in ["com.example.fieldapp:/callback", "http://127.0.0.1:51004/callback", "http://127.0.0.1/callback"] {
        let app = App { redirect_uri: uri.to_owned(), ..native.clone() };
        let page = alice.open(&app.asks("openid read").path()).await;
        assert_eq!(page.page(), "sign-in", "{uri}");
        assert_eq!(page.words("button[name=continue]").as_deref(), Some("Continue as alice"), "{uri}");
        assert!(page.text().contains("Field App"), "who asks is told");
        let answer = alice.go_on(&page).await;
        let tokens = TokenAnswer::read(&app.redeem(&answer.callback()["code"]).await);
        for claim in ["sid", "auth_time"] {
            assert_eq!(jwt::claims(tokens.id())[claim], jwt::claims(first.id())[claim], "{uri}: the sign-in is used");
        }
        // The button was pressed for that request, not for the next one.
        assert_eq!(alice.open(&app.asks("openid read").path()).await.page(), "sign-in", "{uri}");
        let silent = alice.open(&app.asks("openid read").with("prompt", "none").path()).await;
        assert_eq!(silent.callback_error(), "interaction_required", "{uri}");
        assert_eq!(silent.callback()["state"], "state of the app");
    }
}

/// OpenID Connect Core §3.1.2.6.
#[tokio::test]
async fn what_is_missing_first_is_told_first_where_no_page_may_be_shown() {
    let server = TestServer::open().await;
    let (app, mut alice) = (server.app(NATIVE), server.browser("alice"));
    let silent = app.asks("read").with("prompt", "none");
    assert_eq!(alice.open(&silent.path()).await.callback_error(), "login_required");
    alice.sign_in().await;
    assert_eq!(alice.open(&silent.path()).await.callback_error(), "consent_required");
    app.sign_in(&mut alice, "read").await;
    let answer = alice.open(&silent.path()).await;
    assert_eq!(answer.callback_error(), "interaction_required");
    let trail = server.audit().await;
    let refused = trail.iter().rfind(|row| row.kind == "authorize").expect("it is told");
    assert_eq!((refused.reason.as_str(), refused.application.as_str()), ("interaction_required", NATIVE));
}

#[tokio::test]
async fn a_page_that_was_answered_for_the_request_is_enough() {
    let server = TestServer::open().await;
    let app = server.app(NATIVE);
    let mut alice = server.browser("alice");
    // Signed in and consented for this request.
    app.sign_in(&mut alice, "read").await;
    // Consented for this request.
    let consent = alice.open(&app.asks("read update").path()).await;
    assert_eq!(consent.page(), "consent");
    assert!(alice.allow(&consent).await.callback().contains_key("code"));
    // Signed in for this request; consent is remembered.
    for asked in [app.asks("read"), app.asks("read").with("prompt", "login")] {
        let mut elsewhere = server.browser("alice");
        let page = elsewhere.open(&asked.path()).await;
        assert!(elsewhere.enter(&page).await.callback().contains_key("code"));
    }
    // Another user may be at the browser: signing in with another password is a way on, too.
    let page = alice.open(&app.asks("read").path()).await;
    let mut bob = alice.taken_over_by("bob");
    assert_eq!(bob.enter(&page).await.page(), "consent");
}

#[tokio::test]
async fn only_a_public_app_at_an_address_that_others_can_claim_is_asked_about() {
    let server = TestServer::open().await;
    let mut alice = server.browser("alice");
    let record = |uri: &str, public: bool| {
        json!({
            "ApplicationUri": uri, "Name": "Tool", "Scope": "read", "RequireConsent": false,
            "ClientType": if public { "Public" } else { "Confidential" }, "ImpersonateAsInternalUserAllowed": true,
            "ImpersonateLoginUrl": [
                "http://127.0.0.1/cb", "http://127.0.0.1:7001/cb", "http://localhost/cb", "http://[::1]/cb",
                "com.example.tool:/cb", "https://tool.example.com/cb",
            ],
        })
    };
    let public = server.register(record("tool", true), None).await;
    let confidential = server.register(record("tool.server", false), Some("tool-secret-of-good-length")).await;
    alice.sign_in().await;
    for (uri, is_claimable) in [
        ("http://127.0.0.1/cb", true),
        ("http://127.0.0.1:7000/cb", true),
        ("http://localhost/cb", true),
        ("http://localhost:7000/cb", true),
        ("http://[::1]/cb", true),
        ("http://[::1]:7000/cb", true),
        ("com.example.tool:/cb", true),
        ("http://127.0.0.1:7001/cb", false),
        ("https://tool.example.com/cb", false),
    ] {
        let app = App { redirect_uri: uri.to_owned(), ..public.clone() };
        let answer = alice.open(&app.asks("read").path()).await;
        assert_eq!(answer.page() == "sign-in", is_claimable, "{uri}: although the app needs no consent");
        let silent = alice.open(&app.asks("read").with("prompt", "none").path()).await;
        let error = silent.callback().get("error").cloned();
        assert_eq!(error.as_deref(), is_claimable.then_some("interaction_required"), "{uri}");
        let app = App { redirect_uri: uri.to_owned(), ..confidential.clone() };
        let answer = alice.open(&app.asks("read").path()).await;
        assert!(answer.callback().contains_key("code"), "{uri}: its secret tells the app from others");
    }
    let page_app = server.app(SPA);
    page_app.sign_in(&mut alice, "read").await;
    assert!(alice.open(&page_app.asks("read").path()).await.callback().contains_key("code"), "its port is registered");
}
