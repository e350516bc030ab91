//! Two-step sign-in (`identity.md` §3.7, §4).

mod apps;
mod passkeys;
mod recovery;
mod setting_up;

use std::time::Duration;

use acceptance::{Browser, HttpAnswer, TestDevice, TestServer, app_code};

/// A step of an authenticator app: a code was used, and here is the next.
pub(super) const STEP: Duration = Duration::from_secs(30);

/// A person whose authenticator app is set up.
pub(super) struct WithApp {
    pub(super) key: String,
    pub(super) recovery_codes: Vec<String>,
}

impl WithApp {
    pub(super) fn code(&self, server: &TestServer) -> String {
        app_code(&self.key, server.now())
    }
}

/// Signs in by password alone and sets an app up; its first code is spent.
pub(super) async fn set_up_app(server: &TestServer, browser: &mut Browser) -> WithApp {
    browser.sign_in().await;
    let page = browser.open("/profile/two-step/app").await;
    let key = page.words("#secret").expect("the key to type");
    let (code, password) = (app_code(&key, server.now()), browser.password.clone());
    let shown = browser.submit(&page, "offer", &[("code", &code), ("password", &password)]).await;
    assert_eq!(shown.page(), "profile-recovery-codes", "{}", shown.text());
    WithApp { key, recovery_codes: shown.every(".codes code") }
}

/// Adds a passkey to whoever is signed in.
pub(super) async fn add_passkey(browser: &mut Browser, device: &mut TestDevice, name: &str) -> HttpAnswer {
    let page = browser.open("/profile/two-step/passkey").await;
    let answer = device.create(&options(&page));
    let password = browser.password.clone();
    browser.submit(&page, "answer", &[("answer", &answer), ("name", name), ("password", &password)]).await
}

/// Signs in again by the app, as pages that change factors ask for; its next code is spent.
async fn prove(server: &TestServer, browser: &mut Browser, app: &WithApp) {
    server.advance(STEP);
    let page = browser.sign_in().await;
    assert_eq!(enter_code(browser, &page, &app.code(server)).await.page(), "account");
}

/// What a page's script is given.
fn options(page: &HttpAnswer) -> String {
    page.attributes("form[data-passkey]", "data-options").pop().expect("the page asks for a passkey")
}

/// Sends what the device says to a page's challenge.
pub(super) async fn touch(browser: &mut Browser, page: &HttpAnswer, device: &mut TestDevice) -> HttpAnswer {
    let answer = device.sign(&options(page));
    browser.submit(page, "answer", &[("answer", &answer)]).await
}

pub(super) async fn enter_code(browser: &mut Browser, page: &HttpAnswer, code: &str) -> HttpAnswer {
    browser.submit(page, "code", &[("code", code)]).await
}
