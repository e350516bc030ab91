use std::sync::Arc;
use std::time::Duration;

use flows::BelievedInstance;
use flows::admin::operations::{AdminAuthority as _, AdminOperation, Delivery, OperationContext};
use flows::admin::{AdminRefusal, ElevatedAdminService};
use flows::audit::VerificationResult;
use flows::{Answer, Database, DefaultInstance, InstanceLocation, MasterKey, Platform as _, Server};
use model::application::record::ApplicationRecord;
use model::audit::chain::Chain;
use model::mail::EmailAddress;
use model::{Login, Moment, Rng, RootUrl, Timestamp, User};
use oauth::secret::Presented;
use serde_json::Value;
use store::faults::FaultInjector;
use store::{Batch, Change, ChangeKind, CommitOutcome, Store};
use tokio::sync::OnceCell;
use web::server::TrustedProxies;
use web::{AppState, HttpService};

use crate::test_database::MASTER_KEY;
use crate::{App, Backup, Browser, Client, HeldWriter, TestDatabase, TestPlatform};

const HTTP_ROOTS: [&str; 2] = ["http://localhost:8080", "http://demodb.localhost:8080"];
const DEFAULT: Option<DefaultInstance<'_>> = Some(DefaultInstance::OfEveryHost("testdb"));

/// The demo's two instances behind the router, as a listener would serve them.
pub struct TestServer {
    pub server: Arc<Server>,
    platform: Arc<TestPlatform>,
    doors: HttpService,
    roots: [String; 2],
    /// The database as opened by another process: the command line.
    beside: OnceCell<Database>,
    master: MasterKey,
    // Dropped last, because the database is open until then.
    place: TestDatabase,
}

/// An audit event with all its columns.
#[derive(Clone, Debug)]
pub struct AuditRow {
    pub kind: String,
    pub outcome: String,
    pub reason: String,
    pub application: String,
    pub user: String,
    pub token: String,
    pub session: String,
    pub address: String,
    /// Address of the earlier request that this one repeated.
    pub earlier_address: String,
    /// All columns, including those without a field here.
    pub columns: Vec<String>,
}

impl AuditRow {
    /// The number of events that this record stands for: one record may hold many refusals.
    pub fn times(&self) -> u64 {
        let detail = self.columns.last().and_then(|detail| serde_json::from_str::<Value>(detail).ok());
        detail.and_then(|detail| detail["folded"].as_u64()).unwrap_or(1)
    }
}

fn usual_key() -> MasterKey {
    MasterKey::new(&MASTER_KEY)
}

impl TestServer {
    pub async fn open() -> Self {
        Self::on(TestDatabase::sqlite().await).await
    }

    pub async fn on(place: TestDatabase) -> Self {
        Self::start(place, TestPlatform::new(), HTTP_ROOTS, DEFAULT).await
    }

    /// No instance answers for unknown hosts.
    pub async fn without_default() -> Self {
        Self::start(TestDatabase::sqlite().await, TestPlatform::new(), HTTP_ROOTS, None).await
    }

    /// Like the demo: unknown loopback hosts are answered, other unknown hosts are not.
    pub async fn answering_loopback() -> Self {
        let default = Some(DefaultInstance::OfLoopback("testdb"));
        Self::start(TestDatabase::sqlite().await, TestPlatform::new(), HTTP_ROOTS, default).await
    }

    /// Both instances under https root URLs.
    pub async fn under_https() -> Self {
        let roots = ["https://testdb.example.test", "https://demodb.example.test"];
        Self::start(TestDatabase::sqlite().await, TestPlatform::new(), roots, DEFAULT).await
    }

    /// Opens and migrates a database that an earlier version wrote, at the time when it was written.
    pub async fn resumed(place: TestDatabase, now: Timestamp) -> Self {
        let database = place.open().await;
        database.migrate().await.expect("the database of an earlier version migrates");
        database.close().await;
        Self::start(place, TestPlatform::resumed(now), HTTP_ROOTS, DEFAULT).await
    }

    /// Stops the server cleanly. Then an operator disables an application, and no process seals that event.
    pub async fn closed_before_disabling(self, uri: &str) -> TestDatabase {
        self.server.close().await;
        let mut rng = self.rng();
        let done = self.operator().await.set_application_enabled(uri, false, &mut self.moment(&mut rng)).await;
        done.expect("the database answers").expect("it is registered");
        self.beside().await.close().await;
        self.place
    }

    async fn start(
        place: TestDatabase,
        platform: Arc<TestPlatform>,
        roots: [&str; 2],
        default: Option<DefaultInstance<'_>>,
    ) -> Self {
        Box::pin(Self::start_under(usual_key, place, platform, roots, default)).await
    }

    async fn start_under(
        master: fn() -> MasterKey,
        place: TestDatabase,
        platform: Arc<TestPlatform>,
        roots: [&str; 2],
        default: Option<DefaultInstance<'_>>,
    ) -> Self {
        Self::start_over(place.open().await, master, place, platform, roots, default).await
    }

    /// A server whose commits and reads can be made to fail, whose background tasks do not run by themselves, and whose
    /// password hashes are cheap.
    pub async fn under_faults(place: TestDatabase, injector: &Arc<FaultInjector>) -> Self {
        let database = place.open().await.with_faults(Arc::clone(injector));
        let platform = TestPlatform::of_cheap_passwords();
        let server = Self::start_over(database, usual_key, place, platform, HTTP_ROOTS, DEFAULT).await;
        server.server.end_tasks().await;
        server
    }

    async fn start_over(
        database: Database,
        master: fn() -> MasterKey,
        place: TestDatabase,
        platform: Arc<TestPlatform>,
        roots: [&str; 2],
        default: Option<DefaultInstance<'_>>,
    ) -> Self {
        let site = |name: &str, root: &str| InstanceLocation {
            name: name.to_owned(),
            root: RootUrl::parse(root).expect("a root URL of the tests"),
            hosts: Vec::new(),
        };
        let sites = vec![site("testdb", roots[0]), site("demodb", roots[1])];
        let server = Box::pin(Server::open(database, master(), sites, default, platform.clone()));
        let server = server.await.expect("the server opens");
        let doors = HttpService::new(AppState::new(server.clone(), TrustedProxies::default()));
        let roots = roots.map(str::to_owned);
        Self { server, platform, doors, roots, beside: OnceCell::new(), master: master(), place }
    }

    /// Stops the server cleanly and starts another on the same database.
    pub async fn restarted(self) -> Self {
        self.restarted_under(usual_key).await
    }

    /// Likewise, with another master key.
    pub async fn restarted_under(self, master: fn() -> MasterKey) -> Self {
        self.server.close().await;
        let roots = self.roots.each_ref().map(String::as_str);
        Box::pin(Self::start_under(master, self.place, self.platform, roots, DEFAULT)).await
    }

    /// Stops the server cleanly. No server runs until [`Self::started`].
    pub async fn stopped(self) -> Self {
        self.server.close().await;
        self
    }

    /// Starts another server after [`Self::stopped`].
    pub async fn started(self) -> Self {
        self.beside().await.close().await;
        let roots = self.roots.each_ref().map(String::as_str);
        Self::start(self.place, self.platform, roots, DEFAULT).await
    }

    /// The database as another process opens it. The server learns of changes made here by the change feed.
    pub async fn beside(&self) -> &Database {
        self.beside.get_or_init(|| Box::pin(self.place.open())).await
    }

    /// See [`TestDatabase::hold_writers`].
    pub async fn hold_writers(&self) -> HeldWriter {
        self.place.hold_writers().await
    }

    /// See [`TestDatabase::back_up`].
    pub async fn back_up(&self) -> Backup {
        self.place.back_up().await
    }

    /// See [`TestDatabase::restore`].
    pub async fn restore(&self, backup: &Backup) {
        self.place.restore(backup).await;
    }

    /// A client of `testdb`.
    pub fn client(&self) -> Client {
        self.client_at(0)
    }

    /// A client of `testdb` at another node.
    pub fn client_of(&self, node: &Arc<Server>) -> Client {
        Client { doors: HttpService::new(AppState::new(Arc::clone(node), TrustedProxies::default())), ..self.client() }
    }

    fn client_at(&self, instance: usize) -> Client {
        let peer = ([192, 0, 2, 1], 50_000).into();
        Client { doors: self.doors.clone(), root: self.roots[instance].clone(), peer, watch: None }
    }

    /// A client of `demodb`.
    pub fn other_client(&self) -> Client {
        self.client_at(1)
    }

    pub fn browser(&self, login: &str) -> Browser {
        Browser::new(self.client(), login)
    }

    pub fn browser_at_other(&self, login: &str) -> Browser {
        Browser::new(self.other_client(), login)
    }

    pub fn app(&self, uri: &str) -> App {
        App::of_the_demo(self.client(), uri)
    }

    pub fn app_at_other(&self, uri: &str) -> App {
        App::of_the_demo(self.other_client(), uri)
    }

    pub fn now(&self) -> Timestamp {
        self.platform.now()
    }

    pub fn advance(&self, span: Duration) {
        self.platform.advance(span);
    }

    pub fn set_clock(&self, now: Timestamp) {
        self.platform.set(now);
    }

    /// Memory applies changes by administrators, and required signing keys are created.
    pub async fn catch_up(&self) {
        self.server.catch_up().await.expect("the feed can be read");
        self.server.maintain_keys().await.expect("the database answers");
    }

    /// An instance by name, for flows that decide by its memory.
    pub async fn believed(&self, name: &str) -> BelievedInstance {
        let instance =
            self.server.instances().iter().find(|instance| instance.info.name == name).expect("the demo has it");
        let believed = BelievedInstance::of(Arc::clone(instance), self.now()).await;
        believed.unwrap_or_else(|(_, fault)| panic!("memory is behind: {fault:?}"))
    }

    /// Runs the tick, which acts on due timers.
    pub async fn tick(&self) {
        self.server.tick().await.expect("the database answers");
    }

    /// Seals every answered request's events, and signs the chain if a minute has passed.
    pub async fn seal(&self) {
        self.tick().await;
        self.server.seal().await.expect("the database answers");
    }

    /// Another node on the same database.
    pub async fn another_node(&self) -> Arc<Server> {
        self.another_node_under(MasterKey::new(&MASTER_KEY)).await
    }

    /// Likewise, with another master key.
    pub async fn another_node_under(&self, master: MasterKey) -> Arc<Server> {
        let root = self.roots[0].as_str();
        let root = RootUrl::parse(root).expect("a root URL");
        let site = InstanceLocation { name: "testdb".to_owned(), root, hosts: Vec::new() };
        let database = self.place.open().await;
        let server = Box::pin(Server::open(database, master, vec![site], None, self.platform.clone()));
        server.await.expect("the server opens")
    }

    pub fn platform(&self) -> &TestPlatform {
        &self.platform
    }

    /// The store of `testdb`.
    pub async fn store(&self) -> Store {
        let database = self.beside().await;
        let instances = database.instances().await.expect("instances can be read");
        let testdb = instances.into_iter().find(|instance| instance.name == "testdb").expect("testdb is there");
        Store::new(database.clone(), testdb.id)
    }

    /// Verifies the chain of refused unauthenticated requests at `testdb`.
    pub async fn verify_refusals(&self) -> VerificationResult {
        let operator = self.operator().await;
        let reader = operator.audit_reader_of(Chain::Refusals, &self.master).await.expect("the database answers");
        let verdict = reader.verify(&[], |_, _| ()).await;
        verdict.expect("the database answers").expect("no checkpoints")
    }

    /// Verifies the audit of `testdb`.
    pub async fn verify_audit(&self) -> VerificationResult {
        self.verify_audit_against(&[]).await
    }

    /// Likewise, against checkpoints that were stored elsewhere.
    pub async fn verify_audit_against(&self, checkpoints: &[String]) -> VerificationResult {
        let operator = self.operator().await;
        let verdict = operator.audit_reader(&self.master).verify(checkpoints, |_, _| ()).await;
        verdict.expect("the database answers").expect("checkpoints of this instance")
    }

    /// Runs maintenance: key rotation, sweeps and expiry.
    pub async fn tidy(&self) {
        self.server.maintain().await.expect("the database answers");
        self.server.maintain_keys().await.expect("the database answers");
    }

    /// An administrator of `testdb`, as at the command line beside a running server.
    pub async fn operator(&self) -> ElevatedAdminService<'_> {
        self.office_at("testdb").await
    }

    /// Likewise for `demodb`.
    pub async fn office_at_other(&self) -> ElevatedAdminService<'_> {
        self.office_at("demodb").await
    }

    /// Opens the administration of `demodb`, which may fail.
    pub async fn other_office(&self) -> Result<(), flows::Fault> {
        ElevatedAdminService::open(self.beside().await, &self.master, "demodb").await.map(|_| ())
    }

    pub async fn office_at(&self, instance: &str) -> ElevatedAdminService<'_> {
        let operator = ElevatedAdminService::open(self.beside().await, &self.master, instance).await;
        operator.expect("the database answers").expect("the demo has it")
    }

    /// Reads the clock once, with the given randomness, for administration flows.
    pub fn moment<'a>(&self, rng: &'a mut Box<dyn Rng>) -> Moment<'a> {
        Moment { now: self.platform.now(), rng: &mut **rng }
    }

    pub fn rng(&self) -> Box<dyn Rng> {
        self.platform.rng()
    }

    /// Runs an operation as a command does.
    pub async fn run<O: AdminOperation>(&self, input: O::Input) -> O::Output {
        let (operator, mut rng, passwords) = (self.operator().await, self.rng(), flows::Passwords::new());
        let root = RootUrl::parse("http://localhost:8080").expect("a loopback address");
        let moment = self.moment(&mut rng);
        let mut context = OperationContext {
            service: O::Authority::of(operator.plain(), moment.now).expect("the operator needs no sign-in"),
            moment,
            passwords: &passwords,
            master: &self.master,
            delivery: Delivery::Shown(Some(&root)),
        };
        let done = O::run(&mut context, input).await.expect("the database answers").expect("it is allowed");
        self.catch_up().await;
        done
    }

    /// All users of `testdb`.
    pub async fn users(&self) -> Vec<User> {
        let rows = self.operator().await.users_after("", 1000).await.expect("users can be read");
        rows.into_iter().map(|row| row.user).collect()
    }

    pub async fn enable_app(&self, uri: &str, enabled: bool) {
        let mut rng = self.rng();
        let done = self.operator().await.set_application_enabled(uri, enabled, &mut self.moment(&mut rng)).await;
        done.expect("the database answers").expect("it is registered");
        self.catch_up().await;
    }

    pub async fn enable_user(&self, login: &str, enabled: bool) {
        let mut rng = self.rng();
        let done = switch_user(&self.operator().await, login, enabled, &mut self.moment(&mut rng)).await;
        done.expect("the database answers").expect("the user is there");
        self.catch_up().await;
    }

    pub async fn set_password(&self, login: &str, password: &str) {
        let (mut rng, passwords) = (self.rng(), flows::Passwords::new());
        let password = Presented::new(password);
        let done = self.operator().await.set_password(&passwords, login, &password, &mut self.moment(&mut rng)).await;
        done.expect("the database answers").expect("a good password");
        self.catch_up().await;
    }

    /// An administrator changes the user's e-mail address.
    pub async fn set_email(&self, login: &str, address: &str) {
        let store = self.store().await;
        let login = Login::parse(login).expect("a login");
        let (user, _) = store.user_by_login(&login).await.expect("the database answers").expect("the user is there");
        let address = EmailAddress::parse(address).expect("an address");
        let mut batch = Batch::new().with(store.set_email(&user, &address, self.now()));
        batch.announce(Change { kind: ChangeKind::User, subject: user.id.0 }, self.now());
        assert_eq!(store.commit(batch).await.expect("the database answers"), CommitOutcome::Committed);
        self.catch_up().await;
    }

    /// Registers an application from its record. A `secret` makes it Confidential.
    pub async fn register(&self, record: Value, secret: Option<&str>) -> App {
        let record: ApplicationRecord = serde_json::from_value(record).expect("a record");
        let redirect_uri = record.impersonate_login_url.first().cloned().unwrap_or_default();
        let (mut rng, uri) = (self.rng(), record.application_uri.clone());
        let shown = secret.map(Presented::new);
        let done = self.operator().await.create_application(record, shown.as_ref(), &mut self.moment(&mut rng)).await;
        done.expect("the database answers").expect("a good record");
        self.catch_up().await;
        App { client: self.client(), uri, secret: secret.map(str::to_owned), redirect_uri }
    }

    /// Registers the admin API's application as documented, at `testdb` for `admin`.
    pub async fn manager(&self) -> App {
        self.manager_of(&self.operator().await, self.client()).await
    }

    /// Likewise at `demodb`.
    pub async fn manager_at_other(&self) -> App {
        self.manager_of(&self.office_at_other().await, self.other_client()).await
    }

    async fn manager_of(&self, operator: &ElevatedAdminService<'_>, client: Client) -> App {
        let (uri, secret, redirect_uri) = ("manager", "manager-secret", "http://localhost:3000/manager-callback");
        if operator.application(uri).await.expect("the database answers").is_err() {
            let admin = operator.user_by_name("admin").await.expect("the database answers").expect("the demo has one");
            let record = serde_json::json!({
                "ApplicationUri": uri, "Name": "Manager", "ClientType": "Confidential", "Scope": "manage",
                "ImpersonateAsInternalUserAllowed": true, "ImpersonateLoginUrl": [redirect_uri],
                "SystemUserAllowed": true, "SystemUser": admin.user.id.0, "AccessTokens": "AdministratorsOnly",
            });
            let record: ApplicationRecord = serde_json::from_value(record).expect("a record");
            let (mut rng, secret) = (self.rng(), Presented::new(secret));
            let made = operator.create_application(record, Some(&secret), &mut self.moment(&mut rng)).await;
            made.expect("the database answers").expect("a good record");
            self.catch_up().await;
        }
        App { client, uri: uri.to_owned(), secret: Some(secret.to_owned()), redirect_uri: redirect_uri.to_owned() }
    }

    /// All audit events of `testdb`, oldest first. The server is closed first, so that every event is written.
    pub async fn audit(self) -> Vec<AuditRow> {
        self.server.close().await;
        let database = self.place.open().await;
        let instances = database.instances().await.expect("instances can be read");
        let testdb = instances.into_iter().find(|instance| instance.name == "testdb").expect("testdb is there");
        let store = Store::new(database, testdb.id);
        let mut events = Vec::new();
        for chain in Chain::ALL {
            let sealed = flows::audit::sealed_trail(&store.with_chain(chain)).await;
            events.extend(sealed.expect("the audit can be read"));
        }
        events.sort_by_key(|event| event.at);
        let rows = events.into_iter().map(|event| {
            let [application, user, token, session] =
                [event.application, event.user, event.token, event.session].map(Option::unwrap_or_default);
            let [address, earlier_address] =
                [&event.address, &event.earlier_address].map(|text| text.clone().unwrap_or_default());
            let who = [event.actor, event.login, event.address, event.user_agent];
            let more = who.into_iter().chain([event.earlier_address, event.earlier_user_agent]);
            let more = more.chain([event.request, event.detail]);
            let known = [&event.kind, &event.outcome, &event.reason, &application, &user, &token, &session];
            let columns = known.into_iter().cloned().chain(more.map(Option::unwrap_or_default)).collect();
            let (kind, outcome, reason) = (event.kind, event.outcome, event.reason);
            AuditRow { kind, outcome, reason, application, user, token, session, address, earlier_address, columns }
        });
        rows.collect()
    }
}

/// Enables or disables a user, as an administrator does.
pub async fn switch_user(
    operator: &ElevatedAdminService<'_>,
    login: &str,
    enabled: bool,
    moment: &mut Moment<'_>,
) -> Answer<(), AdminRefusal> {
    let row = match operator.user_by_name(login).await? {
        Ok(row) => row,
        Err(refusal) => return Ok(Err(refusal)),
    };
    Ok(operator.switch_user(&row, enabled, moment).await?.map(|_| ()))
}

/// Changes a setting by its name and text, as the command line does.
pub async fn change_setting(
    operator: &ElevatedAdminService<'_>,
    name: &str,
    value: &str,
    moment: &mut Moment<'_>,
) -> Answer<(), AdminRefusal> {
    let current = operator.settings_as_read().await?;
    let changed = match current.settings.with(name, value) {
        Ok(changed) => serde_json::to_value(changed).expect("settings are JSON"),
        Err(problem) => return Ok(Err(AdminRefusal::Invalid(vec![problem]))),
    };
    let patch = [(name.to_owned(), changed[name].clone())].into_iter().collect();
    Ok(operator.change_settings(&current, patch, moment).await?.map(|_| ()))
}
