use std::collections::HashSet;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use flows::{Database, MasterKey, Passwords};
use futures_util::FutureExt as _;
use model::audit::chain::Chain;
use model::mail::MailMessage;
use model::user::PasswordHash;
use parking_lot::Mutex;
use store::faults::{FaultInjector, InjectedFault, OperationCounts};
use tokio::sync::{Barrier, Notify};

use super::{Flow, Scene};
use crate::place::MASTER_KEY;
use crate::{Browser, TestDatabase, TestServer};

/// Of a broken promise: a whole page says no more.
const MAX_SAID: usize = 1500;

/// More than all runs on one house take.
const SEATS: &str = "100000";

/// A house on which flows run, and what fails while they act.
pub struct Stage {
    pub house: TestServer,
    /// The command line: a process of its own, whose operations are counted and fail as the house's do.
    pub(super) desk: Database,
    pub(super) injector: Arc<FaultInjector>,
    pub(super) master: MasterKey,
    pub(super) passwords: Passwords,
    /// Of every person on this stage.
    pub(super) password: PasswordHash,
    /// Signed in, for flows that end nothing of hers.
    pub(super) alice: Browser,
    pub(super) plan: Mutex<Vec<InjectedFault>>,
    pub(super) counted: Mutex<OperationCounts>,
    /// Flows that run at once begin and end their acts together.
    pub(super) barrier: Mutex<Arc<Barrier>>,
    pub(super) parties: AtomicUsize,
    runs: AtomicU64,
    letters: Arc<(Mutex<Vec<MailMessage>>, Notify)>,
}

impl Stage {
    pub async fn open(place: TestDatabase) -> Self {
        let injector = Arc::<FaultInjector>::default();
        let desk = place.open().await.with_faults(Arc::clone(&injector));
        let house = Box::pin(TestServer::under_faults(place, &injector)).await;
        let mut rng = house.rng();
        let set = house.office().await.change_setting(("seats", SEATS), &mut house.moment(&mut rng)).await;
        set.expect("no fault").expect("a good setting");
        house.catch_up().await;
        // Registered once, before flows ask for it at once.
        house.manager().await;
        let (_, password) = house
            .store()
            .await
            .user_by_login(&model::Login::parse("alice").expect("a login"))
            .await
            .expect("no fault")
            .expect("of the demo");
        let mut alice = house.browser("alice");
        alice.sign_in().await;
        let letters = Arc::<(Mutex<Vec<MailMessage>>, Notify)>::default();
        let (mut outbox, taken) = (house.house.open_outbox(), Arc::clone(&letters));
        tokio::spawn(async move {
            while let Some(letter) = outbox.next().await {
                taken.0.lock().push(letter);
                taken.1.notify_waiters();
            }
        });
        Self {
            desk,
            injector,
            master: MasterKey::new(&MASTER_KEY),
            passwords: Passwords::new(),
            password: password.expect("alice has one"),
            alice,
            plan: Mutex::default(),
            counted: Mutex::default(),
            barrier: Mutex::new(Arc::new(Barrier::new(1))),
            parties: AtomicUsize::new(1),
            runs: AtomicU64::new(0),
            letters,
            house,
        }
    }

    /// Runs flows at once, with these faults while they act, and checks what must hold afterwards. An error says which
    /// promise is broken; the stage is then used no more.
    pub async fn run(&self, flows: &[&Flow], faults: &[InjectedFault]) -> Result<OperationCounts, String> {
        faults.clone_into(&mut self.plan.lock());
        self.parties.store(flows.len(), Ordering::Relaxed);
        *self.barrier.lock() = Arc::new(Barrier::new(flows.len()));
        let running = flows.iter().map(|flow| async move {
            let mut scene = Scene::new(self, self.runs.fetch_add(1, Ordering::Relaxed));
            caught((flow.run)(&mut scene)).await.map_err(|broken| format!("{}: {broken}", flow.name))
        });
        // Where one is broken the others may wait for it for ever.
        futures_util::future::try_join_all(running).await?;
        caught(self.check()).await?;
        Ok(*self.counted.lock())
    }

    /// What holds whatever failed, once memory and the sealer had a turn each.
    async fn check(&self) {
        self.house.catch_up().await;
        for instance in self.house.house.instances() {
            let differences = instance.differences(self.house.now()).await.expect("no fault");
            assert!(differences.is_empty(), "memory is not the database: {differences:#?}");
        }
        self.house.seal().await;
        let verdict = self.house.verify_audit().await;
        assert!(verdict.is_whole() && !verdict.waiting, "the audit: {:#?}", verdict.findings);
        let refusals = self.house.verify_refusals().await;
        assert!(refusals.is_whole() && !refusals.waiting, "the refusals: {:#?}", refusals.findings);
        let store = self.house.store().await;
        let mut told = flows::audit::sealed_trail(&store).await.expect("no fault");
        told.extend(flows::audit::sealed_trail(&store.with_chain(Chain::Refusals)).await.expect("no fault"));
        let mut once = HashSet::new();
        for event in &told {
            assert!(once.insert(&event.id), "told twice: {event:?}");
        }
    }

    /// The newest letter to an address, which is taken.
    pub(super) async fn letter_to(&self, address: &str) -> MailMessage {
        let (letters, arrived) = &*self.letters;
        let found = async {
            loop {
                let arriving = arrived.notified();
                if let Some(letter) = self.taken(letters, address) {
                    return letter;
                }
                arriving.await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), found).await.expect("a letter is on its way")
    }

    #[expect(clippy::unused_self, reason = "beside its caller")]
    fn taken(&self, letters: &Mutex<Vec<MailMessage>>, address: &str) -> Option<MailMessage> {
        let mut letters = letters.lock();
        let found = letters.iter().rposition(|letter| letter.to.as_str() == address)?;
        Some(letters.remove(found))
    }
}

async fn caught<T>(work: impl Future<Output = T>) -> Result<T, String> {
    AssertUnwindSafe(work).catch_unwind().await.map_err(|panic| {
        let said = panic.downcast_ref::<String>().map(String::as_str);
        said.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic").chars().take(MAX_SAID).collect()
    })
}
