//! One issuer, as it lives in memory: snapshots that requests are served from, and what follows the change feed.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use model::audit::{AuditEvent, AuditKind, Visitor};
use model::reference_token::ReferenceToken;
use model::why::Refusal;
use model::{Dice, InstanceSettings, Moment, RootUrl, Timestamp, User, UserId};
use parking_lot::Mutex;
use store::{Store, StoredInstance};
use tokio::sync::{Notify, Semaphore};
use uuid::Uuid;

use crate::api_sessions::ApiSessions;
use crate::audit::{AuditedStore, Notebook, Noticeboard, Sealer};
use crate::change::Following;
use crate::domain::Domain;
use crate::feed::Feed;
use crate::forgotten::Questions;
use crate::guard::in_time;
pub use crate::keys::KeyRing;
use crate::legacy::{KnownPasswords, LegacyUses};
use crate::mail::Outbox;
pub use crate::memory::Register;
use crate::memory::{Kills, Remembered, VerifiedTokens};
use crate::meters::Meters;
use crate::passkeys::RelyingParty;
use crate::proven::Proven;
use crate::reference_tokens::LastUsed;
use crate::seal::RootSecret;
use crate::throttle::{FailureHistory, Throttle};
use crate::{Fault, MasterKey, Passwords};

pub(crate) const ROOT_SECRET: &str = "root secret";

/// No token lives longer, so no kill need be remembered longer.
pub(crate) const LONGEST_TOKEN: Duration = Duration::from_hours(25);

/// What is held while it is looked at: no count is kept that all cores would write.
pub type Snapshot<T> = arc_swap::Guard<Arc<T>>;

pub struct Instance {
    pub name: String,
    pub root: RootUrl,
    pub issuer: String,
    /// See [`RootUrl::service_root`].
    pub service_root: String,
    pub domain: Domain,
    pub(crate) store: AuditedStore,
    pub(crate) secret: RootSecret,
    pub(crate) users: Remembered<UserId, User>,
    pub(crate) reference_tokens: Remembered<[u8; 32], ReferenceToken>,
    pub(crate) used: LastUsed,
    pub(crate) legacy_uses: LegacyUses,
    pub(crate) known_passwords: KnownPasswords,
    pub(crate) kills: Kills,
    pub(crate) verified: VerifiedTokens,
    pub(crate) api_sessions: ApiSessions,
    pub(crate) feed: Arc<Feed>,
    /// This process among those that share the database.
    pub(crate) node: Uuid,
    pub(crate) proven: Proven,
    pub(crate) throttle: Arc<Throttle>,
    /// Questions after forgotten passwords, counted as tries to sign in are.
    pub(crate) questions_asked: Mutex<FailureHistory>,
    pub(crate) questions: Questions,
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) meters: Meters,
    pub(crate) audit: Notebook,
    pub(crate) sealer: Sealer,
    pub(crate) passwords: Arc<Passwords>,
    pub(crate) drawing: Arc<Semaphore>,
    pub(crate) relying_party: Option<RelyingParty>,
    pub(crate) master: Arc<MasterKey>,
    /// One flush at a time: who has flushed knows that everything noted before is written, also what another flush took.
    pub(crate) flushing: tokio::sync::Mutex<()>,
    /// Woken when something is to be signed for which there is no key yet.
    pub(crate) keys_wanted: Arc<Notify>,
    pub(crate) following: Following,
    // Stored by `change` alone.
    pub(crate) settings: ArcSwap<InstanceSettings>,
    pub(crate) register: ArcSwap<Register>,
    pub(crate) keys: ArcSwap<KeyRing>,
}

/// What all instances of a process share.
pub(crate) struct Shared {
    pub(crate) master: Arc<MasterKey>,
    pub(crate) passwords: Arc<Passwords>,
    /// The places of those who decode pictures.
    pub(crate) drawing: Arc<Semaphore>,
    /// See [`Throttle::waiting_places`].
    pub(crate) sign_ins_waiting: Arc<Semaphore>,
    pub(crate) database: store::Database,
    pub(crate) feed: Arc<Feed>,
    pub(crate) node: Uuid,
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) checkpoints: Arc<Noticeboard>,
    pub(crate) questions: Questions,
    pub(crate) keys_wanted: Arc<Notify>,
}

impl Instance {
    pub(crate) async fn load(
        stored: StoredInstance,
        root: RootUrl,
        shared: &Shared,
        moment: &mut Moment<'_>,
    ) -> Result<Self, Fault> {
        let store = Store::new(shared.database.clone(), stored.id);
        let secret = shared.master.open(stored.id, ROOT_SECRET, &stored.root_secret)?;
        let sealer = Box::pin(Sealer::open(&store, &shared.master, moment)).await?;
        let sealer = sealer.announcing(stored.name.clone(), Arc::clone(&shared.checkpoints));
        let store = sealer.store().clone();
        // Read before everything else: what changes meanwhile is read twice, never missed.
        let following = Following::new(store.newest_change().await?);
        let settings = store.settings().await?;
        let applications = store.applications().await?;
        let since = moment.now.minus(LONGEST_TOKEN);
        let kills = Kills::default();
        for id in store.authorizations_ended_since(since).await? {
            kills.authorization(id, moment.now);
        }
        for id in store.sessions_ended_since(since).await? {
            kills.session(id, moment.now);
        }
        for id in store.access_tokens_revoked_since(since).await? {
            kills.token(id, moment.now);
        }
        Ok(Self {
            relying_party: RelyingParty::new(&stored.name, &root),
            name: stored.name,
            issuer: root.issuer(),
            service_root: root.service_root(),
            root,
            domain: Domain::new((*store).clone()),
            secret: RootSecret::new(&secret),
            users: Remembered::new(),
            reference_tokens: Remembered::new(),
            used: LastUsed::default(),
            legacy_uses: LegacyUses::default(),
            known_passwords: KnownPasswords::new(&moment.dice.secret()),
            kills,
            verified: VerifiedTokens::new(),
            api_sessions: ApiSessions::load(&store, moment).await?,
            feed: Arc::clone(&shared.feed),
            node: shared.node,
            proven: Proven::default(),
            throttle: Throttle::new(&shared.sign_ins_waiting),
            questions_asked: Mutex::default(),
            questions: shared.questions.clone(),
            outbox: Arc::clone(&shared.outbox),
            meters: Meters::default(),
            audit: Notebook::default(),
            sealer,
            passwords: Arc::clone(&shared.passwords),
            drawing: Arc::clone(&shared.drawing),
            master: Arc::clone(&shared.master),
            flushing: tokio::sync::Mutex::default(),
            keys_wanted: Arc::clone(&shared.keys_wanted),
            following,
            settings: ArcSwap::from_pointee(settings),
            register: ArcSwap::from_pointee(Register::new(applications)),
            keys: ArcSwap::from_pointee(KeyRing::load(&store, &shared.master).await?),
            store,
        })
    }

    pub fn settings(&self) -> Snapshot<InstanceSettings> {
        self.settings.load()
    }

    pub fn register(&self) -> Snapshot<Register> {
        self.register.load()
    }

    pub fn keys(&self) -> Snapshot<KeyRing> {
        self.keys.load()
    }

    pub(crate) async fn user(&self, id: UserId) -> Result<Option<Arc<User>>, Fault> {
        self.users.get(id, in_time(self.store.user(id))).await
    }

    /// Tells the audit of a request that was refused before a flow began: unreadable, or not from our own form.
    pub fn tell_refused(
        &self,
        moment: &mut Moment<'_>,
        visitor: &Visitor,
        (kind, refusal): (AuditKind, &dyn Refusal),
    ) -> Result<(), Fault> {
        self.audit.put(&AuditEvent::refused(moment.now, kind, visitor, refusal))
    }

    /// What wants doing now and then: sweeping, forgetting.
    pub(crate) async fn tidy(&self, now: Timestamp, dice: &mut dyn Dice) -> Result<(), Fault> {
        let dead_before = now.minus(LONGEST_TOKEN);
        self.kills.forget_before(dead_before);
        let oldest_sign_in = dead_before.minus(self.settings().session_lifetimes().absolute);
        let sweep = vec![
            self.store.sweep_authorizations(dead_before),
            self.store.sweep_changes(dead_before),
            self.store.sweep_links(now),
            self.store.sweep_email_changes(now),
            self.store.sweep_revoked_tokens(dead_before),
            self.store.sweep_api_sessions(dead_before),
            self.store.sweep_identity_sessions(dead_before, oldest_sign_in),
            self.store.sweep_spent_challenges(now),
        ];
        let _swept = self.store.commit(sweep.into()).await?;
        match self.settings().audit_retention_days {
            Some(days) => self.sealer.prune(days, &mut Moment { now, dice }).await,
            None => Ok(()),
        }
    }
}
