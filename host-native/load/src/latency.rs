//! Latencies.

use std::time::Duration;

use hdrhistogram::Histogram;

/// Times of up to a minute, with three significant digits, in a fixed amount of memory.
#[derive(Debug)]
pub struct Latencies(Histogram<u64>);

impl Default for Latencies {
    fn default() -> Self {
        const MAX_US: u64 = 60_000_000;
        Self(Histogram::new_with_max(MAX_US, 3).expect("bounds and digits that there can be"))
    }
}

impl Latencies {
    /// Adds a time.
    pub fn record(&mut self, took: Duration) {
        self.record_ns(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Adds a time in nanoseconds.
    pub fn record_ns(&mut self, nanos: u64) {
        self.0.saturating_record(nanos / 1_000);
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.0.reset();
    }

    /// The quantile for a `part` between 0 and 1, in microseconds.
    pub fn quantile_us(&self, part: f64) -> Option<u64> {
        self.measured(|times| times.value_at_quantile(part))
    }

    /// The microseconds of the shortest time.
    pub fn min_us(&self) -> Option<u64> {
        self.measured(Histogram::min)
    }

    /// The microseconds of the longest time.
    pub fn max_us(&self) -> Option<u64> {
        self.measured(Histogram::max)
    }

    fn measured(&self, value: impl FnOnce(&Histogram<u64>) -> u64) -> Option<u64> {
        (!self.0.is_empty()).then(|| value(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_kept_in_microseconds() {
        let mut times = Latencies::default();
        assert_eq!(times.quantile_us(0.99), None);
        for micros in 1..=1_000 {
            times.record(Duration::from_micros(micros));
        }
        assert_eq!((times.min_us(), times.max_us()), (Some(1), Some(1_000)));
        assert_eq!(times.quantile_us(0.50), Some(500));
        assert_eq!(times.quantile_us(0.999), Some(999));
        times.clear();
        assert_eq!(times.max_us(), None);
    }

    #[test]
    fn a_time_beyond_the_scale_stays_on_it() {
        let mut times = Latencies::default();
        times.record(Duration::MAX);
        assert!(times.max_us() >= Some(59_000_000));
    }
}
