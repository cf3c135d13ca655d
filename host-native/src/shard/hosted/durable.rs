//! Changes of a namespace for the store, and events for backends, collected for the end of the
//! turn.

use roomcast_core::{Command, Timestamp, room::HistoryMessage};

use super::Inner;
use crate::{shard::egress::Egress, shared::hooks::Told};

impl Inner {
    /// Adds the commands' changes for the store to the turn's batch: all of them, before any
    /// command is carried out, so that a message is never stored without its room's position.
    pub(super) fn persist<S>(&mut self, egress: &Egress<S>, now: Timestamp) {
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
                    egress.persist(|batch| batch.append(name, room, message));
                    rooms.push(room);
                }
                Command::PersistRoom { room } => rooms.push(room),
                Command::PersistKey { client, key } => keys.push((client, key)),
                Command::Send { .. }
                | Command::Close { .. }
                | Command::Ping { .. }
                | Command::Persist { .. }
                | Command::LoadHistory { .. }
                | Command::Relay(_)
                | Command::Tell { .. } => {}
            }
        }
        rooms.sort_unstable();
        rooms.dedup();
        header.histories_opened = hub.histories_opened();
        for room in rooms {
            let state = hub.room_state(room);
            egress.persist(|batch| batch.set_room(name, header.clone(), room, state));
        }
        for (client, key) in keys {
            let state = hub.client_key_state(client, key);
            let key = (client.into(), key.into(), state);
            egress.persist(|batch| batch.set_client_key(now, name, header.clone(), key));
        }
    }

    /// Collects events for backends until the end of the turn.
    #[cold]
    pub(super) fn note_told<S>(&self, egress: &Egress<S>, now: Timestamp) {
        let unix_ms = egress.shared.clock.unix_ms(now);
        let told = &mut *egress.told.borrow_mut();
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
            egress.ring();
        }
    }

    /// Stores the withdrawal of a user, and warns if the limit of users made it apply to all older
    /// tokens.
    pub(super) fn end_withdrawal<S>(&self, egress: &Egress<S>, user: &str, folded_s: u64) {
        let (name, hub) = (&self.namespace.name, self.namespace.app().hub());
        let not_before_s = hub.not_before_s();
        let folds = not_before_s != folded_s;
        if folds {
            egress.metrics().withdrawals_folded.add(1);
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
            egress.persist(|batch| batch.withdraw(name, header.clone(), user, own_s));
        }
        if folds {
            egress.persist(|batch| batch.withdraw_all(name, header.clone(), not_before_s));
        }
    }

    /// Stores the state of an idempotency key.
    pub(super) fn persist_key<S>(&self, egress: &Egress<S>, now: Timestamp, key: &str) {
        if let Some(header) = &self.header
            && let Some(state) = self.namespace.app().hub().key_state(now, key)
        {
            let name = &self.namespace.name;
            egress.persist(|batch| batch.set_key(now, name, header.clone(), state));
        }
    }
}
