//! Rooms, positions in them, and reads of their streams.

use std::{fmt, sync::Arc};

use bytes::Bytes;

/// A room of a namespace, or all of the namespace.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address {
    /// The name of the namespace.
    pub namespace: Arc<str>,
    /// The part of it.
    pub channel: Channel,
}

/// A part of a namespace that has its own order and epoch.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Channel {
    /// A room.
    Room(Arc<str>),
    /// Audiences other than a single room: all, unions, users, connections.
    All,
}

impl Address {
    /// A room.
    pub fn room(namespace: impl Into<Arc<str>>, room: impl Into<Arc<str>>) -> Self {
        Self {
            namespace: namespace.into(),
            channel: Channel::Room(room.into()),
        }
    }

    /// All audiences of a namespace other than a single room.
    pub fn all(namespace: impl Into<Arc<str>>) -> Self {
        Self {
            namespace: namespace.into(),
            channel: Channel::All,
        }
    }
}

/// The first letter of the names of rooms that count the nodes with members of another room. The
/// core makes these names, in `hub/presence/relayed.rs`.
const OCCUPANCY: char = '\u{1}';

impl Address {
    /// The room whose nodes with members this one counts, if its name begins with U+0001.
    pub(crate) fn occupied(&self) -> Option<Self> {
        let Channel::Room(name) = &self.channel else {
            return None;
        };
        let room = name.strip_prefix(OCCUPANCY)?;
        Some(Self::room(self.namespace.clone(), room))
    }
}

/// A request for the names of rooms of a namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomList {
    /// The namespace.
    pub namespace: Arc<str>,
    /// The prefix of their names.
    pub prefix: Box<str>,
    /// The name after which the list starts.
    pub after: Option<Box<str>>,
    /// The largest number of rooms.
    pub rooms_max: usize,
}

impl RoomList {
    /// A request for up to `rooms_max` rooms of a namespace that begin with `prefix`, after
    /// `after`.
    pub const fn new(
        namespace: Arc<str>,
        prefix: Box<str>,
        after: Option<Box<str>>,
        rooms_max: usize,
    ) -> Self {
        Self {
            namespace,
            prefix,
            after,
            rooms_max,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.channel {
            Channel::Room(room) => write!(f, "{}/{room}", self.namespace),
            Channel::All => write!(f, "{}", self.namespace),
        }
    }
}

/// A position in the order of a room. An epoch gives out each offset once. The offsets of a new
/// epoch continue after the highest that the data has.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Position {
    /// The epoch. Positions of different epochs have no order.
    pub epoch: Arc<str>,
    /// The offset of the last message; 0 before the first.
    pub offset: u64,
    /// The number of the last presence notice, counted apart from offsets; 0 before the first.
    pub notice: u64,
}

/// A request for the position of a room, and for messages that are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// The room.
    pub address: Address,
    /// The messages to read beside the position.
    pub start: Start,
    /// The largest number of messages.
    pub messages_max: u32,
    /// The limit for the bytes of bodies; the message that exceeds it is the last.
    pub bytes_max: u32,
    /// Milliseconds after which a message is left out; 0 for no such limit.
    pub age_ms: u64,
}

/// The messages of a stream to read, and their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// No messages: the position alone.
    Nothing,
    /// Messages above an offset of an epoch, the oldest first.
    After {
        /// The epoch; nothing is found if the room has another.
        epoch: Arc<str>,
        /// The last offset that the reader has.
        offset: u64,
    },
    /// Messages above an offset, in any epoch, the oldest first. The first need not have the next
    /// offset, as older messages may no longer be kept.
    Above(u64),
    /// Messages below an offset, the newest first; `None` for the newest there are.
    Before(Option<u64>),
}

impl Read {
    /// The default of `messages_max`.
    pub const MESSAGES_MAX: u32 = 1_000;
    /// The default of `bytes_max`: 4 MiB, some 10 ms of server time. With bodies of similar size
    /// the server reads at most twice as many.
    pub const BYTES_MAX: u32 = 4 << 20;

    /// The position alone.
    pub const fn position(address: Address) -> Self {
        Self {
            address,
            start: Start::Nothing,
            messages_max: Self::MESSAGES_MAX,
            bytes_max: Self::BYTES_MAX,
            age_ms: 0,
        }
    }

    /// The messages above a position.
    pub fn after(address: Address, epoch: impl Into<Arc<str>>, offset: u64) -> Self {
        let start = Start::After {
            epoch: epoch.into(),
            offset,
        };
        Self {
            start,
            ..Self::position(address)
        }
    }
}

/// The answer to a [`Read`]: position and messages of one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The position of the room.
    pub position: Position,
    /// The offset of the oldest message that is kept, or of the next message when none is.
    pub first: u64,
    /// Messages in the order of the read, with consecutive offsets.
    pub messages: Vec<Kept>,
    /// False when a [`Start::After`] cannot continue, because the room has another epoch or no
    /// longer keeps the next message: the reader has a gap. Otherwise it continues after the last
    /// message.
    pub is_whole: bool,
}

/// A message of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Its offset.
    pub offset: u64,
    /// Its time, in milliseconds since 1970, by the clock of the server.
    pub at_ms: u64,
    /// Its body.
    pub body: Bytes,
}

impl Page {
    /// Makes a page of the messages that follow without a hole and are not too old.
    pub(crate) fn new(
        read: &Read,
        position: Position,
        first: u64,
        now_ms: u64,
        found: Vec<Kept>,
    ) -> Self {
        let is_old =
            |kept: &Kept| read.age_ms > 0 && kept.at_ms.saturating_add(read.age_ms) < now_ms;
        let mut messages = Vec::with_capacity(found.len());
        let is_whole = match &read.start {
            Start::Nothing => true,
            Start::After { epoch, offset } => {
                let is_of_epoch = *epoch == position.epoch && *offset <= position.offset;
                let mut last = *offset;
                for kept in found {
                    if !is_of_epoch || kept.offset != last + 1 || is_old(&kept) {
                        break;
                    }
                    last = kept.offset;
                    messages.push(kept);
                }
                is_of_epoch && (last > *offset || last == position.offset)
            }
            Start::Above(_) => {
                for kept in found.into_iter().skip_while(is_old) {
                    let last = messages.last().map(|last: &Kept| last.offset);
                    if last.is_some_and(|last| kept.offset != last + 1) {
                        break;
                    }
                    messages.push(kept);
                }
                true
            }
            Start::Before(before) => {
                let mut next = before.map_or(position.offset + 1, |before| before);
                next = next.min(position.offset + 1);
                for kept in found {
                    if kept.offset + 1 != next || is_old(&kept) {
                        break;
                    }
                    next = kept.offset;
                    messages.push(kept);
                }
                true
            }
        };
        Self {
            position,
            first,
            messages,
            is_whole,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(offset: u64) -> Kept {
        Kept {
            offset,
            at_ms: offset * 10,
            body: Bytes::new(),
        }
    }

    fn page(read: &Read, offset: u64, now_ms: u64, offsets: &[u64]) -> (Vec<u64>, bool) {
        let position = Position {
            epoch: "e".into(),
            offset,
            notice: 0,
        };
        let found = offsets.iter().copied().map(kept).collect();
        let page = Page::new(read, position, 1, now_ms, found);
        let offsets = page.messages.iter().map(|kept| kept.offset).collect();
        (offsets, page.is_whole)
    }

    #[test]
    fn a_hole_ends_what_is_recovered() {
        let read = |epoch: &str, offset| Read::after(Address::room("n", "r"), epoch, offset);
        assert_eq!(page(&read("e", 2), 4, 0, &[3, 4]), (vec![3, 4], true));
        assert_eq!(page(&read("e", 4), 4, 0, &[]), (vec![], true));
        assert_eq!(page(&read("e", 2), 6, 0, &[3, 5, 6]), (vec![3], true));
        assert_eq!(page(&read("e", 2), 6, 0, &[5, 6]), (vec![], false));
        assert_eq!(page(&read("e", 2), 6, 0, &[]), (vec![], false));
        assert_eq!(page(&read("f", 2), 6, 0, &[3, 4]), (vec![], false));
        assert_eq!(page(&read("e", 7), 6, 0, &[]), (vec![], false));
    }

    #[test]
    fn old_messages_are_left_out() {
        let mut read = Read::after(Address::room("n", "r"), "e", 2);
        read.age_ms = 5;
        assert_eq!(page(&read, 4, 36, &[3, 4]), (vec![], false));
        read.start = Start::Before(None);
        assert_eq!(page(&read, 4, 36, &[4, 3]), (vec![4], true));
        read.start = Start::Before(Some(4));
        assert_eq!(page(&read, 4, 31, &[3, 1]), (vec![3], true));
    }
}
