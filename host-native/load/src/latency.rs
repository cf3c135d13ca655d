//! How long things took.

use std::time::Duration;

use hdrhistogram::{CreationError, Histogram};
use serde::{Serialize, Serializer};

/// Times of up to a minute, each kept to three digits, in memory that does not grow.
#[derive(Debug)]
pub(super) struct Latencies(Histogram<u64>);

/// A time that is written in milliseconds; `None` when nothing was measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Millis(Option<u64>);

impl Latencies {
    pub(super) fn new() -> Result<Self, CreationError> {
        const MAX_US: u64 = 60_000_000;
        Histogram::new_with_max(MAX_US, 3).map(Self)
    }

    pub(super) fn record(&mut self, took: Duration) {
        self.record_us(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    }

    pub(super) fn record_us(&mut self, micros: u64) {
        self.0.saturating_record(micros);
    }

    /// The time that this part of all times does not exceed.
    pub(super) fn quantile(&self, part: f64) -> Millis {
        self.measured(|times| times.value_at_quantile(part))
    }

    pub(super) fn min(&self) -> Millis {
        self.measured(Histogram::min)
    }

    pub(super) fn max(&self) -> Millis {
        self.measured(Histogram::max)
    }

    fn measured(&self, value: impl FnOnce(&Histogram<u64>) -> u64) -> Millis {
        Millis((!self.0.is_empty()).then(|| value(&self.0)))
    }
}

impl Millis {
    pub(super) fn is_over(self, limit: Duration) -> bool {
        self.0
            .is_some_and(|micros| u128::from(micros) > limit.as_micros())
    }
}

impl std::fmt::Display for Millis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            // More digits than the clock of a busy machine is good for would only be in the way.
            Some(micros) => f.pad(&format!("{}.{:02}", micros / 1_000, micros % 1_000 / 10)),
            None => f.pad("-"),
        }
    }
}

impl Serialize for Millis {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[expect(clippy::cast_precision_loss, reason = "at most a minute")]
        let millis = self.0.map(|micros| micros as f64 / 1_000.0);
        millis.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_in_milliseconds() {
        let mut times = Latencies::new().expect("valid bounds");
        assert_eq!(times.quantile(0.99).to_string(), "-");
        assert_eq!(serde_json::to_string(&times.max()).unwrap(), "null");
        for micros in 1..=1_000 {
            times.record(Duration::from_micros(micros));
        }
        assert_eq!(times.min().to_string(), "0.00");
        assert_eq!(times.quantile(0.50).to_string(), "0.50");
        assert_eq!(
            serde_json::to_string(&times.quantile(0.999)).unwrap(),
            "0.999"
        );
        assert!(times.max().is_over(Duration::from_micros(999)));
        assert!(!times.max().is_over(Duration::from_millis(1)));
    }

    #[test]
    fn a_time_beyond_the_scale_stays_on_it() {
        let mut times = Latencies::new().expect("valid bounds");
        times.record(Duration::MAX);
        assert!(times.max().is_over(Duration::from_secs(59)));
    }
}
