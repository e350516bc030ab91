//! The consent page and remembered consents.

use acceptance::{TestServer, on_both};
use serde_json::json;

use crate::{FIRST, NATIVE, PORTAL, assert_error_page};

on_both! {
    consent_is_remembered_per_person_and_app
}

async fn consent_is_remembered_per_person_and_app(server: TestServer) {
    let (app, mut alice) = (server.app(FIRST), server.browser("alice"));
    app.sign_in(&mut alice, "openid read").await;
    for narrower in ["openid read", "read", "openid", "read openid"] {
        assert!(alice.open(&app.asks(narrower).path()).await.callback().contains_key("code"), "{narrower}");
    }
    let wider = alice.open(&app.asks("openid read update").path()).await;
    assert_eq!(wider.page(), "consent", "more than was agreed to asks again");
    alice.allow(&wider).await;
    assert!(alice.open(&app.asks("openid read update").path()).await.callback().contains_key("code"));
    let apart = alice.open(&app.asks("profile").path()).await;
    assert!(alice.allow(&apart).await.callback().contains_key("code"));
    let whole = alice.open(&app.asks("openid profile read update").path()).await;
    assert!(whole.callback().contains_key("code"), "what was agreed to before is not forgotten");
    assert_eq!(alice.open(&server.app(NATIVE).asks("read").path()).await.page(), "consent", "another app");
    let mut elsewhere = server.browser("alice");
    let page = elsewhere.open(&app.asks("openid read").path()).await;
    assert!(elsewhere.enter(&page).await.callback().contains_key("code"), "another browser of the same person");
    let mut bob = server.browser("bob");
    let page = bob.open(&app.asks("openid read").path()).await;
    assert_eq!(bob.enter(&page).await.page(), "consent", "another person");
    let server = server.restarted().await;
    let mut alice = server.browser("alice");
    let page = alice.open(&server.app(FIRST).asks("openid update").path()).await;
    assert!(alice.enter(&page).await.callback().contains_key("code"), "over a restart");
}

#[tokio::test]
async fn the_page_says_who_asks_for_what_in_whose_name() {
    let server = TestServer::open().await;
    let (app, mut alice) = (server.app(FIRST), server.browser("alice"));
    let page = alice.open(&app.asks("openid profile read offline_access").path()).await;
    let page = alice.enter(&page).await;
    assert_eq!(page.page(), "consent");
    for words in ["First Trusted App", FIRST, "Alice Archer", "alice", "testdb"] {
        assert!(page.text().contains(words), "{words}");
    }
    let mut scopes = page.attributes("[data-scope]", "data-scope");
    scopes.sort();
    assert_eq!(scopes, ["offline_access", "openid", "profile", "read"]);
}

#[tokio::test]
async fn a_refusal_is_told_to_the_app_and_not_remembered() {
    let server = TestServer::open().await;
    let (app, mut alice) = (server.app(FIRST), server.browser("alice"));
    let page = alice.open(&app.asks("read").path()).await;
    let page = alice.enter(&page).await;
    let callback = alice.deny(&page).await.callback();
    assert_eq!(callback["error"], "access_denied");
    assert_eq!(callback["state"], "state of the app");
    assert_eq!(callback["iss"], "http://localhost:8080/id");
    assert!(!callback.contains_key("code"));
    assert_eq!(alice.open(&app.asks("read").path()).await.page(), "consent", "the person may think again");
    for decision in ["", "yes", "ALLOW"] {
        let page = alice.open(&app.asks("read").path()).await;
        let answer = alice.submit(&page, "decision", &[("decision", decision)]).await;
        assert_eq!(answer.callback_error(), "access_denied", "only a clear yes is one: {decision:?}");
    }
    let trail = server.audit().await;
    let refused = trail.iter().filter(|row| row.kind == "consent" && row.reason == "consent_refused");
    assert_eq!(refused.count(), 4);
    assert!(trail.iter().all(|row| row.kind != "code-issued"));
}

#[tokio::test]
async fn an_app_that_needs_no_consent_is_not_asked_about() {
    let server = TestServer::open().await;
    let mut carol = server.browser("carol");
    let page = carol.open(&server.app(PORTAL).asks("openid read").path()).await;
    assert!(carol.enter(&page).await.callback().contains_key("code"));
}

#[tokio::test]
async fn who_may_not_use_the_app_is_not_asked_for_consent() {
    let server = TestServer::open().await;
    let mut carol = server.browser("carol");
    let page = carol.open(&server.app(FIRST).asks("openid").path()).await;
    assert_eq!(carol.enter(&page).await.callback_error(), "access_denied");
    let silent = carol.open(&server.app(FIRST).asks("openid").with("prompt", "none").path()).await;
    assert_eq!(silent.callback_error(), "access_denied");
    let record = json!({
        "ApplicationUri": "community", "Name": "Community", "ClientType": "Public",
        "ImpersonateAsCommunityUserAllowed": true, "ImpersonateLoginUrl": ["https://community.example.com/cb"],
    });
    let app = server.register(record, None).await;
    let mut alice = server.browser("alice");
    let page = alice.open(&app.asks("openid").path()).await;
    assert_eq!(alice.enter(&page).await.callback_error(), "access_denied");
    assert_eq!(app.sign_in(&mut carol, "openid").await.scope, "openid");
}

#[tokio::test]
async fn consent_without_our_form_is_refused_and_nothing_happens() {
    let server = TestServer::open().await;
    let (app, mut alice) = (server.app(FIRST), server.browser("alice"));
    alice.sign_in().await;
    let page = alice.open(&app.asks("read").path()).await;
    let form = page.form("decision");
    let of_another = server.browser("bob").open("/id/account/login").await.form("csrf");
    let of_another = of_another.field("csrf").expect("forms have it");
    for fields in [
        &[("decision", "allow")][..],
        &[("decision", "allow"), ("csrf", "x")],
        &[("decision", "allow"), ("csrf", of_another)],
    ] {
        assert_error_page(&alice.post(&form.action, fields).await, 403, "invalid_request");
    }
    let silent = alice.open(&app.asks("read").with("prompt", "none").path()).await;
    assert_eq!(silent.callback_error(), "consent_required");
    assert!(alice.allow(&page).await.callback().contains_key("code"), "the page itself still works");
}

#[tokio::test]
async fn a_consent_page_serves_the_sign_in_and_the_request_it_was_made_for() {
    let server = TestServer::open().await;
    let (app, mut alice) = (server.app(FIRST), server.browser("alice"));
    alice.sign_in().await;
    let page = alice.open(&app.asks("read").path()).await;
    let form = page.form("decision");
    let csrf = form.field("csrf").expect("forms have it").to_owned();
    let wider = alice.open(&app.asks("read update").path()).await.form("decision").action;
    assert_ne!(wider, form.action, "another request is asked about on a page of its own");
    assert!(alice.post(&form.action, &[("csrf", &csrf), ("decision", "allow")]).await.callback().contains_key("code"));
    let silent = alice.open(&app.asks("read update").with("prompt", "none").path()).await;
    assert_eq!(silent.callback_error(), "consent_required", "the consent is to what that page showed");
    let mut bob = alice.clone().taken_over_by("bob");
    bob.sign_in().await;
    let answer = bob.post(&form.action, &[("csrf", &csrf), ("decision", "allow")]).await;
    assert_eq!(answer.page(), "consent");
    assert!(answer.text().contains("bob"), "it is bob who is asked now");
}

#[tokio::test]
async fn a_consent_page_is_good_for_ten_minutes() {
    let server = TestServer::open().await;
    let (app, mut alice) = (server.app(FIRST), server.browser("alice"));
    alice.sign_in().await;
    let in_time = alice.open(&app.asks("read").path()).await;
    server.advance(std::time::Duration::from_millis(599_999));
    assert!(alice.allow(&in_time).await.callback().contains_key("code"));
    let late = alice.open(&app.asks("read update").path()).await;
    assert_eq!(late.page(), "consent");
    server.advance(std::time::Duration::from_mins(10));
    let answer = alice.allow(&late).await;
    assert_eq!(answer.page(), "consent", "asked anew");
    assert!(alice.allow(&answer).await.callback().contains_key("code"));
}
