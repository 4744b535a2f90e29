//! Durations by size.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::micros;
use super::view::HistogramView;

/// Upper bounds of the buckets in microseconds: 1 ms to 30 s.
const BOUNDS: [u64; 12] = [
    1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 5_000_000,
    30_000_000,
];

/// How many durations fell into each bucket.
#[derive(Debug, Default)]
pub(super) struct Histogram {
    /// The last one has no bound.
    counts: [AtomicU64; BOUNDS.len() + 1],
    sum_us: AtomicU64,
}

impl Histogram {
    pub(super) fn add(&self, duration: Duration) {
        let us = micros(duration);
        let bucket = BOUNDS.partition_point(|bound| *bound < us);
        if let Some(count) = self.counts.get(bucket) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.sum_us.fetch_add(us, Ordering::Relaxed);
    }

    pub(super) fn view(&self) -> HistogramView {
        let bounds = BOUNDS.into_iter().chain([u64::MAX]);
        let counts = self.counts.iter().map(|count| count.load(Ordering::Relaxed));
        HistogramView {
            buckets: bounds.zip(counts).collect(),
            sum_us: self.sum_us.load(Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_in_the_first_bucket_whose_bound_it_does_not_exceed() {
        let histogram = Histogram::default();
        for us in [0, 1_000, 1_001, 30_000_000, 30_000_001, u64::MAX / 2] {
            histogram.add(Duration::from_micros(us));
        }
        let full: Vec<_> =
            histogram.view().buckets.into_iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(full, [(1_000, 2), (2_500, 1), (30_000_000, 1), (u64::MAX, 2)]);
    }
}
