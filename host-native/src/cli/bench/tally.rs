//! The counts of a run.

use std::collections::BTreeMap;

use roomcast_load::Latencies;
use serde::Serialize;

/// Counts of a run, over all rooms.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Times until `$welcome`.
    pub(super) connect: Latencies,
    /// Times from the moment a message was handed to its connection until a member had read it.
    pub(super) latency: Latencies,
    /// The lag of this program behind its own schedule.
    pub(super) lag: Latencies,
    pub(super) connections: Connections,
    pub(super) messages: Messages,
    pub(super) deliveries: Deliveries,
    /// Deliveries in the time that is measured.
    pub(super) measured: u64,
    /// By code.
    pub(super) closes: BTreeMap<u16, u64>,
    /// By code.
    pub(super) errors: BTreeMap<String, u64>,
}

#[derive(Debug, Default, Clone, Serialize)]
pub(super) struct Connections {
    pub(super) asked: u32,
    pub(super) opened: usize,
    /// The number of open connections, kept up to date during the run.
    pub(super) open_at_end: usize,
    /// By reason.
    pub(super) failed: BTreeMap<String, u64>,
    pub(super) rooms: u32,
}

#[derive(Debug, Default, Clone, Copy, Serialize)]
pub(super) struct Messages {
    pub(super) planned: u64,
    pub(super) sent: u64,
    /// Not sent, because the connection whose turn it was had too much unsent.
    pub(super) held_back: u64,
    /// Refused by the server.
    pub(super) refused: u64,
    pub(super) payload_bytes: usize,
}

#[derive(Debug, Default, Clone, Copy, Serialize)]
pub(super) struct Deliveries {
    pub(super) expected: u64,
    pub(super) received: u64,
    pub(super) lost: u64,
    /// Missing because a connection had ended.
    pub(super) cut_off: u64,
    pub(super) duplicated: u64,
    pub(super) out_of_order: u64,
    /// Frames that the connection should not have received.
    pub(super) stray: u64,
    pub(super) per_s: f64,
    pub(super) measured_s: f64,
}

/// Increments the count of a kind; true when it is the first of that kind.
pub(super) fn count(kinds: &mut BTreeMap<String, u64>, kind: &str) -> bool {
    // A server that invents kinds would fill the memory.
    const KINDS_MAX: usize = 32;
    if let Some(count) = kinds.get_mut(kind) {
        *count += 1;
        return false;
    }
    let kind = if kinds.len() < KINDS_MAX {
        kind
    } else {
        "other"
    };
    let count = kinds.entry(kind.to_owned()).or_default();
    *count += 1;
    *count == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_limited_and_nothing_goes_uncounted() {
        let mut kinds = BTreeMap::new();
        assert!(count(&mut kinds, "0"));
        assert!(!count(&mut kinds, "0"));
        for kind in 1..100 {
            count(&mut kinds, &kind.to_string());
        }
        assert_eq!((kinds.len(), kinds["other"]), (33, 68));
        assert_eq!(kinds.values().sum::<u64>(), 101);
    }
}
