//! Changes that a namespace has for the store.

use roomcast_core::{Command, Input, Timestamp, room::HistoryMessage};

use super::{Shard, hosted::Inner};

impl Inner {
    /// Puts what the commands have for the store into the batch of the turn: all of it, before any
    /// of them is carried out, so that a message is never there without its room's position.
    pub(super) fn keep(&mut self, shard: &Shard) {
        let Some(life) = &mut self.life else {
            return;
        };
        let (name, hub) = (&self.namespace.name, self.namespace.app().hub());
        let mut rooms = Vec::new();
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
                    shard.keep(|batch| batch.append(name, room, message));
                    rooms.push(room);
                }
                Command::PersistRoom { room } => rooms.push(room),
                Command::Send { .. }
                | Command::Close { .. }
                | Command::Ping { .. }
                | Command::Persist { .. }
                | Command::LoadHistory { .. } => {}
            }
        }
        rooms.sort_unstable();
        rooms.dedup();
        life.histories_opened = hub.histories_opened();
        for room in rooms {
            let state = hub.room_state(room);
            shard.keep(|batch| batch.set_room(name, life.clone(), room, state));
        }
    }

    /// Keeps what is remembered of an idempotency key.
    pub(super) fn keep_key(&self, shard: &Shard, now: Timestamp, key: &str) {
        if let Some(life) = &self.life
            && let Some(state) = self.namespace.app().hub().key_state(now, key)
        {
            let name = &self.namespace.name;
            shard.keep(|batch| batch.set_key(now, name, life.clone(), state));
        }
    }

    /// Counts what the histories take now, and holds the limit on those of all namespaces of all
    /// threads together: what this input is too much, this namespace gives up at once. Which share
    /// each gives up is then seen to when the turn ends.
    pub(super) fn count_histories(&mut self, shard: &Shard, now: Timestamp, bytes: usize) {
        let all = shard.count_histories(self.history_bytes, bytes);
        self.history_bytes = bytes;
        let over = all.saturating_sub(shard.shared.settings.hub.history_bytes);
        if over == 0 {
            return;
        }
        let bytes_max = bytes.saturating_sub(over);
        let trim = Input::TrimHistories { bytes_max };
        self.namespace.apply(now, &trim);
        self.carry_out(shard, now);
        let left = self.namespace.app().hub().counts().history_bytes;
        shard.count_histories(bytes, left);
        self.history_bytes = left;
        shard.share_histories();
    }
}
