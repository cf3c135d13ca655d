//! Batches: consecutive messages of a turn to the same recipients, joined.

use std::mem;

use bytes::Bytes;
use roomcast_core::{ConnId, Frame, outbox::Class, queue::Tag};

use crate::ws;

/// Consecutive frames for the same recipients, in one buffer.
///
/// A batch avoids a visit to every member for every message: a burst to a room costs one queue
/// entry and one write per member. To keep the order on each connection, the batch ends before
/// anything else is sent to one of its recipients.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    to: Vec<ConnId>,
    bytes: Vec<u8>,
    frames: u32,
    tag: Tag,
}

/// The length at which a batch is sent before the turn ends: its recipients' queues are bounded.
const BYTES_MAX: usize = 64 * 1024;
/// The length up to which a batch is copied and its buffer reused.
const COPY_BYTES_MAX: usize = 16 * 1024;

impl Batch {
    pub(crate) const fn is_empty(&self) -> bool {
        self.frames == 0
    }

    /// The number of recipients.
    pub(crate) const fn recipients(&self) -> usize {
        if self.is_empty() { 0 } else { self.to.len() }
    }

    /// True when this connection is among the recipients. Work: logarithmic in their number.
    pub(crate) fn reaches(&self, conn: ConnId) -> bool {
        !self.is_empty() && self.to.binary_search(&conn).is_ok()
    }

    /// Adds a frame if the batch has these recipients and space for it, or is empty. Returns
    /// whether it was added.
    pub(super) fn add(&mut self, to: &[ConnId], frame: Frame<'_>, class: Class<'_>) -> bool {
        if self.is_empty() {
            self.tag = class.into();
            self.to.clear();
            self.to.extend_from_slice(to);
        } else if self.bytes.len() >= BYTES_MAX
            || !self.tag.takes(self.frames, class)
            || self.to != to
        {
            return false;
        }
        let (head, used) = ws::header(frame);
        self.bytes.reserve(used + frame.len());
        self.bytes.extend_from_slice(&head[..used]);
        self.bytes.extend_from_slice(frame.as_bytes());
        self.frames += 1;
        true
    }

    /// Ends the batch. Returns the recipients, the buffer that they share, the number of frames in
    /// it, and how they may be dropped.
    ///
    /// Batches do not share buffers: a queue counts only its own bytes, and a few of them must not
    /// keep the buffer of a busy room alive.
    pub(crate) fn end(&mut self) -> (&[ConnId], Bytes, u32, Tag) {
        let frames = mem::take(&mut self.frames);
        let bytes = if self.bytes.len() <= COPY_BYTES_MAX {
            let bytes = Bytes::copy_from_slice(&self.bytes);
            self.bytes.clear();
            bytes
        } else {
            mem::take(&mut self.bytes).into()
        };
        (&self.to, bytes, frames, mem::take(&mut self.tag))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGE: Class<'_> = Class::Message;

    fn ids(ids: &[&str]) -> Vec<ConnId> {
        ids.iter().map(|id| id.parse().expect("an id")).collect()
    }

    #[test]
    fn frames_to_the_same_recipients_join() {
        let (both, one) = (ids(&["1", "2"]), ids(&["1"]));
        let mut batch = Batch::default();
        assert!(batch.add(&both, Frame::Text("a"), MESSAGE));
        assert!(!batch.add(&one, Frame::Text("a"), MESSAGE));
        assert!(batch.reaches(both[1]) && !batch.reaches(ids(&["3"])[0]));
        assert!(batch.add(&both, Frame::Binary(b"bc"), MESSAGE));
        let (to, bytes, frames, _) = batch.end();
        assert_eq!((to, frames), (&*both, 2));
        assert_eq!(&bytes[..], b"\x81\x01a\x82\x02bc");
        assert!(batch.is_empty() && !batch.reaches(both[0]));
    }

    /// A slow reader keeps only the bytes of its batch alive.
    #[test]
    fn batches_share_no_buffer() {
        let both = ids(&["1", "2"]);
        let mut batch = Batch::default();
        let mut ended = Vec::new();
        for length in [COPY_BYTES_MAX, 1, COPY_BYTES_MAX / 2] {
            assert!(batch.add(&both, Frame::Text(&"x".repeat(length)), MESSAGE));
            ended.push(batch.end().1);
        }
        for bytes in ended {
            assert!(bytes.is_unique());
            assert!(Vec::from(bytes.clone()).capacity() <= 2 * bytes.len());
        }
    }

    #[test]
    fn a_long_batch_takes_no_more() {
        let both = ids(&["1", "2"]);
        let mut batch = Batch::default();
        assert!(batch.add(&both, Frame::Text(&"x".repeat(BYTES_MAX)), MESSAGE));
        assert!(!batch.add(&both, Frame::Text("a"), MESSAGE));
    }

    #[test]
    fn answers_and_messages_do_not_join() {
        let both = ids(&["1", "2"]);
        for (class, other) in [(MESSAGE, Class::Control), (Class::Control, MESSAGE)] {
            let mut batch = Batch::default();
            assert!(batch.add(&both, Frame::Text("a"), class));
            assert!(batch.add(&both, Frame::Text("b"), class));
            assert!(!batch.add(&both, Frame::Text("c"), other));
        }
    }
}
