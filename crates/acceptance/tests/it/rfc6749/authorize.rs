//! §3.1, §4.1.1, §4.1.2: the authorization endpoint.

use acceptance::TestServer;
use http::Method;
use serde_json::json;

use crate::{FIRST, OFF, assert_error_page};

#[tokio::test]
async fn a_person_who_signs_in_and_agrees_gives_the_app_a_code() {
    let server = TestServer::open().await;
    let (app, mut alice) = (server.app(FIRST), server.browser("alice"));
    let page = alice.open(&app.asks("read").path()).await;
    assert_eq!(page.page(), "sign-in");
    let page = alice.enter(&page).await;
    assert_eq!(page.page(), "consent");
    let answer = alice.allow(&page).await;
    assert_eq!(answer.status, 303, "after a POST the method must become GET");
    assert_eq!(answer.header("cache-control"), "no-store");
    assert!(answer.location().starts_with("http://localhost:3000/signin-callback?"), "{}", answer.location());
    let callback = answer.callback();
    assert_eq!(callback["state"], "state of the app");
    assert!(callback["code"].len() >= 43, "at least 256 bits");
    let mut names: Vec<_> = callback.keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["code", "iss", "state"], "and nothing else");
}

#[tokio::test]
async fn a_posted_request_is_answered_like_one_in_the_query() {
    let server = TestServer::open().await;
    let (app, mut alice) = (server.app(FIRST), server.browser("alice"));
    let asked = app.asks("read");
    let page = alice.post("/id/connect/authorize", &asked.fields()).await;
    assert_eq!(page.page(), "sign-in");
    let consent = alice.enter(&page).await;
    let answer = alice.allow(&consent).await;
    assert_eq!(answer.callback()["state"], "state of the app");
    let again = alice.step(&Method::POST, "/id/connect/authorize", &asked.fields()).await;
    assert_eq!(again.status, 303);
    assert!(again.callback().contains_key("code"), "signed in and consented: at once");
}

#[tokio::test]
async fn unknown_parameters_are_ignored_and_the_order_does_not_matter() {
    let server = TestServer::open().await;
    let (app, mut alice) = (server.app(FIRST), server.browser("alice"));
    let asked = app.asks("read").with("client_id", FIRST).with("display", "popup").with("x-unknown", "é %&=");
    let callback = alice.authorize(&asked).await.callback();
    assert!(callback.contains_key("code"));
    assert!(!callback.contains_key("x-unknown"));
}

#[tokio::test]
async fn a_repeated_parameter_is_refused_whichever_it_is() {
    let server = TestServer::open().await;
    let (app, mut alice) = (server.app(FIRST), server.browser("alice"));
    let usual = app.asks("read");
    for name in ["scope", "response_type", "nonce", "code_challenge", "code_challenge_method"] {
        let value = usual.fields().iter().find(|(known, _)| *known == name).expect("usual").1.to_owned();
        let callback = alice.open(&usual.clone().and(name, &value).path()).await.callback();
        assert_eq!(callback["error"], "invalid_request", "{name}");
        assert!(callback["error_description"].contains(name), "{callback:?}");
        assert_eq!(callback["state"], "state of the app");
    }
    let unknown = alice.open(&usual.clone().and("x", "1").and("x", "1").path()).await;
    assert_eq!(unknown.callback_error(), "invalid_request", "RFC 6749 §3.1 says so of all parameters");
    let two_states = alice.open(&usual.clone().and("state", "other").path()).await.callback();
    assert_eq!(two_states["error"], "invalid_request");
    assert!(!two_states.contains_key("state"), "which of the two would it be?");
    assert_error_page(&alice.open(&usual.clone().and("client_id", FIRST).path()).await, 400, "invalid_request");
    let two_uris = usual.and("redirect_uri", &app.redirect_uri);
    assert_error_page(&alice.open(&two_uris.path()).await, 400, "invalid_request");
}

#[tokio::test]
async fn a_missing_parameter_is_told_on_a_page_or_to_the_app() {
    let server = TestServer::open().await;
    let (app, mut alice) = (server.app("my.trusted.app/spa"), server.browser("alice"));
    assert_error_page(&alice.open("/id/connect/authorize").await, 400, "invalid_request");
    assert_error_page(&alice.open(&app.asks("read").without("client_id").path()).await, 400, "invalid_request");
    let without_uri = app.asks("read").without("redirect_uri");
    assert_error_page(&alice.open(&without_uri.path()).await, 400, "invalid_request");
    assert_error_page(&alice.open(&without_uri.with("redirect_uri", "").path()).await, 400, "invalid_request");
    let callback = alice.open(&app.asks("read").without("response_type").path()).await.callback();
    assert_eq!((callback["error"].as_str(), callback["state"].as_str()), ("invalid_request", "state of the app"));
    let empty = app.asks("read").with("response_type", "");
    assert_eq!(alice.open(&empty.path()).await.callback_error(), "invalid_request", "empty is omitted");
}

#[tokio::test]
async fn an_over_long_parameter_is_refused_and_never_cut() {
    let server = TestServer::open().await;
    let (app, mut alice) = (server.app(FIRST), server.browser("alice"));
    for piece in ["s", "\u{e9}", "\u{65e5}-", "%&"] {
        // Encoded in a query it is up to three times as long.
        let longest = piece.repeat(8 * 1024 / piece.len());
        let asked = app.asks("openid read").with("state", &longest);
        assert_eq!(alice.authorize(&asked).await.callback()["state"], longest, "signed in, or asked for consent");
        let again = server.browser("bob").authorize(&asked.clone().with("prompt", "login consent")).await;
        assert_eq!(again.callback()["state"], longest, "through sign-in and consent");
        for refused in [asked.clone().with("prompt", "none"), asked.with("scope", "sec")] {
            let callback = server.browser("alice").open(&refused.path()).await.callback();
            assert!(callback.contains_key("error"), "{refused:?}");
            assert_eq!(callback["state"], longest, "with an error too");
        }
    }
    let nonce = app.asks("read").with("nonce", &"n".repeat(2049));
    assert_eq!(alice.open(&nonce.path()).await.callback_error(), "invalid_request");
    for name in ["state", "scope", "client_id", "x"] {
        let far_too_long = app.asks("read").with(name, &"a".repeat(8 * 1024 + 1));
        assert_error_page(&alice.open(&far_too_long.path()).await, 400, "invalid_request");
    }
    let crowd = (0..64).fold(app.asks("read"), |asked, number| asked.and(&format!("p{number}"), "1"));
    assert_error_page(&alice.open(&crowd.path()).await, 400, "invalid_request");
}

#[tokio::test]
async fn text_that_is_not_utf_8_is_refused() {
    let server = TestServer::open().await;
    let (app, mut alice) = (server.app(FIRST), server.browser("alice"));
    let path = app.asks("read").without("state").path();
    for bad in ["%FF", "%C3%28", "%ED%A0%80", "%00", "%", "%2", "%zz"] {
        assert_error_page(&alice.open(&format!("{path}&state={bad}")).await, 400, "invalid_request");
    }
    let whole = "\u{e9}\u{1f512} ~-._";
    assert_eq!(alice.authorize(&app.asks("read").with("state", whole)).await.callback()["state"], whole);
}

#[tokio::test]
async fn an_unknown_or_disabled_app_is_an_error_page_and_never_a_redirect() {
    let server = TestServer::open().await;
    let (app, mut alice) = (server.app(FIRST), server.browser("alice"));
    for client_id in ["nobody", "my.trusted.app/First", "my.trusted.app/first ", OFF] {
        let answer = alice.open(&app.asks("read").with("client_id", client_id).path()).await;
        assert_error_page(&answer, 400, "unauthorized_client");
    }
    assert_error_page(&alice.open(&app.asks("read").with("client_id", "\u{e9}").path()).await, 400, "invalid_request");
    server.enable_app(FIRST, false).await;
    assert_error_page(&alice.open(&app.asks("read").path()).await, 400, "unauthorized_client");
}

#[tokio::test]
async fn an_app_that_may_not_sign_people_in_is_unauthorized() {
    let server = TestServer::open().await;
    let record = json!({
        "ApplicationUri": "batch", "Name": "Batch", "ClientType": "Confidential", "Scope": "read",
        "ImpersonateLoginUrl": ["https://batch.example.com/cb"],
    });
    let app = server.register(record, Some("batch-secret-of-good-length")).await;
    let answer = server.browser("alice").open(&app.asks("read").path()).await;
    assert_eq!(answer.callback_error(), "unauthorized_client");
}

#[tokio::test]
async fn an_unknown_response_type_or_mode_is_refused() {
    let server = TestServer::open().await;
    let (app, mut alice) = (server.app(FIRST), server.browser("alice"));
    alice.sign_in().await;
    for kind in ["none", "CODE", "code code", "device"] {
        let answer = alice.open(&app.asks("read").with("response_type", kind).path()).await;
        assert_eq!(answer.callback_error(), "unsupported_response_type", "{kind}");
    }
    for kind in ["token", "code token", "id_token token"] {
        let answer = alice.open(&app.asks("read").with("response_type", kind).path()).await;
        assert_eq!(answer.callback_in_fragment()["error"], "unsupported_response_type", "{kind}");
    }
    for mode in ["web_message", "FORM_POST", "jwt"] {
        let answer = alice.open(&app.asks("read").with("response_mode", mode).path()).await;
        assert_eq!(answer.callback_error(), "invalid_request", "{mode}");
    }
}

#[tokio::test]
async fn no_state_comes_back_where_none_was_sent() {
    let server = TestServer::open().await;
    let (app, mut alice) = (server.app(FIRST), server.browser("alice"));
    let silent = app.asks("read").without("state");
    assert!(!alice.authorize(&silent).await.callback().contains_key("state"));
    let refused = alice.open(&silent.with("scope", "sec").path()).await.callback();
    assert_eq!(refused["error"], "invalid_scope");
    assert!(!refused.contains_key("state"));
}

#[tokio::test]
async fn the_query_of_a_registered_redirect_uri_is_kept() {
    let server = TestServer::open().await;
    let record = json!({
        "ApplicationUri": "query", "Name": "Query", "ClientType": "Confidential", "Scope": "read",
        "ImpersonateAsInternalUserAllowed": true, "RequireConsent": false,
        "ImpersonateLoginUrl": ["https://app.example.com/cb?tenant=a&x="],
    });
    let app = server.register(record, Some("query-secret-of-good-length")).await;
    let answer = server.browser("alice").authorize(&app.asks("read")).await;
    assert!(answer.location().starts_with("https://app.example.com/cb?tenant=a&x=&code="), "{}", answer.location());
}

#[tokio::test]
async fn an_error_description_is_printable_ascii_without_quotes() {
    let server = TestServer::open().await;
    let (app, mut alice) = (server.app(FIRST), server.browser("alice"));
    for (name, value) in
        [("scope", "a\"b"), ("scope", "\u{e9}"), ("scope", "nonsense"), ("prompt", "\"\\\n"), ("max_age", "x")]
    {
        let callback = alice.open(&app.asks("read").with(name, value).path()).await.callback();
        let description = &callback["error_description"];
        let fits = |c: char| matches!(c, ' '..='~') && c != '"' && c != '\\';
        assert!(description.chars().all(fits), "{name}={value:?}: {description}");
    }
}
