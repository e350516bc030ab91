//! Token introspection.

use std::time::Duration;

use acceptance::{HttpAnswer, TestServer, TokenAnswer};
use serde_json::{Value, json};

use crate::{FIRST, NATIVE, OFF, PORTAL, SERVICE, assert_refused};

const INTROSPECTION: &str = "/id/connect/introspect";

async fn ask(server: &TestServer, (app, secret): (&str, &str), token: &str) -> HttpAnswer {
    server.client().post(INTROSPECTION, &[("client_id", app), ("client_secret", secret), ("token", token)]).await
}

async fn introspect(server: &TestServer, client: (&str, &str), token: &str) -> Value {
    let answer = ask(server, client, token).await;
    assert_eq!((answer.status.as_u16(), answer.header("cache-control")), (200, "no-store"), "{}", answer.text());
    answer.json()
}

const AS_FIRST: (&str, &str) = (FIRST, "first-secret");

#[tokio::test]
async fn a_live_token_is_described_to_its_own_application() {
    let server = TestServer::open().await;
    let tokens = server.app(FIRST).sign_in(&mut server.browser("alice"), "openid read offline_access").await;
    let access = introspect(&server, AS_FIRST, &tokens.access).await;
    let claims = acceptance::jwt::claims(&tokens.access);
    assert_eq!(access["active"], json!(true));
    for name in ["iss", "sub", "exp", "jti", "sid", "aud"] {
        assert_eq!(access[name], claims[name], "{name}");
    }
    assert_eq!((&access["client_id"], &access["username"]), (&json!(FIRST), &json!("alice")));
    assert_eq!((&access["scope"], &access["token_type"]), (&json!("openid read offline_access"), &json!("Bearer")));
    let refresh = introspect(&server, AS_FIRST, tokens.refresh()).await;
    assert_eq!((&refresh["active"], &refresh["sid"]), (&json!(true), &claims["sid"]));
    let service = TokenAnswer::read(&server.app(SERVICE).service_token("read").await).access;
    let service = introspect(&server, (SERVICE, "service-secret"), &service).await;
    assert_eq!((&service["active"], &service["username"]), (&json!(true), &json!("svc.integration")));
    assert_eq!(service.get("sub"), None);
}

#[tokio::test]
async fn whatever_is_dead_or_of_others_is_just_not_active() {
    let server = TestServer::open().await;
    let app = server.app(FIRST);
    let mut browser = server.browser("alice");
    let tokens = app.sign_in(&mut browser, "openid read offline_access").await;
    let inactive = json!({ "active": false });
    assert_eq!(introspect(&server, (PORTAL, "portal-secret"), &tokens.access).await, inactive, "another application's");
    assert_eq!(
        introspect(&server, (PORTAL, "portal-secret"), tokens.refresh()).await,
        inactive,
        "another application's"
    );
    for nonsense in ["x", tokens.id(), &tokens.access[1..], "enrt_"] {
        assert_eq!(introspect(&server, AS_FIRST, nonsense).await, inactive, "{nonsense}");
    }
    let newer = TokenAnswer::read(&app.refresh(tokens.refresh()).await);
    assert_eq!(introspect(&server, AS_FIRST, tokens.refresh()).await, inactive, "spent");
    assert_eq!(introspect(&server, AS_FIRST, newer.refresh()).await["active"], json!(true));
    server.advance(Duration::from_hours(2));
    assert_eq!(introspect(&server, AS_FIRST, &newer.access).await, inactive, "expired");
}

#[tokio::test]
async fn asking_opens_no_session_and_takes_no_seat() {
    let server = TestServer::open().await;
    let token = TokenAnswer::read(&server.app(SERVICE).service_token("").await).access;
    assert_eq!(introspect(&server, (SERVICE, "service-secret"), &token).await["active"], json!(true));
    let trail = server.audit().await;
    assert!(trail.iter().any(|row| row.kind == "introspection"));
    assert!(trail.iter().all(|row| row.kind != "session-opened"));
}

#[tokio::test]
async fn a_name_alone_is_no_authorization_to_ask() {
    let server = TestServer::open().await;
    let token = server.app(NATIVE).sign_in(&mut server.browser("alice"), "read").await.access;
    let named = [("client_id", NATIVE), ("token", token.as_str())];
    assert_refused(&server.client().post(INTROSPECTION, &named).await, 401, "invalid_client");
    assert_refused(&ask(&server, (FIRST, "wrong"), &token).await, 401, "invalid_client");
    assert_refused(&ask(&server, (OFF, "off-secret"), &token).await, 401, "invalid_client");
    assert_refused(&ask(&server, (NATIVE, "any"), &token).await, 401, "invalid_client");
    assert_refused(&ask(&server, ("nobody", "any"), &token).await, 401, "invalid_client");
    let nobody = server.client().post(INTROSPECTION, &[("token", token.as_str())]).await;
    assert_refused(&nobody, 401, "invalid_client");
    assert!(nobody.header("www-authenticate").starts_with("Basic "), "{}", nobody.header("www-authenticate"));
    assert_refused(&server.client().post(INTROSPECTION, &[]).await, 401, "invalid_client");
    let nothing = [("client_id", FIRST), ("client_secret", "first-secret")];
    assert_refused(&server.client().post(INTROSPECTION, &nothing).await, 400, "invalid_request");
}
