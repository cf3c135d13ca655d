//! The sockets of a shard: queues frames for them, joins replies, and closes them.

use std::{collections::VecDeque, rc::Rc, task::Context};

use bytes::Bytes;
use roomcast_core::{
    CloseCode, Frame, Timestamp,
    outbox::Class,
    queue::{Pushed, QueueLimits, Tag},
};
use tokio::net::TcpStream;

use super::{letter::Mail, link::Link, state::Egress};
use crate::{socket::Socket, tls::Session, ws};

/// The number of sockets that are flushed before other tasks get a turn.
pub(in crate::shard) const SLICE_SOCKETS: usize = 512;
/// The number of bytes that are written before other tasks get a turn: they take about as long as
/// the sockets.
const SLICE_BYTES: usize = 4 << 20;

impl<S> Egress<S> {
    pub(crate) fn add_socket(&self, stream: TcpStream, tls: Option<Box<Session>>) -> Rc<Socket> {
        let settings = &self.shared.settings;
        let limits = QueueLimits {
            bytes_max: settings.outbox_bytes_max,
            frames_max: settings.outbox_frames_max,
        };
        let mut sockets = self.sockets.borrow_mut();
        let entry = sockets.vacant_entry();
        let key = u32::try_from(entry.key()).unwrap_or(u32::MAX);
        let socket = Rc::new(Socket::new(key, stream, tls, limits));
        entry.insert(socket.clone());
        socket
    }

    /// Frees the socket's key. With a hub on another shard, it may be freed only after the hub has
    /// processed the disconnect.
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
            // The replies in the cork are older.
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

    /// Schedules a socket to be flushed at the end of the turn, with `bytes` more. A socket whose
    /// send buffer in the kernel is full is written when that has space.
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

    /// Lets `$bye` into the queue of a connection that drops everything else, wherever its socket
    /// is.
    pub(in crate::shard) fn admit_bye(&self, link: &Link) {
        match link {
            Link::Local(socket) => socket.admit_bye(),
            &Link::Remote { shard, key } => self.post(shard, Mail::AdmitBye { key }),
        }
    }

    /// Closes a connection on behalf of its hub, wherever its socket is.
    pub(in crate::shard) fn close(&self, link: &Link, code: CloseCode, reason: &str) {
        match link {
            Link::Local(socket) => self.close_here(socket, code, reason),
            &Link::Remote { shard, key } => {
                let reason = reason.into();
                self.post(shard, Mail::Close { key, code, reason });
            }
        }
    }

    /// Closes a connection of this shard.
    pub(in crate::shard) fn close_here(&self, socket: &Rc<Socket>, code: CloseCode, reason: &str) {
        let now = self.now();
        self.spill(socket, now);
        socket.close(now, code, reason);
        self.watch(socket);
        self.mark_dirty(socket, 0);
    }

    /// Answers the close frame of a peer, after everything that is queued for it.
    pub(crate) fn answer_close(&self, socket: &Rc<Socket>, code: Option<CloseCode>, answer: &[u8]) {
        let now = self.now();
        socket.answer_close(code, answer);
        self.commit();
        socket.flush(now);
        self.watch(socket);
    }

    /// Registers a socket for the sweep, while a deadline of it may pass.
    pub(crate) fn watch(&self, socket: &Socket) {
        if socket.may_be_due() && !socket.watched.replace(true) {
            self.watched.borrow_mut().push(socket.key);
        }
    }

    /// The number of connections whose peer currently accepts no data, and the bytes queued for
    /// them. Work: all watched sockets.
    pub(crate) fn slow_readers(&self) -> (usize, usize) {
        let watched = self.watched.borrow();
        let sockets = watched.iter().filter_map(|&key| self.socket(key));
        let slow = sockets.filter(|socket| socket.blocked_since().is_some());
        slow.fold((0, 0), |(readers, bytes), socket| {
            (readers + 1, bytes + socket.queued_bytes())
        })
    }

    /// True when too much waits to be written. The task is then woken when it is less.
    ///
    /// Meanwhile clients that pipeline without end are not read, so that turns stay short, and no
    /// queue overflows only because its socket had no turn.
    pub(crate) fn is_behind(&self, cx: &Context<'_>) -> bool {
        self.backlog.is_long(cx)
    }

    /// Flushes the first sockets, and removes them from the list; returns their number.
    pub(in crate::shard) fn flush_slice(
        &self,
        now: Timestamp,
        sockets: &mut VecDeque<Rc<Socket>>,
    ) -> usize {
        let (mut count, mut bytes) = (0, 0);
        while count < SLICE_SOCKETS
            && bytes < SLICE_BYTES
            && let Some(socket) = sockets.pop_front()
        {
            socket.dirty.set(false);
            let waiting = socket.waiting.take();
            self.backlog.take(waiting);
            bytes += waiting;
            socket.flush(now);
            if socket.may_be_due() {
                self.watch(&socket);
            }
            count += 1;
        }
        count
    }
}

/// The cork.
impl<S> Egress<S> {
    /// Holds back replies to this socket while its input is processed. Then sends them in one write
    /// if nothing is queued before them. Otherwise queues them, and returns the result.
    #[must_use]
    pub(crate) fn while_corked(
        &self,
        socket: &Rc<Socket>,
        now: Timestamp,
        process: impl FnOnce(),
    ) -> Pushed {
        self.corked.borrow_mut().open(socket.key);
        process();
        let mut pushed = Pushed::Queued;
        // Uncommitted changes must not be answered: then the replies wait for the end of the turn.
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
        pushed
    }

    pub(crate) fn is_corked(&self, socket: &Socket) -> bool {
        self.corked.borrow().is_for(socket.key)
    }

    /// Adds a reply to the cork.
    pub(crate) fn cork(
        &self,
        socket: &Rc<Socket>,
        now: Timestamp,
        frame: Frame<'_>,
        class: Class<'_>,
    ) -> Pushed {
        if matches!(class, Class::Sheddable(_) | Class::Position(_)) {
            // These must be queued one by one, to be dropped or counted singly.
            return self.push(socket, now, ws::message(frame), 1, class.into());
        }
        let is_full = self.corked.borrow_mut().hold(frame, class);
        if is_full {
            self.spill(socket, now)
        } else {
            Pushed::Queued
        }
    }

    /// Moves the held replies to the queue.
    fn spill(&self, socket: &Rc<Socket>, now: Timestamp) -> Pushed {
        let held = self.corked.borrow_mut().take(socket.key);
        let Some((bytes, frames, tag)) = held else {
            return Pushed::Queued;
        };
        self.push(socket, now, bytes, frames, tag)
    }
}
