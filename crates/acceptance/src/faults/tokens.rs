//! Requests to the protocol's endpoints.

use super::{Acted, Scene};
use crate::TokenAnswer;

const FIRST: &str = "my.trusted.app/first";
const SERVICE: &str = "my.trusted.app/service";
const SCOPE: &str = "openid read update offline_access";

/// A code works once. After a fault it is either still redeemable or refused.
pub(super) async fn code_exchange(scene: &mut Scene<'_>) {
    let (app, mut alice) = (scene.app(FIRST), scene.alice());
    let code = app.code(&mut alice, SCOPE).await;
    match scene.act(async || TokenAnswer::read(&app.redeem(&code).await)).await {
        Acted::Done(tokens) => {
            assert_eq!(scene.status(&tokens.access).await, 200);
            TokenAnswer::read(&app.refresh(tokens.refresh()).await);
        }
        Acted::Stopped => {
            let again = app.redeem(&code).await;
            if again.status == 200 {
                assert_eq!(scene.status(&TokenAnswer::read(&again).access).await, 200);
            } else {
                assert_eq!(again.refusal(), (400, "invalid_grant".to_owned()));
            }
        }
    }
}

/// An application that did not receive the next refresh token repeats the last one.
pub(super) async fn refresh(scene: &mut Scene<'_>) {
    let (app, mut alice) = (scene.app(FIRST), scene.alice());
    let tokens = scene.tokens(&app, &mut alice).await;
    let next = match scene.act(async || TokenAnswer::read(&app.refresh(tokens.refresh()).await)).await {
        Acted::Done(next) => next,
        Acted::Stopped => TokenAnswer::read(&app.refresh(tokens.refresh()).await),
    };
    assert_eq!(scene.status(&next.access).await, 200);
    TokenAnswer::read(&app.refresh(next.refresh()).await);
}

pub(super) async fn client_credentials(scene: &mut Scene<'_>) {
    let app = scene.app(SERVICE);
    let token = match scene.act(async || TokenAnswer::read(&app.service_token("read").await)).await {
        Acted::Done(token) => token,
        Acted::Stopped => TokenAnswer::read(&app.service_token("read").await),
    };
    assert_eq!(scene.status(&token.access).await, 200);
}

/// An application that did not receive the last token repeats the one before it.
pub(super) async fn repeated_refresh(scene: &mut Scene<'_>) {
    let (app, mut alice) = (scene.app(FIRST), scene.alice());
    let tokens = scene.tokens(&app, &mut alice).await;
    TokenAnswer::read(&app.refresh(tokens.refresh()).await);
    let next = match scene.act(async || TokenAnswer::read(&app.refresh(tokens.refresh()).await)).await {
        Acted::Done(next) => next,
        Acted::Stopped => TokenAnswer::read(&app.refresh(tokens.refresh()).await),
    };
    TokenAnswer::read(&app.refresh(next.refresh()).await);
}

/// RFC 9700 §4.14.2: the server cannot tell which party showed the spent token, so both lose.
pub(super) async fn reused_refresh(scene: &mut Scene<'_>) {
    let (app, mut alice) = (scene.app(FIRST), scene.alice());
    let first = scene.tokens(&app, &mut alice).await;
    let second = TokenAnswer::read(&app.refresh(first.refresh()).await);
    let third = TokenAnswer::read(&app.refresh(second.refresh()).await);
    assert_eq!(scene.status(&third.access).await, 200);
    let reuse = async || assert_eq!(app.refresh(first.refresh()).await.refusal().1, "invalid_grant");
    if !scene.act(reuse).await.is_done() {
        reuse().await;
    }
    assert_eq!(scene.status(&third.access).await, 401, "the whole family has ended");
    assert_eq!(app.refresh(third.refresh()).await.refusal().1, "invalid_grant");
}

async fn revoke(scene: &Scene<'_>, uri: &str, secret: &str, token: &str) {
    let fields = [("client_id", uri), ("client_secret", secret), ("token", token)];
    let answer = scene.client().post("/id/connect/revocation", &fields).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// The token is refused from the answer on; after a fault, from the next answer on.
async fn revoked(scene: &Scene<'_>, uri: &str, secret: &str, token: &str, access: &str) {
    assert_eq!(scene.status(access).await, 200);
    if !scene.act(async || revoke(scene, uri, secret, token).await).await.is_done() {
        revoke(scene, uri, secret, token).await;
    }
    assert_eq!(scene.status(access).await, 401);
}

pub(super) async fn revoke_refresh_token(scene: &mut Scene<'_>) {
    let (app, mut alice) = (scene.app(FIRST), scene.alice());
    let tokens = scene.tokens(&app, &mut alice).await;
    revoked(scene, FIRST, "first-secret", tokens.refresh(), &tokens.access).await;
    assert_eq!(app.refresh(tokens.refresh()).await.refusal().1, "invalid_grant");
}

pub(super) async fn revoke_access_token(scene: &mut Scene<'_>) {
    let (app, mut alice) = (scene.app(FIRST), scene.alice());
    let tokens = scene.tokens(&app, &mut alice).await;
    revoked(scene, FIRST, "first-secret", &tokens.access, &tokens.access).await;
    assert_eq!(app.refresh(tokens.refresh()).await.refusal().1, "invalid_grant");
}

pub(super) async fn revoke_service_token(scene: &mut Scene<'_>) {
    let token = TokenAnswer::read(&scene.app(SERVICE).service_token("read").await).access;
    revoked(scene, SERVICE, "service-secret", &token, &token).await;
}

pub(super) async fn revoke_reference_token(scene: &mut Scene<'_>) {
    let app = scene.application().await;
    let value = super::api::service_key(scene, &app.uri).await;
    revoked(scene, &app.uri, "secret", &value, &value).await;
}

/// Anyone who has a token may revoke it.
pub(super) async fn report_leaked_token(scene: &mut Scene<'_>) {
    let app = scene.application().await;
    let value = super::api::service_key(scene, &app.uri).await;
    assert_eq!(scene.status(&value).await, 200);
    let report = async || {
        let client = scene.client();
        let answer = client.ask(&http::Method::POST, "/id/tokens/leaked").body("text/plain", value.clone());
        assert_eq!(answer.send().await.status, 204);
    };
    if !scene.act(report).await.is_done() {
        report().await;
    }
    assert_eq!(scene.status(&value).await, 401);
}

pub(super) async fn introspect(scene: &mut Scene<'_>) {
    let (app, mut alice) = (scene.app(FIRST), scene.alice());
    let tokens = scene.tokens(&app, &mut alice).await;
    let ask = async |token: &str| {
        let fields = [("client_id", FIRST), ("client_secret", "first-secret"), ("token", token)];
        let answer = scene.client().post("/id/connect/introspect", &fields).await;
        assert_eq!(answer.json()["active"], true, "{}", answer.text());
    };
    let both = async || {
        ask(tokens.refresh()).await;
        ask(&tokens.access).await;
    };
    if !scene.act(both).await.is_done() {
        both().await;
    }
}

pub(super) async fn user_info(scene: &mut Scene<'_>) {
    let (app, mut person) = (scene.app(FIRST), scene.person().await);
    let tokens = scene.tokens(&app, &mut person).await;
    // As after a change by another process: memory reloads the user.
    let mut rng = scene.server.rng();
    let operator = scene.server.operator().await;
    let row = operator.user_by_name(&person.login).await.expect("no fault").expect("there");
    let mut record = model::user::PersonRecord::of(&row.user, row.role.as_deref());
    "Somebody".clone_into(&mut record.name);
    let changed = operator.change_user(&row, record, &mut scene.server.moment(&mut rng)).await;
    changed.expect("no fault").expect("a good name");
    scene.server.catch_up().await;
    let ask = async || {
        let answer = scene.client().user_info(&tokens.access).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    };
    if !scene.act(ask).await.is_done() {
        ask().await;
    }
}
