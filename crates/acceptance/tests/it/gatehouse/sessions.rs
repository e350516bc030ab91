//! Lifetime of sign-in sessions, and the seats of the API (`sessions.md`).

use std::time::Duration;

use acceptance::{Browser, Client, TestServer, TokenAnswer, on_both};
use serde_json::json;

use crate::{FIRST, PORTAL, SERVICE};

on_both! {
    a_sign_in_ends_after_two_idle_hours
    a_sign_in_ends_after_ten_hours_however_busy
    five_seats_are_five_sessions_and_one_is_kept_for_the_administrator
    a_service_session_ends_after_an_hour_even_if_busy
}

const MINUTE: Duration = Duration::from_mins(1);
/// One of several nodes trusts an idle timer after a second at the latest.
const SECOND: Duration = Duration::from_secs(1);
/// Time limit for an expected effect. Only a failing test waits this long.
const PATIENCE: Duration = Duration::from_secs(20);

/// A node that has just started leaves idle sessions to other nodes for a moment.
async fn until_seats_taken_are(server: &TestServer, wanted: u64) {
    let closed = async {
        let operator = server.operator().await;
        loop {
            server.tick().await;
            let (seats, _) = operator.seats().await.expect("sessions can be read");
            if seats.used == wanted {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, closed).await.expect("the timers close");
}

async fn silently(server: &TestServer, browser: &mut Browser) -> Option<String> {
    let asked = server.app(FIRST).asks("openid read").with("prompt", "none");
    browser.open(&asked.path()).await.callback().remove("error")
}

async fn a_sign_in_ends_after_two_idle_hours(server: TestServer) {
    let mut alice = server.browser("alice");
    server.app(FIRST).sign_in(&mut alice, "openid read").await;
    for _ in 0..2 {
        server.advance(119 * MINUTE);
        assert_eq!(silently(&server, &mut alice).await, None, "used in time");
    }
    server.advance(120 * MINUTE);
    assert_eq!(silently(&server, &mut alice).await.as_deref(), Some("login_required"));
    assert_eq!(alice.open("/id/account").await.page(), "sign-in");
}

async fn a_sign_in_ends_after_ten_hours_however_busy(server: TestServer) {
    let mut alice = server.browser("alice");
    server.app(FIRST).sign_in(&mut alice, "openid read").await;
    for _ in 0..599 / 60 {
        server.advance(60 * MINUTE);
        assert_eq!(silently(&server, &mut alice).await, None);
    }
    server.advance(59 * MINUTE);
    assert_eq!(silently(&server, &mut alice).await, None);
    server.advance(MINUTE);
    assert_eq!(silently(&server, &mut alice).await.as_deref(), Some("login_required"));
}

async fn service_token(server: &TestServer) -> String {
    TokenAnswer::read(&server.app(SERVICE).service_token("").await).access
}

/// Takes this many seats.
async fn take_seats(server: &TestServer, count: usize) -> Vec<String> {
    let mut tokens = Vec::new();
    for _ in 0..count {
        let token = service_token(server).await;
        assert_eq!(server.client().call_api(&token).await.status, 200);
        tokens.push(token);
    }
    tokens
}

async fn assert_no_seat(client: &Client, token: &str) {
    let answer = client.call_api(token).await;
    assert_eq!(answer.status, 429, "{}", answer.text());
    let seconds: u64 = answer.header("retry-after").parse().expect("seconds");
    assert!((1..=1201).contains(&seconds), "no longer than the earliest timer: {seconds}");
    let error = &answer.json()["error"];
    assert_eq!(error["type"], "MaximumLicenseCountExceeded");
    assert!(error["code"].is_number(), "numeric as everywhere: {error}");
    let message = error["message"].as_str().expect("a text");
    assert!(message.contains('5') && message.contains(&seconds.to_string()), "how many, and when: {message}");
}

async fn five_seats_are_five_sessions_and_one_is_kept_for_the_administrator(server: TestServer) {
    let client = server.client();
    let app = server.app(FIRST);
    let of_alice = app.sign_in(&mut server.browser("alice"), "openid read").await;
    let of_admin = app.sign_in(&mut server.browser("admin"), "openid read").await;
    let of_admin_again = app.sign_in(&mut server.browser("admin"), "openid read").await;
    let services = take_seats(&server, 4).await;
    assert_no_seat(&client, &of_alice.access).await;
    assert_no_seat(&client, &service_token(&server).await).await;
    assert_eq!(client.user_info(&of_alice.access).await.status, 200, "no seat is needed to say who one is");
    assert_eq!(client.call_api(&of_admin.access).await.status, 200, "the seat that was kept");
    assert_no_seat(&client, &of_admin_again.access).await;
    for token in &services {
        assert_eq!(client.call_api(token).await.status, 200, "who has a seat keeps it");
    }
    let there = TokenAnswer::read(&server.app_at_other(SERVICE).service_token("").await).access;
    assert_eq!(server.other_client().call_api(&there).await.status, 200, "another instance has its own");

    // All but one become idle.
    server.advance(19 * MINUTE);
    assert_eq!(client.call_api(&services[0]).await.status, 200);
    assert_no_seat(&client, &of_alice.access).await;
    server.advance(MINUTE + SECOND);
    until_seats_taken_are(&server, 1).await;
    assert_eq!(client.call_api(&of_alice.access).await.status, 200, "a seat is free");
    for token in &services[1..3] {
        assert_eq!(client.call_api(token).await.status, 200, "and a closed session may open anew");
    }
    assert_no_seat(&client, &services[3]).await;
    let trail = server.audit().await;
    let count = |kind: &str, reason: &str| trail.iter().filter(|row| row.kind == kind && row.reason == reason).count();
    assert_eq!(count("session-opened", ""), 4 + 1 + 3);
    assert_eq!(count("session-closed", "timer"), 4, "three services and the administrator");
    assert_eq!(count("session-refused", "no_seat_free"), 5);
}

#[tokio::test]
async fn the_apps_of_one_sign_in_share_a_seat_and_so_do_refreshed_tokens() {
    let server = TestServer::open().await;
    let (client, mut alice) = (server.client(), server.browser("alice"));
    let first = server.app(FIRST).sign_in(&mut alice, "openid read offline_access").await;
    let portal = server.app(PORTAL).sign_in(&mut alice, "openid read").await;
    assert_eq!(client.call_api(&first.access).await.status, 200);
    take_seats(&server, 3).await;
    assert_eq!(client.call_api(&portal.access).await.status, 200);
    let refreshed = TokenAnswer::read(&server.app(FIRST).refresh(first.refresh()).await);
    assert_eq!(client.call_api(&refreshed.access).await.status, 200);
    let elsewhere = server.app(FIRST).sign_in(&mut server.browser("alice"), "openid read").await;
    assert_no_seat(&client, &elsewhere.access).await;
    // Disabling one of its apps leaves the session to the other.
    server.enable_app(FIRST, false).await;
    assert_eq!(client.call_api(&first.access).await.status, 401);
    assert_eq!(client.call_api(&portal.access).await.status, 200);
    assert_no_seat(&client, &service_token(&server).await).await;
    server.enable_app(PORTAL, false).await;
    assert_eq!(client.call_api(&service_token(&server).await).await.status, 200, "none is left: its seat is free");
}

#[tokio::test]
async fn an_idle_session_closes_after_twenty_minutes() {
    let server = TestServer::open().await;
    let (client, token) = (server.client(), service_token(&server).await);
    let user = server.app(FIRST).sign_in(&mut server.browser("alice"), "read").await.access;
    for _ in 0..2 {
        assert_eq!(client.call_api(&token).await.status, 200);
        assert_eq!(client.call_api(&user).await.status, 200);
        server.advance(Duration::from_millis(19 * 60_000 + 59_999));
        server.tick().await;
    }
    server.advance(Duration::from_millis(1));
    server.tick().await;
    let trail = server.audit().await;
    assert_eq!(trail.iter().filter(|row| row.kind == "session-opened").count(), 2);
    assert_eq!(trail.iter().filter(|row| row.kind == "session-closed" && row.reason == "timer").count(), 2);
}

async fn a_service_session_ends_after_an_hour_even_if_busy(server: TestServer) {
    let system_user = server.users().await;
    let system_user = system_user.iter().find(|user| user.login.as_str() == "svc.integration").expect("it is there");
    let record = json!({
        "ApplicationUri": "long", "Name": "Long", "ClientType": "Confidential", "Scope": "read",
        "SystemUserAllowed": true, "SystemUser": system_user.id.0, "AccessTokenSeconds": 7200,
    });
    let app = server.register(record, Some("long-secret-of-good-length")).await;
    let (client, token) = (server.client(), TokenAnswer::read(&app.service_token("").await).access);
    let user = server.app(FIRST).sign_in(&mut server.browser("alice"), "read offline_access").await;
    let mut newest = user.clone();
    for _ in 0..6 {
        assert_eq!(client.call_api(&token).await.status, 200);
        assert_eq!(client.call_api(&newest.access).await.status, 200);
        server.advance(10 * MINUTE);
        server.tick().await;
        newest = TokenAnswer::read(&server.app(FIRST).refresh(newest.refresh()).await);
    }
    assert_eq!(client.call_api(&token).await.status, 200, "the next call opens a new one");
    assert_eq!(client.call_api(&newest.access).await.status, 200);
    let trail = server.audit().await;
    let opened = trail.iter().filter(|row| row.kind == "session-opened" && row.application == "long");
    assert_eq!(opened.count(), 2);
    let of_alice = trail.iter().filter(|row| row.kind == "session-opened" && row.application == FIRST);
    assert_eq!(of_alice.count(), 1, "a person's session goes on while it is used");
}

#[tokio::test]
async fn a_call_that_is_refused_before_its_seat_opens_no_session() {
    let server = TestServer::open().await;
    let client = server.client();
    let update_only = TokenAnswer::read(&server.app(SERVICE).service_token("update").await).access;
    let identity_only = server.app(FIRST).sign_in(&mut server.browser("alice"), "openid").await.access;
    let community = server.app(PORTAL).sign_in(&mut server.browser("carol"), "read").await.access;
    for (token, status) in
        [(update_only.as_str(), 403), (&identity_only, 401), (&community, 403), ("x", 401), ("", 400)]
    {
        assert_eq!(client.call_api(token).await.status, status, "{token:.20}");
    }
    take_seats(&server, 4).await;
}

#[tokio::test]
async fn a_refused_entry_takes_nothing_and_the_query_is_asked_last() {
    let server = TestServer::open().await;
    let (client, token) = (server.client(), service_token(&server).await);
    // Seat before permission and query: an unknown set still opens the session.
    assert_eq!(client.get_with("/api/domain/odata/Nothing_Here", &token).await.status, 404);
    let opened = server.audit().await.iter().filter(|row| row.kind == "session-opened").count();
    assert_eq!(opened, 1);
}

#[tokio::test]
async fn disabling_frees_the_seat_and_ends_the_tokens_at_once() {
    let server = TestServer::open().await;
    let client = server.client();
    let of_alice = server.app(FIRST).sign_in(&mut server.browser("alice"), "openid read").await;
    assert_eq!(client.call_api(&of_alice.access).await.status, 200);
    let services = take_seats(&server, 3).await;
    let waiting = server.app(FIRST).sign_in(&mut server.browser("bob"), "openid read").await.access;
    assert_no_seat(&client, &waiting).await;

    server.enable_user("alice", false).await;
    assert_eq!(client.call_api(&of_alice.access).await.status, 401);
    assert_eq!(client.user_info(&of_alice.access).await.status, 401);
    assert_eq!(client.call_api(&waiting).await.status, 200);
    server.enable_user("alice", true).await;
    assert_eq!(client.call_api(&of_alice.access).await.status, 401, "what died stays dead");

    server.enable_app(SERVICE, false).await;
    for token in &services {
        assert_eq!(client.call_api(token).await.status, 401);
    }
    server.enable_app(SERVICE, true).await;
    for token in &services {
        assert_eq!(client.call_api(token).await.status, 401);
    }
    take_seats(&server, 3).await;

    server.enable_user("svc.integration", false).await;
    assert_eq!(client.call_api(&waiting).await.status, 200, "others go on");
}

#[tokio::test]
async fn a_restart_closes_the_sessions_of_an_embedded_database() {
    let server = TestServer::open().await;
    let tokens = take_seats(&server, 4).await;
    let server = server.restarted().await;
    let fresh = take_seats(&server, 3).await;
    assert_eq!(server.client().call_api(&tokens[0]).await.status, 200, "old tokens open sessions anew");
    assert_no_seat(&server.client(), &tokens[1]).await;
    assert_eq!(server.client().call_api(&fresh[0]).await.status, 200);
    let trail = server.audit().await;
    assert_eq!(trail.iter().filter(|row| row.kind == "session-closed" && row.reason == "restart").count(), 4);
}
