//! Calls of the entities' API, and the credentials that open it.

use super::Scene;
use crate::Tokens;

pub(super) async fn first_call(scene: &mut Scene<'_>) {
    let token = Tokens::read(&scene.app("my.trusted.app/service").service_token("read").await).access;
    let (live, _) = scene.house.store().await.seats_taken().await.expect("no fault");
    if let Some(status) = scene.act(async || scene.status(&token).await).await.done() {
        assert_eq!(status, 200);
    }
    assert_eq!(scene.status(&token).await, 200);
    let (after, _) = scene.house.store().await.seats_taken().await.expect("no fault");
    assert_eq!(after, live + 1, "one seat, whatever failed");
}
