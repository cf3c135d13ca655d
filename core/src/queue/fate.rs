//! The fate of messages that were pushed to the queue of a connection.

use alloc::boxed::Box;

use super::limits::QueueLimits;

/// A message of a history that was pushed to the queue of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AtQueue {
    pub(crate) room: Box<str>,
    pub(crate) history: u64,
    pub(crate) offset: u64,
}

/// The fate of a message that was pushed to a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueueFate {
    /// The queue did not drop it.
    Kept,
    /// The queue had passed these limits, and dropped it.
    Dropped(QueueLimits),
    /// The queue has forgotten it.
    Forgotten,
}

impl AtQueue {
    /// The message at an offset of the history of this number.
    pub fn new(room: impl Into<Box<str>>, history: u64, offset: u64) -> Self {
        let room = room.into();
        Self {
            room,
            history,
            offset,
        }
    }
}
