//! Sockets of a shard: frames are queued for them, replies to one are joined, they are closed.

use std::{mem, rc::Rc};

use bytes::Bytes;
use roomcast_core::{
    CloseCode, Frame, Input, Timestamp,
    outbox::Class,
    queue::{Pushed, QueueLimits, Tag},
};
use tokio::net::tcp::OwnedWriteHalf;

use super::state::{Link, Mail, Shard, Socket};
use crate::{tls::Session, ws};

/// A cork this full goes to the queue, where it counts against the limit.
const CORK_BYTES_MAX: usize = 64 * 1024;

impl Shard {
    pub(crate) fn add_socket(&self, io: OwnedWriteHalf, tls: Option<Box<Session>>) -> Rc<Socket> {
        let settings = &self.shared.settings;
        let limits = QueueLimits {
            bytes_max: settings.outbox_bytes_max,
            frames_max: settings.outbox_frames_max,
        };
        let mut sockets = self.sockets.borrow_mut();
        let entry = sockets.vacant_entry();
        let key = u32::try_from(entry.key()).unwrap_or(u32::MAX);
        let socket = Rc::new(Socket::new(key, io, tls, limits));
        entry.insert(socket.clone());
        socket
    }

    /// Frees the socket's key. For one with a distant hub only after the hub's last word.
    pub(crate) fn remove_socket(&self, key: u32) {
        self.sockets.borrow_mut().try_remove(key as usize);
    }

    pub(crate) fn socket(&self, key: u32) -> Option<Rc<Socket>> {
        self.sockets.borrow().get(key as usize).cloned()
    }

    /// Queues frames for a socket of this shard; it is flushed at the end of the turn.
    pub(crate) fn push(
        &self,
        socket: &Rc<Socket>,
        now: Timestamp,
        bytes: Bytes,
        frames: u32,
        tag: Tag,
    ) -> Pushed {
        if self.is_corked(socket) {
            // What the cork holds is older.
            let spilt = self.spill(socket, now);
            if spilt == Pushed::Overflow {
                return spilt;
            }
        }
        let len = bytes.len();
        let pushed = socket.push(now, bytes, frames, tag, |queued| {
            self.metrics().outbox.note(queued);
            self.commit();
        });
        let metrics = self.metrics();
        match &pushed {
            Pushed::Queued if socket.blocked_since().is_some() => self.watch(socket),
            Pushed::Queued => self.mark_dirty(socket, len),
            Pushed::Ended => {}
            Pushed::Overflow => {
                metrics.overflows_closed.add(1);
            }
            Pushed::Dropped { count } => {
                metrics.overflows_dropped.add(1);
                metrics.messages_dropped.add((*count).into());
                self.watch(socket);
            }
            Pushed::Replaced { count } => {
                metrics.overflows_replaced.add(1);
                metrics.messages_dropped.add((*count).into());
                self.watch(socket);
            }
        }
        pushed
    }

    /// Has so many more bytes written at the end of the turn. One that the kernel takes no more of
    /// writes by itself when it does.
    fn mark_dirty(&self, socket: &Rc<Socket>, bytes: usize) {
        if socket.blocked_since().is_some() {
            return;
        }
        socket.waiting.set(socket.waiting.get() + bytes);
        self.backlog.add(bytes);
        if !socket.dirty.replace(true) {
            self.dirty.borrow_mut().push(socket.clone());
            self.bell.notify_one();
        }
    }

    /// Delivers one frame to one connection, wherever its socket is.
    pub(crate) fn deliver_one(
        &self,
        link: &Link,
        now: Timestamp,
        bytes: Bytes,
        tag: Tag,
    ) -> Pushed {
        match link {
            Link::Local(socket) => self.push(socket, now, bytes, 1, tag),
            &Link::Remote { shard, key } => {
                let keys = Box::new([key]);
                let frames = 1;
                let mail = Mail::Deliver {
                    keys,
                    bytes,
                    frames,
                    tag,
                };
                self.post(shard, mail);
                Pushed::Queued
            }
        }
    }

    /// Does something with the socket of a link, wherever it is.
    pub(super) fn at_socket(
        &self,
        link: &Link,
        then: impl FnOnce(&Self, &Rc<Socket>) + Send + 'static,
    ) {
        match link {
            Link::Local(socket) => then(self, socket),
            &Link::Remote { shard, key } => {
                let then = move |shard: &Rc<Self>| {
                    if let Some(socket) = shard.socket(key) {
                        then(shard, &socket);
                    }
                };
                self.post(shard, Mail::task(then));
            }
        }
    }

    /// Ends a connection as its hub decided, wherever its socket is.
    pub(super) fn close(&self, link: &Link, code: CloseCode, reason: &str) {
        let reason: Box<str> = reason.into();
        self.at_socket(link, move |shard, socket| {
            let now = shard.now();
            shard.spill(socket, now);
            socket.close(now, code, &reason);
            shard.watch(socket);
            shard.mark_dirty(socket, 0);
        });
    }

    /// Ends a connection whose peer has said goodbye, behind all that is queued for it.
    pub(crate) fn answer_close(&self, socket: &Rc<Socket>, code: Option<CloseCode>, answer: &[u8]) {
        let now = self.now();
        socket.answer_close(code, answer);
        self.commit();
        socket.flush(now);
        self.watch(socket);
    }

    /// Has the hub of a socket close it, wherever it is.
    pub(crate) fn ask_close(&self, socket: &Socket, code: CloseCode, reason: &str) {
        if let Some((home, conn)) = socket.home() {
            // It may be closed already.
            home.input(self, Input::close(*conn, code, reason));
        }
    }

    /// Has the hub of a socket of this shard close it: what was queued for it was too much.
    #[cold]
    pub(crate) fn close_full(&self, socket: &Socket) {
        self.ask_close(socket, CloseCode::TOO_SLOW, CloseCode::TOO_SLOW_REASON);
    }
}

/// The cork: what one connection's input makes the hub say to that same connection.
///
/// It saves a write, and a queue entry, for every reply but the first of a turn. The order that
/// must be kept is the connection's own: whatever else is queued for it while replies are held back
/// goes behind them.
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
        if pushed == Pushed::Overflow {
            self.close_full(socket);
        }
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
