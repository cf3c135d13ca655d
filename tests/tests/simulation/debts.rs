//! Frames that clients are owed for a request or a send.

use std::collections::BTreeSet;

use roomcast_core::policy::{Overflow, PresencePolicy};
use roomcast_tests::{Driver, Op, To};
use serde_json::Value;

use super::{
    due::{Answer, Due, Said},
    message::Message,
    truth::{Entry, LIST_MAX, Reader},
    world::World,
};

impl World {
    pub(crate) fn requested(&mut self, at: usize, conn: u64, frame: &Value) {
        let id = frame["id"].as_u64().expect("an id");
        let name = frame["room"].as_str().unwrap_or_default().to_owned();
        let answer = match frame["event"].as_str().unwrap_or_default() {
            "$join" if name.is_empty() => Answer::Rejected("bad_room"),
            "$join" => return self.joined(at, conn, id, &name, &frame["data"]["since"]),
            "$leave" => {
                let now = self.truth.now;
                let was = self.truth.room(&name).leave(now, conn, false);
                Answer::Data(format!(r#"{{"was":{was}}}"#))
            }
            "$members" => self.members(conn, &name),
            "$history" => self.page(at, conn, &name, &frame["data"]),
            event => {
                let echo = frame["echo"] == true;
                let said = frame["data"][0].as_u64().expect("a number");
                let mut message = Message::new(said, event);
                message.from = Some((conn, self.clients[at].user));
                if !echo {
                    message.except_conns.insert(conn);
                }
                let offset = self.offset(&name);
                let member = !echo;
                let reached = self.deliver(&[&name], &message, |id| member && id == conn);
                let offset =
                    offset.map_or(String::new(), |offset| format!(r#","offset":{offset}"#));
                Answer::Data(format!(r#"{{"reached":{reached}{offset}}}"#))
            }
        };
        self.owe(
            at,
            Due::Answer {
                id,
                room: name,
                answer,
            },
        );
    }

    fn owe(&mut self, at: usize, due: Due) {
        if let Some(link) = self.clients[at].live() {
            link.due.push_back(due);
        }
    }

    fn joined(&mut self, at: usize, conn: u64, id: u64, name: &str, since: &Value) {
        let (user, shown) = (self.clients[at].user, self.clients[at].name(conn));
        let already = self.truth.room(name).enter(conn, &shown);
        let hub = self.core.hub("default").expect("it is connected");
        let position = hub.position(name);
        let (epoch, top) = (position.epoch.into_owned(), position.offset);
        self.truth.i28_i32_position(name, &epoch, top);
        let now = self.truth.now;
        let reader = Reader::new(conn, &since["conn"], user);
        let room = self.truth.room(name);
        let offset = since["offset"].as_u64().unwrap_or_default();
        let missed = since["epoch"]
            .as_str()
            .map(|epoch| room.i30_i31_missed(now, epoch, offset, &reader));
        let recovered = match &missed {
            None => String::new(),
            Some(None) => r#","recovered":false"#.into(),
            Some(Some(missed)) => format!(r#","recovered":true,"missed":{}"#, missed.len()),
        };
        let data =
            format!(r#"{{"epoch":"{epoch}","offset":{top},"already":{already}{recovered}}}"#);
        let missed = missed.flatten();
        let answer = Answer::Joined {
            epoch,
            top,
            missed: missed.as_ref().map(|missed| (offset, missed.len())),
            data,
        };
        self.owe(
            at,
            Due::Answer {
                id,
                room: name.into(),
                answer,
            },
        );
        for entry in missed.into_iter().flatten() {
            let said = Said {
                said: entry.said,
                room: Some(name.into()),
                event: String::new(),
                offset: Some(entry.offset),
                frame: entry.frame,
                replayed: true,
                told: false,
                overflow: Overflow::Close,
            };
            self.owe(at, Due::Said(said));
        }
    }

    fn page(&mut self, at: usize, conn: u64, name: &str, data: &Value) -> Answer {
        let reader = Reader::new(conn, &data["conn"], self.clients[at].user);
        let number = |name: &str| data[name].as_u64();
        let limit = number("limit").map(|limit| usize::try_from(limit).expect("few"));
        if limit == Some(0) {
            return Answer::Rejected("bad_payload");
        }
        let now = self.truth.now;
        let room = self.truth.room(name);
        if !room.members.contains_key(&conn) || room.age().is_none() {
            return Answer::Rejected("forbidden");
        }
        let page = room.page(now, (number("after"), number("before")), limit, &reader);
        let epoch = room.epoch.as_deref().expect("somebody is in it");
        let (top, first, page) = (room.top, room.first(now), page.join(","));
        Answer::Data(format!(
            r#"{{"epoch":"{epoch}","offset":{top},"messages":[{page}],"first":{first}}}"#
        ))
    }

    fn members(&mut self, conn: u64, name: &str) -> Answer {
        let room = self.truth.room(name);
        if !room.members.contains_key(&conn) || room.presence() == PresencePolicy::Off {
            return Answer::Rejected("forbidden");
        }
        let (list, conns) = (room.users(), room.members.len() as u64);
        let users = list.len() as u64;
        let listed = room.presence() == PresencePolicy::Members && list.len() <= LIST_MAX;
        let list = listed.then_some(list);
        Answer::Members { list, users, conns }
    }

    /// The offset that the next message of a room gets, where there is a history.
    fn offset(&mut self, name: &str) -> Option<u64> {
        let room = self.truth.room(name);
        room.age().map(|_| room.top + 1)
    }

    /// Adds a message to the frames due of the members of some rooms, except these; stores it in
    /// the history of one. Returns the number of recipients.
    fn deliver(
        &mut self,
        names: &[&str],
        message: &Message<'_>,
        left_out: impl Fn(u64) -> bool,
    ) -> usize {
        let one = names.first().filter(|_| names.len() == 1);
        let offset = one.and_then(|name| self.offset(name));
        let policy = one.and_then(|name| self.truth.rooms[name].policy.as_ref());
        let overflow = policy.map_or(Overflow::Close, |policy| policy.overflow);
        let frame = message.frame(one.copied(), offset);
        let mut reached = 0;
        for at in 0..self.clients.len() {
            let Some(link) = self.clients[at].live() else {
                continue;
            };
            let (id, stalled) = (link.id, link.stalled);
            let is_in = |name: &&str| self.truth.rooms[*name].members.contains_key(&id);
            if left_out(id) || !names.iter().any(is_in) {
                continue;
            }
            reached += 1;
            let overflow = if stalled { overflow } else { Overflow::Close };
            let said = Said {
                said: message.said,
                room: one.map(|&name| name.into()),
                event: message.event.into(),
                offset,
                frame: frame.clone(),
                replayed: false,
                told: false,
                overflow,
            };
            self.owe(at, Due::Said(said));
        }
        if let (Some(name), Some(offset)) = (one, offset) {
            let hub = self.core.hub("default").expect("something happened");
            let position = hub.position(name);
            let (epoch, top) = (position.epoch.into_owned(), position.offset);
            let now = self.truth.now;
            self.truth.room(name).append(Entry {
                said: message.said,
                offset,
                at: now,
                frame,
                except_conns: message.except_conns.clone(),
                except_users: message.except_users.clone(),
                listed: message.listed,
            });
            self.truth.i28_i32_position(name, &epoch, top);
        }
        reached
    }

    /// The backend sent something.
    pub(crate) fn sent(&mut self, op: &Op, answer: &str) {
        let Op::Send {
            key,
            to,
            event,
            data,
            ..
        } = op
        else {
            return;
        };
        let now = self.truth.now;
        if let Some(key) = key
            && let Some((known, first, until)) = self.keys.get(key)
            && *until > now
        {
            assert_eq!(*known, op.to_string(), "a key is for one send");
            assert_eq!(first, answer, "I34: {op}");
            return;
        }
        let said: Value = serde_json::from_str(data).expect("JSON");
        let mut message = Message::new(said[0].as_u64().expect("a number"), event);
        let names: Vec<&str> = to.rooms.iter().map(|name| &**name).collect();
        let out = self.left_out(to);
        message.except_conns = self.never(to, &names, &out);
        message.except_users = to
            .except_users
            .iter()
            .map(|user| user.to_string())
            .collect();
        message.listed = !(to.except_rooms.is_empty()
            && to.except_conns.is_empty()
            && to.except_users.is_empty());
        let offset = (names.len() == 1).then(|| self.offset(names[0])).flatten();
        let reached = self.deliver(&names, &message, |id| out.contains(&id));
        let offset = offset.map_or(String::new(), |offset| format!(r#","offset":{offset}"#));
        let expected = format!(r#"{{"matched":{reached},"queued":{reached},"dropped":0{offset}}}"#);
        assert_eq!(answer, expected, "I14, I15, I28: {op}");
        if let Some(key) = key {
            let until = now + 300_000;
            self.keys
                .insert(key.clone(), (op.to_string(), answer.into(), until));
        }
    }

    /// The connections that never get a message of a room: members that are left out, and those who
    /// are named, in the room or not.
    fn never(&self, to: &To, names: &[&str], out: &BTreeSet<u64>) -> BTreeSet<u64> {
        let members = names
            .iter()
            .flat_map(|name| self.truth.rooms[*name].members.keys());
        let named = to.except_conns.iter().map(|actor| {
            let id = self.core.conn(actor).and_then(|id| id.parse().ok());
            // As of one that never connected.
            id.unwrap_or(u64::MAX)
        });
        let members = members.copied().filter(|id| out.contains(id));
        members.chain(named).collect()
    }

    /// The connections that an audience leaves out.
    fn left_out(&mut self, to: &To) -> BTreeSet<u64> {
        let mut out = BTreeSet::new();
        for at in 0..self.clients.len() {
            let (actor, user) = (self.clients[at].actor.clone(), self.clients[at].user);
            let Some(id) = self.clients[at].live().map(|link| link.id) else {
                continue;
            };
            let in_room = |name: &str| self.truth.rooms[name].members.contains_key(&id);
            let is_out = to.except_conns.contains(&actor)
                || user.is_some_and(|user| to.except_users.iter().any(|other| **other == *user))
                || to.except_rooms.iter().any(|name| in_room(name));
            if is_out {
                out.insert(id);
            }
        }
        out
    }
}
