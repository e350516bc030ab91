use std::collections::{HashMap, HashSet};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use flows::{AcceptedPassword, Database, MasterKey, PasswordCost, Passwords};
use futures_util::FutureExt as _;
use model::audit::StoredEvent;
use model::audit::chain::Chain;
use model::mail::MailMessage;
use model::user::PasswordHash;
use parking_lot::Mutex;
use store::faults::{FaultInjector, InjectedFault, OperationCounts};
use store::{Batch, Change, ChangeKind, CommitOutcome, Store};
use tokio::sync::{Barrier, Notify};

use super::{Flow, Scene};
use crate::test_database::MASTER_KEY;
use crate::{Browser, TestDatabase, TestServer, change_setting};

/// Maximum length of an error message: a whole page adds nothing.
const MAX_SAID: usize = 1500;

/// Time limit of a run: far longer than any run takes, even on a busy machine.
const MAX_RUN: Duration = Duration::from_mins(3);

/// More seats than all runs on one server take.
const SEATS: &str = "100000";

/// A server on which flows run, and the faults injected while they act.
pub struct Stage {
    pub server: TestServer,
    /// The command line's database: a process of its own. Its operations are counted and fail like the server's.
    pub(super) command_line: Database,
    pub(super) injector: Arc<FaultInjector>,
    pub(super) master: MasterKey,
    pub(super) passwords: Passwords,
    /// The password of every user on this stage.
    pub(super) password: PasswordHash,
    /// Signed in, for flows that end none of her sessions.
    pub(super) alice: Browser,
    pub(super) plan: Mutex<Vec<InjectedFault>>,
    pub(super) counted: Mutex<OperationCounts>,
    /// Concurrent flows begin and end their acts together.
    pub(super) barrier: Mutex<Arc<Barrier>>,
    pub(super) parties: AtomicUsize,
    runs: AtomicU64,
    /// The fewest references to the instance so far: those of a server without work. Work of another flow may still hold some
    /// when an act begins.
    pub(super) references_at_rest: AtomicUsize,
    trails: tokio::sync::Mutex<Trails>,
    letters: Arc<(Mutex<Vec<MailMessage>>, Notify)>,
}

impl Stage {
    pub async fn open(place: TestDatabase) -> Self {
        let injector = Arc::<FaultInjector>::default();
        let command_line = place.open().await.with_faults(Arc::clone(&injector));
        let server = Box::pin(TestServer::under_faults(place, &injector)).await;
        let mut rng = server.rng();
        let set = change_setting(&server.operator().await, "seats", SEATS, &mut server.moment(&mut rng)).await;
        set.expect("no fault").expect("a good setting");
        server.catch_up().await;
        // Registered in advance, so that concurrent flows do not register it twice.
        server.manager().await;
        let passwords = Passwords::costing(PasswordCost::LEAST);
        let mut alice = server.browser("alice");
        let password = cheapen(&server, &passwords, &alice).await;
        alice.sign_in().await;
        let letters = Arc::<(Mutex<Vec<MailMessage>>, Notify)>::default();
        let (mut outbox, taken) = (server.server.open_outbox(), Arc::clone(&letters));
        tokio::spawn(async move {
            while let Some(letter) = outbox.next().await {
                taken.0.lock().push(letter);
                taken.1.notify_waiters();
            }
        });
        Self {
            command_line,
            injector,
            master: MasterKey::new(&MASTER_KEY),
            passwords,
            password,
            alice,
            plan: Mutex::default(),
            counted: Mutex::default(),
            barrier: Mutex::new(Arc::new(Barrier::new(1))),
            parties: AtomicUsize::new(1),
            runs: AtomicU64::new(0),
            references_at_rest: AtomicUsize::new(Arc::strong_count(&server.server.instances()[0])),
            trails: tokio::sync::Mutex::default(),
            letters,
            server,
        }
    }

    /// Runs flows concurrently with these faults during their acts, then checks the invariants. An error names the
    /// broken promise; the stage must not be used afterwards.
    pub async fn run(&self, flows: &[&Flow], faults: &[InjectedFault]) -> Result<OperationCounts, String> {
        faults.clone_into(&mut self.plan.lock());
        self.parties.store(flows.len(), Ordering::Relaxed);
        *self.barrier.lock() = Arc::new(Barrier::new(flows.len()));
        let running = flows.iter().map(|flow| async move {
            let mut scene = Scene::new(self, self.runs.fetch_add(1, Ordering::Relaxed));
            caught((flow.run)(&mut scene)).await.map_err(|broken| format!("{}: {broken}", flow.name))
        });
        // After one flow failed, the others might wait for it without end.
        let all = futures_util::future::try_join_all(running);
        tokio::time::timeout(MAX_RUN, all).await.map_err(|_| "it does not come to an end".to_owned())??;
        caught(self.check()).await?;
        Ok(*self.counted.lock())
    }

    /// Checks the invariants after memory caught up and the sealer ran once. [`Self::audit`] verifies the chains.
    async fn check(&self) {
        self.server.catch_up().await;
        for instance in self.server.server.instances() {
            // Making keys may have taken longer than memory is believed without the feed.
            self.server.server.catch_up().await.expect("the feed can be read");
            let differences = instance.differences(self.server.now()).await.expect("no fault");
            assert!(differences.is_empty(), "memory is not the database: {differences:#?}");
        }
        self.server.seal().await;
        let store = self.server.store().await;
        let mut trails = self.trails.lock().await;
        for chain in Chain::ALL {
            let store = store.with_chain(chain);
            let waiting = store.unsealed_events(1).await.expect("no fault").len()
                + store.unsealed_blocks(1).await.expect("no fault").len();
            assert_eq!(waiting, 0, "what waits in {chain:?} is sealed");
            trails.follow(&store).await;
        }
    }

    /// Verifies both chains over all runs so far.
    pub async fn audit(&self) -> Result<(), String> {
        let verify = async {
            let verdict = self.server.verify_audit().await;
            assert!(verdict.is_whole() && !verdict.waiting, "the audit: {:#?}", verdict.findings);
            let refusals = self.server.verify_refusals().await;
            assert!(refusals.is_whole() && !refusals.waiting, "the refusals: {:#?}", refusals.findings);
        };
        caught(verify).await
    }

    /// Removes and returns the newest e-mail to an address.
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

/// The part of both sealed chains that was already read.
#[derive(Default)]
struct Trails {
    newest: HashMap<Chain, i64>,
    reported: HashSet<String>,
}

impl Trails {
    /// Reads the new part of a chain, and checks that no event occurs twice in the chains.
    async fn follow(&mut self, store: &Store) {
        const PAGE: u32 = 64;
        loop {
            let newest = self.newest.entry(store.chain()).or_default();
            let seals = store.seals_after(*newest, PAGE).await.expect("no fault");
            let Some(last) = seals.last() else { break };
            *newest = last.number;
            for line in seals.iter().flat_map(|seal| seal.events.lines()) {
                let (event, _) = StoredEvent::parse(line).unwrap_or_else(|| panic!("no event: {line}"));
                assert!(self.reported.insert(event.id.clone()), "told twice: {event:?}");
            }
        }
    }
}

/// Replaces this user's password hash with a cheap one: the demo's hashes cost as much as in production.
async fn cheapen(server: &TestServer, passwords: &Passwords, person: &Browser) -> PasswordHash {
    let accepted = AcceptedPassword::public(&person.password);
    let hash = passwords.hash(accepted, [1; 16]).await.expect("a thread hashes");
    let store = server.store().await;
    let (user, _) = store
        .user_by_login(&model::Login::parse(&person.login).expect("a login"))
        .await
        .expect("no fault")
        .expect("of the demo");
    let mut set = Batch::new().with(store.set_password(&user, &hash, server.now()));
    set.announce(Change { kind: ChangeKind::User, subject: user.id.0 }, server.now());
    assert_eq!(store.commit(set).await.expect("no fault"), CommitOutcome::Committed);
    server.catch_up().await;
    hash
}

async fn caught<T>(work: impl Future<Output = T>) -> Result<T, String> {
    AssertUnwindSafe(work).catch_unwind().await.map_err(|panic| {
        let said = panic.downcast_ref::<String>().map(String::as_str);
        said.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic").chars().take(MAX_SAID).collect()
    })
}
