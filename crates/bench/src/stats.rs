//! Medians, because measurements are noisy, with the lowest and highest value to show how noisy.

use serde_json::{Value, json};

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl Spread {
    /// The spread of at least one value.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = values.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let (low, high) = (sorted[0], sorted[sorted.len() - 1]);
        let middle = sorted.len() / 2;
        let median =
            if sorted.len() % 2 == 1 { sorted[middle] } else { f64::midpoint(sorted[middle - 1], sorted[middle]) };
        Self { median, low, high }
    }

    pub(crate) fn json(self) -> Value {
        json!({ "median": self.median, "low": self.low, "high": self.high })
    }
}

/// The smallest value that at least `percent` % of all values do not exceed. Sorts the values.
pub(crate) fn percentile(values: &mut [u32], percent: usize) -> f64 {
    values.sort_unstable();
    let rank = (values.len() * percent).div_ceil(100).max(1);
    f64::from(values[rank - 1])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_the_middle_or_between_the_two_middles() {
        assert_eq!(Spread::of([3.0, 1.0, 2.0]), Spread { median: 2.0, low: 1.0, high: 3.0 });
        assert_eq!(Spread::of([4.0, 1.0, 2.0, 9.0]), Spread { median: 3.0, low: 1.0, high: 9.0 });
        assert_eq!(Spread::of([5.0]), Spread { median: 5.0, low: 5.0, high: 5.0 });
    }

    #[test]
    fn a_percentile_is_a_value_that_was_measured() {
        let mut hundred: Vec<u32> = (1..=100).rev().collect();
        assert!((percentile(&mut hundred, 50) - 50.0).abs() < f64::EPSILON);
        assert!((percentile(&mut hundred, 99) - 99.0).abs() < f64::EPSILON);
        assert!((percentile(&mut [7], 99) - 7.0).abs() < f64::EPSILON);
    }
}
