//! The clock of the server, in the time of hubs.

pub(crate) mod patience;

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use roomcast_core::{Timestamp, UnixTime};

/// A monotonic clock whose zero is the start of the server, or 1970; all shards share one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    start: Instant,
    start_unix_ms: u64,
    /// The timestamp at the start.
    zero_ms: u64,
}

impl Clock {
    /// Starts the clock. With `lasting`, timestamps continue from the wall clock at the start, so
    /// that they compare with those of earlier runs. If the wall clock was set back in between,
    /// data is only kept for longer.
    pub(crate) fn start(lasting: bool) -> Self {
        let start_unix_ms = unix_now_ms();
        Self {
            start: Instant::now(),
            start_unix_ms,
            zero_ms: if lasting { start_unix_ms } else { 0 },
        }
    }

    /// The wall-clock time of the start, in milliseconds since 1970.
    pub(crate) const fn start_unix_ms(self) -> u64 {
        self.start_unix_ms
    }

    pub(crate) fn now(self) -> Timestamp {
        self.at(Instant::now())
    }

    pub(crate) fn at(self, instant: Instant) -> Timestamp {
        let since = instant.saturating_duration_since(self.start);
        Timestamp::from_millis(self.zero_ms + millis(since))
    }

    /// The wall-clock time of timestamp zero, by the current wall clock: it moves when that is set.
    pub(crate) fn unix_zero_ms(self) -> u64 {
        unix_now_ms().saturating_sub(self.now().as_millis())
    }

    /// The wall-clock time of a timestamp, in milliseconds since 1970, for display only.
    pub(crate) const fn unix_ms(self, at: Timestamp) -> u64 {
        self.start_unix_ms
            .saturating_add(at.as_millis())
            .saturating_sub(self.zero_ms)
    }
}

/// The wall-clock time.
pub(crate) fn unix_now() -> UnixTime {
    UnixTime::from_millis(unix_now_ms())
}

/// The wall-clock time, in milliseconds since 1970.
pub(crate) fn unix_now_ms() -> u64 {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH);
    millis(unix.unwrap_or_default())
}

/// The whole milliseconds of a duration, saturating.
pub(crate) fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
