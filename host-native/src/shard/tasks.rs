//! Work that handlers started: futures on the thread of their namespace.

use std::{
    collections::BTreeMap,
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::Poll,
};

use roomcast_core::{
    Failure, Outcome,
    gateway::{Token, Work},
};
use tokio::task::{AbortHandle, spawn_local};

use crate::namespace::gateways::panic_text;

/// Running tasks of a namespace; they are cancelled with it.
#[derive(Debug, Default)]
pub(super) struct Tasks {
    running: BTreeMap<Token, AbortHandle>,
}

impl Tasks {
    pub(super) fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// Starts a task that does the work, and then calls `then` with its outcome: never at once, so
    /// that the namespace is not re-entered.
    pub(super) fn begin(&mut self, token: Token, work: Work, then: impl FnOnce(Outcome) + 'static) {
        let task = spawn_local(async { then(outcome(work).await) });
        self.running.insert(token, task.abort_handle());
    }

    pub(super) fn end(&mut self, token: Token) {
        self.running.remove(&token);
    }

    /// Cancels a task. The runtime drops the future in a turn of its own.
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

/// The outcome of the work; an internal failure when it panics.
async fn outcome(work: Work) -> Outcome {
    let outcome = caught(work).await;
    outcome.unwrap_or_else(|panic| Outcome::Fail(Failure::internal(panic)))
}

/// The value of a future of the application, or the text of its panic.
pub(super) async fn caught<F: Future + Unpin>(mut work: F) -> Result<F::Output, String> {
    let poll = poll_fn(|cx| {
        let polled = catch_unwind(AssertUnwindSafe(|| Pin::new(&mut work).poll(cx)));
        match polled {
            Ok(polled) => polled.map(Ok),
            Err(panic) => Poll::Ready(Err(panic_text(&*panic))),
        }
    });
    poll.await
}
