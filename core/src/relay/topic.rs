//! Topics of a relay, and places in their order.

use alloc::boxed::Box;

use serde::{Deserialize, Serialize};

/// An order of messages, with a counter of its own at the relay.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Topic {
    /// Messages to anything but one room: to everybody, to several rooms, to users, to connections.
    /// Every node takes part in it as long as it runs.
    All,
    /// Messages to a room.
    Room(Box<str>),
}

impl Topic {
    /// The topic of a room.
    pub fn room(room: &str) -> Self {
        Self::Room(room.into())
    }

    /// The room; `None` for the topic of everything else.
    pub fn as_room(&self) -> Option<&str> {
        match self {
            Self::All => None,
            Self::Room(room) => Some(room),
        }
    }
}

/// A place in the order of a topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicPosition {
    /// The epoch in which the offset was given out once. A relay that may have lost messages begins
    /// another, and goes on behind the offsets that it has.
    pub epoch: Box<str>,
    /// The last message's offset; 0 before the first.
    pub offset: u64,
}

impl TopicPosition {
    /// The place behind the message of this offset.
    pub fn new(epoch: impl Into<Box<str>>, offset: u64) -> Self {
        let epoch = epoch.into();
        Self { epoch, offset }
    }
}
