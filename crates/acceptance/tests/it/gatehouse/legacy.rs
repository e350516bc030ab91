//! The legacy schemes, for clients older than Gatehouse (`identity.md` §3.5).

mod basic;
mod erp_login;
mod refusals;

use acceptance::{Client, HttpAnswer, TestServer, change_setting};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use model::Moment;
use serde_json::{Value, json};

const LEGACY: &str = "legacy.client";
pub(super) const CUSTOMERS: &str = "/api/domain/odata/Crm_Customers?$top=1";
pub(super) const PASSWORD: &str = "ecila-Demo1";

pub(super) fn basic(login: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{login}:{password}")))
}

pub(super) fn alice() -> String {
    basic("alice", PASSWORD)
}

pub(super) async fn call(client: &Client, authorization: &str) -> HttpAnswer {
    client.ask(&Method::GET, CUSTOMERS).header("authorization", authorization).send().await
}

/// A call through the application that the request names.
async fn call_through(client: &Client, application: &str, authorization: &str) -> HttpAnswer {
    let ask = client.ask(&Method::GET, CUSTOMERS).header("authorization", authorization);
    ask.header("x-application-uri", application).send().await
}

async fn post(client: &Client, path: &str, body: String) -> HttpAnswer {
    client.ask(&Method::POST, path).body("application/json", body).send().await
}

async fn login(client: &Client, user: &str, pass: &str, app: &str) -> HttpAnswer {
    let body = json!({ "user": user, "pass": pass, "app": app, "lang": "en" });
    post(client, "/api/domain/login", body.to_string()).await
}

/// The `Authorization` value that the client sends from then on.
#[track_caller]
fn session(answer: &HttpAnswer) -> String {
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["authorization"].as_str().expect("a text").to_owned()
}

pub(super) async fn alices_session(client: &Client) -> String {
    session(&login(client, "alice", PASSWORD, LEGACY).await)
}

pub(super) async fn set(server: &TestServer, name: &str, value: &str) {
    let mut rng = server.rng();
    let changed = change_setting(&server.operator().await, name, value, &mut server.moment(&mut rng)).await;
    changed.expect("no fault").expect("a good setting");
    server.catch_up().await;
}

/// At `demodb`, where the demo leaves the legacy schemes disabled.
async fn switch_on_at_other(server: &TestServer) {
    let operator = server.office_at_other().await;
    for (name, value) in [("legacy_schemes", "true"), ("default_legacy_application", LEGACY)] {
        let mut rng = server.rng();
        let mut moment: Moment<'_> = server.moment(&mut rng);
        change_setting(&operator, name, value, &mut moment).await.expect("no fault").expect("a good setting");
    }
    server.catch_up().await;
}

/// An application that allows users the legacy schemes.
fn old_client(uri: &str, scope: &str) -> Value {
    json!({
        "ApplicationUri": uri, "Name": "An old client", "ClientType": "Confidential", "Scope": scope,
        "ImpersonateAsInternalUserAllowed": true, "BasicAuthenticationAllowed": true,
    })
}

async fn seats_used(server: &TestServer) -> u64 {
    server.operator().await.seats().await.expect("seats can be read").0.used
}

#[track_caller]
fn assert_unauthorized(answer: &HttpAnswer, said: &str) {
    assert_eq!(answer.status, 401, "{}", answer.text());
    let error = &answer.json()["error"];
    assert_eq!(error["type"], "AuthenticationException");
    let message = error["message"].as_str().expect("a text");
    assert!(message.contains(said), "{message:?} should say {said:?}");
    let challenge = answer.header("www-authenticate");
    assert!(challenge.starts_with("Bearer realm=\"http://"), "there is a better way: {challenge}");
}
