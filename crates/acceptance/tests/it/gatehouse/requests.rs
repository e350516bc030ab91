//! Foreign headers, cookies and parameters in requests, and requests that the user did not intend.

use std::time::Duration;

use acceptance::{Browser, HttpAnswer, TestServer};
use http::{HeaderValue, Method};

use super::two_step::{STEP, enter_code, set_up_app};
use crate::{FIRST, PORTAL};

/// Cookies of other applications on the host, with arbitrary bytes.
const OF_OTHERS: &str = "София; theme=\u{1f319}; gatehouse-city=Пловдив";

#[tokio::test]
async fn a_person_signs_in_whatever_other_cookies_hold() {
    let server = TestServer::open().await;
    let mut alice = server.browser("alice");
    alice.jar.insert("city".to_owned(), OF_OTHERS.to_owned());
    assert_eq!(alice.sign_in().await.page(), "account");
    assert!(server.app(FIRST).sign_in(&mut alice, "openid read").await.id.is_some());
    let page = alice.open("/id/connect/endsession").await;
    assert_eq!(alice.submit(&page, "csrf", &[]).await.page(), "signed-out");
}

#[tokio::test]
async fn a_stale_cookie_of_our_name_locks_nobody_out() {
    let server = TestServer::open().await;
    let mut former = server.browser("alice");
    former.sign_in().await;
    let stale = former.jar["gatehouse"].clone();
    let page = former.open("/id/connect/endsession").await;
    former.submit(&page, "csrf", &[]).await;

    let admin = set_up_app(&server, &mut server.browser("admin")).await;
    server.advance(STEP);
    let mut browser = server.browser("admin");
    let page = browser.open("/id/account/login").await;
    let (id, x) = ("0190000000007000800000000000000a", "x".repeat(43));
    let planted = format!("x; gatehouse={stale}; gatehouse-form={x}; gatehouse-step={id}.1.{x}");
    browser.jar.insert("a".to_owned(), planted);
    assert_eq!(browser.enter(&page).await.page(), "sign-in", "the second step's page goes with the first form cookie");
    // From the first page on, the stale cookies come first.
    let page = browser.sign_in().await;
    assert_eq!(page.page(), "second-step");
    assert_eq!(enter_code(&mut browser, &page, &admin.code(&server)).await.page(), "account");
    assert_eq!(browser.open("/profile").await.page(), "profile");
    let page = browser.open("/id/connect/endsession").await;
    assert_eq!(browser.submit(&page, "csrf", &[]).await.page(), "signed-out");
    assert_eq!(browser.open("/profile").await.page(), "sign-in");
}

#[tokio::test]
async fn many_cookies_of_our_name_are_not_all_looked_at() {
    let server = TestServer::open().await;
    let mut alice = server.browser("alice");
    alice.sign_in().await;
    alice.jar.insert("a".to_owned(), format!("x{}", "; gatehouse=0".repeat(100)));
    assert_eq!(alice.open("/id/account").await.page(), "sign-in");
}

#[tokio::test]
async fn a_browser_s_name_is_kept_although_a_byte_of_it_is_no_ascii() {
    let server = TestServer::open().await;
    let ask = server.client();
    let ask = ask.ask(&Method::GET, "/id/connect/authorize?client_id=x").header("user-agent", "Преглед/1 Firefox");
    assert_eq!(ask.send().await.status, 400);
    let shown = "??????????????/1 Firefox".to_owned();
    assert!(server.audit().await.iter().any(|row| row.columns.contains(&shown)));
}

#[tokio::test]
async fn a_language_is_found_beside_what_is_none() {
    let server = TestServer::open().await;
    let client = server.client();
    let language = async |lines: &[&str]| {
        let ask = client.ask(&Method::GET, "/id/account/login");
        let ask = lines.iter().fold(ask, |ask, line| ask.header("accept-language", line));
        ask.send().await.attributes("html", "lang")[0].clone()
    };
    assert_eq!(language(&["ж, bg;q=0.9"]).await, "bg");
    assert_eq!(language(&["fr", "de;q=0.8"]).await, "de", "a list may have several lines");
    assert_eq!(language(&["ж"]).await, "en");
}

/// RFC 9110 §13.1.2.
#[tokio::test]
async fn a_document_is_not_sent_again_to_whoever_has_it() {
    let server = TestServer::open().await;
    let (client, mut alice) = (server.client(), server.browser("alice"));
    alice.sign_in().await;
    let cookie = format!("gatehouse={}", alice.jar["gatehouse"]);
    for path in [
        "/id/.well-known/openid-configuration",
        "/id/.well-known/openid-configuration/jwks",
        "/manage/api/v1/openapi.json",
        "/profile/me/picture",
    ] {
        let ask = |tags: &str| {
            let ask = client.ask(&Method::GET, path).header("cookie", &cookie);
            ask.header("if-none-match", tags).send()
        };
        let tag = ask("\"x\"").await.header("etag").to_owned();
        assert!(tag.len() > 2, "{path}");
        for has in
            [tag.clone(), format!("W/{tag}"), format!("\"x\", W/\"y\",{tag}"), format!("\"ж\", {tag}"), "*".into()]
        {
            assert_eq!(ask(&has).await.status, 304, "{path}: {has}");
        }
        for has_not in ["W/\"x\"", "\"x\", \"y\"", &tag[1..]] {
            assert_eq!(ask(has_not).await.status, 200, "{path}: {has_not}");
        }
    }
}

/// List headers that the OData endpoint reads.
#[tokio::test]
async fn what_a_client_of_the_api_prefers_is_found_beside_what_is_no_text() {
    let server = TestServer::open().await;
    let app = server.app(crate::SERVICE);
    let token = app.service_token("read update").await.json()["access_token"].as_str().expect("a token").to_owned();
    let client = server.client();
    let list = client.ask(&Method::GET, "/api/domain/odata/Crm_Customers?$top=1").bearer(&token);
    let list = list.header("accept", "ж/ж, application/json;odata.metadata=none").send().await;
    assert_eq!(list.status, 200);
    assert!(list.header("content-type").contains("odata.metadata=none"));
}

/// Every route that changes state, and whether it accepts POST too.
const ACTING: [(&str, bool); 31] = [
    ("/id/connect/authorize", true),
    ("/id/connect/endsession", true),
    ("/id/account/login", true),
    ("/id/account/consent", true),
    ("/id/account/second-step", true),
    ("/id/account/recovery-code", true),
    ("/id/account/set-up", true),
    ("/id/account/reset-password", true),
    ("/id/account/confirm-email", true),
    ("/id/account/forgotten", true),
    ("/profile", false),
    ("/profile/", false),
    ("/profile/email", true),
    ("/profile/password", true),
    ("/profile/tokens", true),
    ("/profile/apps", true),
    ("/profile/sessions", true),
    ("/profile/picture", true),
    ("/profile/language", true),
    ("/profile/two-step", false),
    ("/profile/two-step/app", true),
    ("/profile/two-step/passkey", true),
    ("/profile/two-step/confirm", true),
    ("/manage", false),
    ("/manage/apps", false),
    ("/manage/apps/install", true),
    ("/manage/apps/uninstall", true),
    ("/manage/users", false),
    ("/manage/audit", true),
    ("/manage/audit/export", false),
    ("/manage/settings", true),
];

const GUESSES: [(&str, &str); 4] = [
    ("sec-purpose", "prefetch"),
    ("sec-purpose", "prefetch;prerender"),
    ("purpose", "prefetch"),
    ("x-moz", "prefetch"),
];

/// RFC 9110 §15.5.6.
#[tokio::test]
async fn what_acts_answers_neither_head_nor_a_browser_s_guess() {
    let server = TestServer::open().await;
    let client = server.client();
    for (path, takes_post) in ACTING {
        let head = client.ask(&Method::HEAD, path).send().await;
        let allowed = if takes_post { "GET, POST" } else { "GET" };
        assert_eq!((head.status.as_u16(), head.header("allow")), (405, allowed), "{path}");
        assert_eq!((head.body.len(), head.header("cache-control")), (0, "no-store"), "{path}");
        let delete = client.ask(&Method::DELETE, path).send().await;
        assert_eq!((delete.status.as_u16(), delete.header("allow")), (405, allowed), "{path}: told alike");
        for (name, value) in GUESSES {
            let guess = client.ask(&Method::GET, path).header(name, value).send().await;
            assert_eq!((guess.status.as_u16(), guess.header("cache-control")), (503, "no-store"), "{path} {name}");
            assert_eq!((guess.header("location"), guess.header("set-cookie")), ("", ""), "{path} {name}");
        }
    }
    assert_eq!(client.ask(&Method::HEAD, "/profile/nothing").send().await.status, 404);
}

#[tokio::test]
async fn what_only_tells_answers_head_as_get_without_the_body() {
    let server = TestServer::open().await;
    let client = server.client();
    let stylesheet = client.get("/id/account/login").await.attributes("link[rel=stylesheet]", "href")[0].clone();
    for path in [
        "/",
        "/healthz",
        "/readyz",
        "/tools/ver",
        "/tools/auto-discovery",
        "/id/.well-known/openid-configuration",
        "/id/.well-known/openid-configuration/jwks",
        "/id/account",
        "/profile/me/picture",
        "/manage/api/v1/openapi.json",
        &stylesheet,
    ] {
        let (head, get) = (client.ask(&Method::HEAD, path).send().await, client.get(path).await);
        assert_eq!((head.status, head.header("content-type")), (get.status, get.header("content-type")), "{path}");
        assert_eq!(head.header("etag"), get.header("etag"), "{path}");
        assert!(head.body.is_empty(), "{path}");
        let guess = client.ask(&Method::GET, path).header("sec-purpose", "prefetch").send().await;
        assert_eq!(guess.status, get.status, "{path}");
    }
}

/// Sends HEAD and each kind of unintended request.
async fn unmeant(browser: &mut Browser, path: &str) -> Vec<HttpAnswer> {
    let mut answers = vec![browser.step(&Method::HEAD, path, &[]).await];
    let cookies: Vec<String> = browser.jar.iter().map(|(name, value)| format!("{name}={value}")).collect();
    for (name, value) in GUESSES {
        let ask = browser.client.ask(&Method::GET, path).header("cookie", &cookies.join("; "));
        answers.push(ask.header(name, value).send().await);
    }
    answers
}

#[tokio::test]
async fn nothing_changes_by_what_nobody_meant() {
    let server = TestServer::open().await;
    let (portal, mut alice) = (server.app(PORTAL), server.browser("alice"));
    let tokens = portal.sign_in(&mut alice, "openid read").await;
    let events = server.store().await.newest_change().await.expect("the database answers");
    for path in [
        portal.asks("read").path(),
        format!("/id/connect/endsession?id_token_hint={}", tokens.id()),
        "/manage/audit/export".to_owned(),
        "/profile".to_owned(),
    ] {
        for answer in unmeant(&mut alice, &path).await {
            assert!(matches!(answer.status.as_u16(), 405 | 503), "{path}: {answer:?}");
            assert!(answer.headers.get("location").is_none_or(HeaderValue::is_empty), "{path}: no code");
        }
    }
    assert_eq!(server.store().await.newest_change().await.expect("the database answers"), events);
    assert_eq!(alice.open("/id/account").await.page(), "account", "still signed in");
    let issued = server.audit().await.into_iter().filter(|row| row.kind == "code-issued").count();
    assert_eq!(issued, 1);
}

#[tokio::test]
async fn a_guess_keeps_nobody_signed_in() {
    let server = TestServer::open().await;
    let (mut absent, mut present) = (server.browser("alice"), server.browser("alice"));
    absent.sign_in().await;
    present.sign_in().await;
    server.advance(Duration::from_mins(119));
    unmeant(&mut absent, "/profile").await;
    present.open("/profile").await;
    server.advance(Duration::from_mins(2));
    assert_eq!(absent.open("/profile").await.page(), "sign-in");
    assert_eq!(present.open("/profile").await.page(), "profile");
}
