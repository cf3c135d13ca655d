//! The lifecycle of connections: opening, heartbeat, session and end.

use alloc::{boxed::Box, sync::Arc, vec::Vec};
use core::time::Duration;

use super::conns::{Connection, Handshake, Heartbeat, Metas};
use super::error::{Refusal, SessionError, UnknownConn};
use super::{
    Hub, change::Change, change::EndedConnection, identity::write_expiry, receive::rate::Buckets,
};
use crate::wire::{CloseCode, ConnId, DisconnectReason, write_head, write_number, write_string};
use crate::{identity::Identity, outbox::Outbox, time::Timestamp, time::whole_millis};

impl Hub {
    /// Adds a connection that a host has opened.
    ///
    /// # Errors
    ///
    /// When the hub refuses the connection, for example because it is full or the identity has
    /// expired. Then nothing changes.
    pub fn connect(
        &mut self,
        now: Timestamp,
        handshake: Handshake,
        out: &mut Outbox,
    ) -> Result<ConnId, Refusal> {
        let limit = self.limits().connections.min(ConnId::SLOTS);
        let slot = match self.conns.vacant() {
            Some(slot) if self.conns.len() < limit => slot,
            _ => return Err(Refusal::Full { limit }),
        };
        if self.is_clustered() {
            self.take_serial()?;
        } else if self.next_serial >= ConnId::SERIALS {
            return Err(Refusal::Exhausted);
        }
        let access = self.check_identity(now, &handshake)?;
        let id = ConnId::new(self.next_serial % ConnId::SERIALS, slot);
        self.next_serial += 1;
        let Handshake {
            identity,
            unidentified,
            welcome,
            session,
        } = handshake;
        if welcome && !self.config.raw {
            self.welcome(now, id, &identity, unidentified, out);
        }
        let user = identity.user;
        let deadline = self.limits().heartbeat.map(|heartbeat| now + heartbeat);
        self.conns.insert(Connection {
            id,
            user,
            rooms: Vec::new(),
            metas: Metas::default(),
            since: now,
            session: session.filter(|json| json.len() <= self.limits().session_bytes),
            buckets: Buckets::full(self.limits(), now),
            heartbeat: Heartbeat {
                last_activity: now,
                pinged: false,
                deadline,
            },
            access,
        });
        out.persist(id);
        Ok(id)
    }

    /// Removes a connection that was lost, or closed by the client. It leaves all its rooms in one
    /// step.
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
        if self.changes.are_recorded() {
            self.record_end(conn, reason);
        }
        let ended = self.conns.remove(conn).ok_or(UnknownConn(conn))?;
        if self.tells_rooms() {
            self.tell_vacating(conn, &ended.rooms, out);
        }
        let rooms = self.followed_rooms(&ended);
        let mut extra = false;
        for &slot in &ended.rooms {
            extra |= self.rooms.remove(slot, conn);
        }
        if extra {
            self.end_by_policy(now, &ended, reason.may_return(), out);
        }
        if self.is_clustered() {
            self.unfollow_left(now, &rooms);
        }
        let opening = !self.opening.is_empty() && self.opening.remove(&conn);
        if self.tells() && !ended.is_unidentified() && !opening {
            self.tell_closed(conn, ended.user.as_deref(), reason, out);
        }
        Ok(())
    }

    /// Out of line, so that hubs that record no changes do not pay for it.
    #[inline(never)]
    fn record_end(&mut self, id: ConnId, reason: DisconnectReason) {
        // Applications are told only of connections that have identified themselves.
        let Some(conn) = self.conns.get(id).filter(|conn| !conn.is_unidentified()) else {
            return;
        };
        let rooms = conn.rooms.iter();
        if self.is_opening(id) {
            return self.changes.push(|| Change::Abandoned(id));
        }
        let mut ended = EndedConnection {
            id,
            user: conn.user.clone(),
            rooms: rooms
                .map(|&slot| self.rooms.get(slot).name.clone())
                .collect(),
            session: conn.session.clone(),
            reason,
        };
        ended.rooms.sort_unstable();
        self.changes.push(|| Change::Ended(Arc::new(ended)));
    }

    /// Closes a connection: `$bye`, then the close frame. It leaves all its rooms in one step, and
    /// the hub forgets it.
    ///
    /// A reason over 123 bytes is cut. A peer that broke the framing gets only the close frame.
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

    /// Closes like [`close`](Self::close), and asks the client to stay away for a while, in whole
    /// milliseconds. A host that closes many connections gives each another delay, so that they do
    /// not all reconnect at once.
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
        self.disconnect(now, conn, DisconnectReason::Closed(code), out)?;
        if !(code.framing_fault() || self.config.raw) {
            out.bye(conn, code, away);
        }
        out.close(conn, code, reason);
        Ok(())
    }

    fn welcome(
        &self,
        now: Timestamp,
        id: ConnId,
        identity: &Identity,
        unidentified: bool,
        out: &mut Outbox,
    ) {
        let limits = self.limits();
        out.send_to(id, |text| {
            write_head(text, "$welcome", None, None);
            write_number(text, r#","data":{"conn":""#, id.as_u64());
            text.push_str(r#"","user":"#);
            write_string(text, identity.user.as_deref().unwrap_or_default());
            let heartbeat = whole_millis(limits.heartbeat.unwrap_or_default());
            write_number(text, r#","heartbeat_ms":"#, heartbeat);
            write_number(text, r#","limits":{"message_bytes":"#, limits.message_bytes);
            let rooms = limits.rooms_per_connection;
            write_number(text, r#","rooms_per_connection":"#, rooms);
            write_number(text, r#","room_name_bytes":"#, limits.room_name_bytes);
            if let Some(rate) = limits.inbound_messages {
                write_number(text, r#","inbound_messages_per_s":"#, rate.per_second);
                write_number(text, r#","inbound_burst_messages":"#, rate.burst);
            }
            if !self.config.policies.is_empty() {
                write_number(text, r#","page_entries":"#, limits.page_entries);
                write_number(text, r#","meta_bytes":"#, limits.meta_bytes);
            }
            text.push('}');
            write_expiry(text, now, identity);
            if unidentified {
                let timeout = whole_millis(limits.auth_timeout);
                write_number(text, r#","auth_in_ms":"#, timeout);
            }
            text.push_str("}}");
        });
    }

    /// Greets a connection that the application has accepted, with the identity that it has by
    /// then.
    pub(crate) fn welcome_opened(&self, now: Timestamp, id: ConnId, out: &mut Outbox) {
        if let Some(conn) = self.conns.get(id) {
            let mut identity = Identity::new();
            identity.user.clone_from(&conn.user);
            identity.deadline = conn.access.as_ref().and_then(|access| access.deadline());
            self.welcome(now, id, &identity, false, out);
        }
    }

    /// Sets whether an application has yet to accept or refuse a connection. Before then the
    /// connection is in no audience, and ends without a trace.
    pub(crate) fn set_opening(&mut self, conn: ConnId, opening: bool, out: &mut Outbox) {
        if opening {
            self.opening.insert(conn);
        } else {
            self.opening.remove(&conn);
        }
        out.persist(conn);
    }

    /// True when messages have no envelopes.
    pub(crate) const fn is_raw(&self) -> bool {
        self.config.raw
    }

    /// True when an application has yet to decide about this connection.
    pub(crate) fn is_opening(&self, conn: ConnId) -> bool {
        self.opening.contains(&conn)
    }

    /// Connections that an application has yet to decide about.
    pub(crate) fn opening(&self) -> impl Iterator<Item = ConnId> {
        self.opening.iter().copied()
    }

    /// The session of a connection, in JSON.
    pub(crate) fn session(&self, conn: ConnId) -> Option<&str> {
        self.conns.get(conn)?.session.as_deref()
    }

    /// Sets the session, in JSON. An unchanged session is not persisted again.
    pub(crate) fn set_session(
        &mut self,
        conn: ConnId,
        json: Option<Box<str>>,
        out: &mut Outbox,
    ) -> Result<(), SessionError> {
        let bytes_max = self.limits().session_bytes;
        let connection = self.conns.get_mut(conn).ok_or(UnknownConn(conn))?;
        if json.as_ref().is_some_and(|json| json.len() > bytes_max) {
            return Err(SessionError::TooLarge { bytes_max });
        }
        if connection.session != json {
            connection.session = json;
            out.persist(conn);
        }
        Ok(())
    }
}

/// Liveness: a silent connection is pinged, and closed if it stays silent.
///
/// A connection has one timer. Activity only records a time. The timer reads that time when it
/// fires, and is set again, so that a busy connection costs nothing.
impl Hub {
    /// Records that something other than a message was received: a pong, a ping, a part of a
    /// message.
    ///
    /// # Errors
    ///
    /// When the connection is not alive; nothing changed.
    pub fn note_activity(&mut self, now: Timestamp, conn: ConnId) -> Result<(), UnknownConn> {
        let active = self.conns.note_activity(now, conn);
        active.map(|_| ()).ok_or(UnknownConn(conn))
    }

    /// The time to call [`handle_timeout`](Self::handle_timeout) next; `None` when nothing is
    /// pending, so that a host may sleep.
    pub fn next_timeout(&self) -> Option<Timestamp> {
        let (conns, rooms) = (self.conns.next_deadline(), self.rooms.next_due());
        let relay = self.relay.as_ref();
        let relay = relay.and_then(|relay| relay.next_due());
        conns.into_iter().chain(rooms).chain(relay).min()
    }

    /// Acts on all deadlines that have passed. Early and repeated calls are harmless; late calls
    /// act late.
    ///
    /// Work: the deadlines that have passed, each of them once.
    pub fn handle_timeout(&mut self, now: Timestamp, out: &mut Outbox) {
        while let Some(conn) = self.conns.take_due(now) {
            self.beat(now, conn, out);
        }
        self.expire_identities(now, out);
        self.tick_rooms(now, out);
        if self.is_clustered() {
            self.tick_relay(now, out);
        }
    }

    /// Pings a connection that is silent, or closes one that did not answer.
    fn beat(&mut self, now: Timestamp, id: ConnId, out: &mut Outbox) {
        let limits = &self.config.limits;
        let Some((conn, silence)) = self.conns.get_mut(id).zip(limits.heartbeat) else {
            debug_assert!(false, "a timer without a heartbeat");
            return;
        };
        let heartbeat = &mut conn.heartbeat;
        if heartbeat.pinged {
            let closed = self.close(now, id, CloseCode::NO_HEARTBEAT, "no heartbeat", out);
            debug_assert!(closed.is_ok());
            return;
        }
        let due = heartbeat.last_activity + silence;
        let next = if due <= now {
            heartbeat.pinged = true;
            out.ping(id);
            now + limits.heartbeat_wait
        } else {
            due
        };
        // A wait of zero would come due within this very call.
        let soonest = now + Duration::from_millis(1);
        self.conns.set_deadline(id, next.max(soonest));
    }
}
