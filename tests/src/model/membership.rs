//! Joins and leaves of the model's rooms.

use roomcast_core::policy::PresencePolicy;

use super::{
    Model, decode,
    frames::Rejection,
    state::{Absence, Conn, millis},
};
use crate::Actor;

impl Model {
    /// Handles `$join`: returns the `data` of the answer, and the messages to replay.
    pub(super) fn join(
        &mut self,
        conn: &Conn,
        room: &str,
        data: &str,
    ) -> Result<(String, Vec<String>), Rejection> {
        let data =
            decode::join(data, |label| self.connection(label)).map_err(|()| "bad_payload")?;
        let already = self.enter(&conn.actor, room, data.meta.as_deref())?;
        let missed = data.since.as_ref();
        let missed = missed.map(|since| self.missed(conn, room, since));
        let position = self.position(&conn.namespace, room);
        let recovered = match &missed {
            None => String::new(),
            Some(None) => r#","recovered":false"#.into(),
            Some(Some(missed)) => format!(r#","recovered":true,"missed":{}"#, missed.len()),
        };
        let answer = format!(r#"{{{position},"already":{already}{recovered}}}"#);
        Ok((answer, missed.flatten().unwrap_or_default()))
    }

    /// Adds an actor to a room; true when it was a member already.
    pub(super) fn enter(
        &mut self,
        actor: &Actor,
        room: &str,
        meta: Option<&str>,
    ) -> Result<bool, Rejection> {
        let limits = (self.limits.rooms_per_connection, self.limits.meta_bytes);
        let Some(conn) = self.find(actor).cloned() else {
            return Err("unknown".into());
        };
        let policy = self.policy(room);
        let shows = policy
            .as_ref()
            .is_some_and(|policy| policy.presence == PresencePolicy::Members);
        let too_large = shows && meta.is_some_and(|meta| meta.len() > limits.1);
        if conn.rooms.contains(room) {
            return if too_large {
                Err(Rejection::limit("too_large", limits.1))
            } else {
                Ok(true)
            };
        }
        if conn.rooms.len() >= limits.0 {
            return Err(Rejection::limit("room_limit", limits.0));
        }
        let members = self.members(&conn.namespace, room).count();
        if let Some(policy) = &policy
            && let Some(limit) = policy.members
            && members >= limit
        {
            return Err(Rejection::limit("member_limit", limit));
        }
        if too_large {
            return Err(Rejection::limit("too_large", limits.1));
        }
        self.open(&conn.namespace, room);
        let (users, known) = (
            self.users(&conn.namespace, room).len(),
            self.shown(&conn, room),
        );
        let meta = if let Some(known) = &known {
            known.clone()
        } else {
            meta.filter(|_| shows).map(Into::into)
        };
        if let Some(user) = &conn.user {
            self.absences
                .retain(|waiting| !waiting.is(&conn.namespace, room, user));
        }
        if let Some(conn) = self.find_mut(actor) {
            conn.rooms.insert(room.into());
            conn.order.push(room.into());
            conn.metas
                .extend(meta.clone().map(|meta| (room.into(), meta)));
        }
        if known.is_none() {
            self.announce(&conn, room, users, "$joined", meta.as_deref());
        }
        Ok(false)
    }

    /// Removes an actor from a room. `waits` is true when its user may come back.
    pub(super) fn exit(&mut self, conn: &Conn, room: &str, waits: bool) {
        let (now, list_max) = (self.now, self.limits.presence_list);
        let (namespace, policy) = (conn.namespace.clone(), self.policy(room));
        let users = self.users_before(conn, room);
        if let Some(left) = self.find_mut(&conn.actor) {
            left.rooms.remove(room);
            left.order.retain(|other| other != room);
            left.metas.remove(room);
        }
        if self.members(&namespace, room).next().is_none()
            && let Some(history) = self.history(&namespace, room)
        {
            history.emptied = now;
        }
        if self.shown(conn, room).is_some() {
            return; // there are other connections of the user
        }
        let grace = policy.map_or(0, |policy| match policy.presence {
            PresencePolicy::Members => millis(policy.presence_grace),
            PresencePolicy::Off | PresencePolicy::Counts => 0,
        });
        match &conn.user {
            Some(user) if waits && grace > 0 && users <= list_max => {
                self.absences.push(Absence {
                    namespace,
                    room: room.into(),
                    user: user.clone(),
                    until: now + grace,
                    meta: conn.metas.get(room).cloned(),
                });
            }
            _ => self.announce(conn, room, users, "$left", None),
        }
    }
}
