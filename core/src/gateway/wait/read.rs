//! Reads of histories whose messages the host has to load.

use alloc::{boxed::Box, rc::Rc, vec::Vec};
use core::{
    cell::RefCell, future::Future, ops::Bound, ops::RangeBounds, pin::Pin, task::Context,
    task::Poll, task::Waker,
};

use crate::room::page::{HistoryPage, PageError};

type Read = Result<HistoryPage, PageError>;
type Span = (Bound<u64>, Bound<u64>);

/// A page of a room's history that is being read: a future; see
/// [`NamespaceContext::history`](crate::NamespaceContext::history).
///
/// It is ready at once if the messages are in memory, as they always are on the native server.
/// Otherwise it becomes ready when the host has loaded them: it needs no executor of its own, and
/// fails if the namespace ends first.
#[derive(Debug)]
#[must_use = "the page is there when this is awaited or returned"]
pub struct HistoryRead(Rc<RefCell<State>>);

#[derive(Debug)]
enum State {
    Asked(Option<Waker>),
    Read(Read),
    Taken,
}

impl HistoryRead {
    pub(in crate::gateway) fn ready(read: Read) -> Self {
        Self(Rc::new(RefCell::new(State::Read(read))))
    }
}

impl Future for HistoryRead {
    type Output = Read;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Read> {
        let state = &mut *self.0.borrow_mut();
        if let State::Asked(waker) = state {
            *waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        match core::mem::replace(state, State::Taken) {
            State::Read(read) => Poll::Ready(read),
            // Polled after its end.
            State::Asked(_) | State::Taken => Poll::Ready(Err(PageError::Unavailable)),
        }
    }
}

/// Reads of histories that wait for the host, which loads the messages within the input that asks
/// for them.
///
/// A clone is empty, as with [`Begun`](super::work::Begun).
#[derive(Debug, Default)]
pub(in crate::gateway) struct Reads(Vec<Asked>);

impl Clone for Reads {
    fn clone(&self) -> Self {
        Self::default()
    }
}

#[derive(Debug)]
struct Asked {
    room: Box<str>,
    offsets: Span,
    limit: usize,
    /// The room's offset when the read was requested.
    top: u64,
    state: Rc<RefCell<State>>,
}

impl Reads {
    pub(in crate::gateway) fn ask(
        &mut self,
        room: &str,
        offsets: impl RangeBounds<u64>,
        limit: usize,
        top: u64,
    ) -> HistoryRead {
        // Messages sent later within the same input are not in the page, whether or not the read
        // has to wait.
        let end = match offsets.end_bound() {
            Bound::Included(&last) => last.min(top) + 1,
            Bound::Excluded(&end) => end.min(top + 1),
            Bound::Unbounded => top + 1,
        };
        let state = Rc::new(RefCell::new(State::Asked(None)));
        self.0.push(Asked {
            room: room.into(),
            offsets: (offsets.start_bound().cloned(), Bound::Excluded(end)),
            limit,
            top,
            state: state.clone(),
        });
        HistoryRead(state)
    }

    /// Completes the reads of a room whose messages were loaded.
    pub(in crate::gateway) fn answer(&mut self, room: &str, page: impl Fn(Span, usize) -> Read) {
        for asked in self.0.extract_if(.., |asked| *asked.room == *room) {
            let read = page(asked.offsets, asked.limit);
            asked.answer(read.map(|page| HistoryPage {
                offset: asked.top,
                ..page
            }));
        }
    }
}

impl Asked {
    fn answer(&self, read: Read) {
        let before = self.state.replace(State::Read(read));
        if let State::Asked(Some(waker)) = before {
            waker.wake();
        }
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        let waits = matches!(*self.state.borrow(), State::Asked(_));
        if waits {
            self.answer(Err(PageError::Unavailable));
        }
    }
}
