//! Joins and leaves of connections.

mod following;

use alloc::sync::Arc;

use super::{
    Hub, change::Change, change::Leaving, conns::Connection, conns::Metas, error::JoinError,
    error::UnknownConn,
};
use crate::policy::EventKind;
use crate::room::membership_log::ChangeKind;
use crate::room::{Joined, Room, RoomName, presence::Departure, presence::Who, rooms::Rooms};
use crate::{outbox::Outbox, policy::PresencePolicy, time::Timestamp, wire::ConnId, wire::Payload};

impl Hub {
    /// Puts a connection into a room. The client is not told; its own `$join` is answered by
    /// [`receive`](Self::receive). When a clustered hub does not follow the room yet, the client is
    /// told `$gap` where its messages begin.
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

    /// Joins like [`join`](Self::join); presence shows `meta` for the user, if the room's policy
    /// shows members and the user is not there already. `null` shows nothing.
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
        let position = if self.is_clustered() {
            self.relayed_position(room)
        } else if self.config.policies.is_empty() {
            self.nowhere()
        } else {
            self.position_at(slot)
        };
        Ok(Joined { position, already })
    }

    /// Puts a connection into a room, with `meta` for presence. Returns the room's slot, and
    /// whether the connection was a member already.
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
        if let Some(limit) = self.config.limits.room_names_bytes
            && names_bytes(&self.rooms, &connection.rooms, room) > limit
        {
            return Err(JoinError::RoomNames { limit });
        }
        if self.config.has_extras() {
            return self.enter_with_extras(now, conn, room, meta, out);
        }
        let slot = match found {
            Some((slot, _)) => slot,
            None => self.rooms.open(room),
        };
        self.rooms.add(slot, conn);
        connection.rooms.push(slot);
        out.persist(conn);
        self.changes.push(|| Change::Joined {
            conn,
            room: room.into(),
        });
        Ok((slot, false))
    }

    /// The part of [`enter`](Self::enter) for a hub with policies or subscriptions, for a
    /// connection that is not a member yet.
    #[inline(never)]
    fn enter_with_extras(
        &mut self,
        now: Timestamp,
        conn: ConnId,
        room: &str,
        meta: Option<&str>,
        out: &mut Outbox,
    ) -> Result<(u32, bool), JoinError> {
        if self.is_clustered() {
            self.follow(room, out);
        }
        if !self.config.policies.is_empty() {
            let entered = self.enter_by_policy(now, conn, room, meta, out);
            self.unfollow_if_empty(now, room);
            return entered;
        }
        let found = self.rooms.find(room).map(|(slot, _)| slot);
        let slot = found.unwrap_or_else(|| self.rooms.open(room));
        self.put_in(slot, conn, room, out);
        if self.rooms.get(slot).members.len() == 1 {
            self.tell_room(EventKind::RoomOccupied, slot, out);
        }
        Ok((slot, false))
    }

    /// The part for a hub with policies.
    fn enter_by_policy(
        &mut self,
        now: Timestamp,
        conn: ConnId,
        room: &str,
        meta: Option<&str>,
        out: &mut Outbox,
    ) -> Result<(u32, bool), JoinError> {
        let policy = self.policy_of(room);
        let found = self.rooms.find(room).map(|(slot, _)| slot);
        let shown = match policy {
            Some(policy) => self.check_policy(policy, conn, found, meta)?,
            None => None,
        };
        let slot = found.unwrap_or_else(|| self.open(now, room, policy));
        if self.is_to_occupy(slot) {
            self.tell_room(EventKind::RoomOccupied, slot, out);
        }
        self.rooms.log(now, slot, conn, ChangeKind::Joined);
        self.put_in(slot, conn, room, out);
        if policy.is_some() {
            self.show_joined(slot, conn, shown, out);
        }
        Ok((slot, false))
    }

    /// Adds a connection to a room that is open.
    fn put_in(&mut self, slot: u32, conn: ConnId, room: &str, out: &mut Outbox) {
        self.rooms.add(slot, conn);
        if let Some(connection) = self.conns.get_mut(conn) {
            connection.rooms.push(slot);
        }
        out.persist(conn);
        self.changes.push(|| Change::Joined {
            conn,
            room: room.into(),
        });
    }

    /// Checks that the policy of a room admits a connection. Returns the metadata that presence
    /// shows.
    fn check_policy(
        &self,
        policy: usize,
        conn: ConnId,
        slot: Option<u32>,
        meta: Option<&str>,
    ) -> Result<Option<Arc<str>>, JoinError> {
        let (limits, policy) = (&self.config.limits, self.config.policies.get(policy));
        let room = slot.map(|slot| self.rooms.get(slot));
        let members = room.map_or(0, |room| room.members.len());
        if let Some(limit) = policy.members
            && members >= limit
        {
            return Err(JoinError::MemberLimit { limit });
        }
        if policy.presence != PresencePolicy::Members || self.config.raw {
            return Ok(None);
        }
        fits(meta, limits.meta_bytes)?;
        if let Some(bytes_max) = limits.metas_bytes
            && let Some(connection) = self.conns.get(conn)
        {
            let presence = room.and_then(Room::presence);
            let user = connection.user.as_deref();
            let known = presence.and_then(|presence| presence.meta(user));
            let held = connection.metas.iter().map(|(_, meta)| &**meta);
            let metas = held.chain(known.or(meta));
            if metas.map(Metas::kept_bytes).sum::<usize>() > bytes_max {
                return Err(JoinError::Metas { bytes_max });
            }
        }
        Ok(meta.map(Into::into))
    }

    /// Checks the `meta` of a member that joins again. It is not shown, but one that is too large
    /// is refused all the same.
    #[inline(never)]
    pub(super) fn check_meta(&self, slot: u32, meta: Option<&str>) -> Result<(), JoinError> {
        let policy = self.room_policy(slot).filter(|_| !self.config.raw);
        if policy.is_some_and(|policy| policy.presence == PresencePolicy::Members) {
            fits(meta, self.config.limits.meta_bytes)?;
        }
        Ok(())
    }

    /// Removes a connection from a room; returns true when it was a member.
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
        if self.is_clustered() {
            self.end_joins(now, conn, room, out);
        }
        let connection = self.conns.get_mut(conn).ok_or(UnknownConn(conn))?;
        let Some((slot, _)) = self.rooms.find(room) else {
            return Ok(false);
        };
        let Some(at) = connection.rooms.iter().position(|&other| other == slot) else {
            return Ok(false);
        };
        connection.rooms.remove(at);
        if let Some(access) = &mut connection.access
            && access.has_given()
        {
            access.forget(room);
        }
        if self.tells_rooms() {
            self.tell_vacating(conn, &[slot], out);
        }
        let extra = self.rooms.remove(slot, conn);
        out.persist(conn);
        self.changes.push(|| Change::Left {
            conn,
            room: room.into(),
            ended: None,
        });
        if extra {
            self.leave_by_policy(now, conn, slot, out);
        }
        if self.is_clustered() {
            self.unfollow_if_empty(now, room);
        }
        Ok(true)
    }

    /// Does the part of a leave for a room with a policy.
    #[cold]
    #[inline(never)]
    pub(super) fn leave_by_policy(
        &mut self,
        now: Timestamp,
        conn: ConnId,
        slot: u32,
        out: &mut Outbox,
    ) {
        let Some(connection) = self.conns.get_mut(conn) else {
            return;
        };
        connection.metas.remove(slot);
        let user = connection.user.clone();
        let leaving = Leaving { conn, ended: None };
        self.show_left(now, slot, Who::new(conn, user.as_deref()), leaving, out);
    }

    /// Does the part of a connection's end for rooms with a policy, some of which may have ended.
    /// The connection gets no notice of its own leaving.
    #[cold]
    #[inline(never)]
    pub(super) fn end_by_policy(
        &mut self,
        now: Timestamp,
        conn: &Connection,
        waits: bool,
        out: &mut Outbox,
    ) {
        let who = Who::new(conn.id, conn.user.as_deref());
        let leaving = Leaving {
            conn: conn.id,
            ended: Some(waits),
        };
        for &slot in &conn.rooms {
            if self.rooms.has_extra(slot) {
                self.show_left(now, slot, who, leaving, out);
            }
        }
    }

    /// Updates a room with a policy after a connection left: its log, presence, history and end.
    fn show_left(
        &mut self,
        now: Timestamp,
        slot: u32,
        who: Who<'_>,
        leaving: Leaving,
        out: &mut Outbox,
    ) {
        let list_max = self.config.limits.presence_list;
        let Some(policy) = self.room_policy(slot) else {
            return;
        };
        let age = policy.history.map(|history| history.age);
        let kind = match leaving.ended {
            Some(_) => ChangeKind::Ended,
            None => ChangeKind::Left,
        };
        let grace = policy.presence_grace;
        let waits = leaving.ended == Some(true)
            && policy.presence == PresencePolicy::Members
            && !grace.is_zero();
        self.rooms.log(now, slot, leaving.conn, kind);
        if let Some(presence) = self.rooms.presence_mut(slot) {
            // This holds even for the last member: all users may be back within the grace.
            let before = presence.users();
            let until = (waits && before <= list_max).then(|| now + grace);
            match presence.leave(who, until) {
                Departure::Stays if self.is_clustered() => self.enter_user(slot, who, out),
                Departure::Stays => {}
                Departure::Waits => {
                    self.rooms.arm(slot, now + grace);
                    self.persist_room(slot, out);
                    if self.is_clustered() {
                        self.enter_user(slot, who, out);
                    }
                }
                Departure::Gone => {
                    self.announce(slot, before, "$left", who, None, out);
                    self.note_absent(slot, who, Some(leaving), out);
                }
            }
        }
        let room = self.rooms.get(slot);
        if !room.members.is_empty() {
            return;
        }
        if self.tells_rooms() {
            self.tell_if_vacated(slot, out);
        }
        let room = self.rooms.get(slot);
        match (room.history(), age) {
            (Some(_), Some(age)) => {
                let mut expiry = now;
                self.rooms.change_newest_history(slot, |history| {
                    history.set_emptied(Some(now));
                    expiry = history.expiry(age);
                });
                self.rooms.arm(slot, expiry);
                self.persist_room(slot, out);
                self.evict(out);
            }
            _ => self.vacate(slot, out),
        }
    }
}

/// The size of these room names and one more, as a JSON list.
#[inline(never)]
fn names_bytes(rooms: &Rooms, slots: &[u32], more: &str) -> usize {
    let names = slots.iter().map(|&slot| &*rooms.get(slot).name);
    names.chain([more]).map(RoomName::listed_bytes).sum()
}

/// Checks the size of the metadata of one user.
fn fits(meta: Option<&str>, bytes_max: usize) -> Result<(), JoinError> {
    if meta.is_some_and(|meta| meta.len() > bytes_max) {
        return Err(JoinError::Meta { bytes_max });
    }
    Ok(())
}
