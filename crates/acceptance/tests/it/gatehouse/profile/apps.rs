//! Connected apps: a user lists the applications with consent and withdraws it.

use acceptance::{Browser, HttpAnswer, TestServer};

use crate::{FIRST, SPA};

fn ids(page: &HttpAnswer) -> Vec<String> {
    page.attributes("[name=withdraw]", "value")
}

async fn withdraw(browser: &mut Browser, id: &str) -> HttpAnswer {
    let csrf = super::csrf_of(browser).await;
    browser.post("/profile/apps", &[("csrf", &csrf), ("withdraw", id)]).await
}

#[tokio::test]
async fn a_withdrawn_app_loses_everything_at_once_and_must_ask_again() {
    let server = TestServer::open().await;
    let (first, spa, mut alice) = (server.app(FIRST), server.app(SPA), server.browser("alice"));
    let tokens = first.sign_in(&mut alice, "openid read offline_access").await;
    let kept = spa.sign_in(&mut alice, "read").await;
    assert_eq!(server.client().call_api(&tokens.access).await.status, 200);
    let page = alice.open("/profile/apps").await;
    assert_eq!((page.page().as_str(), ids(&page).len()), ("profile-apps", 2));
    let text = page.words("main").expect("a page");
    assert!(text.contains(FIRST) && text.contains("Read data") && text.contains("connected now"), "{text}");
    let lines: Vec<_> = page.attributes("[name=withdraw]", "aria-label");
    let at = lines.iter().position(|label| !label.to_lowercase().contains("single")).expect("the first app");
    let id = ids(&page).remove(at);
    let page = withdraw(&mut alice, &id).await;
    assert_eq!(ids(&page).len(), 1, "{:?}", page.words("main"));
    assert_eq!(server.client().call_api(&tokens.access).await.status, 401);
    assert_eq!(first.refresh(tokens.refresh()).await.error(), "invalid_grant");
    assert_eq!(server.client().call_api(&kept.access).await.status, 200, "the other app goes on");
    assert_eq!(alice.open(&first.asks("read").path()).await.page(), "consent");
}

#[tokio::test]
async fn what_a_person_did_not_allow_cannot_be_withdrawn() {
    let server = TestServer::open().await;
    let (first, mut alice, mut bob) = (server.app(FIRST), server.browser("alice"), server.browser("bob"));
    let tokens = first.sign_in(&mut bob, "read offline_access").await;
    alice.sign_in().await;
    let page = alice.open("/profile/apps").await;
    assert!(ids(&page).is_empty() && page.words("main").is_some_and(|text| text.contains("No connected apps")));
    let id = ids(&bob.open("/profile/apps").await).remove(0);
    for id in [id.as_str(), "x", "00000000-0000-0000-0000-000000000000", ""] {
        assert_eq!(withdraw(&mut alice, id).await.status, 404, "{id:?}");
    }
    assert_eq!(server.client().call_api(&tokens.access).await.status, 200, "bob's goes on");
}
