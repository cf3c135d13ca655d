//! The counts of hooks.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The counts of all endpoints, including removed ones, so that they never decrease.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) accepted: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) gave_up: AtomicU64,
    pub(super) gone: AtomicU64,
    pub(super) time_us: AtomicU64,
    /// Events that the queues of removed endpoints dropped, while they existed or at their end.
    pub(super) dropped: AtomicU64,
}

/// A copy of the counts, for metrics.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct HookCounts {
    /// Requests by outcome.
    pub(crate) outcomes: [(&'static str, u64); 4],
    pub(crate) seconds: f64,
    pub(crate) waiting: usize,
    pub(crate) dropped: u64,
}

impl Counts {
    /// Returns the counts together with the events that wait in queues, and those that queues
    /// dropped.
    pub(super) fn with_lines(&self, waiting: usize, dropped: u64) -> HookCounts {
        let outcomes = [
            ("accepted", &self.accepted),
            ("failed", &self.failed),
            ("gave_up", &self.gave_up),
            ("gone", &self.gone),
        ];
        #[allow(clippy::cast_precision_loss)] // Prometheus has floats
        let seconds = self.time_us.load(Relaxed) as f64 / 1e6;
        HookCounts {
            outcomes: outcomes.map(|(name, count)| (name, count.load(Relaxed))),
            seconds,
            waiting,
            dropped: self.dropped.load(Relaxed) + dropped,
        }
    }
}
