//! One issuer, as it lives in memory: snapshots that requests are served from, and what follows the change feed.

mod believed;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use model::audit::chain::Chain;
use model::audit::{Asker, AuditEvent, AuditKind};
use model::throttle::NETWORK_KNOWN_FOR;
use model::why::Refusal;
use model::{Ctx, Moment, Rng, RootUrl, Timestamp};
use parking_lot::Mutex;
use store::{Store, StoredInstance};
use tokio::sync::Notify;
use uuid::Uuid;

pub use self::believed::BelievedInstance;
use crate::audit::{AuditBuffer, AuditedStore, CheckpointPublisher, Retention, Sealer};
use crate::change::FeedPosition;
use crate::domain::Entities;
use crate::fault_log::FaultLog;
use crate::feed::FeedHealth;
use crate::forgotten::ResetQueue;
use crate::house::Platform;
pub use crate::keys::KeyRing;
use crate::legacy::LegacyUses;
use crate::mail::Outbox;
pub use crate::memory::ApplicationRegister;
use crate::memory::Memory;
use crate::meters::Meters;
use crate::passkeys::RelyingParty;
use crate::pool::Pool;
use crate::seal::SealedSecret;
use crate::throttle::{AttemptQueue, FailureHistory, Throttle};
use crate::{Fault, MasterKey, Passwords};

/// No token lives longer, so no kill need be remembered longer.
pub(crate) const MAX_TOKEN_LIFETIME: Duration = Duration::from_hours(25);

/// What is held while it is looked at: no count is kept that all cores would write.
pub type Snapshot<T> = arc_swap::Guard<Arc<T>>;

pub struct Instance {
    pub name: String,
    pub root: RootUrl,
    pub issuer: String,
    /// See [`RootUrl::service_root`].
    pub service_root: String,
    pub domain: Entities,
    pub(crate) store: AuditedStore,
    pub(crate) platform: Arc<dyn Platform>,
    pub(crate) legacy_uses: LegacyUses,
    pub(crate) feed: Arc<FeedHealth>,
    /// This process among those that share the database.
    pub(crate) node: Uuid,
    pub(crate) throttle: Arc<Throttle>,
    /// Questions after forgotten passwords, counted as tries to sign in are.
    pub(crate) reset_failures: Mutex<FailureHistory>,
    pub(crate) reset_queue: ResetQueue,
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) meters: Meters,
    pub(crate) audit: AuditBuffer,
    pub(crate) sealer: Sealer,
    /// Of the chain of what strangers were refused.
    pub(crate) refusals: Sealer,
    pub(crate) passwords: Arc<Passwords>,
    pub(crate) image_decoder: Pool,
    pub(crate) rsa_signers: Pool,
    pub(crate) relying_party: Option<RelyingParty>,
    pub(crate) master: Arc<MasterKey>,
    /// One flush at a time: who has flushed knows that everything noted before is written, also what another flush took.
    pub(crate) flushing: tokio::sync::Mutex<()>,
    /// Woken when something is to be signed for which there is no key yet.
    pub(crate) keys_wanted: Arc<Notify>,
    pub(crate) following: FeedPosition,
    pub faults: Arc<FaultLog>,
    /// Read by a [`BelievedInstance`], or through doors that say that nothing was checked.
    memory: ArcSwap<Memory>,
}

/// What all instances of a process share.
pub(crate) struct SharedServices {
    pub(crate) world: Arc<dyn Platform>,
    pub(crate) master: Arc<MasterKey>,
    pub(crate) passwords: Arc<Passwords>,
    pub(crate) image_decoder: Pool,
    pub(crate) rsa_signers: Pool,
    pub(crate) sign_ins_waiting: AttemptQueue,
    pub(crate) database: store::Database,
    pub(crate) feed: Arc<FeedHealth>,
    pub(crate) node: Uuid,
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) checkpoints: Arc<CheckpointPublisher>,
    pub(crate) questions: ResetQueue,
    pub(crate) keys_wanted: Arc<Notify>,
    pub(crate) faults: Arc<FaultLog>,
}

impl Instance {
    pub(crate) async fn load(
        stored: StoredInstance,
        root: RootUrl,
        shared: &SharedServices,
        moment: &mut Moment<'_>,
    ) -> Result<Self, Fault> {
        let store = Store::new(shared.database.clone(), stored.id);
        // Under a wrong master key nothing is done: a chain whose memory does not open would be broken off.
        shared.master.open(stored.id, SealedSecret::RootSecret, &stored.root_secret)?;
        let sealer = Box::pin(Sealer::open(&store, &shared.master, moment)).await?;
        let sealer = sealer.announcing(stored.name.clone(), Arc::clone(&shared.checkpoints));
        let store = sealer.store().clone();
        let refusals = Box::pin(Sealer::open(&store.with_chain(Chain::Refusals), &shared.master, moment)).await?;
        let refusals = refusals.announcing(stored.name.clone(), Arc::clone(&shared.checkpoints)).alarming_with(&sealer);
        let (memory, mark) = Box::pin(Memory::load(&store, &shared.master, moment)).await?;
        Ok(Self {
            relying_party: RelyingParty::new(&stored.name, &root),
            name: stored.name,
            issuer: root.issuer(),
            service_root: root.service_root(),
            root,
            domain: Entities::new((*store).clone()),
            platform: Arc::clone(&shared.world),
            legacy_uses: LegacyUses::default(),
            feed: Arc::clone(&shared.feed),
            node: shared.node,
            throttle: Throttle::new(stored.id, &shared.sign_ins_waiting, &moment.rng.secret()),
            reset_failures: Mutex::default(),
            reset_queue: Arc::clone(&shared.questions),
            outbox: Arc::clone(&shared.outbox),
            meters: Meters::default(),
            audit: AuditBuffer::default(),
            sealer,
            refusals,
            passwords: Arc::new(shared.passwords.of(stored.id)),
            image_decoder: shared.image_decoder.of(stored.id),
            rsa_signers: shared.rsa_signers.of(stored.id),
            master: Arc::clone(&shared.master),
            flushing: tokio::sync::Mutex::default(),
            keys_wanted: Arc::clone(&shared.keys_wanted),
            following: FeedPosition::new(mark),
            faults: Arc::clone(&shared.faults),
            memory: ArcSwap::from_pointee(memory),
            store,
        })
    }

    /// The key set that everybody is told, whether memory is behind or not. Nothing is judged by it.
    pub fn published_keys(&self) -> Snapshot<KeyRing> {
        self.memory.load().keys.load()
    }

    /// Memory as it stands, perhaps behind the database: to keep it, to write down what it learnt, and to count.
    /// [`BelievedInstance`] is for judging by it.
    pub(crate) fn unchecked_memory(&self) -> Arc<Memory> {
        self.memory.load_full()
    }

    /// Puts a memory that was read anew into the place of the old one, and gives that back.
    pub(crate) fn replace_memory(&self, memory: Memory) -> Arc<Memory> {
        self.memory.swap(Arc::new(memory))
    }

    /// Tells the audit of a request that was refused before a flow began: unreadable, or not from our own form.
    pub fn audit_refusal(&self, ctx: &mut Ctx<'_>, (kind, refusal): (AuditKind, &dyn Refusal)) -> Result<(), Fault> {
        self.audit.put(AuditEvent::refused(ctx.now, kind, ctx.request, (Asker::Stranger, refusal)))
    }

    /// What wants doing now and then: sweeping, forgetting.
    pub(crate) async fn maintain(&self, now: Timestamp, rng: &mut dyn Rng) -> Result<(), Fault> {
        let dead_before = now.minus(MAX_TOKEN_LIFETIME);
        let memory = self.unchecked_memory();
        memory.revocations.forget_before(dead_before);
        let settings = memory.settings.load();
        let oldest_sign_in = dead_before.minus(settings.session_lifetimes().absolute);
        let sweep = vec![
            self.store.sweep_authorizations(dead_before),
            self.store.sweep_changes(dead_before),
            self.store.sweep_links(now),
            self.store.sweep_email_changes(now),
            self.store.sweep_revoked_tokens(dead_before),
            self.store.sweep_api_sessions(dead_before),
            self.store.sweep_identity_sessions(dead_before, oldest_sign_in),
            self.store.sweep_spent_challenges(now),
            self.store.sweep_guess_leases(now),
            self.store.sweep_known_networks(now.minus(NETWORK_KNOWN_FOR)),
        ];
        let _swept = self.store.commit(sweep.into()).await?;
        let mut moment = Moment { now, rng };
        if let Some(days) = settings.audit_retention_days {
            self.sealer.prune(Retention::Days(days), &mut moment).await?;
        }
        self.refusals.prune(Retention::Days(settings.refusals_retention_days), &mut moment).await?;
        let bytes = i64::from(settings.refusals_max_mib) * 1024 * 1024;
        self.refusals.prune(Retention::Bytes(bytes), &mut moment).await
    }

    /// The sealers of both chains.
    pub(crate) const fn sealers(&self) -> [&Sealer; 2] {
        [&self.sealer, &self.refusals]
    }

    pub(crate) const fn sealer_of(&self, chain: Chain) -> &Sealer {
        match chain {
            Chain::Main => &self.sealer,
            Chain::Refusals => &self.refusals,
        }
    }
}
