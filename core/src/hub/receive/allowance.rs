//! The allowance of a user: the rates of all its connections together.

use super::rate::{Buckets, Verdict};
use crate::{hub::error::RequestError, hub::limits::Limits, hub::limits::Rate, time::Timestamp};

/// Rates of a user over all its connections, which several threads may serve.
///
/// For a host, which counts below the hub. A message over one of these rates is refused like a
/// message over the rate of its connection: with an error that says how long to wait, and after too
/// many refusals with a close.
#[derive(Debug, Clone)]
pub struct Allowance {
    limits: Limits,
}

impl Allowance {
    /// An allowance of messages and of bytes, `None` for no limit, and of refusals, after which a
    /// connection is closed.
    pub fn new(messages: Option<Rate>, bytes: Option<Rate>, refusals: Rate) -> Self {
        let mut limits = Limits::default();
        (limits.inbound_messages, limits.inbound_bytes) = (messages, bytes);
        limits.inbound_refusals = refusals;
        Self { limits }
    }

    /// True when messages or bytes are limited.
    pub const fn is_limited(&self) -> bool {
        self.limits.inbound_messages.is_some() || self.limits.inbound_bytes.is_some()
    }

    /// Milliseconds after which an exhausted meter is full again.
    pub fn full_after_ms(&self) -> u64 {
        let limits = &self.limits;
        let rates = [limits.inbound_messages, limits.inbound_bytes];
        let rates = rates.into_iter().flatten().chain([limits.inbound_refusals]);
        let times = rates.map(|rate| {
            let burst = u64::from(rate.burst) * 1000;
            burst.div_ceil(u64::from(rate.per_second).max(1))
        });
        times.max().unwrap_or_default()
    }
}

/// The remaining part of a user's [`Allowance`]. Each call must get the same allowance.
///
/// A time before an earlier one refills nothing: threads read the clock once per turn.
#[derive(Debug, Clone)]
pub struct Meter {
    buckets: Buckets,
    /// The latest time seen.
    at: Timestamp,
}

/// Something that a user sent over a rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Excess {
    /// Refused with this error.
    Refuse(RequestError),
    /// Refused too often: the connection is to be closed with 4429.
    Close,
}

impl Meter {
    /// A full meter.
    pub const fn full(allowance: &Allowance, now: Timestamp) -> Self {
        Self {
            buckets: Buckets::full(&allowance.limits, now),
            at: now,
        }
    }

    /// Takes a message of so many bytes.
    ///
    /// # Errors
    ///
    /// When the user has less left.
    pub fn message(
        &mut self,
        allowance: &Allowance,
        now: Timestamp,
        bytes: usize,
    ) -> Result<(), Excess> {
        let (limits, now) = (&allowance.limits, self.latest(now));
        let verdict = self.buckets.inbound(limits, now, bytes);
        self.check(limits, verdict, bytes)
    }

    /// Takes bytes that are in no message, such as pings and heads of frames.
    ///
    /// # Errors
    ///
    /// When the user has less left; a refusal has no message to answer.
    pub fn overhead(
        &mut self,
        allowance: &Allowance,
        now: Timestamp,
        bytes: usize,
    ) -> Result<(), Excess> {
        let (limits, now) = (&allowance.limits, self.latest(now));
        let verdict = self.buckets.overhead(limits, now, bytes);
        self.check(limits, verdict, bytes)
    }

    /// The time from which the meter is full, if nothing more is taken; `None` if it never will be.
    pub fn full_at(&self, allowance: &Allowance) -> Option<Timestamp> {
        self.buckets.full_at(&allowance.limits)
    }

    fn latest(&mut self, now: Timestamp) -> Timestamp {
        self.at = self.at.max(now);
        self.at
    }

    fn check(&self, limits: &Limits, verdict: Verdict, bytes: usize) -> Result<(), Excess> {
        match verdict {
            Verdict::Pass => Ok(()),
            Verdict::Refuse => {
                let (per_second, noun, after_ms) = self.buckets.longest(limits, bytes);
                Err(Excess::Refuse(RequestError::UserRate {
                    per_second,
                    noun,
                    after_ms,
                }))
            }
            Verdict::Close => Err(Excess::Close),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn rate(per_second: u32, burst: u32) -> Rate {
        Rate { per_second, burst }
    }

    const fn over(per_second: u32, noun: &'static str, after_ms: u64) -> Result<(), Excess> {
        let error = RequestError::UserRate {
            per_second,
            noun,
            after_ms: Some(after_ms),
        };
        Err(Excess::Refuse(error))
    }

    #[test]
    fn refused_with_the_wait_and_closed_when_that_is_not_heeded() {
        let at = Timestamp::from_millis;
        let allowance = Allowance::new(Some(rate(10, 2)), Some(rate(100, 100)), rate(1, 3));
        let mut meter = Meter::full(&allowance, at(5000));
        assert_eq!(meter.message(&allowance, at(5000), 40), Ok(()));
        assert_eq!(meter.message(&allowance, at(5000), 40), Ok(()));
        let refused = over(10, "message", 100);
        assert_eq!(meter.message(&allowance, at(5000), 1), refused);
        assert!(meter.overhead(&allowance, at(5000), 21).is_err());
        // A thread whose clock is behind gets no refill.
        assert_eq!(meter.message(&allowance, at(4990), 0), refused);
        let closed = Err(Excess::Close);
        assert_eq!(meter.message(&allowance, at(5000), 0), closed);
        assert_eq!(meter.message(&allowance, at(5100), 29), Ok(()));
    }

    #[test]
    fn full_again_when_its_slowest_rate_is() {
        let at = Timestamp::from_millis;
        let allowance = Allowance::new(Some(rate(1, 10)), Some(rate(100, 1000)), rate(1, 100));
        assert_eq!(allowance.full_after_ms(), 100_000);
        let mut meter = Meter::full(&allowance, at(0));
        assert_eq!(meter.full_at(&allowance), Some(at(0)));
        assert_eq!(meter.message(&allowance, at(10), 250), Ok(()));
        assert_eq!(meter.full_at(&allowance), Some(at(2510)));
        assert!(meter.overhead(&allowance, at(20), 900).is_err());
        assert_eq!(meter.full_at(&allowance), Some(at(2510)));
    }
}
