//! Processes, requests and users for the tests of the binary.

pub(crate) mod browser;
pub(crate) mod disk;
pub(crate) mod http;
pub(crate) mod installation;
pub(crate) mod pair;
pub(crate) mod process;
pub(crate) mod wire;

use std::time::{Duration, Instant};

/// Far longer than anything takes on a busy machine; only a failing test waits this long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A change is followed within a second; the machine of the tests may be busy with other things.
pub(crate) const SOON: Duration = Duration::from_secs(5);

/// Asks again and again until the answer is yes.
pub(crate) fn until(what: &str, limit: Duration, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + limit;
    while !is_so() {
        assert!(Instant::now() < deadline, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
