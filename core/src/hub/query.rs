//! Questions to a hub; none of them changes anything.

use alloc::{string::String, vec::Vec};
use core::ops::Bound;

use serde::{Deserialize, Serialize};

use crate::{
    hub::Hub, hub::conn::Connection, room::Room, room::rooms::Rooms, time::Timestamp, wire::ConnId,
};

/// A live connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectionInfo<'a> {
    /// Its id.
    pub id: ConnId,
    /// The user of the connection; `None` is anonymous.
    pub user: Option<&'a str>,
    /// When it opened.
    pub since: Timestamp,
    /// When it was last heard of.
    pub heard: Timestamp,
}

/// A room with members, or with a history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RoomInfo<'a> {
    /// Its name.
    pub name: &'a str,
    /// How many connections are in it.
    pub members: usize,
}

/// A live connection, to be taken away from the hub; see [`ConnectionInfo`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ConnectionSummary {
    /// Its id.
    pub id: ConnId,
    /// The user of the connection; `None` is anonymous.
    pub user: Option<String>,
    /// When it opened, in milliseconds since 1970.
    pub since_ms: u64,
}

impl ConnectionSummary {
    /// Of this connection, which opened then.
    pub fn new(info: ConnectionInfo<'_>, since_ms: u64) -> Self {
        Self {
            id: info.id,
            user: info.user.map(Into::into),
            since_ms,
        }
    }
}

/// A room with members, to be taken away from the hub; see [`RoomInfo`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RoomSummary {
    /// Its name.
    pub name: String,
    /// How many connections are in it.
    pub members: usize,
}

impl From<RoomInfo<'_>> for RoomSummary {
    fn from(info: RoomInfo<'_>) -> Self {
        Self {
            name: info.name.into(),
            members: info.members,
        }
    }
}

/// How much of everything there is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Counts {
    /// Live connections.
    pub connections: usize,
    /// Rooms with members, or with a history.
    pub rooms: usize,
    /// Pairs of a connection and a room it is in.
    pub memberships: usize,
    /// Memory that all histories take, in bytes.
    pub history_bytes: usize,
}

impl<'a> From<&'a Connection> for ConnectionInfo<'a> {
    fn from(conn: &'a Connection) -> Self {
        Self {
            id: conn.id,
            user: conn.user.as_deref(),
            since: conn.since,
            heard: conn.heartbeat.heard,
        }
    }
}

impl<'a> From<&'a Room> for RoomInfo<'a> {
    fn from(room: &'a Room) -> Self {
        Self {
            name: &room.name,
            members: room.members.len(),
        }
    }
}

impl Hub {
    /// How much of everything there is. Work: constant.
    pub fn counts(&self) -> Counts {
        Counts {
            connections: self.conns.len(),
            rooms: self.rooms.len() - self.rooms.vacant(),
            memberships: self.rooms.memberships(),
            history_bytes: self.rooms.histories.bytes(),
        }
    }

    /// Rooms whose name starts with `prefix` and comes after `after`, sorted by name. Work: a
    /// look-up, then constant per room taken.
    pub fn rooms<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&'a str>,
    ) -> impl Iterator<Item = RoomInfo<'a>> {
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        self.rooms
            .range(from)
            .map(|(_, room)| room)
            .take_while(move |room| room.name.starts_with(prefix))
            .filter(|room| !room.is_vacant())
            .map(Into::into)
    }

    /// A room; `None` when there is none of this name. Work: a look-up.
    pub fn room(&self, name: &str) -> Option<RoomInfo<'_>> {
        let found = self.rooms.find(name);
        let (_, room) = found.filter(|(_, room)| !room.is_vacant())?;
        Some(room.into())
    }

    /// The connections in a room, sorted; empty when there is no such room. Work: a look-up.
    pub fn members(&self, room: &str) -> &[ConnId] {
        self.rooms
            .find(room)
            .map_or(&[], |(_, room)| room.members.as_slice())
    }

    /// The rooms of a connection, sorted; `None` when it is not alive. Work: its rooms.
    pub fn rooms_of(&self, conn: ConnId) -> Option<Vec<&str>> {
        let conn = self.conns.get(conn)?;
        let names = conn.rooms.iter().map(|&slot| &*self.rooms.get(slot).name);
        let mut names: Vec<&str> = names.collect();
        names.sort_unstable();
        Some(names)
    }

    /// The rooms that any connection of a user is in, sorted, each once. Work: all rooms of these
    /// connections.
    pub fn rooms_of_user(&self, user: &str) -> Vec<&str> {
        let conns = self.connections_of(user).iter();
        let mut names: Vec<&str> = conns
            .filter_map(|&conn| self.rooms_of(conn))
            .flatten()
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// A live connection; `None` when it is not alive. Work: constant.
    pub fn connection(&self, conn: ConnId) -> Option<ConnectionInfo<'_>> {
        self.conns.get(conn).map(Into::into)
    }

    /// All live connections, in no order that means anything, but always the same one.
    pub fn connections(&self) -> impl Iterator<Item = ConnectionInfo<'_>> {
        self.conns.iter().map(Into::into)
    }

    /// The connections of a user, sorted. Work: a look-up.
    pub fn connections_of(&self, user: &str) -> &[ConnId] {
        self.conns.of_user(user)
    }

    /// True when an idempotency key is remembered at `now`. Work: none.
    pub fn remembers_keys(&self, now: Timestamp) -> bool {
        self.keys.latest().is_some_and(|latest| latest > now)
    }

    /// True when nothing would be lost with the hub but the count of its connections: nobody is
    /// connected, no room has a history, nobody is waited for, and no idempotency key is remembered
    /// at `now`.
    pub fn is_idle(&self, now: Timestamp) -> bool {
        self.conns.len() == 0 && self.rooms.len() == 0 && !self.remembers_keys(now)
    }

    /// All rooms, for verbs to look at.
    pub(crate) const fn table(&self) -> &Rooms {
        &self.rooms
    }

    /// Checks that everything derived agrees with what it is derived from.
    ///
    /// For tests: work is everything there is.
    ///
    /// # Panics
    ///
    /// When the hub is broken.
    pub fn assert_consistent(&self) {
        self.conns.assert_consistent();
        self.rooms.assert_consistent();
        self.assert_armed();
        let mut memberships = 0;
        for conn in self.conns.iter() {
            assert!(conn.id.serial() < self.next_serial, "an id from the future");
            for &slot in &conn.rooms {
                let room = self.rooms.get(slot);
                assert!(room.members.contains(&conn.id), "in a room that lacks it");
                let found = self.rooms.find(&room.name).map(|(slot, _)| slot);
                assert_eq!(found, Some(slot));
            }
            memberships += conn.rooms.len();
            assert!(conn.rooms.len() <= self.limits().rooms_per_connection);
        }
        // As many as the rooms say that there are: no member is dead.
        assert_eq!(memberships, self.rooms.memberships());
    }
}
