//! Memory: what every request reads. Replaced as a whole when the database may have gone back.

mod applications;
mod believed;
pub(crate) mod change;
mod comparison;
pub(crate) mod keys;
pub(crate) mod known_networks;
pub(crate) mod known_passwords;
pub(crate) mod live_sessions;
pub(crate) mod seat_queries;
pub(crate) mod token_uses;
pub(crate) mod used_generations;

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use model::claims::{AccessTokenClaims, MAX_TOKEN_LIFETIME, TokenSubject};
use model::guard::RevocationSource;
use model::reference_token::ReferenceToken;
use model::{AfterLogout, AuthorizationId, InstanceSettings, Moment, SessionId, Timestamp, User, UserId};
use parking_lot::RwLock;
use quick_cache::sync::Cache;
use store::{Change, ChangeKind, CommitOutcome, Fault, FeedMark, Store};
use tokio::sync::Notify;
use uuid::Uuid;

pub use self::applications::ApplicationRegister;
pub use self::believed::Believed;
pub(crate) use self::believed::Checked;
pub use self::change::MemoryBehind;
pub use self::keys::KeyRing;
use crate::audit::{AuditedStore, InstanceAudit};
use crate::memory::change::FeedPosition;
use crate::memory::known_networks::KnownNetworks;
use crate::memory::known_passwords::KnownPasswords;
use crate::memory::live_sessions::ApiSessions;
use crate::memory::token_uses::LastUsed;
use crate::memory::used_generations::UsedGenerations;
use crate::platform::fault_log::FaultLog;
use crate::platform::feed_health::FeedHealth;
use crate::platform::meters::Meters;
use crate::platform::pool::Pool;
use crate::platform::seal::RootSecret;
use crate::platform::{MasterKey, Platform};

/// Reason recorded on authorizations and sessions that end with a withdrawn consent.
pub(crate) const CONSENT_WITHDRAWN: &str = "consent_withdrawn";

/// A borrowed snapshot. Unlike `Arc`, taking one does not touch a shared counter.
pub type Snapshot<T> = arc_swap::Guard<Arc<T>>;

/// One instance's tables, this node's memory of them, and the one way to change them (`change`). Judging by memory
/// takes a [`Believed`].
pub struct InstanceMemory {
    pub(crate) name: String,
    pub(crate) store: AuditedStore,
    pub(crate) audit: InstanceAudit,
    pub(crate) platform: Arc<dyn Platform>,
    pub(crate) master: Arc<MasterKey>,
    /// Identifies this process among the nodes sharing the database.
    pub(crate) node: Uuid,
    pub(crate) feed: Arc<FeedHealth>,
    pub(crate) position: FeedPosition,
    pub(crate) meters: Meters,
    pub(crate) faults: Arc<FaultLog>,
    pub(crate) rsa_signers: Pool,
    /// Notified when something is to be signed for which there is no key yet.
    pub(crate) keys_wanted: Arc<Notify>,
    pub(crate) current: ArcSwap<Memory>,
}

impl InstanceMemory {
    /// The published key set, even while memory is behind. No decision uses it.
    pub(crate) fn published_keys(&self) -> Snapshot<KeyRing> {
        self.current.load().keys.load()
    }

    /// Memory as it is, possibly behind the database: to keep it, to write its pending notes, and to count.
    pub(crate) fn unchecked(&self) -> Arc<Memory> {
        self.current.load_full()
    }
}

/// Everything that a node remembers of the database of one instance. It can only be loaded from the database, so
/// nothing of it outlives a database that went back: a new memory takes its place. A flow that reads the database to
/// remember the result takes a reference to the memory first, so that an earlier read cannot enter the new memory.
pub(crate) struct Memory {
    pub(crate) users: RecordCache<UserId, User>,
    pub(crate) reference_tokens: RecordCache<[u8; 32], ReferenceToken>,
    pub(crate) token_uses: LastUsed,
    pub(crate) known_passwords: KnownPasswords,
    pub(crate) known_networks: KnownNetworks,
    pub(crate) revocations: Revocations,
    pub(crate) verified: VerifiedTokenCache,
    pub(crate) api_sessions: ApiSessions,
    pub(crate) used_generations: UsedGenerations,
    /// When a node last found that the database may have gone back.
    reread_at: Option<Timestamp>,
    // Only `change` stores these.
    pub(crate) secret: ArcSwap<RootSecret>,
    pub(crate) settings: ArcSwap<InstanceSettings>,
    pub(crate) applications: ArcSwap<ApplicationRegister>,
    pub(crate) keys: ArcSwap<KeyRing>,
}

impl Memory {
    /// Loads what the database holds, and a row of the change feed that existed before the read: changes made meanwhile
    /// are read twice, never missed.
    pub(crate) async fn load(
        store: &AuditedStore,
        master: &MasterKey,
        moment: &mut Moment<'_>,
    ) -> Result<(Self, FeedMark), Fault> {
        let mark = newest_change(store, moment.now).await?;
        let since = moment.now.minus(MAX_TOKEN_LIFETIME);
        let revocations = Revocations::default();
        for id in store.authorizations_ended_since(since).await? {
            revocations.authorization(id, moment.now);
        }
        for id in store.sessions_ended_since(since).await? {
            revocations.session(id, moment.now);
        }
        for id in store.access_tokens_revoked_since(since).await? {
            revocations.token(id, moment.now);
        }
        let memory = Self {
            secret: ArcSwap::from_pointee(RootSecret::load(store, master).await?),
            users: RecordCache::new(),
            reference_tokens: RecordCache::new(),
            token_uses: LastUsed::default(),
            known_passwords: KnownPasswords::new(&moment.rng.secret()),
            known_networks: KnownNetworks::default(),
            revocations,
            verified: VerifiedTokenCache::new(),
            api_sessions: ApiSessions::load(store, moment).await?,
            used_generations: UsedGenerations::default(),
            reread_at: store.reread_at().await?,
            settings: ArcSwap::from_pointee(store.settings().await?),
            applications: ArcSwap::from_pointee(ApplicationRegister::new(store.applications().await?)),
            keys: ArcSwap::from_pointee(KeyRing::load(store, master).await?),
        };
        Ok((memory, mark))
    }

    /// Whether tokens may exist whose authorization the database lost. No token outlives `MAX_TOKEN_LIFETIME`.
    pub(crate) fn must_ask_for_authorization(&self, now: Timestamp) -> bool {
        self.reread_at.is_some_and(|at| now.since(at) < MAX_TOKEN_LIFETIME)
    }
}

/// The newest row of the feed. If there is none, because an older version swept it, writes one: memory needs a row to
/// recognize the feed by.
async fn newest_change(store: &Store, now: Timestamp) -> Result<FeedMark, Fault> {
    loop {
        if let Some(mark) = store.newest_change().await? {
            return Ok(mark);
        }
        let mut batch = store::Batch::new();
        batch.announce(Change { kind: ChangeKind::Settings, subject: store.instance().0 }, now);
        let CommitOutcome::Committed = store.commit(batch).await? else {
            return Err(Fault::failed("the instance is not in the database"));
        };
    }
}

/// Ended authorizations and sign-ins whose tokens may not have expired yet.
#[derive(Default)]
pub(crate) struct Revocations {
    authorizations: RwLock<HashMap<AuthorizationId, Timestamp>>,
    sessions: RwLock<HashMap<SessionId, Timestamp>>,
    /// Service tokens that were revoked individually.
    tokens: RwLock<HashMap<Uuid, Timestamp>>,
}

impl Revocations {
    pub(crate) fn authorization(&self, id: AuthorizationId, now: Timestamp) {
        self.authorizations.write().entry(id).or_insert(now);
    }

    pub(crate) fn session(&self, id: SessionId, now: Timestamp) {
        self.sessions.write().entry(id).or_insert(now);
    }

    pub(crate) fn token(&self, id: Uuid, now: Timestamp) {
        self.tokens.write().entry(id).or_insert(now);
    }

    /// The revocation of the token, or of anything that it descends from. The effect of a sign-in's end is a setting.
    pub(crate) fn revoking(
        &self,
        token: &AccessTokenClaims,
        after_logout: AfterLogout,
    ) -> Option<(RevocationSource, Timestamp)> {
        match token.holder {
            TokenSubject::Service { .. } => {
                let tokens = self.tokens.read();
                let id = Uuid::try_parse(&token.id).ok().filter(|_| !tokens.is_empty())?;
                tokens.get(&id).map(|at| (RevocationSource::Token, *at))
            }
            TokenSubject::User { session, descent, .. } => {
                if let Some(at) = self.authorizations.read().get(&descent.authorization) {
                    return Some((RevocationSource::Authorization, *at));
                }
                let sessions = (after_logout == AfterLogout::Refuse).then(|| self.sessions.read())?;
                sessions.get(&session).map(|at| (RevocationSource::SignIn, *at))
            }
        }
    }

    /// Revocations at this time or later.
    pub(crate) fn since(&self, time: Timestamp) -> (HashSet<AuthorizationId>, HashSet<SessionId>, HashSet<Uuid>) {
        fn later<T: Copy + Eq + Hash>(revocations: &RwLock<HashMap<T, Timestamp>>, time: Timestamp) -> HashSet<T> {
            revocations.read().iter().filter(|(_, at)| **at >= time).map(|(id, _)| *id).collect()
        }
        (later(&self.authorizations, time), later(&self.sessions, time), later(&self.tokens, time))
    }

    /// Drops revocations older than any live token.
    pub(crate) fn forget_before(&self, time: Timestamp) {
        self.authorizations.write().retain(|_, at| *at >= time);
        self.sessions.write().retain(|_, at| *at >= time);
        self.tokens.write().retain(|_, at| *at >= time);
    }
}

/// Records read recently. A changed record is dropped and read again.
pub(crate) struct RecordCache<K, V> {
    known: Cache<K, Arc<V>>,
    /// Counts invalidations: a read that began before one is not cached after it.
    forgotten: AtomicU64,
}

/// A record takes about half a KiB. The cache grows only as records are used.
const MAX_RECORDS: usize = 100_000;

impl<K: Copy + Eq + Hash, V> RecordCache<K, V> {
    pub(crate) fn new() -> Self {
        Self { known: Cache::new(MAX_RECORDS), forgotten: AtomicU64::new(0) }
    }

    pub(crate) fn known(&self, key: K) -> Option<Arc<V>> {
        self.known.get(&key)
    }

    pub(crate) fn all(&self) -> Vec<(K, Arc<V>)> {
        self.known.iter().collect()
    }

    pub(crate) async fn get(
        &self,
        key: K,
        read: impl Future<Output = Result<Option<V>, Fault>>,
    ) -> Result<Option<Arc<V>>, Fault> {
        if let Some(known) = self.known(key) {
            return Ok(Some(known));
        }
        let before = self.forgotten.load(Ordering::Acquire);
        let Some(record) = read.await?.map(Arc::new) else { return Ok(None) };
        self.known.insert(key, Arc::clone(&record));
        if self.forgotten.load(Ordering::Acquire) != before {
            self.known.remove(&key);
        }
        Ok(Some(record))
    }

    pub(crate) fn forget(&self, key: K) {
        self.forgotten.fetch_add(1, Ordering::AcqRel);
        self.known.remove(&key);
    }

    pub(crate) fn forget_where(&self, unwanted: impl Fn(&V) -> bool) {
        self.forgotten.fetch_add(1, Ordering::AcqRel);
        self.known.retain(|_, record| !unwanted(record));
    }
}

/// A token whose signature was verified, and the `kid` of the key that verified it.
pub(crate) struct VerifiedToken {
    pub(crate) token: AccessTokenClaims,
    pub(crate) kid: String,
}

/// Verified tokens, by SHA-256 of the whole token. Failures are never cached.
pub(crate) struct VerifiedTokenCache(Cache<[u8; 32], Arc<VerifiedToken>>);

const MAX_TOKENS: usize = 10_000;

impl VerifiedTokenCache {
    pub(crate) fn new() -> Self {
        Self(Cache::new(MAX_TOKENS))
    }

    pub(crate) fn get(&self, digest: &[u8; 32]) -> Option<Arc<VerifiedToken>> {
        self.0.get(digest)
    }

    pub(crate) fn remember(&self, digest: [u8; 32], verified: Arc<VerifiedToken>) {
        self.0.insert(digest, verified);
    }
}
