//! Commits to the store: once a turn, before any dependent output leaves the shard.
//!
//! Changes of histories are collected in a batch. The batch is committed at the end of the turn, or
//! earlier, before a write that cannot wait for that. Answers of the API wait for the commit too.
//! So a turn costs one commit, however many messages it has, and nobody has seen anything that a
//! crash can undo.
//!
//! The thread blocks during the commit, as Redis does for its append-only file. Without a sync that
//! takes some tens of microseconds; with one, everything that arrives meanwhile shares the next
//! commit.

use std::{mem, time::Instant};

use tokio::sync::oneshot;

use super::state::Egress;
use crate::store::{Batch, StoreError};

impl<S> Egress<S> {
    /// Adds a change to the turn's batch, if there is a store.
    pub(crate) fn persist(&self, change: impl FnOnce(&mut Batch)) {
        if self.shared.store.is_some() {
            change(&mut self.durable.batch.borrow_mut());
            self.ring();
        }
    }

    /// True when nothing has to be committed before output leaves.
    pub(crate) fn is_committed(&self) -> bool {
        self.durable.batch.borrow().is_empty() && self.told.borrow().is_empty()
    }

    /// Commits the batch. If that fails, no more output leaves this shard: connections end without
    /// a close frame, and the server ends with an error.
    pub(crate) fn commit(&self) {
        if self.is_committed() {
            return;
        }
        let batch = self.durable.batch.borrow_mut().take();
        let committed = if self.durable.failed.get() {
            Ok(false)
        } else {
            // Backends are notified only of committed changes.
            let written = self.write(&batch);
            written.and_then(|()| self.tell()).map(|()| true)
        };
        let waiting = mem::take(&mut *self.durable.waiting.borrow_mut());
        match committed {
            Ok(true) => {
                for done in waiting {
                    done();
                }
                return;
            }
            Ok(false) => {}
            Err(fault) => {
                tracing::error!(%fault, "the store cannot be written: the server ends");
                self.durable.failed.set(true);
                *self.durable.fault.borrow_mut() = Some(fault);
                self.durable.failure.notify_one();
            }
        }
        drop(waiting);
        for mail in &mut *self.outgoing.borrow_mut() {
            mail.clear();
        }
        let sockets = self.sockets.borrow();
        for (_, socket) in &*sockets {
            socket.cut_off();
        }
    }

    /// Calls `then` when all changes so far are committed; drops it if they cannot be.
    pub(crate) fn when_committed(&self, then: impl FnOnce() + 'static) {
        if self.is_committed() {
            if !self.durable.failed.get() {
                then();
            }
        } else {
            self.durable.waiting.borrow_mut().push(Box::new(then));
        }
    }

    /// Waits until all changes so far are committed; `None` if they cannot be.
    pub(in crate::shard) async fn committed(&self) -> Option<()> {
        let (done, wait) = oneshot::channel();
        self.when_committed(move || {
            let _ = done.send(()); // the waiter may be gone
        });
        wait.await.ok()
    }

    fn write(&self, batch: &Batch) -> Result<(), StoreError> {
        let Some(store) = self.shared.store.as_ref().filter(|_| !batch.is_empty()) else {
            return Ok(());
        };
        let begun = Instant::now();
        let committed = store.commit(batch);
        self.metrics().store_commit.observe(begun.elapsed());
        committed
    }

    /// Passes the turn's events on to the hooks.
    fn tell(&self) -> Result<(), StoreError> {
        let told = mem::take(&mut *self.told.borrow_mut());
        if told.is_empty() {
            return Ok(());
        }
        self.shared.hooks.push(&told)
    }

    /// Waits for a failure of the store, and returns it.
    pub(crate) async fn store_failure(&self) -> StoreError {
        loop {
            if let Some(fault) = self.durable.fault.borrow_mut().take() {
                return fault;
            }
            self.durable.failure.notified().await;
        }
    }
}
