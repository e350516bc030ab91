//! Passkeys (WebAuthn Level 2): as the second step, and without a password.

use std::time::Duration;

use acceptance::{Browser, HttpAnswer, TestDevice, TestServer, TokenAnswer, jwt};
use serde_json::{Value, json};

use super::{add_passkey, options, touch};
use crate::FIRST;

const HERE: &str = "http://localhost:8080";

acceptance::on_both! {
    a_passkey_alone_signs_in_and_counts_as_two_factors
    an_answer_is_good_once
    a_passkey_whose_counter_does_not_rise_is_refused_and_told_of
}

/// A user whose only second factor is a passkey.
async fn set_up(server: &TestServer, login: &str) -> (Browser, TestDevice) {
    let (mut browser, mut device) = (server.browser(login), TestDevice::new(HERE));
    browser.sign_in().await;
    let shown = add_passkey(&mut browser, &mut device, "Laptop").await;
    assert_eq!(shown.page(), "profile-recovery-codes", "{}", shown.text());
    (browser, device)
}

/// Signs in again by the passkey, as required by pages that change factors.
async fn prove(server: &TestServer, browser: &mut Browser, device: &mut TestDevice) {
    server.advance(Duration::from_secs(1));
    let page = browser.open("/id/account/login").await;
    assert_eq!(touch(browser, &page, device).await.page(), "account");
}

async fn sign_in_page(server: &TestServer) -> (Browser, HttpAnswer) {
    let mut browser = server.browser("alice");
    let page = browser.open("/id/account/login").await;
    (browser, page)
}

async fn a_passkey_alone_signs_in_and_counts_as_two_factors(server: TestServer) {
    let (_, mut device) = set_up(&server, "alice").await;
    server.advance(Duration::from_mins(1));
    let (app, mut browser) = (server.app(FIRST), server.browser("nobody typed"));
    let page = browser.open(&app.asks("openid read").path()).await;
    let consent = touch(&mut browser, &page, &mut device).await;
    assert_eq!(consent.page(), "consent", "{}", consent.text());
    let answer = browser.allow(&consent).await;
    let tokens = TokenAnswer::read(&app.redeem(&answer.callback()["code"]).await);
    let claims = jwt::claims(tokens.id());
    assert_eq!(claims["amr"], json!(["hwk", "user", "mfa"]), "RFC 8176");
    assert_eq!(claims["sub"], "alice");
    assert_eq!(claims["auth_time"], json!(server.now().seconds()));
    let list = browser.open("/profile/two-step").await;
    assert!(list.text().contains("Laptop") && list.text().contains("last used on"), "{}", list.text());
}

/// §13.4.3: a challenge is answered once, whether or not the device counts.
async fn an_answer_is_good_once(server: TestServer) {
    let (_, mut device) = set_up(&server, "alice").await;
    let (mut browser, page) = sign_in_page(&server).await;
    let answer = device.sign(&options(&page));
    let mut thief = browser.clone();
    assert_eq!(browser.submit(&page, "answer", &[("answer", &answer)]).await.page(), "account");
    let again = thief.submit(&page, "answer", &[("answer", &answer)]).await;
    assert_eq!(again.page(), "sign-in");
    assert!(again.words("#notice").is_some_and(|notice| notice.contains("did not work")));
    let (mut late, page) = sign_in_page(&server).await;
    let answer = device.sign(&options(&page));
    server.advance(Duration::from_mins(10));
    assert_eq!(late.submit(&page, "answer", &[("answer", &answer)]).await.page(), "sign-in", "too old");
    server.tidy().await;
    let reasons: Vec<String> = server.audit().await.into_iter().map(|row| row.reason).collect();
    for reason in ["passkey_challenge_answered", "passkey_challenge_stale"] {
        assert!(reasons.iter().any(|known| known == reason), "{reason}");
    }
}

/// §6.1.1.
async fn a_passkey_whose_counter_does_not_rise_is_refused_and_told_of(server: TestServer) {
    let (mut alice, mut device) = (server.browser("alice"), TestDevice::new(HERE));
    device.count = 5;
    alice.sign_in().await;
    add_passkey(&mut alice, &mut device, "Key").await;
    for (count, page) in [(6, "account"), (6, "sign-in"), (3, "sign-in"), (0, "sign-in"), (7, "account")] {
        // The device increments its counter before it signs, unless it does not count.
        device.count = if count == 0 { 0 } else { count - 1 };
        let (mut browser, asked) = sign_in_page(&server).await;
        assert_eq!(touch(&mut browser, &asked, &mut device).await.page(), page, "{count}");
    }
    let audit = server.audit().await;
    assert_eq!(audit.iter().filter(|row| row.reason == "passkey_counter_regressed").count(), 3);
}

#[tokio::test]
async fn a_passkey_is_the_second_step_after_the_password() {
    let server = TestServer::open().await;
    let (_, mut device) = set_up(&server, "alice").await;
    let (app, mut browser) = (server.app(FIRST), server.browser("alice"));
    let page = browser.open(&app.asks("openid read").path()).await;
    let second = browser.enter(&page).await;
    assert_eq!(second.page(), "second-step");
    assert!(second.attributes("input", "name").iter().all(|name| name != "code"), "there is no app to ask for a code");
    let asked: Value = serde_json::from_str(&options(&second)).expect("JSON");
    assert_eq!(asked["publicKey"]["userVerification"], "required");
    assert_eq!(asked["publicKey"]["allowCredentials"].as_array().map(Vec::len), Some(1), "hers only");
    let consent = touch(&mut browser, &second, &mut device).await;
    assert_eq!(consent.page(), "consent", "{}", consent.text());
    let answer = browser.allow(&consent).await;
    let tokens = TokenAnswer::read(&app.redeem(&answer.callback()["code"]).await);
    assert_eq!(jwt::claims(tokens.id())["amr"], json!(["pwd", "hwk", "user", "mfa"]));
}

#[tokio::test]
async fn a_synced_passkey_is_not_told_to_be_hardware() {
    let server = TestServer::open().await;
    let (mut alice, mut device) = (server.browser("alice"), TestDevice::new(HERE));
    device.synced = true;
    alice.sign_in().await;
    add_passkey(&mut alice, &mut device, "Phone").await;
    let (app, mut browser) = (server.app(FIRST), server.browser("alice"));
    let page = browser.open(&app.asks("openid read").path()).await;
    let consent = touch(&mut browser, &page, &mut device).await;
    let answer = browser.allow(&consent).await;
    let tokens = TokenAnswer::read(&app.redeem(&answer.callback()["code"]).await);
    assert_eq!(jwt::claims(tokens.id())["amr"], json!(["swk", "user", "mfa"]));
}

type Bend = fn(&mut TestDevice);

#[tokio::test]
async fn an_answer_that_is_not_a_devices_own_for_this_page_is_refused() {
    let server = TestServer::open().await;
    let (_, mut device) = set_up(&server, "alice").await;
    let bends: [(&str, Bend); 4] = [
        ("another site showed the page", |device| device.origin = "http://evil.localhost:8080".to_owned()),
        ("another port", |device| device.origin = "http://localhost:9090".to_owned()),
        ("nobody was made sure of", |device| device.verifies = false),
        ("it says that it is somebody else's", |device| device.user_handle = "AAAAAAAAAAAAAAAAAAAAAA".to_owned()),
    ];
    for (what, bend) in bends {
        let (origin, handle) = (device.origin.clone(), device.user_handle.clone());
        bend(&mut device);
        let (mut browser, page) = sign_in_page(&server).await;
        assert_eq!(touch(&mut browser, &page, &mut device).await.page(), "sign-in", "{what}");
        (device.origin, device.user_handle, device.verifies) = (origin, handle, true);
    }
    let mut stranger = TestDevice::new(HERE);
    stranger.user_handle.clone_from(&device.user_handle);
    let (mut browser, page) = sign_in_page(&server).await;
    assert_eq!(touch(&mut browser, &page, &mut stranger).await.page(), "sign-in", "never registered");
    stranger.credential = device.credential;
    let (mut browser, page) = sign_in_page(&server).await;
    assert_eq!(touch(&mut browser, &page, &mut stranger).await.page(), "sign-in", "another key under a known name");
    for nonsense in ["", "x", "{}", "[]", &"{".repeat(4000)] {
        let (mut browser, page) = sign_in_page(&server).await;
        let answer = browser.submit(&page, "answer", &[("answer", nonsense)]).await;
        assert_eq!((answer.status.as_u16(), answer.page().as_str()), (200, "sign-in"), "{nonsense:.9}");
    }
    let (mut browser, page) = sign_in_page(&server).await;
    assert_eq!(touch(&mut browser, &page, &mut device).await.page(), "account", "unbent it works");
}

/// The state in the page belongs to this browser and to its purpose.
#[tokio::test]
async fn a_challenge_is_for_one_browser_and_one_purpose() {
    let server = TestServer::open().await;
    let (mut alice, mut device) = set_up(&server, "alice").await;
    let (mut browser, page) = sign_in_page(&server).await;
    let (_, of_another) = sign_in_page(&server).await;
    let other_state = of_another.form("answer").field("state").expect("a state").to_owned();
    let answer = device.sign(&options(&of_another));
    let fields = [("answer", answer.as_str()), ("state", &other_state)];
    assert_eq!(browser.submit(&page, "answer", &fields).await.page(), "sign-in", "another browser's challenge");
    for state in ["", "x", "1.2.3", &other_state.replacen('.', "0.", 1)] {
        let fields = [("answer", answer.as_str()), ("state", state)];
        assert_eq!(browser.submit(&page, "answer", &fields).await.page(), "sign-in", "{state:.9}");
    }
    // The challenge of a second step does not sign in by itself, nor the other way round.
    let mut half_way = server.browser("alice");
    let sign_in = half_way.open("/id/account/login").await;
    let second = half_way.enter(&sign_in).await;
    let state = second.form("answer").field("state").expect("a state").to_owned();
    let answer = device.sign(&options(&second));
    let fields = [("answer", answer.as_str()), ("state", &state)];
    assert_eq!(half_way.submit(&sign_in, "answer", &fields).await.page(), "sign-in");
    prove(&server, &mut alice, &mut device).await;
    let asked = alice.open("/profile/two-step/passkey").await;
    let state = asked.form("answer").field("state").expect("a state").to_owned();
    let (answer, password) = (TestDevice::new(HERE).create(&options(&asked)), alice.password.clone());
    let mut other = server.browser("alice");
    let page = other.open("/id/account/login").await;
    let second = touch(&mut other, &page, &mut device).await;
    assert_eq!(second.page(), "account");
    let page = other.open("/profile/two-step/passkey").await;
    let fields = [("state", state.as_str()), ("answer", &answer), ("name", "x"), ("password", &password)];
    let refused = other.submit(&page, "answer", &fields).await;
    assert_eq!(refused.page(), "profile-two-step-passkey", "made for another sign-in");
}

#[tokio::test]
async fn the_second_step_takes_no_passkey_of_somebody_else() {
    let server = TestServer::open().await;
    let (_, mut of_bob) = set_up(&server, "bob").await;
    let (_, mut of_alice) = set_up(&server, "alice").await;
    let mut browser = server.browser("alice");
    let second = browser.sign_in().await;
    assert_eq!(touch(&mut browser, &second, &mut of_bob).await.page(), "second-step");
    let second = browser.open("/id/account/second-step").await;
    assert_eq!(touch(&mut browser, &second, &mut of_alice).await.page(), "account");
}

#[tokio::test]
async fn a_passkey_is_registered_once_and_has_a_name_that_fits() {
    let server = TestServer::open().await;
    let (mut alice, mut device) = set_up(&server, "alice").await;
    prove(&server, &mut alice, &mut device).await;
    let again = add_passkey(&mut alice, &mut device, "Again").await;
    assert_eq!(again.page(), "profile-two-step-passkey", "hers already");
    let mut bob = server.browser("bob");
    bob.sign_in().await;
    let taken = add_passkey(&mut bob, &mut device, "Bob’s").await;
    assert_eq!(taken.page(), "profile-two-step-passkey", "alice’s already");
    for name in ["", " ", "a\u{7}b", "a\u{202e}b", "a\u{200b}b", &"x".repeat(61)] {
        let refused = add_passkey(&mut alice, &mut TestDevice::new(HERE), name).await;
        assert_eq!(refused.page(), "profile-two-step-passkey", "{name:?}");
    }
    server.advance(Duration::from_secs(1));
    let nasty = "<b onclick=\"x\">'&";
    let added = add_passkey(&mut alice, &mut TestDevice::new(HERE), nasty).await;
    assert_eq!(added.page(), "profile-two-step", "{}", added.text());
    assert_eq!(added.every(".lines strong"), ["Laptop", nasty], "text is text");
    let mut unsure = TestDevice::new(HERE);
    unsure.verifies = false;
    assert_eq!(add_passkey(&mut alice, &mut unsure, "x").await.page(), "profile-two-step-passkey");
    let mut elsewhere = TestDevice::new("http://evil.localhost:8080");
    assert_eq!(add_passkey(&mut alice, &mut elsewhere, "x").await.page(), "profile-two-step-passkey");
}

#[tokio::test]
async fn what_was_removed_or_is_disabled_signs_nobody_in() {
    let server = TestServer::open().await;
    let (mut alice, mut device) = set_up(&server, "alice").await;
    server.enable_user("alice", false).await;
    let (mut browser, page) = sign_in_page(&server).await;
    assert_eq!(touch(&mut browser, &page, &mut device).await.page(), "sign-in", "disabled");
    server.enable_user("alice", true).await;
    let (mut browser, page) = sign_in_page(&server).await;
    assert_eq!(touch(&mut browser, &page, &mut device).await.page(), "account");
    alice.jar.clone_from(&browser.jar);
    let remove = alice.open("/profile/two-step").await.attributes(".lines a", "href").remove(0);
    let question = alice.open(&remove).await;
    let password = alice.password.clone();
    assert_eq!(alice.submit(&question, "what", &[("password", &password)]).await.page(), "profile-two-step");
    let (mut browser, page) = sign_in_page(&server).await;
    assert_eq!(touch(&mut browser, &page, &mut device).await.page(), "sign-in", "removed");
}

/// A passkey is bound to its host, and an instance knows only its own passkeys.
#[tokio::test]
async fn a_passkey_of_one_instance_is_unknown_to_another() {
    let server = TestServer::open().await;
    let (_, mut device) = set_up(&server, "alice").await;
    let mut there = server.browser_at_other("alice");
    let page = there.open("/id/account/login").await;
    device.origin = "http://demodb.localhost:8080".to_owned();
    assert_eq!(touch(&mut there, &page, &mut device).await.page(), "sign-in");
}
