//! Authorization Server Issuer Identification.

use acceptance::TestServer;

use crate::FIRST;

const ISSUER: &str = "http://localhost:8080/id";

#[tokio::test]
async fn every_answer_to_the_app_names_the_issuer() {
    let server = TestServer::open().await;
    let (app, mut alice) = (server.app(FIRST), server.browser("alice"));
    let discovery = server.client().get("/id/.well-known/openid-configuration").await.json();
    assert_eq!(discovery["issuer"], ISSUER);
    let consent = alice.authorize(&app.asks("read")).await.callback();
    assert_eq!(consent["iss"], ISSUER);
    let usual = app.asks("read");
    for asked in [
        usual.clone().with("scope", "nonsense"),
        usual.clone().with("response_type", "none"),
        usual.clone().with("scope", "update").with("prompt", "none"),
        usual.clone().and("nonce", "again"),
        usual.clone().with("code_challenge_method", "plain"),
    ] {
        let callback = alice.open(&asked.path()).await.callback();
        assert!(callback.contains_key("error"));
        assert_eq!((callback["iss"].as_str(), callback["state"].as_str()), (ISSUER, "state of the app"), "{asked:?}");
    }
    let page = alice.open(&usual.with("prompt", "consent").path()).await;
    let denied = alice.deny(&page).await.callback();
    assert_eq!((denied["error"].as_str(), denied["iss"].as_str()), ("access_denied", ISSUER));
    let mut there = server.browser_at_other("alice");
    let other = there.authorize(&server.app_at_other(FIRST).asks("read")).await.callback();
    assert_eq!(other["iss"], "http://demodb.localhost:8080/id");
}
