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
    /// The part of the stream that stays behind it.
    pub retention: Retention,
    /// The idempotency key. A publish without one cannot be repeated when it is in doubt.
    pub once: Option<Once>,
}

/// The number of messages that a room keeps, their bytes and their time.
///
/// A publish takes away [`TRIM_MAX`](Self::TRIM_MAX) older messages at most; later ones go on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retention {
    /// Messages; 0 keeps none, and the room has a counter alone.
    pub messages: u32,
    /// Bytes of their bodies; 0 for any number. The oldest go first, even a single one that is too
    /// large.
    pub bytes: u64,
    /// Milliseconds; 0 for ever.
    pub age_ms: u64,
}

impl Retention {
    /// The messages that one publish takes away at most, so that none holds up the others.
    pub const TRIM_MAX: u32 = 1_024;
}

/// An idempotency key: its message gets one offset and is delivered once, from whichever node.
/// After a change of epoch this holds while the message is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Once {
    /// The key, which other owners may have too.
    pub key: Box<str>,
    /// The owner; `None` for a key of this node alone, of which only the time is limited.
    pub owner: Option<Owner>,
    /// A fingerprint of the message and its address: the key of another message is refused.
    pub fingerprint: u64,
    /// Milliseconds that it is remembered.
    pub expiry_ms: u64,
    /// The id of this publish, which its retries share and no other one has: they are not told that
    /// it is repeated, as none of them was answered.
    pub attempt_id: Box<str>,
}

/// An owner of idempotency keys. It has its newest ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The name.
    pub name: Box<str>,
    /// Names of owners under which an earlier attempt may have been remembered.
    pub earlier: Vec<Box<str>>,
    /// Keys of it that are remembered; at least one is.
    pub keys_max: u32,
    /// Keys of all owners that have this limit: past it the one with the most loses its oldest.
    /// `None` for an owner that does not count with others.
    pub all_max: Option<u32>,
}

/// The answer to a publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The epoch.
    pub epoch: Arc<str>,
    /// The offset.
    pub offset: u64,
    /// True when its key had been published before, under another id: nothing is delivered again.
    pub is_repeated: bool,
}
