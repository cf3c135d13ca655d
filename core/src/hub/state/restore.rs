//! Sleep and wake: saving the ground state of a hub, and restoring it.

use alloc::{boxed::Box, string::String, vec::Vec};
use core::ops::Bound;

use super::{ClientKeyState, ConnState, HubState, KeyState, RoomState};
use crate::hub::{
    Hub, conns::Connection, conns::Metas, error::RestoreError, error::UnknownConn,
    idempotency::Keys, idempotency::client_keys::ClientKeys, identity::withdrawn::Withdrawn,
    limits::Config,
};
use crate::room::{Room, RoomName, history::History, presence::Presence};
use crate::{outbox::Outbox, policy::PresencePolicy, time::Timestamp, wire::ConnId};

impl Hub {
    /// Returns the record of an idempotency key that the hub remembers at `now`. It changes with
    /// [`send_once`](Self::send_once) and [`set_delivery`](Self::set_delivery) of this key. With
    /// more keys than `Limits::idempotency_keys`, the hub evicts the first to expire.
    pub fn key_state(&self, now: Timestamp, key: &str) -> Option<KeyState> {
        let known = self.keys.find(now, key)?.clone();
        let key = key.into();
        Some(KeyState { key, known })
    }

    /// Returns the record of an idempotency key of a client, as
    /// [`Command::PersistKey`](crate::Command::PersistKey) names both; `None` when the hub has
    /// forgotten it. Work: the keys of the client.
    pub fn client_key_state(&self, client: &str, key: &str) -> Option<ClientKeyState> {
        self.client_keys.state(client, key)
    }

    /// The ground state that belongs to no connection. It changes with every connect, with every
    /// [`send_once`](Self::send_once), and as [`Command::PersistRoom`](crate::Command::PersistRoom)
    /// and [`Command::PersistKey`](crate::Command::PersistKey) say. The messages of histories are
    /// not in it.
    pub fn state(&self) -> HubState {
        let rooms = self.rooms.range(Bound::Unbounded);
        HubState {
            next_serial: self.next_serial,
            keys: self.keys.to_vec(),
            client_keys: self.client_keys.to_vec(),
            histories_opened: self.histories_opened(),
            rooms: rooms.filter_map(|(_, room)| room_state(room)).collect(),
            withdrawn: self
                .withdrawn()
                .map(|(user, time)| (user.into(), time))
                .collect(),
            not_before_s: self.not_before_s(),
        }
    }

    /// The number of histories that have begun; see [`HubState::histories_opened`].
    pub const fn histories_opened(&self) -> u64 {
        self.rooms.histories().opened()
    }

    /// True when the number of histories that have begun, or a key of a client, changed since this
    /// was last called.
    pub(crate) const fn take_unsaved(&mut self) -> bool {
        let keys = self.client_keys.take_unsaved();
        self.rooms.take_unsaved() | keys
    }

    /// Returns the state of a room that must be saved, without its messages; `None` when there is
    /// nothing to save or no such room. Work: a look-up, and the absent users who may return.
    pub fn room_state(&self, room: &str) -> Option<RoomState> {
        room_state(self.rooms.find(room)?.1)
    }

    /// The ground state of one connection.
    ///
    /// # Errors
    ///
    /// When the connection is not alive.
    pub fn conn_state(&self, id: ConnId) -> Result<ConnState, UnknownConn> {
        let conn = self.conns.get(id).ok_or(UnknownConn(id))?;
        let rooms = conn.rooms.iter();
        let metas = conn.metas.iter().filter_map(|(slot, meta)| {
            let index = conn.rooms.iter().position(|other| other == slot)?;
            Some((index, (**meta).into()))
        });
        Ok(ConnState {
            metas: metas.collect(),
            id,
            user: conn.user.clone(),
            rooms: rooms
                .map(|&slot| (*self.rooms.get(slot).name).into())
                .collect(),
            since: conn.since,
            session: conn.session.clone(),
            buckets: conn.buckets,
            heartbeat: conn.heartbeat,
            access: conn.access.clone(),
            opening: self.opening.contains(&id),
        })
    }

    /// Restores a hub from saved state. It behaves as the saved hub would have.
    ///
    /// # Errors
    ///
    /// When the states contradict each other or the limits.
    pub fn restore(
        config: Config,
        state: HubState,
        conns: impl IntoIterator<Item = ConnState>,
    ) -> Result<Self, RestoreError> {
        let mut hub = Self::new(config);
        hub.next_serial = hub.next_serial.max(state.next_serial);
        hub.keys = Keys::from_vec(state.keys);
        let users_max = hub.limits().withdrawn_users;
        hub.withdrawn = Withdrawn::new(state.withdrawn, state.not_before_s, users_max);
        hub.client_keys = ClientKeys::from_vec(state.client_keys);
        hub.rooms.set_histories_opened(state.histories_opened);
        let mut waiting = Vec::new();
        for room in state.rooms {
            hub.wake_room(&room)?;
            waiting.push((room.room, room.waiting));
        }
        for conn in conns {
            hub.wake_conn(conn)?;
        }
        for (room, waiting) in waiting {
            hub.wait_for(&room, waiting);
        }
        hub.take_unsaved();
        let rooms = hub.rooms.range(Bound::Unbounded);
        for slot in rooms.map(|(slot, _)| slot).collect::<Vec<_>>() {
            hub.arm(slot);
        }
        Ok(hub)
    }
}

impl Hub {
    /// Restores a connection, with its rooms.
    fn wake_conn(&mut self, conn: ConnState) -> Result<(), RestoreError> {
        let id = conn.id;
        let mut heartbeat = conn.heartbeat;
        // The heartbeat may have been switched on or off since.
        heartbeat.deadline = match (self.config.limits.heartbeat, heartbeat.deadline) {
            (Some(silence), None) => Some(heartbeat.last_activity + silence),
            (Some(_), deadline) => deadline,
            (None, _) => None,
        };
        heartbeat.pinged &= heartbeat.deadline.is_some();
        let fresh = Connection {
            id,
            user: conn.user,
            rooms: Vec::with_capacity(conn.rooms.len()),
            metas: Metas::default(),
            since: conn.since,
            session: conn.session,
            buckets: conn.buckets,
            heartbeat,
            access: conn.access,
        };
        if id.serial() >= self.next_serial || !self.conns.insert(fresh) {
            return Err(RestoreError::Conn(id));
        }
        if conn.opening {
            self.opening.insert(id);
        }
        let limits = &self.config.limits;
        let names = conn.rooms.iter();
        let bytes: usize = names.map(|room| RoomName::listed_bytes(room)).sum();
        let few = conn.rooms.len() <= limits.rooms_per_connection
            && limits.room_names_bytes.is_none_or(|limit| bytes <= limit);
        let named = |room: &String| RoomName::check(room, limits.room_name_bytes).is_ok();
        if !few || !conn.rooms.iter().all(named) {
            return Err(RestoreError::Room(id));
        }
        for (index, room) in conn.rooms.iter().enumerate() {
            if self.members(room).binary_search(&id).is_ok() {
                return Err(RestoreError::Room(id));
            }
            let slot = match self.rooms.find(room) {
                Some((slot, _)) => slot,
                None => {
                    let policy = self.config.policies.index_of(room);
                    self.open(conn.since, room, policy)
                }
            };
            self.rooms.add(slot, id);
            if let Some(conn) = self.conns.get_mut(id) {
                conn.rooms.push(slot);
            }
            if self.rooms.get(slot).extra.is_some() {
                let metas = conn.metas.iter();
                let mut metas = metas.filter(|(other, _)| *other == index);
                let meta = metas.next().map(|(_, meta)| meta.clone().into());
                // The other members know it already, so the notices are dropped.
                self.show_joined(slot, id, meta, &mut Outbox::new());
            }
        }
        Ok(())
    }

    /// Restores a room with a history, whose messages are with the host.
    fn wake_room(&mut self, state: &RoomState) -> Result<(), RestoreError> {
        let known = RoomName::check(&state.room, self.limits().room_name_bytes);
        // Clients' numbers are exact up to this limit.
        let offsets = state.offset() < 1 << 53 && (1..=state.offset() + 1).contains(&state.first());
        if known.is_err() || !offsets || self.rooms.find(&state.room).is_some() {
            return Err(RestoreError::RoomState);
        }
        let policy = self.config.policies.index_of(&state.room);
        let keeps = policy.is_some_and(|index| self.wants(self.config.policies.get(index)).0);
        let Some(history) = state.history.as_ref().filter(|_| keeps) else {
            return Ok(()); // its policy changed, or it is there for those it waits for
        };
        if !history.is_numbered() {
            return Ok(()); // damaged: another begins with the next message
        }
        let slot = self.open(history.touched, &state.room, policy);
        let saved = History::asleep(&self.config.epoch, history);
        self.rooms.wake_history(slot, saved);
        Ok(())
    }

    fn wait_for(&mut self, room: &str, waiting: Vec<(Box<str>, Timestamp, Option<Box<str>>)>) {
        let slot = match self.rooms.find(room) {
            Some((slot, _)) => slot,
            None if self.is_waited_in(room) && !waiting.is_empty() => {
                let policy = self.config.policies.index_of(room);
                self.open(Timestamp::ZERO, room, policy)
            }
            None => return,
        };
        if let Some(presence) = self.rooms.presence_mut(slot) {
            for (user, until, meta) in waiting {
                presence.wait(&user, until, meta.map(Into::into));
            }
        }
        let room = self.rooms.get(slot);
        if room.members.is_empty() && room.history().is_none() && room.waits() {
            self.rooms.set_vacant(slot, true);
        }
    }

    /// True when a room without a history keeps absent users by its policy.
    fn is_waited_in(&self, room: &str) -> bool {
        let policy = self.config.policies.of(room);
        let policy = policy.filter(|policy| policy.history.is_none());
        policy.is_some_and(|policy| policy.presence == PresencePolicy::Members)
    }
}

/// The ground state of a room.
fn room_state(room: &Room) -> Option<RoomState> {
    let history = room.history().map(History::saved);
    let waiting = room.presence().map(Presence::waiting).unwrap_or_default();
    (history.is_some() || !waiting.is_empty()).then(|| RoomState {
        room: room.name.clone(),
        history,
        waiting,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Command, Handshake, Limits};

    #[test]
    fn a_heartbeat_may_be_switched_on_and_off_between_sleep_and_wake() {
        let silent = Limits {
            heartbeat: None,
            ..Limits::default()
        };
        let (on, off) = (Config::new("e"), Config::new("e").with_limits(silent));
        for (before, after, pings) in [(&on, &off, 0), (&off, &on, 1)] {
            let (mut hub, mut out) = (Hub::new(before.clone()), Outbox::new());
            let conn = hub
                .connect(Timestamp::ZERO, Handshake::new(), &mut out)
                .expect("room");
            let states = [hub.conn_state(conn).expect("alive")];
            let mut hub = Hub::restore(after.clone(), hub.state(), states).expect("valid");
            out.clear();
            hub.handle_timeout(Timestamp::from_millis(60_000), &mut out);
            let sent = out
                .iter()
                .filter(|c| matches!(c, Command::Ping { .. }))
                .count();
            assert_eq!((sent, out.len()), (pings, pings));
            hub.assert_consistent();
        }
    }
}
