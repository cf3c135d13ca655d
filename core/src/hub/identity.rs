//! Identities of connections: their start, renewal, expiry and withdrawal.

pub(crate) mod access;
pub(crate) mod withdrawn;

use alloc::{boxed::Box, string::String, vec::Vec};

use self::{access::Access, access::Passed, access::Source};
use super::error::{Refusal, RequestError, SetUserError, UnknownConn};
use super::{Hub, conns::Connection, conns::Handshake, send::retain_from};
use crate::outbox::{Kind, Outbox};
use crate::policy::{Policies, Right, Rights};
use crate::wire::{CloseCode, ConnId, Message, write_head, write_number, write_string};
use crate::{identity::Identity, time::Timestamp, time::whole_millis, wire::room_name::RoomName};

/// Rights of connections.
impl Hub {
    /// True when a connection may do something in a room, by its grants and those of the policies.
    /// A connection without grants may do everything.
    pub fn allows(&self, now: Timestamp, conn: ConnId, right: Right, room: &str) -> bool {
        self.conns.get(conn).is_some() && self.check_right(now, conn, right, room).is_ok()
    }

    /// Checks a right like `allows`, with the reason for the client.
    #[inline]
    pub(crate) fn check_right(
        &self,
        now: Timestamp,
        conn: ConnId,
        right: Right,
        room: &str,
    ) -> Result<(), RequestError> {
        let connection = self.conns.get(conn);
        connection.map_or(Ok(()), |connection| {
            self.check_right_of(now, connection, right, room)
        })
    }

    /// Checks a right of a connection that was already looked up.
    #[inline]
    pub(super) fn check_right_of(
        &self,
        now: Timestamp,
        connection: &Connection,
        right: Right,
        room: &str,
    ) -> Result<(), RequestError> {
        match &connection.access {
            Some(access) if !access.gives_itself(now, right, room) => {
                let user = connection.user.as_deref();
                access.check(now, &self.config.policies, user, right, room)
            }
            _ => Ok(()),
        }
    }

    /// True when a backend is asked for joins that are refused.
    pub(crate) const fn asks_joins(&self) -> bool {
        self.config.asks_join
    }

    /// True when a backend is to be asked about a join that was refused with this error.
    pub(crate) fn asks_join(&self, room: &str, error: &RequestError) -> bool {
        self.config.asks_join
            && matches!(error, RequestError::Right { .. })
            && RoomName::check(room, self.limits().room_name_bytes).is_ok()
    }

    /// Gives a connection rights in one room, until it leaves the room or ends. Rights given in
    /// rooms that it is not in are dropped. Work: its rooms.
    pub(crate) fn grant(&mut self, conn: ConnId, room: &str, rights: Rights, out: &mut Outbox) {
        let Some(connection) = self.conns.get_mut(conn) else {
            return;
        };
        let rooms = &self.rooms;
        if let Some(access) = &mut connection.access {
            let joined = connection.rooms.iter().map(|&slot| &*rooms.get(slot).name);
            let joined: Vec<&str> = joined.collect();
            access.give(room, rights, |room| joined.contains(&room));
            out.persist(conn);
        }
    }

    /// The source of a connection's right; `None` when the connection is not alive.
    pub(crate) fn source_of(&self, conn: ConnId, right: Right, room: &str) -> Option<Source<'_>> {
        let connection = self.conns.get(conn)?;
        let Some(access) = &connection.access else {
            return Some(Source::Every);
        };
        let user = connection.user.as_deref();
        Some(access.source(&self.config.policies, user, right, room))
    }

    /// True when a connection without a user got one at this time or later.
    pub(crate) fn was_named_since(&self, conn: ConnId, at: Timestamp) -> bool {
        let access = self.conns.get(conn).and_then(|conn| conn.access.as_ref());
        let named = access.and_then(|access| access.named_at());
        named.is_some_and(|named| named >= at)
    }

    /// The presence metadata of a connection when a join brings none.
    pub(crate) fn default_meta(&self, conn: ConnId) -> Option<Box<str>> {
        if self.config.policies.is_empty() {
            return None; // no room has presence
        }
        let access = self.conns.get(conn)?.access.as_ref()?;
        access.meta().map(Into::into)
    }

    /// Removes from the recipients, from index `first` on, those who may not see a room's presence.
    pub(super) fn retain_presence(&self, room: &str, first: usize, out: &mut Outbox) {
        if !self.conns.has_access() {
            return;
        }
        let policies = &self.config.policies;
        retain_from(out.recipients(), first, |conn| {
            let connection = self.conns.get(conn);
            connection.is_some_and(|connection| {
                let user = connection.user.as_deref();
                let access = connection.access.as_ref();
                access.is_none_or(|access| access.gives(policies, user, Right::Presence, room))
            })
        });
    }
}

/// The lifecycle of an identity.
impl Hub {
    /// Checks the identity of a new connection; returns the part of it that is kept.
    #[inline]
    pub(super) fn check_identity(
        &self,
        now: Timestamp,
        handshake: &Handshake,
    ) -> Result<Option<Box<Access>>, Refusal> {
        if handshake.unidentified {
            // Raw frames cannot carry an `$auth` with a token.
            return if self.config.raw {
                Err(Refusal::Unidentified)
            } else {
                let access = Access::unidentified(now + self.limits().auth_timeout);
                Ok(Some(Box::new(access)))
            };
        }
        let identity = &handshake.identity;
        if self.has_withdrawn(identity) {
            return Err(Refusal::Withdrawn);
        }
        if identity.gives_all() {
            return Ok(None);
        }
        match Access::new(now, identity, self.limits()) {
            Some(access) if access.is_over(now) => Err(Refusal::Expired),
            access => Ok(access.map(Box::new)),
        }
    }

    /// Identifies a client by its verb `$auth`: with its first identity, or a renewed one. An error
    /// is the host's reason to refuse the identity, and the client's answer.
    ///
    /// A connection with fewer rights than before leaves the rooms that it may no longer join. It
    /// gets a notice for each: `$leave` with an error.
    ///
    /// Work: the rooms of the connection, and the lengths of all patterns for each.
    ///
    /// Returns true when this is the first identity of the connection.
    ///
    /// # Errors
    ///
    /// When the connection is not alive; nothing changed.
    pub fn authenticate(
        &mut self,
        now: Timestamp,
        request: &Message<'_>,
        identity: Result<&Identity, RequestError>,
        out: &mut Outbox,
    ) -> Result<bool, UnknownConn> {
        let conn = request.conn;
        let connection = self.conns.get(conn).ok_or(UnknownConn(conn))?;
        let is_first = connection.is_unidentified();
        let Err(error) = self.identify(now, request, identity, out) else {
            return Ok(is_first);
        };
        out.error(conn, request.address(), &error);
        if is_first {
            // Another token would not help against a server without keys.
            let (code, reason) = if error == RequestError::TokenUnavailable {
                (CloseCode::OVERLOADED, "no keys for tokens yet")
            } else {
                (CloseCode::UNAUTHORIZED, "no valid token")
            };
            self.close(now, conn, code, reason, out)?;
        }
        Ok(false)
    }

    /// Sets the user of a connection that has none, and is in no room.
    pub(crate) fn set_user(
        &mut self,
        now: Timestamp,
        conn: ConnId,
        user: &str,
        out: &mut Outbox,
    ) -> Result<(), SetUserError> {
        let connection = self.conns.get(conn).ok_or(UnknownConn(conn))?;
        match &connection.user {
            Some(had) if **had == *user => return Ok(()),
            Some(_) => return Err(SetUserError::Named),
            None if !connection.rooms.is_empty() => return Err(SetUserError::Joined),
            None => {}
        }
        let had = connection.access.as_ref();
        let issued_s = had.and_then(|access| access.issued_s());
        let mut identity = Identity::user(user);
        identity.issued_s = issued_s.or_else(|| Some(self.unix_time(now).as_secs()));
        if self.has_withdrawn(&identity) {
            return Err(SetUserError::Withdrawn);
        }
        let access = match had {
            Some(had) => Some(Access::clone(had).issued(identity.issued_s)),
            None => Access::new(now, &identity, self.limits()),
        };
        let access = access.map(|access| access.named(Some(now)));
        self.conns.set_identity(conn, identity.user, access);
        out.persist(conn);
        Ok(())
    }

    /// True when the identity was withdrawn, for a host that logs why it was refused.
    pub fn has_withdrawn(&self, identity: &Identity) -> bool {
        self.withdrawn.refuses(identity)
    }

    fn identify(
        &mut self,
        now: Timestamp,
        request: &Message<'_>,
        identity: Result<&Identity, RequestError>,
        out: &mut Outbox,
    ) -> Result<(), RequestError> {
        let conn = request.conn;
        let identity = identity?;
        if self.has_withdrawn(identity) {
            return Err(RequestError::Token);
        }
        let limits = &self.config.limits;
        let Some(connection) = self.conns.get(conn) else {
            return Ok(()); // checked by the caller
        };
        match (&connection.user, &identity.user) {
            (Some(had), Some(has)) if had == has => {}
            (None, None) => {}
            // Members of its rooms would know the connection as anonymous.
            (None, Some(_)) if connection.rooms.is_empty() => {}
            (None, Some(_)) => return Err(RequestError::LateUser),
            (Some(_), _) => return Err(RequestError::OtherUser),
        }
        let mut access = Access::new(now, identity, limits);
        if access.as_ref().is_some_and(|access| access.is_over(now)) {
            return Err(RequestError::Expired);
        }
        if let (Some(access), Some(before)) = (&mut access, &connection.access) {
            access.keep_given(before);
        }
        let named = match (&connection.user, &connection.access) {
            (None, _) => identity.user.as_ref().map(|_| now),
            (Some(_), access) => access.as_ref().and_then(|access| access.named_at()),
        };
        let access = access.map(|access| access.named(named));
        let before = self.conns.set_identity(conn, identity.user.clone(), access);
        out.persist(conn);
        out.send_to_as(conn, Kind::CONTROL, |text| {
            write_head(text, &request.event, request.id.as_ref(), None);
            text.push_str(r#","data":{"user":"#);
            write_string(text, identity.user.as_deref().unwrap_or_default());
            write_expiry(text, now, identity);
            text.push_str("}}");
        });
        let policies = self.config.policies.clone();
        self.leave_forbidden(now, conn, before.as_deref(), &policies, out);
        Ok(())
    }

    /// Removes a connection from the rooms that it may no longer join, but could before.
    fn leave_forbidden(
        &mut self,
        now: Timestamp,
        conn: ConnId,
        before: Option<&Access>,
        policies: &Policies,
        out: &mut Outbox,
    ) {
        let Some(connection) = self.conns.get(conn) else {
            return;
        };
        let Some(access) = &connection.access else {
            return;
        };
        let user = connection.user.as_deref();
        let might = |room: &str| {
            before.is_none_or(|before| before.gives(policies, user, Right::Join, room))
        };
        let rooms = connection.rooms.iter().map(|&slot| self.rooms.get(slot));
        let rooms = rooms.map(|room| room.name.clone());
        let lost = rooms.filter(|room| {
            let may = access.gives(&self.config.policies, user, Right::Join, room);
            !may && might(room)
        });
        for room in lost.collect::<Vec<_>>() {
            let _ = self.leave(now, conn, &room, out);
            let request = Message::verb(conn, "$leave", &room);
            out.error(conn, request.address(), &RequestError::RightLost);
        }
    }

    /// Removes connections from the rooms that they could join by the policies `before`, and may
    /// not join by those in force.
    pub(super) fn leave_by_grants(&mut self, now: Timestamp, before: &Policies, out: &mut Outbox) {
        if !self.conns.has_access() || before.grants() == self.config.policies.grants() {
            return;
        }
        let conns = self.conns.iter().filter(|conn| conn.access.is_some());
        let mut conns: Vec<_> = conns.map(|conn| conn.id).collect();
        conns.sort_unstable();
        for conn in conns {
            let access = self.conns.get(conn).and_then(|conn| conn.access.clone());
            self.leave_forbidden(now, conn, access.as_deref(), before, out);
        }
    }

    /// Refuses identities of a user that were issued before a time, in seconds since 1970, or at an
    /// unknown time, and closes the connections that have such an identity. Returns their number.
    ///
    /// When more users are withdrawn than `Limits::withdrawn_users`, the earliest time applies to
    /// all users from then on: see [`not_before_s`](Self::not_before_s). Connections of other users
    /// that have such an identity stay until they renew it.
    ///
    /// Work: the connections of the user, and their rooms; past the limit all withdrawn users.
    pub fn withdraw(
        &mut self,
        now: Timestamp,
        user: &str,
        not_before_s: u64,
        out: &mut Outbox,
    ) -> usize {
        let users_max = self.limits().withdrawn_users;
        self.withdrawn.insert(user, not_before_s, users_max);
        let (code, reason) = (CloseCode::UNAUTHORIZED, "the token was withdrawn");
        let conns = self.conns.of_user(user).iter().copied();
        let ends = conns.filter(|&conn| {
            let issued = self.conns.get(conn).and_then(|conn| conn.access.as_ref());
            let issued_s = issued.and_then(|access| access.issued_s()).unwrap_or(0);
            issued_s < not_before_s
        });
        let ends: Vec<_> = ends.collect();
        for &conn in &ends {
            let _ = self.close(now, conn, code, reason, out);
        }
        ends.len()
    }

    /// Applies withdrawals from other nodes.
    pub(crate) fn take_withdrawn(
        &mut self,
        now: Timestamp,
        users: &[(Box<str>, u64)],
        everyone_s: u64,
        out: &mut Outbox,
    ) {
        for (user, not_before_s) in users {
            self.withdraw(now, user, *not_before_s, out);
        }
        self.withdrawn.refuse_everyone(everyone_s);
    }

    /// Acts on due identity timers: warns, ends rights, or closes.
    pub(super) fn expire_identities(&mut self, now: Timestamp, out: &mut Outbox) {
        while let Some(conn) = self.conns.take_expiry(now) {
            let grace = self.limits().expiry_grace;
            let Some(access) = self
                .conns
                .get_mut(conn)
                .and_then(|conn| conn.access.as_mut())
            else {
                debug_assert!(false, "a deadline without an identity");
                continue;
            };
            match access.pass(now, grace) {
                // A connection that has not been greeted is warned after the greeting.
                Passed::Warned { left_ms } if !self.is_opening(conn) => {
                    send_expiring(conn, left_ms, out);
                }
                Passed::Warned { .. } | Passed::Over => {}
                Passed::Closed { reason } => {
                    let closed = self.close(now, conn, CloseCode::UNAUTHORIZED, reason, out);
                    debug_assert!(closed.is_ok());
                    continue;
                }
            }
            self.conns.arm_expiry(conn);
            out.persist(conn);
        }
    }

    /// Sends the warning that came due while an application was deciding about the connection.
    pub(crate) fn warn_opened(&self, now: Timestamp, conn: ConnId, out: &mut Outbox) {
        let access = self.conns.get(conn).and_then(|conn| conn.access.as_ref());
        if let Some(left_ms) = access.and_then(|access| access.warned(now)) {
            send_expiring(conn, left_ms, out);
        }
    }
}

fn send_expiring(conn: ConnId, left_ms: u64, out: &mut Outbox) {
    out.send_to(conn, |text| {
        write_head(text, "$expiring", None, None);
        write_number(text, r#","data":{"expires_in_ms":"#, left_ms);
        text.push_str("}}");
    });
}

/// Writes the remaining time of an identity, if it has a deadline.
pub(super) fn write_expiry(text: &mut String, now: Timestamp, identity: &Identity) {
    if let Some(deadline) = identity.deadline {
        let left = deadline.saturating_since(now);
        write_number(text, r#","expires_in_ms":"#, whole_millis(left));
    }
}
