//! The API guard, as an application's page sees it.

use acceptance::{TestServer, TokenAnswer};
use http::Method;

use crate::{FIRST, SERVICE};

const CUSTOMERS: &str = "/api/domain/odata/Crm_Customers";
const REGISTERED: [&str; 3] = ["http://localhost:3000", "https://your-spa.example.com", "https://portal.example.com"];
const STRANGERS: [&str; 6] = [
    "https://evil.example",
    "http://localhost:3001",
    "https://localhost:3000",
    "null",
    "https://your-spa.example.com.evil.example",
    "HTTPS://your-spa.example.com",
];

#[tokio::test]
async fn pages_of_registered_apps_may_read_answers_and_others_may_not() {
    let server = TestServer::open().await;
    let client = server.client();
    let token = TokenAnswer::read(&server.app(SERVICE).service_token("").await).access;
    for (method, path) in [
        (Method::GET, CUSTOMERS),
        (Method::GET, "/api/domain/odata/Nothing"),
        (Method::GET, "/id/connect/userinfo"),
        (Method::POST, "/id/connect/token"),
    ] {
        for origin in REGISTERED {
            let answer = client.ask(&method, path).header("origin", origin).bearer(&token).send().await;
            assert_eq!(answer.header("access-control-allow-origin"), origin, "{path}");
            assert!(answer.header("vary").contains("Origin"), "{path}");
            assert_eq!(answer.header("access-control-allow-credentials"), "", "tokens, never cookies");
            assert!(answer.header("access-control-expose-headers").contains("WWW-Authenticate"));
        }
        for origin in STRANGERS {
            let answer = client.ask(&method, path).header("origin", origin).bearer(&token).send().await;
            assert_eq!(answer.header("access-control-allow-origin"), "", "{path} {origin}");
        }
    }
}

#[tokio::test]
async fn a_preflight_needs_no_token_and_says_nothing_to_strangers() {
    let server = TestServer::open().await;
    for path in [CUSTOMERS, "/id/connect/userinfo", "/id/connect/token"] {
        for (origin, known) in [(REGISTERED[0], true), (STRANGERS[0], false)] {
            let client = server.client();
            let ask = client.ask(&Method::OPTIONS, path).header("origin", origin);
            let answer = ask.header("access-control-request-method", "PATCH").send().await;
            assert_eq!(answer.status, 204, "{path}");
            assert_eq!(answer.header("access-control-allow-origin") == origin, known, "{path}");
            assert_eq!(answer.header("access-control-allow-headers").contains("Authorization"), known);
            assert_eq!(answer.header("access-control-allow-methods").contains("PATCH"), known);
        }
    }
    assert!(server.audit().await.iter().all(|row| row.kind != "api-call"), "nobody called the API");
}

/// A browser's preflight asks for each header that a page's library sets. If one is missing from the answer, it does
/// not send the request.
#[tokio::test]
async fn a_preflight_names_the_headers_that_libraries_in_browsers_send() {
    let server = TestServer::open().await;
    let client = server.client();
    for path in [CUSTOMERS, "/id/connect/userinfo", "/id/connect/token", "/id/connect/revocation"] {
        let ask = client.ask(&Method::OPTIONS, path).header("origin", REGISTERED[0]);
        let answer = ask.header("access-control-request-method", "POST").send().await;
        let allowed = answer.header("access-control-allow-headers").to_ascii_lowercase();
        let allowed: Vec<_> = allowed.split(", ").collect();
        for header in [
            "accept",
            "accept-language",
            "authorization",
            "content-type",
            "if-match",
            "if-none-match",
            "prefer",
            "x-api-key",
            "x-requested-with",
            "odata-version",
            "odata-maxversion",
            "odata-isolation",
            "maxdataserviceversion",
            "traceparent",
            "tracestate",
            "transactionid",
        ] {
            assert!(allowed.contains(&header), "{path} {header}");
        }
        assert!(!allowed.contains(&"*") && !allowed.contains(&"cookie"), "{allowed:?}");
        let answer = client.ask(&Method::GET, CUSTOMERS).header("origin", REGISTERED[0]).send().await;
        let exposed = answer.header("access-control-expose-headers").to_ascii_lowercase();
        for header in [
            "etag",
            "odata-version",
            "odata-entityid",
            "location",
            "retry-after",
            "www-authenticate",
            "x-request-id",
            "preference-applied",
        ] {
            assert!(exposed.split(", ").any(|name| name == header), "{header}");
        }
    }
}

/// RFC 9110 §15.5.16, §12.5.3: at every endpoint that reads a body, each with its own error format.
#[tokio::test]
async fn a_compressed_body_is_refused_at_every_door() {
    let server = TestServer::open().await;
    let client = server.client();
    let writer = TokenAnswer::read(&server.app(SERVICE).service_token("").await).access;
    let manager = TokenAnswer::read(&server.manager().await.service_token("manage").await).access;
    let (form, json) = ("application/x-www-form-urlencoded", "application/json");
    for (path, token, kind) in [
        ("/id/connect/token", "", form),
        ("/id/connect/revocation", "", form),
        ("/id/connect/introspect", "", form),
        ("/id/connect/userinfo", "", form),
        ("/id/connect/authorize", "", form),
        ("/id/connect/endsession", "", form),
        ("/id/account/login", "", form),
        ("/id/account/forgotten", "", form),
        ("/id/tokens/leaked", "", "text/plain"),
        ("/api/domain/login", "", json),
        (CUSTOMERS, &writer, json),
        ("/manage/api/v1/roles", &manager, json),
    ] {
        for (coding, refused) in
            [("gzip", true), ("br", true), ("identity, gzip", true), ("x", true), ("identity", false), ("", false)]
        {
            let mut ask = client.ask(&Method::POST, path).header("content-encoding", coding);
            if !token.is_empty() {
                ask = ask.bearer(token);
            }
            let answer = ask.body(kind, "x=1").send().await;
            assert_eq!(answer.status == 415, refused, "{path} {coding}: {}", answer.status);
            assert_eq!(answer.header("accept-encoding") == "identity", refused, "{path} {coding}");
        }
    }
}

/// The formats of errors: JSON for an application, a page for a user.
#[tokio::test]
async fn a_body_that_is_refused_is_answered_in_the_shape_of_its_door() {
    let server = TestServer::open().await;
    let client = server.client();
    let ask = async |path: &str| {
        let ask = client.ask(&Method::POST, path).header("content-encoding", "gzip");
        ask.body("application/x-www-form-urlencoded", "x=1").send().await
    };
    assert_eq!(ask("/id/connect/token").await.json()["error"], "invalid_request");
    assert_eq!(ask("/id/connect/introspect").await.json()["error"], "invalid_request");
    assert!(ask("/api/domain/login").await.json()["error"]["message"].is_string());
    assert!(ask("/id/account/login").await.text().contains("is compressed"));
}

#[tokio::test]
async fn a_disabled_apps_pages_are_strangers() {
    let server = TestServer::open().await;
    let ask = async |origin: &str| server.client().ask(&Method::GET, CUSTOMERS).header("origin", origin).send().await;
    let origin = "https://your-app.example.com";
    assert_eq!(ask(origin).await.header("access-control-allow-origin"), origin);
    server.enable_app(FIRST, false).await;
    assert_eq!(ask(origin).await.header("access-control-allow-origin"), "");
    assert_eq!(ask("http://localhost:3000").await.header("access-control-allow-origin"), "http://localhost:3000");
}

#[tokio::test]
async fn pages_with_forms_are_never_shared_across_origins() {
    let server = TestServer::open().await;
    let app = server.app(FIRST);
    for path in ["/id/account/login", &app.asks("read").path(), "/id/connect/endsession", "/id/account"] {
        let answer = server.client().ask(&Method::GET, path).header("origin", REGISTERED[0]).send().await;
        assert_eq!(answer.header("access-control-allow-origin"), "", "{path}");
    }
}

#[tokio::test]
async fn roles_decide_after_the_scope() {
    let server = TestServer::open().await;
    let app = server.app(FIRST);
    let products = "/api/domain/odata/General_Products_Products?$top=1";
    for (login, status) in [("alice", 200), ("bob", 403), ("admin", 200)] {
        let token = app.sign_in(&mut server.browser(login), "read update").await.access;
        assert_eq!(server.client().call_api(&token).await.status, 200, "{login}");
        assert_eq!(server.client().get_with(products, &token).await.status, status, "{login}");
    }
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused() {
    let server = TestServer::open().await;
    let client = server.client();
    let token = TokenAnswer::read(&server.app(SERVICE).service_token("").await).access;
    let large = format!("{{\"Name\":\"{}\"}}", "x".repeat(2 * 1024 * 1024));
    let ask = client.ask(&Method::POST, CUSTOMERS).bearer(&token).body("application/json", large);
    let answer = ask.send().await;
    assert_eq!(answer.status, 413);
    assert!(answer.json()["error"]["message"].is_string());
}
