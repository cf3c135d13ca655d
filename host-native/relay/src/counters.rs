//! Counters of a relay, for metrics.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use crate::event::Loss;

/// Upper bounds of the latency buckets, in microseconds; one more bucket has everything above.
pub const LATENCY_BOUNDS_US: [u64; 10] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 50_000, 250_000, 1_000_000,
];

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident $count:ident;)*) => {
        /// Numbers that any thread adds to and any thread reads.
        #[derive(Debug, Default)]
        pub struct Counters {
            $($name: AtomicU64,)*
            losses: [AtomicU64; Loss::ALL.len()],
            corrections: AtomicU64,
            buckets: [AtomicU64; LATENCY_BOUNDS_US.len() + 1],
            latency_us: AtomicU64,
        }

        /// The values of [`Counters`] at a moment.
        #[derive(Debug, Clone, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Snapshot {
            $($(#[$doc])* pub $name: u64,)*
            /// Losses of the relay.
            pub losses: u64,
            /// Losses by reason, in the order of [`Loss::ALL`].
            pub losses_by_reason: [u64; Loss::ALL.len()],
            /// Users on whom the relay and the node differed at a reconciliation.
            pub corrections: u64,
            /// Answered publishes by latency, see [`LATENCY_BOUNDS_US`]; buckets are not
            /// cumulative.
            pub latencies: [u64; LATENCY_BOUNDS_US.len() + 1],
            /// The sum of these latencies, in microseconds.
            pub latency_us: u64,
        }

        impl Counters {
            $($(#[$doc])* pub fn $count(&self) {
                self.$name.fetch_add(1, Relaxed);
            })*

            /// Reads all values.
            pub fn snapshot(&self) -> Snapshot {
                let losses_by_reason = self.losses.each_ref().map(|count| count.load(Relaxed));
                Snapshot {
                    $($name: self.$name.load(Relaxed),)*
                    losses: losses_by_reason.iter().sum(),
                    losses_by_reason,
                    corrections: self.corrections.load(Relaxed),
                    latencies: self.buckets.each_ref().map(|bucket| bucket.load(Relaxed)),
                    latency_us: self.latency_us.load(Relaxed),
                }
            }
        }
    };
}

counters! {
    /// Publishes without an answer in time.
    in_doubt count_in_doubt;
    /// Publishes that were refused, or failed at once.
    failed count_failed;
    /// Events that were received: messages, presence notices and messages over the bus.
    received count_received;
    /// Pushes that were dropped because they are not valid envelopes for their topics.
    foreign count_foreign;
    /// Attempts to connect that failed.
    failed_connects count_failed_connect;
    /// The number of times that the relay became ready.
    connects count_connect;
    /// The number of times that the lease was taken away.
    fenced count_fenced;
    /// Dead nodes that this one claimed.
    reaped_nodes count_reaped_node;
}

impl Counters {
    pub(crate) fn count_loss(&self, loss: Loss) {
        let reason = Loss::ALL.iter().position(|it| *it == loss);
        if let Some(count) = reason.and_then(|reason| self.losses.get(reason)) {
            count.fetch_add(1, Relaxed);
        }
    }

    pub(crate) fn count_corrections(&self, more: usize) {
        self.corrections.fetch_add(more as u64, Relaxed);
    }

    pub(crate) fn count_latency(&self, took: Duration) {
        let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = LATENCY_BOUNDS_US.partition_point(|bound| *bound < took_us);
        self.buckets[bucket].fetch_add(1, Relaxed);
        self.latency_us.fetch_add(took_us, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_counted_by_reason() {
        let counters = Counters::default();
        for loss in [Loss::Silent, Loss::Lineage, Loss::Silent] {
            counters.count_loss(loss);
        }
        let snapshot = counters.snapshot();
        assert_eq!(snapshot.losses, 3);
        let of = |loss| {
            Loss::ALL
                .iter()
                .position(|it| *it == loss)
                .map(|at| snapshot.losses_by_reason[at])
        };
        assert_eq!((of(Loss::Silent), of(Loss::Overflow)), (Some(2), Some(0)));
    }

    #[test]
    fn latencies_fall_into_their_buckets() {
        let counters = Counters::default();
        for micros in [0, 100, 101, 1_000_000, 1_000_001] {
            counters.count_latency(Duration::from_micros(micros));
        }
        let snapshot = counters.snapshot();
        assert_eq!(snapshot.latencies, [2, 1, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
        assert_eq!(snapshot.latency_us, 2_000_202);
    }
}
