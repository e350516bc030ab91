//! Storms of guessed passwords: at one account from many networks, with rotating logins behind one address, and with
//! many connections at once. During each storm, a browser that signed in before and a new one sign in.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use demo::password_of;
use serde_json::json;
use tokio::task::JoinSet;

use super::{Goal, Storm};
use crate::Effort;
use crate::installation::{Binary, Installation};
use crate::load::Connection;
use crate::requests::post;
use crate::sign_in::{FORM_COOKIE, LOGIN, csrf, csrf_of};

/// The shared address of an office, from which one of the storms comes.
const OFFICE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 7);
/// The address of browsers that signed in before.
const HOME: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 9);
/// A sign-in that is asked to retry does so for at most this long.
const PATIENCE: Duration = Duration::from_secs(30);

/// The form cookie of honest browsers, which differs from the attackers'.
const HONEST_COOKIE: &str = "gatehouse-form=of-a-browser-that-attacks-nobody";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    OneAccount,
    RotatingLogins,
    ManyConnections,
}

impl Kind {
    const ALL: [Self; 3] = [Self::OneAccount, Self::RotatingLogins, Self::ManyConnections];

    const fn name(self) -> &'static str {
        match self {
            Self::OneAccount => "one account from 32 networks at a time",
            Self::RotatingLogins => "rotating logins behind one address",
            Self::ManyConnections => "250 connections from 250 networks",
        }
    }

    const fn connections(self) -> u32 {
        if let Self::ManyConnections = self { 250 } else { 32 }
    }
}

const MAX_COMPARED: u32 = 100;
/// Maximum time of a sign-in by a browser that signed in before, and by a new one at an account that is not attacked.
const MAX_KNOWN: Duration = Duration::from_secs(2);
const MAX_NEW: Duration = Duration::from_secs(10);

/// Results of one storm.
struct GuessingResults {
    guesses: u32,
    /// Number of compared guesses, if it has a maximum.
    compared: Option<u32>,
    known: Duration,
    new: Duration,
}

impl GuessingResults {
    fn report(&self, kind: Kind) -> Storm {
        let compared = self.compared.map(|compared| Goal {
            what: "guesses compared",
            measured: compared.to_string(),
            bound: format!("at most {MAX_COMPARED}"),
            is_met: compared <= MAX_COMPARED,
        });
        let sign_in = |what, took: Duration, most: Duration| Goal {
            what,
            measured: format!("{:.2} s", took.as_secs_f64()),
            bound: format!("at most {} s", most.as_secs()),
            is_met: took <= most,
        };
        let sign_ins = [
            sign_in("slowest sign-in, known browser", self.known, MAX_KNOWN),
            sign_in("slowest sign-in, new browser", self.new, MAX_NEW),
        ];
        Storm {
            name: format!("{}: {} guesses", kind.name(), self.guesses),
            goals: compared.into_iter().chain(sign_ins).collect(),
            json: json!({
                "guesses": self.guesses,
                "compared": self.compared,
                "known_seconds": self.known.as_secs_f64(),
                "new_seconds": self.new.as_secs_f64(),
            }),
        }
    }
}

/// Each storm runs on a new server with unused budgets.
pub(super) async fn measure(binary: &Binary, effort: Effort) -> Result<Vec<Storm>> {
    let mut storms = Vec::new();
    for kind in Kind::ALL {
        eprintln!("a storm of guesses: {}", kind.name());
        let installation = Installation::with_data(binary)?.behind_a_proxy()?;
        let (server, _) = installation.serve()?;
        let people = People::at(server.address).await?;
        let device = people.sign_in("alice", HOME, None).await?.device;
        let results = people.sign_in_during(kind, &device, if effort.quick { 2 } else { 10 }).await?;
        storms.push(results.report(kind));
        server.stop()?;
    }
    Ok(storms)
}

/// Users who sign in with their own passwords.
struct People {
    address: SocketAddr,
    csrf: String,
}

struct SignedIn {
    took: Duration,
    device: String,
}

impl People {
    async fn at(address: SocketAddr) -> Result<Self> {
        Ok(Self { address, csrf: csrf_of(address, HONEST_COOKIE).await? })
    }

    /// Repeats the sign-in after each `Retry-After`, until it succeeds or [`PATIENCE`] is over.
    async fn sign_in(&self, login: &str, from: Ipv4Addr, device: Option<&str>) -> Result<SignedIn> {
        let form = format!("csrf={}&login={login}&password={}", self.csrf, password_of(login));
        let device = device.map(|device| format!("; {device}")).unwrap_or_default();
        let lines = format!("cookie: {HONEST_COOKIE}{device}\r\nx-forwarded-for: {from}\r\n");
        let request = post(self.address, LOGIN, &form, &lines);
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            let head = Connection::open(self.address).await?.head_of(&request).await?;
            let lines: Vec<(&str, &str)> = head.lines().filter_map(|line| line.split_once(": ")).collect();
            let is = |name: &str, wanted: &str| name.eq_ignore_ascii_case(wanted);
            let cookies = lines.iter().filter(|(name, _)| is(name, "set-cookie"));
            let mut cookies = cookies.filter_map(|(_, cookie)| cookie.split(';').next());
            if let Some(device) = cookies.find(|cookie| cookie.starts_with("gatehouse-device=")) {
                return Ok(SignedIn { took: begun.elapsed(), device: device.to_owned() });
            }
            let wait = lines.iter().find(|(name, _)| is(name, "retry-after")).map(|(_, wait)| wait);
            let wait = wait.context("a refused sign-in is told how long to wait")?;
            tokio::time::sleep(Duration::from_secs(wait.parse()?).min(PATIENCE)).await;
        }
        Ok(SignedIn { took: begun.elapsed(), device: String::new() })
    }

    /// Signs in during a storm.
    async fn sign_in_during(&self, kind: Kind, device: &str, times: u32) -> Result<GuessingResults> {
        let storm = Guessing::begin(kind, self.address, &csrf(self.address).await?).await;
        let (mut known, mut new) = (Duration::ZERO, Duration::ZERO);
        for round in 0..times {
            known = known.max(self.sign_in("alice", HOME, Some(device)).await?.took);
            let elsewhere = Ipv4Addr::from_bits(HOME.to_bits() + 256 * (round + 1));
            let from = if kind == Kind::RotatingLogins { OFFICE } else { elsewhere };
            new = new.max(self.sign_in("bob", from, None).await?.took);
        }
        let (guesses, compared) = storm.end().await?;
        let compared = (kind == Kind::OneAccount).then_some(compared);
        Ok(GuessingResults { guesses, compared, known, new })
    }
}

/// A storm of guesses.
struct Guessing {
    over: Arc<AtomicBool>,
    tasks: JoinSet<Result<(u32, u32)>>,
}

impl Guessing {
    async fn begin(kind: Kind, address: SocketAddr, csrf: &str) -> Self {
        let (over, next) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
        let mut tasks = JoinSet::new();
        for _ in 0..kind.connections() {
            let (over, next, csrf) = (Arc::clone(&over), Arc::clone(&next), csrf.to_owned());
            tasks.spawn(async move {
                let mut connection = Connection::open(address).await?;
                let (mut guesses, mut compared) = (0, 0);
                while !over.load(Ordering::Relaxed) {
                    let request = guess(kind, address, &csrf, next.fetch_add(1, Ordering::Relaxed));
                    let status = connection.status(&request).await?;
                    ensure!([200, 429, 503].contains(&status), "a guess was answered {status}");
                    guesses += 1;
                    compared += u32::from(status == 200);
                    // A refusal is answered at once. Without a pause the storm would measure the loopback interface.
                    if status != 200 {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                }
                Ok((guesses, compared))
            });
        }
        // Waits until budgets are used up and queues are full.
        tokio::time::sleep(Duration::from_secs(3)).await;
        Self { over, tasks }
    }

    /// Ends the storm. Returns the number of guesses, and of those compared.
    async fn end(mut self) -> Result<(u32, u32)> {
        self.over.store(true, Ordering::Relaxed);
        let mut sums = (0, 0);
        while let Some(done) = self.tasks.join_next().await {
            let (guesses, compared) = done??;
            sums = (sums.0 + guesses, sums.1 + compared);
        }
        Ok(sums)
    }
}

fn guess(kind: Kind, address: SocketAddr, csrf: &str, number: u32) -> Arc<[u8]> {
    // Spreads consecutive numbers over networks of every prefix width.
    let elsewhere = Ipv4Addr::from_bits((10 << 24) | ((number & 0xffff) << 8) | ((number >> 16) & 0xff));
    let (login, from) = match kind {
        Kind::OneAccount => ("alice".to_owned(), elsewhere),
        Kind::RotatingLogins => (format!("rotated.{number}"), OFFICE),
        Kind::ManyConnections => (format!("made.up.{number}"), elsewhere),
    };
    let form = format!("csrf={csrf}&login={login}&password=guess.{number}");
    post(address, LOGIN, &form, &format!("cookie: {FORM_COOKIE}\r\nx-forwarded-for: {from}\r\n"))
}
