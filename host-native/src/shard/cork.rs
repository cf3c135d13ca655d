//! The cork: what one connection's input makes the hub say to that same connection.
//!
//! It saves a write, and a queue entry, for every reply but the first of a turn. The order that
//! must be kept is the connection's own: whatever else is queued for it while replies are held back
//! goes behind them.

use std::{mem, rc::Rc};

use bytes::Bytes;
use roomcast_core::{
    Frame, Timestamp,
    outbox::Class,
    queue::{Pushed, Tag},
};

use super::{Shard, Socket};
use crate::ws;

/// Replies to the connection whose input is being processed: they leave in one write.
#[derive(Debug, Default)]
pub(super) struct Cork {
    key: Option<u32>,
    bytes: Vec<u8>,
    frames: u32,
    /// True when there is a message among the replies, and not only answers.
    messages: bool,
}

/// A cork this full goes to the queue, where it counts against the limit.
const CORK_BYTES_MAX: usize = 64 * 1024;
impl Shard {
    /// Holds replies to this socket back while its input is processed. Then they leave: in one
    /// write of their own when nothing waits before them.
    pub(crate) fn while_corked<R>(
        &self,
        socket: &Rc<Socket>,
        now: Timestamp,
        process: impl FnOnce() -> R,
    ) -> R {
        self.corked.borrow_mut().key = Some(socket.key);
        let result = process();
        let mut pushed = Pushed::Queued;
        // What is not committed must not be answered: then it waits for the end of the turn.
        let at_once = socket.is_idle() && self.is_committed();
        if !at_once {
            pushed = self.spill(socket, now);
        }
        {
            let cork = &mut *self.corked.borrow_mut();
            if at_once && !cork.bytes.is_empty() {
                socket.write_now(now, &cork.bytes, cork.frames);
            }
            cork.key = None;
            cork.bytes.clear(); // what a connection that ended meanwhile left too
            (cork.frames, cork.messages) = (0, false);
            cork.bytes.shrink_to(CORK_BYTES_MAX);
        }
        self.settle(socket, &pushed);
        result
    }

    pub(crate) fn is_corked(&self, socket: &Socket) -> bool {
        self.corked.borrow().key == Some(socket.key)
    }

    /// Holds a reply back.
    pub(crate) fn cork(
        &self,
        socket: &Rc<Socket>,
        now: Timestamp,
        frame: Frame<'_>,
        class: Class<'_>,
    ) -> Pushed {
        if matches!(class, Class::Sheddable(_) | Class::Position(_)) {
            // Must be dropped, or counted with, by itself.
            return self.push(socket, now, ws::message(frame), 1, class.into());
        }
        let full = {
            let cork = &mut *self.corked.borrow_mut();
            cork.messages |= class == Class::Message;
            let (head, used) = ws::header(frame);
            cork.bytes.extend_from_slice(&head[..used]);
            cork.bytes.extend_from_slice(frame.as_bytes());
            cork.frames += 1;
            cork.bytes.len() >= CORK_BYTES_MAX
        };
        if full {
            self.spill(socket, now)
        } else {
            Pushed::Queued
        }
    }

    /// Moves what is held back to the queue.
    pub(super) fn spill(&self, socket: &Rc<Socket>, now: Timestamp) -> Pushed {
        let (bytes, frames, tag) = {
            let cork = &mut *self.corked.borrow_mut();
            if cork.key != Some(socket.key) || cork.bytes.is_empty() {
                return Pushed::Queued;
            }
            let bytes = Bytes::copy_from_slice(&cork.bytes);
            cork.bytes.clear();
            let messages = mem::take(&mut cork.messages);
            let tag = if messages { Tag::Message } else { Tag::Control };
            (bytes, mem::take(&mut cork.frames), tag)
        };
        self.push(socket, now, bytes, frames, tag)
    }
}
