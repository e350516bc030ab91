//! The background tasks, by the functions that they call.

use std::time::Duration;

use oauth::secret::Presented;

use super::Scene;
use crate::{TokenAnswer, change_setting, switch_user};

const SERVICE: &str = "my.trusted.app/service";

async fn token(scene: &Scene<'_>) -> String {
    TokenAnswer::read(&scene.app(SERVICE).service_token("read").await).access
}

/// API calls, uses and refusals noted in memory are written.
pub(super) async fn tick(scene: &mut Scene<'_>) {
    let (app, mut alice) = (scene.app("my.trusted.app/first"), scene.alice());
    let tokens = scene.tokens(&app, &mut alice).await;
    let next = TokenAnswer::read(&app.refresh(tokens.refresh()).await);
    let key = super::api::service_key(scene, SERVICE).await;
    for token in [&token(scene).await, &next.access, &key] {
        assert_eq!(scene.status(token).await, 200);
    }
    assert_eq!(scene.status("nonsense").await, 401);
    let tick = async || scene.or_stop(scene.server.server.tick().await).await;
    if !scene.act(tick).await.is_done() {
        tick().await;
    }
    let store = scene.server.store().await;
    let digest = Presented::<model::reference_token::ReferenceTokenValue>::new(&key).digest();
    let kept = store.reference_token(&digest).await.expect("no fault").expect("issued");
    assert_eq!(kept.last_used_at, Some(scene.server.now()), "its use is written down");
}

/// Sessions whose timers ran out are closed, and their seats are free.
pub(super) async fn close_due_sessions(scene: &mut Scene<'_>) {
    let token = token(scene).await;
    assert_eq!(scene.status(&token).await, 200);
    scene.server.advance(Duration::from_mins(21));
    let tick = async || scene.or_stop(scene.server.server.tick().await).await;
    if !scene.act(tick).await.is_done() {
        tick().await;
    }
    assert_eq!(scene.status(&token).await, 200, "another session");
}

/// Unsealed events join the chain, which is signed once a minute.
pub(super) async fn seal_and_sign(scene: &mut Scene<'_>) {
    let mut person = scene.signed_in().await;
    person.open("/profile").await;
    assert_eq!(scene.status("nonsense").await, 401);
    scene.server.server.tick().await.expect("no fault");
    scene.server.advance(Duration::from_mins(1));
    let seal = async || scene.or_stop(scene.server.server.seal().await).await;
    if !scene.act(seal).await.is_done() {
        seal().await;
    }
}

/// Due signing keys are created and change state.
pub(super) async fn keep_keys(scene: &mut Scene<'_>) {
    scene.server.advance(Duration::from_hours(24 * 90));
    let keep = async || scene.or_stop(scene.server.server.maintain_keys().await).await;
    if !scene.act(keep).await.is_done() {
        keep().await;
    }
    assert_eq!(scene.status(&token(scene).await).await, 200);
}

/// Expired rows are deleted, and revocations that no valid token predates.
pub(super) async fn tidy(scene: &mut Scene<'_>) {
    let person = scene.signed_in().await;
    scene.server.enable_user(&person.login, false).await;
    scene.server.advance(Duration::from_hours(24 * 4));
    let tidy = async || scene.or_stop(scene.server.server.maintain().await).await;
    if !scene.act(tidy).await.is_done() {
        tidy().await;
    }
}

/// Many kinds of changes made by another process.
pub(super) async fn follow(scene: &mut Scene<'_>) {
    let (app, person) = (scene.application().await, scene.signed_in().await);
    let token = TokenAnswer::read(&app.service_token("read").await).access;
    assert_eq!(scene.status(&token).await, 200);
    let (operator, mut rng) = (scene.server.operator().await, scene.server.rng());
    let mut moment = scene.server.moment(&mut rng);
    operator.set_application_enabled(&app.uri, false, &mut moment).await.expect("no fault").expect("it is there");
    switch_user(&operator, &person.login, false, &mut moment).await.expect("no fault").expect("there");
    let ending = flows::admin::sessions::SessionSelector::OfUser("svc.integration");
    operator.end_sessions(ending, &mut moment).await.expect("no fault").expect("there");
    change_setting(&operator, "seats_per_user", "5000", &mut moment).await.expect("no fault").expect("a good setting");
    let follow = async || scene.or_stop(scene.server.server.catch_up().await).await;
    if !scene.act(follow).await.is_done() {
        // One of the two instances may have failed after the other. The next pass reports it and recovers.
        let _told = scene.server.server.catch_up().await;
        follow().await;
    }
    assert_eq!(scene.status(&token).await, 401);
    assert_eq!(app.service_token("read").await.status, 401);
    assert_eq!(person.clone().open("/id/account").await.page(), "sign-in");
}
