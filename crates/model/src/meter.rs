//! Metrics that many threads add to and one reads occasionally: relaxed atomics, no lock, no allocation.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// A counter that only rises.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Distinct names in one [`NamedCounters`]. Gatehouse has fewer causes of anything.
const NAMES: usize = 40;

/// Counters by name. Names are constants of the program, never request data, so their number is bounded.
#[derive(Debug)]
pub struct NamedCounters {
    places: [(OnceLock<&'static str>, Counter); NAMES],
    others: Counter,
}

impl Default for NamedCounters {
    fn default() -> Self {
        Self { places: std::array::from_fn(|_| (OnceLock::new(), Counter::default())), others: Counter::default() }
    }
}

impl NamedCounters {
    pub fn add(&self, name: &'static str) {
        let place = self.places.iter().find(|(known, _)| *known.get_or_init(|| name) == name);
        place.map_or(&self.others, |(_, count)| count).add(1);
    }

    pub fn read(&self) -> Vec<(&'static str, u64)> {
        let named = self.places.iter().map_while(|(name, count)| Some((*name.get()?, count.read())));
        let others = Some(("other", self.others.read())).filter(|(_, count)| *count > 0);
        named.chain(others).collect()
    }
}

/// Upper bounds of latency buckets, in microseconds.
pub const LATENCIES: &[u64] = &[
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    10_000_000,
];

/// Upper bounds of batch-size buckets.
pub const SIZES: &[u64] = &[1, 2, 4, 8, 16, 32, 64, 128, 256];

/// A histogram.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [u64],
    /// One more than there are bounds: the last counts values above the last bound.
    counts: Box<[Counter]>,
    sum: Counter,
}

/// A histogram as read: the sum of all values, and one count per bucket. A bucket holds values up to its bound and
/// above the previous bound; the last bucket has no bound.
#[derive(Debug, PartialEq, Eq)]
pub struct HistogramSnapshot {
    pub sum: u64,
    pub buckets: Vec<(Option<u64>, u64)>,
}

impl Histogram {
    /// `bounds` must be ascending.
    pub fn new(bounds: &'static [u64]) -> Self {
        Self { bounds, counts: (0..=bounds.len()).map(|_| Counter::default()).collect(), sum: Counter::default() }
    }

    pub fn add(&self, value: u64) {
        let place = self.bounds.partition_point(|bound| *bound < value);
        self.counts[place].add(1);
        self.sum.add(value);
    }

    pub fn read(&self) -> HistogramSnapshot {
        let bounds = self.bounds.iter().copied().map(Some).chain([None]);
        HistogramSnapshot { sum: self.sum.read(), buckets: bounds.zip(self.counts.iter().map(Counter::read)).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tally_counts_by_name_and_has_a_bound() {
        let tally = NamedCounters::default();
        for name in ["wrong_password", "unknown_user", "wrong_password"] {
            tally.add(name);
        }
        assert_eq!(tally.read(), [("wrong_password", 2), ("unknown_user", 1)]);
        for number in 0..NAMES {
            tally.add(format!("made up {number}").leak());
        }
        let read = tally.read();
        assert_eq!((read.len(), read[NAMES]), (NAMES + 1, ("other", 2)));
    }

    #[test]
    fn many_threads_that_name_new_things_at_once_lose_none() {
        let tally = NamedCounters::default();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| (0..1000).for_each(|n| tally.add(["a", "b", "c", "d"][n % 4])));
            }
        });
        let mut read = tally.read();
        read.sort_unstable();
        assert_eq!(read, [("a", 2000), ("b", 2000), ("c", 2000), ("d", 2000)]);
    }

    #[test]
    fn a_value_falls_at_or_below_its_bound() {
        let histogram = Histogram::new(SIZES);
        for value in [1, 2, 3, 256, 257] {
            histogram.add(value);
        }
        let read = histogram.read();
        assert_eq!(read.sum, 519);
        let counted: Vec<_> = read.buckets.into_iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(counted, [(Some(1), 1), (Some(2), 1), (Some(4), 1), (Some(256), 1), (None, 1)]);
    }
}
