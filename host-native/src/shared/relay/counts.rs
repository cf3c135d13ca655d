//! Counters of the relay.

/// Counters of the relay, for metrics.
#[derive(Debug, Clone, Default)]
pub(crate) struct RelayCounts {
    pub(crate) is_up: bool,
    /// Publishes by outcome.
    pub(crate) publishes: [(&'static str, u64); 3],
    /// The upper bounds of the buckets of answered publishes, in microseconds, and the numbers in
    /// them; one more bucket has all above.
    pub(crate) latency_bounds_us: &'static [u64],
    pub(crate) latencies: Vec<u64>,
    pub(crate) latency_us: u64,
    pub(crate) received: u64,
    /// Messages that no server of this version wrote.
    pub(crate) foreign: u64,
    pub(crate) losses: u64,
    pub(crate) connects: u64,
    pub(crate) failed_connects: u64,
    pub(crate) gaps: u64,
}
