//! Conversion of the relay crate's counters to metrics.

use roomcast_relay::{LATENCY_BOUNDS_US, Loss, RedisRelay, Relay};

use crate::shared::relay::RelayCounts;

/// The counters of a relay, and its backlog.
pub(super) fn counts(relay: &RedisRelay) -> RelayCounts {
    let counted = relay.counters().snapshot();
    let answered: u64 = counted.latencies.iter().sum();
    let losses = Loss::ALL.iter().zip(counted.losses_by_reason);
    // The shutdown of this server is not a loss.
    let losses = losses.filter(|(loss, _)| **loss != Loss::Retired);
    let backlog = relay.backlog();
    RelayCounts {
        publishes: [
            ("accepted", answered),
            ("in_doubt", counted.in_doubt),
            ("failed", counted.failed),
        ],
        latency_bounds_us: &LATENCY_BOUNDS_US,
        latencies: counted.latencies.to_vec(),
        latency_us: counted.latency_us,
        received: counted.received,
        foreign: counted.foreign,
        losses: losses.map(|(loss, count)| (loss.as_str(), count)).collect(),
        connects: counted.connects,
        failed_connects: counted.failed_connects,
        fenced: counted.fenced,
        reaped: counted.reaped_nodes,
        corrections: counted.corrections,
        waiting: backlog.events,
        waiting_bytes: backlog.bytes,
        lag: backlog.age,
        ..RelayCounts::default()
    }
}
