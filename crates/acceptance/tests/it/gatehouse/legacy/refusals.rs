//! Refused legacy sign-ins, and how little their answers reveal.

use std::time::Duration;

use acceptance::{Client, TestServer};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use serde_json::json;

use super::{
    CUSTOMERS, LEGACY, PASSWORD, alice, assert_unauthorized, basic, call, call_through, login, old_client, set,
    switch_on_at_other,
};
use crate::{FIRST, SERVICE};

#[tokio::test]
async fn basic_is_off_unless_instance_and_application_allow_it() {
    let server = TestServer::open().await;
    let (client, other) = (server.client(), server.other_client());
    assert_unauthorized(&call_through(&other, LEGACY, &alice()).await, "are disabled");
    assert_unauthorized(&login(&other, "alice", PASSWORD, LEGACY).await, "are disabled");

    server.register(old_client("old/off", "read"), Some("secret")).await;
    server.enable_app("old/off", false).await;
    let mut texts = Vec::new();
    for application in [FIRST, "nobody.knows", "old/off", &"x".repeat(300)] {
        let answer = call_through(&client, application, &alice()).await;
        assert_unauthorized(&answer, "not allowed to use Basic");
        texts.push(answer.text().to_owned());
        let answer = login(&client, "alice", PASSWORD, application).await;
        assert_unauthorized(&answer, "not allowed to use Basic");
        texts.push(answer.text().to_owned());
    }
    assert!(texts.iter().all(|text| *text == texts[0]), "a stranger learns nothing about the register");

    set(&server, "default_legacy_application", "null").await;
    assert_unauthorized(&call(&client, &alice()).await, "X-Application-Uri");
    assert_unauthorized(&call_through(&client, " ", &alice()).await, "X-Application-Uri");
    assert_unauthorized(&login(&client, "alice", PASSWORD, "").await, "X-Application-Uri");
    assert_eq!(call_through(&client, LEGACY, &alice()).await.status, 200);
}

#[tokio::test]
async fn whoever_may_not_come_in_reads_the_same_words() {
    let server = TestServer::open().await;
    let client = server.client();
    let mut texts = Vec::new();
    for (person, password) in [
        ("alice", "guess"),
        ("alice", ""),
        ("alice", &PASSWORD.to_lowercase()),
        ("nobody", PASSWORD),
        ("", PASSWORD),
        ("dave", "evad-Demo1"),
        ("svc.integration", "guess"),
        // The application does not allow community users.
        ("carol", "lorac-Demo1"),
        ("alice", &"x".repeat(2000)),
    ] {
        // Each from its own network, so that no call is throttled.
        let from = client.from(&format!("198.51.100.{}:1", texts.len() + 1));
        let answer = call(&from, &basic(person, password)).await;
        assert_unauthorized(&answer, "Wrong login or password");
        texts.push(answer.text().to_owned());
        let answer = login(&from, person, password, LEGACY).await;
        assert_unauthorized(&answer, "Wrong login or password");
        texts.push(answer.text().to_owned());
    }
    assert!(texts.iter().all(|text| *text == texts[0]));
}

#[tokio::test]
async fn a_community_user_reaches_no_api_even_where_the_application_admits_them() {
    let server = TestServer::open().await;
    let mut record = old_client("old/portal", "read");
    record["ImpersonateAsCommunityUserAllowed"] = json!(true);
    server.register(record, Some("secret")).await;
    let answer = call_through(&server.client(), "old/portal", &basic("carol", "lorac-Demo1")).await;
    assert_eq!(answer.status, 403, "{}", answer.text());
    assert_eq!(login(&server.client(), "carol", "lorac-Demo1", "old/portal").await.status, 403);
}

#[tokio::test]
async fn what_is_no_basic_credential_is_a_bad_request() {
    let server = TestServer::open().await;
    let client = server.client();
    let encoded = |bytes: &[u8]| format!("Basic {}", STANDARD.encode(bytes));
    for (authorization, said) in [
        (encoded(b"alice"), "colon"),
        ("Basic".to_owned(), "colon"),
        ("Basic !".to_owned(), "base64"),
        (encoded(b"alice:p\xe4ss"), "UTF-8"),
        (encoded(b"alice:a\nb"), "control character"),
        (encoded(&[b'a'; 5000]), "too long"),
    ] {
        let answer = call(&client, &authorization).await;
        assert_eq!(answer.status, 400, "{said}");
        let message = answer.json()["error"]["message"].to_string();
        assert!(message.contains(said), "{message} should say {said}");
        assert!(answer.header("www-authenticate").contains("error=\"invalid_request\""));
    }
    let other_scheme = call(&client, "Digest username=alice").await;
    assert_eq!(other_scheme.header("www-authenticate"), "Bearer realm=\"http://localhost:8080/id\"");
}

#[tokio::test]
async fn two_credentials_or_two_applications_are_a_bad_request() {
    let server = TestServer::open().await;
    let client = server.client();
    let token = acceptance::TokenAnswer::read(&server.app(SERVICE).service_token("").await).access;
    let bearer = format!("Bearer {token}");
    let key = format!("enrt_{}", "0".repeat(64));
    for (name, value) in
        [("authorization", bearer.as_str()), ("authorization", &alice()), ("x-api-key", &key), ("api-key", &key)]
    {
        let ask = client.ask(&Method::GET, CUSTOMERS).header("authorization", &alice()).header(name, value);
        assert_eq!(ask.send().await.status, 400, "{name}");
    }
    let ask = client.ask(&Method::GET, CUSTOMERS).header("authorization", &alice());
    let twice = ask.header("x-application-uri", LEGACY).header("x-application-uri", FIRST).send().await;
    assert_eq!(twice.status, 400, "{}", twice.text());
    let named = client.ask(&Method::GET, CUSTOMERS).bearer(&token).header("x-application-uri", "nobody.knows");
    assert_eq!(named.send().await.status, 200, "a token names its own application");
}

async fn guess(client: &Client, times: usize) {
    for number in 0..times {
        let answer = call(client, &basic("alice", &format!("guess {number}"))).await;
        assert_eq!(answer.status, 401, "{number}");
    }
}

#[tokio::test]
async fn guessing_is_throttled_by_a_count_of_its_own_whatever_is_remembered() {
    let server = TestServer::open().await;
    let client = server.client();
    assert_eq!(call(&client, &alice()).await.status, 200, "remembered from now on");
    guess(&client, 5).await;
    for authorization in [basic("alice", "another guess"), alice()] {
        let answer = call(&client, &authorization).await;
        assert_eq!(answer.status, 429, "{}", answer.text());
        assert_eq!(answer.header("retry-after"), "2");
        assert!(answer.json()["error"]["message"].as_str().is_some_and(|text| text.contains("in 2 seconds")));
    }
    let answer = login(&client, "alice", PASSWORD, LEGACY).await;
    assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (429, "2"));
    let mut browser = server.browser("alice");
    let page = browser.open("/id/account").await;
    assert_eq!(browser.enter(&page).await.page(), "account", "a client that was right has its own count");
    let elsewhere = client.from("198.51.100.7:1");
    assert_eq!(call(&elsewhere, &alice()).await.status, 200, "nobody is locked out");
    server.advance(Duration::from_secs(2));
    assert_eq!(call(&client, &alice()).await.status, 200);
    let trail = server.audit().await;
    let throttled = trail.iter().filter(|row| row.reason == "throttled");
    assert_eq!(throttled.filter(|row| row.kind == "api-call").count(), 3);
}

#[tokio::test]
async fn a_password_of_another_instance_is_none_here() {
    let server = TestServer::open().await;
    switch_on_at_other(&server).await;
    server.set_password("alice", "only at testdb").await;
    let (here, there) = (basic("alice", "only at testdb"), alice());
    assert_eq!(call(&server.client(), &here).await.status, 200);
    assert_eq!(call(&server.other_client(), &there).await.status, 200);
    assert_eq!(call(&server.client(), &there).await.status, 401);
    assert_eq!(call(&server.other_client(), &here).await.status, 401);
}
