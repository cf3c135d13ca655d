//! Publishes and their answers.

use std::sync::Arc;

use bytes::Bytes;

use crate::position::Address;

/// A message for the members of a room, or for an audience, on all nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    /// The recipients, as far as the relay distinguishes them.
    pub address: Address,
    /// The message with its sender and its exact audience, in the core's encoding.
    pub body: Bytes,
    /// The limits of the stream that keeps it.
    pub retention: Retention,
    /// The idempotency key. A publish without one cannot be repeated when it is in doubt.
    pub once: Option<Once>,
}

/// The limits for the messages that a room keeps: their number, bytes and age.
///
/// A publish trims at most [`TRIM_MAX`](Self::TRIM_MAX) older messages; later ones continue.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retention {
    /// Messages; 0 keeps none, and the room has only a counter.
    pub messages: u32,
    /// Bytes of their bodies; 0 for no limit. The oldest go first, even a single one that is too
    /// large.
    pub bytes: u64,
    /// Milliseconds; 0 for ever.
    pub age_ms: u64,
}

impl Retention {
    /// The largest number of messages that one publish trims, so that it does not delay others.
    pub const TRIM_MAX: u32 = 1_024;
}

/// An idempotency key: its message gets one offset and is delivered once, whichever node sends it.
/// After a change of epoch this holds only while the message is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Once {
    /// The key, which other owners may have too.
    pub key: Box<str>,
    /// The owner; `None` for a key that only this node uses. The number of those is not limited,
    /// only their time.
    pub owner: Option<Owner>,
    /// A fingerprint of the message and its address: a key that comes with another is refused.
    pub fingerprint: u64,
    /// Milliseconds that the key is remembered.
    pub expiry_ms: u64,
    /// The id of this publish and its retries, of no other publish. A retry does not count as
    /// repeated, because no earlier attempt was answered.
    pub attempt_id: Box<str>,
}

/// An owner of idempotency keys. Only its newest keys are remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The name.
    pub name: Box<str>,
    /// Names of owners under which an earlier attempt may have been remembered.
    pub earlier: Vec<Box<str>>,
    /// The largest number of keys that are remembered for it; at least one is.
    pub keys_max: u32,
    /// The limit for the keys of all owners together. Above it the owner with the most keys loses
    /// its oldest. `None` for an owner that does not count with others.
    pub all_max: Option<u32>,
}

/// The answer to a publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The epoch.
    pub epoch: Arc<str>,
    /// The offset.
    pub offset: u64,
    /// True when the key had been published before under another id: nothing is delivered again.
    pub is_repeated: bool,
}
