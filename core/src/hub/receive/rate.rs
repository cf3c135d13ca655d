//! Token buckets, in integers: the same on every machine.

use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{hub::error::RequestError, hub::limits::Limits, hub::limits::Rate, time::Timestamp};

/// A token bucket: the remaining tokens of a [`Rate`].
///
/// For limits that a host enforces below the hub. Levels are in thousandths of a token, so that one
/// millisecond of refill is a whole number. A clock that steps back neither refills nor drains the
/// bucket.
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

    /// Takes `count` tokens if there are enough; otherwise none. The rate must be the one that the
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

    /// The time from which on the bucket has its whole burst, if nothing more is taken; `None` if
    /// it never will. The rate is the one that the bucket was made with.
    pub fn full_at(&self, rate: Rate) -> Option<Timestamp> {
        let millis = self.wait(rate, rate.burst.into())?;
        Some(self.at + Duration::from_millis(millis))
    }

    /// Milliseconds from the last [`take`](Self::take) until there are `count` tokens; `None` if
    /// there never are.
    fn wait(&self, rate: Rate, count: u64) -> Option<u64> {
        let wanted = count.saturating_mul(1000);
        if wanted > Self::capacity(rate) {
            return None;
        }
        let missing = wanted.saturating_sub(self.level);
        match u64::from(rate.per_second) {
            0 if missing > 0 => None,
            per_second => Some(missing.div_ceil(per_second.max(1))),
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

/// Verdict of the buckets on one inbound message.
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

    /// Takes bytes that are in no message.
    pub(crate) fn overhead(&mut self, limits: &Limits, now: Timestamp, bytes: usize) -> Verdict {
        let pass = limits
            .inbound_bytes
            .is_none_or(|rate| self.bytes.take(rate, now, bytes as u64));
        match pass {
            true => Verdict::Pass,
            false => self.refuse(limits, now),
        }
    }

    /// The time from which all buckets are full, if nothing more is taken; `None` if they never
    /// will be.
    pub(crate) fn full_at(&self, limits: &Limits) -> Option<Timestamp> {
        let mut latest = self.refusals.full_at(limits.inbound_refusals)?;
        if let Some(rate) = limits.inbound_messages {
            latest = latest.max(self.messages.full_at(rate)?);
        }
        if let Some(rate) = limits.inbound_bytes {
            latest = latest.max(self.bytes.full_at(rate)?);
        }
        Some(latest)
    }

    pub(crate) fn inbound(&mut self, limits: &Limits, now: Timestamp, bytes: usize) -> Verdict {
        let mut pass = true;
        if let Some(rate) = limits.inbound_messages {
            pass &= self.messages.take(rate, now, 1);
        }
        if let Some(rate) = limits.inbound_bytes {
            pass &= self.bytes.take(rate, now, bytes as u64);
        }
        match pass {
            true => Verdict::Pass,
            false => self.refuse(limits, now),
        }
    }

    /// Counts the refusal of a message.
    fn refuse(&mut self, limits: &Limits, now: Timestamp) -> Verdict {
        if self.refusals.take(limits.inbound_refusals, now, 1) {
            Verdict::Refuse
        } else {
            Verdict::Close
        }
    }

    /// The error of a message that was just refused.
    pub(crate) fn excess(&self, limits: &Limits, bytes: usize) -> RequestError {
        let (per_second, noun, after_ms) = self.longest(limits, bytes);
        RequestError::Rate {
            per_second,
            noun,
            after_ms,
        }
    }

    /// The rate for which a just refused message has to wait the longest, with its noun and the
    /// wait.
    pub(crate) fn longest(
        &self,
        limits: &Limits,
        bytes: usize,
    ) -> (u32, &'static str, Option<u64>) {
        let messages = limits.inbound_messages.map(|rate| {
            let after_ms = self.messages.wait(rate, 1);
            (rate.per_second, "message", after_ms)
        });
        let bytes = limits.inbound_bytes.map(|rate| {
            let after_ms = self.bytes.wait(rate, bytes as u64);
            (rate.per_second, "byte", after_ms)
        });
        let wait = |&(_, _, after_ms): &(_, _, Option<u64>)| after_ms.unwrap_or(u64::MAX);
        let longest = bytes.into_iter().chain(messages).max_by_key(wait);
        longest.unwrap_or_default()
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
    fn the_longest_wait_is_told() {
        let bytes = Rate {
            per_second: 100,
            burst: 200,
        };
        let mut limits = Limits::default();
        (limits.inbound_messages, limits.inbound_bytes) = (Some(RATE), Some(bytes));
        let at = Timestamp::from_millis;
        let mut buckets = Buckets::full(&limits, at(0));
        let mut excess = |now, bytes| {
            let verdict = buckets.inbound(&limits, at(now), bytes);
            (verdict == Verdict::Refuse).then(|| buckets.excess(&limits, bytes))
        };
        let over = |rate: Rate, noun, after_ms| {
            let per_second = rate.per_second;
            Some(RequestError::Rate {
                per_second,
                noun,
                after_ms,
            })
        };
        assert_eq!(excess(0, 100), None);
        assert_eq!(excess(0, 150), over(bytes, "byte", Some(500)));
        assert_eq!(excess(50, 1), over(RATE, "message", Some(50)));
        assert_eq!(excess(100, 1), None);
        let never = over(bytes, "byte", None);
        assert_eq!(excess(100, 201), never, "more than the burst");
        let later = over(RATE, "message", Some(100));
        assert_eq!(excess(99, 1), later, "a clock that steps back");
    }

    #[test]
    fn full_again_when_the_burst_is_back() {
        let at = Timestamp::from_millis;
        let mut bucket = Bucket::full(RATE, at(50));
        assert_eq!(bucket.full_at(RATE), Some(at(50)));
        assert!(bucket.take(RATE, at(60), 2));
        assert_eq!(bucket.full_at(RATE), Some(at(260)));
        assert!(!bucket.take(RATE, at(259), 2) && bucket.take(RATE, at(260), 2));
        let never = Rate {
            per_second: 0,
            burst: 1,
        };
        let mut bucket = Bucket::full(never, at(0));
        assert_eq!(bucket.full_at(never), Some(at(0)));
        assert!(bucket.take(never, at(0), 1));
        assert_eq!(bucket.full_at(never), None);
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
