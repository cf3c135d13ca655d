//! Presence of the model: notices, and lists of members.

use std::collections::BTreeSet;

use roomcast_core::policy::PresencePolicy;

use super::{Model, decode, frames::Rejection, state::Conn};
use crate::op::json_string;

impl Model {
    /// Notifies the members of a room that a user joined or left.
    pub(super) fn announce(
        &mut self,
        conn: &Conn,
        room: &str,
        before: usize,
        event: &str,
        meta: Option<&str>,
    ) {
        let who = conn.shown_as();
        let (namespace, joined) = (&conn.namespace, event == "$joined");
        self.tell(namespace, room, before, (event, &who), meta, |other| {
            !(joined && other.actor == conn.actor)
        });
    }

    pub(super) fn tell(
        &mut self,
        namespace: &str,
        room: &str,
        before: usize,
        (event, who): (&str, &str),
        meta: Option<&str>,
        meant: impl Fn(&Conn) -> bool,
    ) {
        let (after, list_max) = (self.users(namespace, room).len(), self.limits.presence_list);
        let policy = self.policy(room).map(|policy| policy.presence);
        if policy != Some(PresencePolicy::Members) || before.min(after) > list_max {
            return;
        }
        let room_json = json_string(room);
        let text = if before.max(after) <= list_max {
            let meta = meta.map_or(String::new(), |meta| format!(r#","meta":{meta}"#));
            format!(r#"{{"event":"{event}","room":{room_json},"data":{{{who}{meta}}}}}"#)
        } else {
            let (conns, listed) = (self.members(namespace, room).count(), after <= list_max);
            format!(
                r#"{{"event":"$members","room":{room_json},"data":{{"users":{after},"conns":{conns},"listed":{listed}}}}}"#
            )
        };
        self.broadcast(namespace, &text, |other| {
            other.rooms.contains(room) && meant(other)
        });
    }

    pub(super) fn members(&self, namespace: &str, room: &str) -> impl Iterator<Item = &Conn> {
        let conns = self.conns.iter();
        conns.filter(move |conn| *conn.namespace == *namespace && conn.rooms.contains(room))
    }

    /// Returns the users whom presence shows in a room, in the order of a list: users by name, then
    /// guests by age.
    pub(super) fn users(&self, namespace: &str, room: &str) -> Vec<String> {
        let conns = self.members(namespace, room);
        let users = conns.filter_map(|conn| conn.user.as_deref());
        let waiting = self.absences.iter();
        let waiting =
            waiting.filter(|waiting| *waiting.namespace == *namespace && waiting.room == room);
        let users: BTreeSet<_> = users.chain(waiting.map(|waiting| &*waiting.user)).collect();
        let users = users.into_iter().map(|user| format!("u{user}"));
        let guests = self
            .members(namespace, room)
            .filter(|conn| conn.user.is_none());
        let guests = guests.map(|conn| format!("c<{}>", conn.actor));
        users.chain(guests).collect()
    }

    /// The number of users that presence counted before this connection left.
    pub(super) fn users_before(&self, conn: &Conn, room: &str) -> usize {
        let me = match &conn.user {
            Some(user) => format!("u{user}"),
            None => format!("c<{}>", conn.actor),
        };
        let users = self.users(&conn.namespace, room);
        users.len() + usize::from(!users.contains(&me))
    }

    /// Returns the presence meta that the user of a connection has in a room by other connections,
    /// or while awaited; `None` when the user is not present.
    pub(super) fn shown(&self, conn: &Conn, room: &str) -> Option<Option<String>> {
        let user = conn.user.as_ref()?;
        let mut others = self.members(&conn.namespace, room);
        if let Some(other) = others.find(|other| other.user.as_ref() == Some(user)) {
            return Some(other.metas.get(room).cloned());
        }
        let mut waiting = self.absences.iter();
        let waiting = waiting.find(|waiting| waiting.is(&conn.namespace, room, user));
        waiting.map(|waiting| waiting.meta.clone())
    }

    pub(super) fn verb_members(
        &self,
        conn: &Conn,
        room: &str,
        data: &str,
    ) -> Result<String, Rejection> {
        let (after, limit) = decode::members(data).map_err(|()| "bad_payload")?;
        let after = after.map(|cursor| match cursor.strip_prefix('u') {
            Some(user) => Ok((0, user.to_owned(), 0)),
            // The largest id, after all guests: no story names a real guest.
            None if cursor == "c9007199254740991" => Ok((1, String::new(), usize::MAX)),
            None => Err("bad_payload"),
        });
        let after = after.transpose()?;
        if !conn.rooms.contains(room) {
            return Err("forbidden".into());
        }
        let shows = self.policy(room).map(|policy| policy.presence);
        if !matches!(
            shows,
            Some(PresencePolicy::Counts | PresencePolicy::Members)
        ) {
            return Err("forbidden".into());
        }
        let (users, conns) = (
            self.users(&conn.namespace, room),
            self.members(&conn.namespace, room).count(),
        );
        let counts = format!(r#""users":{},"conns":{conns}"#, users.len());
        if shows == Some(PresencePolicy::Counts) || users.len() > self.limits.presence_list {
            return Ok(format!(r#"{{"members":[],{counts},"listed":false}}"#));
        }
        let place = |at: usize, cursor: &str| match cursor.strip_prefix('u') {
            Some(user) => (0, user.to_owned(), 0),
            None => (1, String::new(), at),
        };
        let rest = users.iter().enumerate();
        let rest = rest.filter(|(at, cursor)| {
            after
                .as_ref()
                .is_none_or(|after| place(*at, cursor) > *after)
        });
        let rest: Vec<_> = rest.map(|(_, cursor)| cursor).collect();
        let page = &rest[..rest.len().min(limit.min(self.limits.page_entries))];
        let lines = page.iter().map(|cursor| self.line(conn, room, cursor));
        let lines = lines.collect::<Vec<_>>().join(",");
        let next = page.last().filter(|_| page.len() < rest.len());
        let next = next.map_or(String::new(), |next| format!(r#","next":"{next}""#));
        Ok(format!(r#"{{"members":[{lines}],{counts}{next}}}"#))
    }

    fn line(&self, conn: &Conn, room: &str, cursor: &str) -> String {
        let namespace = &conn.namespace;
        let of = |other: &&Conn| match cursor.strip_prefix('u') {
            Some(user) => other.user.as_deref() == Some(user),
            None => cursor == format!("c<{}>", other.actor),
        };
        let conns: Vec<_> = self.members(namespace, room).filter(of).collect();
        let waiting = self.absences.iter();
        let mut waiting = waiting.filter(|waiting| {
            cursor.strip_prefix('u') == Some(&*waiting.user)
                && waiting.namespace == *namespace
                && waiting.room == room
        });
        let meta = match conns.first() {
            Some(first) => first.metas.get(room).cloned(),
            None => waiting.next().and_then(|waiting| waiting.meta.clone()),
        };
        let meta = meta.map_or(String::new(), |meta| format!(r#","meta":{meta}"#));
        let who = match cursor.strip_prefix('u') {
            Some(user) => format!(r#""user":{}"#, json_string(user)),
            None => format!(r#""user":"","conn":"{}""#, &cursor[1..]),
        };
        format!(r#"{{{who},"conns":{}{meta}}}"#, conns.len())
    }
}
