//! Time limits for requests on a connection.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use crate::clock::patience::Wait;

/// Counts of requests of one connection: started ones, and finished ones.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    begun: AtomicU64,
    ended: AtomicU64,
    /// True while a response waits for its reader.
    unread: AtomicBool,
    /// True while the next response is to be the last.
    to_end: AtomicBool,
}

impl Requests {
    /// The number of requests so far; `None` with a request in progress or a response that waits to
    /// be read.
    pub(crate) fn idle(&self) -> Option<u64> {
        let (ended, begun) = (self.ended.load(Relaxed), self.begun.load(Relaxed));
        (begun == ended && !self.unread.load(Relaxed)).then_some(begun)
    }

    /// Sets whether the connection ends with its next response.
    pub(crate) fn have_end(&self, ends: bool) {
        self.to_end.store(ends, Relaxed);
    }

    pub(super) fn are_to_end(&self) -> bool {
        self.to_end.load(Relaxed)
    }
}

/// A request in progress, until this is dropped.
#[derive(Debug)]
pub(super) struct InWork(Arc<Requests>);

impl InWork {
    pub(super) fn begin(requests: &Arc<Requests>) -> Self {
        requests.begun.fetch_add(1, Relaxed);
        Self(requests.clone())
    }
}

impl Drop for InWork {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, Relaxed);
    }
}

/// The state of a connection without a request in progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asking {
    /// A part of a head has arrived.
    Head,
    /// No byte has arrived since the last response, or at all: proxies connect ahead of need.
    Idle,
}

/// Fails reads of a connection that takes too long for the head of a request, or is kept alive
/// without a request for too long.
pub(super) struct Pace {
    requests: Arc<Requests>,
    /// The number of requests that had started at the last check.
    seen: u64,
    asking: Asking,
    head_time: Duration,
    idle_time: Duration,
    /// The timer, while a read waits.
    waiting: Option<Wait>,
    /// The state whose time limit has passed, if any.
    pub(super) passed: Option<Asking>,
}

impl Pace {
    pub(super) const fn new(
        requests: Arc<Requests>,
        head_time: Duration,
        idle_time: Duration,
    ) -> Self {
        Self {
            requests,
            seen: 0,
            asking: Asking::Idle,
            head_time,
            idle_time,
            waiting: None,
            passed: None,
        }
    }

    /// Records whether a response waits for its reader.
    pub(super) fn write_waits(&self, waits: bool) {
        self.requests.unread.store(waits, Relaxed);
    }

    /// The result of a read, or an error when its time limit has passed.
    pub(super) fn within(
        &mut self,
        result: Poll<io::Result<()>>,
        arrived: bool,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let begun = self.requests.begun.load(Relaxed);
        if begun != self.requests.ended.load(Relaxed) {
            // Bodies have a time limit of their own.
            self.waiting = None;
            return result;
        }
        if begun != self.seen {
            self.seen = begun;
            self.turn(Asking::Idle);
        }
        if result.is_ready() {
            if arrived && self.asking == Asking::Idle {
                self.turn(Asking::Head);
            }
            return result;
        }
        let time = match self.asking {
            Asking::Head => self.head_time,
            Asking::Idle => self.idle_time,
        };
        let waiting = self.waiting.get_or_insert_with(|| Wait::new(time));
        ready!(Pin::new(waiting).poll(cx));
        self.passed = Some(self.asking);
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    fn turn(&mut self, asking: Asking) {
        self.asking = asking;
        self.waiting = None;
    }
}
