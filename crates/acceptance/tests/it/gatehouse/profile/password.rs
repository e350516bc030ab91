//! Changing the password: every other sign-in ends, with its tokens.

use acceptance::{Browser, HttpAnswer, TestServer};

use crate::FIRST;

const NEW: &str = "lantern-otter-quill";

async fn change(browser: &mut Browser, current: &str, new: &str, repeat: &str) -> HttpAnswer {
    let page = browser.open("/profile/password").await;
    browser.submit(&page, "current", &[("current", current), ("password", new), ("repeat", repeat)]).await
}

#[tokio::test]
async fn a_new_password_signs_out_everything_but_the_browser_that_chose_it() {
    let server = TestServer::open().await;
    let (app, mut here, mut there) = (server.app(FIRST), server.browser("alice"), server.browser("alice"));
    let at_this = app.sign_in(&mut here, "read offline_access").await;
    let elsewhere = app.sign_in(&mut there, "read offline_access").await;
    for tokens in [&at_this, &elsewhere] {
        assert_eq!(server.client().call_api(&tokens.access).await.status, 200);
    }
    let cookie = here.jar["gatehouse"].clone();
    let old = here.password.clone();
    let page = change(&mut here, &old, NEW, NEW).await;
    assert_eq!(page.attributes("[role=status]", "class").len(), 1, "{}", page.text());
    assert_ne!(here.jar["gatehouse"], cookie, "under a new cookie");
    assert_eq!(here.open("/profile").await.page(), "profile", "this browser goes on");
    assert_eq!(there.open("/profile").await.page(), "sign-in", "the other does not");
    for tokens in [&at_this, &elsewhere] {
        assert_eq!(server.client().call_api(&tokens.access).await.status, 401);
        assert_eq!(app.refresh(tokens.refresh()).await.error(), "invalid_grant");
    }
    let mut stolen = server.browser("alice");
    stolen.jar.insert("gatehouse".to_owned(), cookie);
    assert_eq!(stolen.open("/profile").await.page(), "sign-in", "nor does the old cookie");
    assert_eq!(server.browser("alice").sign_in().await.page(), "sign-in", "the old password is wrong");
    let mut again = server.browser("alice");
    again.password = NEW.to_owned();
    assert_eq!(again.sign_in().await.page(), "account");
    let live = server.operator().await.sessions_before(None, None, 1).await.expect("no fault");
    assert_eq!(live.len(), 0, "the seats are free");
    let trail = server.audit().await;
    assert_eq!(trail.iter().filter(|row| row.kind == "profile-change" && row.outcome == "done").count(), 1);
    assert!(trail.iter().all(|row| row.columns.iter().all(|column| !column.contains(NEW))));
}

#[tokio::test]
async fn a_password_is_changed_only_by_who_knows_the_old_one() {
    let server = TestServer::open().await;
    let mut alice = server.browser("alice");
    alice.sign_in().await;
    let page = change(&mut alice, "wrong", NEW, NEW).await;
    assert_eq!((page.page().as_str(), page.attributes("[role=alert]", "id").len()), ("profile-password", 1));
    for number in 0..4 {
        change(&mut alice, &format!("wrong{number}"), NEW, NEW).await;
    }
    let throttled = change(&mut alice, "ecila-Demo1", NEW, NEW).await;
    assert_eq!(throttled.status, 429, "guessed no faster than at the sign-in");
    assert!(throttled.header("retry-after").parse::<u64>().is_ok_and(|seconds| seconds > 0));
    let mut again = server.browser("alice");
    again.client = again.client.from("192.0.2.77:1");
    assert_eq!(again.sign_in().await.page(), "account", "nothing was changed");
}

#[tokio::test]
async fn a_password_that_is_guessed_soon_is_refused_with_the_reason() {
    let server = TestServer::open().await;
    let mut alice = server.browser("alice");
    alice.sign_in().await;
    let old = alice.password.clone();
    for (new, reason) in [
        ("short", "at least 8"),
        ("password", "too common"),
        ("P@ssw0rd", "too common"),
        ("Alice Archer", "your name"),
        ("aaaaaaaaaaaa", "attempts"),
        (old.as_str(), "is the same as the current one"),
    ] {
        let page = change(&mut alice, &old, new, new).await;
        let said = page.words("[role=alert]").unwrap_or_default();
        assert!(said.contains(reason), "{new}: {said}");
        assert!(!page.text().contains(&format!("value=\"{new}\"")), "what was typed is not sent back");
    }
    let page = change(&mut alice, &old, NEW, "lantern-otter-quilt").await;
    assert!(page.words("[role=alert]").is_some_and(|said| said.contains("do not match")));
    assert_eq!(server.browser("alice").sign_in().await.page(), "account", "nothing was changed");
}

#[tokio::test]
async fn of_two_changes_at_once_one_is_made() {
    let server = TestServer::open().await;
    let mut alice = server.browser("alice");
    alice.sign_in().await;
    let old = alice.password.clone();
    let page = alice.open("/profile/password").await;
    let (mut one, mut other) = (alice.clone(), alice.clone());
    let fields =
        |new: &'static str, old: &str| [("current", old.to_owned()), ("password", new.into()), ("repeat", new.into())];
    let (first, second) = (fields(NEW, &old), fields("marble-comet-thistle", &old));
    let first = first.each_ref().map(|(name, value)| (*name, value.as_str()));
    let second = second.each_ref().map(|(name, value)| (*name, value.as_str()));
    tokio::join!(one.submit(&page, "current", &first), other.submit(&page, "current", &second));
    let mut signed_in = 0;
    for password in [NEW, "marble-comet-thistle", &old] {
        let mut browser = server.browser("alice");
        password.clone_into(&mut browser.password);
        signed_in += usize::from(browser.sign_in().await.page() == "account");
    }
    assert_eq!(signed_in, 1);
}
