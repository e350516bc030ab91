//! The whole process: its instances, and the tasks that keep them true.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use model::{HostName, InstanceId, Moment, RootUrl, Timestamp};
use store::Database;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::audit::{Noticeboard, PublishedCheckpoint};
use crate::feed::Feed;
use crate::forgotten::{Forgotten, questions};
use crate::instance::{Instance, Shared};
use crate::mail::{Letters, Outbox};
use crate::tasks::{Panics, Stopping, supervise};
use crate::throttle::Throttle;
use crate::{Fault, MasterKey, Passwords};

/// Reads the clock and draws randomness; the seam through which the project's own tests bring theirs.
pub trait World: Send + Sync + 'static {
    fn now(&self) -> Timestamp;
    fn dice(&self) -> Box<dyn model::Dice>;
}

/// Where an instance is found: configuration, never a request header.
pub struct Site {
    pub name: String,
    pub root: RootUrl,
    /// Further host names it answers to.
    pub hosts: Vec<HostName>,
}

/// The instance that answers for hosts that no site claims.
#[derive(Clone, Copy, Debug)]
pub enum DefaultInstance<'a> {
    OfEveryHost(&'a str),
    /// A page of another site whose name is rebound to 127.0.0.1 still says that name, and is not answered.
    OfLoopback(&'a str),
}

pub struct House {
    database: Database,
    instances: Vec<Arc<Instance>>,
    by_host: HashMap<HostName, Arc<Instance>>,
    default: Option<Fallback>,
    world: Arc<dyn World>,
    feed: Arc<Feed>,
    outbox: Arc<Outbox>,
    checkpoints: Arc<Noticeboard>,
    passwords: Arc<Passwords>,
    keys_wanted: Arc<Notify>,
    panics: Panics,
    tasks: parking_lot::Mutex<Vec<JoinHandle<()>>>,
    stopping: tokio::sync::watch::Sender<bool>,
}

struct Fallback {
    instance: Arc<Instance>,
    only_loopback: bool,
}

/// How often memory follows what changed elsewhere, timers are looked at, and sliding timers are written down.
const BEAT: Duration = Duration::from_millis(200);
const TIDY_EVERY: u32 = 300;
/// Before a background task that panicked starts again.
const RESTART_PAUSE: Duration = Duration::from_secs(1);
/// How often somebody looks whether a signing key is due.
const KEYS_EVERY: Duration = Duration::from_mins(1);

impl House {
    /// The database must be migrated, and every site's instance must exist in it.
    pub async fn open(
        database: Database,
        master: MasterKey,
        sites: Vec<Site>,
        default: Option<DefaultInstance<'_>>,
        world: Arc<dyn World>,
    ) -> Result<Arc<Self>, Fault> {
        let (questions, asked) = questions();
        let shared = Shared {
            outbox: Arc::default(),
            checkpoints: Arc::default(),
            questions,
            master: Arc::new(master),
            passwords: Arc::new(Passwords::new()),
            drawing: crate::profile::places(),
            sign_ins_waiting: Throttle::waiting_places(),
            feed: Arc::new(Feed::new(database.is_embedded())),
            node: world.dice().id(world.now()),
            keys_wanted: Arc::default(),
            database: database.clone(),
        };
        let mut stored: HashMap<String, _> =
            database.instances().await?.into_iter().map(|instance| (instance.name.clone(), instance)).collect();
        let mut instances = Vec::new();
        let mut by_host = HashMap::new();
        for site in sites {
            let known = stored.remove(&site.name).ok_or_else(|| {
                let name = &site.name;
                Fault::failed(format!(
                    "instance {name} is configured but not in the database: run `gatehouse instance create {name}`"
                ))
            })?;
            let mut dice = world.dice();
            let mut moment = Moment { now: world.now(), dice: &mut *dice };
            let loading = Box::pin(Instance::load(known, site.root, &shared, &mut moment));
            let instance = Arc::new(loading.await?);
            by_host.insert(instance.root.host(), Arc::clone(&instance));
            for host in site.hosts {
                by_host.insert(host, Arc::clone(&instance));
            }
            instances.push(instance);
        }
        let default = default.and_then(|default| {
            let (name, only_loopback) = match default {
                DefaultInstance::OfEveryHost(name) => (name, false),
                DefaultInstance::OfLoopback(name) => (name, true),
            };
            let instance = instances.iter().find(|instance| instance.name == name).cloned()?;
            Some(Fallback { instance, only_loopback })
        });
        let house = Arc::new(Self {
            database,
            instances,
            by_host,
            default,
            world,
            feed: shared.feed,
            outbox: shared.outbox,
            checkpoints: shared.checkpoints,
            passwords: shared.passwords,
            keys_wanted: shared.keys_wanted,
            panics: Panics::default(),
            tasks: parking_lot::Mutex::default(),
            stopping: tokio::sync::watch::Sender::new(false),
        });
        let asked = Arc::new(tokio::sync::Mutex::new(asked));
        house.keep_running("follow", follow);
        house.keep_running("beat", beat);
        house.keep_running("reset-requests", move |house, stopping| answer(Arc::clone(&asked), house, stopping));
        house.keep_running("seal", seal);
        house.keep_running("keys", keep_keys);
        Ok(house)
    }

    /// Runs a background task under supervision until the house closes.
    fn keep_running<F>(
        self: &Arc<Self>,
        name: &'static str,
        task: impl Fn(Arc<Self>, Stopping) -> F + Send + Sync + 'static,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let house = Arc::clone(self);
        let start = move || task(Arc::clone(&house), house.stopping.subscribe());
        let running = supervise(name, (Arc::clone(&self.panics), RESTART_PAUSE), self.stopping.subscribe(), start);
        self.tasks.lock().push(tokio::spawn(running));
    }

    pub fn world(&self) -> &dyn World {
        &*self.world
    }

    pub fn instances(&self) -> &[Arc<Instance>] {
        &self.instances
    }

    /// By host name, without the port and in any spelling; a host that nobody claims goes to the default instance, if
    /// there is one for it.
    pub fn instance(&self, host: &str) -> Option<&Arc<Instance>> {
        self.by_host.get(host).or_else(|| {
            let host = HostName::of(host)?;
            let default = || self.default.as_ref().filter(|default| !default.only_loopback || host.is_loopback());
            self.by_host.get(&host).or_else(|| default().map(|default| &default.instance))
        })
    }

    /// Does some instance name this host as its own?
    pub fn is_claimed(&self, host: &HostName) -> bool {
        self.by_host.contains_key(host)
    }

    /// From now on letters to people go to the answer, which ends when the house is closed. Without it links are given
    /// to administrators.
    pub fn open_outbox(&self) -> Letters {
        self.outbox.open()
    }

    /// From now on every checkpoint of the audit goes to the answer, which ends when the house is closed.
    pub fn open_checkpoints(&self) -> mpsc::Receiver<PublishedCheckpoint> {
        self.checkpoints.open()
    }

    /// The database is of an earlier time than this process knows: a standby that was behind took over, or a backup was put
    /// back under it.
    pub fn database_went_back(&self) {
        for instance in &self.instances {
            instance.sealer.database_went_back();
        }
    }

    pub(crate) fn database(&self) -> &Database {
        &self.database
    }

    pub(crate) fn feed(&self) -> &Feed {
        &self.feed
    }

    pub(crate) fn passwords(&self) -> &Passwords {
        &self.passwords
    }

    pub(crate) fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// How often background tasks panicked, by task.
    pub fn task_panics(&self) -> Vec<(&'static str, u64)> {
        self.panics.read()
    }

    /// Can the database be asked? For readiness.
    pub async fn is_ready(&self) -> bool {
        self.database.feeds().await.is_ok()
    }

    /// Memory follows everything that was committed before this call.
    pub async fn catch_up(&self) -> Result<(), Fault> {
        let mut worst = Ok(());
        for instance in &self.instances {
            worst = worst.and(instance.follow(self.world.now()).await);
        }
        worst
    }

    /// Signing keys that are due are made, and those that are over go. One at a time, on a thread that gives way: nothing
    /// waits for it.
    pub async fn keep_keys(&self) -> Result<(), Fault> {
        let mut worst = Ok(());
        for instance in &self.instances {
            let mut dice = self.world.dice();
            let mut moment = Moment { now: self.world.now(), dice: &mut *dice };
            worst = worst.and(instance.keep_keys(&mut moment).await);
        }
        worst
    }

    /// What memory learnt is written down, and timers that are due are acted on. One instance's fault keeps no other
    /// waiting, here and below; the first is told of.
    pub async fn beat(&self) -> Result<(), Fault> {
        let now = self.world.now();
        let mut dice = self.world.dice();
        let mut worst = Ok(());
        for instance in &self.instances {
            worst = worst.and(instance.flush(&mut Moment { now, dice: &mut *dice }).await);
        }
        match self.database.instances_with_due_sessions(now).await {
            Err(fault) => worst = worst.and(Err(fault)),
            Ok(due) => {
                for instance in self.instances.iter().filter(|instance| due.contains(instance.store.instance())) {
                    worst = worst.and(instance.close_due_sessions(&mut Moment { now, dice: &mut *dice }).await);
                }
            }
        }
        worst
    }

    /// What was committed since the last beat comes into the audit's chain.
    pub async fn seal(&self) -> Result<(), Fault> {
        let now = self.world.now();
        let mut dice = self.world.dice();
        let waiting = self.database.instances_with_unsealed_events().await?;
        let mut worst = Ok(());
        for instance in &self.instances {
            if waiting.contains(instance.store.instance()) || instance.sealer.wants_to_sign(now) {
                worst = worst.and(instance.sealer.beat(&mut Moment { now, dice: &mut *dice }).await);
            }
        }
        worst
    }

    /// Everything answered is written; nothing runs on.
    pub async fn close(&self) {
        self.stopping.send_replace(true);
        let tasks = std::mem::take(&mut *self.tasks.lock());
        for task in tasks {
            let _ended = task.await;
        }
        self.outbox.close();
        let mut dice = self.world.dice();
        for instance in &self.instances {
            let mut moment = Moment { now: self.world.now(), dice: &mut *dice };
            if let Err(fault) = instance.flush_all(&mut moment).await {
                tracing::error!(%fault, "the last timers and audit events were not written");
            }
            if let Err(fault) = instance.sealer.finish(&mut moment).await {
                tracing::error!(%fault, "the last audit events were not sealed; the next start does it");
            }
        }
        self.checkpoints.close();
        self.database.close().await;
    }

    /// A fault of one instance takes the trust in memory from that instance alone.
    async fn follow_changes(&self, follower: &mut Follower) -> Result<(), Fault> {
        let begun = Instant::now();
        follower.behind |= self.database.changed_elsewhere().await?;
        if !follower.behind && !self.instances.iter().any(|instance| instance.following.is_behind()) {
            return Ok(());
        }
        let mut worst = Ok(());
        for (id, newest) in self.database.feeds().await? {
            let found = self.instances.iter().find(|instance| *instance.store.instance() == id);
            let Some(instance) = found else { continue };
            if follower.seen.get(&id) == Some(&newest) && !instance.following.is_behind() {
                continue;
            }
            let done = instance.follow(self.world.now()).await;
            match &done {
                Ok(()) => {
                    follower.seen.insert(id, newest);
                }
                Err(_) => instance.following.mark_behind(),
            }
            worst = worst.and(done);
        }
        follower.behind = worst.is_err();
        self.feed.followed(begun);
        worst
    }

    /// Dead rows are swept, old kills forgotten.
    pub async fn tidy(&self) -> Result<(), Fault> {
        let mut dice = self.world.dice();
        let mut worst = Ok(());
        for instance in &self.instances {
            worst = worst.and(instance.tidy(self.world.now(), &mut *dice).await);
        }
        worst
    }
}

/// How far memory has followed the change feed.
struct Follower {
    seen: HashMap<InstanceId, i64>,
    behind: bool,
}

/// Waits for the next beat; whether there is one.
async fn beats(stopping: &mut Stopping) -> bool {
    tokio::time::timeout(BEAT, stopping.wait_for(|stop| *stop)).await.is_err()
}

/// Says once when something stops working.
fn tell(well: &mut bool, done: Result<(), Fault>, what: &str) {
    match done {
        Ok(()) => *well = true,
        Err(fault) => {
            if std::mem::take(well) {
                tracing::error!(%fault, "{what}");
            }
        }
    }
}

/// Apart from everything else that beats: a kill must not wait until timers are written down.
async fn follow(house: Arc<House>, mut stopping: Stopping) {
    // Behind from the start: what changed between loading and now was nobody's to tell.
    let mut follower = Follower { seen: HashMap::new(), behind: true };
    let mut well = true;
    while beats(&mut stopping).await {
        let done = house.follow_changes(&mut follower).await;
        tell(&mut well, done, "the database does not answer; memory may be behind");
    }
}

async fn beat(house: Arc<House>, mut stopping: Stopping) {
    let mut well = true;
    for beat in 1_u32.. {
        if !beats(&mut stopping).await {
            return;
        }
        let done = async {
            let beaten = house.beat().await;
            let tidied = if beat.is_multiple_of(TIDY_EVERY) { house.tidy().await } else { Ok(()) };
            beaten.and(tidied)
        };
        tell(&mut well, done.await, "the database does not answer; timers wait to be written down");
    }
}

/// Forgotten passwords are looked into one after another, away from the requests that told of them. What waits when the
/// house stops is asked again by its people.
async fn answer(asked: Arc<tokio::sync::Mutex<mpsc::Receiver<Forgotten>>>, house: Arc<House>, mut stopping: Stopping) {
    let mut asked = asked.lock().await;
    loop {
        let question = tokio::select! {
            question = asked.recv() => question,
            _ = stopping.wait_for(|stop| *stop) => None,
        };
        let Some(question) = question else { return };
        if let Err(fault) = question.answer(&mut *house.world.dice()).await {
            tracing::error!(%fault, "a forgotten password could not be looked into");
        }
    }
}

/// Apart from the beat: what is sealed late is late for nobody but the auditor.
async fn seal(house: Arc<House>, mut stopping: Stopping) {
    let mut well = true;
    while beats(&mut stopping).await {
        tell(&mut well, house.seal().await, "the audit is not sealed");
    }
}

/// Apart from everything else: an RSA key is a search for primes.
async fn keep_keys(house: Arc<House>, mut stopping: Stopping) {
    let mut well = true;
    loop {
        // Many keys may be due at once: a server that stops does not wait until all are made.
        tokio::select! {
            done = house.keep_keys() => tell(&mut well, done, "signing keys are not rotated"),
            _ = stopping.wait_for(|stop| *stop) => return,
        }
        let wanted = tokio::time::timeout(KEYS_EVERY, house.keys_wanted.notified());
        tokio::select! {
            _woken_or_due = wanted => {}
            _ = stopping.wait_for(|stop| *stop) => return,
        }
    }
}
