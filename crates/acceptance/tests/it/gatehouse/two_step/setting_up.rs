//! The pages that set up two-step sign-in.

use std::time::Duration;

use acceptance::{TestDevice, TestServer, app_code};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;

use super::{STEP, add_passkey, enter_code, options, prove, set_up_app};
use crate::FIRST;

acceptance::on_both! {
    turning_it_on_ends_everything_else_and_keeps_this_sign_in
    taking_the_last_factor_away_turns_it_off
}

async fn turning_it_on_ends_everything_else_and_keeps_this_sign_in(server: TestServer) {
    let app = server.app(FIRST);
    let (mut here, mut elsewhere) = (server.browser("alice"), server.browser("alice"));
    let tokens = app.sign_in(&mut elsewhere, "read offline_access").await;
    assert_eq!(server.client().call_api(&tokens.access).await.status, 200);
    here.sign_in().await;
    let before = here.jar["gatehouse"].clone();
    let alice = set_up_app(&server, &mut here).await;
    assert_ne!(here.jar["gatehouse"], before, "a new cookie");
    assert_eq!(here.open("/profile/two-step").await.page(), "profile-two-step", "this sign-in goes on");
    assert_eq!(elsewhere.open("/id/account").await.page(), "sign-in", "the other has ended");
    assert_eq!(server.client().call_api(&tokens.access).await.status, 401);
    assert_eq!(app.refresh(tokens.refresh()).await.refusal().1, "invalid_grant");
    // A further factor ends no session.
    server.advance(STEP);
    let page = elsewhere.sign_in().await;
    enter_code(&mut elsewhere, &page, &alice.code(&server)).await;
    prove(&server, &mut here, &alice).await;
    let added = add_passkey(&mut here, &mut TestDevice::new("http://localhost:8080"), "Laptop").await;
    assert_eq!(added.page(), "profile-two-step", "{}", added.text());
    assert_eq!(elsewhere.open("/id/account").await.page(), "account");
}

async fn taking_the_last_factor_away_turns_it_off(server: TestServer) {
    let mut alice = server.browser("alice");
    let app = set_up_app(&server, &mut alice).await;
    prove(&server, &mut alice, &app).await;
    add_passkey(&mut alice, &mut TestDevice::new("http://localhost:8080"), "Laptop").await;
    let password = alice.password.clone();
    for (is_last, codes) in [(false, "10 codes left"), (true, "")] {
        let page = alice.open("/profile/two-step").await;
        let remove = page.attributes(".line a", "href");
        let question = alice.open(&remove[0]).await;
        assert_eq!(question.page(), "profile-two-step-confirm");
        assert_eq!(question.text().contains("your password alone"), is_last);
        let wrong = alice.submit(&question, "what", &[("password", "wrong")]).await;
        assert_eq!(wrong.page(), "profile-two-step-confirm");
        let done = alice.submit(&wrong, "what", &[("password", &password)]).await;
        assert_eq!(done.page(), "profile-two-step", "{}", done.text());
        assert!(done.text().contains(codes));
        assert_ne!(done.text().contains("codes left"), is_last);
        let gone = alice.submit(&question, "what", &[("password", &password)]).await;
        assert_eq!(gone.page(), "profile-two-step", "it is not there any more");
        assert!(gone.words("#error").is_some());
    }
    assert_eq!(server.browser("alice").sign_in().await.page(), "account", "the password alone");
    let audit = server.audit().await;
    let outcomes: Vec<(&str, &str)> = audit
        .iter()
        .filter(|row| row.kind == "two-step-change")
        .map(|row| (row.outcome.as_str(), row.reason.as_str()))
        .collect();
    assert_eq!(outcomes.iter().filter(|(outcome, _)| *outcome == "done").count(), 4);
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == ("refused", "overtaken")).count(), 2);
}

#[tokio::test]
async fn nothing_changes_without_the_password() {
    let server = TestServer::open().await;
    let mut alice = server.browser("alice");
    alice.sign_in().await;
    let page = alice.open("/profile/two-step/app").await;
    let code = app_code(&page.words("#secret").expect("a key"), server.now());
    for wrong in ["", "wrong"] {
        let refused = alice.submit(&page, "offer", &[("code", &code), ("password", wrong)]).await;
        assert_eq!(refused.page(), "profile-two-step-app");
        assert_eq!(refused.words("#error").as_deref(), Some("Wrong password. Try again."));
    }
    let device = &mut TestDevice::new("http://localhost:8080");
    let asked = alice.open("/profile/two-step/passkey").await;
    let made = device.create(&options(&asked));
    let refused = alice.submit(&asked, "answer", &[("answer", &made), ("name", "x"), ("password", "wrong")]).await;
    assert_eq!(refused.page(), "profile-two-step-passkey");
    for wrong in ["wrong1", "wrong2", "wrong3"] {
        alice.submit(&page, "offer", &[("code", &code), ("password", wrong)]).await;
    }
    let password = alice.password.clone();
    let held = alice.submit(&page, "offer", &[("code", &code), ("password", &password)]).await;
    assert!(held.words("#error").is_some_and(|error| error.contains("Too many failed attempts")), "throttled as ever");
    assert_eq!(server.browser("alice").sign_in().await.page(), "account", "nothing was turned on");
}

/// Every page and form that changes factors, with the form's fields.
const CHANGES: [(&str, &str); 4] = [
    ("/profile/two-step/passkey", "/profile/two-step/passkey"),
    ("/profile/two-step/app", "/profile/two-step/app"),
    ("/profile/two-step/confirm?what=codes", "/profile/two-step/confirm"),
    ("/profile/two-step/confirm?what=app", "/profile/two-step/confirm"),
];

#[tokio::test]
async fn whoever_has_a_second_factor_changes_factors_only_at_a_recent_sign_in_by_it() {
    let server = TestServer::open().await;
    let mut alice = server.browser("alice");
    let app = set_up_app(&server, &mut alice).await;
    let password = alice.password.clone();
    let csrf = alice.open("/profile/language").await.form("csrf").field("csrf").expect("a token").to_owned();
    let just_added = alice.open("/profile/two-step/confirm?what=app").await;
    assert_eq!(just_added.page(), "profile-two-step-confirm", "password and code were shown a moment ago");
    // At the sign-in that added the factor, and at one with both steps, once they are too old.
    for is_by_both in [false, true] {
        let csrf = if is_by_both {
            prove(&server, &mut alice, &app).await;
            alice.open("/profile/language").await.form("csrf").field("csrf").expect("a token").to_owned()
        } else {
            csrf.clone()
        };
        server.advance(Duration::from_secs(601));
        for (page, action) in CHANGES {
            let shown = alice.open(page).await;
            if action != "/profile/two-step/app" {
                assert_eq!(shown.page(), "profile-two-step-prove", "{page}");
                assert!(shown.attributes("#sign-in-again", "href")[0].starts_with("/id/account/login?return="));
            }
            let what = page.split_once("what=").map_or("", |(_, what)| what);
            let fields = [
                ("csrf", csrf.as_str()),
                ("password", &password),
                ("what", what),
                ("name", "x"),
                ("state", "x"),
                ("answer", "x"),
                ("offer", "x"),
                ("code", "000000"),
            ];
            let refused = alice.clone().post(action, &fields).await;
            assert!(matches!(refused.page().as_str(), "profile-two-step-prove" | "profile-two-step"), "{page}");
        }
        let list = alice.open("/profile/two-step").await;
        assert!(list.text().contains("10 codes left") && list.text().contains("what=app"), "nothing changed");
    }
    // The path: sign in again with both steps, and return to the requesting page.
    let asked = alice.open("/profile/two-step/confirm?what=app").await;
    let again = alice.open(&asked.attributes("#sign-in-again", "href")[0]).await;
    assert!(again.words("#notice").is_some_and(|notice| notice.contains("Nothing has been changed yet")));
    server.advance(STEP);
    let second = alice.enter(&again).await;
    let question = enter_code(&mut alice, &second, &app.code(&server)).await;
    assert_eq!(question.page(), "profile-two-step-confirm");
    assert_eq!(alice.submit(&question, "what", &[("password", "wrong")]).await.page(), "profile-two-step-confirm");
    let done = alice.submit(&question, "what", &[("password", &password)]).await;
    assert!(done.page() == "profile-two-step" && !done.text().contains("codes left"), "{}", done.text());
    let refused = server.audit().await.into_iter().filter(|row| row.reason == "second_factor_not_proved").count();
    assert_eq!(refused, 2 * CHANGES.len(), "each try is told");
}

#[tokio::test]
async fn a_mistyped_first_code_keeps_the_key_and_an_old_offer_gives_a_new_one() {
    let server = TestServer::open().await;
    let mut alice = server.browser("alice");
    alice.sign_in().await;
    let page = alice.open("/profile/two-step/app").await;
    let key = page.words("#secret").expect("a key");
    assert_eq!(page.attributes(".picture svg", "role"), ["img"], "a QR code");
    assert!(page.attributes("main a", "href")[0].starts_with("otpauth://totp/testdb:alice?secret="));
    let password = alice.password.clone();
    let again = alice.submit(&page, "offer", &[("code", "000000"), ("password", &password)]).await;
    assert_eq!(again.words("#secret").as_deref(), Some(key.as_str()), "the app has it already");
    assert!(again.words("#error").is_some_and(|error| error.contains("Wrong code")));
    let other = alice.open("/profile/two-step/app").await;
    assert_ne!(other.words("#secret").as_deref(), Some(key.as_str()), "a key is offered once");
    server.advance(Duration::from_mins(30));
    let code = app_code(&key, server.now());
    let late = alice.submit(&page, "offer", &[("code", &code), ("password", &password)]).await;
    assert_eq!(late.page(), "profile-two-step-app");
    assert_ne!(late.words("#secret").as_deref(), Some(key.as_str()));
    assert!(late.words("#error").is_some_and(|error| error.contains("expired")));
}

#[tokio::test]
async fn an_offer_of_somebody_else_is_nobodys() {
    let server = TestServer::open().await;
    let (mut alice, mut bob) = (server.browser("alice"), server.browser("bob"));
    alice.sign_in().await;
    bob.sign_in().await;
    let of_bob = bob.open("/profile/two-step/app").await;
    let key = of_bob.words("#secret").expect("a key");
    let offer = of_bob.form("offer").field("offer").expect("an offer").to_owned();
    let (code, password) = (app_code(&key, server.now()), alice.password.clone());
    let page = alice.open("/profile/two-step/app").await;
    for offer in [offer.as_str(), "", "x", "1.2.3"] {
        let fields = [("offer", offer), ("code", code.as_str()), ("password", &password)];
        assert_eq!(alice.submit(&page, "offer", &fields).await.page(), "profile-two-step-app", "{offer:?}");
    }
    assert_eq!(server.browser("alice").sign_in().await.page(), "account");
}

#[tokio::test]
async fn an_app_is_set_up_once_and_new_recovery_codes_end_the_old() {
    let server = TestServer::open().await;
    let mut alice = server.browser("alice");
    let first = set_up_app(&server, &mut alice).await;
    assert_eq!(alice.open("/profile/two-step/app").await.page(), "profile-two-step", "there is one");
    prove(&server, &mut alice, &first).await;
    let page = alice.open("/profile/two-step/confirm?what=codes").await;
    let password = alice.password.clone();
    let shown = alice.submit(&page, "what", &[("password", &password)]).await;
    assert_eq!(shown.page(), "profile-recovery-codes");
    let codes = shown.every(".codes code");
    assert!(codes.len() == 10 && codes.iter().all(|code| !first.recovery_codes.contains(code)));
    for (code, page) in [(&first.recovery_codes[0], "second-step"), (&codes[0], "account")] {
        let mut browser = server.browser("alice");
        browser.sign_in().await;
        let asked = browser.open("/id/account/recovery-code").await;
        assert_eq!(browser.submit(&asked, "recovery_code", &[("recovery_code", code)]).await.page(), page);
    }
}

#[tokio::test]
async fn nobody_takes_away_what_is_somebody_elses() {
    let server = TestServer::open().await;
    let (mut alice, mut bob) = (server.browser("alice"), server.browser("bob"));
    let app = set_up_app(&server, &mut alice).await;
    prove(&server, &mut alice, &app).await;
    add_passkey(&mut alice, &mut TestDevice::new("http://localhost:8080"), "Alice’s").await;
    let remove = alice.open("/profile/two-step").await.attributes(".lines a", "href").remove(0);
    bob.sign_in().await;
    assert_eq!(bob.open(&remove).await.page(), "profile-two-step", "led back to his own");
    let app = set_up_app(&server, &mut bob).await;
    prove(&server, &mut bob, &app).await;
    let question = bob.open("/profile/two-step/confirm?what=app").await;
    let (_, id) = remove.split_once("what=").expect("the address names it");
    let password = bob.password.clone();
    let refused = bob.submit(&question, "what", &[("what", id), ("password", &password)]).await;
    assert!(refused.words("#error").is_some());
    for nonsense in ["", "x", "users"] {
        let page = bob.submit(&question, "what", &[("what", nonsense), ("password", &password)]).await;
        assert_eq!(page.page(), "profile-two-step", "{nonsense:?}");
    }
    assert!(alice.open("/profile/two-step").await.text().contains("Alice’s"), "still hers");
}

#[tokio::test]
async fn who_is_without_a_second_factor_has_no_recovery_codes() {
    let server = TestServer::open().await;
    let mut alice = server.browser("alice");
    alice.sign_in().await;
    let page = alice.open("/profile/two-step").await;
    assert!(!page.text().contains("what=codes"));
    assert_eq!(alice.open("/profile/two-step/confirm?what=codes").await.page(), "profile-two-step");
    let csrf = alice.open("/profile/language").await.form("csrf").field("csrf").expect("a token").to_owned();
    let password = alice.password.clone();
    let fields = [("what", "codes"), ("password", password.as_str()), ("csrf", &csrf)];
    assert!(alice.post("/profile/two-step/confirm", &fields).await.words("#error").is_some());
}

#[tokio::test]
async fn the_pages_speak_the_persons_language() {
    let server = TestServer::open().await;
    let mut alice = server.browser("alice");
    set_up_app(&server, &mut alice).await;
    for (query, title) in [("ui_locales=de", "Noch ein Schritt"), ("ui_locales=bg", "Още една стъпка")] {
        let mut browser = server.browser("alice");
        let app = server.app(FIRST);
        let page = browser.open(&format!("{}&{query}", app.asks("read").path())).await;
        let second = browser.enter(&page).await;
        assert_eq!(second.words("h1").as_deref(), Some(title));
    }
}

#[tokio::test]
async fn every_change_is_told_by_letter_and_no_refusal_is() {
    let server = TestServer::open().await;
    let mut letters = server.server.open_outbox();
    let mut alice = server.browser("alice");
    let app = set_up_app(&server, &mut alice).await;
    prove(&server, &mut alice, &app).await;
    let password = alice.password.clone();
    let question = alice.open("/profile/two-step/confirm?what=app").await;
    for password in ["wrong", &password] {
        alice.submit(&question, "what", &[("password", password)]).await;
    }
    server.server.close().await;
    for change in ["An authenticator app was added", "The authenticator app was removed"] {
        let letter = letters.next().await.expect("a letter");
        assert_eq!((letter.to.as_str(), letter.about), ("alice@example.com", "two-step-changed"));
        assert!(letter.text.contains(change), "{}", letter.text);
    }
    assert!(letters.next().await.is_none());
}

/// `identity.md` §3.5: where only a password can be sent, a user with a second factor is refused.
#[tokio::test]
async fn an_old_client_that_knows_the_password_only_is_refused_from_the_next_call_on() {
    let server = TestServer::open().await;
    let call = async || {
        let credentials = STANDARD.encode("alice:ecila-Demo1");
        let client = server.client();
        let ask = client.ask(&Method::GET, "/api/domain/odata/Crm_Customers?$top=1");
        ask.header("authorization", &format!("Basic {credentials}")).send().await.status.as_u16()
    };
    assert_eq!(call().await, 200);
    let mut alice = server.browser("alice");
    let app = set_up_app(&server, &mut alice).await;
    assert_eq!(call().await, 401, "also where it was let in a moment ago");
    prove(&server, &mut alice, &app).await;
    let question = alice.open("/profile/two-step/confirm?what=app").await;
    let password = alice.password.clone();
    alice.submit(&question, "what", &[("password", &password)]).await;
    assert_eq!(call().await, 200);
    assert!(server.audit().await.iter().any(|row| row.reason == "second_factor"));
}
