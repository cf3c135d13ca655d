//! The pace of sending.

use std::time::Duration;

use serde::Deserialize;
use tokio::time::Instant;

/// Limits that `$welcome` announces; an absent one is no limit.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Limits {
    /// Bytes of one message.
    pub(super) message_bytes: Option<usize>,
    inbound_messages_per_s: Option<u32>,
    inbound_burst_messages: Option<u32>,
}

/// The default limit of a server for bytes per second, which it does not announce. The burst is the
/// same number.
const BYTES_PER_S: u32 = 256 * 1024;

/// Keeps a client below the rate limits of its server.
///
/// One bucket serves both messages and bytes: a message costs the time of the tighter limit. The
/// client may be ahead by 80 % of the smaller burst: the network may deliver messages closer
/// together than they were sent.
#[derive(Debug)]
pub(super) struct Pace {
    message: Duration,
    byte: Duration,
    ahead: Duration,
    /// The time at which everything sent will have been paid for.
    paid: Instant,
}

impl Pace {
    /// The pace that the limits allow, from `now` on.
    pub(super) fn new(limits: &Limits, now: Instant) -> Self {
        let message = match limits.inbound_messages_per_s {
            Some(per_second) => Duration::from_secs(1) / per_second.max(1),
            None => Duration::ZERO,
        };
        let second = Duration::from_secs(1);
        let burst = match limits.inbound_burst_messages {
            Some(burst) => second.min(message * burst),
            None => second,
        };
        Self {
            message,
            byte: second / BYTES_PER_S,
            ahead: burst * 4 / 5,
            paid: now,
        }
    }

    /// The wait before a message of so many bytes.
    pub(super) fn wait(&self, now: Instant, bytes: usize) -> Duration {
        let cost = self.cost(bytes);
        let debt = self.paid.saturating_duration_since(now) + cost;
        // A message that costs more than a burst waits until everything before it is paid for.
        debt.saturating_sub(self.ahead.max(cost))
    }

    /// Records that a message was sent.
    pub(super) fn spend(&mut self, now: Instant, bytes: usize) {
        self.paid = self.paid.max(now) + self.cost(bytes);
    }

    fn cost(&self, bytes: usize) -> Duration {
        let bytes = self.byte * u32::try_from(bytes).unwrap_or(u32::MAX);
        self.message.max(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The number of messages that are sent within so many milliseconds.
    fn count(limits: &str, bytes: usize, millis: u64) -> u64 {
        let limits: Limits = serde_json::from_str(limits).unwrap();
        let start = Instant::now();
        let end = start + Duration::from_millis(millis);
        let (mut pace, mut now, mut sent) = (Pace::new(&limits, start), start, 0);
        loop {
            now += pace.wait(now, bytes);
            if now > end || sent == 100_000 {
                return sent;
            }
            pace.spend(now, bytes);
            sent += 1;
        }
    }

    #[test]
    fn a_flood_stays_below_the_limits() {
        const WELCOME: &str = r#"{"message_bytes":65536,"rooms_per_connection":128,
            "inbound_messages_per_s":50,"inbound_burst_messages":100}"#;
        // 100 + 50 a second are allowed, and 262,144 + 262,144 bytes a second.
        assert_eq!(count(WELCOME, 100, 0), 40);
        assert_eq!(count(WELCOME, 100, 10_000), 540);
        assert_eq!(count(WELCOME, 65_536, 0), 3);
        assert_eq!(count(WELCOME, 65_536, 10_000), 43);
    }

    #[test]
    fn a_small_burst_is_respected() {
        let welcome = r#"{"inbound_messages_per_s":10,"inbound_burst_messages":5}"#;
        assert_eq!(count(welcome, 10, 0), 4);
        assert_eq!(count(welcome, 10, 10_000), 104);
    }

    #[test]
    fn without_a_limit_on_messages_that_on_bytes_remains() {
        assert_eq!(count("{}", 1_024, 0), 204);
    }
}
