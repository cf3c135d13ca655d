//! Sockets: the queue and the stream of a WebSocket connection, for its shard.

use std::{
    cell::{Cell, OnceCell, Ref, RefCell},
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use roomcast_core::{
    CloseCode, ConnId, Timestamp,
    queue::{AtQueue, Pushed, QueueFate, QueueLimits, SendQueue, Tag},
};
use rustix::net::SendFlags;
use tokio::{
    io::{AsyncRead, ReadBuf},
    net::TcpStream,
};

use crate::{
    tls::Session,
    ws::{self, queue},
};

/// The stage of a connection's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    Open,
    /// This side's close frame is queued or sent; the peer's has been awaited since this time.
    Closing(Timestamp),
    /// Both close frames were exchanged, or that is hopeless: end when the queue is empty.
    Done,
    /// End at once.
    Dead,
}

/// The location of a connection's hub, and the connection's id there.
#[derive(Debug)]
pub(crate) struct Address {
    /// The home shard of the namespace.
    pub(crate) shard: usize,
    pub(crate) namespace: Arc<str>,
    pub(crate) conn: ConnId,
}

/// The socket of a connection.
#[derive(Debug)]
pub(crate) struct Socket {
    /// The index in the shard's table.
    pub(crate) key: u32,
    /// Borrowed for one read or write. Two halves would cost an additional system call.
    stream: RefCell<TcpStream>,
    /// The TLS session, if any. A write checks once whether there is one, next to its system call,
    /// and not for each frame. Without TLS the stream is written directly.
    tls: Option<Box<Session>>,
    address: OnceCell<Address>,
    queue: RefCell<SendQueue<Bytes>>,
    stage: Cell<Stage>,
    /// True when it is on the shard's list of sockets to flush.
    pub(crate) dirty: Cell<bool>,
    /// Bytes that it counts on that list; a write out of turn does not change them.
    pub(crate) waiting: Cell<usize>,
    /// The time since which the kernel has accepted no data; the connection's task then waits for
    /// it.
    blocked: Cell<Option<Timestamp>>,
    /// The time since which an incomplete message has been in progress.
    pub(crate) message_since: Cell<Option<Timestamp>>,
    /// True when the sweep visits it.
    pub(crate) watched: Cell<bool>,
    /// The code of the close, unless the client chose a private one.
    pub(crate) code: Cell<Option<CloseCode>>,
    task: RefCell<Option<Waker>>,
}

impl Socket {
    pub(crate) fn new(
        key: u32,
        stream: TcpStream,
        tls: Option<Box<Session>>,
        limits: QueueLimits,
    ) -> Self {
        Self {
            key,
            stream: RefCell::new(stream),
            tls,
            address: OnceCell::new(),
            queue: RefCell::new(SendQueue::new(limits)),
            stage: Cell::new(Stage::Open),
            dirty: Cell::new(false),
            waiting: Cell::new(0),
            blocked: Cell::new(None),
            message_since: Cell::new(None),
            watched: Cell::new(false),
            code: Cell::new(None),
            task: RefCell::new(None),
        }
    }

    /// Sets the location of the hub; called once.
    pub(crate) fn set_address(&self, address: Address) {
        let set = self.address.set(address);
        debug_assert!(set.is_ok());
    }

    pub(crate) fn address(&self) -> Option<&Address> {
        self.address.get()
    }

    pub(crate) const fn stage(&self) -> Stage {
        self.stage.get()
    }

    pub(crate) fn set_stage(&self, stage: Stage) {
        self.stage.set(stage);
        self.wake();
    }

    pub(crate) fn queued_bytes(&self) -> usize {
        self.queue.borrow().bytes()
    }

    /// The fate of a queued message.
    pub(crate) fn fate(&self, message: &AtQueue) -> QueueFate {
        self.queue.borrow().fate(message)
    }

    /// True when the socket is in a state with a deadline.
    pub(crate) const fn may_be_due(&self) -> bool {
        self.blocked.get().is_some()
            || self.message_since.get().is_some()
            || !matches!(self.stage.get(), Stage::Open)
    }

    /// True when nothing is queued, so that a write may bypass the queue.
    pub(crate) fn is_idle(&self) -> bool {
        let queue = self.queue.borrow();
        self.stage.get() == Stage::Open
            && queue.is_empty()
            && !queue.is_shut()
            && !self.has_unsent()
    }

    /// True when everything is written.
    pub(crate) fn is_flushed(&self) -> bool {
        self.queue.borrow().is_empty() && !self.has_unsent()
    }

    /// True when TLS has records that are not written yet.
    fn has_unsent(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.has_unsent())
    }

    /// Ends this side's direction of the stream.
    pub(crate) fn half_close(&self) {
        if let Some(tls) = &self.tls {
            tls.end();
            // A peer that accepts no data sees only the end of the stream.
            let _ = tls.send(&self.stream());
        }
        // If the peer is gone, the stream has already ended.
        let _ = rustix::net::shutdown(&*self.stream(), rustix::net::Shutdown::Write);
    }

    pub(crate) const fn blocked_since(&self) -> Option<Timestamp> {
        self.blocked.get()
    }

    /// Queues whole frames.
    ///
    /// Above the limit it first tries to write: a healthy peer must not be closed for a burst, only
    /// because its turn to be flushed has not come. `before_flush` receives the number of queued
    /// bytes. The classes of the frames decide what follows.
    pub(crate) fn push(
        &self,
        now: Timestamp,
        bytes: Bytes,
        frames: u32,
        tag: Tag,
        before_flush: impl FnOnce(usize),
    ) -> Pushed {
        if self.stage.get() != Stage::Open {
            return Pushed::Ended;
        }
        let fits = {
            let queue = &mut *self.queue.borrow_mut();
            if queue.is_shut() {
                return Pushed::Ended;
            }
            queue.push(bytes, frames, tag)
        };
        if fits {
            return Pushed::Queued;
        }
        before_flush(self.queued_bytes());
        self.flush(now);
        self.queue
            .borrow_mut()
            .enforce_limits(queue::cut, queue::notice)
    }

    fn stream(&self) -> Ref<'_, TcpStream> {
        self.stream.borrow()
    }

    /// Reads decrypted data from the peer; reads nothing at the end of the stream.
    pub(crate) fn poll_read(
        &self,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let stream = &mut *self.stream.borrow_mut();
        match &self.tls {
            None => Pin::new(stream).poll_read(cx, into),
            Some(tls) => tls.poll_read(cx, stream, into),
        }
    }

    /// Drops the queued frames, for a peer that does not read them. Nothing more is queued until
    /// [`admit_bye`](Self::admit_bye), except a close frame.
    pub(crate) fn discard(&self) {
        self.queue.borrow_mut().discard(queue::cut);
    }

    /// Ends the connection without further output.
    pub(crate) fn cut_off(&self) {
        self.discard();
        self.set_stage(Stage::Dead);
    }

    /// Lets `$bye` into a queue that drops everything else.
    pub(crate) fn admit_bye(&self) {
        self.queue.borrow_mut().admit_bye();
    }

    /// Starts the closing handshake: queues a close frame after everything else, and awaits the
    /// peer's.
    pub(crate) fn close(&self, now: Timestamp, code: CloseCode, reason: &str) {
        if self.stage.get() != Stage::Open {
            return;
        }
        self.code.set(Some(code));
        let frame = ws::close_frame(code, reason);
        self.queue.borrow_mut().push_last(frame);
        self.set_stage(Stage::Closing(now));
    }

    /// Answers the peer's close frame.
    pub(crate) fn answer_close(&self, code: Option<CloseCode>, answer: &[u8]) {
        if self.stage.get() == Stage::Dead {
            return;
        }
        if self.stage.get() == Stage::Open {
            self.code.set(code.filter(|code| !code.is_private()));
            if !answer.is_empty() {
                let answer = Bytes::copy_from_slice(answer);
                self.queue.borrow_mut().push_last(answer);
            }
        }
        self.set_stage(Stage::Done);
    }

    /// Writes directly, past the queue, which must be empty; queues what the kernel does not
    /// accept.
    pub(crate) fn write_now(&self, now: Timestamp, bytes: &[u8], frames: u32) {
        debug_assert!(self.is_idle());
        let written = match &self.tls {
            None => rustix::net::send(&*self.stream(), bytes, SEND).unwrap_or(0),
            Some(tls) => tls.encrypt(&[io::IoSlice::new(bytes)]),
        };
        if written == bytes.len() {
            if self.tls.is_some() {
                self.flush(now);
            }
        } else {
            {
                // Queued with the part that was written: the queue must know where frames begin.
                let mut queue = self.queue.borrow_mut();
                // The next push enforces the limits.
                let _ = queue.push(Bytes::copy_from_slice(bytes), frames, Tag::Message);
                queue.advance(written);
            }
            self.flush(now);
        }
    }

    /// Writes the queued frames, as far as the kernel accepts them. After an error the connection's
    /// task ends.
    pub(crate) fn flush(&self, now: Timestamp) {
        if self.blocked.get().is_some() {
            return;
        }
        if let Some(tls) = &self.tls {
            return self.flush_records(tls, now);
        }
        let queue = &mut *self.queue.borrow_mut();
        while !queue.is_empty() {
            let written = if let Some(bytes) = queue.only() {
                match rustix::net::send(&*self.stream(), bytes, SEND) {
                    Ok(written) => Ok(written),
                    // The runtime must see the refusal too, or it would treat the socket as
                    // writable.
                    Err(rustix::io::Errno::AGAIN) => self.stream().try_write(bytes),
                    Err(fault) => Err(fault.into()),
                }
            } else {
                let (slices, used) = queue::slices(queue);
                self.stream().try_write_vectored(&slices[..used])
            };
            match written {
                Ok(written) => queue.advance(written),
                Err(fault) if fault.kind() == io::ErrorKind::Interrupted => {}
                Err(fault) if fault.kind() == io::ErrorKind::WouldBlock => {
                    self.blocked.set(Some(now));
                    return self.wake();
                }
                Err(_) => return self.set_stage(Stage::Dead),
            }
        }
        if self.stage.get() != Stage::Open {
            self.wake();
        }
    }

    /// Flushes with TLS. Frames are encrypted only when all earlier records are sent: the backlog
    /// of a slow reader stays in the queue, where limits count it.
    fn flush_records(&self, tls: &Session, now: Timestamp) {
        loop {
            match tls.send(&self.stream()) {
                Ok(()) => {}
                Err(fault) if fault.kind() == io::ErrorKind::WouldBlock => {
                    self.blocked.set(Some(now));
                    return self.wake();
                }
                Err(_) => return self.set_stage(Stage::Dead),
            }
            let queue = &mut *self.queue.borrow_mut();
            if queue.is_empty() {
                if self.stage.get() == Stage::Done && tls.end() {
                    continue;
                }
                break;
            }
            let (slices, used) = queue::slices(queue);
            let taken = tls.encrypt(&slices[..used]);
            if taken == 0 {
                return self.set_stage(Stage::Dead);
            }
            queue.advance(taken);
        }
        if self.stage.get() != Stage::Open {
            self.wake();
        }
    }

    /// A number that changes when the kernel has accepted data.
    fn progress(&self) -> u64 {
        match &self.tls {
            None => self.queued_bytes() as u64,
            Some(tls) => tls.sent(),
        }
    }

    /// The task's share of writing: waits until a full kernel buffer has space again.
    pub(crate) fn poll_unblock(&self, now: Timestamp, cx: &mut Context<'_>) -> io::Result<()> {
        // Its own writes need not wake it.
        let task = self.task.take();
        let unblocked = self.unblock(now, cx);
        let task = task.filter(|task| task.will_wake(cx.waker()));
        self.task.replace(task.or_else(|| Some(cx.waker().clone())));
        unblocked
    }

    fn unblock(&self, now: Timestamp, cx: &mut Context<'_>) -> io::Result<()> {
        while let Some(since) = self.blocked.get() {
            match self.stream().poll_write_ready(cx) {
                Poll::Pending => return Ok(()),
                Poll::Ready(ready) => ready?,
            }
            let before = self.progress();
            self.blocked.set(None);
            self.flush(now);
            if self.blocked.get().is_some() && self.progress() == before {
                self.blocked.set(Some(since));
            }
        }
        Ok(())
    }

    /// True when the connection's task has nothing left to do.
    pub(crate) fn is_over_with(&self) -> bool {
        match self.stage.get() {
            Stage::Open | Stage::Closing(_) => false,
            Stage::Done => self.is_flushed(),
            Stage::Dead => true,
        }
    }

    fn wake(&self) {
        if let Some(task) = &*self.task.borrow() {
            task.wake_by_ref();
        }
    }
}

/// Flags so that a send never blocks, and an ended peer is an error and not a signal.
const SEND: SendFlags = SendFlags::NOSIGNAL.union(SendFlags::DONTWAIT);
