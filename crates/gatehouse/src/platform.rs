//! The real clock and the operating system's randomness.

use flows::Platform;
use model::{Rng, Timestamp};

/// The real clock and the operating system's randomness.
pub(crate) struct SystemPlatform;

impl Platform for SystemPlatform {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
    fn now(&self) -> Timestamp {
        let since_1970 = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Timestamp(i64::try_from(since_1970.as_micros()).unwrap_or(i64::MAX))
    }

    fn rng(&self) -> Box<dyn Rng> {
        Box::new(web::SystemRng)
    }
}
