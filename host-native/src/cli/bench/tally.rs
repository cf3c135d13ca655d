//! The counts of a run.

use std::collections::BTreeMap;

use roomcast_load::Latencies;

/// Counts of a run, over all rooms.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Times until `$welcome`.
    pub(super) connect: Latencies,
    /// From the moment a message was handed to its connection until a member had read it.
    pub(super) latency: Latencies,
    /// How late this program itself was.
    pub(super) lag: Latencies,
    pub(super) sent: u64,
    /// Not sent, as the connection whose turn it was took nothing.
    pub(super) held_back: u64,
    /// Messages that the server refused.
    pub(super) refused: u64,
    /// Deliveries in the time that is measured.
    pub(super) measured: u64,
    pub(super) duplicated: u64,
    pub(super) out_of_order: u64,
    /// Frames that belong to somebody else.
    pub(super) stray: u64,
    /// By reason.
    pub(super) failed: BTreeMap<String, u64>,
    /// By code.
    pub(super) closes: BTreeMap<u16, u64>,
    /// By code.
    pub(super) errors: BTreeMap<String, u64>,
}

/// Counts one more of a kind; true when it is the first.
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
