//! Operations on signing keys. Rotation is automatic; these are for doing it now, or in an emergency.

use model::keys::KeyTimes;
use oauth::jose::Algorithm;
use schemars::JsonSchema;
use serde::Serialize;

use crate::Answer;
use crate::admin::AdminRefusal;
use crate::admin::act::AdminAct;
use crate::admin::keys::{KeyView, ReplacementView};
use crate::admin::operations::{AdminOperation, AnySignIn, OperationContext, OperationEntry, RecentSignIn, Time};

pub(super) const OPERATIONS: &[OperationEntry] = &[
    OperationEntry::of::<ListKeys>(),
    OperationEntry::of::<RotateKey>(),
    OperationEntry::of::<PreviewReplacement>(),
    OperationEntry::of::<ReplaceKeys>(),
];

/// Public data of a signing key.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeyEntry {
    pub kid: String,
    pub algorithm: &'static str,
    /// `published`, `signing` or `retired`.
    pub state: &'static str,
    pub signs_from: Time,
    /// When the key is removed; for a signing key, when its successor takes over.
    pub until: Time,
}

impl From<KeyView> for KeyEntry {
    fn from(view: KeyView) -> Self {
        Self {
            kid: view.times.kid,
            algorithm: view.times.algorithm.as_str(),
            state: view.state.as_str(),
            signs_from: view.times.signs_from.into(),
            until: view.until.into(),
        }
    }
}

#[derive(Serialize, JsonSchema)]
pub struct Keys {
    pub items: Vec<KeyEntry>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NewKey {
    pub kid: String,
    pub algorithm: &'static str,
    pub signs_from: Time,
}

impl From<KeyTimes> for NewKey {
    fn from(key: KeyTimes) -> Self {
        Self { kid: key.kid, algorithm: key.algorithm.as_str(), signs_from: key.signs_from.into() }
    }
}

/// The effects of replacing the keys of an algorithm.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Replacement {
    pub algorithm: &'static str,
    /// Ids of the keys to be removed.
    pub removed: Vec<String>,
    /// Applications whose access tokens become invalid, at most 100. They must refresh their tokens or sign users in again.
    pub access_tokens_of: Vec<String>,
    /// Applications whose ID tokens become invalid, at most 100. These are no longer accepted as `id_token_hint` at sign-out.
    pub id_tokens_of: Vec<String>,
    /// Number of live API sessions.
    pub live_sessions: u64,
}

impl From<ReplacementView> for Replacement {
    fn from(view: ReplacementView) -> Self {
        let ReplacementView { algorithm, removed, access_tokens_of, id_tokens_of, live_sessions } = view;
        Self { algorithm: algorithm.as_str(), removed, access_tokens_of, id_tokens_of, live_sessions }
    }
}

pub struct ListKeys;

impl AdminOperation for ListKeys {
    const NAME: &'static str = "listKeys";
    const SUMMARY: &'static str = "List signing keys, oldest first";
    const ACTS: &'static [AdminAct] = &[];
    type Authority = AnySignIn;
    type Input = ();
    type Output = Keys;

    async fn run(context: &mut OperationContext<'_, AnySignIn>, (): ()) -> Answer<Keys, AdminRefusal> {
        let keys = context.service.keys(context.moment.now).await?;
        Ok(Ok(Keys { items: keys.into_iter().map(KeyEntry::from).collect() }))
    }
}

pub struct RotateKey;

impl AdminOperation for RotateKey {
    const NAME: &'static str = "rotateKey";
    const SUMMARY: &'static str =
        "Rotate a signing key. The new key is published now and signs from a day later; existing tokens stay valid";
    const ACTS: &'static [AdminAct] = &[AdminAct::RotateKey];
    type Authority = RecentSignIn;
    type Input = Algorithm;
    type Output = NewKey;

    async fn run(
        context: &mut OperationContext<'_, RecentSignIn>,
        algorithm: Algorithm,
    ) -> Answer<NewKey, AdminRefusal> {
        let key = context.service.rotate_key(context.master, algorithm, &mut context.moment).await?;
        Ok(key.map(NewKey::from))
    }
}

pub struct PreviewReplacement;

impl AdminOperation for PreviewReplacement {
    const NAME: &'static str = "previewReplacement";
    const SUMMARY: &'static str = "Preview the effects of replacing keys. Changes nothing";
    const ACTS: &'static [AdminAct] = &[];
    type Authority = AnySignIn;
    type Input = Algorithm;
    type Output = Replacement;

    async fn run(
        context: &mut OperationContext<'_, AnySignIn>,
        algorithm: Algorithm,
    ) -> Answer<Replacement, AdminRefusal> {
        Ok(context.service.preview_replacement(context.master, algorithm).await?.map(Replacement::from))
    }
}

pub struct ReplaceKeys;

impl AdminOperation for ReplaceKeys {
    const NAME: &'static str = "replaceKeys";
    const SUMMARY: &'static str =
        "Replace all keys of an algorithm immediately. Every token they signed becomes invalid";
    const ACTS: &'static [AdminAct] = &[AdminAct::ReplaceKeys];
    type Authority = RecentSignIn;
    type Input = Algorithm;
    type Output = NewKey;

    async fn run(
        context: &mut OperationContext<'_, RecentSignIn>,
        algorithm: Algorithm,
    ) -> Answer<NewKey, AdminRefusal> {
        let key = context.service.replace_keys(context.master, algorithm, &mut context.moment).await?;
        Ok(key.map(NewKey::from))
    }
}
