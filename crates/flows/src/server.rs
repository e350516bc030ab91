//! The server: all instances of the process, and the background tasks that maintain them.

mod background;
mod figures;
mod flushing;
mod following;
pub mod health;
mod instance;
mod instance_admin;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use model::audit::chain::Chain;
use model::fair::FairReceiver;
use model::{HostName, InstanceId, Moment, RootUrl};
use store::Database;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio::time::Instant;

pub use self::figures::SeatFigures;
use self::following::FeedFollower;
use self::instance::SharedServices;
pub use self::instance::{BelievedInstance, Instance};
pub use self::instance_admin::InstanceAdmin;
use crate::audit::{CheckpointPublisher, PublishedCheckpoint};
use crate::auth::reset_requests::{ResetRequest, reset_queue};
use crate::auth::throttle::AttemptQueue;
use crate::platform::Platform;
use crate::platform::fault_log::FaultLog;
use crate::platform::feed_health::FeedHealth;
use crate::platform::outbox::{Outbox, OutboxReader};
use crate::platform::tasks::{PanicCounts, StopSignal, TaskTimes, supervise};
use crate::server::health::WriteProbe;
use crate::{Fault, FaultKind, MasterKey, Passwords};

/// Where an instance is reachable. It comes from configuration, never from a request header.
pub struct InstanceLocation {
    pub name: String,
    pub root: RootUrl,
    /// Further host names of the instance.
    pub hosts: Vec<HostName>,
}

/// The instance that answers for hosts that no instance claims.
#[derive(Clone, Copy, Debug)]
pub enum DefaultInstance<'a> {
    OfEveryHost(&'a str),
    /// Answers loopback names only. Under DNS rebinding to 127.0.0.1, a page of another site still sends its own host
    /// name and gets no answer.
    OfLoopback(&'a str),
}

impl DefaultInstance<'_> {
    const fn name(&self) -> &str {
        match self {
            Self::OfEveryHost(name) | Self::OfLoopback(name) => name,
        }
    }
}

pub struct Server {
    database: Database,
    instances: Vec<Arc<Instance>>,
    by_host: HashMap<HostName, Arc<Instance>>,
    default: Option<DefaultRoute>,
    refused: Vec<RefusedInstance>,
    platform: Arc<dyn Platform>,
    feed: Arc<FeedHealth>,
    outbox: Arc<Outbox>,
    checkpoints: Arc<CheckpointPublisher>,
    passwords: Arc<Passwords>,
    keys_wanted: Arc<Notify>,
    panics: PanicCounts,
    /// Runs all background work of the server.
    pub(crate) runtime: tokio::runtime::Handle,
    pub(crate) turns: TaskTimes,
    pub(crate) faults: Arc<FaultLog>,
    pub(crate) probing: WriteProbe,
    /// Serialises [`Server::check_database_identity`], so that each change is detected once.
    checking: tokio::sync::Mutex<()>,
    follower: tokio::sync::Mutex<FeedFollower>,
    /// Queue of password reset requests.
    reset_requests: FairReceiver<InstanceId, ResetRequest>,
    tasks: parking_lot::Mutex<Vec<JoinHandle<()>>>,
    stopping: tokio::sync::watch::Sender<bool>,
}

/// A configured instance that cannot be served because its stored data is damaged. All others are served.
pub struct RefusedInstance {
    pub name: String,
    pub fault: Fault,
    hosts: Vec<HostName>,
    is_default: bool,
}

struct DefaultRoute {
    instance: Arc<Instance>,
    only_loopback: bool,
}

/// Delay before a background task restarts after a panic.
const RESTART_PAUSE: Duration = Duration::from_secs(1);
/// Time for the running turns of background tasks to finish when the server stops.
const LAST_TURN: Duration = Duration::from_secs(2);

impl Server {
    /// The database must be migrated, and every configured instance must exist in it.
    pub async fn open(
        database: Database,
        master: MasterKey,
        sites: Vec<InstanceLocation>,
        default: Option<DefaultInstance<'_>>,
        platform: Arc<dyn Platform>,
    ) -> Result<Arc<Self>, Fault> {
        let (queue, reset_requests) = reset_queue();
        // Read before memory is loaded, like the feed position.
        let feed = FeedHealth::new(database.is_embedded(), database.timeline().await?);
        let shared = SharedServices {
            platform: Arc::clone(&platform),
            outbox: Arc::default(),
            checkpoints: Arc::default(),
            reset_queue: queue,
            master: Arc::new(master),
            passwords: Arc::new(Passwords::costing(platform.password_cost())),
            image_decoder: crate::account::pictures::image_decoder(),
            rsa_signers: crate::memory::keys::rsa_signers(),
            attempts: AttemptQueue::new(),
            feed: Arc::new(feed),
            node: platform.rng().id(platform.now()),
            keys_wanted: Arc::default(),
            faults: Arc::default(),
            database: database.clone(),
        };
        let mut stored: HashMap<String, _> =
            database.instances().await?.into_iter().map(|instance| (instance.name.clone(), instance)).collect();
        let mut instances = Vec::new();
        let mut by_host = HashMap::new();
        let mut refused = Vec::new();
        for site in sites {
            let known = stored.remove(&site.name).ok_or_else(|| {
                let name = &site.name;
                Fault::failed(format!(
                    "instance {name} is configured but not in the database: run `gatehouse instance create {name}`"
                ))
            })?;
            let mut rng = platform.rng();
            let mut moment = Moment { now: platform.now(), rng: &mut *rng };
            let hosts: Vec<HostName> = std::iter::once(site.root.host()).chain(site.hosts).collect();
            let instance = match Box::pin(Instance::load(known, site.root, &shared, &mut moment)).await {
                Ok(instance) => Arc::new(instance),
                Err(fault) if fault.kind() == FaultKind::Failed => {
                    let is_default = default.is_some_and(|default| default.name() == site.name);
                    refused.push(RefusedInstance { name: site.name, fault, hosts, is_default });
                    continue;
                }
                Err(fault) => return Err(fault),
            };
            by_host.extend(hosts.into_iter().map(|host| (host, Arc::clone(&instance))));
            instances.push(instance);
        }
        // If no instance can be served, the cause is global: a wrong master key, for instance.
        if instances.is_empty() && !refused.is_empty() {
            return Err(refused.swap_remove(0).fault);
        }
        for RefusedInstance { name, fault, .. } in &refused {
            let fault = fault as &dyn std::error::Error;
            tracing::error!(
                fault,
                instance = %name,
                "this instance cannot be served, and is answered 503: repair it, and restart; all others are served"
            );
        }
        let default = default.and_then(|default| {
            let (name, only_loopback) = match default {
                DefaultInstance::OfEveryHost(name) => (name, false),
                DefaultInstance::OfLoopback(name) => (name, true),
            };
            let instance = instances.iter().find(|instance| instance.info.name == name).cloned()?;
            Some(DefaultRoute { instance, only_loopback })
        });
        let server = Arc::new(Self {
            database,
            instances,
            by_host,
            default,
            refused,
            platform,
            feed: shared.feed,
            outbox: shared.outbox,
            checkpoints: shared.checkpoints,
            passwords: shared.passwords,
            keys_wanted: shared.keys_wanted,
            panics: PanicCounts::default(),
            runtime: tokio::runtime::Handle::current(),
            turns: TaskTimes::new(&background::TASKS),
            faults: shared.faults,
            probing: WriteProbe::default(),
            checking: tokio::sync::Mutex::default(),
            follower: tokio::sync::Mutex::new(FeedFollower::new()),
            reset_requests,
            tasks: parking_lot::Mutex::default(),
            stopping: tokio::sync::watch::Sender::new(false),
        });
        background::start(&server);
        Ok(server)
    }

    /// Runs a background task under supervision until the server closes.
    fn keep_running<F>(
        self: &Arc<Self>,
        name: &'static str,
        task: impl Fn(Arc<Self>, StopSignal) -> F + Send + Sync + 'static,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let server = Arc::clone(self);
        let start = move || task(Arc::clone(&server), server.stopping.subscribe());
        let running = supervise(name, Arc::clone(&self.panics), RESTART_PAUSE, self.stopping.subscribe(), start);
        self.tasks.lock().push(tokio::spawn(running));
    }

    pub fn platform(&self) -> &dyn Platform {
        &*self.platform
    }

    pub fn instances(&self) -> &[Arc<Instance>] {
        &self.instances
    }

    /// By host name, without the port, in any spelling. An unclaimed host goes to the default instance, if the default
    /// covers it.
    pub fn instance(&self, host: &str) -> Option<&Arc<Instance>> {
        self.by_host.get(host).or_else(|| {
            let host = HostName::of(host)?;
            if self.refused.iter().any(|refused| refused.hosts.contains(&host)) {
                return None;
            }
            let default = || self.default.as_ref().filter(|default| !default.only_loopback || host.is_loopback());
            self.by_host.get(&host).or_else(|| default().map(|default| &default.instance))
        })
    }

    /// Configured instances that cannot be served.
    pub fn refused(&self) -> &[RefusedInstance] {
        &self.refused
    }

    /// Whether the instance for this host cannot be served.
    pub fn is_refused(&self, host: &str) -> bool {
        let is_theirs = |refused: &RefusedInstance| {
            refused.is_default || HostName::of(host).is_some_and(|host| refused.hosts.contains(&host))
        };
        self.instance(host).is_none() && self.refused.iter().any(is_theirs)
    }

    /// Whether an instance claims this host name.
    pub fn is_claimed(&self, host: &HostName) -> bool {
        self.by_host.contains_key(host)
    }

    /// From now on, e-mails to users go to the returned reader, which ends when the server closes. Without a reader,
    /// links are given to administrators.
    pub fn open_outbox(&self) -> OutboxReader {
        self.outbox.open()
    }

    /// From now on, every audit checkpoint goes to the returned receiver, which ends when the server closes.
    pub fn open_checkpoints(&self) -> mpsc::Receiver<PublishedCheckpoint> {
        self.checkpoints.open()
    }

    pub(crate) fn database(&self) -> &Database {
        &self.database
    }

    pub(crate) fn feed(&self) -> &FeedHealth {
        &self.feed
    }

    pub(crate) fn passwords(&self) -> &Passwords {
        &self.passwords
    }

    pub(crate) fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// Number of panics per background task.
    pub fn task_panics(&self) -> Vec<(&'static str, u64)> {
        self.panics.read()
    }

    pub(crate) fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    /// Handles the oldest password reset request. Waits until there is one.
    pub async fn answer_reset_request(&self) -> Result<(), Fault> {
        match self.reset_requests.recv_async().await {
            Some((id, request)) => self.handle_reset_request(id, request).await,
            None => Ok(()),
        }
    }

    async fn handle_reset_request(&self, id: InstanceId, request: ResetRequest) -> Result<(), Fault> {
        match self.instances.iter().find(|instance| instance.id() == id) {
            Some(instance) => instance.password_reset().answer(request, &mut *self.platform.rng()).await,
            None => Ok(()),
        }
    }

    /// Creates signing keys that are due and removes expired ones. One instance at a time, on a thread that yields:
    /// nothing waits for it.
    pub async fn maintain_keys(&self) -> Result<(), Fault> {
        let mut worst = Ok(());
        for instance in &self.instances {
            let mut rng = self.platform.rng();
            let mut moment = Moment { now: self.platform.now(), rng: &mut *rng };
            worst = worst.and(instance.memory.maintain_keys(&mut moment).await);
            self.turns.take("keys");
        }
        worst
    }

    /// Flushes memory to the database and closes sessions whose timers expired. Here and below, a fault of one instance
    /// does not delay the others; the first fault is returned.
    pub async fn tick(&self) -> Result<(), Fault> {
        let now = self.platform.now();
        let mut rng = self.platform.rng();
        let mut worst = self.check_database_identity().await;
        for instance in &self.instances {
            worst = worst.and(instance.flush(&mut Moment { now, rng: &mut *rng }).await);
            self.turns.take("beat");
        }
        match self.database.instances_with_due_sessions(now).await {
            Err(fault) => worst = worst.and(Err(fault)),
            Ok(due) => {
                for instance in self.instances.iter().filter(|instance| due.contains(&instance.id())) {
                    worst = worst.and(instance.memory.close_due_sessions(&mut Moment { now, rng: &mut *rng }).await);
                }
            }
        }
        worst
    }

    /// Seals the events that were committed since the last run into the audit chain.
    pub async fn seal(&self) -> Result<(), Fault> {
        self.check_database_identity().await?;
        let now = self.platform.now();
        let mut rng = self.platform.rng();
        let waiting = self.database.chains_with_unsealed_events().await?;
        let mut worst = Ok(());
        for (instance, chain) in self.instances.iter().flat_map(|instance| Chain::ALL.map(|chain| (instance, chain))) {
            let sealer = instance.audit().sealer(chain);
            if waiting.contains(&sealer.store().chain_id()) || sealer.wants_to_sign(now) {
                let done = async {
                    instance.memory.expect_known_database(now).await?;
                    sealer.tick(&mut Moment { now, rng: &mut *rng }).await
                };
                worst = worst.and(done.await);
                self.turns.take("seal");
            }
        }
        worst
    }

    /// Ends the background tasks. The server keeps answering requests; tests then run each task by hand.
    pub async fn end_tasks(&self) {
        self.stopping.send_replace(true);
        let tasks = std::mem::take(&mut *self.tasks.lock());
        let until = Instant::now() + LAST_TURN;
        for task in tasks {
            // A task that waits for the database longer must not delay the final writes.
            let _ended = tokio::time::timeout_at(until, task).await;
        }
    }

    /// Writes everything that was acknowledged, then ends all work.
    pub async fn close(&self) {
        self.end_tasks().await;
        self.outbox.close();
        let mut rng = self.platform.rng();
        for instance in &self.instances {
            let mut moment = Moment { now: self.platform.now(), rng: &mut *rng };
            if let Err(fault) = instance.flush_all(&mut moment).await {
                tracing::error!(fault = fault.causes(), "the last timers and audit events were not written");
            }
            for sealer in instance.audit().sealers() {
                if let Err(fault) = sealer.finish(&mut moment).await {
                    tracing::error!(
                        fault = fault.causes(),
                        "the last audit events were not sealed; the next start does it"
                    );
                }
            }
        }
        self.checkpoints.close();
        self.database.close().await;
    }

    /// As [`Server::close`], within a time limit. Returns whether everything was written.
    pub async fn close_within(&self, limit: Duration) -> bool {
        tokio::time::timeout(limit, self.close()).await.is_ok()
    }

    /// Audit events that are only in memory, in bytes per instance. Instances without any are omitted.
    pub fn unwritten_audit_bytes(&self) -> Vec<(&str, usize)> {
        let fills =
            self.instances.iter().map(|instance| (instance.info.name.as_str(), instance.audit_buffer_fill().waiting));
        fills.filter(|(_, waiting)| *waiting > 0).collect()
    }

    /// Detects another database server, or a new timeline of the same one. It may lack changes that its predecessor had
    /// committed, even if the feed lacks none of them. A rollback seen by one instance affects all of them, so all
    /// reload.
    async fn check_database_identity(&self) -> Result<(), Fault> {
        let _turn = self.checking.lock().await;
        let rewound: Vec<bool> =
            self.instances.iter().map(|instance| instance.memory.position.take_rewound()).collect();
        if rewound.contains(&true) {
            for (instance, _) in self.instances.iter().zip(rewound).filter(|(_, rewound)| !rewound) {
                instance.memory.position.request_reload();
            }
        }
        let Some(known) = self.feed.timeline() else { return Ok(()) };
        let Some(found) = self.database.timeline().await?.filter(|found| *found != known) else { return Ok(()) };
        tracing::warn!(known, found, "another database server answers (failover or restore): memory is read anew");
        for instance in &self.instances {
            instance.memory.position.request_reload();
        }
        self.feed.set_timeline(found);
        Ok(())
    }

    /// Deletes expired rows and forgets old revocations.
    pub async fn maintain(&self) -> Result<(), Fault> {
        let mut rng = self.platform.rng();
        let mut worst = Ok(());
        for instance in &self.instances {
            worst = worst.and(instance.maintain(self.platform.now(), &mut *rng).await);
        }
        worst
    }
}
