//! Password sign-in, second factors, consent and sign-out.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use super::{Acted, Scene};
use crate::{Browser, HttpAnswer, TestDevice, app_code};

/// One time step of an authenticator app. After it the next code is valid.
const STEP: Duration = Duration::from_secs(30);
const HERE: &str = "http://localhost:8080";
const FIRST: &str = "my.trusted.app/first";

pub(super) async fn password_sign_in(scene: &mut Scene<'_>) {
    let person = scene.person().await;
    let mut browser = person.clone();
    if scene.act(async || browser.sign_in().await.page()).await.done().is_some_and(|page| page == "account") {
        assert_eq!(browser.open("/id/account").await.page(), "account", "the cookie is good");
    }
    assert_eq!(person.clone().sign_in().await.page(), "account", "again");
}

/// An unauthenticated client's right password after five wrong ones. It first needs a lease of the account's guesses.
pub(super) async fn leased_guess(scene: &mut Scene<'_>) {
    let person = scene.person().await;
    // Networks of this run alone, so that failures of other runs do not count.
    let mut hasher = DefaultHasher::new();
    person.login.hash(&mut hasher);
    let [a, b, ..] = hasher.finish().to_be_bytes().map(u16::from);
    let from = |network: u16| {
        let mut stranger = person.clone();
        stranger.client = stranger.client.from(&format!("[2001:{a:x}:{b:x}:{network:x}::1]:5000"));
        stranger
    };
    for number in 0..5 {
        let mut guessing = Browser { password: format!("guess {number}"), ..from(number) };
        assert_eq!(guessing.sign_in().await.page(), "sign-in");
    }
    // An instance grants ten leases a second.
    scene.server.advance(Duration::from_secs(1));
    let mut stranger = from(6);
    if !scene.act(async || stranger.sign_in().await.page()).await.is_done() {
        assert_eq!(from(7).sign_in().await.page(), "account", "another lease");
    }
    assert_eq!(from(8).sign_in().await.page(), "account");
}

/// Sign-in by an application's authorization request, with the user's consent.
pub(super) async fn authorize_and_consent(scene: &mut Scene<'_>) {
    let (app, mut person) = (scene.app(FIRST), scene.person().await);
    let code = match scene.act(async || app.code(&mut person, "openid read offline_access").await).await {
        Acted::Done(code) => code,
        Acted::Stopped => app.code(&mut person, "openid read offline_access").await,
    };
    let tokens = crate::TokenAnswer::read(&app.redeem(&code).await);
    assert_eq!(scene.status(&tokens.access).await, 200);
}

/// An authorization request of a user who is signed in and has consented before: the most common case.
pub(super) async fn authorize_again(scene: &mut Scene<'_>) {
    let (app, mut alice) = (scene.app(FIRST), scene.alice());
    app.code(&mut alice, "openid read").await;
    let code = match scene.act(async || app.code(&mut alice, "openid read").await).await {
        Acted::Done(code) => code,
        Acted::Stopped => app.code(&mut alice, "openid read").await,
    };
    crate::TokenAnswer::read(&app.redeem(&code).await);
}

pub(super) async fn sign_out(scene: &mut Scene<'_>) {
    let (app, mut person) = (scene.app(FIRST), scene.person().await);
    let tokens = scene.tokens(&app, &mut person).await;
    assert_eq!(scene.status(&tokens.access).await, 200);
    let asked = format!("/id/connect/endsession?id_token_hint={}", tokens.id());
    if scene.act(async || person.open(&asked).await.page()).await.done().is_none() {
        person.open(&asked).await;
    }
    assert_eq!(scene.status(&tokens.access).await, 401, "its tokens have ended");
    assert_eq!(app.refresh(tokens.refresh()).await.refusal(), (400, "invalid_grant".to_owned()));
    assert_eq!(person.open("/id/account").await.page(), "sign-in");
}

struct WithApp {
    browser: Browser,
    key: String,
    recovery_codes: Vec<String>,
}

async fn offered(browser: &mut Browser) -> (HttpAnswer, String) {
    let page = browser.open("/profile/two-step/app").await;
    let key = page.words("#secret").expect("the key to type");
    (page, key)
}

async fn accept(scene: &Scene<'_>, browser: &mut Browser, page: &HttpAnswer, key: &str) -> HttpAnswer {
    let (code, password) = (app_code(key, scene.server.now()), browser.password.clone());
    browser.submit(page, "offer", &[("code", &code), ("password", &password)]).await
}

async fn with_app(scene: &Scene<'_>) -> WithApp {
    let mut browser = scene.signed_in().await;
    let (page, key) = offered(&mut browser).await;
    let shown = accept(scene, &mut browser, &page, &key).await;
    assert_eq!(shown.page(), "profile-recovery-codes", "{}", shown.text());
    scene.server.advance(STEP);
    WithApp { browser, key, recovery_codes: shown.every(".codes code") }
}

/// Signs in at another browser with password and code.
async fn sign_in_by_app(scene: &Scene<'_>, person: &Browser, key: &str) -> (Browser, String) {
    let mut browser = Browser { jar: BTreeMap::new(), ..person.clone() };
    let page = browser.sign_in().await;
    assert_eq!(page.page(), "second-step", "{}", page.text());
    let page = browser.submit(&page, "code", &[("code", &app_code(key, scene.server.now()))]).await.page();
    (browser, page)
}

/// The factor exists with its recovery codes, or neither exists.
pub(super) async fn set_up_app(scene: &mut Scene<'_>) {
    let mut person = scene.signed_in().await;
    let (page, key) = offered(&mut person).await;
    let acted = scene.act(async || accept(scene, &mut person, &page, &key).await).await;
    scene.server.advance(STEP);
    let mut elsewhere = Browser { jar: BTreeMap::new(), ..person.clone() };
    let is_set_up = elsewhere.sign_in().await.page() == "second-step";
    match acted {
        Acted::Done(shown) => {
            assert_eq!(shown.page(), "profile-recovery-codes", "{}", shown.text());
            assert!(is_set_up);
            assert_eq!(person.open("/profile/two-step").await.page(), "profile-two-step", "this sign-in goes on");
        }
        Acted::Stopped if !is_set_up => {
            let (page, key) = offered(&mut person).await;
            assert_eq!(
                accept(scene, &mut person, &page, &key).await.page(),
                "profile-recovery-codes",
                "the same again"
            );
            return;
        }
        Acted::Stopped => {}
    }
    assert_eq!(sign_in_by_app(scene, &person, &key).await.1, "account");
}

pub(super) async fn prove_code(scene: &mut Scene<'_>) {
    let person = with_app(scene).await;
    let acted = scene.act(async || sign_in_by_app(scene, &person.browser, &person.key).await).await;
    if let Acted::Done((mut browser, page)) = acted {
        assert_eq!(page, "account");
        assert_eq!(browser.open("/id/account").await.page(), "account");
    }
    scene.server.advance(STEP);
    assert_eq!(sign_in_by_app(scene, &person.browser, &person.key).await.1, "account", "with the next code");
}

async fn enter_recovery_code(person: &Browser, code: &str) -> String {
    let mut browser = Browser { jar: BTreeMap::new(), ..person.clone() };
    browser.sign_in().await;
    let page = browser.open("/id/account/recovery-code").await;
    browser.submit(&page, "recovery_code", &[("recovery_code", code)]).await.page()
}

/// A recovery code works once. It is lost only if its sign-in may have happened.
pub(super) async fn recovery_code(scene: &mut Scene<'_>) {
    let person = with_app(scene).await;
    let [first, second, ..] = person.recovery_codes.as_slice() else { panic!("there are ten") };
    let acted = scene.act(async || enter_recovery_code(&person.browser, first).await).await;
    if let Some(page) = acted.done() {
        assert_eq!(page, "account");
        assert_eq!(enter_recovery_code(&person.browser, first).await, "second-step", "once");
    }
    assert_eq!(enter_recovery_code(&person.browser, second).await, "account");
}

async fn confirm(browser: &mut Browser, what: &str) -> HttpAnswer {
    let page = browser.open(&format!("/profile/two-step/confirm?what={what}")).await;
    if page.page() != "profile-two-step-confirm" {
        return page;
    }
    let password = browser.password.clone();
    browser.submit(&page, "what", &[("password", &password)]).await
}

pub(super) async fn new_recovery_codes(scene: &mut Scene<'_>) {
    let person = with_app(scene).await;
    let (mut browser, _) = sign_in_by_app(scene, &person.browser, &person.key).await;
    let shown = match scene.act(async || confirm(&mut browser, "codes").await).await {
        Acted::Done(shown) => shown,
        Acted::Stopped => confirm(&mut browser, "codes").await,
    };
    let codes = shown.every(".codes code");
    assert_eq!(enter_recovery_code(&person.browser, &codes[0]).await, "account");
    assert_eq!(
        enter_recovery_code(&person.browser, &person.recovery_codes[0]).await,
        "second-step",
        "the old are void"
    );
}

pub(super) async fn remove_app(scene: &mut Scene<'_>) {
    let person = with_app(scene).await;
    let (mut browser, _) = sign_in_by_app(scene, &person.browser, &person.key).await;
    if scene.act(async || confirm(&mut browser, "app").await).await.done().is_none() {
        confirm(&mut browser, "app").await;
    }
    let mut elsewhere = Browser { jar: BTreeMap::new(), ..person.browser };
    assert_eq!(elsewhere.sign_in().await.page(), "account", "the password alone");
}

fn options(page: &HttpAnswer) -> String {
    page.attributes("form[data-passkey]", "data-options").pop().expect("the page asks for a passkey")
}

async fn add_passkey(browser: &mut Browser, device: &mut TestDevice) -> HttpAnswer {
    let page = browser.open("/profile/two-step/passkey").await;
    let (answer, password) = (device.create(&options(&page)), browser.password.clone());
    browser.submit(&page, "answer", &[("answer", &answer), ("name", "Laptop"), ("password", &password)]).await
}

async fn sign_in_by_passkey(person: &Browser, device: &mut TestDevice) -> (Browser, String) {
    let mut browser = Browser { jar: BTreeMap::new(), ..person.clone() };
    let page = browser.open("/id/account/login").await;
    let answer = device.sign(&options(&page));
    let page = browser.submit(&page, "answer", &[("answer", &answer)]).await.page();
    (browser, page)
}

pub(super) async fn set_up_passkey(scene: &mut Scene<'_>) {
    let (mut person, mut device) = (scene.signed_in().await, TestDevice::new(HERE));
    let acted = scene.act(async || add_passkey(&mut person, &mut device).await).await;
    let is_set_up = sign_in_by_passkey(&person, &mut device).await.1 == "account";
    match acted {
        Acted::Done(_) => assert!(is_set_up),
        Acted::Stopped if is_set_up => {}
        Acted::Stopped => {
            let mut device = TestDevice::new(HERE);
            add_passkey(&mut person, &mut device).await;
            assert_eq!(sign_in_by_passkey(&person, &mut device).await.1, "account", "the same again");
        }
    }
}

pub(super) async fn passkey_sign_in(scene: &mut Scene<'_>) {
    let (mut person, mut device) = (scene.signed_in().await, TestDevice::new(HERE));
    add_passkey(&mut person, &mut device).await;
    if let Acted::Done((mut browser, page)) = scene.act(async || sign_in_by_passkey(&person, &mut device).await).await {
        assert_eq!(page, "account");
        assert_eq!(browser.open("/id/account").await.page(), "account");
    }
    assert_eq!(sign_in_by_passkey(&person, &mut device).await.1, "account", "again");
}

pub(super) async fn remove_passkey(scene: &mut Scene<'_>) {
    let (mut person, mut device) = (scene.signed_in().await, TestDevice::new(HERE));
    add_passkey(&mut person, &mut device).await;
    let (mut browser, _) = sign_in_by_passkey(&person, &mut device).await;
    let remove = async |browser: &mut Browser| {
        let page = browser.open("/profile/two-step").await;
        let Some(link) = page.attributes(".lines a", "href").into_iter().next() else { return };
        let (question, password) = (browser.open(&link).await, browser.password.clone());
        browser.submit(&question, "what", &[("password", &password)]).await;
    };
    if !scene.act(async || remove(&mut browser).await).await.is_done() {
        remove(&mut browser).await;
    }
    assert_eq!(sign_in_by_passkey(&person, &mut device).await.1, "sign-in", "removed");
}
