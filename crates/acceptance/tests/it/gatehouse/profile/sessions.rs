//! Sign-ins and devices: a user lists and ends their own.

use acceptance::{Browser, HttpAnswer, TestServer};
use http::Method;

use crate::FIRST;

async fn end(browser: &mut Browser, id: &str) -> HttpAnswer {
    let page = browser.open("/profile/sessions").await;
    browser.submit(&page, "end", &[("end", id)]).await
}

fn ids(page: &HttpAnswer) -> Vec<String> {
    page.attributes("[name=end]", "value")
}

async fn seats_used(server: &TestServer) -> u64 {
    server.operator().await.seats().await.expect("no fault").0.used
}

#[tokio::test]
async fn a_person_sees_where_they_are_signed_in_with_this_browser_first() {
    let server = TestServer::open().await;
    let (mut here, mut there, mut bob) = (server.browser("alice"), server.browser("alice"), server.browser("bob"));
    there.client = there.client.from("198.51.100.7:1");
    server.app(FIRST).sign_in(&mut there, "read").await;
    here.sign_in().await;
    bob.sign_in().await;
    let page = here.open("/profile/sessions").await;
    assert_eq!((page.page().as_str(), ids(&page).len()), ("profile-sessions", 2));
    let text = page.words("main").expect("a page");
    let (this, other) = (text.find("192.0.2.1").expect("this"), text.find("198.51.100.7").expect("the other"));
    assert!(this < other && text.contains("this browser"), "{text}");
    assert_eq!(ids(&bob.open("/profile/sessions").await).len(), 1, "each their own");
}

#[tokio::test]
async fn ending_one_ends_its_cookie_its_tokens_and_its_seat_at_once() {
    let server = TestServer::open().await;
    let (app, mut here, mut there) = (server.app(FIRST), server.browser("alice"), server.browser("alice"));
    let tokens = app.sign_in(&mut there, "read offline_access").await;
    assert_eq!(server.client().call_api(&tokens.access).await.status, 200);
    here.sign_in().await;
    let page = here.open("/profile/sessions").await;
    assert!(page.words("main").is_some_and(|text| text.contains("used by")), "the application that calls is named");
    let other = ids(&page).remove(1);
    assert_eq!(seats_used(&server).await, 1);
    let page = end(&mut here, &other).await;
    assert_eq!((page.page().as_str(), ids(&page).len()), ("profile-sessions", 1));
    assert_eq!(seats_used(&server).await, 0);
    assert_eq!(there.open("/profile").await.page(), "sign-in");
    assert_eq!(server.client().call_api(&tokens.access).await.status, 401);
    assert_eq!(app.refresh(tokens.refresh()).await.error(), "invalid_grant");
    assert_eq!(here.open("/profile").await.page(), "profile");
}

#[tokio::test]
async fn ending_all_others_leaves_this_one() {
    let server = TestServer::open().await;
    let (mut here, mut bob) = (server.browser("alice"), server.browser("bob"));
    here.sign_in().await;
    bob.sign_in().await;
    let mut others = Vec::new();
    for _ in 0..3 {
        let mut other = server.browser("alice");
        other.sign_in().await;
        others.push(other);
    }
    let page = here.open("/profile/sessions").await;
    let page = here.submit(&page, "others", &[("others", "1")]).await;
    assert_eq!(ids(&page).len(), 1);
    assert!(page.attributes("[name=others]", "value").is_empty(), "there are no others now");
    for mut other in others {
        assert_eq!(other.open("/profile").await.page(), "sign-in");
    }
    assert_eq!(bob.open("/profile").await.page(), "profile", "somebody else's is not touched");
}

#[tokio::test]
async fn ending_this_one_signs_out() {
    let server = TestServer::open().await;
    let mut alice = server.browser("alice");
    alice.sign_in().await;
    let this = ids(&alice.open("/profile/sessions").await).remove(0);
    assert_eq!(end(&mut alice, &this).await.page(), "sign-in");
    assert!(!alice.jar.contains_key("gatehouse"));
}

#[tokio::test]
async fn somebody_elses_sign_in_is_not_there() {
    let server = TestServer::open().await;
    let (mut alice, mut bob, mut far) =
        (server.browser("alice"), server.browser("bob"), server.browser_at_other("alice"));
    alice.sign_in().await;
    bob.sign_in().await;
    far.sign_in().await;
    for other in [&mut bob, &mut far] {
        let id = ids(&other.open("/profile/sessions").await).remove(0);
        assert_eq!(end(&mut alice, &id).await.status, 404);
        assert_eq!(other.open("/profile").await.page(), "profile", "it goes on");
    }
    for id in ["", "x", "00000000-0000-0000-0000-000000000000"] {
        assert_eq!(end(&mut alice, id).await.status, 404, "{id:?}");
    }
}

#[tokio::test]
async fn what_a_browser_calls_itself_is_shown_as_text_only() {
    let server = TestServer::open().await;
    let alice = server.browser("alice");
    let client = alice.client.clone();
    let page = client.get("/id/account/login").await;
    let form_cookie = page.header("set-cookie").split(';').next().expect("a cookie").to_owned();
    let csrf = page.form("csrf").field("csrf").expect("a token").to_owned();
    let fields = [("csrf", csrf.as_str()), ("login", "alice"), ("password", &alice.password)];
    let ask = client.ask(&Method::POST, "/id/account/login").header("cookie", &form_cookie);
    let signed_in = ask.header("user-agent", "<script>alert(1)</script> Firefox/1 Windows").form(&fields).send().await;
    let cookie = signed_in.header("set-cookie").split(';').next().expect("a cookie").to_owned();
    let page = client.ask(&Method::GET, "/profile/sessions").header("cookie", &cookie).send().await;
    assert!(page.text().contains("Firefox on Windows") && !page.text().contains("alert(1)"), "{}", page.text());
}
