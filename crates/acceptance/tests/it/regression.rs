//! Regressions: mistakes that were made before.

use acceptance::{TestServer, TokenAnswer};

use crate::{FIRST, PORTAL, SERVICE};

/// The check whether a session has an application left also removed the application from its list, and ran twice.
#[tokio::test]
async fn a_session_closes_with_its_last_app_whichever_is_looked_at_first() {
    let server = TestServer::open().await;
    let (app, mut alice) = (server.app(FIRST), server.browser("alice"));
    let first = app.sign_in(&mut alice, "read").await;
    let portal = server.app(PORTAL).sign_in(&mut alice, "read").await;
    for tokens in [&first, &portal] {
        assert_eq!(app.client.call_api(&tokens.access).await.status, 200);
    }
    for _ in 0..3 {
        let service = TokenAnswer::read(&server.app(SERVICE).service_token("").await);
        assert_eq!(app.client.call_api(&service.access).await.status, 200);
    }
    server.enable_app(SERVICE, false).await;
    server.enable_app(FIRST, false).await;
    server.enable_app(PORTAL, false).await;
    let closed = |row: &&acceptance::AuditRow| row.kind == "session-closed" && row.reason == "application_disabled";
    assert_eq!(server.audit().await.iter().filter(closed).count(), 4);
}
