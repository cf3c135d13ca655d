//! The progress line, printed each second.

use std::time::Instant;

use super::{load::Load, millis::Millis};

/// The stage of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Connecting,
    Publishing,
    /// Waiting for messages in flight.
    Waiting,
    Closing,
}

/// The counts of the last line: rates are differences to them.
#[derive(Debug)]
pub(super) struct Progress {
    begun: Instant,
    at: Instant,
    sent: u64,
    received: u64,
}

impl Progress {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self {
            begun: now,
            at: now,
            sent: 0,
            received: 0,
        }
    }

    /// The line; walks over the rooms.
    pub(super) fn line(&mut self, stage: Stage, load: &Load, now_ns: u64) -> String {
        let (now, tally) = (Instant::now(), &load.tally);
        let (sent, received) = (tally.messages.sent, load.sum().received);
        let since = now - self.at;
        let rate = |count: u64| u128::from(count) * 1_000_000 / since.as_micros().max(1);
        let stage = match stage {
            Stage::Publishing if !load.is_measuring(now_ns) => "warm-up",
            Stage::Connecting => "connecting",
            Stage::Publishing => "measuring",
            Stage::Waiting => "waiting",
            Stage::Closing => "closing",
        };
        let line = format!(
            "{:>4} s  {stage:<10}  connected {}  sent {}/s  received {}/s  p50 {} ms  p99 {} ms  \
             closes {}",
            (now - self.begun).as_secs(),
            tally.connections.open_at_end,
            rate(sent - self.sent),
            rate(received - self.received),
            Millis::quantile(&tally.latency, 0.50),
            Millis::quantile(&tally.latency, 0.99),
            tally.closes.values().sum::<u64>(),
        );
        (self.at, self.sent, self.received) = (now, sent, received);
        line
    }
}
