//! Work that handlers began: futures on the thread of their namespace.

use std::{
    collections::BTreeMap,
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    task::Poll,
};

use roomcast_core::{
    Failure, Outcome,
    gateway::{Token, Work},
};
use tokio::task::{AbortHandle, spawn_local};

use crate::namespace::gateways::panic_text;

/// Tasks under way for a namespace; they are given up with it.
#[derive(Debug, Default)]
pub(super) struct Tasks {
    running: BTreeMap<Token, AbortHandle>,
}

impl Tasks {
    pub(super) fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// Begins a task that does the work, and then does something with what came of it: never at
    /// once, so that the namespace is not called from within.
    pub(super) fn begin(&mut self, token: Token, work: Work, then: impl FnOnce(Outcome) + 'static) {
        let task = spawn_local(async { then(outcome(work).await) });
        self.running.insert(token, task.abort_handle());
    }

    pub(super) fn end(&mut self, token: Token) {
        self.running.remove(&token);
    }

    /// Gives up what nobody waits for. The future is dropped by the runtime, in a turn of its own.
    pub(super) fn cancel(&mut self, token: Token) {
        if let Some(task) = self.running.remove(&token) {
            task.abort();
        }
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        for task in self.running.values() {
            task.abort();
        }
    }
}

/// Outcome of the work; an internal failure when it panics.
async fn outcome(mut work: Work) -> Outcome {
    let poll = poll_fn(|cx| {
        let polled = catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx)));
        polled.unwrap_or_else(|panic| {
            Poll::Ready(Outcome::Fail(Failure::internal(panic_text(&*panic))))
        })
    });
    poll.await
}
