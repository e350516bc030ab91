//! The admin API (`docs/admin-api.md`): access, refusals, and protection from overwriting another administrator's
//! change.

mod audit;
mod door;
mod operating;
mod races;
mod register;
mod users;

use acceptance::{Client, HttpAnswer, TestServer, TokenAnswer};
use http::Method;
use serde_json::{Value, json};

const ROOT: &str = "/manage/api/v1";

/// An id that does not exist.
const NOBODY: &str = "00000000-0000-4000-8000-000000000000";

/// A client of the admin API with an administrator's token.
pub(super) struct AdminClient {
    client: Client,
    token: String,
}

impl AdminClient {
    /// Acts as the demo's `admin` without a sign-in session.
    pub(super) async fn of(server: &TestServer) -> Self {
        let token = TokenAnswer::read(&server.manager().await.service_token("manage").await).access;
        Self { client: server.client(), token }
    }

    async fn of_the_other(server: &TestServer) -> Self {
        let token = TokenAnswer::read(&server.manager_at_other().await.service_token("manage").await).access;
        Self { client: server.other_client(), token }
    }

    pub(super) async fn get(&self, path: &str) -> HttpAnswer {
        self.client.ask(&Method::GET, &format!("{ROOT}{path}")).bearer(&self.token).send().await
    }

    /// Sends a request with `If-Match`, unless it is empty, and a body, unless it is null.
    async fn send(&self, method: &Method, path: &str, if_match: &str, body: &Value) -> HttpAnswer {
        let mut ask = self.client.ask(method, &format!("{ROOT}{path}")).bearer(&self.token);
        if !if_match.is_empty() {
            ask = ask.header("if-match", if_match);
        }
        if !body.is_null() {
            ask = ask.body("application/json", body.to_string());
        }
        ask.send().await
    }

    async fn post(&self, path: &str, body: &Value) -> HttpAnswer {
        self.send(&Method::POST, path, "", body).await
    }

    pub(super) async fn put(&self, path: &str, if_match: &str, body: &Value) -> HttpAnswer {
        self.send(&Method::PUT, path, if_match, body).await
    }

    pub(super) async fn patch(&self, path: &str, if_match: &str, body: &Value) -> HttpAnswer {
        self.send(&Method::PATCH, path, if_match, body).await
    }

    async fn delete(&self, path: &str, if_match: &str) -> HttpAnswer {
        self.send(&Method::DELETE, path, if_match, &Value::Null).await
    }

    /// The path and the entity tag of an application.
    pub(super) async fn application(&self, uri: &str) -> (String, String) {
        let list = self.get(&format!("/applications?uri={}", uri.replace('/', "%2F"))).await;
        self.found("/applications", &list).await
    }

    /// The path and the entity tag of a user.
    pub(super) async fn user(&self, login: &str) -> (String, String) {
        let list = self.get(&format!("/users?login={login}")).await;
        self.found("/users", &list).await
    }

    async fn found(&self, all: &str, list: &HttpAnswer) -> (String, String) {
        let id = list.json()["items"][0]["id"].as_str().expect("it is there").to_owned();
        let path = format!("{all}/{id}");
        let tag = self.get(&path).await.header("etag").to_owned();
        (path, tag)
    }
}

/// A refusal in the form of RFC 9457, whose reference is also in the answer's header.
#[track_caller]
fn assert_problem(answer: &HttpAnswer, status: u16, kind: &str) -> String {
    assert_eq!(answer.status, status, "{}", answer.text());
    assert_eq!(answer.header("content-type"), "application/problem+json");
    let problem = answer.json();
    assert_eq!(problem["type"], format!("urn:gatehouse:problem:{kind}"), "{problem}");
    assert_eq!(problem["status"], status);
    assert_eq!(problem["reference"], answer.header("x-request-id"));
    problem["detail"].as_str().expect("it says what to do").to_owned()
}

/// A validation error; returns its text.
#[track_caller]
pub(super) fn assert_invalid(answer: &HttpAnswer) -> String {
    let detail = assert_problem(answer, 422, "invalid");
    assert!(!answer.json()["problems"].as_array().expect("one by one").is_empty());
    detail
}

#[track_caller]
fn assert_ok(answer: &HttpAnswer) -> Value {
    assert!(answer.status.is_success(), "{} {}", answer.status, answer.text());
    if answer.body.is_empty() { json!(null) } else { answer.json() }
}

/// The path of the created resource, below the root.
#[track_caller]
fn assert_created(answer: &HttpAnswer) -> String {
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.location().strip_prefix(ROOT).expect("below the root").to_owned()
}

/// Every method and path of the document, with values for the path's variables.
async fn every_operation(server: &TestServer) -> Vec<(Method, String)> {
    let document = server.client().get(&format!("{ROOT}/openapi.json")).await.json();
    let mut operations = Vec::new();
    for (path, methods) in document["paths"].as_object().expect("paths") {
        let path = path.replace("{id}", NOBODY).replace("{name}", "Sales");
        let path = path.replace("{secretId}", NOBODY).replace("{application}", NOBODY);
        let path = path.replace("{reference}", &"0".repeat(32));
        assert!(!path.contains('{'), "the tests know every variable: {path}");
        for method in methods.as_object().expect("methods").keys() {
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).expect("a method");
            operations.push((method, path.clone()));
        }
    }
    operations
}
