//! Idempotency keys that the server must remember.

use std::collections::BTreeMap;

use roomcast_core::{Limits, Timestamp};

/// The number of keys that are remembered here; above it, all are forgotten.
const KEYS_MAX: usize = 10_000;

/// The owner of a key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum KeyOwner {
    /// Backends have one set of keys.
    Backend,
    /// All connections of a user share one set of keys.
    User(Box<str>),
    /// A connection without a user.
    Conn(String),
}

/// A message with a key, and the state of the server after it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Keyed<'a> {
    pub(super) at: Timestamp,
    pub(super) limits: &'a Limits,
    /// Keys of clients that the server remembers.
    pub(super) remembered: usize,
    /// True when at least one connection got the message.
    pub(super) is_delivered: bool,
}

/// Keys of messages that were delivered.
#[derive(Debug, Default)]
pub(super) struct Keys {
    delivered: BTreeMap<(KeyOwner, String), Delivered>,
    /// Messages with a key, by owner: each may cost the owner its oldest key.
    counts: BTreeMap<KeyOwner, usize>,
}

#[derive(Debug)]
struct Delivered {
    until: Timestamp,
    /// The number of the message among those of the owner.
    number: usize,
}

impl Keys {
    /// Records a message with a key. False when it is delivered although another message with the
    /// same key was delivered, and the server cannot have forgotten that key.
    pub(super) fn take(&mut self, key: &(KeyOwner, String), message: Keyed<'_>) -> bool {
        let limits = message.limits;
        if message.remembered >= limits.idempotency_keys || self.delivered.len() >= KEYS_MAX {
            self.forget();
        }
        let count = self.counts.entry(key.0.clone()).or_default();
        *count += 1;
        if !message.is_delivered {
            return true;
        }
        let kept = match key.0 {
            KeyOwner::Backend => limits.idempotency_keys,
            KeyOwner::User(_) | KeyOwner::Conn(_) => limits.idempotency_keys_per_client,
        };
        let new = Delivered {
            until: message.at + limits.idempotency,
            number: *count,
        };
        let number = new.number;
        let before = self.delivered.insert(key.clone(), new);
        before.is_none_or(|before| before.until <= message.at || number - before.number >= kept)
    }

    /// Forgets all.
    pub(super) fn forget(&mut self) {
        self.delivered.clear();
    }
}
