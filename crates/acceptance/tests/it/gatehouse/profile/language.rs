//! Page language: the user's choice, then the application's request, then the browser's languages.

use acceptance::{Browser, HttpAnswer, TestServer};
use http::Method;

use crate::FIRST;

fn language(answer: &HttpAnswer) -> String {
    answer.attributes("html", "lang").remove(0)
}

async fn choose(browser: &mut Browser, language: &str) -> HttpAnswer {
    let page = browser.open("/profile/language").await;
    browser.submit(&page, "language", &[("language", language)]).await
}

#[tokio::test]
async fn a_stranger_is_spoken_to_as_the_application_or_else_the_browser_asks() {
    let server = TestServer::open().await;
    let ask = async |path: &str, accept: &str| {
        let client = server.client();
        language(&client.ask(&Method::GET, path).header("accept-language", accept).send().await)
    };
    assert_eq!(ask("/id/account/login", "de-AT,en;q=0.5").await, "de");
    assert_eq!(ask("/", "bg").await, "bg");
    assert_eq!(ask("/nothing", "fr, bg;q=0.1").await, "bg");
    assert_eq!(ask("/id/account/login", "fr").await, "en");
    assert_eq!(ask("/id/account/login", "").await, "en");
    assert_eq!(ask("/id/account/login?ui_locales=bg%20de", "de").await, "bg");
    assert_eq!(ask("/id/account/login?ui_locales=fr", "de").await, "de");
    let sign_in = server.browser("alice").open(&server.app(FIRST).asks("read").with("ui_locales", "de").path()).await;
    assert_eq!((sign_in.page().as_str(), language(&sign_in).as_str()), ("sign-in", "de"));
    assert!(sign_in.text().contains("Passwort"), "all of it is German");
}

#[tokio::test]
async fn a_person_is_spoken_to_as_they_chose_on_every_page_at_once() {
    let server = TestServer::open().await;
    let mut alice = server.browser("alice");
    alice.sign_in().await;
    let page = choose(&mut alice, "bg").await;
    assert_eq!((page.page().as_str(), language(&page).as_str()), ("profile-language", "bg"));
    assert_eq!(page.attributes("[role=status]", "class").len(), 1, "it says that it is done");
    assert_eq!(page.attributes("[name=language][checked]", "value"), ["bg"]);
    for path in ["/profile", "/id/account", "/id/connect/endsession", &server.app(FIRST).asks("read").path()] {
        assert_eq!(language(&alice.open(path).await), "bg", "{path}");
    }
    let tokens = server.app(FIRST).sign_in(&mut alice, "openid profile").await;
    let claims = server.client().user_info(&tokens.access).await.json();
    assert_eq!(claims["locale"], "bg", "applications hear of it too");
    assert_eq!(language(&choose(&mut alice, "auto").await), "en");
    assert_eq!(alice.open("/profile/language").await.attributes("[name=language][checked]", "value"), ["auto"]);
}

#[tokio::test]
async fn what_is_no_language_of_ours_is_none() {
    let server = TestServer::open().await;
    let mut alice = server.browser("alice");
    alice.sign_in().await;
    choose(&mut alice, "de").await;
    let page = choose(&mut alice, "<script>").await;
    assert_eq!(language(&page), "en");
    assert!(!page.text().contains("<script"));
    let trail = server.audit().await;
    let changes: Vec<_> = trail.iter().filter(|row| row.kind == "profile-change").collect();
    assert_eq!(changes.len(), 2);
    assert!(changes.iter().all(|row| !row.columns.iter().any(|column| column.contains("script"))));
}

#[tokio::test]
async fn two_choices_at_once_are_both_answered_and_one_of_them_stands() {
    let server = TestServer::open().await;
    let mut alice = server.browser("alice");
    alice.sign_in().await;
    let page = alice.open("/profile/language").await;
    let (mut one, mut other) = (alice.clone(), alice.clone());
    let (first, second) = tokio::join!(
        one.submit(&page, "language", &[("language", "bg")]),
        other.submit(&page, "language", &[("language", "de")])
    );
    assert_eq!((first.status.as_u16(), second.status.as_u16()), (200, 200));
    let stands = language(&alice.open("/profile").await);
    assert!(["bg", "de"].contains(&stands.as_str()), "{stands}");
}
