//! Ground state: what a hub must not forget while it sleeps.

use alloc::{boxed::Box, string::String, vec::Vec};

use serde::{Deserialize, Serialize};

use crate::{
    conn::{ConnId, Connection, Pulse},
    error::{RestoreError, UnknownConn},
    hub::Hub,
    idempotency::{Keys, Known},
    limits::Config,
    rate::Buckets,
    room::RoomName,
    time::Timestamp,
};

/// The ground state of one connection; everything else about it is derived.
///
/// Serialisable; an edge host keeps it in the socket's attachment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnState {
    id: ConnId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user: Option<Box<str>>,
    rooms: Vec<String>,
    since: Timestamp,
    /// JSON as a string: hosts keep this in formats that know no raw JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    session: Option<Box<str>>,
    buckets: Buckets,
    pulse: Pulse,
}

impl ConnState {
    /// Whose state it is.
    pub const fn id(&self) -> ConnId {
        self.id
    }
}

/// The ground state that belongs to no connection.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HubState {
    next_serial: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    keys: Vec<(Box<str>, Known)>,
}

impl HubState {
    /// The state of a hub that is to give out no id below `serial`; for a namespace that begins
    /// again.
    pub const fn from_serial(serial: u64) -> Self {
        Self {
            next_serial: serial,
            keys: Vec::new(),
        }
    }

    /// And that remembers these idempotency keys.
    #[must_use]
    pub fn with_keys(mut self, keys: impl IntoIterator<Item = KeyState>) -> Self {
        let keys = keys.into_iter().map(|KeyState { key, known }| (key, known));
        self.keys.extend(keys);
        self
    }

    /// The serial number of the next connection.
    pub const fn next_serial(&self) -> u64 {
        self.next_serial
    }
}

/// What a hub remembers of one idempotency key: a part of its [`HubState`], for a host that saves
/// what changed and not the whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyState {
    key: Box<str>,
    #[serde(flatten)]
    known: Known,
}

impl KeyState {
    /// The key.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Since when it means nothing, and need not be kept.
    pub const fn expires(&self) -> Timestamp {
        self.known.expires
    }
}

impl Hub {
    /// What is remembered of an idempotency key at `now`. It changes with
    /// [`send_once`](Self::send_once) and [`settle_once`](Self::settle_once) under this key. When
    /// more keys are known than `Limits::idempotency_keys`, the hub has forgotten those that expire
    /// first.
    pub fn key_state(&self, now: Timestamp, key: &str) -> Option<KeyState> {
        let known = self.keys.find(now, key)?.clone();
        let key = key.into();
        Some(KeyState { key, known })
    }

    /// The ground state that belongs to no connection. It changes with every connect and every
    /// [`send_once`](Self::send_once).
    pub fn state(&self) -> HubState {
        HubState {
            next_serial: self.next_serial,
            keys: self.keys.to_vec(),
        }
    }

    /// The ground state of one connection.
    ///
    /// # Errors
    ///
    /// When the connection is not alive.
    pub fn conn_state(&self, id: ConnId) -> Result<ConnState, UnknownConn> {
        let conn = self.conns.get(id).ok_or(UnknownConn(id))?;
        let rooms = conn.rooms.iter();
        Ok(ConnState {
            id,
            user: conn.user.clone(),
            rooms: rooms
                .map(|&slot| (*self.rooms.get(slot).name).into())
                .collect(),
            since: conn.since,
            session: conn.session.clone(),
            buckets: conn.buckets,
            pulse: conn.pulse,
        })
    }

    /// A hub in the state that was saved. Whatever happens next, it answers as the saved hub would
    /// have.
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
        hub.next_serial = state.next_serial;
        hub.keys = Keys::from_vec(state.keys);
        for conn in conns {
            let id = conn.id;
            let mut pulse = conn.pulse;
            // The heartbeat may have been switched on or off since.
            pulse.deadline = match (hub.config.limits.heartbeat, pulse.deadline) {
                (Some(heartbeat), None) => Some(pulse.heard + heartbeat),
                (Some(_), deadline) => deadline,
                (None, _) => None,
            };
            pulse.pinged &= pulse.deadline.is_some();
            let fresh = Connection {
                id,
                user: conn.user,
                rooms: Vec::with_capacity(conn.rooms.len()),
                since: conn.since,
                session: conn.session,
                buckets: conn.buckets,
                pulse,
            };
            if id.serial() >= hub.next_serial || !hub.insert(fresh) {
                return Err(RestoreError::Conn(id));
            }
            let limits = &hub.config.limits;
            let bytes: usize = conn
                .rooms
                .iter()
                .map(|room| RoomName::listed_bytes(room))
                .sum();
            let few = conn.rooms.len() <= limits.rooms_per_connection
                && limits.room_names_bytes.is_none_or(|limit| bytes <= limit);
            let named = |room: &String| RoomName::check(room, limits.room_name_bytes).is_ok();
            if !few || !conn.rooms.iter().all(named) {
                return Err(RestoreError::Room(id));
            }
            for room in &conn.rooms {
                if hub.members(room).binary_search(&id).is_ok() {
                    return Err(RestoreError::Room(id));
                }
                let slot = match hub.rooms.find(room) {
                    Some((slot, _)) => slot,
                    None => hub.rooms.open(room),
                };
                hub.rooms.add(slot, id);
                if let Some(conn) = hub.conns.get_mut(id) {
                    conn.rooms.push(slot);
                }
            }
        }
        Ok(hub)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Command, Handshake, Limits, Outbox};

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
