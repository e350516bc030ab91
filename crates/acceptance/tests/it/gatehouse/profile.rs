//! The profile site: users' own data, sessions and settings (`identity.md` §3.7).

mod apps;
pub(super) mod email;
mod language;
mod me;
mod password;
pub(super) mod picture;
mod sessions;
pub(super) mod tokens;

use acceptance::{Browser, TestServer};
use http::Method;

const PAGES: [(&str, &str); 11] = [
    ("/profile", "profile"),
    ("/profile/email", "profile-email"),
    ("/profile/password", "profile-password"),
    ("/profile/tokens", "profile-tokens"),
    ("/profile/apps", "profile-apps"),
    ("/profile/sessions", "profile-sessions"),
    ("/profile/picture", "profile-picture"),
    ("/profile/language", "profile-language"),
    ("/profile/two-step", "profile-two-step"),
    ("/profile/two-step/app", "profile-two-step-app"),
    ("/profile/two-step/passkey", "profile-two-step-passkey"),
];

#[tokio::test]
async fn who_is_not_signed_in_is_sent_to_sign_in_and_back_to_the_page() {
    let server = TestServer::open().await;
    for (path, page) in PAGES {
        let mut alice = server.browser("alice");
        let sign_in = alice.open(path).await;
        assert_eq!(sign_in.page(), "sign-in", "{path}");
        let mistyped = alice.submit(&sign_in, "password", &[("login", "alice"), ("password", "wrong")]).await;
        assert_eq!(mistyped.page(), "sign-in", "{path}");
        assert_eq!(alice.enter(&mistyped).await.page(), page, "{path}: the way back outlives a wrong password");
    }
}

#[tokio::test]
async fn a_sign_in_leads_back_to_pages_of_ours_and_nowhere_else() {
    let server = TestServer::open().await;
    for elsewhere in ["https://evil.example.com/", "//evil.example.com", "/profile/..//evil", "/id/connect/endsession"]
    {
        let mut alice = server.browser("alice");
        let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("return", elsewhere).finish();
        let page = alice.open(&format!("/id/account/login?{query}")).await;
        assert_eq!(alice.enter(&page).await.page(), "account", "{elsewhere}");
    }
}

#[tokio::test]
async fn the_overview_shows_the_person_and_marks_its_place_in_the_menu() {
    let server = TestServer::open().await;
    let mut alice = server.browser("alice");
    alice.sign_in().await;
    let page = alice.open("/profile").await;
    assert_eq!(page.page(), "profile");
    for text in ["Alice Archer", "alice@example.com", "verified", "Internal user"] {
        assert!(page.text().contains(text), "{text}");
    }
    assert!(!page.text().contains("Administrator"));
    assert_eq!(page.attributes("nav [aria-current]", "href"), ["/profile"]);
    let mut admin = server.browser("admin");
    admin.sign_in().await;
    assert!(admin.open("/profile").await.text().contains("Administrator"));
}

#[tokio::test]
async fn a_form_of_another_person_or_site_changes_nothing() {
    let server = TestServer::open().await;
    let (mut alice, mut bob) = (server.browser("alice"), server.browser("bob"));
    alice.sign_in().await;
    bob.sign_in().await;
    // Two pages have no form. The picture's form is of another kind and is tested there.
    let others = ["/profile", "/profile/two-step", "/profile/picture"];
    let paths = PAGES.into_iter().map(|(path, _)| path).filter(|path| !others.contains(path));
    for path in paths.chain(["/profile/two-step/confirm"]) {
        let csrf = csrf_of(&mut bob).await;
        for fields in [vec![], vec![("csrf", "")], vec![("csrf", "x")], vec![("csrf", csrf.as_str())]] {
            let answer = alice.post(path, &fields).await;
            assert_eq!((answer.status.as_u16(), answer.page().as_str()), (403, "error"), "{path} {fields:?}");
        }
        let stranger = server.browser("alice").step(&Method::POST, path, &[("csrf", &csrf)]).await;
        assert!(stranger.location().starts_with("/id/account/login?return="), "{path}");
        let own = csrf_of(&mut alice).await;
        let cookie = alice.jar.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ");
        for site in ["cross-site", "same-site"] {
            let ask = alice.client.ask(&Method::POST, path).header("cookie", &cookie).header("sec-fetch-site", site);
            assert_eq!(ask.form(&[("csrf", &own)]).send().await.status, 403, "{path} {site}");
        }
    }
}

/// The CSRF token of all forms in this user's session.
pub(super) async fn csrf_of(browser: &mut Browser) -> String {
    browser.open("/profile/language").await.form("csrf").field("csrf").expect("a token").to_owned()
}

#[tokio::test]
async fn a_form_dies_with_the_sign_in_it_was_made_for() {
    let server = TestServer::open().await;
    let mut alice = server.browser("alice");
    alice.sign_in().await;
    let page = alice.open("/profile/language").await;
    alice.sign_in().await;
    assert_eq!(alice.submit(&page, "csrf", &[("language", "de")]).await.status, 403);
}

#[tokio::test]
async fn whoever_looks_at_these_pages_is_not_idle() {
    let server = TestServer::open().await;
    let mut alice = server.browser("alice");
    alice.sign_in().await;
    for _ in 0..5 {
        server.advance(std::time::Duration::from_mins(50));
        assert_eq!(alice.open("/profile").await.page(), "profile");
    }
    server.advance(std::time::Duration::from_hours(2));
    assert_eq!(alice.open("/profile").await.page(), "sign-in");
}
