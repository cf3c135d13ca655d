//! The time that a connection may take to ask.

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

/// Requests of one connection: how many were begun, and how many of them are done with.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    begun: AtomicU64,
    ended: AtomicU64,
    /// True while an answer waits for its reader.
    unread: AtomicBool,
    /// True while the next answer is to be the last.
    to_end: AtomicBool,
}

impl Requests {
    /// The number of requests so far; `None` with one in work or an answer on its way.
    pub(crate) fn idle(&self) -> Option<u64> {
        let (ended, begun) = (self.ended.load(Relaxed), self.begun.load(Relaxed));
        (begun == ended && !self.unread.load(Relaxed)).then_some(begun)
    }

    /// Says whether the connection ends with its next answer.
    pub(crate) fn have_end(&self, ends: bool) {
        self.to_end.store(ends, Relaxed);
    }

    pub(super) fn are_to_end(&self) -> bool {
        self.to_end.load(Relaxed)
    }
}

/// A request that is worked on, until this is dropped.
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

/// The state of a connection that nothing is worked on for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asking {
    /// A head has begun to come.
    Head,
    /// No byte has come since the last answer, or at all: proxies connect ahead of need.
    Idle,
}

/// Ends the reads of a connection that takes too long for the head of a request, or that is kept
/// alive for too long without one.
pub(super) struct Pace {
    requests: Arc<Requests>,
    /// Number of requests that had begun when the state was last looked at.
    seen: u64,
    asking: Asking,
    head_time: Duration,
    idle_time: Duration,
    /// Runs while a read waits.
    waiting: Option<Wait>,
    /// True when the time has passed.
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

    /// Notes that an answer waits for its reader, or no more.
    pub(super) fn write_waits(&self, waits: bool) {
        self.requests.unread.store(waits, Relaxed);
    }

    /// The result of a read, or its end when the time for it has passed.
    pub(super) fn within(
        &mut self,
        result: Poll<io::Result<()>>,
        arrived: bool,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let begun = self.requests.begun.load(Relaxed);
        if begun != self.requests.ended.load(Relaxed) {
            // Bodies have a time of their own.
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
