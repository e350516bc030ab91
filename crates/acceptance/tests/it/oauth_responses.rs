//! OAuth 2.0 Multiple Response Type Encoding Practices, OAuth 2.0 Form Post Response Mode, and the hybrid flow of OpenID
//! Connect Core 1.0 §3.3.

use acceptance::{AuthorizationParams, TestServer, TokenAnswer, jwt};
use http::Method;
use serde_json::json;

use crate::{FIRST, PORTAL, SPA};

fn hybrid(asked: &AuthorizationParams) -> AuthorizationParams {
    asked.clone().with("response_type", "code id_token")
}

/// OIDC Core §3.3.2.5, §3.3.2.11, §3.3.3.6.
#[tokio::test]
async fn code_id_token_returns_both_in_the_fragment_and_the_id_token_is_bound_to_the_code() {
    let server = TestServer::open().await;
    let (app, mut alice) = (server.app(FIRST), server.browser("alice"));
    for words in ["code id_token", "id_token code"] {
        let asked = app.asks("openid profile read").with("response_type", words);
        let returned = alice.authorize(&asked).await.callback_in_fragment();
        let mut names: Vec<_> = returned.keys().map(String::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["code", "id_token", "iss", "state"]);
        let (code, id_token) = (&returned["code"], &returned["id_token"]);
        let claims = jwt::claims(id_token);
        assert_eq!(claims["c_hash"], json!(jwt::half_hash(code)));
        assert_eq!(claims.get("at_hash"), None, "no access token is issued beside it");
        assert_eq!((&claims["nonce"], &claims["aud"]), (&json!("nonce-of-the-app"), &json!(FIRST)));
        for personal in ["name", "email", "preferred_username"] {
            assert_eq!(claims.get(personal), None, "personal claims are at UserInfo");
        }
        let jwks = server.client().get("/id/.well-known/openid-configuration/jwks").await.json();
        assert!(jwt::is_signed_by(id_token, &jwks, "JWT"));
        let tokens = TokenAnswer::read(&app.redeem(code).await);
        for name in ["iss", "sub", "sid", "auth_time", "nonce", "aud"] {
            assert_eq!(jwt::claims(tokens.id())[name], claims[name], "{name}");
        }
        assert_eq!(app.client.call_api(&tokens.access).await.status, 200);
    }
}

/// Form Post §2.
#[tokio::test]
async fn form_post_returns_a_page_that_posts_the_response_to_the_redirect_uri() {
    let server = TestServer::open().await;
    let (app, mut alice) = (server.app(FIRST), server.browser("alice"));
    let asked = app.asks("openid read").with("response_mode", "form_post").with("state", "\"<&state>'");
    let page = alice.authorize(&asked).await;
    assert_eq!((page.status.as_u16(), page.header("cache-control")), (200, "no-store"));
    let policy = page.header("content-security-policy");
    assert!(policy.contains("script-src 'self'") && !policy.contains("form-action"), "{policy}");
    let form = page.form("iss");
    assert_eq!(form.action, app.redirect_uri);
    let posted = page.callback_by_form();
    assert_eq!(posted["state"], "\"<&state>'");
    assert_eq!(page.words("form button").as_deref(), Some("Continue"), "it works without scripts");
    let script = page.attributes("script", "src").remove(0);
    let script = server.client().get(&script).await;
    assert_eq!(script.header("content-type"), "text/javascript; charset=utf-8");
    TokenAnswer::read(&app.redeem(&posted["code"]).await);
    let both = alice.authorize(&hybrid(&asked)).await.callback_by_form();
    assert_eq!(jwt::claims(&both["id_token"])["c_hash"], json!(jwt::half_hash(&both["code"])));
}

/// OIDC Core §3.1.2.1: a request that is posted is answered alike.
#[tokio::test]
async fn a_posted_request_is_answered_in_its_mode() {
    let server = TestServer::open().await;
    let (app, mut alice) = (server.app(PORTAL), server.browser("alice"));
    alice.sign_in().await;
    let asked = hybrid(&app.asks("openid"));
    let answer = alice.step(&Method::POST, "/id/connect/authorize", &asked.fields()).await;
    assert_eq!(answer.status, 303, "a posted request is never repeated at the application (RFC 9700 §4.12)");
    assert!(answer.callback_in_fragment().contains_key("id_token"));
    let asked = asked.with("response_mode", "form_post");
    let posted = alice.step(&Method::POST, "/id/connect/authorize", &asked.fields()).await.callback_by_form();
    assert!(posted.contains_key("code") && posted.contains_key("id_token"));
}

#[tokio::test]
async fn code_may_return_in_the_fragment() {
    let server = TestServer::open().await;
    for uri in [FIRST, SPA] {
        let (app, mut alice) = (server.app(uri), server.browser("alice"));
        let asked = app.asks("openid").with("response_mode", "fragment");
        let returned = alice.authorize(&asked).await.callback_in_fragment();
        TokenAnswer::read(&app.redeem(&returned["code"]).await);
    }
}

/// OIDC Core §3.2: sign-in without any other token.
#[tokio::test]
async fn an_id_token_alone_is_posted_and_leaves_no_code_behind() {
    let server = TestServer::open().await;
    let (app, mut alice) = (server.app(PORTAL), server.browser("alice"));
    let asked = app.asks("openid").with("response_type", "id_token").with("response_mode", "form_post");
    for asked in [asked.clone(), asked.without("code_challenge").without("code_challenge_method")] {
        let posted = alice.authorize(&asked).await.callback_by_form();
        assert_eq!(posted.get("code"), None);
        let claims = jwt::claims(&posted["id_token"]);
        assert_eq!((claims.get("c_hash"), claims.get("at_hash")), (None, None));
        assert_eq!((&claims["sub"], &claims["nonce"]), (&json!("alice"), &json!("nonce-of-the-app")));
    }
    let kinds: Vec<_> = server.audit().await.into_iter().map(|row| row.kind).collect();
    assert_eq!(kinds.iter().filter(|kind| *kind == "id-token-issued").count(), 2);
    assert!(!kinds.iter().any(|kind| kind == "code-issued"));
}

#[tokio::test]
async fn a_public_application_gets_nothing_but_a_code() {
    let server = TestServer::open().await;
    let (app, mut alice) = (server.app(SPA), server.browser("alice"));
    let refused = alice.step(&Method::GET, &hybrid(&app.asks("openid")).path(), &[]).await.callback_in_fragment();
    assert_eq!(refused["error"], "unauthorized_client");
    let alone = app.asks("openid").with("response_type", "id_token").with("response_mode", "form_post");
    let refused = alice.step(&Method::GET, &alone.path(), &[]).await.callback_by_form();
    assert_eq!(refused["error"], "unauthorized_client");
}

/// Multiple Response Types §5: a refusal goes where the response would have gone.
#[tokio::test]
async fn refusals_return_in_the_mode_of_the_response() {
    let server = TestServer::open().await;
    let (app, mut alice) = (server.app(FIRST), server.browser("alice"));
    let both = hybrid(&app.asks("openid read"));
    for (asked, error) in [
        (both.clone().without("nonce"), "invalid_request"),
        (both.clone().with("scope", "read"), "invalid_request"),
        (both.clone().with("scope", "openid nonsense"), "invalid_scope"),
        (both.clone().with("prompt", "none"), "login_required"),
        (both.clone().with("response_type", "token"), "unsupported_response_type"),
        (both.clone().with("response_type", "code token"), "unsupported_response_type"),
        (both.clone().with("response_type", "code id_token token"), "unsupported_response_type"),
    ] {
        let returned = alice.step(&Method::GET, &asked.path(), &[]).await.callback_in_fragment();
        assert_eq!((&*returned["error"], &*returned["state"]), (error, "state of the app"), "{asked:?}");
        assert!(!returned.contains_key("code") && !returned.contains_key("id_token"), "{asked:?}");
        let posted = asked.clone().with("response_mode", "form_post");
        let returned = alice.step(&Method::GET, &posted.path(), &[]).await.callback_by_form();
        assert_eq!((&*returned["error"], &*returned["state"]), (error, "state of the app"), "{posted:?}");
    }
    // No token goes into a query, and an ID token alone only into a form.
    let (in_query, alone) =
        (both.clone().with("response_mode", "query"), both.clone().with("response_type", "id_token"));
    for asked in [in_query, alone] {
        let returned = alice.step(&Method::GET, &asked.path(), &[]).await.callback_in_fragment();
        assert_eq!(returned["error"], "invalid_request", "{asked:?}");
    }
    let unknown = app.asks("openid").with("response_mode", "web_message");
    assert_eq!(alice.step(&Method::GET, &unknown.path(), &[]).await.callback_error(), "invalid_request");
    let page = alice.open(&both.clone().with("prompt", "consent").path()).await;
    let page = alice.enter(&page).await;
    let denied = alice.deny(&page).await.callback_in_fragment();
    assert_eq!(denied["error"], "access_denied");
}

/// RFC 6749 §4.1.2.1.
#[tokio::test]
async fn a_redirect_uri_that_is_not_registered_receives_no_form() {
    let server = TestServer::open().await;
    let (app, mut alice) = (server.app(FIRST), server.browser("alice"));
    let asked = app.asks("openid").with("response_mode", "form_post").with("redirect_uri", "https://evil.example/cb");
    let answer = alice.step(&Method::GET, &asked.path(), &[]).await;
    crate::assert_error_page(&answer, 400, "invalid_request");
}
