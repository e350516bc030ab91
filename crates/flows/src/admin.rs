//! Administration. Every flow takes an [`Administrator`] and commits its audit event with its change.

pub(crate) mod administrator;
pub mod admission;
mod applications;
mod audit;
mod consents;
mod erase;
pub mod keys;
pub mod legacy_report;
mod links;
mod roles;
pub mod rotation;
pub mod sessions;
pub mod tokens;
mod two_step;
mod users;

use std::ops::Deref;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use model::application::Secret;
use model::application::record::{ApplicationRecord, Registration};
use model::audit::chain::Chain;
use model::audit::{AuditEvent, AuditKind, AuditOutcome, RequestId, RequestInfo};
use model::keys::KeyTimes;
use model::session::SignInTooOld;
use model::user::{Password, PasswordHash};
use model::{
    ApplicationId, Email, InstanceId, InstanceSettings, Login, Moment, Timestamp, TrustedApplication, User, UserId,
    UserType,
};
use oauth::client::ClientId;
use oauth::jose::Algorithm;
use oauth::secret::{ClientSecret, Digest, Presented};
use store::{Batch, CommitOutcome, Database, NewSecret, NewUser, Statement, Store, StoredInstance};

use crate::admin::administrator::Administrator;
use crate::admin::applications::changed;
use crate::audit::{AuditWriter, AuditedStore, system_event};
use crate::auth::passwords::AcceptedPassword;
use crate::auth::strength::Weakness;
use crate::memory::InstanceMemory;
use crate::memory::keys::KeyRing;
use crate::memory::live_sessions::ending_user;
use crate::platform::seal::SealedSecret;
use crate::{Answer, Fault, MasterKey, Passwords};

/// A refused admin operation. The text says what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminRefusal {
    Unknown(String),
    Taken(String),
    Invalid(Vec<String>),
    /// The record changed since the administrator read it.
    Overtaken,
}

impl std::fmt::Display for AdminRefusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unknown(what) => write!(f, "{what} not found"),
            Self::Taken(what) => write!(f, "{what} already exists"),
            Self::Invalid(problems) => f.write_str(&problems.join("\n")),
            Self::Overtaken => {
                f.write_str("it was changed in the meantime; check the current state and repeat the change")
            }
        }
    }
}

impl From<Weakness> for AdminRefusal {
    fn from(weakness: Weakness) -> Self {
        Self::Invalid(vec![weakness.to_string()])
    }
}

pub use model::audit::StoredEvent as AuditedEvent;
pub use store::{ApiSessionRow, Role, StoredFinding, TokensOf, UserRow};

/// Attributes of a new user or service account.
pub struct UserDraft<'a> {
    pub login: &'a str,
    pub user_type: UserType,
    pub is_admin: bool,
    pub name: &'a str,
    pub email: Option<Email>,
    pub role: Option<&'a str>,
    pub enabled: bool,
}

/// Administration of one instance. Also works while a server runs on the same database: it follows the change feed.
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
        admin.event("create-instance", name, moment),
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

/// Parses a login that an administrator entered.
pub fn parse_login(text: &str) -> Result<Login, AdminRefusal> {
    Login::parse(text).ok_or_else(|| {
        let problem = "login: must be 1 to 128 printable ASCII characters without spaces at the ends".to_owned();
        AdminRefusal::Invalid(vec![problem])
    })
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

    pub async fn users(&self) -> Result<Vec<User>, Fault> {
        self.store.users().await
    }

    pub async fn applications(&self) -> Result<Vec<TrustedApplication>, Fault> {
        self.store.applications().await
    }

    pub async fn application(&self, uri: &str) -> Answer<TrustedApplication, AdminRefusal> {
        let unknown = || AdminRefusal::Unknown(format!("application {uri}"));
        let Ok(wanted) = uri.parse::<ClientId>() else { return Ok(Err(unknown())) };
        Ok(self.store.application_by_uri(&wanted).await?.ok_or_else(unknown))
    }

    pub(crate) fn insert_secret(&self, application: ApplicationId, secret: &Secret, now: Timestamp) -> Statement {
        let new = NewSecret {
            id: &secret.id,
            application,
            label: &secret.label,
            digest: secret.digest,
            expires_at: secret.expires_at,
        };
        self.store.insert_secret(&new, now)
    }

    pub(crate) async fn find_user(&self, login: &str) -> Answer<User, AdminRefusal> {
        Ok(self.find_user_with_password(login).await?.map(|(user, _)| user))
    }

    /// The user, and whether a password is set.
    pub(crate) async fn find_user_with_password(&self, login: &str) -> Answer<(User, bool), AdminRefusal> {
        let unknown = || AdminRefusal::Unknown(format!("user {login}"));
        let Some(parsed) = Login::typed(login) else { return Ok(Err(unknown())) };
        let found = self.store.user_by_login(&parsed).await?;
        Ok(found.map(|(user, hash)| (user, hash.is_some())).ok_or_else(unknown))
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

    /// An event about a user. The id stays for good, the login until the user is erased.
    pub(crate) fn event_about(
        &self,
        what: &'static str,
        user: UserId,
        login: &Login,
        moment: &mut Moment<'_>,
    ) -> Statement {
        self.event_statement(&Self::user_event(what, user, Some(login), moment), moment)
    }

    /// An event about a user, without the login.
    pub(crate) fn event_of(&self, what: &'static str, user: UserId, moment: &mut Moment<'_>) -> Statement {
        self.event_statement(&Self::user_event(what, user, None, moment), moment)
    }

    pub(crate) fn user_event(
        what: &'static str,
        user: UserId,
        login: Option<&Login>,
        moment: &Moment<'_>,
    ) -> AuditEvent {
        let mut event = system_event(moment.now, AuditKind::AdminChange)
            .user(user)
            .detail(&serde_json::json!({ "what": what, "subject": user.to_string() }));
        event.login = login.map(|login| login.as_str().to_owned());
        event
    }

    /// An event about anything but a user. The subject must not identify a person.
    pub(crate) fn event(&self, what: &'static str, subject: &str, moment: &mut Moment<'_>) -> Statement {
        self.event_with(&serde_json::json!({ "what": what, "subject": subject }), moment)
    }

    /// An event with the attributes that differ, before and after. Neither value may contain a secret or identify a
    /// person.
    pub(crate) fn change_event<T: serde::Serialize>(
        &self,
        what: &'static str,
        subject: &str,
        before: &T,
        after: &T,
        moment: &mut Moment<'_>,
    ) -> Statement {
        let value = |of: &T| serde_json::to_value(of).expect("what administrators write is JSON");
        let (before, after) = model::audit::differing(value(before), value(after));
        let detail = serde_json::json!({ "what": what, "subject": subject, "before": before, "after": after });
        self.event_with(&detail, moment)
    }

    pub(crate) fn event_with(&self, detail: &serde_json::Value, moment: &mut Moment<'_>) -> Statement {
        self.event_statement(&system_event(moment.now, AuditKind::AdminChange).detail(detail), moment)
    }

    /// Adds the administrator and the request to the event.
    pub(crate) fn event_statement(&self, event: &AuditEvent, moment: &mut Moment<'_>) -> Statement {
        let actor = Some(self.administrator.actor().to_owned().into());
        let event = AuditEvent { actor, request: self.request.cloned(), ..event.clone() };
        AuditWriter::new(&self.store, moment.rng, moment.now).event(&event)
    }

    /// Explains a reference: the events of the request that showed it. For a refusal without a record of its own, these
    /// are the records that count it ([`model::audit::folding::FoldedRefusals`]). The node that refused writes to the
    /// database with its next tick, so a young reference is looked up repeatedly.
    pub async fn why(&self, reference: &str, now: Timestamp) -> Answer<Vec<AuditedEvent>, AdminRefusal> {
        /// Time for an event to reach the database: a tick (200 ms), plus a margin for a busy server.
        const MAX_ON_ITS_WAY: Duration = Duration::from_secs(2);
        const LOOK_AGAIN: Duration = Duration::from_millis(100);
        let unknown = || AdminRefusal::Unknown(format!("event with reference {reference}"));
        let Some(request) = RequestId::parse(reference) else {
            let problem = "reference: must be 32 hexadecimal digits".to_owned();
            return Ok(Err(AdminRefusal::Invalid(vec![problem])));
        };
        let refusals = self.store.with_chain(Chain::Refusals);
        let is_young = request.at().since(now) < MAX_ON_ITS_WAY;
        let mut waited = now.since(request.at());
        let events = loop {
            let mut events = crate::audit::events_of(&self.store, request).await?;
            events.extend(crate::audit::events_of(&refusals, request).await?);
            let remembered = self.memory.map(|memory| memory.audit.buffer.refusals.remembered(request, now));
            events.extend(remembered.into_iter().flatten());
            let is_told = events.iter().any(|event| event.outcome == AuditOutcome::Refused.as_str());
            if is_told || !is_young || waited >= MAX_ON_ITS_WAY {
                break events;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
            waited += LOOK_AGAIN;
        };
        if !events.is_empty() {
            return Ok(Ok(events));
        }
        // The refusal may be counted in a folded record, if there were too many for records of their own.
        let mut folds = crate::audit::folds_of(&refusals, request).await?;
        folds.extend(self.memory.into_iter().flat_map(|memory| memory.audit.buffer.refusals.holding(request)));
        Ok(if folds.is_empty() { Err(unknown()) } else { Ok(folds) })
    }

    pub(crate) fn store(&self) -> &AuditedStore {
        &self.store
    }

    pub(crate) fn actor(&self) -> &str {
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

/// Sensitive changes.
impl ElevatedAdminService<'_> {
    /// Creates a user without a password. Users choose theirs with a link.
    pub async fn create_user(&self, draft: UserDraft<'_>, moment: &mut Moment<'_>) -> Answer<UserId, AdminRefusal> {
        self.create_user_with(draft, None, moment).await
    }

    /// With a precomputed hash, so that many users can be hashed in parallel.
    pub async fn create_user_with(
        &self,
        draft: UserDraft<'_>,
        hash: Option<&PasswordHash>,
        moment: &mut Moment<'_>,
    ) -> Answer<UserId, AdminRefusal> {
        let login = match parse_login(draft.login) {
            Ok(login) => login,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let mut problems = model::user::person_problems(draft.name, draft.email.as_ref());
        problems.extend(draft.user_type.admin_problem(draft.is_admin));
        if !problems.is_empty() {
            return Ok(Err(AdminRefusal::Invalid(problems)));
        }
        if let Some(role) = draft.role
            && !self.store.has_role(role).await?
        {
            return Ok(Err(AdminRefusal::Unknown(format!("role {role}"))));
        }
        let id = UserId(moment.id());
        let user = NewUser {
            id,
            login: &login,
            user_type: draft.user_type,
            is_admin: draft.is_admin,
            enabled: draft.enabled,
            name: draft.name,
            email: draft.email,
            role: draft.role,
            password: hash,
        };
        let mut batch = Batch::new();
        batch.extend(draft.role.map(|role| self.store.hold_role(role)));
        batch.push(self.store.insert_user(&user, moment.now));
        batch.push(self.event_about("create-user", id, &login, moment));
        Ok(self.commit(batch, AdminRefusal::Taken(format!("user {login}")), moment).await?.map(|()| id))
    }

    /// Ends every sign-in and token of the user. Returns the user, who is then sent a letter.
    pub async fn set_password(
        &self,
        passwords: &Passwords,
        login: &str,
        password: &Presented<Password>,
        moment: &mut Moment<'_>,
    ) -> Answer<User, AdminRefusal> {
        let user = match self.find_user(login).await? {
            Ok(user) => user,
            Err(refusal) => return Ok(Err(refusal)),
        };
        match passwords.accept(password, &user).await? {
            Ok(accepted) => self.put_password(passwords, user, accepted, moment).await,
            Err(weakness) => Ok(Err(weakness.into())),
        }
    }

    /// As [`Self::set_password`], but accepts a password that breaks the rule. Returns the weakness too.
    pub async fn set_weak_password(
        &self,
        passwords: &Passwords,
        login: &str,
        password: &Presented<Password>,
        moment: &mut Moment<'_>,
    ) -> Answer<(User, Option<Weakness>), AdminRefusal> {
        let user = match self.find_user(login).await? {
            Ok(user) => user,
            Err(refusal) => return Ok(Err(refusal)),
        };
        match passwords.accept_weak(password, &user).await? {
            Ok((accepted, overridden)) => {
                Ok(self.put_password(passwords, user, accepted, moment).await?.map(|user| (user, overridden)))
            }
            Err(limit) => Ok(Err(limit.into())),
        }
    }

    async fn put_password(
        &self,
        passwords: &Passwords,
        user: User,
        password: AcceptedPassword,
        moment: &mut Moment<'_>,
    ) -> Answer<User, AdminRefusal> {
        let mut salt = [0; 16];
        moment.rng.fill(&mut salt);
        let hash = passwords.hash(password, salt).await?;
        let mut batch = Batch::from(vec![
            self.store.set_password(&user, &hash, moment.now),
            self.event_about("set-password", user.id, &user.login, moment),
        ]);
        batch.append(ending_user(&self.store, user.id, moment));
        Ok(self.commit(batch, AdminRefusal::Overtaken, moment).await?.map(|()| user))
    }

    /// Disabling a user ends all their sign-ins and tokens at once.
    pub async fn set_user_enabled(
        &self,
        login: &str,
        enabled: bool,
        moment: &mut Moment<'_>,
    ) -> Answer<(), AdminRefusal> {
        let user = match self.find_user(login).await? {
            Ok(user) => user,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let what = if enabled { "enable-user" } else { "disable-user" };
        let mut batch = Batch::from(vec![
            self.store.set_user_enabled(&user, enabled, moment.now),
            self.event_about(what, user.id, &user.login, moment),
        ]);
        batch.append(ending_user(&self.store, user.id, moment));
        self.commit(batch, AdminRefusal::Overtaken, moment).await
    }

    /// Creates the application. A Confidential one gets its first secret, which is returned once and stored as a
    /// digest.
    pub async fn create_application(
        &self,
        record: ApplicationRecord,
        secret: Option<&Presented<ClientSecret>>,
        moment: &mut Moment<'_>,
    ) -> Answer<(TrustedApplication, Vec<String>), AdminRefusal> {
        let id = ApplicationId(moment.id());
        let secrets: Vec<Secret> =
            secret.map(|secret| new_secret(secret.digest(), "first", None, moment)).into_iter().collect();
        let system_user = match record.system_user {
            Some(user) => self.store.user(UserId(user)).await?,
            None => None,
        };
        let registration = Registration::new(id, secrets.clone());
        let accepted = match record.check(registration, system_user.as_ref()) {
            Ok(accepted) => accepted,
            Err(problems) => return Ok(Err(AdminRefusal::Invalid(problems))),
        };
        let application = accepted.application;
        self.prepare_keys(application.own_algorithms(), moment).await?;
        let mut batch = Batch::new().with(self.store.insert_application(&application, moment.now));
        batch.extend(secrets.iter().map(|secret| self.insert_secret(id, secret, moment.now)));
        batch.push(self.event("create-application", application.uri.as_str(), moment));
        batch.announce(changed(application.id), moment.now);
        let taken = AdminRefusal::Taken(format!("application {}", application.uri));
        Ok(self.commit(batch, taken, moment).await?.map(|()| (application, accepted.warnings)))
    }

    /// Enables or disables the application. Disabling takes effect at once, also for tokens already issued.
    pub async fn set_application_enabled(
        &self,
        uri: &str,
        enabled: bool,
        moment: &mut Moment<'_>,
    ) -> Answer<TrustedApplication, AdminRefusal> {
        let mut application = match self.application(uri).await? {
            Ok(application) => application,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let ends_tokens = application.enabled && !enabled;
        if let Err(problems) = application.switch(enabled) {
            return Ok(Err(AdminRefusal::Invalid(problems)));
        }
        let what = if enabled { "enable-application" } else { "disable-application" };
        let mut batch = Batch::from(vec![
            self.store.update_application(&application, ends_tokens),
            self.event(what, application.uri.as_str(), moment),
        ]);
        if ends_tokens {
            batch.append(self.removal_batch(&application, moment));
        } else {
            batch.announce(changed(application.id), moment.now);
        }
        Ok(self.commit(batch, AdminRefusal::Overtaken, moment).await?.map(|()| application))
    }
}

pub(crate) fn new_secret(
    digest: Digest<ClientSecret>,
    label: &str,
    expires_at: Option<Timestamp>,
    moment: &mut Moment<'_>,
) -> Secret {
    Secret { id: moment.id().to_string(), label: label.to_owned(), digest, created_at: moment.now, expires_at }
}

/// 256 random bits cannot be guessed, so a fast digest is enough to store them.
pub fn draw_secret(moment: &mut Moment<'_>) -> Presented<ClientSecret> {
    Presented::new(URL_SAFE_NO_PAD.encode(moment.rng.secret()))
}
