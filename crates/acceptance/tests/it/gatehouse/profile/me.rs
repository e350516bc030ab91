//! `/profile/me`: the signed-in user's profile, for applications.

use acceptance::{HttpAnswer, TestServer, TokenAnswer};
use flows::admin::tokens::TokenDraft;
use http::Method;
use model::reference_token::{NewTokenRequest, ReferenceTokenKind};
use oauth::scope::Scope;
use serde_json::json;

use crate::{FIRST, PORTAL, SERVICE};

async fn key(server: &TestServer, (application, login): (&str, Option<&str>)) -> String {
    let mut rng = server.rng();
    let scope = Scope::parse("read").expect("a scope");
    let kind = if login.is_some() { ReferenceTokenKind::Personal } else { ReferenceTokenKind::Service };
    let wish = NewTokenRequest { kind, description: "a script", scope: &scope, expires_at: None };
    let draft = TokenDraft { application, login, wish };
    let issued = server.operator().await.issue_token(&draft, &mut server.moment(&mut rng)).await;
    issued.expect("no fault").expect("allowed").value.expose().to_owned()
}

async fn with_cookie(server: &TestServer, login: &str, path: &str) -> HttpAnswer {
    let mut browser = server.browser(login);
    browser.sign_in().await;
    browser.step(&Method::GET, path, &[]).await
}

#[tokio::test]
async fn a_person_is_told_of_by_cookie_by_token_and_by_key_alike() {
    let server = TestServer::open().await;
    let answer = with_cookie(&server, "alice", "/profile/me").await;
    assert_eq!((answer.status.as_u16(), answer.header("cache-control")), (200, "no-store"));
    let me = answer.json();
    let root = "http://localhost:8080";
    assert_eq!(me["login"], "alice");
    assert_eq!(me["name"], "Alice Archer");
    assert_eq!(me["email"], "alice@example.com");
    assert_eq!(
        (&me["isAdmin"], &me["isActive"], &me["userType"]),
        (&json!(false), &json!(true), &json!("InternalUser"))
    );
    assert_eq!(me["pictureUrl"], format!("{root}/profile/me/picture/64"));
    assert_eq!(me["instance"], json!({ "database": "testdb", "url": root }));
    assert_eq!(me["links"]["accessTokens"], format!("{root}/profile/tokens"));
    let members = "id login name email phoneNumber isAdmin isActive userType preferredLanguage pictureUrl \
                   largePictureUrl person domain instance links";
    let known: Vec<_> = me.as_object().expect("an object").keys().map(String::as_str).collect();
    assert_eq!(known, members.split_whitespace().collect::<Vec<_>>());
    let token = server.app(FIRST).sign_in(&mut server.browser("alice"), "read").await.access;
    let key = key(&server, ("my.trusted.app/scripts", Some("alice"))).await;
    for token in [&token, &key] {
        assert_eq!(server.client().get_with("/profile/me", token).await.json(), me);
    }
    assert_eq!(server.operator().await.seats().await.expect("no fault").0.used, 0, "it takes no seat");
}

#[tokio::test]
async fn a_service_is_no_person() {
    let server = TestServer::open().await;
    let token = TokenAnswer::read(&server.app(SERVICE).service_token("").await).access;
    let key = key(&server, (SERVICE, None)).await;
    for token in [&token, &key] {
        for path in ["/profile/me", "/profile/me/picture", "/profile/me/picture/64", "/profile/me/picture/128"] {
            assert_eq!(server.client().get_with(path, token).await.status, 403, "{path}");
        }
    }
    let trail = server.audit().await;
    assert_eq!(trail.iter().filter(|row| row.reason == "not_a_person").count(), 8);
}

#[tokio::test]
async fn a_community_user_is_a_person_too() {
    let server = TestServer::open().await;
    let token = server.app(PORTAL).sign_in(&mut server.browser("carol"), "openid").await.access;
    assert_eq!(server.client().get_with("/profile/me", &token).await.json()["userType"], "ExternalCommunityUser");
}

#[tokio::test]
async fn who_shows_nothing_or_something_bad_is_told_so() {
    let server = TestServer::open().await;
    for path in ["/profile/me", "/profile/me/picture"] {
        let nobody = server.client().get(path).await;
        assert_eq!((nobody.status.as_u16(), nobody.location()), (401, ""), "a program is not sent to a page");
        assert!(!nobody.header("www-authenticate").contains("error="));
        for bad in ["x.y.z", "enrt_0000", ""] {
            assert!([400, 401].contains(&server.client().get_with(path, bad).await.status.as_u16()), "{bad:?}");
        }
    }
    let mut alice = server.browser("alice");
    let token = server.app(FIRST).sign_in(&mut alice, "read").await.access;
    assert_eq!(server.other_client().get_with("/profile/me", &token).await.status, 401, "of another instance");
    let client = server.client();
    let cookie = alice.jar.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ");
    let both = client.ask(&Method::GET, "/profile/me").header("cookie", &cookie).bearer("x.y.z").send().await;
    assert_eq!(both.status, 401, "a bad token is not helped by a cookie");
    server.enable_user("alice", false).await;
    assert_eq!(server.client().get_with("/profile/me", &token).await.status, 401);
    assert_eq!(client.ask(&Method::GET, "/profile/me").header("cookie", &cookie).send().await.status, 401);
}

#[tokio::test]
async fn pages_of_registered_applications_may_read_it_with_a_token_only() {
    let server = TestServer::open().await;
    let client = server.client();
    let token = server.app(FIRST).sign_in(&mut server.browser("alice"), "read").await.access;
    let ask = |origin: &str| client.ask(&Method::GET, "/profile/me").header("origin", origin).bearer(&token);
    let known = ask("http://localhost:3000").send().await;
    assert_eq!(known.header("access-control-allow-origin"), "http://localhost:3000");
    assert_eq!(known.header("access-control-allow-credentials"), "", "cookies stay at home");
    assert_eq!(ask("https://evil.example.com").send().await.header("access-control-allow-origin"), "");
}
