//! Connections: the handshake of a new one, the state that the hub keeps of each, and the table of
//! all, with their users and their timers.

use alloc::{
    boxed::Box, collections::BTreeMap, collections::BTreeSet, collections::btree_map::Entry,
    string::String, sync::Arc, vec, vec::Vec,
};

use serde::{Deserialize, Serialize};

use super::{identity::access::Access, receive::rate::Buckets};
use crate::{identity::Identity, time::Timestamp, wire::ConnId};

/// Facts that a host knows about a connection when it opens.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Handshake {
    /// The identity, as the host verified it.
    #[serde(flatten)]
    pub identity: Identity,
    /// True when the client has yet to identify itself with `$auth`; before then it can do nothing
    /// else.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub unidentified: bool,
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

    /// Sets whether to greet the connection with `$welcome`, as the subprotocol `roomcast.v1` asks.
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

    /// Sets the user of the connection.
    #[must_use]
    pub fn with_user(mut self, user: impl Into<Box<str>>) -> Self {
        self.identity.user = Some(user.into());
        self
    }

    /// Sets the identity of the connection: its user and its rights.
    #[must_use]
    pub fn with_identity(mut self, identity: Identity) -> Self {
        self.identity = identity;
        self
    }

    /// Sets whether the client has yet to identify itself.
    #[must_use]
    pub const fn with_unidentified(mut self, unidentified: bool) -> Self {
        self.unidentified = unidentified;
        self
    }
}

/// The state that the hub keeps of a live connection.
#[derive(Debug, Clone)]
pub(super) struct Connection {
    pub(super) id: ConnId,
    pub(super) user: Option<Box<str>>,
    /// Slots of the rooms it is in, in the order of joining.
    pub(super) rooms: Vec<u32>,
    /// Presence metadata of its user, for the rooms that show some.
    pub(super) metas: Metas,
    pub(super) since: Timestamp,
    /// The application's session, in JSON.
    pub(super) session: Option<Box<str>>,
    pub(super) buckets: Buckets,
    pub(super) heartbeat: Heartbeat,
    /// Its rights; `None` when they are unrestricted.
    pub(super) access: Option<Box<Access>>,
}

impl Connection {
    /// True when the client has yet to say who it is.
    pub(super) fn is_unidentified(&self) -> bool {
        self.access
            .as_ref()
            .is_some_and(|access| access.is_unidentified())
    }
}

// One for each connection: a million of them take 168 MB before they join anything.
const _: () = assert!(size_of::<Option<Connection>>() <= 168);

/// Presence metadata of a connection's user, by the slot of the room. Most connections have none,
/// at the cost of one word.
#[derive(Debug, Clone, Default)]
pub(super) struct Metas(Option<Box<RoomMetas>>);

#[derive(Debug, Clone, Default)]
struct RoomMetas(Vec<(u32, Arc<str>)>);

impl Metas {
    pub(super) fn push(&mut self, slot: u32, meta: Arc<str>) {
        self.0.get_or_insert_default().0.push((slot, meta));
    }

    pub(super) fn remove(&mut self, slot: u32) {
        if let Some(shown) = &mut self.0 {
            shown.0.retain(|(other, _)| *other != slot);
        }
    }

    /// The number of bytes that the metadata of one room counts for in
    /// [`Limits::metas_bytes`](crate::Limits::metas_bytes). It includes the number of the room and
    /// some punctuation, which are stored with it.
    pub(super) const fn kept_bytes(meta: &str) -> usize {
        meta.len() + 8
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &(u32, Arc<str>)> {
        self.0.iter().flat_map(|shown| &shown.0)
    }
}

/// The liveness of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Heartbeat {
    /// The time of its last activity.
    #[serde(rename = "heard")]
    pub(super) last_activity: Timestamp,
    /// True when a ping was sent and nothing was received since.
    pub(super) pinged: bool,
    /// The time of the next check; the key of its only timer.
    pub(super) deadline: Option<Timestamp>,
}

/// A live connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectionInfo<'a> {
    /// The id of the connection.
    pub id: ConnId,
    /// The user of the connection; `None` is anonymous.
    pub user: Option<&'a str>,
    /// The time at which it opened.
    pub since: Timestamp,
    /// The time of its last activity.
    pub last_activity: Timestamp,
}

impl<'a> From<&'a Connection> for ConnectionInfo<'a> {
    fn from(conn: &'a Connection) -> Self {
        Self {
            id: conn.id,
            user: conn.user.as_deref(),
            since: conn.since,
            last_activity: conn.heartbeat.last_activity,
        }
    }
}

/// An owned summary of a live connection; see [`ConnectionInfo`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ConnectionSummary {
    /// The id of the connection.
    pub id: ConnId,
    /// The user of the connection; `None` is anonymous.
    pub user: Option<String>,
    /// The time at which it opened, in milliseconds since 1970.
    pub since_ms: u64,
}

impl ConnectionSummary {
    /// Summarizes a connection that opened at `since_ms`.
    pub fn new(info: ConnectionInfo<'_>, since_ms: u64) -> Self {
        Self {
            id: info.id,
            user: info.user.map(Into::into),
            since_ms,
        }
    }
}

/// Live connections by slot; a new one takes the lowest free slot.
///
/// The lowest slot, not the last freed as in `slab`: the next slot then depends only on the live
/// connections, and a hub restored from its connections gives out the same ids as one that never
/// slept. It also keeps the slots, and every table indexed by them, dense.
#[derive(Debug, Clone, Default)]
pub(super) struct Conns {
    slots: Vec<Option<Connection>>,
    free: BTreeSet<u32>,
    live: usize,
    /// Connections of each user, sorted.
    users: BTreeMap<Box<str>, Vec<ConnId>>,
    /// An entry for each connection that has a deadline.
    timers: BTreeSet<(Timestamp, ConnId)>,
    /// An entry for each connection whose identity has a deadline.
    expiries: BTreeSet<(Timestamp, ConnId)>,
    /// The number of connections with an [`Access`].
    with_access: usize,
}

impl Conns {
    /// The slot that the next connection takes; `None` when all are taken.
    pub(super) fn vacant(&self) -> Option<u32> {
        match self.free.first() {
            Some(&slot) => Some(slot),
            None if self.slots.len() < ConnId::SLOTS => u32::try_from(self.slots.len()).ok(),
            None => None,
        }
    }

    /// Puts a connection into its slot; returns false when the slot is taken.
    pub(super) fn insert(&mut self, conn: Connection) -> bool {
        let (id, slot) = (conn.id, conn.id.slot());
        while self.slots.len() <= slot {
            #[allow(clippy::cast_possible_truncation)] // slots have 20 bits
            self.free.insert(self.slots.len() as u32);
            self.slots.push(None);
        }
        if self.slots[slot].is_some() {
            return false;
        }
        #[allow(clippy::cast_possible_truncation)]
        self.free.remove(&(slot as u32));
        if let Some(user) = conn.user.clone() {
            match self.users.entry(user) {
                // Most users have one connection, so that the list is allocated for exactly one.
                Entry::Vacant(user) => {
                    user.insert(vec![id]);
                }
                Entry::Occupied(mut conns) => {
                    let conns = conns.get_mut();
                    if let Err(at) = conns.binary_search(&id) {
                        conns.insert(at, id);
                    }
                }
            }
        }
        if let Some(deadline) = conn.heartbeat.deadline {
            self.timers.insert((deadline, id));
        }
        if let Some(access) = &conn.access {
            self.with_access += 1;
            self.expiries.extend(access.due().map(|due| (due, id)));
        }
        self.slots[slot] = Some(conn);
        self.live += 1;
        true
    }

    pub(super) fn remove(&mut self, id: ConnId) -> Option<Connection> {
        let slot = self.slots.get_mut(id.slot())?;
        let conn = slot.take_if(|conn| conn.id == id)?;
        #[allow(clippy::cast_possible_truncation)]
        self.free.insert(id.slot() as u32);
        self.live -= 1;
        if self.live == 0 {
            // An idle table is an empty table: no memory of past connections stays allocated.
            *self = Self::default();
            return Some(conn);
        }
        if let Some(access) = &conn.access {
            self.with_access -= 1;
            access.due().map(|due| self.expiries.remove(&(due, id)));
        }
        if let Some(user) = &conn.user
            && let Some(conns) = self.users.get_mut(user)
        {
            conns.retain(|&other| other != id);
            if conns.is_empty() {
                self.users.remove(user);
            }
        }
        if let Some(deadline) = conn.heartbeat.deadline {
            self.timers.remove(&(deadline, id));
        }
        Some(conn)
    }

    /// The user of a connection that is alive and has one.
    pub(super) fn user_of(&self, id: ConnId) -> Option<&str> {
        self.get(id).and_then(|conn| conn.user.as_deref())
    }

    pub(super) fn get(&self, id: ConnId) -> Option<&Connection> {
        let slot = self.slots.get(id.slot())?;
        slot.as_ref().filter(|conn| conn.id == id)
    }

    /// Records activity of a connection, and returns the connection.
    #[inline]
    pub(super) fn note_activity(&mut self, now: Timestamp, id: ConnId) -> Option<&mut Connection> {
        let conn = self.get_mut(id)?;
        conn.heartbeat.last_activity = now;
        conn.heartbeat.pinged = false;
        Some(conn)
    }

    /// The connection. Callers must not change its id, its user or its deadlines.
    pub(super) fn get_mut(&mut self, id: ConnId) -> Option<&mut Connection> {
        let slot = self.slots.get_mut(id.slot())?;
        slot.as_mut().filter(|conn| conn.id == id)
    }

    /// The connections of a user, sorted.
    pub(super) fn of_user(&self, user: &str) -> &[ConnId] {
        self.users.get(user).map_or(&[], Vec::as_slice)
    }

    /// The next deadline of any connection.
    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        let firsts = self.timers.first().into_iter().chain(self.expiries.first());
        firsts.map(|&(deadline, _)| deadline).min()
    }

    /// Takes the timer of a connection whose deadline has passed.
    pub(super) fn take_due(&mut self, now: Timestamp) -> Option<ConnId> {
        self.timers
            .first()
            .filter(|(deadline, _)| *deadline <= now)?;
        let (_, id) = self.timers.pop_first()?;
        self.get_mut(id)?.heartbeat.deadline = None;
        Some(id)
    }

    /// Sets the timer of a connection that has none.
    pub(super) fn set_deadline(&mut self, id: ConnId, deadline: Timestamp) {
        if let Some(conn) = self.get_mut(id) {
            conn.heartbeat.deadline = Some(deadline);
            self.timers.insert((deadline, id));
        }
    }

    /// True when some connection has an [`Access`].
    pub(super) const fn has_access(&self) -> bool {
        self.with_access > 0
    }

    /// Replaces the identity of a connection; returns its previous access.
    pub(super) fn set_identity(
        &mut self,
        id: ConnId,
        user: Option<Box<str>>,
        access: Option<Access>,
    ) -> Option<Box<Access>> {
        let slot = self.slots.get_mut(id.slot())?.as_mut();
        let conn = slot.filter(|conn| conn.id == id)?;
        if conn.user != user {
            if let Some(had) = &conn.user
                && let Some(conns) = self.users.get_mut(had)
            {
                conns.retain(|&other| other != id);
                if conns.is_empty() {
                    self.users.remove(had);
                }
            }
            if let Some(user) = user.clone() {
                let conns = self.users.entry(user).or_default();
                if let Err(at) = conns.binary_search(&id) {
                    conns.insert(at, id);
                }
            }
            conn.user = user;
        }
        let before = core::mem::replace(&mut conn.access, access.map(Box::new));
        let had = before.as_ref().and_then(|access| access.due());
        let has = conn.access.as_ref().and_then(|access| access.due());
        self.with_access += usize::from(conn.access.is_some());
        self.with_access -= usize::from(before.is_some());
        had.map(|due| self.expiries.remove(&(due, id)));
        self.expiries.extend(has.map(|due| (due, id)));
        before
    }

    /// Takes a connection whose identity timer has come due.
    pub(super) fn take_expiry(&mut self, now: Timestamp) -> Option<ConnId> {
        let first = self.expiries.first();
        first.filter(|(due, _)| *due <= now)?;
        self.expiries.pop_first().map(|(_, id)| id)
    }

    /// Sets the identity timer of a connection that has none.
    pub(super) fn arm_expiry(&mut self, id: ConnId) {
        let access = self.get(id).and_then(|conn| conn.access.as_ref());
        let due = access.and_then(|access| access.due());
        self.expiries.extend(due.map(|due| (due, id)));
    }

    /// Frees the slots above the last taken slot.
    pub(super) fn shrink_to_fit(&mut self) {
        while self.slots.pop_if(|slot| slot.is_none()).is_some() {}
        self.slots.shrink_to_fit();
        #[allow(clippy::cast_possible_truncation)]
        self.free.split_off(&(self.slots.len() as u32));
    }

    pub(super) const fn len(&self) -> usize {
        self.live
    }

    /// All connections, in the order of slots.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Connection> {
        self.slots.iter().flatten()
    }

    /// Checks that all derived state agrees with its source; for tests.
    pub(super) fn assert_consistent(&self) {
        let (mut users, mut timers, mut expiries, mut with_access) = (0, 0, 0, 0);
        for conn in self.iter() {
            if let Some(user) = &conn.user {
                assert!(self.users[user].contains(&conn.id), "a user that lacks it");
                users += 1;
            }
            if let Some(deadline) = conn.heartbeat.deadline {
                assert!(self.timers.contains(&(deadline, conn.id)), "a lost timer");
                timers += 1;
            }
            if let Some(access) = &conn.access {
                with_access += 1;
                if let Some(due) = access.due() {
                    assert!(self.expiries.contains(&(due, conn.id)), "a lost expiry");
                    expiries += 1;
                }
            }
        }
        assert_eq!(
            (expiries, with_access),
            (self.expiries.len(), self.with_access)
        );
        assert_eq!(users, self.users.values().map(Vec::len).sum::<usize>());
        assert_eq!(timers, self.timers.len());
        assert_eq!(self.live, self.iter().count());
    }
}
