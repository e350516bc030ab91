//! Best Current Practice for OAuth 2.0 Security.

use std::time::Duration;

use acceptance::{App, AuthorizationParams, Client, TestServer, TokenAnswer, on_both};
use tokio::task::JoinSet;

use crate::{FIRST, NATIVE, assert_error_page, assert_refused};

on_both! {
    a_lost_answer_is_given_again_for_ten_seconds
    a_confidential_app_gets_a_lost_answer_again_while_the_newest_token_is_unseen
    a_public_app_loses_its_family_by_late_reuse
    the_token_before_the_last_but_one_ends_its_whole_family_at_once
    a_repeat_is_told_with_both_addresses
    what_proved_a_token_is_remembered_over_a_restart
    racing_uses_of_a_refresh_token_have_one_successor
    a_refresh_token_has_an_absolute_end
}

const SECOND: Duration = Duration::from_secs(1);
const SCOPE: &str = "openid read offline_access";

/// §4.1.3: exact string comparison.
#[tokio::test]
async fn a_redirect_uri_that_differs_in_anything_is_an_error_page_and_never_a_redirect() {
    let server = TestServer::open().await;
    let (app, mut alice) = (server.app(FIRST), server.browser("alice"));
    alice.sign_in().await;
    for uri in [
        "https://your-app.example.com/Signin-callback",
        "https://Your-App.example.com/signin-callback",
        "HTTPS://your-app.example.com/signin-callback",
        "https://your-app.example.com/signin-callback/",
        "https://your-app.example.com//signin-callback",
        "https://your-app.example.com/./signin-callback",
        "https://your-app.example.com/x/../signin-callback",
        "https://your-app.example.com/signin%2Dcallback",
        "https://your-app.example.com:443/signin-callback",
        "https://your-app.example.com:8443/signin-callback",
        "https://your-app.example.com./signin-callback",
        "https://your-app.example.com/signin-callback?",
        "https://your-app.example.com/signin-callback?x=1",
        "https://your-app.example.com/signin-callback#",
        "https://your-app.example.com/signin-callback#f",
        "https://user@your-app.example.com/signin-callback",
        "https://your-app.example.com@evil.example/signin-callback",
        "https://your-app.example.com.evil.example/signin-callback",
        "https://evil.example/https://your-app.example.com/signin-callback",
        "https://your-app.example.com\\@evil.example/signin-callback",
        "https://y\u{43e}ur-app.example.com/signin-callback",
        "https://your-app.example.com/signin-callback\u{200b}",
        " https://your-app.example.com/signin-callback",
        "https://your-app.example.com/signin-callback\n",
        "http://your-app.example.com/signin-callback",
        "//your-app.example.com/signin-callback",
        "/signin-callback",
        "javascript:alert(1)",
        "https://your-spa.example.com/index.html",
    ] {
        for asked in [app.asks("read"), app.asks("nonsense"), app.asks("read").with("prompt", "none")] {
            let answer = alice.open(&asked.with("redirect_uri", uri).path()).await;
            assert_error_page(&answer, 400, "invalid_request");
            assert!(!answer.text().contains("evil.example"), "the page leads nowhere: {uri}");
        }
    }
}

/// A family at its second generation, with the tokens of both.
async fn rotated(server: &TestServer, uri: &str) -> (App, TokenAnswer, TokenAnswer) {
    let app = server.app(uri);
    let first = app.sign_in(&mut server.browser("alice"), SCOPE).await;
    let second = TokenAnswer::read(&app.refresh(first.refresh()).await);
    assert_ne!(first.refresh(), second.refresh(), "it rotates");
    (app, first, second)
}

/// The family is revoked with its tokens.
async fn assert_dead(app: &App, tokens: &[&TokenAnswer]) {
    for tokens in tokens {
        assert_refused(&app.refresh(tokens.refresh()).await, 400, "invalid_grant");
        assert_eq!(app.client.call_api(&tokens.access).await.status, 401);
        assert_eq!(app.client.user_info(&tokens.access).await.status, 401);
    }
}

async fn a_lost_answer_is_given_again_for_ten_seconds(server: TestServer) {
    for uri in [FIRST, NATIVE] {
        let (app, first, second) = rotated(&server, uri).await;
        let at_once = TokenAnswer::read(&app.refresh(first.refresh()).await);
        assert_eq!(at_once.refresh(), second.refresh(), "{uri}: the same again, not another");
        // Even after the newest token was used.
        assert_eq!(app.client.call_api(&second.access).await.status, 200);
        server.advance(10 * SECOND);
        let in_time = TokenAnswer::read(&app.refresh(first.refresh()).await);
        assert_eq!(in_time.refresh(), second.refresh(), "{uri}");
        for tokens in [&first, &second, &at_once, &in_time] {
            assert_eq!(app.client.call_api(&tokens.access).await.status, 200, "{uri}");
        }
        let third = TokenAnswer::read(&app.refresh(second.refresh()).await);
        assert_ne!(third.refresh(), second.refresh());
    }
}

async fn a_confidential_app_gets_a_lost_answer_again_while_the_newest_token_is_unseen(server: TestServer) {
    let (app, first, second) = rotated(&server, FIRST).await;
    // Using the first generation proves nothing about the second.
    assert_eq!(app.client.call_api(&first.access).await.status, 200);
    for _ in 0..3 {
        server.advance(Duration::from_mins(10));
        assert_eq!(TokenAnswer::read(&app.refresh(first.refresh()).await).refresh(), second.refresh());
    }
    for proof in ["api", "userinfo"] {
        let (app, first, second) = rotated(&server, FIRST).await;
        server.advance(11 * SECOND);
        let seen = match proof {
            "api" => app.client.call_api(&second.access).await,
            _ => app.client.user_info(&second.access).await,
        };
        assert_eq!(seen.status, 200);
        assert_refused(&app.refresh(first.refresh()).await, 400, "invalid_grant");
        assert_dead(&app, &[&first, &second]).await;
    }
}

async fn a_public_app_loses_its_family_by_late_reuse(server: TestServer) {
    let (app, first, second) = rotated(&server, NATIVE).await;
    server.advance(11 * SECOND);
    assert_refused(&app.refresh(first.refresh()).await, 400, "invalid_grant");
    assert_dead(&app, &[&first, &second]).await;
    let silent = server.browser("alice").authorize(&app.asks(SCOPE)).await;
    assert!(silent.callback().contains_key("code"), "the person may begin anew");
    let trail = server.audit().await;
    let reused: Vec<_> = trail.iter().filter(|row| row.kind == "token-reused").collect();
    assert_eq!(reused.len(), 1);
    assert_eq!((reused[0].outcome.as_str(), reused[0].reason.as_str()), ("refused", "refresh_token_reused"));
    assert_eq!(reused[0].application, NATIVE);
}

async fn the_token_before_the_last_but_one_ends_its_whole_family_at_once(server: TestServer) {
    for uri in [FIRST, NATIVE] {
        let (app, first, second) = rotated(&server, uri).await;
        let third = TokenAnswer::read(&app.refresh(second.refresh()).await);
        // Within the ten seconds, without a proof.
        assert_refused(&app.refresh(first.refresh()).await, 400, "invalid_grant");
        assert_dead(&app, &[&first, &second, &third]).await;
    }
    // Only that family is revoked: the user's other tokens for the same application stay valid.
    let mut alice = server.browser("alice");
    let other = server.app(NATIVE).sign_in(&mut alice, SCOPE).await;
    let again = server.app(NATIVE).sign_in(&mut alice, SCOPE).await;
    let mut newest = again.clone();
    for _ in 0..2 {
        newest = TokenAnswer::read(&server.app(NATIVE).refresh(newest.refresh()).await);
    }
    assert_refused(&server.app(NATIVE).refresh(again.refresh()).await, 400, "invalid_grant");
    TokenAnswer::read(&server.app(NATIVE).refresh(other.refresh()).await);
    assert_eq!(server.client().call_api(&other.access).await.status, 200);
}

/// The answer is repeated for any caller at any node, and the audit records the address of the first one.
async fn a_repeat_is_told_with_both_addresses(server: TestServer) {
    const HERE: &str = "192.0.2.1";
    let node = server.another_node().await;
    let (app, first, second) = rotated(&server, FIRST).await;
    let from = |client: &Client, address: &str| App { client: client.from(&format!("{address}:443")), ..app.clone() };
    let (there, by_other) = (from(&app.client, "198.51.100.7"), from(&server.client_of(&node), "203.0.113.9"));
    for repeating in [&app, &there, &by_other] {
        assert_eq!(TokenAnswer::read(&repeating.refresh(first.refresh()).await).refresh(), second.refresh());
    }
    // The newest token was never used: a Confidential application may have lost the answer.
    server.advance(11 * SECOND);
    assert_eq!(TokenAnswer::read(&there.refresh(first.refresh()).await).refresh(), second.refresh());
    // Another client makes the next rotation. A refused one is audited likewise.
    let third = TokenAnswer::read(&there.refresh(second.refresh()).await);
    TokenAnswer::read(&app.refresh(second.refresh()).await);
    assert_refused(&app.refresh(first.refresh()).await, 400, "invalid_grant");
    assert_dead(&app, &[&third]).await;
    drop(node);
    let trail = server.audit().await;
    let events_of = |kind: &str| -> Vec<(String, String)> {
        let rows = trail.iter().filter(|row| row.kind == kind && row.application == FIRST);
        let mut pairs: Vec<_> = rows.map(|row| (row.address.clone(), row.earlier_address.clone())).collect();
        pairs.sort();
        pairs
    };
    let pair = |now: &str, before: &str| (now.to_owned(), before.to_owned());
    let mut repeated = [
        pair(HERE, HERE),
        pair("198.51.100.7", HERE),
        pair("203.0.113.9", HERE),
        pair("198.51.100.7", HERE),
        pair(HERE, "198.51.100.7"),
    ];
    repeated.sort();
    assert_eq!(events_of("token-repeated"), repeated);
    assert_eq!(events_of("token-refreshed"), [pair(HERE, ""), pair("198.51.100.7", "")], "no other rotation");
    assert_eq!(events_of("token-reused"), [pair(HERE, "198.51.100.7")]);
}

async fn what_proved_a_token_is_remembered_over_a_restart(server: TestServer) {
    let (app, first, second) = rotated(&server, FIRST).await;
    assert_eq!(app.client.user_info(&second.access).await.status, 200);
    let (_, unseen_first, unseen_second) = rotated(&server, FIRST).await;
    let server = server.restarted().await;
    server.advance(11 * SECOND);
    let app = server.app(FIRST);
    assert_eq!(TokenAnswer::read(&app.refresh(unseen_first.refresh()).await).refresh(), unseen_second.refresh());
    assert_refused(&app.refresh(first.refresh()).await, 400, "invalid_grant");
    assert_dead(&app, &[&second]).await;
}

async fn racing_uses_of_a_refresh_token_have_one_successor(server: TestServer) {
    for uri in [FIRST, NATIVE] {
        let (app, mut alice) = (server.app(uri), server.browser("alice"));
        let tokens = app.sign_in(&mut alice, SCOPE).await;
        let mut racers = JoinSet::new();
        for _ in 0..64 {
            let (app, shown) = (app.clone(), tokens.refresh().to_owned());
            racers.spawn(async move { TokenAnswer::read(&app.refresh(&shown).await) });
        }
        let answers = racers.join_all().await;
        let successor = answers[0].refresh();
        assert!(answers.iter().all(|answer| answer.refresh() == successor), "{uri}");
        assert_ne!(successor, tokens.refresh());
        for answer in &answers {
            assert_eq!(app.client.user_info(&answer.access).await.status, 200, "{uri}: the family lives");
        }
        TokenAnswer::read(&app.refresh(successor).await);
        let silent: AuthorizationParams = app.asks("read").with("prompt", "none");
        let answer = alice.open(&silent.path()).await.callback();
        let error = answer.get("error").map(String::as_str);
        // A native application gets nothing silently (RFC 8252 §8.6).
        assert_eq!(error, (uri == NATIVE).then_some("interaction_required"), "{uri}: and so does the sign-in");
    }
    let trail = server.audit().await;
    let events_of = |kind: &str| trail.iter().filter(|row| row.kind == kind).count();
    assert_eq!((events_of("token-refreshed"), events_of("token-repeated")), (4, 126), "each tells what it was");
}

async fn a_refresh_token_has_an_absolute_end(server: TestServer) {
    for (uri, lifetime) in [(NATIVE, Duration::from_hours(24)), (FIRST, Duration::from_hours(24 * 30))] {
        let (app, mut alice) = (server.app(uri), server.browser("alice"));
        let mut tokens = app.sign_in(&mut alice, SCOPE).await;
        let signed_in = server.now();
        server.advance(Duration::from_hours(1));
        // A second family of the same sign-in ends with the first one.
        let mut later = app.sign_in(&mut alice, SCOPE).await;
        for share in [3, 2] {
            server.set_clock(signed_in.plus(lifetime / share));
            tokens = TokenAnswer::read(&app.refresh(tokens.refresh()).await);
            later = TokenAnswer::read(&app.refresh(later.refresh()).await);
        }
        server.set_clock(signed_in.plus(lifetime).minus(SECOND));
        tokens = TokenAnswer::read(&app.refresh(tokens.refresh()).await);
        server.advance(SECOND);
        for last in [&tokens, &later] {
            assert_refused(&app.refresh(last.refresh()).await, 400, "invalid_grant");
        }
        let access = app.client.user_info(&tokens.access).await;
        assert_eq!(access.status, 200, "{uri}: expiry is no reuse, it kills nothing");
    }
}
