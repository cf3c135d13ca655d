//! The cork: replies of the hub to the connection whose input it processes.

use std::mem;

use bytes::Bytes;
use roomcast_core::{Frame, outbox::Class, queue::Tag};

use crate::ws;

/// The size at which a cork is moved to the queue, where it counts against the limit.
const BYTES_MAX: usize = 64 * 1024;

/// Replies to the connection whose input is being processed, to be sent in one write.
///
/// A cork saves a write and a queue entry for every reply but the first of a turn. To keep the
/// order on the connection, anything else that is queued for it follows the held replies.
#[derive(Debug, Default)]
pub(in crate::shard) struct Cork {
    /// The key of the connection's socket.
    key: Option<u32>,
    bytes: Vec<u8>,
    frames: u32,
    /// True when the replies include a message, and not only answers.
    messages: bool,
}

impl Cork {
    pub(in crate::shard) const fn open(&mut self, key: u32) {
        self.key = Some(key);
    }

    pub(in crate::shard) fn is_for(&self, key: u32) -> bool {
        self.key == Some(key)
    }

    /// The held replies, and their number.
    pub(in crate::shard) const fn replies(&self) -> (&[u8], u32) {
        (self.bytes.as_slice(), self.frames)
    }

    /// Adds a reply. Returns true when the cork is full.
    pub(in crate::shard) fn hold(&mut self, frame: Frame<'_>, class: Class<'_>) -> bool {
        self.messages |= class == Class::Message;
        let (head, used) = ws::header(frame);
        self.bytes.extend_from_slice(&head[..used]);
        self.bytes.extend_from_slice(frame.as_bytes());
        self.frames += 1;
        self.bytes.len() >= BYTES_MAX
    }

    /// Takes the held replies of a socket; `None` when there are none.
    pub(in crate::shard) fn take(&mut self, key: u32) -> Option<(Bytes, u32, Tag)> {
        if !self.is_for(key) || self.bytes.is_empty() {
            return None;
        }
        let bytes = Bytes::copy_from_slice(&self.bytes);
        self.bytes.clear();
        let messages = mem::take(&mut self.messages);
        let tag = if messages { Tag::Message } else { Tag::Control };
        Some((bytes, mem::take(&mut self.frames), tag))
    }

    /// Closes the cork.
    pub(in crate::shard) fn close(&mut self) {
        self.key = None;
        self.bytes.clear(); // also replies to a connection that has ended
        (self.frames, self.messages) = (0, false);
        self.bytes.shrink_to(BYTES_MAX);
    }
}
