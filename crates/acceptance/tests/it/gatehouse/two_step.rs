//! Two-step sign-in (`identity.md` §3.7, §4).

mod apps;
mod passkeys;
mod recovery;
mod setting_up;

use std::time::Duration;

use acceptance::{Browser, HttpAnswer, TestDevice, TestServer, app_code};

/// One time step of an authenticator app. After it the next code is valid.
pub(super) const STEP: Duration = Duration::from_secs(30);

/// A user whose authenticator app is set up.
pub(super) struct WithApp {
    pub(super) key: String,
    pub(super) recovery_codes: Vec<String>,
}

impl WithApp {
    pub(super) fn code(&self, server: &TestServer) -> String {
        app_code(&self.key, server.now())
    }
}

/// Signs in by password alone and sets up an app. Its first code is spent.
pub(super) async fn set_up_app(server: &TestServer, browser: &mut Browser) -> WithApp {
    browser.sign_in().await;
    let page = browser.open("/profile/two-step/app").await;
    let key = page.words("#secret").expect("the key to type");
    let (code, password) = (app_code(&key, server.now()), browser.password.clone());
    let shown = browser.submit(&page, "offer", &[("code", &code), ("password", &password)]).await;
    assert_eq!(shown.page(), "profile-recovery-codes", "{}", shown.text());
    WithApp { key, recovery_codes: shown.every(".codes code") }
}

/// Adds a passkey to the signed-in user.
pub(super) async fn add_passkey(browser: &mut Browser, device: &mut TestDevice, name: &str) -> HttpAnswer {
    let page = browser.open("/profile/two-step/passkey").await;
    let answer = device.create(&options(&page));
    let password = browser.password.clone();
    browser.submit(&page, "answer", &[("answer", &answer), ("name", name), ("password", &password)]).await
}

/// Signs in again by the app, as required by pages that change factors. Its next code is spent.
async fn prove(server: &TestServer, browser: &mut Browser, app: &WithApp) {
    server.advance(STEP);
    let page = browser.sign_in().await;
    assert_eq!(enter_code(browser, &page, &app.code(server)).await.page(), "account");
}

/// The options given to the page's script.
fn options(page: &HttpAnswer) -> String {
    page.attributes("form[data-passkey]", "data-options").pop().expect("the page asks for a passkey")
}

/// Sends the device's answer to a page's challenge.
pub(super) async fn touch(browser: &mut Browser, page: &HttpAnswer, device: &mut TestDevice) -> HttpAnswer {
    let answer = device.sign(&options(page));
    browser.submit(page, "answer", &[("answer", &answer)]).await
}

pub(super) async fn enter_code(browser: &mut Browser, page: &HttpAnswer, code: &str) -> HttpAnswer {
    browser.submit(page, "code", &[("code", code)]).await
}
