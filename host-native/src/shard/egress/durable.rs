//! Writing to the store: once a turn, before anything that depends on it leaves the shard.
//!
//! Changes of histories are gathered in a batch. It is committed when the turn ends, and before any
//! write that does not wait for that. Answers of the API wait for it too. So a turn costs one
//! commit, whatever its number of messages, and nobody has seen what a crash can take back.
//!
//! The thread waits for the commit, as Redis does for its append-only file: without a sync that is
//! some tens of microseconds, and with one everything that comes meanwhile shares the next.

use std::{mem, time::Instant};

use tokio::sync::oneshot;

use super::state::Egress;
use crate::store::{Batch, StoreError};

impl<S> Egress<S> {
    /// Has something written with this turn, where there is a store.
    pub(crate) fn persist(&self, change: impl FnOnce(&mut Batch)) {
        if self.shared.store.is_some() {
            change(&mut self.durable.batch.borrow_mut());
            self.ring();
        }
    }

    /// True when there is nothing that must be committed before anything leaves.
    pub(crate) fn is_committed(&self) -> bool {
        self.durable.batch.borrow().is_empty() && self.told.borrow().is_empty()
    }

    /// Commits what there is. When that fails, nothing leaves this shard any more: connections end
    /// without a word, and the server with an error.
    pub(crate) fn commit(&self) {
        if self.is_committed() {
            return;
        }
        let batch = self.durable.batch.borrow_mut().take();
        let committed = if self.durable.failed.get() {
            Ok(false)
        } else {
            // Backends first hear of what is committed.
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

    /// Does something when all that was changed so far is committed; not at all when it cannot be.
    pub(crate) fn when_committed(&self, then: impl FnOnce() + 'static) {
        if self.is_committed() {
            if !self.durable.failed.get() {
                then();
            }
        } else {
            self.durable.waiting.borrow_mut().push(Box::new(then));
        }
    }

    /// Waits until all that was changed so far is committed; `None` when it cannot be.
    pub(in crate::shard) async fn committed(&self) -> Option<()> {
        let (done, wait) = oneshot::channel();
        self.when_committed(move || {
            let _ = done.send(()); // who waits may be gone
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

    /// Has the events of the turn told to backends.
    fn tell(&self) -> Result<(), StoreError> {
        let told = mem::take(&mut *self.told.borrow_mut());
        if told.is_empty() {
            return Ok(());
        }
        self.shared.hooks.push(&told)
    }

    /// Waits for the store to fail.
    pub(crate) async fn store_failure(&self) -> StoreError {
        loop {
            if let Some(fault) = self.durable.fault.borrow_mut().take() {
                return fault;
            }
            self.durable.failure.notified().await;
        }
    }
}
