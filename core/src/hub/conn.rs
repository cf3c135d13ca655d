//! Connections: the handshake of a new one, and the state that the hub keeps of each.

use alloc::{boxed::Box, sync::Arc, vec::Vec};

use serde::{Deserialize, Serialize};

use crate::{hub::rate::Buckets, time::Timestamp, wire::ConnId};

/// Facts that a host knows of a connection when it opens.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Handshake {
    /// The user, as the host verified it; `None` is anonymous.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<Box<str>>,
    /// True when the server speaks first, with `$welcome`.
    #[serde(default)]
    pub welcome: bool,
    /// The session that the connection has from the start, as JSON of the application; see
    /// [`Context::session`](crate::Context::session).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<Box<str>>,
}

impl Handshake {
    /// An anonymous connection that is not greeted.
    pub fn new() -> Self {
        Self::default()
    }

    /// Greets the connection with `$welcome`: it chose the subprotocol `roomcast.v1`.
    #[must_use]
    pub const fn with_welcome(mut self, welcome: bool) -> Self {
        self.welcome = welcome;
        self
    }

    /// Gives the connection a session, in JSON; one over `Limits::session_bytes` is dropped.
    #[must_use]
    pub fn with_session(mut self, json: impl Into<Box<str>>) -> Self {
        self.session = Some(json.into());
        self
    }

    /// Says who the connection belongs to.
    #[must_use]
    pub fn with_user(mut self, user: impl Into<Box<str>>) -> Self {
        self.user = Some(user.into());
        self
    }
}

/// The state that the hub keeps of a live connection.
#[derive(Debug, Clone)]
pub(crate) struct Connection {
    pub(crate) id: ConnId,
    pub(crate) user: Option<Box<str>>,
    /// Slots of the rooms it is in, in the order of joining.
    pub(crate) rooms: Vec<u32>,
    /// Metadata that presence shows of its user, for the rooms where it shows something.
    pub(crate) metas: Metas,
    pub(crate) since: Timestamp,
    /// JSON of the application's.
    pub(crate) session: Option<Box<str>>,
    pub(crate) buckets: Buckets,
    pub(crate) heartbeat: Heartbeat,
}

// One for each connection: a million of them take 160 MB before they join anything.
const _: () = assert!(size_of::<Option<Connection>>() <= 160);

/// Metadata that presence shows of a connection's user, by the slot of the room. Most connections
/// show nothing, and pay a word for it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Metas(Option<Box<Shown>>);

#[derive(Debug, Clone, Default)]
struct Shown(Vec<(u32, Arc<str>)>);

impl Metas {
    pub(crate) fn push(&mut self, slot: u32, meta: Arc<str>) {
        self.0.get_or_insert_default().0.push((slot, meta));
    }

    pub(crate) fn remove(&mut self, slot: u32) {
        if let Some(shown) = &mut self.0 {
            shown.0.retain(|(other, _)| *other != slot);
        }
    }

    /// Bytes that the metadata for one room counts for in
    /// [`Limits::metas_bytes`](crate::Limits::metas_bytes): the number of its room and some
    /// punctuation are kept beside it.
    pub(crate) const fn kept_bytes(meta: &str) -> usize {
        meta.len() + 8
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &(u32, Arc<str>)> {
        self.0.iter().flat_map(|shown| &shown.0)
    }
}

/// The liveness of a connection: see `heartbeat`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Heartbeat {
    /// When it was last heard of.
    pub(crate) heard: Timestamp,
    /// True when a ping was sent and nothing was received since.
    pub(crate) pinged: bool,
    /// When to look again; the key of its one timer.
    pub(crate) deadline: Option<Timestamp>,
}
