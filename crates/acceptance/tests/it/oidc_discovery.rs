//! OpenID Connect Discovery 1.0, and the key set it leads to (RFC 7517).

use acceptance::TestServer;
use http::Method;
use serde_json::{Value, json};

const DISCOVERY: &str = "/id/.well-known/openid-configuration";
const JWKS: &str = "/id/.well-known/openid-configuration/jwks";

#[tokio::test]
async fn the_document_says_what_clients_need() {
    let server = TestServer::open().await;
    let metadata = server.client().get(DISCOVERY).await.json();
    let root = "http://localhost:8080";
    for (name, expected) in [
        ("issuer", json!(format!("{root}/id"))),
        ("authorization_endpoint", json!(format!("{root}/id/connect/authorize"))),
        ("token_endpoint", json!(format!("{root}/id/connect/token"))),
        ("userinfo_endpoint", json!(format!("{root}/id/connect/userinfo"))),
        ("end_session_endpoint", json!(format!("{root}/id/connect/endsession"))),
        ("jwks_uri", json!(format!("{root}{JWKS}"))),
        ("subject_types_supported", json!(["public"])),
        ("request_parameter_supported", json!(false)),
        ("request_uri_parameter_supported", json!(false)),
    ] {
        assert_eq!(metadata[name], expected, "{name}");
    }
    let algorithms = metadata["id_token_signing_alg_values_supported"].as_array().expect("a list");
    assert!(algorithms.contains(&json!("RS256")), "§3 demands it");
    assert!(!algorithms.contains(&json!("none")));
    let list = |name: &str| metadata[name].as_array().expect("a list").clone();
    assert!(list("scopes_supported").contains(&json!("openid")));
    for claim in ["sub", "iss", "auth_time", "nonce", "sid", "name", "email", "email_verified"] {
        assert!(list("claims_supported").contains(&json!(claim)), "{claim}");
    }
}

#[tokio::test]
async fn the_key_set_has_public_keys_only_each_with_its_own_name() {
    let server = TestServer::open().await;
    let answer = server.client().get(JWKS).await;
    let set = answer.json();
    let keys = set["keys"].as_array().expect("keys");
    let mut kids: Vec<&str> = keys.iter().map(|key| key["kid"].as_str().expect("a name")).collect();
    let algorithms: Vec<&str> = keys.iter().map(|key| key["alg"].as_str().expect("an algorithm")).collect();
    assert!(algorithms.contains(&"RS256") && algorithms.contains(&"ES256"), "{algorithms:?}");
    for key in keys {
        assert_eq!(key["use"], "sig");
        for private in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
            assert!(key.get(private).is_none(), "{private}");
        }
        match key["kty"].as_str() {
            Some("RSA") => assert!(key["n"].as_str().expect("a modulus").len() >= 342, "at least 2048 bits"),
            Some("EC") => assert_eq!(key["crv"], "P-256"),
            other => panic!("an unexpected kind of key: {other:?}"),
        }
    }
    let count = kids.len();
    kids.sort_unstable();
    kids.dedup();
    assert_eq!(kids.len(), count);
}

#[tokio::test]
async fn instances_share_no_key() {
    let server = TestServer::open().await;
    let kids = async |client: acceptance::Client| -> Vec<Value> {
        client.get(JWKS).await.json()["keys"].as_array().expect("keys").iter().map(|key| key["kid"].clone()).collect()
    };
    let (here, there) = (kids(server.client()).await, kids(server.other_client()).await);
    assert!(here.iter().all(|kid| !there.contains(kid)));
}

#[tokio::test]
async fn documents_may_be_kept_for_minutes_and_are_cheap_to_ask_for_again() {
    let server = TestServer::open().await;
    for path in [DISCOVERY, JWKS] {
        let answer = server.client().get(path).await;
        assert_eq!(answer.header("cache-control"), "public, max-age=300", "{path}");
        let tag = answer.header("etag");
        let again = server.client().ask(&Method::GET, path).header("if-none-match", tag).send().await;
        assert_eq!((again.status.as_u16(), again.body.len()), (304, 0), "{path}");
        let other = server.client().ask(&Method::GET, path).header("if-none-match", "\"other\"").send().await;
        assert_eq!(other.status, 200);
    }
}

#[tokio::test]
async fn pages_of_any_origin_may_read_the_documents() {
    let server = TestServer::open().await;
    for path in [DISCOVERY, JWKS, "/.well-known/oauth-authorization-server/id"] {
        let ask = server.client();
        let answer = ask.ask(&Method::GET, path).header("origin", "https://anybody.example").send().await;
        assert_eq!(answer.header("access-control-allow-origin"), "*", "{path}");
        assert_eq!(answer.header("access-control-allow-credentials"), "");
        let preflight = ask.ask(&Method::OPTIONS, path).header("origin", "https://anybody.example");
        assert_eq!(preflight.send().await.status, 204, "{path}");
    }
}
