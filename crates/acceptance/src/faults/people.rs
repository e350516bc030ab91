//! What people do to their own accounts.

use super::Scene;
use crate::Browser;

const NEW: &str = "lantern-otter-quill";

async fn choose_password(browser: &mut Browser, new: &str) -> crate::Answer {
    let page = browser.open("/profile/password").await;
    let current = browser.password.clone();
    browser.submit(&page, "current", &[("current", &current), ("password", new), ("repeat", new)]).await
}

/// Either password is right, never both and never none.
pub(super) async fn change_password(scene: &mut Scene<'_>) {
    let mut person = scene.signed_in().await;
    let (mut old, mut new) = (scene.browser(&person.login), scene.browser(&person.login));
    (old.password, new.password) = (person.password.clone(), NEW.to_owned());
    let acted = scene.act(async || choose_password(&mut person, NEW).await).await;
    let is_new = new.sign_in().await.page() == "account";
    if let Some(answer) = acted.done() {
        assert!(is_new, "{}", answer.text());
        assert_eq!(person.open("/id/account").await.page(), "account", "this sign-in goes on");
    }
    assert_eq!(old.sign_in().await.page() == "account", !is_new);
    if !is_new {
        choose_password(&mut old, NEW).await;
        assert_eq!(new.sign_in().await.page(), "account", "the same again");
    }
}
