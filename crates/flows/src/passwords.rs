//! Argon2id on a few threads of its own, which give way to everything else, and never on an async worker.

use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, PasswordHash as Phc, Version};
use flume::{Receiver, Sender, TrySendError};
use model::user::{Password, PasswordHash};
use oauth::secret::Presented;
use tokio::sync::oneshot;
use zeroize::Zeroizing;

use crate::Fault;
use crate::meters::Fill;
use crate::strength::{Weakness, weakness};

/// OWASP Password Storage Cheat Sheet: Argon2id with 19 MiB, two passes, one lane.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;

/// Sign-ins that may wait for a free thread; more than these are told to come back.
const MOST_WAITING: usize = 128;

/// A tenth of a core is left to a comparison where tokens and calls want all of them; all of it where they do not.
/// See `nice` (POSIX): a storm of sign-ins must not be felt by those who are signed in.
#[cfg(target_os = "linux")]
const GIVES_WAY: i32 = 10;

/// Longer ones are not looked at: hashing is work that a stranger orders.
pub(crate) const LONGEST_PASSWORD: usize = 1024;

/// What comparing a password told.
pub enum Verdict {
    Right,
    /// Right, and hashed with weaker parameters than today's: here is a better hash.
    RightButWeak(PasswordHash),
    Wrong,
}

type Work = Box<dyn FnOnce() + Send>;

pub struct Passwords {
    queue: Sender<Work>,
    /// Compared where there is no user, so that the time taken tells nothing.
    nobody: PasswordHash,
}

impl Passwords {
    /// The threads end when this is dropped and what waits is done.
    pub fn new() -> Self {
        let (queue, work) = flume::bounded(MOST_WAITING);
        let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        for _ in 0..cores.div_ceil(2) {
            let work = work.clone();
            let spawned = thread::Builder::new().name("passwords".into()).spawn(move || compare(&work));
            // One is enough to go on with; without any the queue is closed, and everybody is told to come back.
            if let Err(error) = spawned {
                tracing::error!(%error, "a thread for passwords does not start");
            }
        }
        Self { queue, nobody: nobody() }
    }

    pub async fn verify(
        &self,
        kept: Option<&PasswordHash>,
        shown: &Presented<Password>,
        salt: [u8; 16],
    ) -> Result<Verdict, Fault> {
        let known = kept.is_some();
        let kept = kept.unwrap_or(&self.nobody).clone();
        let shown = Zeroizing::new(shown.expose().as_bytes().to_vec());
        self.run(move || {
            let right = matches(&kept, &shown);
            match (right && known, is_weak(&kept)) {
                (false, _) => Verdict::Wrong,
                (true, false) => Verdict::Right,
                (true, true) => Verdict::RightButWeak(hash(&shown, &salt)),
            }
        })
        .await
    }

    pub async fn hash(&self, password: &Presented<Password>, salt: [u8; 16]) -> Result<PasswordHash, Fault> {
        let password = Zeroizing::new(password.expose().as_bytes().to_vec());
        self.run(move || hash(&password, &salt)).await
    }

    /// Those that wait to be hashed.
    pub(crate) fn fill(&self) -> Fill {
        Fill { waiting: self.queue.len(), most: MOST_WAITING }
    }

    /// What is wrong with a password that somebody chose; `about` is what others know of them.
    pub async fn weakness(&self, chosen: &Presented<Password>, about: Vec<String>) -> Result<Option<Weakness>, Fault> {
        let chosen = Zeroizing::new(chosen.expose().to_owned());
        self.run(move || {
            let about: Vec<&str> = about.iter().map(String::as_str).collect();
            weakness(&chosen, &about)
        })
        .await
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Fault> {
        let (reply, answer) = oneshot::channel();
        let work = move || {
            // Whoever has gone away meanwhile needs no answer.
            if !reply.is_closed() {
                let _ = reply.send(work());
            }
        };
        self.queue.try_send(Box::new(work)).map_err(|refused| match refused {
            TrySendError::Full(_) => Fault::unavailable("too many sign-ins at once"),
            TrySendError::Disconnected(_) => Fault::unavailable("no thread compares passwords"),
        })?;
        answer.await.map_err(Fault::failed)
    }
}

impl Default for Passwords {
    fn default() -> Self {
        Self::new()
    }
}

fn compare(queue: &Receiver<Work>) {
    // Elsewhere it would be the whole process that gives way.
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::nice(GIVES_WAY) {
        tracing::warn!(%error, "passwords are compared at the priority of everything else");
    }
    while let Ok(work) = queue.recv() {
        // A bug in one comparison is that caller's fault, not the end of the thread that others wait for.
        let _ = catch_unwind(AssertUnwindSafe(work));
    }
}

fn argon2() -> Argon2<'static> {
    let params = Params::new(MEMORY_KIB, PASSES, 1, None).expect("the parameters are within Argon2's limits");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

fn hash(password: &[u8], salt: &[u8; 16]) -> PasswordHash {
    let hash = argon2().hash_password_with_salt(password, salt).expect("a 16-byte salt fits");
    PasswordHash::new(hash.to_string())
}

/// As costly to compare with as any other, and written down instead of made: a start is not worth 19 MiB.
fn nobody() -> PasswordHash {
    let (salt, hash) = ("A".repeat(22), "A".repeat(43));
    PasswordHash::new(format!("$argon2id$v=19$m={MEMORY_KIB},t={PASSES},p=1${salt}${hash}"))
}

fn matches(kept: &PasswordHash, shown: &[u8]) -> bool {
    Phc::new(kept.as_phc()).is_ok_and(|phc| argon2().verify_password(shown, &phc).is_ok())
}

fn is_weak(kept: &PasswordHash) -> bool {
    !kept.as_phc().starts_with(&format!("$argon2id$v=19$m={MEMORY_KIB},t={PASSES},p=1$"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Presented<Password> {
        Presented::new(text)
    }

    #[tokio::test]
    async fn a_password_is_right_wrong_or_nobodys() {
        let passwords = Passwords::new();
        let kept = passwords.hash(&shown("right"), [1; 16]).await.expect("hashes");
        let verdict = async |kept: Option<&PasswordHash>, text: &str| {
            passwords.verify(kept, &shown(text), [2; 16]).await.expect("verifies")
        };
        assert!(matches!(verdict(Some(&kept), "right").await, Verdict::Right));
        assert!(matches!(verdict(Some(&kept), "wrong").await, Verdict::Wrong));
        assert!(matches!(verdict(None, "right").await, Verdict::Wrong), "nobody cannot be guessed");
    }

    /// Else the time taken would tell who exists.
    #[test]
    fn nobodys_hash_is_read_and_costs_what_every_hash_costs() {
        let (nobody, real) = (nobody(), hash(b"any", &[1; 16]));
        assert_eq!(nobody.as_phc().len(), real.as_phc().len());
        let (nobody, real) =
            (Phc::new(nobody.as_phc()).expect("readable"), Phc::new(real.as_phc()).expect("made here"));
        assert_eq!((nobody.algorithm, nobody.version), (real.algorithm, real.version));
        assert_eq!(nobody.params, real.params);
        assert!(argon2().verify_password(b"any", &nobody).is_err());
    }

    #[tokio::test]
    async fn a_hash_under_weaker_parameters_is_replaced() {
        let weak = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(8 * 1024, 1, 1, None).expect("valid"));
        let weak = weak.hash_password_with_salt(b"right", &[1; 16]).expect("hashes").to_string();
        let verdict = Passwords::new().verify(Some(&PasswordHash::new(weak)), &shown("right"), [2; 16]).await;
        let Verdict::RightButWeak(better) = verdict.expect("verifies") else { panic!("weak, yet kept") };
        assert!(matches(&better, b"right") && !is_weak(&better));
    }

    #[tokio::test]
    async fn a_storm_of_sign_ins_is_told_to_come_back() {
        let passwords = Passwords::new();
        let (busy, let_go) = flume::bounded::<()>(0);
        let hold = || {
            let let_go = let_go.clone();
            Box::new(move || assert!(let_go.recv().is_err(), "nobody sends"))
        };
        // A bounded send goes on once a thread has taken one from the full queue, until all threads hold one.
        let threads = thread::available_parallelism().map_or(1, NonZeroUsize::get).div_ceil(2);
        for _ in 0..threads + MOST_WAITING {
            passwords.queue.send_async(hold()).await.expect("the threads live");
        }
        let refused = passwords.hash(&shown("any"), [1; 16]).await.expect_err("full");
        assert_eq!(refused.kind(), store::FaultKind::Unavailable);
        drop(busy);
        // The last of the queue: when it runs, all before it have left the queue.
        let (done, last) = oneshot::channel();
        let tell = Box::new(move || done.send(()).expect("the test waits"));
        passwords.queue.send_async(tell).await.expect("the threads live");
        last.await.expect("it was run");
        passwords.hash(&shown("any"), [1; 16]).await.expect("there is room again");
    }

    #[tokio::test]
    async fn a_bug_in_one_comparison_is_no_end_of_the_others() {
        let passwords = Passwords::new();
        let threads = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        for _ in 0..threads {
            let failed = passwords.run::<()>(|| panic!("a bug")).await.expect_err("no answer");
            assert_eq!(failed.kind(), store::FaultKind::Failed);
        }
        passwords.hash(&shown("any"), [1; 16]).await.expect("hashes");
    }
}
