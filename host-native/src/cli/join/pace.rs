//! How fast to send.

use std::time::Duration;

use serde::Deserialize;
use tokio::time::Instant;

/// What `$welcome` says of the limits; absent is none.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Limits {
    /// Bytes of one message.
    pub(super) message_bytes: Option<usize>,
    inbound_messages_per_s: Option<u32>,
    inbound_burst_messages: Option<u32>,
    /// The burst is the same number.
    inbound_bytes_per_s: Option<u32>,
}

/// Keeps a client below the rate limits of its server.
///
/// One bucket for messages and bytes: a message takes as long as its share of the scarcer of the
/// two, and the client may be ahead by what both bursts allow, with some to spare, as the network
/// may push together what was sent apart.
#[derive(Debug)]
pub(super) struct Pace {
    message: Duration,
    byte: Duration,
    ahead: Duration,
    /// When everything sent will have been paid for.
    paid: Instant,
}

impl Pace {
    /// The pace that the limits allow, from `now` on.
    pub(super) fn new(limits: &Limits, now: Instant) -> Self {
        let share = |per_second: Option<u32>| match per_second {
            Some(per_second) => Duration::from_secs(1) / per_second.max(1),
            None => Duration::ZERO,
        };
        let message = share(limits.inbound_messages_per_s);
        let burst = message * limits.inbound_burst_messages.unwrap_or(1);
        let second = Duration::from_secs(1);
        let burst = match limits.inbound_bytes_per_s {
            Some(_) if message.is_zero() => second,
            Some(_) => burst.min(second),
            None => burst,
        };
        Self {
            message,
            byte: share(limits.inbound_bytes_per_s),
            ahead: burst * 4 / 5,
            paid: now,
        }
    }

    /// How long to wait before a message of so many bytes.
    pub(super) fn wait(&self, now: Instant, bytes: usize) -> Duration {
        let cost = self.cost(bytes);
        let debt = self.paid.saturating_duration_since(now) + cost;
        // One that costs more than a burst has to start from nothing.
        debt.saturating_sub(self.ahead.max(cost))
    }

    /// A message was sent.
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

    /// How many messages are sent within so many milliseconds.
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
        const WELCOME: &str = r#"{"message_bytes":65536,"inbound_messages_per_s":50,
            "inbound_burst_messages":100,"inbound_bytes_per_s":262144}"#;
        // 100 + 50 a second are allowed, and 262,144 + 262,144 bytes a second.
        assert_eq!(count(WELCOME, 100, 0), 40);
        assert_eq!(count(WELCOME, 100, 10_000), 540);
        assert_eq!(count(WELCOME, 65_536, 0), 3);
        assert_eq!(count(WELCOME, 65_536, 10_000), 43);
    }

    #[test]
    fn limits_that_are_off_do_not_slow_down() {
        assert_eq!(count("{}", 1_000, 0), 100_000);
        let bytes_only = r#"{"inbound_bytes_per_s":1000}"#;
        assert_eq!(count(bytes_only, 100, 0), 8);
        let messages_only = r#"{"inbound_messages_per_s":10,"inbound_burst_messages":20}"#;
        assert_eq!(count(messages_only, 1_000_000, 0), 16);
    }
}
