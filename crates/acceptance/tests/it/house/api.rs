//! The door of the API as an application's page meets it.

use acceptance::{TestHouse, Tokens};
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
    let house = TestHouse::open().await;
    let client = house.client();
    let token = Tokens::read(&house.app(SERVICE).service_token("").await).access;
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
    let house = TestHouse::open().await;
    for path in [CUSTOMERS, "/id/connect/userinfo", "/id/connect/token"] {
        for (origin, known) in [(REGISTERED[0], true), (STRANGERS[0], false)] {
            let client = house.client();
            let ask = client.ask(&Method::OPTIONS, path).header("origin", origin);
            let answer = ask.header("access-control-request-method", "PATCH").send().await;
            assert_eq!(answer.status, 204, "{path}");
            assert_eq!(answer.header("access-control-allow-origin") == origin, known, "{path}");
            assert_eq!(answer.header("access-control-allow-headers").contains("Authorization"), known);
            assert_eq!(answer.header("access-control-allow-methods").contains("PATCH"), known);
        }
    }
    assert!(house.audit().await.iter().all(|row| row.kind != "api-call"), "nobody called the API");
}

#[tokio::test]
async fn a_disabled_apps_pages_are_strangers() {
    let house = TestHouse::open().await;
    let ask = async |origin: &str| house.client().ask(&Method::GET, CUSTOMERS).header("origin", origin).send().await;
    let origin = "https://your-app.example.com";
    assert_eq!(ask(origin).await.header("access-control-allow-origin"), origin);
    house.enable_app(FIRST, false).await;
    assert_eq!(ask(origin).await.header("access-control-allow-origin"), "");
    assert_eq!(ask("http://localhost:3000").await.header("access-control-allow-origin"), "http://localhost:3000");
}

#[tokio::test]
async fn pages_with_forms_are_never_shared_across_origins() {
    let house = TestHouse::open().await;
    let app = house.app(FIRST);
    for path in ["/id/account/login", &app.asks("read").path(), "/id/connect/endsession", "/id/account"] {
        let answer = house.client().ask(&Method::GET, path).header("origin", REGISTERED[0]).send().await;
        assert_eq!(answer.header("access-control-allow-origin"), "", "{path}");
    }
}

#[tokio::test]
async fn roles_decide_after_the_scope() {
    let house = TestHouse::open().await;
    let app = house.app(FIRST);
    let products = "/api/domain/odata/General_Products_Products?$top=1";
    for (login, status) in [("alice", 200), ("bob", 403), ("admin", 200)] {
        let token = app.sign_in(&mut house.browser(login), "read update").await.access;
        assert_eq!(house.client().call_api(&token).await.status, 200, "{login}");
        assert_eq!(house.client().get_with(products, &token).await.status, status, "{login}");
    }
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused() {
    let house = TestHouse::open().await;
    let client = house.client();
    let token = Tokens::read(&house.app(SERVICE).service_token("").await).access;
    let large = format!("{{\"Name\":\"{}\"}}", "x".repeat(2 * 1024 * 1024));
    let ask = client.ask(&Method::POST, CUSTOMERS).bearer(&token).body("application/json", large);
    let answer = ask.send().await;
    assert_eq!(answer.status, 413);
    assert!(answer.json()["error"]["message"].is_string());
}
