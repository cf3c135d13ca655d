//! Formatting of times.

use std::{fmt, time::Duration};

use roomcast_load::Latencies;
use serde::{Serialize, Serializer};

/// A time in microseconds that is formatted in milliseconds; `None` when nothing was measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Millis(pub(super) Option<u64>);

impl Millis {
    /// The quantile of the times for a `part` between 0 and 1.
    pub(super) fn quantile(times: &Latencies, part: f64) -> Self {
        Self(times.quantile_us(part))
    }

    pub(super) fn is_over(self, limit: Duration) -> bool {
        self.0
            .is_some_and(|micros| u128::from(micros) > limit.as_micros())
    }
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            // More digits would exceed the precision of a busy machine's clock.
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
        let mut times = Latencies::default();
        assert_eq!(Millis::quantile(&times, 0.99).to_string(), "-");
        let max = serde_json::to_string(&Millis(times.max_us())).expect("JSON");
        assert_eq!(max, "null");
        (1..=1_000).for_each(|micros| times.record(Duration::from_micros(micros)));
        assert_eq!(Millis(times.min_us()).to_string(), "0.00");
        assert_eq!(Millis::quantile(&times, 0.50).to_string(), "0.50");
        let most = serde_json::to_string(&Millis::quantile(&times, 0.999)).expect("JSON");
        assert_eq!(most, "0.999");
        assert!(Millis(times.max_us()).is_over(Duration::from_micros(999)));
        assert!(!Millis(times.max_us()).is_over(Duration::from_millis(1)));
    }
}
