//! Ground state: the data that a sleeping hub must keep.

mod restore;

use alloc::{boxed::Box, string::String, vec::Vec};

use serde::{Deserialize, Serialize};

use super::{
    conns::Heartbeat, idempotency::Known, identity::access::Access, receive::rate::Buckets,
};
use crate::{room::history::SavedHistory, time::Timestamp, wire::ConnId};

/// The ground state of one connection; everything else about it is derived.
///
/// Serialisable; an edge host keeps it in the socket's attachment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnState {
    pub(super) id: ConnId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) user: Option<Box<str>>,
    pub(super) rooms: Vec<String>,
    /// Presence metadata of the user, by the index of the room.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) metas: Vec<(usize, Box<str>)>,
    pub(super) since: Timestamp,
    /// JSON in a string: hosts keep this in formats without raw JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) session: Option<Box<str>>,
    pub(super) buckets: Buckets,
    #[serde(rename = "pulse")]
    pub(super) heartbeat: Heartbeat,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) access: Option<Box<Access>>,
    /// True when the application has not accepted or refused it yet.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub(super) opening: bool,
}

impl ConnState {
    /// The id of the connection whose state it is.
    pub const fn id(&self) -> ConnId {
        self.id
    }
}

/// The ground state that belongs to no connection.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HubState {
    pub(super) next_serial: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) keys: Vec<(Box<str>, Known)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) client_keys: Vec<ClientKeyState>,
    /// The number of histories that have begun.
    #[serde(
        rename = "lives",
        default,
        skip_serializing_if = "crate::time::is_zero"
    )]
    pub(super) histories_opened: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) rooms: Vec<RoomState>,
    /// Users whose identities from before a time are refused, with that time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) withdrawn: Vec<(Box<str>, u64)>,
    #[serde(default, skip_serializing_if = "crate::time::is_zero")]
    pub(super) not_before_s: u64,
}

/// The state of a room that must be saved, without its messages: a part of its hub's [`HubState`],
/// for a host that saves what changed and not the whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomState {
    pub(super) room: Box<str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) history: Option<SavedHistory>,
    /// Absent users who may return.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) waiting: Vec<(Box<str>, Timestamp, Option<Box<str>>)>,
}

impl RoomState {
    /// The room's name.
    pub fn room(&self) -> &str {
        &self.room
    }

    /// The offset of the oldest message that is still needed: a host may delete those before it.
    pub fn first(&self) -> u64 {
        self.history.as_ref().map_or(1, |history| history.first)
    }

    /// The offset of the last message; 0 before the first.
    pub fn offset(&self) -> u64 {
        self.history.as_ref().map_or(0, |history| history.top)
    }
}

impl HubState {
    /// The state of a new hub that gives out no id below `serial`, for a namespace that starts
    /// again.
    pub const fn from_serial(serial: u64) -> Self {
        Self {
            next_serial: serial,
            keys: Vec::new(),
            client_keys: Vec::new(),
            histories_opened: 0,
            rooms: Vec::new(),
            withdrawn: Vec::new(),
            not_before_s: 0,
        }
    }

    /// Adds users whose identities from before a time, in seconds since 1970, are refused.
    #[must_use]
    pub fn with_withdrawn(mut self, users: impl IntoIterator<Item = (Box<str>, u64)>) -> Self {
        self.withdrawn.extend(users);
        self
    }

    /// Users whose identities from before a time, in seconds since 1970, are refused.
    pub fn withdrawn(&self) -> &[(Box<str>, u64)] {
        &self.withdrawn
    }

    /// Sets the time, in seconds since 1970, before which identities of every user are refused.
    #[must_use]
    pub const fn with_not_before_s(mut self, not_before_s: u64) -> Self {
        self.not_before_s = not_before_s;
        self
    }

    /// Adds idempotency keys that the hub remembers.
    #[must_use]
    pub fn with_keys(mut self, keys: impl IntoIterator<Item = KeyState>) -> Self {
        let keys = keys.into_iter().map(|KeyState { key, known }| (key, known));
        self.keys.extend(keys);
        self
    }

    /// Adds idempotency keys of clients that the hub remembers, in any order.
    #[must_use]
    pub fn with_client_keys(mut self, keys: impl IntoIterator<Item = ClientKeyState>) -> Self {
        self.client_keys.extend(keys);
        self
    }

    /// Sets the number of histories that have begun; see
    /// [`histories_opened`](Self::histories_opened).
    #[must_use]
    pub const fn with_histories_opened(mut self, histories_opened: u64) -> Self {
        self.histories_opened = histories_opened;
        self
    }

    /// Adds rooms of the hub. Their messages are with the host, see
    /// [`Hub::history_loaded`](crate::Hub::history_loaded).
    #[must_use]
    pub fn with_rooms(mut self, rooms: impl IntoIterator<Item = RoomState>) -> Self {
        self.rooms.extend(rooms);
        self
    }

    /// The number of histories that have begun. Each number is a part of an epoch, and never given
    /// out twice: a durable host saves it whenever it saves a room that it did not know.
    pub const fn histories_opened(&self) -> u64 {
        self.histories_opened
    }

    /// The serial number of the next connection.
    pub const fn next_serial(&self) -> u64 {
        self.next_serial
    }
}

/// The record that a hub keeps of one idempotency key: a part of its [`HubState`], for a host that
/// saves what changed and not the whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyState {
    pub(super) key: Box<str>,
    #[serde(flatten)]
    pub(super) known: Known,
}

impl KeyState {
    /// The key.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The time from which the key is no longer remembered, and need not be stored.
    pub const fn expires(&self) -> Timestamp {
        self.known.expires
    }
}

/// The record that a hub keeps of one idempotency key of a client: a part of its [`HubState`], for
/// a host that saves what changed and not the whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientKeyState {
    pub(super) client: Box<str>,
    pub(super) key: Box<str>,
    /// Higher than the numbers of all older keys.
    pub(super) number: u64,
    #[serde(flatten)]
    pub(super) known: Known,
}

impl ClientKeyState {
    /// The client, by a name that only the hub interprets.
    pub fn client(&self) -> &str {
        &self.client
    }

    /// The key. A client has each of its keys once.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The time from which the key is no longer remembered, and need not be stored.
    pub const fn expires(&self) -> Timestamp {
        self.known.expires
    }
}
