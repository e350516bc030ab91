//! Signing keys: loaded and parsed once, rotated on schedule, with their private halves sealed at rest.

use std::num::NonZeroUsize;
use std::sync::Arc;

use model::keys;
use model::keys::{KeyDuty, KeyTimes};
use model::{InstanceId, InstanceSettings, Moment, Rng, Timestamp, TrustedApplication};
use oauth::jose::{Algorithm, Jwk, SigningKey, VerifyingKey};
use store::{Batch, Change, ChangeKind, CommitOutcome, Store, StoredKey, UnreadableKey};
use zeroize::Zeroizing;

use crate::audit::{AuditWriter, AuditedStore};
use crate::memory::{Believed, InstanceMemory};
use crate::platform::pool::{Pool, PoolKind, Priority};
use crate::platform::seal::SealedSecret;
use crate::platform::tasks::give_way;
use crate::{Fault, MasterKey};

struct RingKey {
    times: KeyTimes,
    signing: SigningKey,
    verifying: VerifyingKey,
}

impl RingKey {
    fn open(stored: StoredKey, instance: InstanceId, master: &MasterKey) -> Result<Self, Fault> {
        let private = master.open(instance, SealedSecret::SigningKey, &stored.sealed)?;
        let signing = SigningKey::from_pkcs8(stored.times.algorithm, &private).map_err(Fault::failed)?;
        let verifying = VerifyingKey::from_jwk(&signing.public_jwk()).map_err(Fault::failed)?;
        Ok(Self { times: stored.times, signing, verifying })
    }
}

/// The algorithm of a key of this version whose row is damaged. A row with an unknown algorithm belongs to another
/// version, and nothing of it is missing here; unless it holds the very key that its `kid` names, which also tells the
/// algorithm ([`SigningKey::kid`]).
pub(crate) fn algorithm_of(row: &UnreadableKey, instance: InstanceId, master: &MasterKey) -> Option<Algorithm> {
    if let Ok(algorithm) = row.algorithm.parse() {
        return Some(algorithm);
    }
    let private = master.open(instance, SealedSecret::SigningKey, &row.sealed).ok()?;
    let names =
        |algorithm: &Algorithm| SigningKey::from_pkcs8(*algorithm, &private).is_ok_and(|key| key.kid() == row.kid);
    Algorithm::ALL.into_iter().find(names)
}

/// The keys of an instance, as one immutable snapshot.
pub struct KeyRing {
    keys: Vec<RingKey>,
    jwks: Arc<[u8]>,
}

impl KeyRing {
    /// Every key, or a fault that names the unusable ones. None is skipped: tokens that it signed would be refused, and
    /// another would be made in its place, although perhaps only the master key that it was sealed under is missing.
    pub(crate) async fn load(store: &Store, master: &MasterKey) -> Result<Self, Fault> {
        let (ring, broken) = Self::examine(store, master).await?;
        if broken.is_empty() {
            return Ok(ring);
        }
        Err(Fault::failed(format!(
            "signing keys do not open ({}): they are damaged, or sealed under another master key. Configure that key as \
             [previous_master_key], or give up every token of their algorithm with `gatehouse key replace`",
            broken.join(", ")
        )))
    }

    /// The usable keys, and the `kid`s of the others.
    pub(crate) async fn examine(store: &Store, master: &MasterKey) -> Result<(Self, Vec<String>), Fault> {
        let (mut keys, mut broken) = (Vec::new(), Vec::new());
        let stored = store.signing_keys().await?;
        for row in stored.unreadable.iter().filter(|row| algorithm_of(row, *store.instance(), master).is_some()) {
            tracing::error!(instance = %store.instance(), kid = row.kid, "the row of a signing key is damaged");
            broken.push(row.kid.clone());
        }
        for stored in stored.keys {
            let kid = stored.times.kid.clone();
            match RingKey::open(stored, *store.instance(), master) {
                Ok(key) => keys.push(key),
                Err(fault) => {
                    let (fault, instance) = (&fault as &dyn std::error::Error, store.instance());
                    tracing::error!(fault, %instance, kid, "a signing key cannot be used");
                    broken.push(kid);
                }
            }
        }
        let public: Vec<Jwk> = keys.iter().map(|key| key.signing.public_jwk()).collect();
        let jwks = serde_json::to_vec(&serde_json::json!({ "keys": public })).map_err(Fault::failed)?;
        Ok((Self { keys, jwks: jwks.into() }, broken))
    }

    /// The JWK Set document (RFC 7517 §5), prepared once.
    pub fn jwks(&self) -> Arc<[u8]> {
        Arc::clone(&self.jwks)
    }

    /// Algorithms that this instance signs with, for discovery.
    pub fn algorithms(&self) -> Vec<Algorithm> {
        Algorithm::ALL.into_iter().filter(|one| self.keys.iter().any(|key| key.times.algorithm == *one)).collect()
    }

    pub(crate) fn verifying(&self, kid: &str) -> Option<&VerifyingKey> {
        self.keys.iter().find(|key| key.times.kid == kid).map(|key| &key.verifying)
    }

    pub(crate) fn trusts(&self, kid: &str) -> bool {
        self.verifying(kid).is_some()
    }

    pub(crate) fn times(&self) -> impl Iterator<Item = &KeyTimes> {
        self.keys.iter().map(|key| &key.times)
    }

    fn signing(&self, algorithm: Algorithm, now: Timestamp) -> Option<&SigningKey> {
        let kid = &keys::signing(self.times(), algorithm, now)?.kid;
        self.keys.iter().find(|key| key.times.kid == *kid).map(|key| &key.signing)
    }
}

/// Signatures that may wait, in fair shares. Further callers are told to try again.
const MAX_SIGNATURES_WAITING: usize = 1024;

/// Threads for RSA signing, which is an order of magnitude slower than the curves.
pub(crate) fn rsa_signers() -> Pool {
    Pool::new(PoolKind {
        name: "signatures",
        threads: std::thread::available_parallelism().map_or(2, NonZeroUsize::get).max(2),
        max_waiting: MAX_SIGNATURES_WAITING,
        full: "too many signatures at once",
        priority: Priority::Normal,
    })
}

impl Believed<'_> {
    /// Signs the claims as a compact JWS.
    pub(crate) async fn sign(
        &self,
        algorithm: Algorithm,
        typ: &'static str,
        claims: Vec<u8>,
        now: Timestamp,
    ) -> Result<String, Fault> {
        let sign = move |ring: &KeyRing| {
            let key = ring.signing(algorithm, now).ok_or_else(|| Fault::unavailable("the key is still being made"))?;
            key.sign(typ, &claims).map_err(Fault::failed)
        };
        if matches!(algorithm, Algorithm::Es256 | Algorithm::EdDsa) {
            return sign(&self.keys());
        }
        let ring = self.current().keys.load_full();
        self.rsa_signers.run(move || sign(&ring)).await?
    }
}

impl InstanceMemory {
    fn algorithms(&self) -> Vec<Algorithm> {
        let memory = self.unchecked();
        algorithms(&memory.settings.load(), memory.applications.load().all().map(Arc::as_ref))
    }

    /// Wakes the task that makes keys if something is to be signed for which there is none.
    pub(crate) fn want_missing_keys(&self) {
        let known = self.published_keys().algorithms();
        if self.algorithms().iter().any(|algorithm| !known.contains(algorithm)) {
            self.keys_wanted.notify_one();
        }
    }

    /// Performs the rotation steps that are due. Memory tells whether there are any.
    pub(crate) async fn maintain_keys(&self, moment: &mut Moment<'_>) -> Result<(), Fault> {
        let algorithms = self.algorithms();
        let times: Vec<KeyTimes> = self.published_keys().times().cloned().collect();
        if algorithms.iter().all(|algorithm| keys::duties(&times, *algorithm, moment.now).is_empty()) {
            return Ok(());
        }
        rotate(&self.store, &self.master, &algorithms, moment.now, moment.rng).await?;
        // Reads also what another node did meanwhile.
        self.follow(moment.now).await
    }

    /// Makes the keys that a changed record or setting will need, before the change is committed, so that it takes
    /// effect at once.
    pub(crate) async fn prepare_keys(&self, wanted: &[Algorithm], moment: &mut Moment<'_>) -> Result<(), Fault> {
        let known = self.published_keys().algorithms();
        let missing: Vec<Algorithm> = wanted.iter().copied().filter(|wanted| !known.contains(wanted)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        rotate(&self.store, &self.master, &missing, moment.now, moment.rng).await?;
        self.follow(moment.now).await
    }
}

/// Makes the first keys of a new instance.
pub(crate) async fn prepare(
    store: &AuditedStore,
    master: &MasterKey,
    settings: &InstanceSettings,
    moment: &mut Moment<'_>,
) -> Result<(), Fault> {
    rotate(store, master, &algorithms(settings, &[]), moment.now, moment.rng).await
}

/// The algorithms that an instance signs with; RS256 is always among them (OpenID Connect Discovery 1.0 §3).
pub(crate) fn algorithms<'a>(
    settings: &InstanceSettings,
    applications: impl IntoIterator<Item = &'a TrustedApplication>,
) -> Vec<Algorithm> {
    let mut algorithms = vec![Algorithm::Rs256];
    let own = applications.into_iter().flat_map(TrustedApplication::own_algorithms);
    for algorithm in [settings.access_token_algorithm, settings.id_token_algorithm].into_iter().chain(own) {
        if !algorithms.contains(&algorithm) {
            algorithms.push(algorithm);
        }
    }
    algorithms
}

/// Performs the rotation steps that are due, for every algorithm. Safe on many nodes at once: each batch is guarded by
/// the number of keys that was read.
pub(crate) async fn rotate(
    store: &AuditedStore,
    master: &MasterKey,
    algorithms: &[Algorithm],
    now: Timestamp,
    rng: &mut dyn Rng,
) -> Result<(), Fault> {
    // Counted before the keys are read: a key that is made meanwhile fails the guard.
    let mut counts = Vec::new();
    for &algorithm in algorithms {
        counts.push((algorithm, store.key_count(algorithm.as_str()).await?));
    }
    let times: Vec<KeyTimes> = KeyRing::load(store, master).await?.times().cloned().collect();
    for (algorithm, known) in counts {
        for duty in keys::duties(&times, algorithm, now) {
            let mut batch = Batch::new();
            let mut writer = AuditWriter::new(store, rng, now);
            let (what, kid) = match duty {
                KeyDuty::Create { signs_from } => {
                    let (key, sealed) = create(store, master, algorithm, signs_from).await?;
                    batch.extend(store.expect_key_count(algorithm.as_str(), known));
                    batch.push(store.insert_key(&key, sealed, now));
                    ("created", key.kid)
                }
                KeyDuty::Retire { kid } => {
                    batch.push(store.retire_key(&kid, now));
                    ("retired", kid)
                }
                KeyDuty::Delete { kid } => {
                    batch.push(store.delete_key(&kid));
                    ("deleted", kid)
                }
            };
            batch.push(writer.key_rotated(what, &kid));
            batch.announce(Change { kind: ChangeKind::Keys, subject: store.instance().0 }, now);
            // A failed guard means that another node did it.
            let (CommitOutcome::Committed | CommitOutcome::GuardFailed { .. }) = store.commit(batch).await?;
        }
    }
    Ok(())
}

pub(crate) async fn create(
    store: &Store,
    master: &MasterKey,
    algorithm: Algorithm,
    signs_from: Timestamp,
) -> Result<(KeyTimes, Vec<u8>), Fault> {
    let (key, pkcs8) = generate(algorithm).await?;
    let sealed = master.seal(*store.instance(), SealedSecret::SigningKey, &pkcs8);
    let times = KeyTimes { kid: key.kid().to_owned(), algorithm, signs_from, retired_at: None };
    Ok((times, sealed))
}

/// Generating an RSA key searches for primes: a few tenths of a second, on a low-priority thread.
async fn generate(algorithm: Algorithm) -> Result<(SigningKey, Zeroizing<Vec<u8>>), Fault> {
    let (reply, made) = tokio::sync::oneshot::channel();
    let work = move || {
        give_way();
        // The receiver is gone if the caller was cancelled.
        let _ = reply.send(SigningKey::generate(algorithm));
    };
    std::thread::Builder::new().name("keys".into()).spawn(work).map_err(Fault::failed)?;
    made.await.map_err(Fault::failed)?.map_err(Fault::failed)
}
