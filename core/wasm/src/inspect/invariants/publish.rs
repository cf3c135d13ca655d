//! Checks of a published message, from the connections that got it.

use std::collections::BTreeSet;

use roomcast_core::{ConnId, Hub};

use super::{
    keys::Keyed,
    room::Sent,
    turn::{Applied, Publish, Turn},
    violation::Violations,
    watch::Watch,
};

impl Watch {
    /// Checks that a message reached the members of its room and nobody else, once.
    pub(super) fn check_publish(
        &mut self,
        applied: &Applied<'_>,
        turn: &Turn<'_>,
        violations: &mut Violations,
    ) {
        let Some(publish) = &turn.publish else {
            return;
        };
        let excepted = self.excepted(applied.hub, turn, publish);
        // Without `echo`, the policy of the room decides.
        let may_hear_itself = matches!(publish, Publish::Client { echo: None, .. });
        for conn in turn.heard.intersection(&excepted) {
            if !may_hear_itself {
                let text = "it got a message that excepted it";
                violations.add("I15", (Some(*conn), ""), text);
            }
        }
        let is_own = matches!(publish, Publish::Client { .. });
        if is_own && turn.is_refused && !turn.is_waiting && !turn.heard.is_empty() {
            let text = "its message was refused, and others got it";
            violations.add("I19", (turn.conn, ""), text);
        }
        if let Some(key) = &turn.key {
            let message = Keyed {
                at: applied.at,
                limits: applied.hub.limits(),
                remembered: applied.hub.client_keys(),
                is_delivered: !(turn.heard.is_empty() || turn.is_waiting),
            };
            if !self.keys.take(key, message) {
                let text = format!("the message with the key `{}` is delivered twice", key.1);
                violations.add("I34", (turn.conn, ""), text);
            }
        }
        if let Some(room) = turn.room() {
            self.check_members(turn, (room, &excepted), violations);
            self.check_offset(applied.hub, turn, (room, excepted), violations);
        }
    }

    /// Connections that are excluded from a message.
    fn excepted(&self, hub: &Hub, turn: &Turn<'_>, publish: &Publish<'_>) -> BTreeSet<ConnId> {
        match publish {
            Publish::Client { echo, .. } => {
                let own = turn.conn.filter(|_| *echo != Some(true));
                own.into_iter().collect()
            }
            Publish::Backend(audience) => {
                let rooms = audience.except_rooms.iter();
                let rooms = rooms.filter_map(|room| self.rooms.get(room));
                let members = rooms.flat_map(|room| &room.members);
                let users = audience.except_users.iter();
                let users = users.flat_map(|user| hub.connections_of(user));
                let conns = audience.except_conns.iter();
                conns.chain(members).chain(users).copied().collect()
            }
        }
    }

    fn check_members(
        &self,
        turn: &Turn<'_>,
        (room, excepted): (&str, &BTreeSet<ConnId>),
        violations: &mut Violations,
    ) {
        // The publisher was closed and got no answer.
        let is_gone = turn
            .conn
            .is_some_and(|conn| !self.clients.contains_key(&conn));
        let may_be_silent = turn.may_be_silent || is_gone;
        let is_due = !(turn.heard.is_empty() && may_be_silent);
        let members = self.rooms.get(room).map(|room| &room.members);
        for conn in members.into_iter().flatten().filter(|_| is_due) {
            if !turn.heard.contains(conn) && !excepted.contains(conn) {
                let text = "a member did not get the message";
                violations.add("I13", (Some(*conn), room), text);
            }
        }
        if let Some(reached) = turn.reached.filter(|_| !may_be_silent)
            && reached != turn.heard.len()
        {
            let text = format!("it reached {}, not {reached}", turn.heard.len());
            violations.add("I13", (turn.conn, room), text);
        }
    }

    fn check_offset(
        &mut self,
        hub: &Hub,
        turn: &Turn<'_>,
        (room, excepted): (&str, BTreeSet<ConnId>),
        violations: &mut Violations,
    ) {
        let position = hub.position(room);
        if let Some(offset) = turn.offset.filter(|offset| *offset != position.offset) {
            let text = format!(
                "offset {offset} is sent, and the room is at {}",
                position.offset
            );
            violations.add("I28", (turn.conn, room), text);
        }
        let (is_for_all, excepted) = match &turn.publish {
            Some(Publish::Backend(audience)) => {
                let is_for_all = audience.except_conns.is_empty()
                    && audience.except_rooms.is_empty()
                    && audience.except_users.is_empty();
                (is_for_all, excepted)
            }
            // Without `echo`, the policy may let a client get its own message.
            Some(Publish::Client { echo: None, .. }) | None => (true, BTreeSet::new()),
            Some(Publish::Client { .. }) => (true, excepted),
        };
        let sent = Sent {
            from: turn.conn,
            is_for_all,
            excepted: excepted.into_iter().collect(),
        };
        let known = self.rooms.entry(room.into()).or_default();
        known.moved(position, room, sent, violations);
    }
}
