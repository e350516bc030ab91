//! Authorization Server Metadata.

use acceptance::TestServer;
use http::Method;
use serde_json::{Value, json};

use crate::{FIRST, SERVICE};

async fn metadata(server: &TestServer) -> Value {
    server.client().get("/.well-known/oauth-authorization-server/id").await.json()
}

#[tokio::test]
async fn the_document_is_served_at_its_well_known_places_byte_for_byte_alike() {
    let server = TestServer::open().await;
    let client = server.client();
    let at_the_root = client.get("/.well-known/oauth-authorization-server/id").await;
    assert_eq!(at_the_root.status, 200);
    assert_eq!(at_the_root.header("content-type"), "application/json");
    for place in ["/id/.well-known/openid-configuration", "/id/.well-known/oauth-authorization-server"] {
        assert_eq!(client.get(place).await.body, at_the_root.body, "{place}");
    }
}

#[tokio::test]
async fn nothing_is_claimed_but_what_there_is() {
    let server = TestServer::open().await;
    let metadata = metadata(&server).await;
    assert_eq!(metadata["grant_types_supported"], json!(["authorization_code", "client_credentials", "refresh_token"]));
    assert_eq!(metadata["response_types_supported"], json!(["code", "code id_token", "id_token"]));
    assert_eq!(metadata["response_modes_supported"], json!(["query", "fragment", "form_post"]));
    assert_eq!(metadata["code_challenge_methods_supported"], json!(["S256"]));
    assert_eq!(metadata["authorization_response_iss_parameter_supported"], true);
    let methods = json!(["client_secret_basic", "client_secret_post", "none"]);
    assert_eq!(metadata["token_endpoint_auth_methods_supported"], methods);
    assert_eq!(metadata["revocation_endpoint_auth_methods_supported"], methods);
    let proving = json!(["client_secret_basic", "client_secret_post"]);
    assert_eq!(metadata["introspection_endpoint_auth_methods_supported"], proving);
    for absent in [
        "registration_endpoint",
        "pushed_authorization_request_endpoint",
        "device_authorization_endpoint",
        "dpop_signing_alg_values_supported",
        "tls_client_certificate_bound_access_tokens",
    ] {
        assert!(metadata.get(absent).is_none(), "{absent}");
    }
}

#[tokio::test]
async fn every_endpoint_begins_with_the_issuer_and_answers() {
    let server = TestServer::open().await;
    let metadata = metadata(&server).await;
    let issuer = metadata["issuer"].as_str().expect("an issuer");
    assert_eq!(issuer, "http://localhost:8080/id");
    for (name, method, status) in [
        ("authorization_endpoint", Method::GET, 400),
        ("token_endpoint", Method::POST, 400),
        ("jwks_uri", Method::GET, 200),
        ("userinfo_endpoint", Method::GET, 401),
        ("end_session_endpoint", Method::GET, 200),
        ("revocation_endpoint", Method::POST, 400),
        ("introspection_endpoint", Method::POST, 400),
    ] {
        let path = metadata[name].as_str().and_then(|url| url.strip_prefix("http://localhost:8080")).expect(name);
        assert!(path.starts_with("/id/"), "{name}");
        assert_eq!(server.client().ask(&method, path).send().await.status, status, "{name}");
    }
}

#[tokio::test]
async fn the_scopes_it_lists_can_be_had() {
    let server = TestServer::open().await;
    let metadata = metadata(&server).await;
    let listed: Vec<_> =
        metadata["scopes_supported"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    for scope in ["openid", "profile", "email", "offline_access", "read", "update"] {
        assert!(listed.contains(&scope), "{scope}");
    }
    let asked = "openid profile email offline_access read update";
    assert_eq!(server.app(FIRST).sign_in(&mut server.browser("alice"), asked).await.scope, asked);
    assert_eq!(server.app(SERVICE).service_token("read update").await.status, 200);
}
