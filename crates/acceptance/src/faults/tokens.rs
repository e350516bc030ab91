//! What applications ask of the protocol's endpoints.

use super::{Acted, Scene};
use crate::Tokens;

const FIRST: &str = "my.trusted.app/first";
const SERVICE: &str = "my.trusted.app/service";
const SCOPE: &str = "openid read update offline_access";

/// A code is good once: after a fault it is redeemed, or refused.
pub(super) async fn code_exchange(scene: &mut Scene<'_>) {
    let (app, mut alice) = (scene.app(FIRST), scene.alice());
    let code = app.code(&mut alice, SCOPE).await;
    match scene.act(async || Tokens::read(&app.redeem(&code).await)).await {
        Acted::Done(tokens) => {
            assert_eq!(scene.status(&tokens.access).await, 200);
            Tokens::read(&app.refresh(tokens.refresh()).await);
        }
        Acted::Stopped => {
            let again = app.redeem(&code).await;
            if again.status == 200 {
                assert_eq!(scene.status(&Tokens::read(&again).access).await, 200);
            } else {
                assert_eq!(again.refusal(), (400, "invalid_grant".to_owned()));
            }
        }
    }
}

/// An application that never got the next token shows the last one again.
pub(super) async fn refresh(scene: &mut Scene<'_>) {
    let (app, mut alice) = (scene.app(FIRST), scene.alice());
    let tokens = scene.tokens(&app, &mut alice).await;
    let next = match scene.act(async || Tokens::read(&app.refresh(tokens.refresh()).await)).await {
        Acted::Done(next) => next,
        Acted::Stopped => Tokens::read(&app.refresh(tokens.refresh()).await),
    };
    assert_eq!(scene.status(&next.access).await, 200);
    Tokens::read(&app.refresh(next.refresh()).await);
}

pub(super) async fn client_credentials(scene: &mut Scene<'_>) {
    let app = scene.app(SERVICE);
    let token = match scene.act(async || Tokens::read(&app.service_token("read").await)).await {
        Acted::Done(token) => token,
        Acted::Stopped => Tokens::read(&app.service_token("read").await),
    };
    assert_eq!(scene.status(&token.access).await, 200);
}
