//! §2.3, §3.2.1: client authentication.

use acceptance::{App, Ask, TestServer, TokenAnswer};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;

use crate::{FIRST, NATIVE, OFF, SERVICE, SPA, assert_refused};

fn basic(id: &str, secret: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")))
}

fn service_request<'a>(app: &'a App, fields: &[(&str, &str)]) -> Ask<'a> {
    let all: Vec<_> = fields.iter().copied().chain([("grant_type", "client_credentials")]).collect();
    app.client.ask(&Method::POST, "/id/connect/token").form(&all)
}

#[tokio::test]
async fn a_secret_is_accepted_in_the_form_and_in_basic() {
    let server = TestServer::open().await;
    let app = server.app(SERVICE);
    TokenAnswer::read(
        &service_request(&app, &[("client_id", SERVICE), ("client_secret", "service-secret")]).send().await,
    );
    // §2.3.1: both halves are form-encoded first.
    for id in ["my.trusted.app/service", "my.trusted.app%2Fservice", "my%2Etrusted%2eapp%2Fservice"] {
        let header = basic(id, "service%2Dsecret");
        TokenAnswer::read(&service_request(&app, &[]).header("authorization", &header).send().await);
    }
    let same_id =
        service_request(&app, &[("client_id", SERVICE)]).header("authorization", &basic(SERVICE, "service-secret"));
    TokenAnswer::read(&same_id.send().await);
}

#[tokio::test]
async fn two_client_authentications_are_an_invalid_request() {
    let server = TestServer::open().await;
    let app = server.app(SERVICE);
    let right = basic(SERVICE, "service-secret");
    for fields in [
        &[("client_secret", "service-secret")][..],
        &[("client_id", SERVICE), ("client_secret", "service-secret")],
        &[("client_id", FIRST)],
        &[("client_assertion", "a.b.c")],
    ] {
        let answer = service_request(&app, fields).header("authorization", &right).send().await;
        assert_refused(&answer, 400, "invalid_request");
    }
    let twice = [("client_id", SERVICE), ("client_secret", "service-secret"), ("client_secret", "service-secret")];
    assert_refused(&service_request(&app, &twice).send().await, 400, "invalid_request");
}

#[tokio::test]
async fn who_is_not_a_client_hears_the_same_whatever_the_cause() {
    let server = TestServer::open().await;
    let service = server.app(SERVICE);
    let unknown = App { uri: "nobody".to_owned(), ..service.clone() };
    let wrong = service.with_secret(Some("wrong-secret"));
    let disabled = server.app(OFF);
    let of_the_other_instance = service.with_secret(Some("service-secret-demodb"));
    let none = service.with_secret(None);
    let public_with_secret = server.app(SPA).with_secret(Some("any"));
    let answers = [&unknown, &wrong, &disabled, &of_the_other_instance, &none, &public_with_secret];
    let mut bodies = Vec::new();
    for app in answers {
        let answer = app.service_token("").await;
        assert_refused(&answer, 401, "invalid_client");
        assert!(answer.header("www-authenticate").starts_with("Basic "), "§5.2");
        bodies.push(answer.body);
    }
    assert!(bodies.iter().all(|body| *body == bodies[0]), "indistinguishable: {bodies:?}");

    let mut causes: Vec<String> = server
        .audit()
        .await
        .into_iter()
        .filter(|row| row.kind == "token-refused")
        .map(|row| {
            assert_eq!(row.outcome, "refused");
            row.reason
        })
        .collect();
    let expected = [
        "application_disabled",
        "secret_from_public_application",
        "secret_missing",
        "unknown_application",
        "wrong_secret",
        "wrong_secret",
    ];
    causes.sort();
    assert_eq!(causes, expected, "the administrator hears which it was");
}

#[tokio::test]
async fn a_public_app_that_sends_a_secret_gets_nothing_for_its_code() {
    let server = TestServer::open().await;
    let (app, mut alice) = (server.app(NATIVE), server.browser("alice"));
    let code = app.code(&mut alice, "read").await;
    assert_refused(&app.with_secret(Some("guess")).redeem(&code).await, 401, "invalid_client");
    TokenAnswer::read(&app.redeem(&code).await);
}

#[tokio::test]
async fn a_failed_authentication_costs_neither_code_nor_refresh_token() {
    let server = TestServer::open().await;
    let (app, mut alice) = (server.app(FIRST), server.browser("alice"));
    let code = app.code(&mut alice, "read offline_access").await;
    for secret in [None, Some("wrong"), Some("first-secret-demodb")] {
        assert_refused(&app.with_secret(secret).redeem(&code).await, 401, "invalid_client");
    }
    let tokens = TokenAnswer::read(&app.redeem(&code).await);
    for secret in [None, Some("wrong")] {
        assert_refused(&app.with_secret(secret).refresh(tokens.refresh()).await, 401, "invalid_client");
        assert_refused(&app.with_secret(secret).redeem(&code).await, 401, "invalid_client");
    }
    TokenAnswer::read(&app.refresh(tokens.refresh()).await);
}

#[tokio::test]
async fn a_second_secret_works_beside_the_first() {
    let server = TestServer::open().await;
    let app = server.app(SERVICE);
    let mut rng = server.rng();
    let expires = server.now().plus(std::time::Duration::from_hours(1));
    let added = server
        .operator()
        .await
        .add_secret(SERVICE, ("second", Some(expires)), &mut server.moment(&mut rng))
        .await
        .expect("the database answers")
        .expect("it is Confidential");
    server.catch_up().await;
    let second = app.with_secret(Some(added.expose()));
    TokenAnswer::read(&second.service_token("").await);
    TokenAnswer::read(&app.service_token("").await);
    server.advance(std::time::Duration::from_hours(1));
    assert_refused(&second.service_token("").await, 401, "invalid_client");
    TokenAnswer::read(&app.service_token("").await);
}
