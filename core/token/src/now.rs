//! The time on both clocks.

use roomcast_core::Timestamp;

/// The time on both clocks, read at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// The wall clock, in seconds since 1970, for the times in tokens.
    pub unix_s: u64,
    /// The monotonic clock, for deadlines.
    pub time: Timestamp,
}
