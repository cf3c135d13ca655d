//! The cork: what one connection's input makes the hub say to that same connection.

use std::mem;

use bytes::Bytes;
use roomcast_core::{Frame, outbox::Class, queue::Tag};

use crate::ws;

/// A cork this full goes to the queue, where it counts against the limit.
const BYTES_MAX: usize = 64 * 1024;

/// Replies to the connection whose input is being processed: they leave in one write.
///
/// It saves a write, and a queue entry, for every reply but the first of a turn. The order that
/// must be kept is the connection's own: whatever else is queued for it while replies are held back
/// goes behind them.
#[derive(Debug, Default)]
pub(in crate::shard) struct Cork {
    /// The key of the connection's socket.
    key: Option<u32>,
    bytes: Vec<u8>,
    frames: u32,
    /// True when there is a message among the replies, and not only answers.
    messages: bool,
}

impl Cork {
    pub(in crate::shard) const fn open(&mut self, key: u32) {
        self.key = Some(key);
    }

    pub(in crate::shard) fn is_for(&self, key: u32) -> bool {
        self.key == Some(key)
    }

    /// The replies that are held back, and their number.
    pub(in crate::shard) const fn replies(&self) -> (&[u8], u32) {
        (self.bytes.as_slice(), self.frames)
    }

    /// Holds a reply back. Returns true when the cork is full.
    pub(in crate::shard) fn hold(&mut self, frame: Frame<'_>, class: Class<'_>) -> bool {
        self.messages |= class == Class::Message;
        let (head, used) = ws::header(frame);
        self.bytes.extend_from_slice(&head[..used]);
        self.bytes.extend_from_slice(frame.as_bytes());
        self.frames += 1;
        self.bytes.len() >= BYTES_MAX
    }

    /// Takes the replies that are held back for a socket; `None` when there are none.
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

    /// Holds nothing back any more.
    pub(in crate::shard) fn close(&mut self) {
        self.key = None;
        self.bytes.clear(); // what a connection that ended meanwhile left too
        (self.frames, self.messages) = (0, false);
        self.bytes.shrink_to(BYTES_MAX);
    }
}
