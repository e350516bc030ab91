//! §3.3: scope, completed as `identity.md` §3.1 (6) says.

use acceptance::TestServer;
use serde_json::json;

use crate::{FIRST, PORTAL, SPA};

async fn granted(server: &TestServer, uri: &str, asked: &str) -> String {
    let mut alice = server.browser("alice");
    server.app(uri).sign_in(&mut alice, asked).await.scope
}

#[tokio::test]
async fn scope_is_completed_and_always_told() {
    let server = TestServer::open().await;
    for (uri, asked, expected) in [
        (FIRST, "", "read update"),
        (FIRST, "DomainApi", "read update"),
        (FIRST, "DomainApi read", "read"),
        (FIRST, "read", "read"),
        (FIRST, "openid profile email", "openid profile email"),
        (FIRST, "openid DomainApi", "openid read update"),
        (FIRST, "read offline_access", "read offline_access"),
        (FIRST, "offline_access", "offline_access"),
        (FIRST, "update read openid", "update read openid"),
        (PORTAL, "DomainApi", "read update"),
        (PORTAL, "openid phone address", "openid phone address"),
        (SPA, "read offline_access", "read"),
        (SPA, "DomainApi", "read"),
    ] {
        let mut scope: Vec<_> = granted(&server, uri, asked).await.split(' ').map(str::to_owned).collect();
        let mut expected: Vec<_> = expected.split(' ').map(str::to_owned).collect();
        scope.sort();
        expected.sort();
        assert_eq!(scope, expected, "{uri} asked for {asked:?}");
    }
}

#[tokio::test]
async fn a_scope_that_is_not_registered_is_refused_by_name() {
    let server = TestServer::open().await;
    let mut alice = server.browser("alice");
    for (uri, asked, named) in
        [(SPA, "read update", "update"), (FIRST, "read sec", "sec"), (FIRST, "READ", "READ"), (FIRST, "openid x", "x")]
    {
        let callback = alice.open(&server.app(uri).asks(asked).path()).await.callback();
        assert_eq!(callback["error"], "invalid_scope", "{asked}");
        assert!(callback["error_description"].contains(named), "{callback:?}");
    }
    for malformed in ["a\"b", "\u{e9}", "a\\b", &"x".repeat(129)] {
        let answer = alice.open(&server.app(FIRST).asks(malformed).path()).await;
        assert_eq!(answer.callback_error(), "invalid_scope", "{malformed}");
    }
}

#[tokio::test]
async fn sec_is_given_by_name_only() {
    let server = TestServer::open().await;
    let record = json!({
        "ApplicationUri": "admin.tool", "Name": "Admin tool", "ClientType": "Confidential", "Scope": "read sec",
        "ImpersonateAsInternalUserAllowed": true, "ImpersonateLoginUrl": ["https://tool.example.com/cb"],
    });
    let app = server.register(record, Some("tool-secret-of-good-length")).await;
    let mut alice = server.browser("alice");
    assert_eq!(app.sign_in(&mut alice, "").await.scope, "read");
    assert_eq!(app.sign_in(&mut alice, "sec").await.scope, "sec");
}
