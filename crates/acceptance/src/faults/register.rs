//! What administrators do, by the admin API, in the manager and at the command line.

use super::Scene;
use crate::Tokens;

pub(super) async fn disable_application_by_command(scene: &mut Scene<'_>) {
    let app = scene.application().await;
    let token = Tokens::read(&app.service_token("read").await).access;
    assert_eq!(scene.status(&token).await, 200);
    let disable = async || {
        let done = scene.command(async |office, moment| office.set_application_enabled(&app.uri, false, moment).await);
        done.await.expect("it is registered");
    };
    if !scene.act(disable).await.is_done() {
        disable().await;
    }
    scene.house.catch_up().await;
    assert_eq!(scene.status(&token).await, 401);
    assert_eq!(app.service_token("read").await.status, 401);
}
