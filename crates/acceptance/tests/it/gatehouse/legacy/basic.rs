//! HTTP Basic (RFC 7617) on API calls.

use std::time::Duration;

use acceptance::{TestServer, on_both};
use http::Method;
use model::legacy::LegacyScheme;
use serde_json::json;

use super::{
    CUSTOMERS, LEGACY, PASSWORD, alice, alices_session, assert_unauthorized, basic, call, call_through, login,
    old_client, post, seats_used, set, switch_on_at_other,
};
use crate::FIRST;

on_both! {
    an_application_and_a_person_have_one_session_by_basic
    what_ends_a_person_ends_basic_on_the_next_call
    what_ends_basic_is_felt_on_the_next_call
    uses_are_counted_for_each_application_and_scheme
}

async fn an_application_and_a_person_have_one_session_by_basic(server: TestServer) {
    let client = server.client();
    server.register(old_client("old/excel", "read"), Some("secret")).await;
    for _ in 0..3 {
        assert_eq!(call(&client, &alice()).await.status, 200);
        assert_eq!(call_through(&client, LEGACY, &alice()).await.status, 200, "the default, by its name");
    }
    assert_eq!(seats_used(&server).await, 1);
    assert_eq!(call_through(&client, "old/excel", &alice()).await.status, 200);
    assert_eq!(seats_used(&server).await, 2, "another application");
    assert_eq!(call(&client, &basic("bob", "bob-Demo1")).await.status, 200);
    assert_eq!(seats_used(&server).await, 3, "another person");
    let sessions = server.operator().await.sessions_before(None, None, 1000).await.expect("no fault");
    assert!(sessions.iter().all(|view| view.key.as_text().starts_with("basic:")));
    for scheme in ["basic", "BASIC"] {
        assert_eq!(call(&client, &alice().replacen("Basic", scheme, 1)).await.status, 200, "RFC 9110 §11.1");
    }
    assert_eq!(call(&client, &basic("ALICE", PASSWORD)).await.status, 200, "logins have no case");
}

#[tokio::test]
async fn a_password_in_utf_8_works_as_at_the_page() {
    let server = TestServer::open().await;
    let password = "пароль: Ünïcode €";
    server.set_password("alice", password).await;
    assert_eq!(call(&server.client(), &basic("alice", password)).await.status, 200);
    let mut browser = server.browser("alice");
    browser.password = password.to_owned();
    let page = browser.open("/id/account").await;
    assert_eq!(browser.enter(&page).await.page(), "account");
}

#[tokio::test]
async fn basic_does_no_more_than_the_application_and_the_person_may() {
    let server = TestServer::open().await;
    let client = server.client();
    server.register(old_client("old/reader", "read sec"), Some("secret")).await;
    let create = async |authorization: &str, application: &str| {
        let ask = client.ask(&Method::POST, CUSTOMERS.split('?').next().expect("a path"));
        let ask = ask.header("authorization", authorization).header("x-application-uri", application);
        ask.body("application/json", r#"{"Number":"K-9001"}"#).send().await
    };
    let answer = create(&alice(), "old/reader").await;
    assert_eq!(answer.status, 403, "{}", answer.text());
    assert!(answer.header("www-authenticate").contains("scope=\"update\""));
    let answer = create(&basic("bob", "bob-Demo1"), LEGACY).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["error"]["type"]), (403, &json!("AccessDeniedException")));
    assert_eq!(create(&alice(), LEGACY).await.status, 422, "let in, and told what the entity lacks");
}

#[tokio::test]
async fn a_password_that_is_known_costs_one_comparison_in_five_minutes() {
    let server = TestServer::open().await;
    let client = server.client();
    for _ in 0..20 {
        assert_eq!(call(&client, &alice()).await.status, 200);
    }
    server.advance(Duration::from_mins(5));
    for _ in 0..3 {
        assert_eq!(call(&client, &alice()).await.status, 200);
    }
    let trail = server.audit().await;
    let count = |kind: &str| trail.iter().filter(|row| row.kind == kind).count();
    assert_eq!((count("sign-in"), count("api-call"), count("session-opened")), (2, 23, 1));
}

/// Concurrent calls are not counted as guesses.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_calls_of_a_client_come_side_by_side_and_are_all_let_in() {
    let server = TestServer::open().await;
    let client = server.client();
    let calls: Vec<_> = (0..12)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { call(&client, &alice()).await.status.as_u16() })
        })
        .collect();
    for done in calls {
        assert_eq!(done.await.expect("a call"), 200);
    }
    let trail = server.audit().await;
    assert_eq!(trail.iter().filter(|row| row.kind == "sign-in").count(), 1, "compared once");
}

async fn what_ends_a_person_ends_basic_on_the_next_call(server: TestServer) {
    let client = server.client();
    assert_eq!(call(&client, &alice()).await.status, 200);
    server.set_password("alice", "a brand new password").await;
    assert_eq!(seats_used(&server).await, 0, "the seat is free");
    assert_unauthorized(&call(&client, &alice()).await, "Wrong login or password");
    let renewed = basic("alice", "a brand new password");
    assert_eq!(call(&client, &renewed).await.status, 200);
    server.enable_user("alice", false).await;
    assert_eq!(seats_used(&server).await, 0);
    assert_unauthorized(&call(&client, &renewed).await, "Wrong login or password");
    server.enable_user("alice", true).await;
    assert_eq!(call(&client, &renewed).await.status, 200);
}

async fn what_ends_basic_is_felt_on_the_next_call(server: TestServer) {
    let client = server.client();
    let erp = alices_session(&client).await;
    let works = async |status: u16, why: &str| {
        for authorization in [&alice(), &erp] {
            let answer = call(&client, authorization).await;
            assert_eq!(answer.status, status, "{why}: {}", answer.text());
        }
    };
    works(200, "switched on").await;
    server.enable_app(LEGACY, false).await;
    assert_eq!(seats_used(&server).await, 0, "no other application uses the sessions");
    works(401, "the application is disabled").await;
    server.enable_app(LEGACY, true).await;
    assert_eq!(call(&client, &alice()).await.status, 200);
    assert_eq!(call(&client, &erp).await.status, 401, "enabling revives no session");

    let erp = alices_session(&client).await;
    assert_eq!(seats_used(&server).await, 2);
    set(&server, "legacy_schemes", "false").await;
    assert_eq!(seats_used(&server).await, 0, "what they opened is closed");
    for authorization in [&alice(), &erp] {
        assert_unauthorized(&call(&client, authorization).await, "are disabled");
    }
    assert_unauthorized(&login(&client, "alice", PASSWORD, LEGACY).await, "are disabled");
    set(&server, "legacy_schemes", "true").await;
    assert_eq!(call(&client, &alice()).await.status, 200);
}

#[tokio::test]
async fn a_sunset_is_announced_and_then_it_is_over() {
    const DAY: Duration = Duration::from_hours(24);
    let server = TestServer::open().await;
    let client = server.client();
    let token = server.app(FIRST).sign_in(&mut server.browser("alice"), "openid read").await.access;
    assert_eq!(call(&client, &alice()).await.header("sunset"), "", "none was decided");
    // The tests' clock shows the afternoon of 2030-03-17.
    set(&server, "legacy_sunset", "2030-03-19").await;
    let answered = login(&client, "alice", PASSWORD, LEGACY).await;
    let erp = super::session(&answered);
    assert_eq!(answered.header("sunset"), "Tue, 19 Mar 2030 00:00:00 GMT", "RFC 8594");
    for authorization in [&alice(), &erp] {
        let answer = call(&client, authorization).await;
        assert_eq!((answer.status.as_u16(), answer.header("sunset")), (200, "Tue, 19 Mar 2030 00:00:00 GMT"));
    }
    assert_eq!(client.call_api(&token).await.header("sunset"), "", "a token has none");
    server.advance(DAY);
    assert_eq!(call(&client, &alice()).await.status, 200, "the last day");
    let erp = alices_session(&client).await;
    assert_eq!(call(&client, &erp).await.status, 200);
    let midnight = model::Timestamp::from_seconds(1_900_108_800);
    assert!(midnight.since(server.now()) < DAY && server.now() < midnight);
    server.set_clock(midnight);
    for authorization in [&alice(), &erp] {
        assert_unauthorized(&call(&client, authorization).await, "2030-03-19");
    }
    assert_unauthorized(&login(&client, "alice", PASSWORD, LEGACY).await, "2030-03-19");
    set(&server, "legacy_sunset", "null").await;
    assert_eq!(call(&client, &alice()).await.status, 200);
}

async fn uses_are_counted_for_each_application_and_scheme(server: TestServer) {
    let client = server.client();
    server.register(old_client("old/excel", "read"), Some("secret")).await;
    server.register(old_client("old/unused", "read"), Some("secret")).await;
    let began = server.now();
    for _ in 0..3 {
        assert_eq!(call_through(&client, "old/excel", &alice()).await.status, 200);
        server.advance(Duration::from_secs(1));
    }
    server.tick().await;
    assert_eq!(call_through(&client, "old/excel", &basic("bob", "bob-Demo1")).await.status, 200);
    assert_eq!(call_through(&client, "old/excel", &basic("bob", "guess")).await.status, 401, "no use");
    server.advance(Duration::from_secs(1));
    let erp = alices_session(&client).await;
    assert_eq!(call(&client, &erp).await.status, 200);
    server.tick().await;

    let report = server.operator().await.legacy_report().await.expect("no fault");
    assert!(report.switched_on && report.sunset.is_none());
    assert_eq!(report.unused, ["old/unused"]);
    let [erp_login, basic] = report.applications.as_slice() else { panic!("two schemes were used") };
    assert_eq!((erp_login.application.as_str(), erp_login.scheme), (LEGACY, LegacyScheme::ErpLogin));
    assert_eq!((erp_login.uses, erp_login.users), (2, 1), "the login, and a call");
    assert_eq!((basic.application.as_str(), basic.scheme), ("old/excel", LegacyScheme::Basic));
    assert_eq!((basic.uses, basic.users), (4, 2));
    assert_eq!((basic.first_at, basic.last_at), (began, began.plus(Duration::from_secs(3))));
    let people: Vec<_> = basic.people.iter().map(|(login, seen)| (login.as_str(), seen.uses)).collect();
    assert_eq!(people, [("bob", 1), ("alice", 3)]);
}

#[tokio::test]
async fn without_a_free_seat_legacy_clients_are_refused_like_everybody() {
    let server = TestServer::open().await;
    let client = server.client();
    set(&server, "seats", "2").await;
    let erp = alices_session(&client).await;
    let refused = call(&client, &basic("bob", "bob-Demo1")).await;
    assert_eq!(refused.status, 429, "one is kept for the administrator");
    assert_eq!(refused.json()["error"]["type"], "MaximumLicenseCountExceeded");
    let refused = login(&client, "bob", "bob-Demo1", LEGACY).await;
    assert_eq!(refused.status, 429, "{}", refused.text());
    assert!(refused.header("retry-after").parse::<u64>().is_ok());
    assert_eq!(call(&client, &erp).await.status, 200, "who has a seat keeps it");
}

#[tokio::test]
async fn whoever_waits_to_be_asked_is_asked() {
    let server = TestServer::open().await;
    let client = server.client();
    let challenges = async |headers: &[(&str, &str)]| {
        let mut ask = client.ask(&Method::GET, CUSTOMERS);
        for (name, value) in headers {
            ask = ask.header(name, value);
        }
        let answer = ask.send().await;
        assert_eq!(answer.status, 401);
        let all = answer.headers.get_all("www-authenticate").iter();
        all.map(|value| value.to_str().expect("ASCII").to_owned()).collect::<Vec<_>>()
    };
    let bearer = "Bearer realm=\"http://localhost:8080/id\"";
    let asked = "Basic realm=\"http://localhost:8080/id\", charset=\"UTF-8\"";
    assert_eq!(challenges(&[]).await, [bearer, asked]);
    assert_eq!(challenges(&[("authorization", &basic("alice", "guess"))]).await, [bearer, asked]);
    assert_eq!(challenges(&[("sec-fetch-site", "cross-site")]).await, [bearer], "a browser would ask the person");
    let wrong = basic("alice", "guess");
    assert_eq!(challenges(&[("authorization", &wrong), ("sec-fetch-site", "cross-site")]).await, [bearer]);
    assert_eq!(challenges(&[("x-application-uri", FIRST)]).await, [bearer], "it may not");
    set(&server, "default_legacy_application", "null").await;
    assert_eq!(challenges(&[]).await, [bearer], "no application");
    assert_eq!(challenges(&[("x-application-uri", LEGACY)]).await, [bearer, asked]);
    set(&server, "legacy_schemes", "false").await;
    assert_eq!(challenges(&[("x-application-uri", LEGACY)]).await, [bearer]);
}

#[tokio::test]
async fn every_refusal_and_every_call_is_told_of_and_no_secret_is() {
    let server = TestServer::open().await;
    let client = server.client();
    switch_on_at_other(&server).await;
    let erp = alices_session(&client).await;
    for authorization in [alice(), erp.clone(), basic("alice", "a wrong guess"), basic("dave", "evad-Demo1")] {
        call(&client, &authorization).await;
    }
    call_through(&client, FIRST, &alice()).await;
    call_through(&client, "nobody.knows", &alice()).await;
    call(&client, &format!("{erp}x")).await;
    post(&client, "/api/domain/login", "{".to_owned()).await;
    let trail = server.audit().await;
    let events = |kind: &str, reason: &str| {
        trail.iter().filter(|row| row.kind == kind && row.reason == reason).collect::<Vec<_>>()
    };
    for (kind, reason, count) in [
        ("sign-in", "", 1),
        ("sign-in", "wrong_password", 1),
        ("sign-in", "user_disabled", 1),
        ("sign-in", "application_forbids_legacy", 1),
        ("sign-in", "unknown_application", 1),
        ("api-call", "", 3),
        ("api-call", "wrong_password", 1),
        ("api-call", "user_disabled", 1),
        ("api-call", "erp_session_unknown", 1),
        ("api-call", "malformed_login", 1),
    ] {
        assert_eq!(events(kind, reason).len(), count, "{kind} {reason}");
    }
    let signed_in = events("sign-in", "");
    assert!(signed_in.iter().all(|row| !row.user.is_empty() && row.application == LEGACY));
    let refused = events("sign-in", "wrong_password");
    assert!(!refused[0].user.is_empty() && refused[0].application == LEGACY, "whose it was");
    assert!(refused[0].columns.iter().any(|column| column.contains("\"Basic\"")));
    assert_eq!(events("sign-in", "unknown_application")[0].application, "nobody.knows");
    let calls = events("api-call", "");
    assert!(calls.iter().all(|row| !row.session.is_empty() && row.application == LEGACY));
    let id = erp.split_once(' ').expect("a scheme").1;
    for secret in [PASSWORD, "a wrong guess", id, &alice()[6..]] {
        assert!(trail.iter().all(|row| row.columns.iter().all(|column| !column.contains(secret))));
    }
}
