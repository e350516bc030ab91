//! Administration of signing keys. Rotation is automatic; these operations are for doing it now, or in an emergency.

use model::keys;
use model::keys::{KEPT_AFTER_USE, KeyTimes, RotationRefusal};
use model::{InstanceSettings, Moment, Timestamp, TrustedApplication};
use oauth::jose::Algorithm;
use store::{Batch, Change, ChangeKind, Store};

use crate::admin::act::AdminAct;
use crate::admin::{AdminRefusal, AdminService, ElevatedAdminService};
use crate::memory::keys::{algorithm_of, create};
use crate::{Answer, Fault, MasterKey};

/// A phase in the life of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyState {
    /// In the published key set, and not yet signing.
    Published,
    Signing,
    /// Only verifies what it signed before.
    Retired,
}

impl KeyState {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Published => "published",
            Self::Signing => "signing",
            Self::Retired => "retired",
        }
    }
}

/// A key without its secret parts.
#[derive(Clone, Debug)]
pub struct KeyView {
    pub times: KeyTimes,
    pub state: KeyState,
    /// When the key expires; for a signing key, when its successor takes over.
    pub until: Timestamp,
}

/// The effect of an emergency replacement.
#[derive(Clone, Debug)]
pub struct ReplacementView {
    pub algorithm: Algorithm,
    /// The keys to be removed.
    pub removed: Vec<String>,
    /// `ApplicationUri`s of applications whose access tokens become invalid; at most [`MAX_NAMED`].
    pub access_tokens_of: Vec<String>,
    /// Likewise for ID tokens, which then no longer work as a logout hint.
    pub id_tokens_of: Vec<String>,
    pub live_sessions: u64,
}

/// Maximum applications in a preview.
pub const MAX_NAMED: usize = 100;

fn refused(refusal: &RotationRefusal) -> AdminRefusal {
    AdminRefusal::Invalid(vec![refusal.to_string()])
}

async fn key_times(store: &Store) -> Result<Vec<KeyTimes>, Fault> {
    Ok(store.signing_keys().await?.keys.into_iter().map(|stored| stored.times).collect())
}

impl AdminService<'_> {
    /// Oldest first.
    pub async fn keys(&self, now: Timestamp) -> Result<Vec<KeyView>, Fault> {
        let times = key_times(&self.store).await?;
        let view = |key: &KeyTimes| {
            let signing = keys::signing(&times, key.algorithm, now).is_some_and(|signing| signing.kid == key.kid);
            let (state, until) = match key.retired_at {
                Some(at) => (KeyState::Retired, at.plus(KEPT_AFTER_USE)),
                None if key.signs_from > now => (KeyState::Published, key.signs_from),
                None if signing => (KeyState::Signing, key.successor_from()),
                None => (KeyState::Retired, now.plus(KEPT_AFTER_USE)),
            };
            KeyView { times: key.clone(), state, until }
        };
        Ok(times.iter().map(view).collect())
    }

    /// The `kid`s of all keys of an algorithm, including those with damaged rows.
    async fn compromised(&self, master: &MasterKey, algorithm: Algorithm) -> Answer<Vec<String>, AdminRefusal> {
        let stored = self.store.signing_keys().await?;
        let instance = *self.store.instance();
        let damaged = stored.unreadable.iter().filter(|row| algorithm_of(row, instance, master) == Some(algorithm));
        let mut kids: Vec<String> = damaged.map(|row| row.kid.clone()).collect();
        let times: Vec<KeyTimes> = stored.keys.into_iter().map(|stored| stored.times).collect();
        match keys::compromised(&times, algorithm) {
            Ok(readable) => kids.extend(readable.into_iter().map(|key| key.kid.clone())),
            Err(refusal) if kids.is_empty() => return Ok(Err(refused(&refusal))),
            Err(_) => {}
        }
        Ok(Ok(kids))
    }

    /// The effect of [`ElevatedAdminService::replace_keys`]. Changes nothing.
    pub async fn preview_replacement(
        &self,
        master: &MasterKey,
        algorithm: Algorithm,
    ) -> Answer<ReplacementView, AdminRefusal> {
        let removed = match self.compromised(master, algorithm).await? {
            Ok(removed) => removed,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let settings = self.store.settings().await?;
        let applications = self.store.applications().await?;
        let named = |own: fn(&TrustedApplication) -> Option<Algorithm>, default: Algorithm| {
            let signed = applications.iter().filter(|app| app.enabled && own(app).unwrap_or(default) == algorithm);
            signed.take(MAX_NAMED).map(|app| app.uri.as_str().to_owned()).collect()
        };
        let InstanceSettings { access_token_algorithm, id_token_algorithm, .. } = settings;
        Ok(Ok(ReplacementView {
            algorithm,
            removed,
            access_tokens_of: named(|app| app.access_token_algorithm, access_token_algorithm),
            id_tokens_of: named(|app| app.id_token_algorithm, id_token_algorithm),
            live_sessions: self.store.seats_taken().await?.0,
        }))
    }
}

impl ElevatedAdminService<'_> {
    /// Publishes a successor now. It signs once every cached copy of the key set contains it, so nothing breaks.
    pub async fn rotate_key(
        &self,
        master: &MasterKey,
        algorithm: Algorithm,
        moment: &mut Moment<'_>,
    ) -> Answer<KeyTimes, AdminRefusal> {
        let known = self.store.key_count(algorithm.as_str()).await?;
        let times = key_times(&self.store).await?;
        let signs_from = match keys::rotation(&times, algorithm, moment.now) {
            Ok(signs_from) => signs_from,
            Err(refusal) => return Ok(Err(refused(&refusal))),
        };
        self.make_key(master, algorithm, signs_from, known, &[], moment).await
    }

    /// For a compromised key: a new one signs now. All others of the algorithm are removed, which invalidates every
    /// token that they signed.
    pub async fn replace_keys(
        &self,
        master: &MasterKey,
        algorithm: Algorithm,
        moment: &mut Moment<'_>,
    ) -> Answer<KeyTimes, AdminRefusal> {
        let known = self.store.key_count(algorithm.as_str()).await?;
        let gone = match self.compromised(master, algorithm).await? {
            Ok(gone) => gone,
            Err(refusal) => return Ok(Err(refusal)),
        };
        self.make_key(master, algorithm, moment.now, known, &gone, moment).await
    }

    async fn make_key(
        &self,
        master: &MasterKey,
        algorithm: Algorithm,
        signs_from: Timestamp,
        known: i64,
        gone: &[String],
        moment: &mut Moment<'_>,
    ) -> Answer<KeyTimes, AdminRefusal> {
        let (key, sealed) = create(&self.store, master, algorithm, signs_from).await?;
        let mut batch = Batch::new();
        batch.extend(self.store.expect_key_count(algorithm.as_str(), known));
        batch.push(self.store.insert_key(&key, sealed, moment.now));
        batch.extend(gone.iter().map(|kid| self.store.delete_key(kid)));
        let act = if gone.is_empty() { AdminAct::RotateKey } else { AdminAct::ReplaceKeys };
        let detail = serde_json::json!({
            "subject": key.kid, "algorithm": algorithm.as_str(), "removed": gone,
            "signs_from": signs_from.seconds(),
        });
        batch.push(self.events().with(act, &detail, moment));
        batch.announce(Change { kind: ChangeKind::Keys, subject: self.store.instance().0 }, moment.now);
        Ok(self.commit(batch, AdminRefusal::Overtaken, moment).await?.map(|()| key))
    }
}
