//! ErpLogin: exchanges login and password for the id of an API session.

use std::time::Duration;

use acceptance::{Client, TestServer, on_both};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Method;
use serde_json::json;

use super::{
    LEGACY, PASSWORD, alices_session, assert_unauthorized, basic, call, login, old_client, post, seats_used, session,
    set, switch_on_at_other,
};

on_both! {
    the_same_credentials_are_answered_the_same_session_while_it_lives
    a_session_dies_of_its_idle_timer_and_its_id_with_it
    what_ends_a_person_ends_their_erp_session
}

const MINUTE: Duration = Duration::from_mins(1);

async fn log_out(client: &Client, authorization: &str) -> acceptance::HttpAnswer {
    client.ask(&Method::POST, "/api/domain/logout").header("authorization", authorization).send().await
}

async fn the_same_credentials_are_answered_the_same_session_while_it_lives(server: TestServer) {
    let client = server.client();
    server.register(old_client("old/excel", "read update"), Some("secret")).await;
    let answer = login(&client, "alice", PASSWORD, LEGACY).await;
    let first = session(&answer);
    let id = first.strip_prefix("ErpSession ").expect("the scheme");
    assert_eq!(answer.text(), format!("{{\"authorization\":\"ErpSession {id}\"}}"), "compact, one member");
    assert!(!id.contains(':') && id.len() <= 200 && id.is_ascii(), "{id}");
    assert_eq!((answer.header("cache-control"), answer.header("content-type")), ("no-store", "application/json"));
    assert_eq!(seats_used(&server).await, 1, "a login is a session");

    for _ in 0..2 {
        assert_eq!(call(&client, &first).await.status, 200);
    }
    server.advance(19 * MINUTE);
    let elsewhere = client.from("198.51.100.7:1");
    assert_eq!(session(&login(&elsewhere, "ALICE", PASSWORD, LEGACY).await), first);
    assert_eq!(session(&login(&client, "alice", PASSWORD, "").await), first, "the default application");
    assert_eq!(seats_used(&server).await, 1);
    for (person, password, app) in [("alice", PASSWORD, "old/excel"), ("bob", "bob-Demo1", LEGACY)] {
        let other = session(&login(&client, person, password, app).await);
        assert_ne!(other, first, "another application, another person");
        assert_eq!(call(&client, &other).await.status, 200);
    }
    assert_eq!(seats_used(&server).await, 3);
    assert_eq!(call(&client, &basic("alice", PASSWORD)).await.status, 200);
    assert_eq!(seats_used(&server).await, 4, "Basic has a session of its own");
}

async fn a_session_dies_of_its_idle_timer_and_its_id_with_it(server: TestServer) {
    let client = server.client();
    let first = alices_session(&client).await;
    server.advance(19 * MINUTE);
    assert_eq!(call(&client, &first).await.status, 200, "a call keeps it");
    server.advance(20 * MINUTE + Duration::from_secs(1));
    // One of several nodes does not close idle sessions directly after its start.
    let over = async {
        while call(&client, &first).await.status != 401 {
            server.advance(20 * MINUTE + Duration::from_secs(1));
            server.tick().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), over).await.expect("the timer closes");
    assert_unauthorized(&call(&client, &first).await, "Log in again");
    assert_unauthorized(&log_out(&client, &first).await, "Log in again");
    let second = alices_session(&client).await;
    assert_ne!(second, first);
    assert_eq!(call(&client, &second).await.status, 200);
    assert_unauthorized(&call(&client, &first).await, "Log in again");
    assert_eq!(seats_used(&server).await, 1);
}

async fn what_ends_a_person_ends_their_erp_session(server: TestServer) {
    let client = server.client();
    let first = alices_session(&client).await;
    server.set_password("alice", "a brand new password").await;
    assert_eq!(seats_used(&server).await, 0);
    assert_unauthorized(&call(&client, &first).await, "Log in again");
    assert_unauthorized(&login(&client, "alice", PASSWORD, LEGACY).await, "Wrong login or password");
    let second = session(&login(&client, "alice", "a brand new password", LEGACY).await);
    assert_ne!(second, first);
    assert_eq!(call(&client, &second).await.status, 200);
    server.enable_user("alice", false).await;
    assert_unauthorized(&call(&client, &second).await, "Log in again");
    server.enable_user("alice", true).await;
    assert_unauthorized(&call(&client, &second).await, "Log in again");

    let third = session(&login(&client, "alice", "a brand new password", LEGACY).await);
    let ending = flows::admin::sessions::SessionSelector::OfUser("alice");
    let mut rng = server.rng();
    let ended = server.operator().await.end_sessions(ending, &mut server.moment(&mut rng)).await;
    assert_eq!(ended.expect("no fault"), Ok(1));
    server.catch_up().await;
    assert_unauthorized(&call(&client, &third).await, "Log in again");
}

#[tokio::test]
async fn a_restart_ends_it_where_a_restart_ends_all_sessions() {
    let server = TestServer::open().await;
    let first = alices_session(&server.client()).await;
    let server = server.restarted().await;
    assert_unauthorized(&call(&server.client(), &first).await, "Log in again");
    assert_ne!(alices_session(&server.client()).await, first);
}

#[tokio::test]
async fn logging_out_answers_200_and_leaves_the_session_to_its_timer() {
    let server = TestServer::open().await;
    let client = server.client();
    let first = alices_session(&client).await;
    let answer = client.ask(&Method::POST, "/API/Domain/Logout").header("authorization", &first).send().await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(seats_used(&server).await, 1);
    assert_eq!(call(&client, &first).await.status, 200, "still usable");
    assert_eq!(alices_session(&client).await, first);
    for other in [basic("alice", PASSWORD), "Bearer abc".to_owned(), "ErpSession 1".to_owned()] {
        assert_eq!(log_out(&client, &other).await.status, 401, "only of an ErpSession");
    }
    assert_eq!(client.ask(&Method::POST, "/api/domain/logout").send().await.status, 401);
}

#[tokio::test]
async fn what_is_no_erp_session_of_this_instance_opens_nothing() {
    let server = TestServer::open().await;
    let client = server.client();
    switch_on_at_other(&server).await;
    let (first, foreign) = (alices_session(&client).await, alices_session(&server.other_client()).await);
    assert_eq!(call(&server.other_client(), &foreign).await.status, 200);
    assert_unauthorized(&call(&client, &foreign).await, "Unknown ErpSession");
    let id = first.strip_prefix("ErpSession ").expect("the scheme");
    let (named, tag) = id.split_once('.').expect("two parts");
    let mut bytes = URL_SAFE_NO_PAD.decode(named).expect("base64url");
    bytes[0] ^= 1;
    let forged = format!("{}.{tag}", URL_SAFE_NO_PAD.encode(bytes));
    for bad in [named, &id[..id.len() - 1], &format!("{id}A"), &format!("{named}."), &forged, &id.to_uppercase(), "1"] {
        assert_unauthorized(&call(&client, &format!("ErpSession {bad}")).await, "Unknown ErpSession");
    }
    for bad in ["ErpSession".to_owned(), "ErpSession ".to_owned(), format!("ErpSession {}", "a".repeat(257))] {
        assert_eq!(call(&client, &bad).await.status, 400, "{bad:.20}");
    }
    assert_eq!(call(&client, &format!("erpsession {id}")).await.status, 200, "RFC 9110 §11.1: in any case");
    let ask = client.ask(&Method::GET, super::CUSTOMERS).header("authorization", &first);
    assert_eq!(ask.header("authorization", &first).send().await.status, 400, "two credentials");
    assert_eq!(client.user_info(id).await.status, 401, "no access token");
    assert_eq!(client.call_api(id).await.status, 401);
}

#[tokio::test]
async fn old_clients_log_in_by_their_own_names_for_things() {
    let server = TestServer::open().await;
    let client = server.client();
    let first = alices_session(&client).await;
    let with = |extra: serde_json::Value| {
        let mut body = json!({ "user": "alice", "pass": PASSWORD, "app": LEGACY });
        body.as_object_mut().expect("an object").extend(extra.as_object().expect("an object").clone());
        body.to_string()
    };
    for body in [with(json!({})), with(json!({ "ln": "bg" })), with(json!({ "ln": "bg", "lang": "en", "more": [1] }))] {
        let answer = post(&client, "/api/domain/Login", body).await;
        assert_eq!(session(&answer), first, "the language makes no other session");
    }
    assert_eq!(client.get("/api/domain/login").await.status, 405);
    assert_eq!(client.get("/api/domain/login").await.header("allow"), "POST, OPTIONS");
}

/// `domain-api.md` §1.9: published samples write the body by hand.
#[tokio::test]
async fn a_login_in_the_notation_of_scripts_is_read() {
    let server = TestServer::open().await;
    let client = server.client();
    let first = alices_session(&client).await;
    for body in [
        format!("{{app:'{LEGACY}',user:'alice',pass:'{PASSWORD}',ln:'en'}}"),
        format!("{{ app: '{LEGACY}', user: \"alice\", pass: '{PASSWORD}', }}"),
        format!("{{'app':'{LEGACY}','user':'alice','pass':'{PASSWORD}'}}"),
    ] {
        assert_eq!(session(&post(&client, "/api/domain/login", body).await), first);
    }
    // Elsewhere JSON is JSON.
    let call = client.ask(&Method::POST, "/api/domain/odata/Crm_Customers").header("authorization", &first);
    assert_eq!(call.body("application/json", "{Number:'C-1'}").send().await.status, 400);
}

#[tokio::test]
async fn a_login_that_is_none_is_a_bad_request() {
    let server = TestServer::open().await;
    let client = server.client();
    for body in [
        String::new(),
        "{".to_owned(),
        "[]".to_owned(),
        "null".to_owned(),
        "\"alice\"".to_owned(),
        json!({ "username": "alice", "password": PASSWORD, "application": LEGACY }).to_string(),
        json!({ "User": "alice", "Pass": PASSWORD }).to_string(),
        json!({ "user": "alice" }).to_string(),
        json!({ "user": "alice", "pass": null }).to_string(),
        json!({ "user": 5, "pass": PASSWORD }).to_string(),
        format!("{{\"user\":\"alice\",\"user\":\"bob\",\"pass\":\"{PASSWORD}\"}}"),
        "user=alice&pass=x".to_owned(),
        format!("{{user:'alice',user:'bob',pass:'{PASSWORD}'}}"),
        format!("{{user:'alice',\"pass\":'{PASSWORD}',pass:'x'}}"),
        "{user:'alice',pass:secret}".to_owned(),
        "{user:'alice',pass:'x'} {}".to_owned(),
        format!("{{user:'alice',pass:'x',more:{}", "[".repeat(7000)),
        "{a:".repeat(2000),
    ] {
        let answer = post(&client, "/api/domain/login", body.clone()).await;
        assert_eq!(answer.status, 400, "{body}");
        assert_eq!(answer.json()["error"]["type"], "ArgumentException", "{body}");
    }
    let large = json!({ "user": "alice", "pass": "x".repeat(9000) }).to_string();
    assert_eq!(post(&client, "/api/domain/login", large).await.status, 413);
    let trail = server.audit().await;
    assert!(trail.iter().all(|row| row.kind != "session-opened"));
}

#[tokio::test]
async fn without_a_free_seat_callers_still_learn_that_a_session_is_over() {
    let server = TestServer::open().await;
    let client = server.client();
    let first = alices_session(&client).await;
    server.set_password("alice", PASSWORD).await;
    set(&server, "reserved_seats", "[]").await;
    set(&server, "seats", "0").await;
    assert_unauthorized(&call(&client, &first).await, "Log in again");
}
