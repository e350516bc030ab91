//! Token revocation.

use acceptance::{TestServer, TokenAnswer};

use crate::{FIRST, PORTAL, READER, SERVICE, assert_refused};

const REVOCATION: &str = "/id/connect/revocation";

fn as_first(token: &str) -> [(&str, &str); 3] {
    [("client_id", FIRST), ("client_secret", "first-secret"), ("token", token)]
}

#[tokio::test]
async fn a_revoked_refresh_token_takes_its_whole_family_along() {
    let server = TestServer::open().await;
    let app = server.app(FIRST);
    let tokens = app.sign_in(&mut server.browser("alice"), "openid read offline_access").await;
    assert_eq!(server.client().call_api(&tokens.access).await.status, 200);
    let answer = server.client().post(REVOCATION, &as_first(tokens.refresh())).await;
    assert_eq!((answer.status.as_u16(), answer.text()), (200, ""));
    assert_refused(&app.refresh(tokens.refresh()).await, 400, "invalid_grant");
    assert_eq!(server.client().call_api(&tokens.access).await.status, 401);
    assert_eq!(server.client().user_info(&tokens.access).await.status, 401);
    let trail = server.audit().await;
    assert!(trail.iter().any(|row| row.kind == "token-revoked"));
}

#[tokio::test]
async fn a_revoked_access_token_of_a_user_ends_what_it_came_from() {
    let server = TestServer::open().await;
    let app = server.app(FIRST);
    let tokens = app.sign_in(&mut server.browser("alice"), "read offline_access").await;
    assert_eq!(server.client().post(REVOCATION, &as_first(&tokens.access)).await.status, 200);
    assert_eq!(server.client().call_api(&tokens.access).await.status, 401);
    assert_refused(&app.refresh(tokens.refresh()).await, 400, "invalid_grant");
}

#[tokio::test]
async fn a_revoked_service_token_dies_alone_and_stays_dead_after_a_restart() {
    let server = TestServer::open().await;
    let service = server.app(SERVICE);
    let one = TokenAnswer::read(&service.service_token("").await).access;
    let other = TokenAnswer::read(&service.service_token("").await).access;
    assert_eq!(server.client().call_api(&one).await.status, 200);
    let fields = [("client_id", SERVICE), ("client_secret", "service-secret"), ("token", one.as_str())];
    assert_eq!(server.client().post(REVOCATION, &fields).await.status, 200);
    assert_eq!(server.client().call_api(&one).await.status, 401);
    assert_eq!(server.client().call_api(&other).await.status, 200);
    let server = server.restarted().await;
    assert_eq!(server.client().call_api(&one).await.status, 401);
    assert_eq!(server.client().call_api(&other).await.status, 200);
}

#[tokio::test]
async fn a_token_of_another_application_is_answered_the_same_and_lives() {
    let server = TestServer::open().await;
    let portal = server.app(PORTAL);
    let tokens = portal.sign_in(&mut server.browser("alice"), "read offline_access").await;
    for token in [tokens.refresh(), &tokens.access, "", "nonsense", "enrt_nonsense"] {
        if token.is_empty() {
            assert_refused(&server.client().post(REVOCATION, &as_first(token)).await, 400, "invalid_request");
        } else {
            assert_eq!(server.client().post(REVOCATION, &as_first(token)).await.status, 200, "{token}");
        }
    }
    assert_eq!(server.client().call_api(&tokens.access).await.status, 200);
    assert_eq!(portal.refresh(tokens.refresh()).await.status, 200);
}

#[tokio::test]
async fn only_an_authenticated_client_may_ask() {
    let server = TestServer::open().await;
    let tokens = TokenAnswer::read(&server.app(READER).service_token("").await);
    let nobody = server.client().post(REVOCATION, &[("token", tokens.access.as_str())]).await;
    assert_refused(&nobody, 401, "invalid_client");
    assert!(nobody.header("www-authenticate").starts_with("Basic "), "{}", nobody.header("www-authenticate"));
    for secret in [None, Some("wrong")] {
        let mut fields = vec![("client_id", READER), ("token", tokens.access.as_str())];
        fields.extend(secret.map(|secret| ("client_secret", secret)));
        assert_refused(&server.client().post(REVOCATION, &fields).await, 401, "invalid_client");
    }
    assert_eq!(server.client().call_api(&tokens.access).await.status, 200);
}
