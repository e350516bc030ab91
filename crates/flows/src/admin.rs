//! Administration. Every flow takes an [`Administrator`] and commits its audit event with its change.

pub mod act;
pub(crate) mod administrator;
pub mod admission;
mod applications;
mod audit;
mod consents;
mod erase;
mod events;
pub mod keys;
pub mod legacy_report;
mod links;
pub mod merge_patch;
pub mod operations;
mod roles;
pub mod rotation;
pub mod sessions;
pub mod tokens;
mod two_step;
mod users;

use std::ops::Deref;

use model::audit::RequestInfo;
use model::keys::KeyTimes;
use model::session::SignInTooOld;
use model::{InstanceId, InstanceSettings, Moment, Timestamp};
use oauth::jose::Algorithm;
use store::{Batch, CommitOutcome, Database, Store, StoredInstance};

use crate::admin::act::AdminAct;
use crate::admin::administrator::Administrator;
use crate::admin::events::AdminEvents;
use crate::audit::AuditedStore;
use crate::auth::strength::Weakness;
use crate::memory::InstanceMemory;
use crate::memory::keys::KeyRing;
use crate::platform::seal::SealedSecret;
use crate::{Answer, Fault, MasterKey};

/// A refused admin operation. The text says what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminRefusal {
    Unknown(String),
    Taken(String),
    Invalid(Vec<String>),
    /// The record changed since the administrator read it.
    Overtaken,
    /// The version that the caller named is not the current one.
    Outdated,
}

impl std::fmt::Display for AdminRefusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unknown(what) => write!(f, "{what} not found"),
            Self::Taken(what) => write!(f, "{what} already exists"),
            Self::Invalid(problems) => f.write_str(&problems.join("\n")),
            Self::Overtaken | Self::Outdated => {
                f.write_str("it was changed in the meantime; check the current state and repeat the change")
            }
        }
    }
}

impl AdminRefusal {
    /// Turns "not found" for a record that the input names besides its own into "invalid".
    #[must_use]
    pub fn of_a_member(self) -> Self {
        match self {
            Self::Unknown(what) => Self::Invalid(vec![format!("{what} not found")]),
            other => other,
        }
    }
}

impl From<Weakness> for AdminRefusal {
    fn from(weakness: Weakness) -> Self {
        Self::Invalid(vec![weakness.to_string()])
    }
}

pub use self::applications::draw_secret;
pub use self::users::{UserDraft, parse_login};
pub use model::audit::StoredEvent as AuditedEvent;
pub use store::{ApiSessionRow, Role, StoredFinding, TokensOf, UserRow};

/// Administration of one instance. Also works while a server runs on the same database: it follows the change feed.
#[derive(Clone)]
pub struct AdminService<'a> {
    pub(crate) store: AuditedStore,
    administrator: Administrator,
    /// The HTTP request, for the audit. `None` at the command line.
    request: Option<&'a RequestInfo>,
    /// This node's memory, updated by every change. `None` at the command line: servers then learn of changes by the
    /// feed.
    memory: Option<&'a InstanceMemory>,
}

/// An [`AdminService`] for sensitive changes: users, roles, applications and their secrets, signing keys, settings, and
/// issuing tokens. It requires a recent sign-in or a machine credential, so that an unattended browser or an old
/// personal token is not enough.
pub struct ElevatedAdminService<'a>(AdminService<'a>);

impl<'a> Deref for ElevatedAdminService<'a> {
    type Target = AdminService<'a>;

    fn deref(&self) -> &AdminService<'a> {
        &self.0
    }
}

/// Creates an instance: its root secret, settings and first keys.
pub async fn create_instance(
    (database, master): (&Database, &MasterKey),
    name: &str,
    settings: &InstanceSettings,
    moment: &mut Moment<'_>,
) -> Answer<InstanceId, AdminRefusal> {
    let fits = (1..=63).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    if !fits {
        let problem = "instance name: must be 1 to 63 letters, digits, dots, hyphens or underscores".to_owned();
        return Ok(Err(AdminRefusal::Invalid(vec![problem])));
    }
    let id = InstanceId(moment.id());
    let (store, memory) = AuditedStore::begin(Store::new(database.clone(), id), master, moment.rng);
    let sealed = master.seal(id, SealedSecret::RootSecret, &moment.rng.secret());
    let administrator = Administrator::operator(id, &sealed, master)?;
    let admin = AdminService { store: store.clone(), administrator, request: None, memory: None };
    let mut batch = Batch::from(vec![
        store.insert_instance(name, settings, sealed, moment.now),
        store.insert_seats(),
        admin.events().plain(AdminAct::CreateInstance, name, moment),
    ]);
    batch.extend(memory);
    if let CommitOutcome::GuardFailed { .. } = store.commit(batch).await? {
        return Ok(Err(AdminRefusal::Taken(format!("instance {name}"))));
    }
    crate::memory::keys::prepare(&store, master, settings, moment).await?;
    Ok(Ok(id))
}

/// Fails if no instance's root secret opens under this master key: sealing with a second key would split the secrets
/// between two keys. One success is enough, because a single damaged root secret proves nothing about the others.
pub async fn check_master_key(database: &Database, master: &MasterKey) -> Result<(), Fault> {
    let mut wrong = Ok(());
    for stored in database.instances().await? {
        match master.open(stored.id, SealedSecret::RootSecret, &stored.root_secret) {
            Ok(_) => return Ok(()),
            Err(fault) => wrong = Err(fault),
        }
    }
    wrong
}

/// Maximum number of findings in one examination.
const MAX_FINDINGS: usize = 100;

/// For examining an installation: the signing keys of an instance, each opened and parsed, and the records that this
/// version cannot use as they are.
pub async fn examine(
    database: &Database,
    master: &MasterKey,
    instance: &str,
) -> Result<(Vec<KeyTimes>, Vec<StoredFinding>), Fault> {
    let found = database.instances().await?.into_iter().find(|stored| stored.name == instance);
    let stored = found.ok_or_else(|| Fault::failed("there is no such instance"))?;
    let store = Store::new(database.clone(), stored.id);
    let (ring, broken) = KeyRing::examine(&store, master).await?;
    let mut findings = store.findings(MAX_FINDINGS).await?;
    let closed = |kind, record: &str| {
        let problems = vec!["damaged, or encrypted with another master key".to_owned()];
        StoredFinding { kind, record: record.to_owned(), problems }
    };
    // Unreadable key rows are already findings: keys missing from the ring, and keys of another version.
    let mut unopened = broken;
    for found in findings.iter_mut().filter(|found| found.kind == "signing key") {
        match unopened.iter().position(|kid| *kid == found.record) {
            Some(missed) => drop(unopened.remove(missed)),
            None => found.kind = "signing key of another version",
        }
    }
    findings.extend(unopened.iter().map(|kid| closed("signing key", kid)));
    if master.open(stored.id, SealedSecret::RootSecret, &stored.root_secret).is_err() {
        findings.push(closed("root secret", instance));
    }
    Ok((ring.times().cloned().collect(), findings))
}

/// The names of all instances.
pub async fn instances(database: &Database) -> Result<Vec<String>, Fault> {
    Ok(database.instances().await?.into_iter().map(|stored| stored.name).collect())
}

impl ElevatedAdminService<'_> {
    /// Opens an instance by name for the operator, who holds the master key.
    pub async fn open(database: &Database, master: &MasterKey, instance: &str) -> Answer<Self, AdminRefusal> {
        let found = database.instances().await?.into_iter().find(|stored| stored.name == instance);
        let Some(stored) = found else { return Ok(Err(AdminRefusal::Unknown(format!("instance {instance}")))) };
        Self::for_operator(database, master, &stored).await.map(Ok)
    }

    /// The service without the authority for sensitive changes.
    pub fn plain(&self) -> AdminService<'_> {
        self.0.clone()
    }

    /// Creates the keys that a changed record or setting needs, if this process is the server that signs. After a
    /// change at the command line, the server creates them when it reads the change from the feed.
    pub(crate) async fn prepare_keys(
        &self,
        algorithms: impl IntoIterator<Item = Algorithm>,
        moment: &mut Moment<'_>,
    ) -> Result<(), Fault> {
        match self.memory {
            Some(instance) => instance.prepare_keys(&algorithms.into_iter().collect::<Vec<_>>(), moment).await,
            None => Ok(()),
        }
    }

    pub(crate) async fn for_operator(
        database: &Database,
        master: &MasterKey,
        stored: &StoredInstance,
    ) -> Result<Self, Fault> {
        let administrator = Administrator::operator(stored.id, &stored.root_secret, master)?;
        let store = AuditedStore::open(Store::new(database.clone(), stored.id), master).await?;
        Ok(Self(AdminService { store, administrator, request: None, memory: None }))
    }
}

impl<'a> AdminService<'a> {
    /// For an administrator who calls over the network. Panics if the proof is of another instance.
    pub(crate) fn for_request(
        memory: &'a InstanceMemory,
        administrator: &Administrator,
        request: &'a RequestInfo,
    ) -> Self {
        assert_eq!(administrator.instance(), *memory.store.instance(), "a proof is good for the instance that gave it");
        let administrator = administrator.clone();
        Self { store: memory.store.clone(), administrator, request: Some(request), memory: Some(memory) }
    }

    /// Unlocks sensitive changes if the sign-in is recent.
    pub fn elevate(self, now: Timestamp) -> Result<ElevatedAdminService<'a>, SignInTooOld> {
        self.administrator.check_recent(now)?;
        Ok(ElevatedAdminService(self))
    }

    pub(crate) fn events(&self) -> AdminEvents<'_> {
        AdminEvents(self)
    }

    pub(crate) fn store(&self) -> &AuditedStore {
        &self.store
    }

    pub(crate) fn actor(&self) -> String {
        self.administrator.actor()
    }

    /// Over the network, this node's memory contains the change on return. At the command line there is no memory:
    /// servers follow the change feed.
    pub(crate) async fn commit(
        &self,
        batch: impl Into<Batch>,
        if_guarded: AdminRefusal,
        moment: &Moment<'_>,
    ) -> Answer<(), AdminRefusal> {
        let batch = batch.into();
        let committed = match self.memory {
            Some(instance) => instance.commit(batch, moment.now).await?,
            None => self.store.commit(batch).await?,
        };
        Ok(match committed {
            CommitOutcome::Committed => Ok(()),
            CommitOutcome::GuardFailed { .. } => Err(if_guarded),
        })
    }
}
