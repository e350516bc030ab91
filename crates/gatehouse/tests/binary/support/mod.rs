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

/// Nodes follow a change within a second; this allows for a busy machine.
pub(crate) const SOON: Duration = Duration::from_secs(5);

/// Repeats a check until it succeeds.
pub(crate) fn until(what: &str, limit: Duration, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + limit;
    while !is_so() {
        assert!(Instant::now() < deadline, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
