//! Token buckets, in integers: the same on every machine.

use serde::{Deserialize, Serialize};

use crate::{
    hub::limits::{Limits, Rate},
    time::Timestamp,
};

/// A token bucket: what a [`Rate`] has left.
///
/// For limits that a host keeps below the hub. Levels are in thousandths of a token, so that one millisecond of refill is a whole number. A
/// clock that steps back refills nothing and takes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bucket {
    level: u64,
    at: Timestamp,
}

impl Bucket {
    /// A bucket that has its whole burst.
    pub const fn full(rate: Rate, now: Timestamp) -> Self {
        Self {
            level: Self::capacity(rate),
            at: now,
        }
    }

    const fn capacity(rate: Rate) -> u64 {
        (rate.burst as u64).saturating_mul(1000)
    }

    /// Takes `count` tokens when there are as many; otherwise none. The rate is the one that the
    /// bucket was made with.
    pub fn take(&mut self, rate: Rate, now: Timestamp, count: u64) -> bool {
        let millis = now.as_millis().saturating_sub(self.at.as_millis());
        self.at = now;
        self.level = millis
            .saturating_mul(u64::from(rate.per_second))
            .saturating_add(self.level)
            .min(Self::capacity(rate));
        match self.level.checked_sub(count.saturating_mul(1000)) {
            Some(rest) => {
                self.level = rest;
                true
            }
            None => false,
        }
    }
}

/// The buckets of one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Buckets {
    messages: Bucket,
    bytes: Bucket,
    refusals: Bucket,
}

/// What the buckets say of one inbound message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Pass,
    Refuse,
    /// Refused too often: to be closed.
    Close,
}

impl Buckets {
    pub(crate) const fn full(limits: &Limits, now: Timestamp) -> Self {
        const fn full(rate: Option<Rate>, now: Timestamp) -> Bucket {
            match rate {
                Some(rate) => Bucket::full(rate, now),
                None => Bucket { level: 0, at: now },
            }
        }
        Self {
            messages: full(limits.inbound_messages, now),
            bytes: full(limits.inbound_bytes, now),
            refusals: Bucket::full(limits.inbound_refusals, now),
        }
    }

    pub(crate) fn inbound(&mut self, limits: &Limits, now: Timestamp, bytes: usize) -> Verdict {
        let mut pass = true;
        if let Some(rate) = limits.inbound_messages {
            pass &= self.messages.take(rate, now, 1);
        }
        if let Some(rate) = limits.inbound_bytes {
            pass &= self.bytes.take(rate, now, bytes as u64);
        }
        if pass {
            Verdict::Pass
        } else if self.refusals.take(limits.inbound_refusals, now, 1) {
            Verdict::Refuse
        } else {
            Verdict::Close
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate {
        per_second: 10,
        burst: 2,
    };

    #[test]
    fn the_burst_then_the_rate() {
        let at = Timestamp::from_millis;
        let mut bucket = Bucket::full(RATE, at(0));
        assert!(bucket.take(RATE, at(0), 1) && bucket.take(RATE, at(0), 1));
        assert!(!bucket.take(RATE, at(99), 1));
        assert!(bucket.take(RATE, at(100), 1));
        assert!(!bucket.take(RATE, at(100), 1));
    }

    #[test]
    fn a_long_rest_never_passes_the_burst() {
        let mut bucket = Bucket::full(RATE, Timestamp::ZERO);
        let late = Timestamp::from_millis(u64::MAX);
        assert!(!bucket.take(RATE, late, 3));
        assert!(bucket.take(RATE, late, 2));
        assert!(!bucket.take(RATE, late, 1));
    }

    #[test]
    fn a_clock_that_steps_back_neither_fills_nor_starves() {
        let at = Timestamp::from_millis;
        let mut bucket = Bucket::full(RATE, at(1_000_000));
        assert!(bucket.take(RATE, at(1_000_000), 2));
        assert!(!bucket.take(RATE, at(0), 1));
        assert!(bucket.take(RATE, at(100), 1));
    }
}
