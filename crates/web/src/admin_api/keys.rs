//! `/keys`: the signing keys. They rotate by themselves; this is for those who want it now, or must.

use flows::admin::keys::{KeyState, KeyView, ReplacementView};
use flows::admin::operations::Time;
use http::Method;
use model::keys::KeyTimes;
use oauth::jose::Algorithm;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::admin_api::input::{JsonBody, QueryParams};
use crate::admin_api::operation::{AdminCall, ElevatedAdminCall, Operation, OperationResult, operation};
use crate::admin_api::output::PlainBody;
use crate::admin_api::problem::Problem;

pub(super) fn operations() -> Vec<Operation> {
    vec![
        operation(Method::GET, "/keys", "listKeys", "List signing keys, oldest first", list),
        operation(
            Method::POST,
            "/keys/rotation",
            "rotateKey",
            "Rotate a signing key. The new key is published now and signs from a day later; existing tokens stay valid",
            rotate,
        ),
        operation(
            Method::GET,
            "/keys/replacement",
            "previewReplacement",
            "Preview the effects of replacing keys. Changes nothing",
            preview,
        ),
        operation(
            Method::POST,
            "/keys/replacement",
            "replaceKeys",
            "Replace all keys of an algorithm immediately. Every token they signed becomes invalid",
            replace,
        ),
    ]
}

/// Public data of a signing key.
#[derive(Serialize, JsonSchema)]
struct KeyEntry {
    kid: String,
    algorithm: &'static str,
    /// `published`, `signing` or `retired`.
    state: &'static str,
    signs_from: Time,
    /// When the key is removed; for a signing key, when its successor takes over.
    until: Time,
}

#[derive(Serialize, JsonSchema)]
struct Keys {
    items: Vec<KeyEntry>,
}

#[derive(Serialize, JsonSchema)]
struct NewKey {
    kid: String,
    algorithm: &'static str,
    signs_from: Time,
}

/// Which keys are meant.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Which {
    /// An algorithm the instance signs with.
    #[schemars(regex(pattern = "^(ES256|RS256|PS256|EdDSA)$"))]
    algorithm: String,
}

impl Which {
    fn algorithm(&self) -> Result<Algorithm, Problem> {
        let unknown = |_| Problem::invalid("algorithm", &"ES256, RS256, PS256 or EdDSA");
        self.algorithm.parse().map_err(unknown)
    }
}

/// The effects of replacing the keys of an algorithm.
#[derive(Serialize, JsonSchema)]
struct Replacement {
    algorithm: &'static str,
    /// Ids of the keys to be removed.
    removed: Vec<String>,
    /// Applications whose access tokens become invalid, at most 100. They must refresh their tokens or sign users in again.
    access_tokens_of: Vec<String>,
    /// Applications whose ID tokens become invalid, at most 100. These are no longer accepted as `id_token_hint` at sign-out.
    id_tokens_of: Vec<String>,
    /// Number of live API sessions.
    live_sessions: u64,
}

fn show(view: KeyView) -> KeyEntry {
    KeyEntry {
        kid: view.times.kid,
        algorithm: view.times.algorithm.as_str(),
        state: KeyState::as_str(view.state),
        signs_from: view.times.signs_from.into(),
        until: view.until.into(),
    }
}

fn made(key: KeyTimes) -> PlainBody<NewKey> {
    PlainBody(NewKey { kid: key.kid, algorithm: key.algorithm.as_str(), signs_from: key.signs_from.into() })
}

async fn list(mut call: AdminCall, (): ()) -> OperationResult<PlainBody<Keys>> {
    let (service, moment) = call.open();
    Ok(PlainBody(Keys { items: service.keys(moment.now).await?.into_iter().map(show).collect() }))
}

async fn rotate(mut call: ElevatedAdminCall, JsonBody(which): JsonBody<Which>) -> OperationResult<PlainBody<NewKey>> {
    let (manager, algorithm) = (call.manager.clone(), which.algorithm()?);
    let (service, mut moment) = call.open();
    Ok(made(service.rotate_key(manager.master(), algorithm, &mut moment).await??))
}

async fn preview(
    mut call: AdminCall,
    QueryParams(which): QueryParams<Which>,
) -> OperationResult<PlainBody<Replacement>> {
    let (manager, algorithm) = (call.manager.clone(), which.algorithm()?);
    let (service, _) = call.open();
    let ReplacementView { algorithm, removed, access_tokens_of, id_tokens_of, live_sessions } =
        service.preview_replacement(manager.master(), algorithm).await??;
    Ok(PlainBody(Replacement { algorithm: algorithm.as_str(), removed, access_tokens_of, id_tokens_of, live_sessions }))
}

async fn replace(mut call: ElevatedAdminCall, JsonBody(which): JsonBody<Which>) -> OperationResult<PlainBody<NewKey>> {
    let (manager, algorithm) = (call.manager.clone(), which.algorithm()?);
    let (service, mut moment) = call.open();
    Ok(made(service.replace_keys(manager.master(), algorithm, &mut moment).await??))
}
