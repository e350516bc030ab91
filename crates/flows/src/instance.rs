//! One issuer, as it lives in memory: snapshots that requests are served from, and what follows the change feed.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use model::application::ClientRefusal;
use model::audit::{AuditEvent, AuditKind, Visitor};
use model::reference_token::ReferenceToken;
use model::seat::SessionKey;
use model::why::Refusal;
use model::{
    ApplicationId, AuthenticatedClient, Dice, InstanceSettings, Moment, ReferenceTokenId, RootUrl, Timestamp,
    TrustedApplication, User, UserId,
};
use oauth::client::{ClientCredentials, ClientId};
use parking_lot::Mutex;
use store::{Change, ChangeKind, Store, StoredInstance};
use tokio::sync::Semaphore;
use uuid::Uuid;

use crate::api_sessions::ApiSessions;
use crate::audit::{Notebook, Sealer};
use crate::domain::Domain;
use crate::feed::Feed;
use crate::forgotten::Questions;
use crate::guard::in_time;
pub use crate::keys::KeyRing;
use crate::keys::{self, algorithms};
use crate::legacy::{KnownPasswords, LegacyUses};
use crate::mail::Outbox;
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

/// The applications of an instance, as one immutable view.
#[derive(Default)]
pub struct Register {
    by_uri: HashMap<ClientId, Arc<TrustedApplication>>,
    by_id: HashMap<ApplicationId, Arc<TrustedApplication>>,
    origins: std::collections::HashSet<String>,
}

impl Register {
    pub(crate) fn new(applications: Vec<TrustedApplication>) -> Self {
        let mut register = Self::default();
        for application in applications {
            let application = Arc::new(application);
            if application.enabled {
                register.origins.extend(application.origins());
            }
            register.by_uri.insert(application.uri.clone(), Arc::clone(&application));
            register.by_id.insert(application.id, application);
        }
        register
    }

    pub fn by_uri(&self, uri: &ClientId) -> Option<&Arc<TrustedApplication>> {
        self.by_uri.get(uri)
    }

    pub fn all(&self) -> impl Iterator<Item = &Arc<TrustedApplication>> {
        self.by_id.values()
    }

    pub fn by_id(&self, id: ApplicationId) -> Option<&Arc<TrustedApplication>> {
        self.by_id.get(&id)
    }

    /// RFC 6749 §2.3.
    pub(crate) fn authenticate(
        &self,
        credentials: &ClientCredentials,
        now: Timestamp,
    ) -> Result<AuthenticatedClient<'_>, ClientRefusal> {
        self.by_uri(credentials.client_id()).ok_or(ClientRefusal::Unknown)?.authenticate(credentials, now)
    }

    /// May a page of this origin read the APIs' answers? Origins of enabled applications only.
    pub fn allows_origin(&self, origin: &str) -> bool {
        self.origins.contains(origin)
    }
}

/// What is held while it is looked at: no count is kept that all cores would write.
pub type Snapshot<T> = arc_swap::Guard<Arc<T>>;

pub struct Instance {
    pub name: String,
    pub root: RootUrl,
    pub issuer: String,
    /// See [`RootUrl::service_root`].
    pub service_root: String,
    pub domain: Domain,
    pub(crate) store: Store,
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
    settings: ArcSwap<InstanceSettings>,
    register: ArcSwap<Register>,
    keys: ArcSwap<KeyRing>,
    seen_change: AtomicI64,
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
    pub(crate) questions: Questions,
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
        // Read before everything else: what changes meanwhile is read twice, never missed.
        let seen_change = store.newest_change().await?;
        let settings = store.settings().await?;
        let applications = store.applications().await?;
        let algorithms = algorithms(&settings, &applications);
        keys::rotate(&store, &shared.master, &algorithms, moment.now, moment.dice).await?;
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
            domain: Domain::new(store.clone()),
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
            sealer: Sealer::open(&store, &shared.master, moment).await?,
            passwords: Arc::clone(&shared.passwords),
            drawing: Arc::clone(&shared.drawing),
            master: Arc::clone(&shared.master),
            settings: ArcSwap::from_pointee(settings),
            register: ArcSwap::from_pointee(Register::new(applications)),
            keys: ArcSwap::from_pointee(KeyRing::load(&store, &shared.master).await?),
            seen_change: AtomicI64::new(seen_change),
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

    /// Drops what memory holds of things that changed elsewhere.
    pub(crate) async fn follow(&self, moment: &mut Moment<'_>) -> Result<(), Fault> {
        for (number, change) in self.store.changes_after(self.seen_change.load(Ordering::Acquire)).await? {
            self.apply(change, moment).await?;
            self.seen_change.fetch_max(number, Ordering::AcqRel);
        }
        Ok(())
    }

    pub(crate) async fn apply(&self, change: Change, moment: &mut Moment<'_>) -> Result<(), Fault> {
        match change.kind {
            ChangeKind::Register => {
                // Keys first: whoever finds the application finds what its tokens are signed with.
                let register = Register::new(self.store.applications().await?);
                self.rotate_keys(&register, moment).await?;
                self.register.store(Arc::new(register));
                self.forget_dead_applications();
            }
            ChangeKind::Keys => {
                self.keys.store(Arc::new(KeyRing::load(&self.store, &self.master).await?));
                self.sealer.reload_key(&self.master).await?;
            }
            ChangeKind::Settings => {
                self.settings.store(Arc::new(self.store.settings().await?));
                self.rotate_keys(&self.register(), moment).await?;
            }
            ChangeKind::User => {
                let user = UserId(change.subject);
                self.users.forget(user);
                self.known_passwords.forget(user);
                self.api_sessions.forget_user(user);
            }
            ChangeKind::Person => self.users.forget(UserId(change.subject)),
            ChangeKind::Roles => self.users.forget_where(|_| true),
            ChangeKind::AuthorizationEnded => {
                self.kills.authorization(model::AuthorizationId(change.subject), moment.now);
            }
            ChangeKind::ReferenceTokenRevoked => {
                let id = ReferenceTokenId(change.subject);
                self.reference_tokens.forget_where(|token| token.id == id);
                self.api_sessions.forget_key(&SessionKey::Reference(id));
            }
            ChangeKind::AccessTokenRevoked => {
                self.kills.token(change.subject, moment.now);
                let key = SessionKey::Service(change.subject.simple().to_string());
                self.api_sessions.forget_key(&key);
            }
            ChangeKind::SessionEnded => {
                let session = model::SessionId(change.subject);
                self.kills.session(session, moment.now);
                self.api_sessions.forget_key(&SessionKey::SignIn(session));
            }
            ChangeKind::ConsentWithdrawn => self.apply_withdrawal(UserId(change.subject), moment).await?,
            ChangeKind::ApiSessionsClosed => self.forget_closed(change.subject).await?,
        }
        Ok(())
    }

    async fn rotate_keys(&self, register: &Register, moment: &mut Moment<'_>) -> Result<(), Fault> {
        let algorithms = algorithms(&self.settings(), register.all().map(Arc::as_ref));
        if keys::rotate(&self.store, &self.master, &algorithms, moment.now, moment.dice).await? {
            self.keys.store(Arc::new(KeyRing::load(&self.store, &self.master).await?));
        }
        Ok(())
    }

    /// What wants doing now and then: rotation, sweeping, forgetting.
    pub(crate) async fn tidy(&self, now: Timestamp, dice: &mut dyn Dice) -> Result<(), Fault> {
        self.rotate_keys(&self.register(), &mut Moment { now, dice }).await?;
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
