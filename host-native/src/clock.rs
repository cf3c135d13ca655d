//! The time that hubs are given.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use roomcast_core::Timestamp;

/// A monotonic clock whose zero is the start of the server; all shards share one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    start: Instant,
    start_unix_ms: u64,
}

impl Clock {
    pub(crate) fn start() -> Self {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            start: Instant::now(),
            start_unix_ms: millis(unix.unwrap_or_default()),
        }
    }

    pub(crate) fn now(self) -> Timestamp {
        Timestamp::from_millis(millis(self.start.elapsed()))
    }

    /// The wall-clock time of a timestamp, as milliseconds since 1970: for people, not for rules.
    pub(crate) const fn unix_ms(self, at: Timestamp) -> u64 {
        self.start_unix_ms.saturating_add(at.as_millis())
    }
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
