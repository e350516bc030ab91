//! Time and randomness as arguments: read once per request or task and passed down.

use std::time::Duration;

use uuid::Uuid;

use crate::audit::RequestInfo;

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

    /// RFC 3339 §5.6, in UTC.
    pub fn rfc3339(self) -> String {
        jiff::Timestamp::from_microsecond(self.0).map_or_else(|_| self.0.to_string(), |at| at.to_string())
    }

    /// An RFC 3339 time, or a date (`2026-11-21`), which means midnight UTC at its start.
    pub fn parse(text: &str) -> Option<Self> {
        let day: Option<jiff::civil::Date> = text.parse().ok().filter(|_| !text.contains(['T', 't', ' ']));
        let at: jiff::Timestamp = match day {
            Some(day) => format!("{day}T00:00:00Z").parse().ok()?,
            None => text.parse().ok()?,
        };
        Some(Self(at.as_microsecond()))
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

/// Source of unpredictable bytes: the operating system, or a seeded generator in the project's own tests.
pub trait Rng: Send + Sync {
    fn fill(&mut self, bytes: &mut [u8]);

    /// 256 bits.
    fn secret(&mut self) -> [u8; 32] {
        let mut bytes = [0; 32];
        self.fill(&mut bytes);
        bytes
    }

    /// UUID version 7 (RFC 9562 §5.7): ordered by time, which suits the indexes of both databases. Never a secret.
    fn id(&mut self, now: Timestamp) -> Uuid {
        let mut bytes = [0; 10];
        self.fill(&mut bytes);
        let millis = u64::try_from(now.micros() / 1000).unwrap_or(0);
        uuid::Builder::from_unix_timestamp_millis(millis, &bytes).into_uuid()
    }
}

/// A clock reading and randomness for work without a request (background tasks, the command line).
pub struct Moment<'a> {
    pub now: Timestamp,
    pub rng: &'a mut dyn Rng,
}

impl Moment<'_> {
    pub fn id(&mut self) -> Uuid {
        self.rng.id(self.now)
    }
}

/// The context of a flow: one clock reading, randomness, and the request's origin.
pub struct Ctx<'a> {
    pub now: Timestamp,
    pub rng: &'a mut dyn Rng,
    pub request: &'a RequestInfo,
}

impl Ctx<'_> {
    pub fn id(&mut self) -> Uuid {
        self.rng.id(self.now)
    }

    pub fn moment(&mut self) -> Moment<'_> {
        Moment { now: self.now, rng: &mut *self.rng }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_back_and_a_date_is_its_first_moment() {
        let at = Timestamp(1_795_252_632_000_001);
        assert_eq!(at.rfc3339(), "2026-11-21T09:17:12.000001Z");
        assert_eq!(Timestamp::parse(&at.rfc3339()), Some(at));
        assert_eq!(Timestamp::parse("2026-11-21"), Timestamp::parse("2026-11-21T00:00:00Z"));
        assert_eq!(Timestamp::parse("2026-11-21T01:00:00+01:00"), Timestamp::parse("2026-11-21"));
        for bad in ["", "yesterday", "2026-13-01", "2026-11-21T09:17:12"] {
            assert_eq!(Timestamp::parse(bad), None, "{bad}");
        }
    }
}
