//! OpenID Connect Core 1.0.

use std::time::Duration;

use acceptance::{BEGINNING, TestServer, TokenAnswer, jwt};
use http::Method;
use serde_json::{Value, json};

use crate::{FIRST, NATIVE, PORTAL};

/// §2, §3.1.3.6.
#[tokio::test]
async fn an_id_token_says_who_signed_in_and_belongs_to_its_access_token() {
    let server = TestServer::open().await;
    let (app, mut alice) = (server.app(FIRST), server.browser("alice"));
    let tokens = app.sign_in(&mut alice, "openid profile email read").await;
    let names =
        ["amr", "at_hash", "aud", "auth_time", "exp", "iat", "iss", "nonce", "sid", "sub"].map(str::to_owned).to_vec();
    assert_eq!(jwt::claim_names(tokens.id()), names, "personal claims are at UserInfo (§5.4)");
    let claims = jwt::claims(tokens.id());
    let now = BEGINNING.seconds();
    for (name, expected) in [
        ("iss", json!("http://localhost:8080/id")),
        ("sub", json!("alice")),
        ("aud", json!(FIRST)),
        ("iat", json!(now)),
        ("exp", json!(now + 3600)),
        ("auth_time", json!(now)),
        ("nonce", json!("nonce-of-the-app")),
        ("amr", json!(["pwd"])),
        ("at_hash", json!(jwt::half_hash(&tokens.access))),
        ("sid", jwt::claims(&tokens.access)["sid"].clone()),
    ] {
        assert_eq!(claims[name], expected, "{name}");
    }
    let header = jwt::header(tokens.id());
    assert_eq!((&header["alg"], &header["typ"]), (&json!("RS256"), &json!("JWT")));
    let jwks = server.client().get("/id/.well-known/openid-configuration/jwks").await.json();
    assert!(jwt::is_signed_by(tokens.id(), &jwks, "JWT"));
}

#[tokio::test]
async fn an_id_token_comes_with_openid_only_and_a_nonce_only_where_one_was_sent() {
    let server = TestServer::open().await;
    let (app, mut alice) = (server.app(FIRST), server.browser("alice"));
    assert_eq!(app.sign_in(&mut alice, "read profile").await.id, None);
    let without = alice.authorize(&app.asks("openid").without("nonce")).await.callback();
    let tokens = TokenAnswer::read(&app.redeem(&without["code"]).await);
    assert!(jwt::claims(tokens.id()).get("nonce").is_none());
    let long = "n".repeat(384);
    let with = alice.authorize(&app.asks("openid").with("nonce", &long)).await.callback();
    assert_eq!(jwt::claims(TokenAnswer::read(&app.redeem(&with["code"]).await).id())["nonce"], long, "intact");
}

/// §3.1.2.1: one sign-in serves all applications of the browser.
#[tokio::test]
async fn the_sign_in_is_shared_by_the_apps_of_a_browser() {
    let server = TestServer::open().await;
    let mut alice = server.browser("alice");
    let first = server.app(FIRST).sign_in(&mut alice, "openid").await;
    server.advance(Duration::from_mins(5));
    let page = alice.open(&server.app(NATIVE).asks("openid").path()).await;
    assert_eq!(page.page(), "consent", "no second sign-in");
    let code = alice.allow(&page).await.callback()["code"].clone();
    let native = TokenAnswer::read(&server.app(NATIVE).redeem(&code).await);
    let portal = alice.open(&server.app(PORTAL).asks("openid").path()).await;
    let portal = TokenAnswer::read(&server.app(PORTAL).redeem(&portal.callback()["code"]).await);
    for tokens in [&native, &portal] {
        for name in ["sid", "auth_time", "sub"] {
            assert_eq!(jwt::claims(tokens.id())[name], jwt::claims(first.id())[name], "{name}");
        }
    }
    let elsewhere = server.app(FIRST).sign_in(&mut server.browser("alice"), "openid").await;
    assert_ne!(jwt::claims(elsewhere.id())["sid"], jwt::claims(first.id())["sid"], "another browser");
}

/// §3.1.2.6.
#[tokio::test]
async fn prompt_none_never_shows_a_page() {
    let server = TestServer::open().await;
    let (app, mut alice) = (server.app(FIRST), server.browser("alice"));
    let silent = app.asks("openid read").with("prompt", "none");
    let nobody = alice.step(&Method::GET, &silent.path(), &[]).await;
    assert_eq!(nobody.callback_error(), "login_required");
    alice.sign_in().await;
    let stranger = alice.step(&Method::GET, &silent.path(), &[]).await;
    assert_eq!(stranger.callback_error(), "consent_required");
    let tokens = app.sign_in(&mut alice, "openid read").await;
    server.advance(Duration::from_mins(10));
    let answer = alice.step(&Method::GET, &silent.path(), &[]).await;
    let again = TokenAnswer::read(&app.redeem(&answer.callback()["code"]).await);
    for name in ["sub", "sid", "auth_time"] {
        assert_eq!(jwt::claims(again.id())[name], jwt::claims(tokens.id())[name], "{name}");
    }
    let wider = alice.step(&Method::GET, &app.asks("openid read update").with("prompt", "none").path(), &[]).await;
    assert_eq!(wider.callback_error(), "consent_required");
    for both in ["none login", "none consent", "login none", "nothing", "LOGIN"] {
        let answer = alice.step(&Method::GET, &app.asks("openid read").with("prompt", both).path(), &[]).await;
        assert_eq!(answer.callback_error(), "invalid_request", "{both}");
    }
}

#[tokio::test]
async fn prompt_login_asks_for_the_password_and_the_same_person_keeps_the_session() {
    let server = TestServer::open().await;
    let (app, mut alice) = (server.app(FIRST), server.browser("alice"));
    let before = app.sign_in(&mut alice, "openid read offline_access").await;
    assert_eq!(app.client.call_api(&before.access).await.status, 200);
    server.advance(Duration::from_secs(90));
    let page = alice.open(&app.asks("openid read").with("prompt", "login").path()).await;
    assert_eq!(page.page(), "sign-in");
    assert_eq!(page.words("button[name=continue]"), None, "a press of a button is no proof");
    let answer = alice.enter(&page).await;
    let after = TokenAnswer::read(&app.redeem(&answer.callback()["code"]).await);
    let (old, new) = (jwt::claims(before.id()), jwt::claims(after.id()));
    assert_eq!(old["sid"], new["sid"]);
    assert_eq!(new["auth_time"].as_i64(), old["auth_time"].as_i64().map(|time| time + 90));
    assert_eq!(app.client.call_api(&after.access).await.status, 200);
    assert_eq!(app.client.call_api(&before.access).await.status, 200);
    TokenAnswer::read(&app.refresh(before.refresh()).await);
    let opened = server.audit().await.iter().filter(|row| row.kind == "session-opened").count();
    assert_eq!(opened, 1, "and no second seat");
}

#[tokio::test]
async fn prompt_login_by_another_person_begins_another_session_and_the_first_ones_tokens_go_on() {
    let server = TestServer::open().await;
    let (app, mut alice) = (server.app(FIRST), server.browser("alice"));
    let of_alice = app.sign_in(&mut alice, "openid read offline_access").await;
    let mut bob = alice.taken_over_by("bob");
    let of_bob = bob.authorize(&app.asks("openid read").with("prompt", "login")).await;
    let of_bob = TokenAnswer::read(&app.redeem(&of_bob.callback()["code"]).await);
    assert_eq!(jwt::claims(of_bob.id())["sub"], "bob");
    assert_ne!(jwt::claims(of_bob.id())["sid"], jwt::claims(of_alice.id())["sid"]);
    assert_eq!(app.client.call_api(&of_alice.access).await.status, 200);
    TokenAnswer::read(&app.refresh(of_alice.refresh()).await);
    let silent = bob.open(&app.asks("openid read").with("prompt", "none").path()).await;
    let silent = TokenAnswer::read(&app.redeem(&silent.callback()["code"]).await);
    assert_eq!(jwt::claims(silent.id())["sub"], "bob", "the browser is bob's now");
}

#[tokio::test]
async fn prompt_consent_asks_again() {
    let server = TestServer::open().await;
    let (app, mut alice) = (server.app(FIRST), server.browser("alice"));
    app.sign_in(&mut alice, "openid read offline_access").await;
    let page = alice.open(&app.asks("openid read offline_access").with("prompt", "consent").path()).await;
    assert_eq!(page.page(), "consent");
    assert!(alice.allow(&page).await.callback().contains_key("code"));
    let no_page_at_all = server.app(PORTAL).asks("openid").with("prompt", "consent");
    assert_eq!(alice.open(&no_page_at_all.path()).await.page(), "consent", "even where none is required");
}

#[tokio::test]
async fn prompt_select_account_offers_the_person_at_the_browser_and_others() {
    let server = TestServer::open().await;
    let (app, mut alice) = (server.app(FIRST), server.browser("alice"));
    let before = app.sign_in(&mut alice, "openid").await;
    server.advance(Duration::from_mins(1));
    let asked = app.asks("openid").with("prompt", "select_account");
    let page = alice.open(&asked.path()).await;
    assert_eq!(page.page(), "sign-in");
    assert_eq!(page.words("button[name=continue]").as_deref(), Some("Continue as alice"));
    let answer = alice.go_on(&page).await;
    let tokens = TokenAnswer::read(&app.redeem(&answer.callback()["code"]).await);
    assert_eq!(jwt::claims(tokens.id())["auth_time"], jwt::claims(before.id())["auth_time"], "nobody proved anything");
    let page = alice.open(&asked.path()).await;
    let mut bob = alice.taken_over_by("bob");
    let page = bob.enter(&page).await;
    let answer = bob.allow(&page).await;
    let tokens = TokenAnswer::read(&app.redeem(&answer.callback()["code"]).await);
    assert_eq!(jwt::claims(tokens.id())["sub"], "bob");
}

#[tokio::test]
async fn continuing_by_a_button_does_not_do_where_the_password_was_asked_for() {
    let server = TestServer::open().await;
    let (app, mut alice) = (server.app(FIRST), server.browser("alice"));
    app.sign_in(&mut alice, "openid").await;
    server.advance(Duration::from_secs(10));
    for asked in [app.asks("openid").with("prompt", "login"), app.asks("openid").with("max_age", "5")] {
        let page = alice.open(&asked.path()).await;
        let form = page.form("password");
        let csrf = form.field("csrf").expect("forms have it").to_owned();
        let answer = alice.post(&form.action, &[("csrf", &csrf), ("continue", "1")]).await;
        crate::assert_error_page(&answer, 403, "invalid_request");
    }
}

#[tokio::test]
async fn max_age_asks_again_when_the_sign_in_is_older() {
    let server = TestServer::open().await;
    let (app, mut alice) = (server.app(FIRST), server.browser("alice"));
    let before = app.sign_in(&mut alice, "openid").await;
    server.advance(Duration::from_mins(1));
    let generous = alice.open(&app.asks("openid").with("max_age", "60").path()).await;
    let tokens = TokenAnswer::read(&app.redeem(&generous.callback()["code"]).await);
    assert_eq!(jwt::claims(tokens.id())["auth_time"], jwt::claims(before.id())["auth_time"]);
    for strict in ["59", "0"] {
        let asked = app.asks("openid").with("max_age", strict);
        let silent = alice.open(&asked.clone().with("prompt", "none").path()).await;
        assert_eq!(silent.callback_error(), "login_required", "{strict}");
        let page = alice.open(&asked.path()).await;
        assert_eq!(page.page(), "sign-in", "{strict}");
        let answer = alice.enter(&page).await;
        let tokens = TokenAnswer::read(&app.redeem(&answer.callback()["code"]).await);
        assert_eq!(jwt::claims(tokens.id())["auth_time"], json!(server.now().seconds()), "{strict}");
        server.advance(Duration::from_mins(1));
    }
    for bad in ["-1", "x", "1.5", "99999999999999999999999", "+5"] {
        let answer = alice.open(&app.asks("openid").with("max_age", bad).path()).await;
        assert_eq!(answer.callback_error(), "invalid_request", "{bad}");
    }
}

#[tokio::test]
async fn a_login_hint_fills_the_field_and_never_fails() {
    let server = TestServer::open().await;
    let app = server.app(FIRST);
    for hint in ["bob", "nobody@nowhere.example", "\"><script>alert(1)</script>", "\u{e9}"] {
        let page = server.browser("alice").open(&app.asks("openid").with("login_hint", hint).path()).await;
        assert_eq!(page.page(), "sign-in");
        assert_eq!(page.attributes("#login", "value"), [hint]);
        assert_eq!(page.every("script"), [""], "the page's own, which is a file");
        assert!(!page.text().contains("<script>"), "only as text");
    }
    let asked =
        app.asks("openid").with("ui_locales", "xx-nonsense de").with("acr_values", "urn:x").with("display", "touch");
    assert!(server.browser("alice").authorize(&asked).await.callback().contains_key("code"));
}

/// §6.1, §6.2: refused, never silently ignored.
#[tokio::test]
async fn request_objects_are_refused() {
    let server = TestServer::open().await;
    let (app, mut alice) = (server.app(FIRST), server.browser("alice"));
    let request = alice.open(&app.asks("openid").with("request", "e30.e30.").path()).await;
    assert_eq!(request.callback_error(), "request_not_supported");
    let uri = alice.open(&app.asks("openid").with("request_uri", "https://app.example.com/r").path()).await;
    assert_eq!(uri.callback_error(), "request_uri_not_supported");
}

/// §5.3, §5.4.
#[tokio::test]
async fn user_info_tells_what_the_scopes_allow_and_no_more() {
    let server = TestServer::open().await;
    for (login, scope, expected) in [
        ("alice", "openid", json!({"sub": "alice"})),
        ("alice", "openid email", json!({"sub": "alice", "email": "alice@example.com", "email_verified": true})),
        ("bob", "openid email", json!({"sub": "bob", "email": "bob@example.com", "email_verified": false})),
        (
            "alice",
            "openid profile",
            json!({
                "sub": "alice", "name": "Alice Archer", "preferred_username": "alice",
                "updated_at": BEGINNING.seconds(),
            }),
        ),
    ] {
        let tokens = server.app(FIRST).sign_in(&mut server.browser(login), scope).await;
        let answer = server.client().user_info(&tokens.access).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("content-type"), "application/json");
        assert_eq!(answer.header("cache-control"), "no-store");
        assert_eq!(answer.json(), expected, "{login} {scope}");
        let posted = server.client().post("/id/connect/userinfo", &[("access_token", &tokens.access)]).await;
        assert_eq!(posted.json(), expected, "§5.3.1: POST, and RFC 6750 §2.2");
        let posted = server.client().ask(&Method::POST, "/id/connect/userinfo").bearer(&tokens.access).send().await;
        assert_eq!(posted.json(), expected);
        assert_eq!(posted.json()["sub"], jwt::claims(tokens.id())["sub"]);
    }
}

#[tokio::test]
async fn user_info_opens_no_session() {
    let server = TestServer::open().await;
    let tokens = server.app(FIRST).sign_in(&mut server.browser("alice"), "openid").await;
    assert_eq!(server.client().user_info(&tokens.access).await.status, 200);
    assert!(server.audit().await.iter().all(|row| row.kind != "session-opened"));
}

#[tokio::test]
async fn a_service_token_is_nobody_at_user_info() {
    let server = TestServer::open().await;
    let token = TokenAnswer::read(&server.app(PORTAL).service_token("").await).access;
    let answer = server.client().user_info(&token).await;
    assert_eq!(answer.refusal(), (403, "insufficient_scope".to_owned()));
}

#[tokio::test]
async fn ids_of_people_are_stable_and_distinct() {
    let server = TestServer::open().await;
    let app = server.app(FIRST);
    let mut ids: Vec<Value> = Vec::new();
    for (typed, login) in [("alice", "alice"), ("ALICE", "alice"), ("bob", "bob")] {
        let mut browser = server.browser(login);
        typed.clone_into(&mut browser.login);
        let claims = jwt::claims(&app.sign_in(&mut browser, "openid").await.access);
        assert_eq!(claims["sub"], login, "as registered, however it was typed");
        ids.push(claims["id"].clone());
    }
    assert_eq!(ids[0], ids[1]);
    assert_ne!(ids[0], ids[2]);
}

/// §3.1.2.1: the user named by the hint, or none.
#[tokio::test]
async fn an_id_token_hint_names_who_must_be_signed_in() {
    let server = TestServer::open().await;
    let (app, mut alice) = (server.app(FIRST), server.browser("alice"));
    let mine = app.sign_in(&mut alice, "openid").await;
    let of_bob = app.sign_in(&mut server.browser("bob"), "openid").await;
    server.advance(Duration::from_mins(90));
    let silent = app.asks("openid").with("prompt", "none");
    let answer = alice.open(&silent.clone().with("id_token_hint", mine.id()).path()).await;
    assert!(answer.callback().contains_key("code"), "an expired hint still says who");
    let foreign = server.app_at_other(FIRST).sign_in(&mut server.browser_at_other("alice"), "openid").await;
    let answer = alice.open(&silent.clone().with("id_token_hint", of_bob.id()).path()).await;
    assert_eq!(answer.callback_error(), "login_required");
    // What is no ID token of this issuer is refused before anybody is asked for a password.
    let mut stranger = server.browser("alice");
    for hint in [foreign.id(), "x", &mine.access] {
        let asked = app.asks("openid").with("id_token_hint", hint);
        let refused = stranger.step(&Method::GET, &asked.path(), &[]).await;
        assert_eq!(refused.callback_error(), "invalid_request");
        let answer = alice.open(&silent.clone().with("id_token_hint", hint).path()).await;
        assert_eq!(answer.callback_error(), "invalid_request");
    }
    let asked = app.asks("openid").with("id_token_hint", of_bob.id());
    let page = alice.open(&asked.path()).await;
    assert_eq!(page.page(), "sign-in");
    assert_eq!(alice.enter(&page).await.callback_error(), "login_required", "still another than was meant");
    let page = alice.open(&asked.path()).await;
    let mut bob = alice.taken_over_by("bob");
    let tokens = TokenAnswer::read(&app.redeem(&bob.enter(&page).await.callback()["code"]).await);
    assert_eq!(jwt::claims(tokens.id())["sub"], "bob");
}
