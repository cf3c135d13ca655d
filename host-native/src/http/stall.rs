//! A stream with a time limit for writes.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::pace::{Asking, Pace};
use crate::{clock::patience::Wait, tls::Transport};

/// A stream whose writes fail when they wait for too long: a peer that sends requests and never
/// reads would otherwise keep its connection, and the data written to it, for good. Reads fail as
/// [`Pace`] describes.
///
/// The stream is not ended here: there may be a final response to write. Two responses are held
/// back: hyper's own response to an oversized head, which has no body, and the response to an
/// upgrade, which is sent with the first frame.
///
/// Only for the HTTP part of a connection: a WebSocket takes the stream out, and has its own rules.
pub(super) struct StallGuard {
    stream: Transport,
    limit: Duration,
    /// The timer, while a write waits.
    waiting: Option<Wait>,
    /// True when a write has timed out.
    stalled: bool,
    /// True when hyper has refused a head for its size.
    refused: bool,
    /// The response to an upgrade.
    switching: Bytes,
    pace: Pace,
}

impl StallGuard {
    pub(super) const fn new(stream: Transport, limit: Duration, pace: Pace) -> Self {
        Self {
            stream,
            limit,
            waiting: None,
            stalled: false,
            refused: false,
            switching: Bytes::new(),
            pace,
        }
    }

    /// True when the peer did not accept data in time.
    pub(super) const fn is_stalled(&self) -> bool {
        self.stalled
    }

    /// True when a head exceeded a limit, and its response is still to be written.
    pub(super) const fn is_head_refused(&self) -> bool {
        self.refused
    }

    /// Returns true for a response that is held back. hyper writes either in one piece.
    ///
    /// This server's responses to an oversized head have a body; hyper's have none.
    fn holds_back(&mut self, bytes: &[u8]) -> bool {
        let empty = b"content-length: 0\r\n";
        match bytes.get(8..13) {
            Some(b" 101 ") => {
                self.switching = Bytes::copy_from_slice(bytes);
                return true;
            }
            Some(b" 431 ") => self.refused |= bytes.windows(empty.len()).any(|at| at == empty),
            _ => {}
        }
        self.refused
    }

    /// The time limit that the peer exceeded, if any.
    pub(super) const fn passed(&self) -> Option<Asking> {
        self.pace.passed
    }

    pub(super) fn into_inner(self) -> Transport {
        self.stream
    }

    /// The stream, and the response to the upgrade, which is still to be written to it.
    pub(super) fn into_upgraded(self) -> (Transport, Bytes) {
        (self.stream, self.switching)
    }

    /// A ready result ends the wait; a pending one may wait within the limit.
    fn within_limit<T>(
        &mut self,
        result: Poll<io::Result<T>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        self.pace.write_waits(result.is_pending());
        if result.is_ready() {
            self.waiting = None;
            return result;
        }
        let limit = self.limit;
        let waiting = self.waiting.get_or_insert_with(|| Wait::new(limit));
        ready!(Pin::new(waiting).poll(cx));
        self.stalled = true;
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for StallGuard {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(cx, buffer);
        let arrived = buffer.filled().len() > before;
        self.pace.within(result, arrived, cx)
    }
}

impl AsyncWrite for StallGuard {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.holds_back(bytes) {
            return Poll::Ready(Ok(bytes.len()));
        }
        let result = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.within_limit(result, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let first = slices.iter().find(|slice| !slice.is_empty());
        if first.is_some_and(|first| self.holds_back(first)) {
            return Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum()));
        }
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.within_limit(result, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_flush(cx);
        self.within_limit(result, cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
