//! §4.1.2, §4.1.3, §10.5: use of an authorization code.

use std::time::Duration;

use acceptance::{TestServer, TokenAnswer, on_both};
use tokio::task::JoinSet;

use crate::{FIRST, PORTAL, assert_refused};

on_both! {
    a_code_used_twice_takes_everything_it_gave_along
    two_racing_redemptions_of_a_code_have_one_winner
    a_code_of_another_app_is_refused_and_costs_nothing
}

async fn a_code_used_twice_takes_everything_it_gave_along(server: TestServer) {
    let (app, mut alice) = (server.app(FIRST), server.browser("alice"));
    let code = app.code(&mut alice, "openid read offline_access").await;
    let tokens = TokenAnswer::read(&app.redeem(&code).await);
    let refreshed = TokenAnswer::read(&app.refresh(tokens.refresh()).await);
    let other = app.sign_in(&mut alice, "openid read offline_access").await;
    for token in [&tokens.access, &refreshed.access] {
        assert_eq!(app.client.call_api(token).await.status, 200);
        assert_eq!(app.client.user_info(token).await.status, 200);
    }

    assert_refused(&app.redeem(&code).await, 400, "invalid_grant");

    for token in [&tokens.access, &refreshed.access] {
        for answer in [app.client.user_info(token).await, app.client.call_api(token).await] {
            assert_eq!(answer.status, 401);
            assert!(answer.header("www-authenticate").contains("error=\"invalid_token\""));
        }
    }
    assert_refused(&app.refresh(refreshed.refresh()).await, 400, "invalid_grant");
    assert_refused(&app.redeem(&code).await, 400, "invalid_grant");
    assert_eq!(app.client.call_api(&other.access).await.status, 200, "another code of the same app is not touched");
    TokenAnswer::read(&app.refresh(other.refresh()).await);
    let silent = alice.open(&app.asks("read").with("prompt", "none").path()).await;
    assert!(silent.callback().contains_key("code"), "the person stays signed in");

    let server = server.restarted().await;
    assert_eq!(server.client().call_api(&tokens.access).await.status, 401, "dead after a restart, too");
    let trail = server.audit().await;
    assert_eq!(trail.iter().filter(|row| row.kind == "code-reused").count(), 1, "the second time it is just unknown");
}

async fn two_racing_redemptions_of_a_code_have_one_winner(server: TestServer) {
    let (app, mut alice) = (server.app(FIRST), server.browser("alice"));
    for _ in 0..8 {
        let code = app.code(&mut alice, "openid read offline_access").await;
        let mut racers = JoinSet::new();
        for _ in 0..2 {
            let (app, code) = (app.clone(), code.clone());
            racers.spawn(async move { app.redeem(&code).await });
        }
        let answers = racers.join_all().await;
        let (won, lost): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status == 200);
        assert_eq!((won.len(), lost.len()), (1, 1));
        assert_refused(&lost[0], 400, "invalid_grant");
        let tokens = TokenAnswer::read(&won[0]);
        assert_eq!(app.client.user_info(&tokens.access).await.status, 401, "used twice is used twice");
        assert_refused(&app.refresh(tokens.refresh()).await, 400, "invalid_grant");
    }
}

async fn a_code_of_another_app_is_refused_and_costs_nothing(server: TestServer) {
    let (app, stranger, mut alice) = (server.app(FIRST), server.app(PORTAL), server.browser("alice"));
    let code = app.code(&mut alice, "openid read offline_access").await;
    assert_refused(&stranger.redeem(&code).await, 400, "invalid_grant");
    let with_its_uri = [("redirect_uri", app.redirect_uri.as_str())];
    assert_refused(&stranger.redeem_with(&code, &with_its_uri).await, 400, "invalid_grant");
    let tokens = TokenAnswer::read(&app.redeem(&code).await);
    assert_refused(&stranger.redeem(&code).await, 400, "invalid_grant");
    assert_eq!(app.client.call_api(&tokens.access).await.status, 200);
    TokenAnswer::read(&app.refresh(tokens.refresh()).await);
    let causes: Vec<_> =
        server.audit().await.into_iter().filter(|row| row.kind == "token-refused").map(|row| row.reason).collect();
    assert_eq!(causes, ["code_of_another_application"; 3]);
}

#[tokio::test]
async fn a_code_lives_for_a_minute() {
    let server = TestServer::open().await;
    let (app, mut alice) = (server.app(FIRST), server.browser("alice"));
    let in_time = app.code(&mut alice, "read").await;
    let late = app.code(&mut alice, "read").await;
    server.advance(Duration::from_millis(59_999));
    TokenAnswer::read(&app.redeem(&in_time).await);
    server.advance(Duration::from_millis(1));
    assert_refused(&app.redeem(&late).await, 400, "invalid_grant");
}

#[tokio::test]
async fn a_code_is_redeemed_only_with_the_redirect_uri_it_was_asked_for() {
    let server = TestServer::open().await;
    let (app, mut alice) = (server.app(FIRST), server.browser("alice"));
    let code = app.code(&mut alice, "read").await;
    let other_registered = "https://your-app.example.com/signin-callback";
    for uri in [other_registered, "", "http://localhost:3000/signin-callback/", "HTTP://localhost:3000/signin-callback"]
    {
        assert_refused(&app.redeem_with(&code, &[("redirect_uri", uri)]).await, 400, "invalid_grant");
    }
    TokenAnswer::read(&app.redeem(&code).await);
}

#[tokio::test]
async fn a_code_that_nobody_gave_is_an_invalid_grant() {
    let server = TestServer::open().await;
    let (app, mut alice) = (server.app(FIRST), server.browser("alice"));
    let code = app.code(&mut alice, "read").await;
    let (start, last) = code.split_at(code.len() - 1);
    let flipped = format!("{start}{}", if last == "A" { "B" } else { "A" });
    for guess in ["x", "a b", &code[1..], &flipped, &format!("{code}A"), &"A".repeat(64), "\u{e9}"] {
        assert_refused(&app.redeem(guess).await, 400, "invalid_grant");
    }
    let missing = app.token(&[("grant_type", "authorization_code")]).await;
    assert_refused(&missing, 400, "invalid_request");
    TokenAnswer::read(&app.redeem(&code).await);
}

#[tokio::test]
async fn a_code_dies_with_what_it_stood_on() {
    let server = TestServer::open().await;
    let (app, mut alice, mut bob) = (server.app(FIRST), server.browser("alice"), server.browser("bob"));
    let disabled = app.code(&mut alice, "read").await;
    server.enable_user("alice", false).await;
    assert_refused(&app.redeem(&disabled).await, 400, "invalid_grant");
    let signed_out = app.code(&mut bob, "read").await;
    let page = bob.open("/id/connect/endsession").await;
    bob.submit(&page, "csrf", &[]).await;
    assert_refused(&app.redeem(&signed_out).await, 400, "invalid_grant");
}
