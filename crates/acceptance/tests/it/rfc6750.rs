//! Bearer tokens: at UserInfo and at the API guard.

use std::time::Duration;

use acceptance::{Client, HttpAnswer, TestServer, TokenAnswer, jwt};
use http::Method;
use serde_json::json;

use crate::{FIRST, READER, SERVICE, SPA};

const CUSTOMERS: &str = "/api/domain/odata/Crm_Customers";
const BASIC: &str = "Basic YWxpY2U6eA==";

#[track_caller]
fn assert_invalid_token(answer: &HttpAnswer, why: &str) {
    assert_eq!(answer.status, 401, "{why}: {}", answer.text());
    let challenge = answer.header("www-authenticate");
    assert!(challenge.starts_with("Bearer realm=\"http://localhost:8080/id\""), "{why}: {challenge}");
    assert!(challenge.contains("error=\"invalid_token\", error_description=\""), "{why}: {challenge}");
}

/// Both endpoints refuse it.
async fn assert_nowhere_valid(client: &Client, token: &str, why: &str) {
    assert_invalid_token(&client.call_api(token).await, why);
    assert_invalid_token(&client.user_info(token).await, why);
}

#[tokio::test]
async fn without_credentials_the_challenge_has_no_error() {
    let server = TestServer::open().await;
    let client = server.client();
    for path in [CUSTOMERS, "/api/domain/odata/", "/id/connect/userinfo"] {
        let others =
            if path.starts_with("/api") { ["Digest alice", "Negotiate YQ=="] } else { [BASIC, "ErpSession 1"] };
        for authorization in [None, Some(others[0]), Some(others[1])] {
            let mut ask = client.ask(&Method::GET, path);
            if let Some(value) = authorization {
                ask = ask.header("authorization", value);
            }
            let answer = ask.send().await;
            assert_eq!(answer.status, 401);
            assert_eq!(answer.header("www-authenticate"), "Bearer realm=\"http://localhost:8080/id\"", "{path}");
        }
    }
}

#[tokio::test]
async fn a_token_in_the_query_is_no_credential() {
    let server = TestServer::open().await;
    let token = TokenAnswer::read(&server.app(SERVICE).service_token("").await).access;
    for path in [CUSTOMERS, "/id/connect/userinfo"] {
        let answer = server.client().get(&format!("{path}?access_token={token}")).await;
        assert_eq!(answer.status, 401);
    }
}

#[tokio::test]
async fn two_credentials_are_a_bad_request() {
    let server = TestServer::open().await;
    let (client, token) = (server.client(), TokenAnswer::read(&server.app(SERVICE).service_token("").await).access);
    let bearer = format!("Bearer {token}");
    for (other, value) in [("x-api-key", token.as_str()), ("api-key", "enrt_1"), ("authorization", &bearer)] {
        let answer = client.ask(&Method::GET, CUSTOMERS).bearer(&token).header(other, value).send().await;
        assert_eq!(answer.status, 400, "{other}");
        assert!(answer.header("www-authenticate").contains("error=\"invalid_request\""));
    }
    let keys = client.ask(&Method::GET, CUSTOMERS).header("x-api-key", &token).header("api-key", &token);
    assert_eq!(keys.send().await.status, 400);
    let twice = client.ask(&Method::GET, "/id/connect/userinfo").bearer(&token).bearer(&token).send().await;
    assert_eq!(twice.status, 400);
    let both = client.ask(&Method::POST, "/id/connect/userinfo").bearer(&token).form(&[("access_token", &token)]);
    assert_eq!(both.send().await.status, 400, "§2: one method");
    assert_eq!(client.call_api(&token).await.status, 200);
}

#[tokio::test]
async fn the_scheme_may_be_written_in_any_case() {
    let server = TestServer::open().await;
    let token = TokenAnswer::read(&server.app(SERVICE).service_token("").await).access;
    for scheme in ["Bearer", "bearer", "BEARER"] {
        let ask = server
            .client()
            .ask(&Method::GET, CUSTOMERS)
            .header("authorization", &format!("{scheme} {token}"))
            .send()
            .await;
        assert_eq!(ask.status, 200, "{scheme}");
    }
}

#[tokio::test]
async fn a_token_that_we_did_not_sign_opens_nothing() {
    let server = TestServer::open().await;
    let client = server.client();
    let tokens = server.app(FIRST).sign_in(&mut server.browser("alice"), "openid read").await;
    let (real, claims, header) = (&tokens.access, jwt::claims(&tokens.access), jwt::header(&tokens.access));
    let jwks = client.get("/id/.well-known/openid-configuration/jwks").await;
    let public = jwks.json()["keys"].as_array().expect("keys").iter().find(|key| key["kid"] == header["kid"]).cloned();
    let public = public.expect("the signing key is published");
    let with = |changes: &[(&str, serde_json::Value)]| {
        let mut changed = header.clone();
        for (name, value) in changes {
            changed[*name] = value.clone();
        }
        changed
    };
    let signature = vec![7; 64];
    let (input, tail) = real.rsplit_once('.').expect("three parts");
    let foreign = server.app_at_other(FIRST).sign_in(&mut server.browser_at_other("alice"), "openid read").await;
    let mut of_the_other_key = claims.clone();
    of_the_other_key["is_admin"] = json!(true);
    let forged = [
        ("alg none", jwt::unsigned(&with(&[("alg", json!("none"))]), &claims, &[])),
        ("alg None, with our kid", jwt::unsigned(&with(&[("alg", json!("None"))]), &claims, &signature)),
        ("no signature", format!("{input}.")),
        (
            "HS256 under the JWK",
            jwt::under_hmac(&with(&[("alg", json!("HS256"))]), &claims, public.to_string().as_bytes()),
        ),
        (
            "HS256 under a coordinate",
            jwt::under_hmac(
                &with(&[("alg", json!("HS256"))]),
                &claims,
                public["x"].as_str().unwrap_or_default().as_bytes(),
            ),
        ),
        ("RS256 with the kid of an EC key", jwt::unsigned(&with(&[("alg", json!("RS256"))]), &claims, &signature)),
        ("an unknown kid", jwt::unsigned(&with(&[("kid", json!("nobody"))]), &claims, &signature)),
        ("a kid that is a path", jwt::unsigned(&with(&[("kid", json!("../../etc/passwd"))]), &claims, &signature)),
        ("the kid of another instance", jwt::unsigned(&jwt::header(&foreign.access), &claims, &signature)),
        ("no kid", jwt::unsigned(&json!({"alg": "ES256", "typ": "at+jwt"}), &claims, &signature)),
        (
            "an embedded key",
            jwt::unsigned(&with(&[("kid", json!("mine")), ("jwk", public.clone())]), &claims, &signature),
        ),
        (
            "other claims under the same signature",
            format!("{}.{tail}", jwt::unsigned(&header, &of_the_other_key, b"").trim_end_matches('.')),
        ),
        ("another instance", foreign.access.clone()),
        ("an ID token", tokens.id().to_owned()),
        ("cut", real[..real.len() / 2].to_owned()),
        ("cut by one", real[..real.len() - 1].to_owned()),
        ("two parts", input.to_owned()),
        ("four parts", format!("{real}.x")),
        ("not a token", "x".to_owned()),
    ];
    for (why, token) in &forged {
        assert_nowhere_valid(&client, token, why).await;
    }
    assert_eq!(client.call_api(real).await.status, 200);
    assert_eq!(client.user_info(real).await.status, 200);
}

#[tokio::test]
async fn a_token_of_a_megabyte_is_refused_at_once() {
    let server = TestServer::open().await;
    let token = TokenAnswer::read(&server.app(SERVICE).service_token("").await).access;
    let long = token.clone() + &"A".repeat(1024 * 1024);
    for path in [CUSTOMERS, "/id/connect/userinfo"] {
        let answer = server.client().get_with(path, &long).await;
        assert_eq!(answer.status, 400, "{path}");
        assert!(answer.header("www-authenticate").contains("error=\"invalid_request\""));
        assert!(answer.body.len() < 4096, "nothing of it comes back");
    }
    let in_a_form = server.client().post("/id/connect/userinfo", &[("access_token", &long)]).await;
    assert_eq!(in_a_form.status, 401);
}

#[tokio::test]
async fn a_token_is_good_from_its_issue_to_its_expiry() {
    let server = TestServer::open().await;
    let client = server.client();
    let tokens = server.app(FIRST).sign_in(&mut server.browser("alice"), "openid read").await;
    server.advance(Duration::from_millis(3_599_999));
    assert_eq!(client.call_api(&tokens.access).await.status, 200);
    assert_eq!(client.user_info(&tokens.access).await.status, 200);
    server.advance(Duration::from_millis(1));
    assert_nowhere_valid(&client, &tokens.access, "expired, though it is known to be ours").await;

    let tokens = server.app(FIRST).sign_in(&mut server.browser("alice"), "openid read").await;
    server.set_clock(server.now().minus(Duration::from_secs(5)));
    assert_eq!(client.call_api(&tokens.access).await.status, 200, "clocks of two nodes differ a little");
    server.set_clock(server.now().minus(Duration::from_secs(2)));
    assert_nowhere_valid(&client, &tokens.access, "not yet valid").await;
}

#[tokio::test]
async fn insufficient_scope_names_the_scope_that_is_needed() {
    let server = TestServer::open().await;
    let client = server.client();
    let reader = TokenAnswer::read(&server.app(READER).service_token("").await).access;
    let write = client.ask(&Method::POST, CUSTOMERS).bearer(&reader).body("application/json", "{}").send().await;
    assert_eq!(write.status, 403);
    let challenge = write.header("www-authenticate");
    assert!(
        challenge.contains("error=\"insufficient_scope\"") && challenge.ends_with("scope=\"update\""),
        "{challenge}"
    );
    let updater = TokenAnswer::read(&server.app(SERVICE).service_token("update").await).access;
    let read = client.call_api(&updater).await;
    assert_eq!(read.status, 403, "update does not imply read");
    assert!(read.header("www-authenticate").ends_with("scope=\"read\""));
    let without_openid = server.app(SPA).sign_in(&mut server.browser("alice"), "read").await;
    let answer = client.user_info(&without_openid.access).await;
    assert_eq!(answer.refusal(), (403, "insufficient_scope".to_owned()));
    assert!(answer.header("www-authenticate").ends_with("scope=\"openid\""));
}

#[tokio::test]
async fn an_identity_token_without_an_api_scope_does_not_open_the_api() {
    let server = TestServer::open().await;
    let tokens = server.app(FIRST).sign_in(&mut server.browser("alice"), "openid profile").await;
    assert_eq!(server.client().user_info(&tokens.access).await.status, 200);
    assert_invalid_token(&server.client().call_api(&tokens.access).await, "the API is not in its audience");
}

#[tokio::test]
async fn the_api_never_redirects_and_answers_in_json() {
    let server = TestServer::open().await;
    let client = server.client();
    for path in [CUSTOMERS, "/api/domain/odata/Nothing", "/api", "/api/nothing", "/API/x"] {
        for token in ["x", ""] {
            let answer = client.ask(&Method::GET, path).header("accept", "text/html").bearer(token).send().await;
            assert!(answer.status.is_client_error(), "{path}: {}", answer.status);
            assert_eq!(answer.header("content-type"), "application/json", "{path}");
            assert!(answer.json()["error"]["message"].is_string());
        }
    }
}
