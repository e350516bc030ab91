//! §6: refreshing. Rotation and reuse are tested under RFC 9700.

use acceptance::{TestServer, TokenAnswer, jwt};

use crate::{FIRST, NATIVE, PORTAL, SPA, assert_refused};

#[tokio::test]
async fn a_refresh_token_of_another_app_is_refused_and_costs_nothing() {
    let server = TestServer::open().await;
    let (app, mut alice) = (server.app(FIRST), server.browser("alice"));
    let tokens = app.sign_in(&mut alice, "openid read offline_access").await;
    let next = TokenAnswer::read(&app.refresh(tokens.refresh()).await);
    for stranger in [server.app(PORTAL), server.app(NATIVE)] {
        assert_refused(&stranger.refresh(next.refresh()).await, 400, "invalid_grant");
        server.advance(std::time::Duration::from_mins(1));
        assert_refused(&stranger.refresh(tokens.refresh()).await, 400, "invalid_grant");
    }
    assert_eq!(app.client.call_api(&next.access).await.status, 200, "a stranger's hand kills nothing");
    TokenAnswer::read(&app.refresh(next.refresh()).await);
}

#[tokio::test]
async fn a_wider_scope_is_refused_and_changes_nothing() {
    let server = TestServer::open().await;
    let (app, mut alice) = (server.app(FIRST), server.browser("alice"));
    let tokens = app.sign_in(&mut alice, "read offline_access").await;
    for wider in ["read update", "update", "read openid", "sec", "READ"] {
        let answer = app.refresh_with(tokens.refresh(), wider).await;
        assert_refused(&answer, 400, "invalid_scope");
    }
    let next = TokenAnswer::read(&app.refresh(tokens.refresh()).await);
    assert_ne!(next.refresh(), tokens.refresh(), "it had not been spent");
    assert_eq!(next.scope, tokens.scope);
}

#[tokio::test]
async fn a_narrower_scope_narrows_that_access_token_only() {
    let server = TestServer::open().await;
    let (app, mut alice) = (server.app(FIRST), server.browser("alice"));
    let tokens = app.sign_in(&mut alice, "openid read update offline_access").await;
    let narrow = TokenAnswer::read(&app.refresh_with(tokens.refresh(), "read").await);
    assert_eq!(narrow.scope, "read");
    assert_eq!(jwt::claims(&narrow.access)["scope"], serde_json::json!(["read"]));
    assert_eq!(narrow.id, None, "openid was not among them");
    assert_eq!(app.client.user_info(&narrow.access).await.status, 403);
    let whole = TokenAnswer::read(&app.refresh(narrow.refresh()).await);
    assert_eq!(whole.scope, tokens.scope, "the family keeps what was granted");
    assert!(whole.id.is_some());
    let same = TokenAnswer::read(&app.refresh_with(whole.refresh(), &tokens.scope).await);
    assert_eq!(same.scope, tokens.scope);
}

#[tokio::test]
async fn a_refresh_token_is_given_where_offline_access_was_granted_only() {
    let server = TestServer::open().await;
    for (uri, scope, given) in [
        (FIRST, "openid read offline_access", true),
        (FIRST, "openid read", false),
        (FIRST, "", false),
        (NATIVE, "read offline_access", true),
        (SPA, "openid read offline_access", false),
        (PORTAL, "openid offline_access", true),
    ] {
        let tokens = server.app(uri).sign_in(&mut server.browser("alice"), scope).await;
        assert_eq!(tokens.refresh.is_some(), given, "{uri} {scope}");
        assert_eq!(tokens.scope.contains("offline_access"), given, "{uri} {scope}");
    }
}

#[tokio::test]
async fn a_refresh_token_that_nobody_gave_is_an_invalid_grant() {
    let server = TestServer::open().await;
    let (app, mut alice) = (server.app(FIRST), server.browser("alice"));
    let tokens = app.sign_in(&mut alice, "read offline_access").await;
    let real = tokens.refresh();
    let mut parts = real.splitn(3, '.');
    let (id, tag) = (parts.next().expect("id"), parts.nth(1).expect("tag"));
    let guesses = [
        "x".to_owned(),
        real[..real.len() - 1].to_owned(),
        format!("{real}A"),
        format!("{id}.2.{tag}"),
        format!("{id}.0.{tag}"),
        format!("{}.1.{tag}", "0".repeat(32)),
        tokens.access.clone(),
        "enrt_".to_owned() + &"A".repeat(64),
    ];
    for guess in guesses {
        assert_refused(&app.refresh(&guess).await, 400, "invalid_grant");
    }
    TokenAnswer::read(&app.refresh(real).await);
}

#[tokio::test]
async fn a_refreshed_id_token_is_of_the_same_sign_in() {
    let server = TestServer::open().await;
    let (app, mut alice) = (server.app(FIRST), server.browser("alice"));
    let tokens = app.sign_in(&mut alice, "openid offline_access").await;
    server.advance(std::time::Duration::from_mins(30));
    let next = TokenAnswer::read(&app.refresh(tokens.refresh()).await);
    let (before, after) = (jwt::claims(tokens.id()), jwt::claims(next.id()));
    for same in ["iss", "sub", "aud", "auth_time", "sid"] {
        assert_eq!(before[same], after[same], "OpenID Connect Core §12.2: {same}");
    }
    assert_eq!(after["iat"].as_i64(), before["iat"].as_i64().map(|iat| iat + 1800));
    assert!(after.get("nonce").is_none(), "§12.2: it should have none");
    assert_eq!(jwt::claims(&next.access)["sid"], before["sid"]);
}

#[tokio::test]
async fn a_refresh_token_dies_with_what_it_stood_on() {
    let server = TestServer::open().await;
    let app = server.app(FIRST);
    let (mut alice, mut bob) = (server.browser("alice"), server.browser("bob"));
    let of_alice = app.sign_in(&mut alice, "read offline_access").await;
    let of_bob = app.sign_in(&mut bob, "read offline_access").await;

    server.set_password("alice", "a new password of alice").await;
    assert_refused(&app.refresh(of_alice.refresh()).await, 400, "invalid_grant");
    let silent = alice.open(&app.asks("read").with("prompt", "none").path()).await;
    assert_eq!(silent.callback_error(), "login_required", "a new password signs out");
    let of_bob = TokenAnswer::read(&app.refresh(of_bob.refresh()).await);

    server.enable_user("bob", false).await;
    assert_refused(&app.refresh(of_bob.refresh()).await, 400, "invalid_grant");
    server.enable_user("bob", true).await;
    assert_refused(&app.refresh(of_bob.refresh()).await, 400, "invalid_grant");

    let of_bob = app.sign_in(&mut server.browser("bob"), "read offline_access").await;
    server.enable_app(FIRST, false).await;
    assert_refused(&app.refresh(of_bob.refresh()).await, 401, "invalid_client");
    server.enable_app(FIRST, true).await;
    assert_refused(&app.refresh(of_bob.refresh()).await, 400, "invalid_grant");
}
