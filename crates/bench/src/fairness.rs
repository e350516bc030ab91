//! One instance while another one in the same process is under a storm. The storms load the shared resources: password
//! threads, reset requests, the image decoder and the queue of changes. Flows are called in this process, without HTTP.

use std::io::Cursor;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use model::Ctx;
use model::user::PasswordCredentials;
use oauth::secret::Presented;
use tempfile::TempDir;
use tokio::task::JoinSet;
use web::SystemRng;

use crate::Effort;
use crate::postgres::with_database;
use crate::stats::{Spread, percentile};
use crate::tenant::{RealWorld, Tenant, request, request_from, sign_in};
use flows::Platform as _;
use flows::auth::sign_in::SignInCookies;

/// Operations of the measured instance, one after the other, before and during each storm of each round.
const REFRESHES: usize = 200;
const SIGN_INS: usize = 100;

#[derive(Clone, Copy)]
enum Storm {
    SignIns,
    Resets,
    Pictures,
    Changes,
    /// No storm on an instance: as many tasks as [`Self::Changes`] use the same share of the cores, equally often. Its
    /// effect comes from the machine and not from shared resources.
    Cores,
}

impl Storm {
    const ALL: [Self; 5] = [Self::SignIns, Self::Resets, Self::Pictures, Self::Changes, Self::Cores];

    const fn name(self) -> &'static str {
        match self {
            Self::SignIns => "sign-ins",
            Self::Resets => "reset requests",
            Self::Pictures => "pictures",
            Self::Changes => "refreshes",
            Self::Cores => "work of no instance",
        }
    }

    /// Concurrent callers. Those of [`Self::Changes`] exceed the capacity of the queue of changes.
    const fn callers(self) -> usize {
        match self {
            Self::SignIns => 256,
            Self::Resets | Self::Pictures => 16,
            Self::Changes | Self::Cores => 1200,
        }
    }
}

/// Results of one instance while the other is under a storm. Times in milliseconds.
pub(crate) struct Beside {
    pub(crate) database: &'static str,
    pub(crate) storm: &'static str,
    pub(crate) what: &'static str,
    pub(crate) quiet: Spread,
    pub(crate) stormed: Spread,
    /// The p99 during the storm divided by the p99 before it, for each round.
    pub(crate) times: Spread,
    /// Operations of the storm per second.
    pub(crate) per_second: Spread,
}

/// Measures SQLite, and PostgreSQL if a server is given.
pub(crate) async fn measure(effort: Effort, postgres: Option<&str>) -> Result<Vec<Beside>> {
    let folder = TempDir::new()?;
    let url = format!("sqlite:{}", folder.path().join("house.db").display());
    let mut measured = all(&url, "SQLite", effort).await?;
    if let Some(server) = postgres {
        measured.extend(with_database(server, async |url| all(url, "PostgreSQL", effort).await).await?);
    }
    Ok(measured)
}

/// p99 latencies of refreshes and of sign-ins, in milliseconds.
type Latencies = [f64; 2];

struct Round {
    quiet: Latencies,
    stormed: Latencies,
    per_second: f64,
}

async fn all(url: &str, database: &'static str, effort: Effort) -> Result<Vec<Beside>> {
    let [stormed, other] = Tenant::open_both(url).await?;
    let mut measured = Vec::new();
    for storm in Storm::ALL {
        let mut rounds = Vec::new();
        for round in 0..=effort.rounds {
            eprint!("\rround {round} of {}: {database}, {}   ", effort.rounds, storm.name());
            let quiet = latencies(&other, effort).await?;
            let running = RunningStorm::start(&stormed, storm, round).await?;
            let stormed = latencies(&other, effort).await?;
            let per_second = running.end().await?;
            // The first round warms pools and tables and does not count.
            if round > 0 {
                rounds.push(Round { quiet, stormed, per_second });
            }
        }
        for (place, what) in ["refreshes", "sign-ins"].into_iter().enumerate() {
            let of = |value: &dyn Fn(&Round) -> f64| Spread::of(rounds.iter().map(value));
            measured.push(Beside {
                database,
                storm: storm.name(),
                what,
                quiet: of(&|round| round.quiet[place]),
                stormed: of(&|round| round.stormed[place]),
                times: of(&|round| round.stormed[place] / round.quiet[place]),
                per_second: of(&|round| round.per_second),
            });
        }
    }
    eprintln!();
    other.server.close().await;
    Ok(measured)
}

async fn latencies(tenant: &Arc<Tenant>, effort: Effort) -> Result<Latencies> {
    let mut token = tenant.refresh_tokens(1).await?.remove(0);
    let mut refreshes = Vec::new();
    for _ in 0..effort.of(REFRESHES) {
        let begun = Instant::now();
        token = tenant.refresh(&token).await?;
        refreshes.push(u32::try_from(begun.elapsed().as_micros())?);
    }
    let mut sign_ins = Vec::new();
    for _ in 0..effort.of(SIGN_INS) {
        let begun = Instant::now();
        sign_in(&tenant.instance, request(), "alice").await?;
        sign_ins.push(u32::try_from(begun.elapsed().as_micros())?);
    }
    Ok([&mut refreshes, &mut sign_ins].map(|latencies| percentile(latencies, 99) / 1e3))
}

/// A running storm.
struct RunningStorm {
    over: Arc<AtomicBool>,
    done: Arc<AtomicU32>,
    begun: Instant,
    tasks: JoinSet<()>,
}

impl RunningStorm {
    async fn start(tenant: &Arc<Tenant>, storm: Storm, round: u32) -> Result<Self> {
        let mut tokens = match storm {
            Storm::Changes => tenant.refresh_tokens(storm.callers()).await?,
            Storm::SignIns | Storm::Resets | Storm::Pictures | Storm::Cores => Vec::new(),
        };
        let picture: Arc<[u8]> = picture()?.into();
        // The first byte of each network is the round, so that no account is used in two rounds.
        let next = Arc::new(AtomicU32::new((10 + round) << 24));
        let (over, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
        let mut tasks = JoinSet::new();
        let begun = tokio::time::Instant::now();
        for caller in 0..storm.callers() {
            let mut caller = Caller {
                tenant: Arc::clone(tenant),
                next: Arc::clone(&next),
                picture: Arc::clone(&picture),
                token: tokens.pop().unwrap_or_default(),
                turn: begun + BURST * u32::try_from(caller % BURSTS)?,
            };
            let (over, done) = (Arc::clone(&over), Arc::clone(&done));
            tasks.spawn(async move {
                while !over.load(Ordering::Relaxed) {
                    if caller.act(storm).await.is_ok() {
                        done.fetch_add(1, Ordering::Relaxed);
                    } else {
                        // The caller was asked to retry.
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                }
            });
        }
        // Waits until all callers are queued.
        tokio::time::sleep(Duration::from_millis(200)).await;
        done.store(0, Ordering::Relaxed);
        Ok(Self { over, done, begun: Instant::now(), tasks })
    }

    /// Ends the storm and returns its operations per second.
    async fn end(mut self) -> Result<f64> {
        let per_second = f64::from(self.done.load(Ordering::Relaxed)) / self.begun.elapsed().as_secs_f64();
        self.over.store(true, Ordering::Relaxed);
        while let Some(ended) = self.tasks.join_next().await {
            ended?;
        }
        Ok(per_second)
    }
}

struct Caller {
    tenant: Arc<Tenant>,
    next: Arc<AtomicU32>,
    picture: Arc<[u8]>,
    token: String,
    turn: tokio::time::Instant,
}

/// Timing of [`Storm::Cores`]: tasks wake in bursts, as after a commit that answers many callers. Each task runs in
/// every fifth burst and uses a core for as long as a refresh.
const BURST: Duration = Duration::from_millis(12);
const BURSTS: usize = 5;
const WORK: Duration = Duration::from_micros(60);

impl Caller {
    async fn act(&mut self, storm: Storm) -> Result<()> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (instance, request) = (&self.tenant.instance, request_from(Ipv4Addr::from_bits(number.rotate_left(8))));
        let mut rng = SystemRng;
        let now = RealWorld.now();
        match storm {
            // Every fourth password is correct.
            Storm::SignIns if number.is_multiple_of(4) => drop(sign_in(instance, request, "bob").await?),
            Storm::SignIns => {
                let mut ctx = Ctx { now, rng: &mut rng, request: &request };
                let (login, wrong) = (format!("storm.{number}"), Presented::new("wrong"));
                let credentials = PasswordCredentials { login: &login, password: &wrong };
                let _refused = instance.auth().sign_in(&mut ctx, credentials, SignInCookies::default(), None).await?;
            }
            Storm::Resets => {
                let login = if number.is_multiple_of(4) { "bob".to_owned() } else { format!("storm.{number}") };
                let _wait = instance.auth().request_password_reset(&request, &login, now)?;
                // At most 16 000 a second in all.
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            Storm::Pictures => {
                let mut ctx = Ctx { now, rng: &mut rng, request: &request };
                let picture = self.picture.to_vec();
                let _kept = instance.account().choose_picture(&mut ctx, &self.tenant.browser, picture).await?;
            }
            Storm::Changes => self.token = self.tenant.refresh(&self.token).await?,
            Storm::Cores => {
                self.turn += BURST * 5;
                tokio::time::sleep_until(self.turn).await;
                let begun = Instant::now();
                while begun.elapsed() < WORK {
                    std::hint::spin_loop();
                }
            }
        }
        Ok(())
    }
}

/// A picture of the size that a camera takes.
fn picture() -> Result<Vec<u8>> {
    let image = image::RgbImage::from_fn(4000, 3000, |x, y| {
        image::Rgb([(x / 16).to_le_bytes()[0], (y / 16).to_le_bytes()[0], 128])
    });
    let mut bytes = Vec::new();
    image::DynamicImage::ImageRgb8(image).write_to(&mut Cursor::new(&mut bytes), image::ImageFormat::Jpeg)?;
    anyhow::ensure!(bytes.len() <= flows::account::pictures::LARGEST_PICTURE, "{} bytes", bytes.len());
    Ok(bytes)
}
