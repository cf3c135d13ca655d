//! Writing to the store: once a turn, before anything that depends on it leaves the shard.
//!
//! What a turn changes in histories is gathered in a batch. It is committed when the turn ends, and
//! before any write that does not wait for that. Answers of the API wait for it too. So a turn
//! costs one commit, whatever its number of messages, and nobody has seen what a crash can take
//! back.
//!
//! The thread waits for the commit, as Redis does for its append-only file: without a sync that is
//! some tens of microseconds, and with one everything that comes meanwhile shares the next.

use std::{mem, rc::Rc, time::Instant};

use roomcast_core::{Command, Timestamp, room::HistoryMessage};
use tokio::sync::oneshot;

use super::state::{Inner, Shard};
use crate::{
    shared::hooks::Told,
    store::{Batch, StoreError},
};

impl Shard {
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
    pub(super) async fn committed(self: &Rc<Self>) -> Option<()> {
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

impl Inner {
    /// Puts what the commands have for the store into the batch of the turn: all of it, before any
    /// of them is carried out, so that a message is never there without its room's position.
    pub(super) fn persist(&mut self, shard: &Shard, now: Timestamp) {
        let Some(header) = &mut self.header else {
            return;
        };
        let (name, hub) = (&self.namespace.name, self.namespace.app().hub());
        let (mut rooms, mut keys) = (Vec::new(), Vec::new());
        for command in self.namespace.out() {
            match command {
                Command::Append {
                    room,
                    offset,
                    at,
                    frame,
                    except,
                } => {
                    let message = HistoryMessage::new(offset, at, frame, except.clone());
                    shard.persist(|batch| batch.append(name, room, message));
                    rooms.push(room);
                }
                Command::PersistRoom { room } => rooms.push(room),
                Command::PersistKey { client, key } => keys.push((client, key)),
                Command::Send { .. }
                | Command::Close { .. }
                | Command::Ping { .. }
                | Command::Persist { .. }
                | Command::LoadHistory { .. }
                | Command::Tell { .. } => {}
            }
        }
        rooms.sort_unstable();
        rooms.dedup();
        header.histories_opened = hub.histories_opened();
        for room in rooms {
            let state = hub.room_state(room);
            shard.persist(|batch| batch.set_room(name, header.clone(), room, state));
        }
        for (client, key) in keys {
            let state = hub.client_key_state(client, key);
            let key = (client.into(), key.into(), state);
            shard.persist(|batch| batch.set_client_key(now, name, header.clone(), key));
        }
    }

    /// Notes the events that backends are told of, for the end of the turn.
    #[cold]
    pub(super) fn note_told(&self, shard: &Shard, now: Timestamp) {
        let unix_ms = shard.shared.clock.unix_ms(now);
        let told = &mut *shard.told.borrow_mut();
        for command in self.namespace.out() {
            if let Command::Tell { kind, room, event } = command {
                told.push(Told {
                    namespace: self.namespace.name.clone(),
                    kind,
                    room: room.map(Into::into),
                    event: event.into(),
                    unix_ms,
                });
            }
        }
        if !told.is_empty() {
            shard.ring();
        }
    }

    /// Has the withdrawal of a user stored, and tells when the time changed that holds for all.
    pub(super) fn end_withdrawal(&self, shard: &Shard, user: &str, folded_s: u64) {
        let (name, hub) = (&self.namespace.name, self.namespace.app().hub());
        let not_before_s = hub.not_before_s();
        let folds = not_before_s != folded_s;
        if folds {
            shard.metrics().withdrawals_folded.add(1);
            tracing::warn!(
                namespace = &**name,
                not_before_s,
                "more users are withdrawn than --withdrawn-users-max: older tokens of all users are \
                 refused"
            );
        }
        let Some(header) = &self.header else {
            return;
        };
        if let Some((_, own_s)) = hub.withdrawn().find(|(other, _)| *other == user) {
            shard.persist(|batch| batch.withdraw(name, header.clone(), user, own_s));
        }
        if folds {
            shard.persist(|batch| batch.withdraw_all(name, header.clone(), not_before_s));
        }
    }

    /// Has what is remembered of an idempotency key stored.
    pub(super) fn persist_key(&self, shard: &Shard, now: Timestamp, key: &str) {
        if let Some(header) = &self.header
            && let Some(state) = self.namespace.app().hub().key_state(now, key)
        {
            let name = &self.namespace.name;
            shard.persist(|batch| batch.set_key(now, name, header.clone(), state));
        }
    }
}
