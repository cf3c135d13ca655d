//! An observer of a namespace: it trusts answers, and checks that all other frames fit them.

use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};

use roomcast_core::{ConnId, Input};

use super::{
    client::{Client, Member},
    envelope::{Request, Since, id},
    keys::{KeyOwner, Keys},
    room::Room,
    turn::{Applied, Turn, conn_of},
    violation::Violations,
};
use crate::inspect::output::Output;

/// Clients and rooms of a namespace, as known from frames alone. It begins without connections.
#[derive(Debug, Default)]
pub(super) struct Watch {
    pub(super) clients: BTreeMap<ConnId, Client>,
    pub(super) rooms: BTreeMap<Box<str>, Room>,
    pub(super) keys: Keys,
    ended: BTreeSet<ConnId>,
}

impl Watch {
    /// Checks an input and the commands that follow from it.
    pub(super) fn step(
        &mut self,
        applied: &Applied<'_>,
        outputs: &[Output<'_>],
        violations: &mut Violations,
    ) {
        check_silence(applied, outputs, violations);
        let rooms = self.rooms_that_end(applied);
        let mut turn = self.begin(applied);
        for output in outputs {
            self.output(&mut turn, output, violations);
        }
        self.end(applied, &turn, violations);
        for (conn, room) in rooms {
            if applied.hub.members(&room).binary_search(&conn).is_ok() {
                let text = "it has ended, and is still a member";
                violations.add("I6", (Some(conn), &*room), text);
            }
        }
    }

    /// The rooms of a connection that ends with this input.
    fn rooms_that_end(&self, applied: &Applied<'_>) -> Vec<(ConnId, Box<str>)> {
        let (Input::Disconnect { .. } | Input::Close { .. }, Some(conn)) =
            (applied.input, applied.conn)
        else {
            return Vec::new();
        };
        let rooms = self.clients.get(&conn).map(|client| client.rooms.keys());
        let rooms = rooms.into_iter().flatten();
        rooms.map(|room| (conn, room.clone())).collect()
    }

    /// Records a request, and the changes of an input that precede its frames.
    #[allow(clippy::wildcard_enum_match_arm)] // the others say nothing before their frames
    fn begin<'a>(&mut self, applied: &Applied<'a>) -> Turn<'a> {
        match (applied.input, applied.conn) {
            (Input::Text { text, .. }, Some(conn)) => self.request(applied, conn, text),
            (Input::Authenticate { text, .. }, Some(conn)) => {
                self.forget_present();
                self.request(applied, conn, text)
            }
            (Input::Send { .. }, _) => Turn::send(applied),
            (Input::SendText { .. } | Input::SendBinary { .. }, _) => Turn {
                is_raw: true,
                ..Turn::default()
            },
            (Input::Disconnect { .. } | Input::Close { .. }, Some(conn)) => {
                // Others are notified; the connection itself gets no frame about its rooms.
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
            (Input::TrimClientKeys { .. }, _) => {
                self.keys.forget();
                Turn::default()
            }
            _ => Turn::default(),
        }
    }

    fn request<'a>(&mut self, applied: &Applied<'a>, conn: ConnId, text: &'a str) -> Turn<'a> {
        let request: Option<Request<'a>> = serde_json::from_str(text).ok();
        let Some(client) = self.client(conn) else {
            return Turn::default();
        };
        let mut turn = Turn::request(conn, request.as_ref(), client.is_waiting());
        if let Some(request) = request {
            if let Some(key) = request.key {
                let user = applied.hub.connection(conn).and_then(|info| info.user);
                let owner = match user {
                    Some(user) => KeyOwner::User(user.into()),
                    None => KeyOwner::Conn(conn.to_string()),
                };
                turn.key = Some((owner, key.into_owned()));
            }
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
        self.check_publish(applied, turn, violations);
        let is_verb = turn.publish.is_none();
        if let Some(conn) = applied.conn.filter(|_| is_verb) {
            self.check_rooms(conn, applied.hub.rooms_of(conn), violations);
        }
    }

    /// Checks that a connection is in exactly the rooms that its frames say.
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

    /// A client that is not known to have ended.
    pub(super) fn client(&mut self, conn: ConnId) -> Option<&mut Client> {
        match self.clients.entry(conn) {
            Entry::Occupied(client) => Some(client.into_mut()),
            Entry::Vacant(_) if self.ended.contains(&conn) => None,
            Entry::Vacant(place) => Some(place.insert(Client::default())),
        }
    }

    /// Begins a membership; an existing one of the same client continues.
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

    /// Ends a connection; false when it had ended already.
    pub(super) fn forget(&mut self, conn: ConnId) -> bool {
        self.leave_all(conn);
        self.clients.remove(&conn);
        self.ended.insert(conn)
    }

    fn forget_present(&mut self) {
        self.rooms.values_mut().for_each(Room::forget_present);
    }
}

/// Checks that an input without an effect has no frames.
fn check_silence(applied: &Applied<'_>, outputs: &[Output<'_>], violations: &mut Violations) {
    if outputs.is_empty() {
        return;
    }
    let is_about = conn_of(applied.input);
    if is_about.is_some() && applied.conn.is_none() {
        let text = "frames follow from an input about a connection that has ended";
        violations.add("I7", (is_about, ""), text);
    }
    if matches!(applied.input, Input::Timeout) && !applied.is_due {
        violations.add("I43", (None, ""), "frames follow from a timeout too early");
    }
}
