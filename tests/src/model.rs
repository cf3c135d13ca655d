//! The reference model, written as plainly as possible.

use std::collections::{BTreeMap, BTreeSet};

use roomcast_core::{CloseCode, Event, Limits, Policies};

use crate::{Actor, Answer, Expect, Op, To, op::json_string};

mod answers;
mod decode;
mod frames;
mod history;
mod membership;
mod presence;
mod state;

use self::state::{Absence, Conn, History, Published, Sent, millis};

/// The reference model of Roomcast.
///
/// It has no index, no slot and no outbox; a broadcast walks over all connections and checks each.
/// Being obviously right is its only virtue. It predicts for every [`Op`] the frames that each
/// actor gets, in order, and the answer to the server side.
///
/// Rate limits are not part of it: they must be off.
#[derive(Debug, Clone)]
pub struct Model {
    limits: Limits,
    policies: Policies,
    now: u64,
    /// The number of connections that each actor has had.
    counts: BTreeMap<Actor, u32>,
    /// The namespace of each actor's last connection.
    homes: BTreeMap<Actor, Box<str>>,
    histories: Vec<History>,
    /// The number of histories that each room has had.
    opened: BTreeMap<(Box<str>, String), u32>,
    absences: Vec<Absence>,
    /// Connections in the order of connecting, which is the order of their ids.
    conns: Vec<Conn>,
    sent: Vec<Sent>,
    /// Publishes with a key, in order.
    published: Vec<Published>,
    events: Vec<(Actor, Expect)>,
}

/// The results that an op must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prediction {
    /// The answer to the server side; a pattern.
    pub answer: Answer,
    /// Expected events of each actor, in order for each.
    pub events: Vec<(Actor, Expect)>,
}

impl Model {
    /// A model without connections.
    ///
    /// # Panics
    ///
    /// When the limits include rate limits.
    pub fn new(limits: &Limits) -> Self {
        let rates = (limits.inbound_messages, limits.inbound_bytes);
        assert_eq!(rates, (None, None), "the model has no notion of rates");
        Self {
            limits: limits.clone(),
            policies: Policies::default(),
            now: 0,
            counts: BTreeMap::new(),
            homes: BTreeMap::new(),
            histories: Vec::new(),
            opened: BTreeMap::new(),
            absences: Vec::new(),
            conns: Vec::new(),
            sent: Vec::new(),
            published: Vec::new(),
            events: Vec::new(),
        }
    }

    /// The same with these room policies. The model does not count bytes of histories and pages:
    /// their limits must be large.
    #[must_use]
    pub fn with_policies(mut self, policies: &Policies) -> Self {
        self.policies = policies.clone();
        self
    }

    /// Predicts the results of the op.
    pub fn perform(&mut self, op: &Op) -> Prediction {
        let answer = self.answer(op);
        let events = std::mem::take(&mut self.events);
        Prediction { answer, events }
    }

    /// The namespace of a connected actor; `None` when it is not connected.
    pub fn namespace_of(&self, actor: &Actor) -> Option<&str> {
        self.find(actor).map(|conn| &*conn.namespace)
    }

    /// True when an actor is connected.
    pub fn is_connected(&self, actor: &Actor) -> bool {
        self.find(actor).is_some()
    }

    /// True when an actor is connected, and in this room.
    pub fn is_in(&self, actor: &Actor, room: &str) -> bool {
        self.find(actor)
            .is_some_and(|conn| conn.rooms.contains(room))
    }

    /// Returns the connected actors, with the rooms of each.
    pub fn connections(&self) -> impl Iterator<Item = (&Actor, &BTreeSet<String>)> {
        self.conns.iter().map(|conn| (&conn.actor, &conn.rooms))
    }

    fn find(&self, actor: &Actor) -> Option<&Conn> {
        self.conns.iter().find(|conn| conn.actor == *actor)
    }

    fn find_mut(&mut self, actor: &Actor) -> Option<&mut Conn> {
        self.conns.iter_mut().find(|conn| conn.actor == *actor)
    }

    fn answer(&mut self, op: &Op) -> Answer {
        match op {
            Op::Connect {
                actor,
                user,
                welcome,
                ..
            } => return self.connect(actor, op.namespace(), user.as_deref(), *welcome),
            Op::Join { actor, .. }
            | Op::Leave { actor, .. }
            | Op::Rooms { actor }
            | Op::Publish { actor, .. } => self.receive(actor, &op.text().unwrap_or_default()),
            Op::Text { actor, text, times } => {
                (0..*times).for_each(|_| self.receive(actor, text));
            }
            Op::Binary { actor, bytes } => {
                let too_big = bytes.len() > self.limits.message_bytes;
                let (big, binary) = (CloseCode::TOO_BIG, CloseCode::UNSUPPORTED);
                self.close(actor, if too_big { big } else { binary }, None);
            }
            Op::Pong { actor } => self.hear(actor),
            Op::Disconnect { actor } | Op::Vanish { actor } => {
                self.end(actor, true);
            }
            Op::Send {
                key,
                to,
                event,
                path,
                data,
                ..
            } => {
                let namespace = op.namespace();
                let event = Event::new(event).with_path(path.as_deref());
                return self.send_once(namespace, key.as_deref(), to, event, data);
            }
            Op::ServerJoin { actor, room } => return self.server_join(actor, room),
            Op::ServerLeave { actor, room } => {
                if !self.is_connected(actor) {
                    return Answer::refused(404);
                }
                return frames::left(self.leave(actor, room));
            }
            Op::Close {
                actor,
                code,
                reason,
            } => {
                let Some(code) = CloseCode::new(*code) else {
                    return Answer::refused(400);
                };
                if !self.is_connected(actor) {
                    return Answer::refused(404);
                }
                self.close(actor, code, Some(reason));
                return Answer::ok(r#"{"disconnected":1}"#);
            }
            Op::ListRooms { .. } => return self.list_rooms(op.namespace()),
            Op::ListConnections { .. } => return self.list_connections(op.namespace()),
            Op::Wait { millis } => self.wait(*millis),
            // Clients of the model read at once, it never crashes, and it has no tokens.
            Op::Authenticate { .. } | Op::Withdraw { .. } => {}
            Op::Stall { .. } | Op::Read { .. } | Op::Crash => {}
        }
        Answer::none()
    }

    fn connect(
        &mut self,
        actor: &Actor,
        namespace: &str,
        user: Option<&str>,
        welcome: bool,
    ) -> Answer {
        if self.is_connected(actor) {
            return Answer::none();
        }
        let neighbours = self
            .conns
            .iter()
            .filter(|conn| *conn.namespace == *namespace);
        if neighbours.count() >= self.limits.connections {
            return Answer::refused(503);
        }
        let number = self.counts.entry(actor.clone()).or_default();
        *number += 1;
        let number = &number.clone();
        self.homes.insert(actor.clone(), namespace.into());
        if welcome {
            let text = frames::welcome(actor, user, &self.limits, &self.policies);
            self.push(actor, text);
        }
        self.conns.push(Conn {
            actor: actor.clone(),
            namespace: namespace.into(),
            user: user.map(Into::into),
            rooms: BTreeSet::new(),
            order: Vec::new(),
            metas: BTreeMap::new(),
            number: *number,
            heard: self.now,
            pinged: None,
        });
        Answer::none()
    }

    fn push(&mut self, actor: &Actor, text: String) {
        self.events.push((actor.clone(), Expect::Text(text)));
    }

    fn close(&mut self, actor: &Actor, code: CloseCode, reason: Option<&str>) {
        if !self.is_connected(actor) {
            return;
        }
        self.end(actor, code.reconnect());
        if !code.framing_fault() {
            self.push(actor, frames::bye(code));
        }
        let closed = Expect::Closed {
            code: code.as_u16(),
            reason: reason.map(Into::into),
        };
        self.events.push((actor.clone(), closed));
    }

    /// Ends a connection in all its rooms. `waits` is true when its user may come back.
    fn end(&mut self, actor: &Actor, waits: bool) {
        let Some(conn) = self.find(actor).cloned() else {
            return;
        };
        // Removed from all rooms before anybody is notified of one.
        let at = self.conns.iter().position(|other| other.actor == *actor);
        at.map(|at| self.conns.remove(at));
        for room in &conn.order {
            self.exit(&conn, room, waits);
        }
    }

    fn leave(&mut self, actor: &Actor, room: &str) -> bool {
        let conn = self.find(actor).cloned();
        let Some(conn) = conn.filter(|conn| conn.rooms.contains(room)) else {
            return false;
        };
        self.exit(&conn, room, false);
        true
    }

    fn hear(&mut self, actor: &Actor) {
        let now = self.now;
        if let Some(conn) = self.find_mut(actor) {
            conn.heard = now;
            conn.pinged = None;
        }
    }

    /// Lets time pass, with every timed event at its time.
    fn wait(&mut self, millis: u64) {
        let target = self.now + millis;
        while let Some(next) = self.next_of_itself().filter(|next| *next <= target) {
            self.now = self.now.max(next);
            self.pass();
            self.tick_rooms();
        }
        self.now = target;
    }

    fn next_of_itself(&self) -> Option<u64> {
        let conns = self.conns.iter().filter_map(|conn| self.next_of(conn));
        conns.chain(self.next_in_rooms()).min()
    }

    /// The time at which a connection must be pinged or closed.
    fn next_of(&self, conn: &Conn) -> Option<u64> {
        let heartbeat = millis(self.limits.heartbeat?);
        Some(match conn.pinged {
            Some(pinged) => pinged + millis(self.limits.heartbeat_wait),
            None => conn.heard + heartbeat,
        })
    }

    /// Pings silent connections, and closes those that were silent after a ping.
    fn pass(&mut self) {
        let now = self.now;
        let due = |conn: &&Conn| self.next_of(conn).is_some_and(|next| next <= now);
        let due: Vec<_> = self.conns.iter().filter(due).cloned().collect();
        for conn in due {
            if conn.pinged.is_some() {
                self.close(&conn.actor, CloseCode::NO_HEARTBEAT, None);
            } else if let Some(silent) = self.find_mut(&conn.actor) {
                silent.pinged = Some(now);
                self.events.push((conn.actor, Expect::Ping));
            }
        }
    }

    fn room_fits(&self, room: &str) -> bool {
        (1..=self.limits.room_name_bytes).contains(&room.len())
            && !room.chars().any(char::is_control)
    }

    fn server_join(&mut self, actor: &Actor, room: &str) -> Answer {
        if !self.room_fits(room) {
            return Answer::refused(400);
        }
        let Some(conn) = self.find(actor).cloned() else {
            return Answer::refused(404);
        };
        match self.enter(actor, room, None) {
            Ok(already) => {
                let position = self.position(&conn.namespace, room);
                Answer::ok(format!(r#"{{{position},"already":{already}}}"#))
            }
            Err(_) => Answer::refused(409),
        }
    }

    /// Sends the text to all connections of a namespace that are `meant`, and returns their number.
    fn broadcast(&mut self, namespace: &str, text: &str, meant: impl Fn(&Conn) -> bool) -> usize {
        let before = self.events.len();
        for conn in &self.conns {
            if *conn.namespace == *namespace && meant(conn) {
                self.events
                    .push((conn.actor.clone(), Expect::Text(text.into())));
            }
        }
        self.events.len() - before
    }

    fn send_once(
        &mut self,
        namespace: &str,
        key: Option<&str>,
        to: &To,
        event: Event<'_>,
        data: &str,
    ) -> Answer {
        let Some(key) = key else {
            return self.send(namespace, to, event, data);
        };
        let path = event.path().map(Into::into);
        let message = (to.clone(), event.name().into(), path, data.into());
        let now = self.now;
        self.sent.retain(|sent| sent.expires > now);
        let mut sent = self.sent.iter();
        if let Some(sent) = sent.find(|sent| *sent.namespace == *namespace && *sent.key == *key) {
            return if sent.message == message {
                sent.answer.clone()
            } else {
                Answer::refused(422)
            };
        }
        let answer = self.send(namespace, to, event, data);
        if answer.status == 200 {
            let lifetime = millis(self.limits.idempotency);
            self.sent.push(Sent {
                namespace: namespace.into(),
                key: key.into(),
                message,
                expires: now + lifetime,
                answer: answer.clone(),
            });
        }
        answer
    }

    fn send(&mut self, namespace: &str, to: &To, event: Event<'_>, data: &str) -> Answer {
        let (event, path) = (event.name(), event.path());
        let rooms = to.rooms.iter().chain(&to.except_rooms);
        if event.is_empty() || event.len() > 128 || event.starts_with('$') {
            return Answer::refused(400);
        }
        if path.is_some_and(|path| path.is_empty() || path.len() > 200) {
            return Answer::refused(400);
        }
        if !rooms.into_iter().all(|room| self.room_fits(room)) {
            return Answer::refused(400);
        }
        let others = to.all || !to.conns.is_empty() || !to.users.is_empty();
        let room = to.rooms.first().filter(|_| !others).map(|room| &**room);
        let room = room.filter(|room| to.rooms.iter().all(|other| **other == **room));
        let offset = room.and_then(|room| self.offset(namespace, room));
        let offset = offset.map_or(String::new(), |offset| format!(r#","offset":{offset}"#));
        let head = room.map_or(String::new(), |room| {
            format!(r#","room":{}"#, json_string(room))
        });
        let path = path.map_or(String::new(), |path| {
            format!(r#","path":{}"#, json_string(path))
        });
        let event = json_string(event);
        let text = format!(r#"{{"event":{event}{head}{path}{offset},"data":{data}}}"#);
        let named = |conn: &Conn, rooms: &[Box<str>], conns: &[Actor], users: &[Box<str>]| {
            rooms.iter().any(|room| conn.rooms.contains(&**room))
                || conns.contains(&conn.actor)
                || conn.user.as_ref().is_some_and(|user| users.contains(user))
        };
        let meant = |conn: &Conn| {
            (to.all || named(conn, &to.rooms, &to.conns, &to.users))
                && !named(conn, &to.except_rooms, &to.except_conns, &to.except_users)
        };
        let count = self.broadcast(namespace, &text, meant);
        if let Some(room) = room {
            let without = self.left_out(namespace, room, to, meant);
            self.record(namespace, room, &text, without, &to.except_users);
        }
        Answer::ok(format!(
            r#"{{"matched":{count},"queued":{count},"dropped":0{offset}}}"#
        ))
    }
}
