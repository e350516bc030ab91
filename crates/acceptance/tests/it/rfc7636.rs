//! Proof Key for Code Exchange.

use acceptance::{TestServer, TokenAnswer, VERIFIER};
use serde_json::json;

use crate::{FIRST, NATIVE, SPA, assert_refused};

#[tokio::test]
async fn a_public_app_must_use_it() {
    let server = TestServer::open().await;
    let mut alice = server.browser("alice");
    for uri in [SPA, NATIVE] {
        let bare = server.app(uri).asks("read").without("code_challenge").without("code_challenge_method");
        let callback = alice.open(&bare.path()).await.callback();
        assert_eq!(callback["error"], "invalid_request", "{uri}");
        assert!(callback["error_description"].contains("code_challenge"), "§4.4.1: {callback:?}");
    }
}

#[tokio::test]
async fn a_confidential_app_may_go_without() {
    let server = TestServer::open().await;
    let (app, mut alice) = (server.app(FIRST), server.browser("alice"));
    let bare = app.asks("read").without("code_challenge").without("code_challenge_method");
    let code = alice.authorize(&bare).await.callback()["code"].clone();
    TokenAnswer::read(&app.redeem_with(&code, &[("code_verifier", "")]).await);
}

/// For an application with a secret, its record requires it.
#[tokio::test]
async fn an_app_whose_record_requires_it_must_use_it() {
    let server = TestServer::open().await;
    let record = json!({
        "ApplicationUri": "careful", "Name": "Careful", "ClientType": "Confidential", "Scope": "read", "RequirePkce": true,
        "ImpersonateAsInternalUserAllowed": true, "ImpersonateLoginUrl": ["https://careful.example/cb"],
    });
    let app = server.register(record, Some("careful-secret")).await;
    assert!(
        server
            .operator()
            .await
            .application("careful")
            .await
            .expect("no fault")
            .expect("there")
            .to_record()
            .require_pkce
    );
    let mut alice = server.browser("alice");
    let bare = app.asks("read").without("code_challenge").without("code_challenge_method");
    let callback = alice.open(&bare.path()).await.callback();
    assert_eq!(callback["error"], "invalid_request");
    assert!(callback["error_description"].contains("code_challenge"), "{callback:?}");
    app.sign_in(&mut alice, "read").await;
    let refused = server.audit().await.into_iter().find(|row| row.reason == "pkce_required").expect("it is told");
    assert!(refused.columns.iter().any(|column| column.contains("RequirePkce")), "{refused:?}");
}

#[tokio::test]
async fn plain_is_refused_and_so_is_a_challenge_that_is_none() {
    let server = TestServer::open().await;
    let mut alice = server.browser("alice");
    for uri in [SPA, FIRST] {
        let usual = server.app(uri).asks("read");
        for asked in [
            usual.clone().with("code_challenge_method", "plain"),
            usual.clone().with("code_challenge_method", "s256"),
            usual.clone().with("code_challenge_method", "S512"),
            usual.clone().without("code_challenge_method"),
            usual.clone().without("code_challenge"),
            usual.clone().with("code_challenge", &"a".repeat(42)),
            usual.clone().with("code_challenge", &"a".repeat(44)),
            usual.clone().with("code_challenge", &format!("{}=", "a".repeat(42))),
            usual.clone().with("code_challenge", &format!("{}+", "a".repeat(42))),
            usual.clone().with("code_challenge", &format!("{}\u{e9}", "a".repeat(42))),
        ] {
            assert_eq!(alice.open(&asked.path()).await.callback_error(), "invalid_request", "{asked:?}");
        }
    }
}

#[tokio::test]
async fn the_verifier_must_be_the_one_that_was_hashed() {
    let server = TestServer::open().await;
    for uri in [NATIVE, FIRST] {
        let (app, mut alice) = (server.app(uri), server.browser("alice"));
        let code = app.code(&mut alice, "read").await;
        let challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
        for verifier in
            ["", "short", &VERIFIER[..42], &VERIFIER.to_lowercase(), &"a".repeat(43), &"a".repeat(129), challenge]
        {
            let answer = app.redeem_with(&code, &[("code_verifier", verifier)]).await;
            assert_refused(&answer, 400, "invalid_grant");
            assert_eq!(answer.json()["error_description"], "PKCE verification failed");
        }
        TokenAnswer::read(&app.redeem(&code).await);
    }
}

/// RFC 9700 §4.8.2: otherwise an attacker strips the challenge from the request and PKCE protects nothing.
#[tokio::test]
async fn a_verifier_without_a_challenge_is_refused() {
    let server = TestServer::open().await;
    let (app, mut alice) = (server.app(FIRST), server.browser("alice"));
    let bare = app.asks("read").without("code_challenge").without("code_challenge_method");
    let code = alice.authorize(&bare).await.callback()["code"].clone();
    let answer = app.redeem(&code).await;
    assert_refused(&answer, 400, "invalid_grant");
    assert_eq!(answer.json()["error_description"], "PKCE verification failed");
}
