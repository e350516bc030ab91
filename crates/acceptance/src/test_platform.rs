use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use aws_lc_rs::digest;
use flows::{PasswordCost, Platform};
use model::{Rng, Timestamp};

/// The time at which every test begins and the demo is filled.
pub const BEGINNING: Timestamp = Timestamp::from_seconds(1_900_000_000);

/// A clock that moves only when a test moves it, and randomness that is the same in every run.
pub struct TestPlatform {
    now: AtomicI64,
    throws: AtomicU64,
    password_cost: PasswordCost,
}

impl TestPlatform {
    pub fn new() -> Arc<Self> {
        Self::begun(BEGINNING, 0, PasswordCost::OWASP)
    }

    /// Password hashing costs almost nothing, for thousands of sign-ins.
    pub fn of_cheap_passwords() -> Arc<Self> {
        Self::begun(BEGINNING, 0, PasswordCost::LEAST)
    }

    fn begun(now: Timestamp, throws: u64, password_cost: PasswordCost) -> Arc<Self> {
        Arc::new(Self { now: AtomicI64::new(now.0), throws: AtomicU64::new(throws), password_cost })
    }

    /// For a database that another platform wrote at this time. The randomness differs from that platform's.
    pub fn resumed(now: Timestamp) -> Arc<Self> {
        Self::begun(now, 1 << 32, PasswordCost::OWASP)
    }

    pub fn advance(&self, span: Duration) {
        self.set(self.now().plus(span));
    }

    pub fn set(&self, now: Timestamp) {
        self.now.store(now.0, Ordering::SeqCst);
    }
}

impl Platform for TestPlatform {
    fn now(&self) -> Timestamp {
        Timestamp(self.now.load(Ordering::SeqCst))
    }

    fn rng(&self) -> Box<dyn Rng> {
        Box::new(SeededRng { seed: self.throws.fetch_add(1, Ordering::SeqCst), block: 0 })
    }

    fn password_cost(&self) -> PasswordCost {
        self.password_cost
    }
}

/// SHA-256 of the seed and a counter.
struct SeededRng {
    seed: u64,
    block: u64,
}

impl Rng for SeededRng {
    fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(32) {
            let block = digest::digest(&digest::SHA256, format!("{} {}", self.seed, self.block).as_bytes());
            chunk.copy_from_slice(&block.as_ref()[..chunk.len()]);
            self.block += 1;
        }
    }
}
