//! What the drivers count of themselves.

use model::meter::{Count, Histogram, LATENCIES, SIZES};

/// Commits of one database, since it was opened.
pub(crate) struct Commits {
    made: Count,
    batches: Count,
    /// Of one commit, in microseconds.
    latency: Histogram,
    /// Batches that shared one.
    sizes: Histogram,
}

impl Default for Commits {
    fn default() -> Self {
        Self {
            made: Count::default(),
            batches: Count::default(),
            latency: Histogram::new(LATENCIES),
            sizes: Histogram::new(SIZES),
        }
    }
}

impl Commits {
    pub(crate) fn add(&self, batches: u64, took: std::time::Duration) {
        self.made.add(1);
        self.batches.add(batches);
        self.sizes.add(batches);
        self.latency.add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    }

    pub(crate) fn figures(&self, waiting: usize) -> Figures<'_> {
        Figures {
            waiting,
            commits: self.made.read(),
            batches: self.batches.read(),
            latency: &self.latency,
            sizes: &self.sizes,
        }
    }
}

/// The figures of a database, as they are now.
pub struct Figures<'a> {
    /// Batches that wait to be committed, on PostgreSQL with those under way.
    pub waiting: usize,
    pub commits: u64,
    pub batches: u64,
    /// Of one commit, in microseconds.
    pub latency: &'a Histogram,
    /// Batches that shared one.
    pub sizes: &'a Histogram,
}
