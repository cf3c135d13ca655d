//! Counters of the relay.

use std::time::Duration;

/// Counters of the relay, for metrics.
#[derive(Debug, Clone, Default)]
pub(crate) struct RelayCounts {
    pub(crate) is_up: bool,
    /// Publishes by outcome.
    pub(crate) publishes: [(&'static str, u64); 3],
    /// Publishes that were never sent to the relay.
    pub(crate) refused: u64,
    /// The upper bounds of the buckets of answered publishes, in microseconds, and the numbers in
    /// them; one more bucket has all above.
    pub(crate) latency_bounds_us: &'static [u64],
    pub(crate) latencies: Vec<u64>,
    pub(crate) latency_us: u64,
    pub(crate) received: u64,
    /// Messages that no server of this version wrote.
    pub(crate) foreign: u64,
    /// Losses by reason.
    pub(crate) losses: Vec<(&'static str, u64)>,
    pub(crate) connects: u64,
    pub(crate) failed_connects: u64,
    pub(crate) gaps: u64,
    /// The number of times that the lease of this node was taken away.
    pub(crate) fenced: u64,
    /// The number of dead nodes that this one removed.
    pub(crate) reaped: u64,
    /// The number of users for whom the relay and this node differed.
    pub(crate) corrections: u64,
    /// Events that wait for the server, their bytes, and the age of the oldest.
    pub(crate) waiting: usize,
    pub(crate) waiting_bytes: usize,
    pub(crate) lag: Duration,
    /// The bytes of events that shards have not processed.
    pub(crate) under_way_bytes: usize,
    /// Questions to other nodes, and missing answers to them.
    pub(crate) questions: u64,
    pub(crate) missing: u64,
}
