//! The allowance of a user: how much all its connections may send together.

use std::sync::{Arc, Mutex, PoisonError};

use roomcast_core::{Rate, Timestamp, hub::Bucket};

/// The rates of each user in each namespace; default none.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Allowance {
    pub(crate) messages: Option<Rate>,
    pub(crate) bytes: Option<Rate>,
}

impl Allowance {
    /// True when there is something to count.
    pub(crate) const fn is_some(&self) -> bool {
        self.messages.is_some() || self.bytes.is_some()
    }
}

/// The rest of the allowance of a user. Connections on several threads share it: each read of
/// one takes a lock that only connections of the same user contend for.
#[derive(Debug, Clone)]
pub(crate) struct Meter(Arc<Mutex<Level>>);

#[derive(Debug)]
struct Level {
    allowance: Allowance,
    /// The rest, once something was taken.
    messages: Option<Bucket>,
    bytes: Option<Bucket>,
    /// The latest time that was seen.
    at: Timestamp,
}

impl Meter {
    /// A meter that is full at the first spending.
    pub(crate) fn new(allowance: Allowance) -> Self {
        Self(Arc::new(Mutex::new(Level {
            allowance,
            messages: None,
            bytes: None,
            at: Timestamp::ZERO,
        })))
    }

    /// Takes what was read; false when it is more than the user has left.
    pub(crate) fn spend(&self, now: Timestamp, messages: usize, bytes: usize) -> bool {
        let mut level = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Threads read the clock once in each of their turns: one behind another refills nothing.
        let now = level.at.max(now);
        level.at = now;
        let Allowance {
            messages: message_rate,
            bytes: byte_rate,
        } = level.allowance;
        take(&mut level.messages, message_rate, now, messages)
            && take(&mut level.bytes, byte_rate, now, bytes)
    }
}

fn take(bucket: &mut Option<Bucket>, rate: Option<Rate>, now: Timestamp, count: usize) -> bool {
    rate.is_none_or(|rate| {
        let bucket = bucket.get_or_insert_with(|| Bucket::full(rate, now));
        bucket.take(rate, now, count as u64)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_of_a_user_share_what_is_left() {
        let rate = |per_second, burst| Some(Rate { per_second, burst });
        let first = Meter::new(Allowance {
            messages: rate(10, 2),
            bytes: rate(100, 100),
        });
        let (second, at) = (first.clone(), Timestamp::from_millis);
        assert!(first.spend(at(5000), 1, 40) && second.spend(at(5000), 1, 40));
        assert!(!second.spend(at(5000), 1, 1), "no message is left");
        assert!(!first.spend(at(5000), 0, 21), "20 bytes are left");
        // A thread whose clock is behind gives nothing back, however often it and another take
        // turns.
        for _ in 0..1000 {
            assert!(!first.spend(at(4990), 1, 0) && !second.spend(at(5000), 1, 0));
        }
        assert!(first.spend(at(5100), 1, 30), "a tenth of a second later");
    }
}
