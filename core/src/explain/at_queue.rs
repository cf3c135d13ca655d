//! The part of an explanation that only the queue of a connection knows.

use alloc::boxed::Box;

use super::{Explained, Explanation, Reason};
use crate::queue::QueueLimits;

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
    /// The queue does not know any more.
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

impl Explanation {
    /// The message that the queue of the connection has to be asked for before this explanation is
    /// given away: by [`SendQueue::fate`](crate::queue::SendQueue::fate), and
    /// [`resolve`](Self::resolve). `None` when the hub knows all.
    pub fn at_queue(&self, send: &Explained) -> Option<AtQueue> {
        let (Reason::SentUnlessDropped { history, .. }, Explained::Past { room, offset }) =
            (&self.reason, send)
        else {
            return None;
        };
        Some(AtQueue::new(&**room, *history, *offset))
    }

    /// Completes the explanation by what the queue of the connection knows.
    pub fn resolve(&mut self, fate: QueueFate) {
        let Reason::SentUnlessDropped {
            overflow, is_final, ..
        } = self.reason
        else {
            return;
        };
        match fate {
            QueueFate::Kept => *self = Reason::Sent.into(),
            QueueFate::Dropped(QueueLimits {
                bytes_max,
                frames_max,
            }) if is_final => {
                self.reason = Reason::Dropped {
                    overflow,
                    bytes_max,
                    frames_max,
                };
            }
            // Dropped, and perhaps read by `$history` since.
            QueueFate::Dropped(_) | QueueFate::Forgotten => {}
        }
    }
}
