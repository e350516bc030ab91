//! §4.4: the client credentials grant.

use acceptance::{TestServer, TokenAnswer, jwt};

use crate::{FIRST, NATIVE, OFF, PORTAL, READER, SERVICE, assert_refused};

#[tokio::test]
async fn a_service_gets_an_access_token_and_never_more() {
    let server = TestServer::open().await;
    let app = server.app(SERVICE);
    for scope in ["", "read", "read offline_access openid", "DomainApi openid profile offline_access"] {
        let tokens = TokenAnswer::read(&app.service_token(scope).await);
        let mut names: Vec<_> = tokens.whole.as_object().expect("an object").keys().map(String::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["access_token", "expires_in", "scope", "token_type"], "{scope}");
        assert_eq!(tokens.whole["token_type"], "Bearer");
        assert_eq!(tokens.whole["expires_in"], 3600);
        assert_eq!(app.client.call_api(&tokens.access).await.status, 200);
    }
}

#[tokio::test]
async fn protocol_scopes_are_dropped_and_the_rest_is_completed() {
    let server = TestServer::open().await;
    for (uri, asked, expected) in [
        (SERVICE, "", "read update"),
        (SERVICE, "DomainApi", "read update"),
        (SERVICE, "read", "read"),
        (SERVICE, "openid profile email phone address offline_access read", "read"),
        (READER, "", "read"),
        (PORTAL, "", "read update"),
    ] {
        let tokens = TokenAnswer::read(&server.app(uri).service_token(asked).await);
        assert_eq!(tokens.scope, expected, "{uri} asked for {asked:?}");
    }
    let refused = server.app(READER).service_token("read update").await;
    assert_refused(&refused, 400, "invalid_scope");
    assert!(refused.json()["error_description"].as_str().is_some_and(|description| description.contains("update")));
}

#[tokio::test]
async fn an_app_without_service_access_is_unauthorized() {
    let server = TestServer::open().await;
    assert_refused(&server.app(FIRST).service_token("").await, 400, "unauthorized_client");
    assert_refused(&server.app(NATIVE).service_token("").await, 400, "unauthorized_client");
}

#[tokio::test]
async fn a_disabled_app_is_no_client() {
    let server = TestServer::open().await;
    assert_refused(&server.app(OFF).service_token("").await, 401, "invalid_client");
    let app = server.app(SERVICE);
    TokenAnswer::read(&app.service_token("").await);
    server.enable_app(SERVICE, false).await;
    assert_refused(&app.service_token("").await, 401, "invalid_client");
    server.enable_app(SERVICE, true).await;
    TokenAnswer::read(&app.service_token("").await);
}

#[tokio::test]
async fn a_service_without_its_system_user_gets_nothing() {
    let server = TestServer::open().await;
    server.enable_user("svc.integration", false).await;
    assert_refused(&server.app(SERVICE).service_token("").await, 400, "unauthorized_client");
    TokenAnswer::read(&server.app(READER).service_token("").await);
}

#[tokio::test]
async fn a_service_may_do_what_its_system_user_may() {
    let server = TestServer::open().await;
    let integration = TokenAnswer::read(&server.app(SERVICE).service_token("").await);
    let reader = TokenAnswer::read(&server.app(READER).service_token("").await);
    let products = "/api/domain/odata/General_Products_Products?$top=1";
    assert_eq!(server.client().get_with(products, &integration.access).await.status, 200);
    assert_eq!(server.client().get_with(products, &reader.access).await.status, 403);
    assert_ne!(jwt::claims(&integration.access)["jti"], jwt::claims(&reader.access)["jti"]);
}
