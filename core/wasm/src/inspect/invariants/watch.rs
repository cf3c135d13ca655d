//! An onlooker of a namespace: it believes answers, and checks that all else fits them.

use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};

use roomcast_core::{ConnId, Input};

use super::{
    client::{Client, Member},
    envelope::{Request, Since, id},
    room::Room,
    turn::{Applied, Publish, Turn},
    violation::Violations,
};
use crate::inspect::output::Output;

/// Clients and rooms of a namespace, by the frames alone. It begins without connections.
#[derive(Debug, Default)]
pub(super) struct Watch {
    pub(super) clients: BTreeMap<ConnId, Client>,
    pub(super) rooms: BTreeMap<Box<str>, Room>,
    ended: BTreeSet<ConnId>,
}

impl Watch {
    /// Checks an input and the commands that it led to.
    pub(super) fn step(
        &mut self,
        applied: &Applied<'_>,
        outputs: &[Output<'_>],
        violations: &mut Violations,
    ) {
        let mut turn = self.begin(applied);
        for output in outputs {
            self.output(&mut turn, output, violations);
        }
        self.end(applied, &turn, violations);
    }

    /// Takes note of a request, and of what an input changes before its frames.
    #[allow(clippy::wildcard_enum_match_arm)] // the others say nothing before their frames
    fn begin<'a>(&mut self, applied: &Applied<'a>) -> Turn<'a> {
        match (applied.input, applied.conn) {
            (Input::Text { text, .. }, Some(conn)) => self.request(conn, text),
            (Input::Authenticate { text, .. }, Some(conn)) => {
                self.forget_present();
                self.request(conn, text)
            }
            (
                Input::Send {
                    audience,
                    event,
                    key,
                    path,
                    ..
                },
                _,
            ) => Turn::send(audience, event, key.is_some() || path.is_some()),
            (Input::SendText { .. } | Input::SendBinary { .. }, _) => Turn {
                is_raw: true,
                ..Turn::default()
            },
            (Input::Disconnect { .. } | Input::Close { .. }, Some(conn)) => {
                // Others are told of it, and it is told nothing of rooms.
                self.leave_all(conn);
                if matches!(applied.input, Input::Disconnect { .. }) {
                    self.forget(conn);
                }
                Turn::default()
            }
            (Input::Leave { room, .. }, Some(conn)) => {
                self.left(conn, room);
                Turn::default()
            }
            (Input::Withdraw { .. } | Input::SetPolicies { .. }, _) => {
                self.forget_present();
                Turn::default()
            }
            (Input::Complete { .. }, _) => {
                self.forget_present();
                self.rooms.values_mut().for_each(Room::forget_position);
                Turn::default()
            }
            _ => Turn::default(),
        }
    }

    fn request<'a>(&mut self, conn: ConnId, text: &str) -> Turn<'a> {
        let request: Option<Request<'_>> = serde_json::from_str(text).ok();
        let Some(client) = self.client(conn) else {
            return Turn::default();
        };
        let turn = Turn::request(conn, request.as_ref(), client.is_waiting());
        if let Some(request) = request {
            if let Some(raw) = request.id {
                client.ask(id(raw));
            }
            if let Some(room) = request.room.filter(|_| request.event == "$join") {
                client.ask_join(&room, request.data.and_then(Since::of));
            }
        }
        turn
    }

    fn end(&mut self, applied: &Applied<'_>, turn: &Turn<'_>, violations: &mut Violations) {
        if let (Input::Join { room, .. }, Some(conn)) = (applied.input, applied.conn)
            && applied.hub.members(room).binary_search(&conn).is_ok()
        {
            let last = applied.hub.position(room).offset;
            self.joined(conn, room, Member::new(violations.line(), last));
        }
        for (conn, room) in &turn.replays {
            let client = self.clients.get_mut(conn);
            if let Some(member) = client.and_then(|client| client.rooms.get_mut(&**room)) {
                member.end_replay((*conn, room), violations);
            }
        }
        self.check_fan_out(applied.hub, turn, violations);
        let is_verb = turn.publish.is_none();
        if let Some(conn) = applied.conn.filter(|_| is_verb) {
            self.check_rooms(conn, applied.hub.rooms_of(conn), violations);
        }
    }

    /// Checks that a connection is in the rooms that it was told to be in.
    pub(super) fn check_rooms(
        &self,
        conn: ConnId,
        rooms: Option<Vec<&str>>,
        violations: &mut Violations,
    ) {
        let client = self.clients.get(&conn);
        let told = client.into_iter().flat_map(|client| client.rooms.keys());
        let rooms = rooms.unwrap_or_default();
        if !told.clone().map(|room| &**room).eq(rooms.iter().copied()) {
            let told: Vec<_> = told.map(|room| &**room).collect();
            let text = format!("it is in {rooms:?}, and was told {told:?}");
            violations.add("I1", (Some(conn), ""), text);
        }
    }

    /// Checks that a message reached the members of its room and nobody else.
    fn check_fan_out(
        &mut self,
        hub: &roomcast_core::Hub,
        turn: &Turn<'_>,
        violations: &mut Violations,
    ) {
        let Some(publish) = &turn.publish else {
            return;
        };
        let is_excepted = |conn: &ConnId| match publish {
            Publish::Client { echo, .. } => *echo != Some(true) && turn.conn == Some(*conn),
            Publish::Backend(audience) => {
                audience.except_conns.contains(conn)
                    || audience.except_rooms.iter().any(|room| {
                        let room = self.rooms.get(room);
                        room.is_some_and(|room| room.members.contains(conn))
                    })
            }
        };
        // Without a word about it, the policy of the room decides.
        let may_hear_itself = matches!(publish, Publish::Client { echo: None, .. });
        for conn in turn.heard.iter().filter(|conn| is_excepted(conn)) {
            if !may_hear_itself {
                let text = "it got a message that excepted it";
                violations.add("I15", (Some(*conn), ""), text);
            }
        }
        // It was closed in place of an answer.
        let is_gone = turn
            .conn
            .is_some_and(|conn| !self.clients.contains_key(&conn));
        let may_be_silent = turn.may_be_silent || is_gone;
        let is_due = !(turn.heard.is_empty() && may_be_silent);
        let names_users = match publish {
            Publish::Client { .. } => false,
            Publish::Backend(audience) => !audience.except_users.is_empty(),
        };
        if let Some(room) = turn.room() {
            let members = self.rooms.get(room).map(|room| &room.members);
            if is_due && !names_users {
                for conn in members.into_iter().flatten() {
                    if !turn.heard.contains(conn) && !is_excepted(conn) {
                        let text = "a member did not get the message";
                        violations.add("I13", (Some(*conn), room), text);
                    }
                }
            }
            if let Some(reached) = turn.reached.filter(|_| !may_be_silent)
                && reached != turn.heard.len()
            {
                let text = format!("it reached {}, not {reached}", turn.heard.len());
                violations.add("I13", (turn.conn, room), text);
            }
            self.check_offset(hub, turn, (room, names_users), violations);
        }
    }

    fn check_offset(
        &mut self,
        hub: &roomcast_core::Hub,
        turn: &Turn<'_>,
        (room, names_users): (&str, bool),
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
        let is_for_all = match &turn.publish {
            Some(Publish::Backend(audience)) => {
                audience.except_conns.is_empty() && audience.except_rooms.is_empty() && !names_users
            }
            Some(Publish::Client { .. }) | None => true,
        };
        let known = self.rooms.entry(room.into()).or_default();
        known.moved(position, room, (turn.conn, is_for_all), violations);
    }

    /// A client that is alive, as far as known.
    pub(super) fn client(&mut self, conn: ConnId) -> Option<&mut Client> {
        match self.clients.entry(conn) {
            Entry::Occupied(client) => Some(client.into_mut()),
            Entry::Vacant(_) if self.ended.contains(&conn) => None,
            Entry::Vacant(place) => Some(place.insert(Client::default())),
        }
    }

    /// Begins a membership; another one of the same client goes on.
    pub(super) fn joined(&mut self, conn: ConnId, room: &str, member: Member) {
        if let Some(client) = self.client(conn) {
            client.rooms.entry(room.into()).or_insert(member);
            let known = self.rooms.entry(room.into()).or_default();
            known.members.insert(conn);
        }
    }

    /// Ends a membership.
    pub(super) fn left(&mut self, conn: ConnId, room: &str) {
        if let Some(client) = self.clients.get_mut(&conn) {
            client.rooms.remove(room);
        }
        if let Some(known) = self.rooms.get_mut(room) {
            known.members.remove(&conn);
        }
    }

    fn leave_all(&mut self, conn: ConnId) {
        let client = self.clients.get_mut(&conn);
        for room in client
            .map(|client| std::mem::take(&mut client.rooms))
            .into_iter()
            .flatten()
        {
            if let Some(known) = self.rooms.get_mut(&room.0) {
                known.members.remove(&conn);
            }
        }
    }

    /// Ends a connection; false when it has ended before.
    pub(super) fn forget(&mut self, conn: ConnId) -> bool {
        self.leave_all(conn);
        self.clients.remove(&conn);
        self.ended.insert(conn)
    }

    fn forget_present(&mut self) {
        self.rooms.values_mut().for_each(Room::forget_present);
    }
}
