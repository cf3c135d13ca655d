//! Counters with one writing thread and any number of readers.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// A number that only its shard's thread writes: an addition is as cheap as for a plain integer,
/// without locking the bus. Other threads may read it at any time.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, more: u64) {
        self.set(self.get().wrapping_add(more));
    }

    pub(crate) fn set(&self, value: u64) {
        self.0.store(value, Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// The maximum of the last one to two minutes.
#[derive(Debug, Default)]
pub(crate) struct Peak {
    current: Counter,
    previous: Counter,
}

impl Peak {
    pub(crate) fn note(&self, value: usize) {
        if value as u64 > self.current.get() {
            self.current.set(value as u64);
        }
    }

    /// Forgets values that are older than the last call.
    pub(crate) fn rotate(&self) {
        self.previous.set(self.current.get());
        self.current.set(0);
    }

    pub(crate) fn get(&self) -> u64 {
        self.current.get().max(self.previous.get())
    }
}

/// The upper bounds of the buckets of [`Times`], in microseconds; one more bucket has all above.
pub(crate) const BOUNDS_US: [u64; 14] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000,
];

/// A histogram of durations.
#[derive(Debug, Default)]
pub(crate) struct Times {
    /// Counts by bucket, not cumulative.
    pub(crate) counts: [Counter; BOUNDS_US.len() + 1],
    pub(crate) sum_ns: Counter,
}

impl Times {
    pub(crate) fn observe(&self, took: Duration) {
        let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let mut bounds = BOUNDS_US.iter();
        let bucket = bounds.position(|bound| ns <= bound * 1_000);
        self.counts[bucket.unwrap_or(BOUNDS_US.len())].add(1);
        self.sum_ns.add(ns);
    }
}

/// The number of buckets of [`Sizes`]. Bounds start at 1, and each is four times the previous one;
/// the last bucket has all above.
pub(crate) const SIZES: usize = 10;

/// A histogram of numbers of recipients.
#[derive(Debug, Default)]
pub(crate) struct Sizes {
    /// Counts by bucket, not cumulative.
    pub(crate) counts: [Counter; SIZES],
    pub(crate) sum: Counter,
}

impl Sizes {
    pub(crate) fn observe(&self, size: usize) {
        let bucket = size.saturating_sub(1).checked_ilog2();
        let bucket = bucket.map_or(0, |log| log as usize / 2 + 1);
        self.counts[bucket.min(SIZES - 1)].add(1);
        self.sum.add(size as u64);
    }

    /// The upper bound of a bucket.
    pub(crate) const fn bound(bucket: usize) -> u64 {
        1 << (2 * bucket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_in_the_first_bucket_whose_bound_it_does_not_pass() {
        for (size, bucket) in [
            (0, 0),
            (1, 0),
            (2, 1),
            (4, 1),
            (5, 2),
            (16, 2),
            (17, 3),
            (65_536, 8),
            (65_537, 9),
            (usize::MAX, 9),
        ] {
            let sizes = Sizes::default();
            sizes.observe(size);
            let found = sizes.counts.iter().position(|count| count.get() == 1);
            assert_eq!(found, Some(bucket), "{size}");
            let below = bucket.checked_sub(1).map_or(0, Sizes::bound);
            assert!(size == 0 || size as u64 > below);
        }
    }

    #[test]
    fn a_time_is_in_the_first_bucket_whose_bound_it_does_not_pass() {
        for (us, bucket) in [(0, 0), (100, 0), (101, 1), (2_500_000, 13), (2_500_001, 14)] {
            let times = Times::default();
            times.observe(Duration::from_micros(us));
            let found = times.counts.iter().position(|count| count.get() == 1);
            assert_eq!(found, Some(bucket), "{us}");
            assert_eq!(times.sum_ns.get(), us * 1_000);
        }
    }

    #[test]
    fn a_peak_lasts_for_one_to_two_rotations() {
        let peak = Peak::default();
        peak.note(7);
        peak.note(3);
        peak.rotate();
        peak.note(5);
        assert_eq!(peak.get(), 7);
        peak.rotate();
        assert_eq!(peak.get(), 5);
    }
}
