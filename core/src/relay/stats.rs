//! Counters of a clustered hub.

use serde::{Deserialize, Serialize};

/// Counts of a hub and its relay since the beginning. For operators: no part of the state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RelayStats {
    /// Messages that were published, without retries.
    pub published: u64,
    /// Publishes that were not answered in time.
    pub in_doubt: u64,
    /// Publishes that were answered as failed, refused ones included.
    pub failed: u64,
    /// The part of them that was never handed to the relay: it is away, or too far behind.
    pub refused: u64,
    /// Messages that came by the relay and were delivered.
    pub delivered: u64,
    /// Messages that came again, and were dropped.
    pub duplicates: u64,
    /// Gaps that members were told of, one for each topic that had one.
    pub gaps: u64,
    /// Messages that no hub of this version wrote, and that were dropped.
    pub foreign: u64,
    /// Reads of what was missed.
    pub fills: u64,
}
