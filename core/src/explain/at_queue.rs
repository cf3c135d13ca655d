//! The part of an explanation that only the queue of a connection knows.

use super::{Explained, Explanation, Reason};
use crate::queue::{AtQueue, QueueFate, QueueLimits};

impl Explanation {
    /// The message about which the queue of the connection must be asked before this explanation is
    /// returned: by [`SendQueue::fate`](crate::queue::SendQueue::fate), and
    /// [`resolve`](Self::resolve). `None` when the hub knows everything.
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
