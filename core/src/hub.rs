//! The state machine of one namespace.

pub(crate) mod arena;
pub(crate) mod audience;
pub(crate) mod change;
pub(crate) mod conn;
pub(crate) mod delivery;
pub(crate) mod error;
pub(crate) mod heartbeat;
pub(crate) mod idempotency;
pub(crate) mod limits;
mod publish;
pub(crate) mod query;
pub(crate) mod rate;
pub(crate) mod receive;
mod reload;
mod send;
mod session;
pub(crate) mod state;

pub use self::{
    audience::Audience,
    conn::{ConnId, Handshake, ParseConnIdError},
    delivery::Delivery,
    error::{JoinError, Refused, RequestError, RestoreError, SendError, SessionError, UnknownConn},
    limits::{Config, Limits, Rate},
    query::{ConnectionInfo, ConnectionSummary, Counts, RoomInfo, RoomSummary},
    rate::Bucket,
    state::{ConnState, HubState, KeyState, RoomState},
};
use alloc::{
    borrow::Cow, boxed::Box, collections::BTreeMap, collections::BTreeSet, string::String,
    sync::Arc, vec::Vec,
};
use core::time::Duration;

use crate::{
    hub::arena::Arena,
    hub::change::{Change, Departed},
    hub::conn::{Connection, Heartbeat, Metas},
    hub::idempotency::Keys,
    hub::rate::Buckets,
    outbox::Outbox,
    room::histories::Histories,
    room::recovery::PendingRead,
    room::{Joined, Position, RoomName, Rooms},
    time::{Timestamp, UnixTime},
    wire::close::{CloseCode, DisconnectReason},
    wire::envelope::{write_head, write_string},
    wire::payload::Payload,
};

/// One namespace: its connections, its rooms, and who receives what.
///
/// The hub does no I/O and has no clock. Its methods are of five kinds:
///
/// 1. **What happened**, told by the host: [`connect`](Self::connect),
///    [`receive`](Self::receive), [`heard`](Self::heard), [`disconnect`](Self::disconnect),
///    [`handle_timeout`](Self::handle_timeout).
/// 2. **What the application wants**: [`publish`](Self::publish), [`send`](Self::send),
///    [`send_once`](Self::send_once), [`join`](Self::join), [`join_with`](Self::join_with),
///    [`leave`](Self::leave), [`close`](Self::close), [`close_for`](Self::close_for).
/// 3. **Questions**, which change nothing: [`rooms`](Self::rooms), [`members`](Self::members),
///    [`rooms_of`](Self::rooms_of), [`connection`](Self::connection), [`counts`](Self::counts),
///    [`next_timeout`](Self::next_timeout) and others.
/// 4. **Other policies**: [`set_policies`](Self::set_policies).
/// 5. **Sleep and wake**: [`state`](Self::state), [`conn_state`](Self::conn_state),
///    [`restore`](Self::restore); and [`shrink_to_fit`](Self::shrink_to_fit).
///
/// What the first two kinds want done they append to the [`Outbox`] given to them. The host carries
/// the commands out in order, clears the outbox, asks for [`next_timeout`](Self::next_timeout), and
/// waits for the next thing to happen.
///
/// The same inputs give the same outputs, byte for byte, on every machine.
///
/// ```
/// use roomcast_core::{Command, Config, Frame, Handshake, Hub, Outbox, Timestamp};
///
/// let mut hub = Hub::new(Config::new("epoch"));
/// let (now, mut out) = (Timestamp::ZERO, Outbox::new());
/// let ann = hub.connect(now, Handshake::new(), &mut out)?;
/// let bob = hub.connect(now, Handshake::new(), &mut out)?;
/// hub.join(now, bob, "lobby", &mut out)?;
/// out.clear();
///
/// let text = r#"{"event":"said","room":"lobby","data":"hi"}"#;
/// if let Some(message) = hub.receive(now, ann, Frame::Text(text), &mut out)? {
///     hub.publish(now, &message, &mut out)?; // or what the application decides
/// }
/// for command in &out {
///     let Command::Send { to, frame: Frame::Text(text), .. } = command else { continue };
///     assert_eq!(to, [bob]);
///     assert_eq!(text, r#"{"event":"said","room":"lobby","from":{"conn":"0"},"data":"hi"}"#);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Hub {
    pub(crate) config: Config,
    pub(crate) conns: Arena,
    pub(crate) rooms: Rooms,
    /// Connections of each user, sorted.
    pub(crate) users: BTreeMap<Box<str>, Vec<ConnId>>,
    /// One entry for each connection that has a deadline.
    pub(crate) timers: BTreeSet<(Timestamp, ConnId)>,
    pub(crate) next_serial: u64,
    pub(crate) keys: Keys,
    /// Reused by sends with exceptions.
    pub(crate) scratch: Vec<ConnId>,
    /// What changed since somebody looked; `None` when nobody does.
    pub(crate) changes: Option<Vec<Change>>,
    /// One entry for each room that has something to do later.
    pub(crate) dues: BTreeSet<(Timestamp, Box<str>)>,
    pub(crate) histories: Histories,
    pub(crate) pending_reads: Vec<PendingRead>,
    /// How many histories have begun.
    pub(crate) histories_opened: u64,
    /// Whether that changed since somebody saved it.
    pub(crate) unsaved: bool,
    /// Rooms that are there for users alone that are waited for.
    pub(crate) vacant: usize,
    pub(crate) rate_refusals: u64,
}

impl Hub {
    /// An empty hub.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            conns: Arena::default(),
            rooms: Rooms::default(),
            users: BTreeMap::new(),
            timers: BTreeSet::new(),
            next_serial: 0,
            keys: Keys::default(),
            scratch: Vec::new(),
            changes: None,
            dues: BTreeSet::new(),
            histories: Histories::default(),
            pending_reads: Vec::new(),
            histories_opened: 0,
            unsaved: false,
            vacant: 0,
            rate_refusals: 0,
        }
    }

    /// A connection opened.
    ///
    /// # Errors
    ///
    /// When the hub takes no more; nothing changed then.
    pub fn connect(
        &mut self,
        now: Timestamp,
        handshake: Handshake,
        out: &mut Outbox,
    ) -> Result<ConnId, Refused> {
        let limit = self.limits().connections.min(ConnId::SLOTS);
        let slot = match self.conns.vacant() {
            Some(slot) if self.conns.len() < limit => slot,
            _ => return Err(Refused::Full { limit }),
        };
        if self.next_serial >= ConnId::SERIALS {
            return Err(Refused::Exhausted);
        }
        let id = ConnId::new(self.next_serial, slot);
        self.next_serial += 1;
        let Handshake {
            user,
            welcome,
            session,
        } = handshake;
        if welcome && !self.config.raw {
            self.welcome(id, user.as_deref(), out);
        }
        let deadline = self.limits().heartbeat.map(|heartbeat| now + heartbeat);
        self.insert(Connection {
            id,
            user,
            rooms: Vec::new(),
            metas: Metas::default(),
            since: now,
            session: session.filter(|json| json.len() <= self.limits().session_bytes),
            buckets: Buckets::full(self.limits(), now),
            pulse: Heartbeat {
                heard: now,
                pinged: false,
                deadline,
            },
        });
        out.persist(id);
        Ok(id)
    }

    /// The connection is gone: closed by the client, or lost. It leaves all its rooms in one step.
    ///
    /// Work: its rooms.
    ///
    /// # Errors
    ///
    /// When the connection is not alive, as after a [`Command::Close`](crate::Command::Close).
    /// Nothing changed.
    pub fn disconnect(
        &mut self,
        now: Timestamp,
        conn: ConnId,
        reason: DisconnectReason,
        out: &mut Outbox,
    ) -> Result<(), UnknownConn> {
        self.remove(now, conn, reason, out)
    }

    /// Closes a connection: `$bye`, then the close frame. It leaves all its rooms in one step, and
    /// the hub forgets it.
    ///
    /// A reason over 123 bytes is cut. When the peer broke the framing, the close frame comes alone.
    ///
    /// # Errors
    ///
    /// When the connection is not alive; nothing changed.
    pub fn close(
        &mut self,
        now: Timestamp,
        conn: ConnId,
        code: CloseCode,
        reason: &str,
        out: &mut Outbox,
    ) -> Result<(), UnknownConn> {
        self.close_for(now, conn, code, reason, Duration::ZERO, out)
    }

    /// [`close`](Self::close), and asks the client to stay away for a while, in whole
    /// milliseconds. A host that sends many away gives each another delay, so that they do not come
    /// back as one.
    ///
    /// # Errors
    ///
    /// As for `close`.
    pub fn close_for(
        &mut self,
        now: Timestamp,
        conn: ConnId,
        code: CloseCode,
        reason: &str,
        away: Duration,
        out: &mut Outbox,
    ) -> Result<(), UnknownConn> {
        self.remove(now, conn, DisconnectReason::Closed(code), out)?;
        if !(code.framing_fault() || self.config.raw) {
            out.send_to(conn, |text| {
                write_head(text, "$bye", None, None);
                text.push_str(r#","data":{"code":"#);
                text.push_str(itoa::Buffer::new().format(code.as_u16()));
                text.push_str(r#","reconnect":"#);
                text.push_str(if code.reconnect() { "true" } else { "false" });
                text.push_str(r#","after_ms":"#);
                text.push_str(itoa::Buffer::new().format(away.as_millis()));
                text.push_str("}}");
            });
        }
        out.close(conn, code, reason);
        Ok(())
    }

    /// Puts a connection into a room. The client is not told; its own `$join` is answered by
    /// [`receive`](Self::receive).
    ///
    /// # Errors
    ///
    /// When the connection is not alive, the name is not valid, the connection is in too many
    /// rooms or the room is full; nothing changed.
    pub fn join(
        &mut self,
        now: Timestamp,
        conn: ConnId,
        room: &str,
        out: &mut Outbox,
    ) -> Result<Joined<'_>, JoinError> {
        self.join_with(now, conn, room, Payload::NULL, out)
    }

    /// [`join`](Self::join), and presence shows `meta` of the user where the room's policy shows
    /// members, unless the user is there already. `null` is nothing to show.
    ///
    /// # Errors
    ///
    /// As for `join`; also when `meta` is over `Limits::meta_bytes`.
    pub fn join_with(
        &mut self,
        now: Timestamp,
        conn: ConnId,
        room: &str,
        meta: Payload<'_>,
        out: &mut Outbox,
    ) -> Result<Joined<'_>, JoinError> {
        let meta = Some(meta.as_str()).filter(|meta| *meta != "null");
        let (slot, already) = self.enter(now, conn, room, meta, out)?;
        let position = if self.config.policies.is_empty() {
            self.nowhere()
        } else {
            self.position_at(slot)
        };
        Ok(Joined { position, already })
    }

    /// Puts a connection into a room, of which presence is to show `meta`. Gives the room's slot,
    /// and whether the connection was in.
    #[inline(always)] // a large result
    pub(crate) fn enter(
        &mut self,
        now: Timestamp,
        conn: ConnId,
        room: &str,
        meta: Option<&str>,
        out: &mut Outbox,
    ) -> Result<(u32, bool), JoinError> {
        RoomName::check(room, self.limits().room_name_bytes)?;
        let limit = self.limits().rooms_per_connection;
        let connection = self.conns.get_mut(conn).ok_or(UnknownConn(conn))?;
        let found = self.rooms.find(room);
        let already = found.filter(|(_, room)| room.has(conn));
        if let Some((slot, _)) = already {
            self.check_meta(slot, meta)?;
            return Ok((slot, true));
        }
        if connection.rooms.len() >= limit {
            return Err(JoinError::RoomLimit { limit });
        }
        if let Some(limit) = self.config.limits.room_names_bytes {
            let names = connection.rooms.iter().map(|&slot| self.rooms.get(slot));
            let held: usize = names.map(|room| RoomName::listed_bytes(&room.name)).sum();
            if held + RoomName::listed_bytes(room) > limit {
                return Err(JoinError::RoomNames { limit });
            }
        }
        if !self.config.policies.is_empty() {
            return self.enter_by_policy(now, conn, room, meta, out);
        }
        let slot = match found {
            Some((slot, _)) => slot,
            None => self.rooms.open(room, None),
        };
        self.rooms.add(slot, conn);
        connection.rooms.push(slot);
        out.persist(conn);
        if let Some(changes) = &mut self.changes {
            let room = room.into();
            changes.push(Change::Joined { conn, room });
        }
        Ok((slot, false))
    }

    /// Takes a connection out of a room; says whether it was in.
    ///
    /// # Errors
    ///
    /// When the connection is not alive.
    pub fn leave(
        &mut self,
        now: Timestamp,
        conn: ConnId,
        room: &str,
        out: &mut Outbox,
    ) -> Result<bool, UnknownConn> {
        let connection = self.conns.get_mut(conn).ok_or(UnknownConn(conn))?;
        let Some((slot, _)) = self.rooms.find(room) else {
            return Ok(false);
        };
        let Some(at) = connection.rooms.iter().position(|&other| other == slot) else {
            return Ok(false);
        };
        connection.rooms.remove(at);
        let extra = self.rooms.remove(slot, conn);
        out.persist(conn);
        if let Some(changes) = &mut self.changes {
            let room = room.into();
            changes.push(Change::Left {
                conn,
                room,
                departed: None,
            });
        }
        if extra {
            self.leave_by_policy(now, conn, slot, out);
        }
        Ok(true)
    }

    /// Gives memory back that more connections and rooms needed than there are now. Nothing else
    /// changes.
    ///
    /// Work: all connections and rooms. A host does it now and then, when a crowd has gone.
    pub fn shrink_to_fit(&mut self) {
        self.conns.shrink_to_fit();
        self.rooms.shrink_to_fit();
        self.scratch = Vec::new();
    }

    /// Where a room stands, members or not.
    pub fn position(&self, room: &str) -> Position<'_> {
        match self.rooms.find(room) {
            Some((slot, _)) => self.position_at(slot),
            None => self.nowhere(),
        }
    }

    #[inline]
    pub(crate) fn position_at(&self, slot: u32) -> Position<'_> {
        match self.rooms.get(slot).history() {
            Some(history) => Position {
                epoch: Cow::Borrowed(&history.epoch),
                offset: history.top,
            },
            None => self.nowhere(),
        }
    }

    fn nowhere(&self) -> Position<'_> {
        Position {
            epoch: Cow::Borrowed(&self.config.epoch),
            offset: 0,
        }
    }

    /// The wall-clock time of a moment, by where the host's times begin.
    pub const fn unix_time(&self, now: Timestamp) -> UnixTime {
        let zero_ms = self.config.unix_zero_ms;
        UnixTime::from_millis(zero_ms.saturating_add(now.as_millis()))
    }

    /// Says anew where the host's times begin, in milliseconds since 1970: for a host whose times go
    /// on evenly while the wall clock was set. No rule depends on it.
    pub const fn set_unix_zero_ms(&mut self, unix_zero_ms: u64) {
        self.config.unix_zero_ms = unix_zero_ms;
    }

    /// The limits in force.
    pub const fn limits(&self) -> &Limits {
        &self.config.limits
    }

    /// Enters a connection everywhere but into rooms; false when its slot is taken.
    pub(crate) fn insert(&mut self, conn: Connection) -> bool {
        let (id, user, deadline) = (conn.id, conn.user.clone(), conn.pulse.deadline);
        if !self.conns.insert(conn) {
            return false;
        }
        if let Some(user) = user {
            let conns = self.users.entry(user).or_default();
            if let Err(at) = conns.binary_search(&id) {
                conns.insert(at, id);
            }
        }
        if let Some(deadline) = deadline {
            self.timers.insert((deadline, id));
        }
        true
    }

    /// The one way out of the hub.
    pub(crate) fn remove(
        &mut self,
        now: Timestamp,
        id: ConnId,
        reason: DisconnectReason,
        out: &mut Outbox,
    ) -> Result<(), UnknownConn> {
        if self.changes.is_some() {
            self.note_end(id, reason);
        }
        let conn = self.conns.remove(id).ok_or(UnknownConn(id))?;
        if let Some(user) = &conn.user
            && let Some(conns) = self.users.get_mut(user)
        {
            conns.retain(|&other| other != id);
            if conns.is_empty() {
                self.users.remove(user);
            }
        }
        if let Some(deadline) = conn.pulse.deadline {
            self.timers.remove(&(deadline, id));
        }
        let mut extra = false;
        for &slot in &conn.rooms {
            extra |= self.rooms.remove(slot, id);
        }
        if extra {
            self.end_by_policy(now, &conn, reason.may_return(), out);
        }
        Ok(())
    }

    /// Out of line: a hub that nobody watches does not pay for it.
    #[inline(never)]
    fn note_end(&mut self, id: ConnId, reason: DisconnectReason) {
        let Some(conn) = self.conns.get(id) else {
            return;
        };
        let rooms = conn.rooms.iter();
        let mut rooms: Vec<Box<str>> = rooms
            .map(|&slot| self.rooms.get(slot).name.clone())
            .collect();
        rooms.sort_unstable();
        let departed = Departed {
            id,
            user: conn.user.clone(),
            rooms,
            session: conn.session.clone(),
            reason,
        };
        if let Some(changes) = &mut self.changes {
            changes.push(Change::Ended(Arc::new(departed)));
        }
    }

    fn welcome(&self, id: ConnId, user: Option<&str>, out: &mut Outbox) {
        fn number(text: &mut String, name: &str, value: impl itoa::Integer) {
            text.push_str(name);
            text.push_str(itoa::Buffer::new().format(value));
        }
        let limits = self.limits();
        out.send_to(id, |text| {
            write_head(text, "$welcome", None, None);
            number(text, r#","data":{"conn":""#, id.as_u64());
            text.push_str(r#"","user":"#);
            write_string(text, user.unwrap_or_default());
            let heartbeat = limits.heartbeat.unwrap_or_default().as_millis();
            number(text, r#","heartbeat_ms":"#, heartbeat);
            number(text, r#","limits":{"message_bytes":"#, limits.message_bytes);
            number(
                text,
                r#","rooms_per_connection":"#,
                limits.rooms_per_connection,
            );
            number(text, r#","room_name_bytes":"#, limits.room_name_bytes);
            if let Some(rate) = limits.inbound_messages {
                number(text, r#","inbound_messages_per_s":"#, rate.per_second);
                number(text, r#","inbound_burst_messages":"#, rate.burst);
            }
            if !self.config.policies.is_empty() {
                number(text, r#","page_entries":"#, limits.page_entries);
                number(text, r#","meta_bytes":"#, limits.meta_bytes);
            }
            text.push_str("}}}");
        });
    }
}
