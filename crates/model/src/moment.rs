//! Time and randomness are arguments: read once at the door, handed down.

use std::time::Duration;

use uuid::Uuid;

/// Microseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Timestamp(pub i64);

impl Timestamp {
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Whole seconds, as JWT `NumericDate` (RFC 7519 §2).
    pub const fn seconds(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    pub const fn from_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1_000_000))
    }

    #[must_use]
    pub fn plus(self, span: Duration) -> Self {
        Self(self.0.saturating_add(micros(span)))
    }

    #[must_use]
    pub fn minus(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(micros(span)))
    }

    /// Time since `earlier`; zero when the clock stepped back.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

fn micros(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}

/// Where unpredictable bytes come from: the operating system, or a seed in the project's own tests.
pub trait Dice: Send + Sync {
    fn fill(&mut self, bytes: &mut [u8]);

    /// 256 bits.
    fn secret(&mut self) -> [u8; 32] {
        let mut bytes = [0; 32];
        self.fill(&mut bytes);
        bytes
    }

    /// UUID version 7 (RFC 9562 §5.7): ordered by time, which both databases' indexes like. Never a secret.
    fn id(&mut self, now: Timestamp) -> Uuid {
        let mut bytes = [0; 10];
        self.fill(&mut bytes);
        let millis = u64::try_from(now.micros() / 1000).unwrap_or(0);
        uuid::Builder::from_unix_timestamp_millis(millis, &bytes).into_uuid()
    }
}

/// The one reading of clock and dice that a request gets.
pub struct Moment<'a> {
    pub now: Timestamp,
    pub dice: &'a mut dyn Dice,
}

impl Moment<'_> {
    pub fn id(&mut self) -> Uuid {
        self.dice.id(self.now)
    }
}
