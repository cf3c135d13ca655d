//! Events for backends, as commands to the host: only those that are subscribed.

use alloc::string::String;

use super::{Hub, change::Leaving};
use crate::policy::{EventKind, Subscriptions};
use crate::room::presence::Who;
use crate::wire::{
    ConnId, DisconnectReason, Event, Payload, write_number, write_room_message, write_string,
};
use crate::{outbox::Outbox, wire::CloseCode};

impl Hub {
    /// Replaces the [subscriptions](crate::Config::subscriptions), and sets whether a backend is
    /// [asked for joins](crate::Config::asks_join). Backends are not told of existing members and
    /// connections; they are told of their end.
    pub fn set_backends(&mut self, subscriptions: Subscriptions, asks_join: bool) {
        (self.config.subscriptions, self.config.asks_join) = (subscriptions, asks_join);
    }

    /// True when some event is subscribed to.
    #[inline]
    pub(crate) const fn tells(&self) -> bool {
        !self.config.subscriptions.is_empty()
    }

    /// True when somebody may want to know that a room is occupied, or vacated: the relay always.
    #[inline]
    pub(super) const fn tells_rooms(&self) -> bool {
        self.tells() || self.is_clustered()
    }

    /// True when a room has neither members nor absent users who may return, and that matters to a
    /// backend or a relay: its next member occupies it.
    #[inline]
    pub(super) fn is_to_occupy(&self, slot: u32) -> bool {
        self.tells_rooms() && !self.rooms.get(slot).is_occupied()
    }

    #[cold]
    #[inline(never)]
    pub(super) fn tell_room(&mut self, kind: EventKind, slot: u32, out: &mut Outbox) {
        if self.is_clustered() {
            // The relay decides whether it is the first node, or the last.
            return self.enter_room(slot, kind == EventKind::RoomOccupied, out);
        }
        self.tell_of_room(kind, &self.rooms.get(slot).name, out);
    }

    pub(super) fn tell_of_room(&self, kind: EventKind, room: &str, out: &mut Outbox) {
        self.tell(kind, Some(room), None, out, |_| {});
    }

    /// Tells backends that a room with extras is vacated, if it is.
    #[cold]
    #[inline(never)]
    pub(super) fn tell_if_vacated(&mut self, slot: u32, out: &mut Outbox) {
        if self.is_to_occupy(slot) {
            self.tell_room(EventKind::RoomVacated, slot, out);
        }
    }

    /// Tells backends of rooms without extras that are vacated, as this connection is their last
    /// member.
    #[cold]
    #[inline(never)]
    pub(super) fn tell_vacating(&mut self, conn: ConnId, slots: &[u32], out: &mut Outbox) {
        for &slot in slots {
            let room = self.rooms.get(slot);
            if room.extra.is_none() && room.members.as_slice() == [conn] {
                self.tell_room(EventKind::RoomVacated, slot, out);
            }
        }
    }

    /// Records that a user is in a room, and tells backends.
    pub(super) fn note_present(&mut self, slot: u32, conn: ConnId, out: &mut Outbox) {
        let user = self.conns.get(conn).and_then(|conn| conn.user.clone());
        if self.is_clustered() {
            return self.enter_user(slot, Who::new(conn, user.as_deref()), out);
        }
        let room = &self.rooms.get(slot).name;
        if self.tells()
            && let Some(user) = &user
        {
            self.tell_user(EventKind::UserJoined, room, user, out);
        }
        self.changes.push_present(room, conn, user);
    }

    /// Records that a user has left a room, and tells backends.
    pub(super) fn note_absent(
        &mut self,
        slot: u32,
        who: Who<'_>,
        leaving: Option<Leaving>,
        out: &mut Outbox,
    ) {
        if self.is_clustered() {
            return self.enter_user(slot, who, out);
        }
        let room = &self.rooms.get(slot).name;
        if self.tells()
            && let Who::User(user) = who
        {
            self.tell_user(EventKind::UserLeft, room, user, out);
        }
        self.changes.push_absent(room, who, leaving);
    }

    #[cold]
    #[inline(never)]
    pub(super) fn tell_user(&self, kind: EventKind, room: &str, user: &str, out: &mut Outbox) {
        self.tell(kind, Some(room), None, out, |text| {
            write_user(text, Some(user));
        });
    }

    /// Tells backends that a connection opened.
    #[cold]
    #[inline(never)]
    pub(crate) fn tell_opened(&self, id: ConnId, out: &mut Outbox) {
        let Some(conn) = self.conns.get(id) else {
            return;
        };
        let kind = EventKind::ConnectionOpened;
        self.tell(kind, None, Some(id), out, |text| {
            write_conn(text, id);
            write_user(text, conn.user.as_deref());
        });
    }

    /// Tells backends that a connection ended.
    #[cold]
    #[inline(never)]
    pub(super) fn tell_closed(
        &self,
        id: ConnId,
        user: Option<&str>,
        reason: DisconnectReason,
        out: &mut Outbox,
    ) {
        let (by, code): (_, Option<CloseCode>) = match reason {
            DisconnectReason::Client(code) => ("client", code),
            DisconnectReason::Lost => ("lost", None),
            DisconnectReason::Violation(code) => ("fault", Some(code)),
            DisconnectReason::Closed(code) => ("server", Some(code)),
        };
        let kind = EventKind::ConnectionClosed;
        self.tell(kind, None, Some(id), out, |text| {
            write_conn(text, id);
            write_user(text, user);
            text.push_str(r#","by":""#);
            text.push_str(by);
            text.push('"');
            if let Some(code) = code {
                write_number(text, r#","code":"#, code.as_u16());
            }
        });
    }

    /// Tells backends of a message to a room, with the frame that members get.
    #[cold]
    #[inline(never)]
    pub(super) fn tell_message(
        &self,
        room: &str,
        from: Option<(ConnId, Option<&str>)>,
        offset: Option<u64>,
        content: (Event<'_>, Payload<'_>),
        out: &mut Outbox,
    ) {
        let kind = EventKind::MessagePublished;
        self.tell(kind, Some(room), None, out, |text| {
            text.push_str(r#","message":"#);
            write_room_message(text, room, content, from, offset);
        });
    }

    fn tell(
        &self,
        kind: EventKind,
        room: Option<&str>,
        conn: Option<ConnId>,
        out: &mut Outbox,
        write: impl FnOnce(&mut String),
    ) {
        if !self.config.subscriptions.wants(kind, room) {
            return;
        }
        out.tell(kind, room, conn, |text| {
            text.push_str(r#"{"type":""#);
            text.push_str(kind.as_str());
            text.push('"');
            if let Some(room) = room {
                text.push_str(r#","room":"#);
                write_string(text, room);
            }
            write(text);
            text.push('}');
        });
    }
}

fn write_conn(text: &mut String, conn: ConnId) {
    write_number(text, r#","conn":""#, conn.as_u64());
    text.push('"');
}

fn write_user(text: &mut String, user: Option<&str>) {
    if let Some(user) = user {
        text.push_str(r#","user":"#);
        write_string(text, user);
    }
}
