//! Sockets of a shard: frames are queued for them, replies to one are joined, they are closed.

pub(super) mod cork;

use std::rc::Rc;

use bytes::Bytes;
use roomcast_core::{
    CloseCode, Frame, Input, Timestamp,
    outbox::Class,
    queue::{Pushed, QueueLimits, Tag},
};
use tokio::net::tcp::OwnedWriteHalf;

use super::state::{Link, Mail, Shard, Socket};
use crate::{tls::Session, ws};

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

/// The [cork](cork::Cork).
impl Shard {
    /// Holds replies to this socket back while its input is processed. Then they leave: in one
    /// write of their own when nothing waits before them.
    pub(crate) fn while_corked<R>(
        &self,
        socket: &Rc<Socket>,
        now: Timestamp,
        process: impl FnOnce() -> R,
    ) -> R {
        self.corked.borrow_mut().open(socket.key);
        let result = process();
        let mut pushed = Pushed::Queued;
        // What is not committed must not be answered: then it waits for the end of the turn.
        let at_once = socket.is_idle() && self.is_committed();
        if !at_once {
            pushed = self.spill(socket, now);
        }
        {
            let cork = &mut *self.corked.borrow_mut();
            let (bytes, frames) = cork.replies();
            if at_once && !bytes.is_empty() {
                socket.write_now(now, bytes, frames);
            }
            cork.close();
        }
        if pushed == Pushed::Overflow {
            self.close_full(socket);
        }
        result
    }

    pub(crate) fn is_corked(&self, socket: &Socket) -> bool {
        self.corked.borrow().is_for(socket.key)
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
        let is_full = self.corked.borrow_mut().hold(frame, class);
        if is_full {
            self.spill(socket, now)
        } else {
            Pushed::Queued
        }
    }

    /// Moves what is held back to the queue.
    pub(super) fn spill(&self, socket: &Rc<Socket>, now: Timestamp) -> Pushed {
        let held = self.corked.borrow_mut().take(socket.key);
        let Some((bytes, frames, tag)) = held else {
            return Pushed::Queued;
        };
        self.push(socket, now, bytes, frames, tag)
    }
}
