//! Checkpoints: signatures over the newest seal, and so over all seals before it.
//!
//! Checkpoints have a signing key of their own. A key that signs tokens is deleted two days after its successor took
//! over, because no token lives longer. A checkpoint must be verifiable after years, so its key is kept forever, even
//! after it was replaced, and its public half is part of every export.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use model::Moment;
use model::audit::chain::{CHECKPOINT_TYPE, ChainId, Checkpoint, SealHash};
use model::audit::verify::SignedSeal;
use oauth::jose::{Algorithm, Jwk, SigningKey, UnverifiedJws, VerifyingKey};
use store::{Batch, Change, ChangeKind, CommitOutcome, Store};

use crate::audit::{AuditWriter, AuditedStore};
use crate::platform::seal::SealedSecret;
use crate::{Fault, MasterKey};

/// The current signing key.
pub(crate) struct CheckpointKey(SigningKey);

impl CheckpointKey {
    pub(super) async fn load(store: &Store, master: &MasterKey) -> Result<Option<Self>, Fault> {
        let current = store.audit_keys().await?.into_iter().find(|key| key.replaced_at.is_none());
        current.map(|key| parse(store, master, &key.sealed).map(Self)).transpose()
    }

    pub(super) async fn load_or_make(
        store: &AuditedStore,
        master: &MasterKey,
        moment: &mut Moment<'_>,
    ) -> Result<Self, Fault> {
        if let Some(key) = Self::load(store, master).await? {
            return Ok(key);
        }
        // A failed guard means that another node made the key.
        let _made = replace(store, master, None, moment).await?;
        Self::load(store, master).await?.ok_or_else(|| Fault::failed("there is no key for the audit"))
    }

    fn kid(&self) -> &str {
        self.0.kid()
    }

    /// The content of a checkpoint, if this key signed it.
    pub(super) fn read(&self, store: &Store, jws: &str) -> Option<SignedSeal> {
        let key = VerifyingKey::from_jwk(&self.0.public_jwk()).ok()?;
        read(store.chain_id(), jws, |kid| (kid == self.kid()).then_some(&key))
    }

    pub(super) fn sign(&self, checkpoint: &Checkpoint) -> Result<String, Fault> {
        let claims = serde_json::to_vec(checkpoint).map_err(Fault::failed)?;
        self.0.sign(CHECKPOINT_TYPE, &claims).map_err(Fault::failed)
    }
}

fn parse(store: &Store, master: &MasterKey, sealed: &[u8]) -> Result<SigningKey, Fault> {
    let pkcs8 = master.open(*store.instance(), SealedSecret::AuditKey, sealed)?;
    SigningKey::from_pkcs8(Algorithm::Es256, &pkcs8).map_err(Fault::failed)
}

/// Guarded by the key that was read. The event about the new key is in the part of the chain that the old key signs
/// last.
async fn replace(
    store: &AuditedStore,
    master: &MasterKey,
    old: Option<&CheckpointKey>,
    moment: &mut Moment<'_>,
) -> Result<CommitOutcome, Fault> {
    let (key, pkcs8) = SigningKey::generate(Algorithm::Es256).map_err(Fault::failed)?;
    let sealed = master.seal(*store.instance(), SealedSecret::AuditKey, &pkcs8);
    let now = moment.now;
    let mut batch = Batch::from(store.replace_audit_key(old.map(CheckpointKey::kid), key.kid(), sealed, now));
    batch.push(AuditWriter::new(store, moment.rng, now).key_rotated("made for the audit", key.kid()));
    batch.announce(Change { kind: ChangeKind::Keys, subject: store.instance().0 }, now);
    store.commit(batch).await
}

/// Replaces a checkpoint key that may be compromised. `false` if another node was first.
pub(super) async fn renew(store: &AuditedStore, master: &MasterKey, moment: &mut Moment<'_>) -> Result<bool, Fault> {
    let old = CheckpointKey::load(store, master).await?;
    Ok(matches!(replace(store, master, old.as_ref(), moment).await?, CommitOutcome::Committed))
}

/// Every key that ever signed a checkpoint of the instance. A row that the master key does not open was not written by
/// this installation, and is no key.
pub(super) struct CheckpointKeys {
    chain: ChainId,
    keys: HashMap<String, VerifyingKey>,
    public: Vec<Jwk>,
}

impl CheckpointKeys {
    pub(super) async fn load(store: &Store, master: &MasterKey) -> Result<Self, Fault> {
        let mut all = Self { chain: store.chain_id(), keys: HashMap::new(), public: Vec::new() };
        for stored in store.audit_keys().await? {
            let Ok(key) = parse(store, master, &stored.sealed) else { continue };
            let public = key.public_jwk();
            let verifying = VerifyingKey::from_jwk(&public).map_err(Fault::failed)?;
            all.keys.insert(key.kid().to_owned(), verifying);
            all.public.push(public);
        }
        Ok(all)
    }

    /// Public keys, for verification without Gatehouse.
    pub(super) fn public(&self) -> &[Jwk] {
        &self.public
    }

    /// The content of a checkpoint, if a key of this instance signed it.
    pub(super) fn read(&self, jws: &str) -> Option<SignedSeal> {
        read(self.chain, jws, |kid| self.keys.get(kid))
    }

    /// Whether a checkpoint claims to be of another instance or chain. Only for skipping it: the signature is not
    /// verified.
    pub(super) fn is_of_another(&self, jws: &str) -> bool {
        said(jws).is_some_and(|checkpoint| !is_of(&checkpoint, self.chain))
    }

    /// The same for the instance alone.
    pub(super) fn is_of_another_instance(&self, jws: &str) -> bool {
        said(jws).is_some_and(|checkpoint| checkpoint.instance != self.chain.instance.to_string())
    }
}

/// The content of a checkpoint, without verifying its signature.
fn said(jws: &str) -> Option<Checkpoint> {
    let claims = URL_SAFE_NO_PAD.decode(jws.split('.').nth(1)?).ok()?;
    serde_json::from_slice(&claims).ok()
}

fn is_of(checkpoint: &Checkpoint, chain: ChainId) -> bool {
    checkpoint.chain == chain.chain && checkpoint.instance == chain.instance.to_string()
}

fn read<'k>(chain: ChainId, jws: &str, key: impl FnOnce(&str) -> Option<&'k VerifyingKey>) -> Option<SignedSeal> {
    let text = jws.trim();
    let jws = UnverifiedJws::parse(text).ok()?;
    let key = key(jws.header.kid.as_deref()?)?;
    let claims = jws.verify(key, &[CHECKPOINT_TYPE]).ok()?;
    let checkpoint: Checkpoint = serde_json::from_slice(&claims).ok()?;
    let is_ours = is_of(&checkpoint, chain);
    let Checkpoint { seal, hash, prev, pruned, broken, .. } = checkpoint;
    let jws = SealHash::of(text.as_bytes());
    is_ours.then_some(SignedSeal { seal, hash, jws, prev, pruned, broken })
}
