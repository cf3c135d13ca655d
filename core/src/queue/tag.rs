//! Tags of queued frames: the facts that matter when the queue is full.

use alloc::{boxed::Box, sync::Arc};

use crate::{outbox::Class, policy::Overflow};

/// A [`Class`] that outlives its outbox: how frames that wait may be dropped.
#[derive(Debug, Clone, Default)]
pub enum Tag {
    /// Must arrive while the connection lives.
    Control,
    /// The same, for an answer with the position in this room.
    Position(Arc<str>),
    /// Messages that are not dropped one by one.
    #[default]
    Message,
    /// Messages that may be dropped.
    Sheddable(Arc<Sheddable>),
    /// A notice of messages that were dropped; by
    /// [`SendQueue::enforce_limits`](super::SendQueue::enforce_limits).
    Gap(Arc<Loss>),
}

/// A loss of messages of one room, as its reader is told.
#[derive(Debug)]
pub struct Loss {
    pub(super) room: Box<str>,
    /// The reader has everything up to this offset.
    pub(super) after: u64,
}

/// Messages of one room that may be dropped.
#[derive(Debug)]
pub struct Sheddable {
    room: Box<str>,
    event: Box<str>,
    history: u64,
    offset: u64,
    overflow: Overflow,
}

impl Sheddable {
    /// Messages of a room, of which the first has this offset; see [`Shed`](crate::outbox::Shed).
    pub fn new(
        room: impl Into<Box<str>>,
        event: impl Into<Box<str>>,
        offset: u64,
        overflow: Overflow,
    ) -> Self {
        Self {
            room: room.into(),
            event: event.into(),
            history: 0,
            offset,
            overflow,
        }
    }

    /// The same as messages of a history, by its number; see [`Shed`](crate::outbox::Shed).
    #[must_use]
    pub const fn with_history(mut self, history: u64) -> Self {
        self.history = history;
        self
    }

    /// The room.
    pub const fn room(&self) -> &str {
        &self.room
    }

    /// The event of the first message.
    pub const fn event(&self) -> &str {
        &self.event
    }

    /// The number of their history; 0 for none.
    pub const fn history(&self) -> u64 {
        self.history
    }

    /// The offset of the first message.
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    /// The rule that chooses the dropped messages.
    pub const fn overflow(&self) -> Overflow {
        self.overflow
    }
}

impl Loss {
    pub(super) fn new(room: &str, after: u64) -> Arc<Self> {
        let room = room.into();
        Arc::new(Self { room, after })
    }
}

impl From<Class<'_>> for Tag {
    fn from(class: Class<'_>) -> Self {
        match class {
            Class::Control => Self::Control,
            Class::Position(shed) => Self::Position(shed.room().into()),
            Class::Message => Self::Message,
            Class::Sheddable(shed) => {
                let (offset, overflow) = (shed.offset(), shed.overflow());
                let sheddable = Sheddable::new(shed.room(), shed.event(), offset, overflow);
                Self::Sheddable(Arc::new(sheddable.with_history(shed.history())))
            }
        }
    }
}

impl Tag {
    /// True when a frame of this class may share a buffer with `frames` earlier frames of this tag.
    pub fn takes(&self, frames: u32, class: Class<'_>) -> bool {
        match (self, class) {
            (Self::Control, Class::Control) | (Self::Message, Class::Message) => true,
            // Of the others only those of one room are dropped from the oldest on; where the latest
            // counts, each must be dropped alone.
            (Self::Sheddable(ours), Class::Sheddable(shed)) => {
                ours.overflow == Overflow::DropOldest
                    && shed.overflow() == ours.overflow
                    && *shed.room() == *ours.room
                    // So that the buffer stands for a range of offsets.
                    && shed.history() == ours.history
                    && (ours.history == 0 || shed.offset() == ours.offset + u64::from(frames))
            }
            _ => false,
        }
    }

    /// The room whose messages may be dropped.
    pub fn room(&self) -> Option<&str> {
        let Self::Sheddable(shed) = self else {
            return None;
        };
        Some(&shed.room)
    }

    /// True for the notice of a gap in this room.
    pub(super) fn is_notice_of(&self, room: &str) -> bool {
        matches!(self, Self::Gap(loss) if *loss.room == *room)
    }

    /// The offset up to which a reader has all of a room once it has read the frames of this tag,
    /// where that is said to it; the outer `None` when they say nothing of the room.
    pub(super) fn told_of(&self, room: &str) -> Option<Option<u64>> {
        match self {
            Self::Gap(loss) if *loss.room == *room => Some(Some(loss.after)),
            Self::Position(of) if **of == *room => Some(None),
            Self::Sheddable(shed) if *shed.room == *room => Some(None),
            Self::Control
            | Self::Message
            | Self::Gap(_)
            | Self::Position(_)
            | Self::Sheddable(_) => None,
        }
    }

    pub(super) fn sheddable(&self, policy: Overflow) -> Option<&Sheddable> {
        let Self::Sheddable(shed) = self else {
            return None;
        };
        (shed.overflow == policy).then_some(shed)
    }
}
