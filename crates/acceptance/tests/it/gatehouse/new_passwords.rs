//! New passwords follow one rule wherever they are set, in Unicode's form NFC (RFC 8265 §4.2.2).

use acceptance::{Browser, HttpAnswer, TestServer};
use argon2::Argon2;
use argon2::password_hash::PasswordHasher as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flows::Passwords;
use flows::auth::links::HandedOver;
use flows::auth::strength::Weakness;
use http::Method;
use model::Login;
use model::user::PasswordHash;
use oauth::secret::Presented;
use serde_json::json;
use store::{Batch, CommitOutcome};

use super::admin_api::{AdminClient as Api, assert_invalid};
use super::links::{choose, invite};

/// Weak for everyone, or only for alice.
const WEAK: &[&str] = &["short", "password1", "Summer2026", "alice123", "alice@example.com", ""];
const GOOD: &str = "lantern-otter-quill";

/// Ä as one character and as two, as some keyboards send it.
const COMPOSED: &str = "r\u{e4}tsel-otter-quill";
const DECOMPOSED: &str = "ra\u{308}tsel-otter-quill";

async fn reset_link(server: &TestServer, login: &str) -> String {
    let mut rng = server.rng();
    let made = server.operator().await.reset_link(login, &mut server.moment(&mut rng)).await;
    format!("/id/account/reset-password?code={}", made.expect("no fault").expect("made").code.expose())
}

#[track_caller]
fn assert_refused(page: &HttpAnswer, weak: &str) {
    assert_eq!(page.page(), "set-up", "{weak:?}: {}", page.text());
    assert!(page.words("#error").is_some_and(|error| !error.is_empty()), "{weak:?}: {}", page.text());
}

#[tokio::test]
async fn a_link_refuses_a_weak_password_and_stays_good() {
    let server = TestServer::open().await;
    let HandedOver::Shown(url) = invite(&server, "alice.new", Some("alice@example.com")).await else {
        panic!("mailed by whom?")
    };
    let set_up = url.strip_prefix("http://localhost:8080").expect("of this instance").to_owned();
    for link in [set_up, reset_link(&server, "alice").await] {
        let mut browser = server.browser("alice");
        for weak in WEAK {
            assert_refused(&choose(&mut browser, &link, weak).await, weak);
        }
        assert_eq!(choose(&mut browser, &link, GOOD).await.page(), "set-up-done");
    }
}

#[tokio::test]
async fn a_link_says_what_is_wrong_in_the_language_of_the_page() {
    let server = TestServer::open().await;
    let link = reset_link(&server, "alice").await;
    let mut browser = server.browser("alice");
    for (language, too_short, guessed) in [
        ("de", "mindestens 8 Zeichen", "erraten"),
        ("bg", "поне 8 знака", "отгатната"),
        ("en", "at least 8", "attempts"),
    ] {
        let code = link.rsplit('=').next().expect("a code");
        let page = browser.client.ask(&Method::GET, &link).header("accept-language", language).send().await;
        let cookie = page.header("set-cookie").split(';').next().unwrap_or_default().to_owned();
        let csrf = page.form("password").field("csrf").expect("a form of ours").to_owned();
        for (weak, said) in [("short", too_short), ("aaaaaaaaaaaa", guessed)] {
            let fields = [("csrf", csrf.as_str()), ("code", code), ("password", weak), ("repeat", weak)];
            let ask = browser.client.ask(&Method::POST, "/id/account/reset-password").header("cookie", &cookie);
            let refusal = ask.header("accept-language", language).form(&fields).send().await;
            let error = refusal.words("#error").unwrap_or_default();
            assert!(error.contains(said), "{language}: {error}");
        }
    }
    assert_eq!(choose(&mut browser, &link, GOOD).await.page(), "set-up-done");
}

#[tokio::test]
async fn the_profile_refuses_a_weak_password() {
    let server = TestServer::open().await;
    let mut alice = server.browser("alice");
    alice.sign_in().await;
    let old = alice.password.clone();
    for weak in WEAK {
        let page = alice.open("/profile/password").await;
        let typed = [("current", old.as_str()), ("password", weak), ("repeat", weak)];
        let page = alice.submit(&page, "current", &typed).await;
        assert!(page.words("[role=alert]").is_some(), "{weak:?}: {}", page.text());
    }
    assert_eq!(server.browser("alice").sign_in().await.page(), "account", "nothing was changed");
}

#[tokio::test]
async fn administrators_set_no_weak_password() {
    let server = TestServer::open().await;
    let api = Api::of(&server).await;
    let (alice, _) = api.user("alice").await;
    let (operator, passwords, mut rng) = (server.operator().await, Passwords::new(), server.rng());
    for weak in WEAK {
        let refusal = assert_invalid(&api.put(&format!("{alice}/password"), "", &json!({ "password": weak })).await);
        let shown = Presented::new(*weak);
        let refused = operator.set_password(&passwords, "alice", &shown, &mut server.moment(&mut rng)).await;
        let refused = refused.expect("no fault").expect_err("weak").to_string();
        assert!(refusal.contains(&refused), "one text: {refusal} {refused}");
    }
    assert_eq!(server.browser("alice").sign_in().await.page(), "account", "nothing was changed");
    assert_eq!(api.put(&format!("{alice}/password"), "", &json!({ "password": GOOD })).await.status, 204);
    assert_eq!(signed_in(&server, GOOD).await, "account");
}

#[tokio::test]
async fn an_operator_overrides_the_rule_and_hears_which() {
    let server = TestServer::open().await;
    let (operator, passwords, mut rng) = (server.operator().await, Passwords::new(), server.rng());
    let mut forced = async |password: &str| {
        let password = Presented::new(password);
        let set = operator.set_weak_password(&passwords, "alice", &password, &mut server.moment(&mut rng)).await;
        set.expect("no fault").map(|(_, overridden)| overridden)
    };
    assert!(forced("").await.is_err() && forced(&"x".repeat(1025)).await.is_err(), "the limits hold");
    assert_eq!(forced(GOOD).await, Ok(None));
    assert_eq!(forced("short").await, Ok(Some(Weakness::TooShort)));
    server.catch_up().await;
    assert_eq!(signed_in(&server, "short").await, "account");
}

async fn signed_in(server: &TestServer, password: &str) -> String {
    let mut alice = Browser { password: password.to_owned(), ..server.browser("alice") };
    alice.sign_in().await.page()
}

#[tokio::test]
async fn a_password_is_right_at_every_door_however_its_characters_are_written() {
    let server = TestServer::open().await;
    for (chosen, typed) in [(COMPOSED, DECOMPOSED), (DECOMPOSED, COMPOSED)] {
        server.set_password("alice", chosen).await;
        for password in [chosen, typed] {
            assert_eq!(signed_in(&server, password).await, "account");
            let basic = format!("Basic {}", STANDARD.encode(format!("alice:{password}")));
            let client = server.client();
            let ask = client.ask(&Method::GET, "/api/domain/odata/Crm_Customers?$top=1");
            assert_eq!(ask.header("authorization", &basic).send().await.status, 200);
        }
        let mut alice = Browser { password: typed.to_owned(), ..server.browser("alice") };
        alice.sign_in().await;
        let page = alice.open("/profile/password").await;
        let same = [("current", chosen), ("password", typed), ("repeat", typed)];
        let refusal = alice.submit(&page, "current", &same).await;
        assert!(
            refusal.words("[role=alert]").is_some_and(|said| said.contains("is the same as the current one")),
            "{}",
            refusal.text()
        );
    }
    assert_ne!(signed_in(&server, "ratsel-otter-quill").await, "account", "another letter is another password");
}

/// Hashes of the bytes as typed were stored before, and stay valid until their user signs in.
#[tokio::test]
async fn a_hash_made_of_the_bytes_as_typed_signs_in_and_is_replaced() {
    let server = TestServer::open().await;
    let (store, login) = (server.store().await, Login::parse("alice").expect("valid"));
    let (alice, _) = store.user_by_login(&login).await.expect("no fault").expect("of the demo");
    let phc = Argon2::default().hash_password_with_salt(DECOMPOSED.as_bytes(), &[7; 16]).expect("hashes");
    let before = PasswordHash::of_bytes(phc.to_string());
    let set = store.commit(Batch::new().with(store.set_password(&alice, &before, server.now()))).await;
    assert_eq!(set.expect("no fault"), CommitOutcome::Committed);
    let kept = async || {
        let (_, hash) = store.user_by_login(&login).await.expect("no fault").expect("of the demo");
        hash.expect("there is one")
    };
    assert_eq!(signed_in(&server, COMPOSED).await, "sign-in", "as it was before");
    assert!(!kept().await.is_nfc());
    assert_eq!(signed_in(&server, DECOMPOSED).await, "account");
    assert!(kept().await.is_nfc(), "from now on in NFC");
    for typed in [COMPOSED, DECOMPOSED] {
        assert_eq!(signed_in(&server, typed).await, "account");
    }
}
