//! One issuer: its state, and the access to its services.

use std::ops::Deref;
use std::sync::Arc;

use arc_swap::ArcSwap;
use model::audit::chain::Chain;
use model::audit::{Asker, AuditEvent, AuditKind, RequestInfo};
use model::refusal::Refusal;
use model::throttle::NETWORK_KNOWN_FOR;
use model::{Ctx, InstanceId, InstanceSettings, Moment, Rng, RootUrl, Timestamp};
use parking_lot::Mutex;
use store::{Store, StoredInstance};
use tokio::sync::Notify;
use uuid::Uuid;

use crate::Fault;
use crate::account::Account;
use crate::account::PasswordReset;
use crate::admin::admission::Admission;
use crate::audit::{CheckpointPublisher, InstanceAudit, Retention, Sealer};
use crate::auth::forms::FormTokens;
use crate::auth::passkeys::RelyingParty;
use crate::auth::pending_authorizations::PendingAuthorizations;
use crate::auth::reset_requests::ResetQueue;
use crate::auth::throttle::{AttemptQueue, Throttle};
use crate::auth::{Auth, AuthState, Passwords};
use crate::entities::Entities;
use crate::memory::change::FeedPosition;
use crate::memory::{ApplicationRegister, Believed, Checked, InstanceMemory, KeyRing, Memory, Snapshot};
use crate::platform::fault_log::FaultLog;
use crate::platform::feed_health::FeedHealth;
use crate::platform::meters::Meters;
use crate::platform::outbox::{InstanceMail, Outbox};
use crate::platform::pool::Pool;
use crate::platform::seal::SealedSecret;
use crate::platform::{InstanceInfo, MasterKey, Platform};
use crate::protocol::Protocol;
use crate::protocol::guard;
use crate::protocol::guard::ApiCallReport;
use crate::protocol::legacy::{LegacySchemes, LegacyUses};
use crate::seats::Seats;
use model::claims::MAX_TOKEN_LIFETIME;

/// An instance, whose memory may be outdated. Decisions based on memory need a [`BelievedInstance`].
pub struct Instance {
    pub info: InstanceInfo,
    pub entities: Entities,
    pub(crate) memory: InstanceMemory,
    auth: AuthState,
    pub(crate) legacy_uses: LegacyUses,
    image_decoder: Pool,
    outbox: Arc<Outbox>,
    /// Serialises flushes: after a flush, everything noted before is written, including what another flush had taken.
    pub(crate) flushing: tokio::sync::Mutex<()>,
}

/// Services shared by all instances of a process.
pub(crate) struct SharedServices {
    pub(crate) platform: Arc<dyn Platform>,
    pub(crate) master: Arc<MasterKey>,
    pub(crate) passwords: Arc<Passwords>,
    pub(crate) image_decoder: Pool,
    pub(crate) rsa_signers: Pool,
    pub(crate) attempts: AttemptQueue,
    pub(crate) database: store::Database,
    pub(crate) feed: Arc<FeedHealth>,
    pub(crate) node: Uuid,
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) checkpoints: Arc<CheckpointPublisher>,
    pub(crate) reset_queue: ResetQueue,
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
        // Fails under a wrong master key: a chain whose memory does not open would be treated as broken.
        shared.master.open(stored.id, SealedSecret::RootSecret, &stored.root_secret)?;
        let sealer = Box::pin(Sealer::open(&store, &shared.master, moment)).await?;
        let sealer = sealer.announcing(stored.name.clone(), Arc::clone(&shared.checkpoints));
        let store = sealer.store().clone();
        let refusals = Box::pin(Sealer::open(&store.with_chain(Chain::Refusals), &shared.master, moment)).await?;
        let refusals = refusals.announcing(stored.name.clone(), Arc::clone(&shared.checkpoints)).alarming_with(&sealer);
        let (memory, mark) = Box::pin(Memory::load(&store, &shared.master, moment)).await?;
        Ok(Self {
            entities: Entities::new((*store).clone()),
            auth: AuthState {
                passwords: Arc::new(shared.passwords.of(stored.id)),
                throttle: Throttle::new(stored.id, &shared.attempts, &moment.rng.secret()),
                reset_failures: Mutex::default(),
                reset_queue: Arc::clone(&shared.reset_queue),
                relying_party: RelyingParty::new(&stored.name, &root),
            },
            memory: InstanceMemory {
                name: stored.name.clone(),
                audit: InstanceAudit::new(sealer, refusals),
                platform: Arc::clone(&shared.platform),
                master: Arc::clone(&shared.master),
                node: shared.node,
                feed: Arc::clone(&shared.feed),
                position: FeedPosition::new(mark),
                meters: Meters::default(),
                faults: Arc::clone(&shared.faults),
                rsa_signers: shared.rsa_signers.of(stored.id),
                keys_wanted: Arc::clone(&shared.keys_wanted),
                current: ArcSwap::from_pointee(memory),
                store,
            },
            legacy_uses: LegacyUses::default(),
            image_decoder: shared.image_decoder.of(stored.id),
            outbox: Arc::clone(&shared.outbox),
            flushing: tokio::sync::Mutex::default(),
            info: InstanceInfo::new(stored.name, root),
        })
    }

    pub fn id(&self) -> InstanceId {
        *self.memory.store.instance()
    }

    /// The published key set, whether or not memory is behind. No decision is based on it.
    pub fn published_keys(&self) -> Snapshot<KeyRing> {
        self.memory.published_keys()
    }

    pub fn mail(&self) -> InstanceMail<'_> {
        InstanceMail { info: &self.info, id: self.id(), outbox: &self.outbox }
    }

    pub fn faults(&self) -> &FaultLog {
        &self.memory.faults
    }

    pub(crate) const fn audit(&self) -> &InstanceAudit {
        &self.memory.audit
    }

    /// Differences between memory and the database, as texts. Empty if both agree. For the project's own tests.
    pub async fn differences(&self, now: Timestamp) -> Result<Vec<String>, Fault> {
        self.memory.differences(now).await
    }

    /// Number of API sessions in memory, for measurements.
    pub fn sessions_in_memory(&self) -> usize {
        self.memory.sessions_in_memory()
    }

    /// Audits one answered API call.
    pub fn audit_call(&self, now: Timestamp, request: &RequestInfo, call: &ApiCallReport<'_>) -> Result<(), Fault> {
        guard::audit_call(&self.memory, now, request, call)
    }

    pub(crate) fn password_reset(&self) -> PasswordReset<'_> {
        PasswordReset { info: &self.info, store: &self.memory.store, audit: self.audit(), mail: self.mail() }
    }

    /// Audits a request rejected before any flow ran: malformed, or a form without a valid CSRF token.
    pub fn audit_refusal(&self, ctx: &Ctx<'_>, kind: AuditKind, refusal: &dyn Refusal) -> Result<(), Fault> {
        self.audit().put(AuditEvent::refused(ctx.now, kind, ctx.request, Asker::Stranger, refusal))
    }

    /// Periodic maintenance: deletes expired rows, forgets old revocations.
    pub(crate) async fn maintain(&self, now: Timestamp, rng: &mut dyn Rng) -> Result<(), Fault> {
        let store = &self.memory.store;
        let dead_before = now.minus(MAX_TOKEN_LIFETIME);
        let memory = self.memory.unchecked();
        memory.revocations.forget_before(dead_before);
        let settings = memory.settings.load();
        let oldest_sign_in = dead_before.minus(settings.session_lifetimes().absolute);
        let sweep = vec![
            store.sweep_authorizations(dead_before),
            store.sweep_changes(dead_before),
            store.sweep_links(now),
            store.sweep_email_changes(now),
            store.sweep_pending_authorizations(now),
            store.sweep_revoked_tokens(dead_before),
            store.sweep_api_sessions(dead_before),
            store.sweep_identity_sessions(dead_before, oldest_sign_in),
            store.sweep_spent_challenges(now),
            store.sweep_guess_leases(now),
            store.sweep_known_networks(now.minus(NETWORK_KNOWN_FOR)),
        ];
        let _swept = store.commit(sweep.into()).await?;
        let mut moment = Moment { now, rng };
        if let Some(days) = settings.audit_retention_days {
            self.audit().main.prune(Retention::Days(days), &mut moment).await?;
        }
        self.audit().refusals.prune(Retention::Days(settings.refusals_retention_days), &mut moment).await?;
        let bytes = i64::from(settings.refusals_max_mib) * 1024 * 1024;
        self.audit().refusals.prune(Retention::Bytes(bytes), &mut moment).await
    }
}

/// An instance with checked memory: the only access to services that decide by memory.
#[derive(Clone)]
pub struct BelievedInstance {
    instance: Arc<Instance>,
    checked: Checked,
}

impl BelievedInstance {
    /// Brings memory up to date if it is behind. If that fails, returns the instance with the fault.
    pub async fn of(instance: Arc<Instance>, now: Timestamp) -> Result<Self, (Arc<Instance>, Fault)> {
        match instance.memory.check(now).await {
            Ok(checked) => Ok(Self { instance, checked }),
            Err(fault) => Err((instance, fault)),
        }
    }

    /// Checks memory again, because the body of a request may have arrived slowly.
    pub async fn renew(&self, now: Timestamp) -> Result<(), Fault> {
        self.memory().renew(now).await
    }

    pub fn settings(&self) -> Snapshot<InstanceSettings> {
        self.memory().settings()
    }

    pub fn applications(&self) -> Snapshot<ApplicationRegister> {
        self.memory().applications()
    }

    pub fn keys(&self) -> Snapshot<KeyRing> {
        self.memory().keys()
    }

    /// See [`Believed::allows_origin`].
    pub fn allows_origin(&self, origin: &str) -> bool {
        self.memory().allows_origin(origin)
    }

    pub fn auth(&self) -> Auth<'_> {
        Auth { info: &self.info, state: &self.auth, memory: self.memory(), audit: self.audit(), mail: self.mail() }
    }

    pub fn form_tokens(&self) -> FormTokens<'_> {
        FormTokens { memory: self.memory() }
    }

    pub fn pending_authorizations(&self) -> PendingAuthorizations<'_> {
        PendingAuthorizations { memory: self.memory() }
    }

    pub fn protocol(&self) -> Protocol<'_> {
        let (memory, audit) = (self.memory(), self.audit());
        let seats = Seats { memory, audit };
        Protocol { info: &self.info, memory, audit, auth: self.auth(), seats }
    }

    pub fn legacy_schemes(&self) -> LegacySchemes<'_> {
        let (memory, audit) = (self.memory(), self.audit());
        let seats = Seats { memory, audit };
        LegacySchemes { memory, audit, auth: self.auth(), seats, uses: &self.legacy_uses }
    }

    pub fn account(&self) -> Account<'_> {
        Account {
            info: &self.info,
            memory: self.memory(),
            audit: self.audit(),
            auth: self.auth(),
            mail: self.mail(),
            image_decoder: &self.image_decoder,
        }
    }

    pub(crate) fn admission(&self) -> Admission<'_> {
        Admission { auth: self.auth() }
    }

    pub(crate) fn passwords(&self) -> &Passwords {
        &self.auth.passwords
    }

    fn memory(&self) -> Believed<'_> {
        self.instance.memory.believed(self.checked)
    }
}

impl Deref for BelievedInstance {
    type Target = Instance;

    fn deref(&self) -> &Instance {
        &self.instance
    }
}
