//! Refusals that people read, and the thread that leads an administrator to their cause.

use acceptance::TestHouse;
use http::Method;

use crate::{FIRST, assert_error_page};

#[tokio::test]
async fn an_error_page_says_what_to_do_and_gives_a_reference_that_the_audit_knows() {
    let house = TestHouse::open().await;
    let app = house.app(FIRST);
    let uri = "http://localhost:3000/signin-Callback";
    let answer = house.client().get(&app.asks("read").with("redirect_uri", uri).path()).await;
    assert_error_page(&answer, 400, "invalid_request");
    let reference = answer.words("#reference").expect("a reference");
    assert_eq!(reference, answer.header("x-request-id"));
    assert!(!answer.text().contains("signin-Callback"), "what was sent is for the administrator");
    let trail = house.audit().await;
    let row = trail.iter().find(|row| row.columns.contains(&reference)).expect("the audit knows the reference");
    assert_eq!((row.kind.as_str(), row.outcome.as_str()), ("authorize", "refused"));
    assert_eq!((row.reason.as_str(), row.application.as_str()), ("redirect_uri_not_registered", FIRST));
    let detail = row.columns.last().expect("a detail");
    let detail: serde_json::Value = serde_json::from_str(detail).expect("JSON");
    assert_eq!(detail["sent"], serde_json::json!([{ "name": "redirect_uri", "value": uri }]));
    let registered = detail["expected"].as_array().expect("a list");
    let nearest = registered.iter().find(|one| one["value"] == app.redirect_uri).expect("it is listed");
    assert_eq!(nearest["differs_at"], 29, "where the two part: {detail}");
}

#[tokio::test]
async fn every_answer_has_its_own_request_id() {
    let house = TestHouse::open().await;
    let mut ids = Vec::new();
    for path in
        ["/", "/id/account/login", "/id/connect/token", "/nothing", "/api/domain/odata/Crm_Customers", "/healthz"]
    {
        for _ in 0..2 {
            let id = house.client().get(path).await.header("x-request-id").to_owned();
            assert_eq!(id.len(), 32, "{path}");
            ids.push(id);
        }
    }
    let count = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), count);
}

#[tokio::test]
async fn a_page_that_does_not_exist_says_so() {
    let house = TestHouse::open().await;
    for path in [
        "/nothing",
        "/id/nothing",
        "/id/connect",
        "/id/account/nothing",
        "/profile/nothing",
        "/../etc/passwd",
        "/%2e%2e",
    ] {
        assert_error_page(&house.client().get(path).await, 404, "not_found");
    }
}

#[tokio::test]
async fn a_form_that_cannot_be_read_is_a_page_to_a_person() {
    let house = TestHouse::open().await;
    let client = house.client();
    for path in ["/id/connect/authorize", "/id/account/login", "/id/connect/endsession"] {
        for (content_type, body) in [
            ("application/json", "{}".to_owned()),
            ("multipart/form-data; boundary=x", String::new()),
            ("application/x-www-form-urlencoded", "login=%FF".to_owned()),
            ("application/x-www-form-urlencoded", "x".repeat(40 * 1024)),
        ] {
            let answer = client.ask(&Method::POST, path).body(content_type, body).send().await;
            assert_error_page(&answer, 400, "invalid_request");
        }
    }
    assert_error_page(&client.get("/id/account/login?x=%zz").await, 400, "invalid_request");
    assert_error_page(&client.get("/id/connect/endsession?x=%FF").await, 400, "invalid_request");
    assert_error_page(&client.get("/id/account/consent").await, 403, "invalid_request");
    assert_error_page(&client.get("/id/account/set-up?code=x").await, 410, "invalid_request");
}

#[tokio::test]
async fn the_sign_in_page_of_a_bad_request_is_the_error_page() {
    let house = TestHouse::open().await;
    let app = house.app(FIRST);
    let bad = app.asks("read").with("redirect_uri", "https://evil.example/");
    let mut alice = house.browser("alice");
    let answer = alice.open(&format!("/id/account/login?{}", bad.query())).await;
    assert_error_page(&answer, 400, "invalid_request");
    let good = alice.open(&format!("/id/account/login?{}", app.asks("read").query())).await;
    let action = good.form("password").action.replace("localhost%3A3000", "evil.example");
    let csrf = good.form("password").field("csrf").expect("forms have it").to_owned();
    let fields = [("login", "alice"), ("password", "ecila-Demo1"), ("csrf", &csrf)];
    let answer = alice.post(&action, &fields).await;
    assert_error_page(&answer, 400, "invalid_request");
    assert!(!alice.jar.contains_key("gatehouse"), "nobody was signed in for it");
}
