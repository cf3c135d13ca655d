//! How connections and users leave rooms that a policy matches.

use crate::{
    hub::Hub,
    hub::change::Change,
    hub::conn::{ConnId, Connection},
    outbox::Outbox,
    policy::PresencePolicy,
    room::Room,
    room::presence::{Departure, Presence, Who},
    time::Timestamp,
};

/// A connection that is out of a room.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Departing {
    conn: ConnId,
    /// Whether it may come back, when it left by ending.
    ended: Option<bool>,
}

impl Hub {
    /// A connection left such a room.
    #[cold]
    #[inline(never)]
    pub(crate) fn leave_by_policy(
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
        let departing = Departing { conn, ended: None };
        self.depart(now, slot, Who::new(conn, user.as_deref()), departing, out);
    }

    /// A connection that was in such rooms, and perhaps in others that may have ended, is gone from
    /// all of them: what others are told does not reach it.
    #[cold]
    #[inline(never)]
    pub(crate) fn end_by_policy(
        &mut self,
        now: Timestamp,
        conn: &Connection,
        waits: bool,
        out: &mut Outbox,
    ) {
        let who = Who::new(conn.id, conn.user.as_deref());
        let departing = Departing {
            conn: conn.id,
            ended: Some(waits),
        };
        for &slot in &conn.rooms {
            if self.rooms.has_extra(slot) {
                self.depart(now, slot, who, departing, out);
            }
        }
    }

    /// A connection is out of a room that a policy matches.
    fn depart(
        &mut self,
        now: Timestamp,
        slot: u32,
        who: Who<'_>,
        departing: Departing,
        out: &mut Outbox,
    ) {
        let list_max = self.config.limits.presence_list;
        let Some(policy) = self.room_policy(slot) else {
            return;
        };
        let age = policy.history.map(|history| history.age);
        let grace = policy.presence_grace;
        let waits = departing.ended == Some(true)
            && policy.presence == PresencePolicy::Members
            && !grace.is_zero();
        let room = self.rooms.get_mut(slot);
        let empty = room.members.is_empty();
        if let Some(presence) = room.presence_mut() {
            // Also when nobody is left to be told: all may be back within the grace, one after the other.
            let before = presence.users();
            let until = (waits && before <= list_max).then(|| now + grace);
            match presence.depart(who, until) {
                Departure::Stays => {}
                Departure::Waits => {
                    self.arm(slot, now + grace);
                    self.persist_room(slot, out);
                }
                Departure::Gone => {
                    self.announce(slot, before, "$left", who, None, out);
                    self.note_absent(slot, who, Some(departing));
                }
            }
        }
        if !empty {
            return;
        }
        match (self.rooms.get_mut(slot).history_mut(), age) {
            (Some(history), Some(age)) => {
                history.emptied = Some(now);
                let age = age.min(history.idle_max());
                self.touch(slot);
                self.arm(slot, now + age);
                self.persist_room(slot, out);
                self.evict(out);
            }
            _ => self.vacate(slot, out),
        }
    }

    /// A room without a history has lost its last member: it ends, unless users are waited for.
    pub(crate) fn vacate(&mut self, slot: u32, out: &mut Outbox) {
        let waits = self.rooms.get(slot).waits();
        if waits && self.vacant < self.config.limits.history_rooms {
            return self.set_vacant(slot, true);
        }
        if waits {
            self.persist_room(slot, out);
        }
        self.end(slot);
    }

    pub(crate) fn set_vacant(&mut self, slot: u32, vacant: bool) {
        if let Some(extra) = &mut self.rooms.get_mut(slot).extra
            && extra.vacant != vacant
        {
            extra.vacant = vacant;
            self.vacant = self.vacant + usize::from(vacant) - usize::from(!vacant);
        }
    }

    /// Notes down for the application what became of a user.
    pub(crate) fn note_user(&mut self, change: impl FnOnce(&Self) -> Change) {
        if self.config.notify_presence && self.changes.is_some() {
            let change = change(self);
            self.changes.get_or_insert_default().push(change);
        }
    }

    pub(crate) fn note_absent(&mut self, slot: u32, who: Who<'_>, departing: Option<Departing>) {
        if let Who::User(user) = who {
            self.note_user(|hub| Change::Absent {
                conn: departing.map(|departing| departing.conn),
                room: hub.rooms.get(slot).name.clone(),
                user: user.into(),
                ended: departing.is_some_and(|departing| departing.ended.is_some()),
            });
        }
    }
}

impl Room {
    /// Whether users are waited for.
    pub(crate) fn waits(&self) -> bool {
        self.presence().is_some_and(Presence::waits)
    }

    /// Whether it is there for users alone that are waited for.
    pub(crate) fn is_vacant(&self) -> bool {
        self.extra.as_ref().is_some_and(|extra| extra.vacant)
    }
}
