//! Writing to the store: once a turn, before anything that depends on it leaves the shard.
//!
//! What a turn changes in histories is gathered in a batch. It is committed when the turn ends, and
//! before any write that does not wait for that. Answers of the API wait for it too. So a turn
//! costs one commit, whatever its number of messages, and nobody has seen what a crash can take
//! back.
//!
//! The thread waits for the commit, as Redis does for its append-only file: without a sync that is
//! some tens of microseconds, and with one everything that comes meanwhile shares the next.

use std::{
    cell::{Cell, RefCell},
    fmt, mem,
    rc::Rc,
    sync::atomic::Ordering::Relaxed,
    time::Instant,
};

use tokio::sync::{Notify, oneshot};

use super::Shard;
use crate::store::{Batch, StoreError};

/// Changes that wait for the store, and callbacks that wait for the commit.
#[derive(Debug, Default)]
pub(super) struct Durable {
    batch: RefCell<Batch>,
    waiting: RefCell<Vec<Waiter>>,
    failed: Cell<bool>,
    fault: RefCell<Option<StoreError>>,
    failure: Notify,
}

/// Callback that runs once the batch is committed; dropped when the commit fails.
struct Waiter(Box<dyn FnOnce()>);

impl fmt::Debug for Waiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Waiter")
    }
}

impl Shard {
    /// Has something written with this turn, where there is a store.
    pub(crate) fn keep(&self, change: impl FnOnce(&mut Batch)) {
        if self.shared.store.is_some() {
            change(&mut self.durable.batch.borrow_mut());
            self.ring();
        }
    }

    /// True when there is nothing that must be committed before anything leaves.
    pub(crate) fn is_committed(&self) -> bool {
        self.durable.batch.borrow().is_empty()
    }

    /// Commits what there is. When that fails, nothing leaves this shard any more: connections end
    /// without a word, and the server with an error.
    pub(crate) fn commit(&self) {
        if self.is_committed() {
            return;
        }
        let batch = self.durable.batch.borrow_mut().take();
        let Some(store) = &self.shared.store else {
            return;
        };
        let committed = if self.durable.failed.get() {
            Ok(false)
        } else {
            let begun = Instant::now();
            let committed = store.commit(&batch);
            let took = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
            let metrics = self.metrics();
            metrics.store_commits.fetch_add(1, Relaxed);
            metrics.store_commit_us.fetch_add(took, Relaxed);
            committed.map(|()| true)
        };
        let waiting = mem::take(&mut *self.durable.waiting.borrow_mut());
        match committed {
            Ok(true) => {
                for Waiter(done) in waiting {
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
            let waiter = Waiter(Box::new(then));
            self.durable.waiting.borrow_mut().push(waiter);
        }
    }

    /// Waits until all that was changed so far is committed; `None` when it cannot be.
    pub(super) async fn committed(self: &Rc<Self>) -> Option<()> {
        let (done, wait) = oneshot::channel();
        self.when_committed(move || {
            let _ = done.send(()); // who waits may be gone
        });
        wait.await.ok()
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
