//! Random database faults: one or several at once, in one flow or several on one server, until the requested number has
//! happened. After every run the invariants of `acceptance::faults` are checked.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use acceptance::TestDatabase;
use acceptance::faults::{Flow, Stage, all, shown};
use anyhow::{Context as _, Result, bail};
use model::Rng as _;
use store::faults::{DatabaseOperation, FaultMoment, InjectedFault, OperationCounts};
use web::SystemRng;

/// After this many runs the server's audit is verified.
const RUNS_PER_SERVER: usize = 40;
/// Maximum number of concurrent flows on one server, and of faults in one run.
const MAX_FLOWS: u64 = 4;
const MAX_FAULTS: u64 = 4;

/// `SplitMix64`: small, and reproducible on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn one_of<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        let at = usize::try_from(self.below(of.len() as u64)).expect("an index");
        &of[at]
    }
}

/// State shared by all threads.
struct Run {
    seed: u64,
    wanted: u64,
    /// Verifies the server's audit after each run. Used when a seed is repeated, to find the run that broke the audit.
    audits_closely: bool,
    /// Number of servers so far. Each takes the seed after the previous one's.
    servers: AtomicU64,
    runs: AtomicU64,
    faults: AtomicU64,
    is_broken: AtomicBool,
    broken: Mutex<Option<String>>,
    /// Database operations of each flow without faults.
    counted: HashMap<&'static str, OperationCounts>,
}

pub(crate) fn inject(wanted: u64, seed: Option<u64>) -> Result<()> {
    let audits_closely = seed.is_some();
    let drawn = || SystemRng.secret().first_chunk().copied().map(u64::from_le_bytes).unwrap_or_default() >> 16;
    let seed = seed.unwrap_or_else(drawn);
    println!("{} flows, at least {wanted} faults, seed {seed}", all().len());
    let begun = Instant::now();
    let run = Arc::new(Run {
        seed,
        wanted,
        audits_closely,
        servers: AtomicU64::new(0),
        runs: AtomicU64::new(0),
        faults: AtomicU64::new(0),
        is_broken: AtomicBool::new(false),
        broken: Mutex::default(),
        counted: runtime()?.block_on(count())?,
    });
    let threads = thread::available_parallelism().map_or(2, usize::from);
    let workers: Vec<_> = (0..threads)
        .map(|_| {
            let run = Arc::clone(&run);
            thread::spawn(move || run.work())
        })
        .collect();
    for worker in workers {
        worker.join().ok().context("a thread of the benchmark panicked")??;
    }
    let (runs, faults) = (run.runs.load(Ordering::Relaxed), run.faults.load(Ordering::Relaxed));
    let took = begun.elapsed().as_secs();
    println!("\n{faults} faults in {runs} runs on {} servers, {took} s", run.servers.load(Ordering::Relaxed));
    match run.broken.lock().expect("no holder of this lock panics").take() {
        None => Ok(()),
        Some(broken) => bail!("{broken}"),
    }
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?)
}

async fn count() -> Result<HashMap<&'static str, OperationCounts>> {
    let mut counted = HashMap::new();
    for flow in all() {
        let stage = Box::pin(Stage::open(TestDatabase::sqlite().await)).await;
        let one = stage.run(&[flow], &[]).await;
        counted.insert(flow.name, one.map_err(|broken| anyhow::anyhow!("without faults: {broken}"))?);
        eprint!("\r{} of {} flows counted   ", counted.len(), all().len());
    }
    Ok(counted)
}

impl Run {
    /// Every second server uses PostgreSQL, if a server for it is given.
    fn work(&self) -> Result<()> {
        let runtime = runtime()?;
        while self.faults.load(Ordering::Relaxed) < self.wanted && !self.is_broken.load(Ordering::Relaxed) {
            let seed = self.seed.wrapping_add(self.servers.fetch_add(1, Ordering::Relaxed));
            if let Err(broken) = runtime.block_on(self.on_one_server(seed)) {
                self.is_broken.store(true, Ordering::Relaxed);
                let repeat = format!("cargo run --release -p bench -- --only faults --faults 1 --seed {seed}");
                let message = format!("{broken}\nrepeat it by: {repeat}");
                self.broken.lock().expect("no holder of this lock panics").get_or_insert(message);
            }
        }
        Ok(())
    }

    async fn on_one_server(&self, seed: u64) -> Result<(), String> {
        let mut random = Random(seed);
        let place = if seed.is_multiple_of(2) { None } else { TestDatabase::postgres().await };
        let (place, database) = match place {
            Some(place) => (place, "PostgreSQL"),
            None => (TestDatabase::sqlite().await, "SQLite"),
        };
        let stage = Box::pin(Stage::open(place)).await;
        for _ in 0..RUNS_PER_SERVER {
            let flows = pick_flows(&mut random);
            let faults = self.pick_faults(&flows, &mut random);
            let mut ran = stage.run(&flows, &faults).await;
            if self.audits_closely && ran.is_ok() {
                ran = stage.audit().await.and(ran);
            }
            let counted = ran.map_err(|broken| {
                let names: Vec<&str> = flows.iter().map(|flow| flow.name).collect();
                let faults: Vec<String> = faults.iter().map(shown).collect();
                format!("on {database}, {} with {}: {broken}", names.join(" and "), faults.join(", "))
            })?;
            self.runs.fetch_add(1, Ordering::Relaxed);
            let faults = self.faults.fetch_add(counted.faults, Ordering::Relaxed) + counted.faults;
            eprint!("\r{faults} of {} faults   ", self.wanted);
        }
        stage.audit().await.map_err(|broken| format!("on {database}, behind one of {RUNS_PER_SERVER} runs: {broken}"))
    }

    fn pick_faults(&self, flows: &[&Flow], random: &mut Random) -> Vec<InjectedFault> {
        let of =
            |count: fn(&OperationCounts) -> u64| flows.iter().map(|flow| count(&self.counted[flow.name])).sum::<u64>();
        let (commits, reads) = (of(|counted| counted.commits), of(|counted| counted.reads));
        let count = 1 + random.below(MAX_FAULTS);
        let faults = (0..count).map(|_| {
            let nth = random.below(commits + reads) + 1;
            let (operation, nth) = if nth <= commits {
                (DatabaseOperation::Commit, nth)
            } else {
                (DatabaseOperation::Read, nth - commits)
            };
            let moments = [FaultMoment::Before, FaultMoment::After, FaultMoment::Unanswered];
            InjectedFault { operation, nth, moment: *random.one_of(&moments) }
        });
        faults.collect()
    }
}

/// Chooses one flow, or several that may run side by side.
fn pick_flows(random: &mut Random) -> Vec<&'static Flow> {
    let first = random.one_of(all());
    let mut flows = vec![first];
    if first.shares() {
        let sharing: Vec<&Flow> = all().iter().filter(|flow| flow.shares()).collect();
        flows.extend((0..random.below(MAX_FLOWS)).map(|_| *random.one_of(&sharing)));
    }
    flows
}
