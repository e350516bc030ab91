//! Metrics of the drivers.

use model::meter::{Counter, Histogram, LATENCIES, SIZES};

/// Commits of one database since it was opened.
pub(crate) struct CommitFigures {
    made: Counter,
    batches: Counter,
    /// Per commit, in microseconds.
    latency: Histogram,
    /// Batches per commit.
    sizes: Histogram,
}

impl Default for CommitFigures {
    fn default() -> Self {
        Self {
            made: Counter::default(),
            batches: Counter::default(),
            latency: Histogram::new(LATENCIES),
            sizes: Histogram::new(SIZES),
        }
    }
}

impl CommitFigures {
    pub(crate) fn add(&self, batches: u64, took: std::time::Duration) {
        self.made.add(1);
        self.batches.add(batches);
        self.sizes.add(batches);
        self.latency.add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    }

    pub(crate) fn figures(&self, waiting: usize) -> DatabaseFigures<'_> {
        DatabaseFigures {
            waiting,
            commits: self.made.read(),
            batches: self.batches.read(),
            latency: &self.latency,
            sizes: &self.sizes,
        }
    }
}

/// The current metrics of a database.
pub struct DatabaseFigures<'a> {
    /// Batches that wait for their commit; on PostgreSQL including those being committed.
    pub waiting: usize,
    pub commits: u64,
    pub batches: u64,
    /// Per commit, in microseconds.
    pub latency: &'a Histogram,
    /// Batches per commit.
    pub sizes: &'a Histogram,
}
