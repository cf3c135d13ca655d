//! Sockets: a WebSocket connection as its shard sees it, a queue and a way to write it.

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

/// Progress of the end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    Open,
    /// Our close frame is queued or sent, the peer's is awaited since then.
    Closing(Timestamp),
    /// Both sides have said goodbye, or it is hopeless: end when the queue is empty.
    Done,
    /// End at once.
    Dead,
}

/// The place of the hub of a connection, and the connection's name there.
#[derive(Debug)]
pub(crate) struct Address {
    /// The shard where the namespace is at home.
    pub(crate) shard: usize,
    pub(crate) namespace: Arc<str>,
    pub(crate) conn: ConnId,
}

/// A socket of a connection.
#[derive(Debug)]
pub(crate) struct Socket {
    /// Place in the shard's table.
    pub(crate) key: u32,
    /// Borrowed for one read or write. As two halves it would cost a call of the system more.
    stream: RefCell<TcpStream>,
    /// The state of its records, with TLS. A write asks once whether there is one, beside its call
    /// of the system, and not for each frame. Without TLS the socket is written to as it is.
    tls: Option<Box<Session>>,
    address: OnceCell<Address>,
    queue: RefCell<SendQueue<Bytes>>,
    stage: Cell<Stage>,
    /// True when it is on the shard's list of sockets to flush.
    pub(crate) dirty: Cell<bool>,
    /// Bytes that it counts for on that list; a write out of turn does not change them.
    pub(crate) waiting: Cell<usize>,
    /// Since when the kernel takes no more; the connection's task then waits for it.
    blocked: Cell<Option<Timestamp>>,
    /// Since when a message is under way that has not ended.
    pub(crate) message_since: Cell<Option<Timestamp>>,
    /// True when the sweep looks at it.
    pub(crate) watched: Cell<bool>,
    /// The code with which it was closed, unless that is one that the client chose.
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

    /// Says where its hub is, and what it is called there; once.
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

    /// The fate of a message that was queued.
    pub(crate) fn fate(&self, message: &AtQueue) -> QueueFate {
        self.queue.borrow().fate(message)
    }

    /// True when the socket is in a state that must not last for ever.
    pub(crate) const fn may_be_due(&self) -> bool {
        self.blocked.get().is_some()
            || self.message_since.get().is_some()
            || !matches!(self.stage.get(), Stage::Open)
    }

    /// True when nothing is queued, so that a write may go past the queue.
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

    /// True when TLS has records that the kernel has not taken.
    fn has_unsent(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.has_unsent())
    }

    /// Ends our direction of the stream.
    pub(crate) fn half_close(&self) {
        if let Some(tls) = &self.tls {
            tls.end();
            // A peer that takes nothing sees the end alone.
            let _ = tls.send(&self.stream());
        }
        // A peer that is gone has ended it already.
        let _ = rustix::net::shutdown(&*self.stream(), rustix::net::Shutdown::Write);
    }

    pub(crate) const fn blocked_since(&self) -> Option<Timestamp> {
        self.blocked.get()
    }

    /// Queues whole frames.
    ///
    /// Over the limit it first tries to write: a healthy peer whose turn to be flushed has merely
    /// not come must not be closed for a burst. `before_flush` is told how many bytes are queued.
    /// What then happens is up to the class of what was to be queued.
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

    /// Reads what the peer has sent, decrypted; nothing at its end.
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

    /// Drops what is queued, for a peer that does not take it. Nothing more is queued until
    /// [`Socket::part`].
    pub(crate) fn discard(&self) {
        self.queue.borrow_mut().discard(queue::cut);
    }

    /// Ends the connection without another byte.
    pub(crate) fn cut_off(&self) {
        self.discard();
        self.set_stage(Stage::Dead);
    }

    /// Lets `$bye` into a queue that dropped everything.
    pub(crate) fn admit_bye(&self) {
        self.queue.borrow_mut().admit_bye();
    }

    /// Ends the connection in order: a close frame behind what is queued, then the peer's turn.
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

    /// Writes past the queue, which must be empty; queues what the kernel does not take.
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
                // With what is written of it: the queue must know where the frames begin.
                let mut queue = self.queue.borrow_mut();
                // Over the limits or not: the next push will see.
                let _ = queue.push(Bytes::copy_from_slice(bytes), frames, Tag::Message);
                queue.advance(written);
            }
            self.flush(now);
        }
    }

    /// Writes what is queued, as far as the kernel takes it. After an error the connection's task
    /// ends.
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
                    // The runtime must see the refusal too, or it would think the socket ready.
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

    /// The same with TLS. Frames are encrypted when all records before are sent: so what waits for
    /// a slow reader waits in the queue, where limits count it.
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

    /// A number that another one follows when the kernel has taken something.
    fn progress(&self) -> u64 {
        match &self.tls {
            None => self.queued_bytes() as u64,
            Some(tls) => tls.sent(),
        }
    }

    /// The task's share of writing: waits until a full kernel buffer has room again.
    pub(crate) fn poll_unblock(&self, now: Timestamp, cx: &mut Context<'_>) -> io::Result<()> {
        // What it writes by itself need not wake it.
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

/// Never wait; an ended peer is an error, not a signal.
const SEND: SendFlags = SendFlags::NOSIGNAL.union(SendFlags::DONTWAIT);
