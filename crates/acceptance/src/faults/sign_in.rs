//! Passwords, second factors, consent, and signing out.

use super::Scene;

pub(super) async fn password_sign_in(scene: &mut Scene<'_>) {
    let person = scene.person().await;
    let mut browser = person.clone();
    if scene.act(async || browser.sign_in().await.page()).await.done().is_some_and(|page| page == "account") {
        assert_eq!(browser.open("/id/account").await.page(), "account", "the cookie is good");
    }
    assert_eq!(person.clone().sign_in().await.page(), "account", "again");
}
