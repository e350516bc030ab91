//! JWT profile for access tokens, with the choices of `identity.md` §3.3.

use acceptance::{BEGINNING, TestServer, TokenAnswer, jwt};
use serde_json::{Value, json};

use crate::{FIRST, NATIVE, PORTAL, SERVICE};

const RESOURCES: &str = "http://localhost:8080/id/resources";

fn sorted(names: &[&str]) -> Vec<String> {
    let mut names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    names.sort();
    names
}

/// `epochs` is an addition to the documented table: it reveals a disabled application or user without a database query.
const OF_BOTH: [&str; 9] = ["iss", "aud", "iat", "nbf", "exp", "jti", "client_id", "scope", "epochs"];

#[tokio::test]
async fn a_user_token_has_the_documented_claims_and_no_others() {
    let server = TestServer::open().await;
    let tokens = server.app(FIRST).sign_in(&mut server.browser("alice"), "openid read update").await;
    let of_a_user = [
        "sub",
        "id",
        "auth_time",
        "sid",
        "idp",
        "amr",
        "name",
        "email",
        "email_verified",
        "user_type",
        "is_admin",
        "db",
    ];
    assert_eq!(jwt::claim_names(&tokens.access), sorted(&[&OF_BOTH[..], &of_a_user].concat()));
    let claims = jwt::claims(&tokens.access);
    let now = BEGINNING.seconds();
    for (name, expected) in [
        ("iss", json!("http://localhost:8080/id")),
        ("aud", json!(["DomainAPI", RESOURCES])),
        ("iat", json!(now)),
        ("nbf", json!(now)),
        ("exp", json!(now + 3600)),
        ("client_id", json!(FIRST)),
        ("scope", json!(["openid", "read", "update"])),
        ("sub", json!("alice")),
        ("auth_time", json!(now)),
        ("idp", json!("local")),
        ("amr", json!(["pwd"])),
        ("name", json!("Alice Archer")),
        ("email", json!("alice@example.com")),
        ("email_verified", json!(true)),
        ("user_type", json!("InternalUser")),
        ("is_admin", json!(false)),
        ("db", json!("testdb")),
    ] {
        assert_eq!(claims[name], expected, "{name}");
    }
    for name in ["id", "sid"] {
        assert!(claims[name].as_str().is_some_and(|text| uuid::Uuid::try_parse(text).is_ok()), "{name}");
    }
    let admin = server.app(FIRST).sign_in(&mut server.browser("admin"), "read").await;
    assert_eq!(jwt::claims(&admin.access)["is_admin"], true);
}

#[tokio::test]
async fn a_service_token_has_the_documented_claims_and_no_others() {
    let server = TestServer::open().await;
    let tokens = TokenAnswer::read(&server.app(SERVICE).service_token("").await);
    let of_a_service = ["client_system_user", "client_system_user_type", "client_system_user_id", "client_db"];
    assert_eq!(jwt::claim_names(&tokens.access), sorted(&[&OF_BOTH[..], &of_a_service].concat()));
    let claims = jwt::claims(&tokens.access);
    for (name, expected) in [
        ("iss", json!("http://localhost:8080/id")),
        ("aud", json!(["DomainAPI", RESOURCES])),
        ("client_id", json!(SERVICE)),
        ("scope", json!(["read", "update"])),
        ("client_system_user", json!("svc.integration")),
        ("client_system_user_type", json!("SystemUserNoLogin")),
        ("client_db", json!("testdb")),
    ] {
        assert_eq!(claims[name], expected, "{name}");
    }
    assert!(claims["client_system_user_id"].as_str().is_some_and(|text| uuid::Uuid::try_parse(text).is_ok()));
}

#[tokio::test]
async fn the_header_names_type_algorithm_and_a_published_key() {
    let server = TestServer::open().await;
    let jwks = server.client().get("/id/.well-known/openid-configuration/jwks").await.json();
    let user = server.app(FIRST).sign_in(&mut server.browser("alice"), "read").await.access;
    let service = TokenAnswer::read(&server.app(SERVICE).service_token("").await).access;
    for token in [user, service] {
        let header = jwt::header(&token);
        assert_eq!((&header["typ"], &header["alg"]), (&json!("at+jwt"), &json!("ES256")));
        assert!(jwt::is_signed_by(&token, &jwks, "at+jwt"));
    }
}

#[tokio::test]
async fn the_audience_is_what_the_scopes_reach() {
    let server = TestServer::open().await;
    for (scope, expected) in [
        ("openid profile", json!([RESOURCES])),
        ("openid offline_access", json!([RESOURCES])),
        ("read", json!(["DomainAPI", RESOURCES])),
        ("update", json!(["DomainAPI", RESOURCES])),
        ("openid DomainApi", json!(["DomainAPI", RESOURCES])),
    ] {
        let tokens = server.app(FIRST).sign_in(&mut server.browser("alice"), scope).await;
        assert_eq!(jwt::claims(&tokens.access)["aud"], expected, "{scope}");
    }
}

#[tokio::test]
async fn a_community_users_token_identifies_and_opens_no_api() {
    let server = TestServer::open().await;
    let (app, mut carol) = (server.app(PORTAL), server.browser("carol"));
    let tokens = app.sign_in(&mut carol, "openid profile read update").await;
    let claims = jwt::claims(&tokens.access);
    assert_eq!(claims["aud"], json!([RESOURCES]));
    assert_eq!(claims["user_type"], "ExternalCommunityUser");
    assert_eq!(app.client.user_info(&tokens.access).await.json()["sub"], "carol");
    let answer = app.client.call_api(&tokens.access).await;
    assert_eq!(answer.status, 403, "{}", answer.text());
    let opened = server.audit().await.into_iter().filter(|row| row.kind == "session-opened").count();
    assert_eq!(opened, 0, "sessions of community users do not exist");
}

#[tokio::test]
async fn no_two_tokens_have_the_same_id() {
    let server = TestServer::open().await;
    let (app, mut alice) = (server.app(NATIVE), server.browser("alice"));
    let first = app.sign_in(&mut alice, "read offline_access").await;
    let mut ids: Vec<Value> = vec![jwt::claims(&first.access)["jti"].clone()];
    for _ in 0..3 {
        // The same refresh token within the grace: the same successor, and another access token.
        let again = TokenAnswer::read(&app.refresh(first.refresh()).await);
        ids.push(jwt::claims(&again.access)["jti"].clone());
        ids.push(jwt::claims(&TokenAnswer::read(&server.app(SERVICE).service_token("").await).access)["jti"].clone());
    }
    let mut texts: Vec<_> = ids.iter().map(|id| id.as_str().expect("text")).collect();
    texts.sort_unstable();
    texts.dedup();
    assert_eq!(texts.len(), 7);
}

#[tokio::test]
async fn a_token_lives_as_long_as_the_app_says() {
    let server = TestServer::open().await;
    let record = json!({
        "ApplicationUri": "short", "Name": "Short", "ClientType": "Confidential", "Scope": "read",
        "ImpersonateAsInternalUserAllowed": true, "ImpersonateLoginUrl": ["https://short.example.com/cb"],
        "AccessTokenSeconds": 60, "AccessTokenAlgorithm": "EdDSA",
    });
    let app = server.register(record, Some("short-secret-of-good-length")).await;
    let tokens = app.sign_in(&mut server.browser("alice"), "read").await;
    assert_eq!(tokens.whole["expires_in"], 60);
    assert_eq!(jwt::header(&tokens.access)["alg"], "EdDSA");
    assert_eq!(app.client.call_api(&tokens.access).await.status, 200);
    server.advance(std::time::Duration::from_mins(1));
    assert_eq!(app.client.call_api(&tokens.access).await.status, 401);
}
