//! A client as its library would be: it knows where it stands in each room, and who is there.

use std::collections::{BTreeMap, BTreeSet};

use roomcast_tests::{Actor, Event, Op};
use serde_json::Value;

use crate::log::Log;

pub(crate) struct Client {
    actor: Actor,
    user: Option<&'static str>,
    /// While it is connected.
    id: Option<String>,
    rooms: BTreeMap<String, Room>,
    /// What it said without wanting it back.
    silent: BTreeSet<u64>,
    /// Room and offset of what it said, from the answers.
    own: BTreeSet<(String, u64)>,
}

/// A room that it is in, or was in when it lost its connection.
#[derive(Default)]
struct Room {
    member: bool,
    position: Option<Position>,
    /// The position that it asked to go on from.
    since: Option<(String, u64)>,
    /// Who is there, by what it was told; `None` when it cannot know.
    list: Option<BTreeSet<String>>,
}

struct Position {
    epoch: String,
    /// The highest offset that it saw.
    offset: u64,
    /// The connection that it was then.
    id: String,
    /// Behind this offset it has everything.
    from: u64,
    got: BTreeMap<u64, u64>,
    /// The offset of the join's answer, and how many messages follow up to it.
    joined_at: u64,
    to_come: u64,
}

impl Client {
    pub(crate) fn new(name: &str, user: Option<&'static str>) -> Self {
        Self {
            actor: Actor::new(name),
            user,
            id: None,
            rooms: BTreeMap::new(),
            silent: BTreeSet::new(),
            own: BTreeSet::new(),
        }
    }

    pub(crate) const fn actor(&self) -> &Actor {
        &self.actor
    }

    pub(crate) const fn is_connected(&self) -> bool {
        self.id.is_some()
    }

    pub(crate) fn is_in(&self, room: &str) -> bool {
        self.is_connected() && self.rooms.get(room).is_some_and(|room| room.member)
    }

    /// The rooms that it is in, or wants to be in again.
    pub(crate) fn rooms(&self) -> Vec<String> {
        self.rooms.keys().cloned().collect()
    }

    pub(crate) fn connects(&self) -> Op {
        Op::Connect {
            actor: self.actor.clone(),
            namespace: None,
            user: self.user.map(Into::into),
            query: None,
            welcome: false,
        }
    }

    pub(crate) fn connected(&mut self, id: String) {
        self.id = Some(id);
    }

    pub(crate) fn disconnected(&mut self) {
        self.id = None;
        for room in self.rooms.values_mut() {
            (room.member, room.list) = (false, None);
        }
    }

    pub(crate) fn joins(&mut self, room: &str) -> String {
        let state = self.rooms.entry(room.into()).or_default();
        state.since = None;
        let Some(position) = &state.position else {
            return format!(r#"{{"event":"$join","room":"{room}"}}"#);
        };
        let Position {
            epoch, offset, id, ..
        } = position;
        state.since = Some((epoch.clone(), *offset));
        format!(
            r#"{{"event":"$join","room":"{room}","data":{{"since":{{"epoch":"{epoch}","offset":{offset},"conn":"{id}"}}}}}}"#
        )
    }

    pub(crate) fn publishes(&mut self, said: u64, echo: bool) {
        if !echo {
            self.silent.insert(said);
        }
    }

    pub(crate) fn sees(&mut self, event: &Event, log: &mut Log) {
        let Event::Text(text) = event else {
            panic!("{} got {event}", self.actor);
        };
        let frame: Value = serde_json::from_str(text).expect("JSON");
        assert!(frame.get("error").is_none(), "{}: {text}", self.actor);
        let room = frame["room"].as_str().unwrap_or_default().to_owned();
        let (name, data) = (frame["event"].as_str().unwrap_or_default(), &frame["data"]);
        match (name, frame.get("id").is_some()) {
            ("$join", _) => self.joined(&room, data),
            ("$leave", _) => {
                self.rooms.remove(&room);
            }
            ("$members", true) => self.i36_the_list_is_the_truth(&room, data),
            ("$joined" | "$left" | "$members", _) => self.i35_told(&room, name, data),
            ("said", true) => self.answered(&room, data),
            ("said", false) => self.got(&room, &frame, log),
            _ => panic!("{} got {text}", self.actor),
        }
    }

    /// The answer to a join.
    fn joined(&mut self, room: &str, data: &Value) {
        let id = self.id.clone().unwrap_or_default();
        let state = self.rooms.entry(room.into()).or_default();
        let epoch = data["epoch"].as_str().expect("an epoch").to_owned();
        let top = data["offset"].as_u64().expect("an offset");
        let recovered = data.get("recovered").map(|recovered| *recovered == true);
        assert_eq!(recovered.is_some(), state.since.is_some(), "{data}");
        assert_eq!(data["already"] == true, state.member, "{data}");
        state.member = true;
        if let Some((since, offset)) = state.since.take()
            && (since != epoch || offset > top)
        {
            assert_eq!(recovered, Some(false), "I31: {since} {offset}: {data}");
        }
        if recovered == Some(true)
            && let Some(position) = &mut state.position
        {
            position.id = id;
            position.joined_at = top;
            position.to_come = data["missed"].as_u64().expect("a count");
            if position.to_come == 0 {
                position.offset = top;
            }
            return;
        }
        state.position = Some(Position {
            epoch,
            offset: top,
            id,
            from: top,
            got: BTreeMap::new(),
            joined_at: top,
            to_come: 0,
        });
    }

    /// A message of a room.
    fn got(&mut self, room: &str, frame: &Value, log: &mut Log) {
        let said = frame["data"].as_u64().expect("a number");
        assert!(
            !self.silent.contains(&said),
            "I15: {} got {frame}",
            self.actor
        );
        let state = self.rooms.get_mut(room).filter(|room| room.member);
        let Some(state) = state else {
            panic!("I10, I11: {} is not in the room of {frame}", self.actor);
        };
        let Some(offset) = frame["offset"].as_u64() else {
            return;
        };
        let position = state
            .position
            .as_mut()
            .expect("it was told where it stands");
        assert!(
            offset > position.offset,
            "I12: {} got {frame} late",
            self.actor
        );
        if position.to_come > 0 {
            position.to_come -= 1;
            assert!(
                offset <= position.joined_at,
                "I30: {frame} before what was missed"
            );
        } else {
            assert!(offset > position.joined_at, "I30: {frame} is one too many");
        }
        position.offset = offset;
        if position.to_come == 0 {
            // The rest up to the answer's position was not for this connection.
            position.offset = offset.max(position.joined_at);
        }
        position.got.insert(offset, said);
        log.at(room, &position.epoch, offset, said);
    }

    /// The answer to a publish.
    fn answered(&mut self, room: &str, data: &Value) {
        let Some(offset) = data["offset"].as_u64() else {
            return;
        };
        self.own.insert((room.into(), offset));
        let state = self.rooms.get_mut(room).filter(|room| room.member);
        if let Some(position) = state.and_then(|state| state.position.as_mut()) {
            assert!(offset >= position.offset, "I16: {} at {offset}", self.actor);
            position.offset = offset;
        }
    }

    /// What it was told is held against a new list, and everything in between is in both.
    fn i36_the_list_is_the_truth(&mut self, room: &str, data: &Value) {
        let members = data["members"].as_array().expect("a list");
        let users = data["users"].as_u64().expect("a count");
        let state = self.rooms.get_mut(room).expect("it is in the room");
        if members.is_empty() {
            state.list = None;
            return;
        }
        let list: BTreeSet<_> = members.iter().map(name_of).collect();
        assert_eq!(list.len() as u64, users, "{data}");
        if let Some(known) = &state.list {
            assert_eq!(*known, list, "I36: {} in {room}", self.actor);
        }
        state.list = Some(list);
    }

    fn i35_told(&mut self, room: &str, event: &str, data: &Value) {
        let state = self.rooms.get_mut(room).filter(|room| room.member);
        let Some(state) = state else {
            panic!("I10: {} is told of {room}: {data}", self.actor);
        };
        let Some(list) = &mut state.list else {
            return;
        };
        match event {
            "$joined" => {
                let new = list.insert(name_of(data));
                assert!(new, "I35: {} is told twice that {data} came", self.actor);
            }
            "$left" => {
                let was = list.remove(&name_of(data));
                assert!(
                    was,
                    "I35: {} is told that {data} left, who was not there",
                    self.actor
                );
            }
            _ => state.list = None,
        }
    }

    /// Behind the position that it began with it has every message but its own silent ones.
    pub(crate) fn i13_i30_nothing_is_missing(&self, log: &Log) {
        for (room, state) in &self.rooms {
            let Some(position) = state.position.as_ref().filter(|_| state.member) else {
                continue;
            };
            assert_eq!(position.to_come, 0, "I30: {} in {room}", self.actor);
            for offset in position.from + 1..=position.offset {
                if self.own.contains(&(room.clone(), offset)) {
                    continue;
                }
                let got = position.got.get(&offset).copied();
                assert!(
                    got.is_some(),
                    "I13: {} lacks {offset} of {room}",
                    self.actor
                );
                let said = log.get(room, &position.epoch, offset);
                assert_eq!(got, said, "I18: {} at {offset} of {room}", self.actor);
            }
        }
    }
}

/// The user, or the connection of one who has none.
fn name_of(member: &Value) -> String {
    let conn = member["conn"].as_str().unwrap_or_default();
    format!("{} {conn}", member["user"].as_str().expect("a user"))
}
