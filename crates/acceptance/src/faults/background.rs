//! The turns of the background tasks, by the functions that the tasks call.

use super::Scene;
use crate::Tokens;

/// Calls, uses and refusals that memory noted are written down.
pub(super) async fn beat(scene: &mut Scene<'_>) {
    let token = Tokens::read(&scene.app("my.trusted.app/service").service_token("read").await).access;
    assert_eq!(scene.status(&token).await, 200);
    let beat = async || scene.or_stop(scene.house.house.beat().await).await;
    scene.act(beat).await;
    scene.house.house.beat().await.expect("no fault");
}
