//! A client like its library: it knows its position in each room and its members, and also, unlike
//! a library, which messages it is owed.

use std::collections::{BTreeMap, BTreeSet};

use roomcast_tests::{Actor, Event};
use serde_json::Value;

use super::due::{Answer, Due, Link};

/// The former connections that a client may name.
const PREVIOUS_CONNS_MAX: usize = 16;

pub(crate) struct Client {
    pub(crate) actor: Actor,
    pub(crate) user: Option<&'static str>,
    pub(crate) link: Option<Link>,
    /// Its last connections, as many as it may name, oldest first; the current one, if any, is
    /// last.
    conns: Vec<u64>,
    /// The rooms that it is in, or wants to be in again.
    pub(crate) views: BTreeMap<String, View>,
}

/// A client's knowledge of a room.
#[derive(Default)]
pub(crate) struct View {
    pub(crate) member: bool,
    pub(crate) position: Option<Position>,
    /// True when it was told of a gap, and has not joined again.
    pub(crate) gap: bool,
    /// Members of the room, by what the client was told; `None` when it cannot know.
    pub(crate) list: Option<BTreeSet<String>>,
}

pub(crate) struct Position {
    pub(crate) epoch: String,
    /// The offset up to which it has all messages for it.
    pub(crate) offset: u64,
    /// The number of missed messages that are still to come, and its position then.
    to_come: (usize, u64),
}

impl Client {
    pub(crate) fn new(name: &str, user: Option<&'static str>) -> Self {
        Self {
            actor: Actor::new(name),
            user,
            link: None,
            conns: Vec::new(),
            views: BTreeMap::new(),
        }
    }

    /// Returns the client's name in presence: the user, or the connection of a client that has
    /// none.
    pub(crate) fn name(&self, id: u64) -> String {
        match self.user {
            Some(user) => format!("{user} "),
            None => format!(" {id}"),
        }
    }

    /// The connection, as far as the server knows it.
    pub(crate) fn live(&mut self) -> Option<&mut Link> {
        self.link.as_mut().filter(|link| !link.ended)
    }

    pub(crate) fn connected(&mut self, id: u64) {
        self.disconnected();
        if self.conns.len() > PREVIOUS_CONNS_MAX {
            self.conns.remove(0);
        }
        self.conns.push(id);
        self.link = Some(Link::new(id));
    }

    /// The connections that it was before this one, as it names them: one id, or all of them.
    pub(crate) fn previous_conns(&self) -> String {
        let now = self.link.as_ref().map(|link| link.id);
        let previous_conns = self.conns.iter().filter(|&&id| Some(id) != now);
        let mut ids: Vec<_> = previous_conns.map(|id| format!(r#""{id}""#)).collect();
        if ids.len() == 1 {
            return ids.remove(0);
        }
        let ids = &ids[ids.len().saturating_sub(PREVIOUS_CONNS_MAX)..];
        format!("[{}]", ids.join(","))
    }

    pub(crate) fn disconnected(&mut self) {
        self.link = None;
        for view in self.views.values_mut() {
            (view.member, view.list) = (false, None);
        }
    }

    pub(crate) fn sees(&mut self, event: &Event) {
        let actor = self.actor.clone();
        let Some(link) = &mut self.link else {
            panic!("I25: {actor} {event} behind the end");
        };
        let text = match event {
            Event::Text(text) => text,
            Event::Closed { code, .. } => {
                assert!(link.ended, "I25: {actor} {event}, and is not closed");
                let bye = link.bye.is_none_or(|bye| bye == u64::from(*code));
                assert!(bye, "I25: {actor} {event} after {:?}", link.bye);
                return self.disconnected();
            }
            Event::Binary(_) | Event::Ping | Event::Lost => {
                panic!("I18: {actor} {event}, a broken stream");
            }
        };
        assert!(link.bye.is_none(), "I25: {actor} {event} behind the bye");
        let frame: Value = serde_json::from_str(text)
            .unwrap_or_else(|fault| panic!("I18: {actor} {event}: {fault}"));
        let room = frame["room"].as_str().unwrap_or_default().to_owned();
        let (name, data) = (frame["event"].as_str().unwrap_or_default(), &frame["data"]);
        if let Some(id) = frame["id"].as_u64() {
            return self.answered(id, &frame, text);
        }
        match name {
            "$bye" => {
                let code = data["code"].as_u64().unwrap_or_default();
                link.bye = Some(code);
                if code == 4409 {
                    link.due.clear();
                } else {
                    link.i13_i24_nothing_is_missing(&actor);
                }
            }
            "$gap" => self.gap(&room, data),
            "$joined" | "$left" | "$members" => self.i35_told(&room, name, data),
            _ => self.got(&room, &frame, text),
        }
    }

    fn answered(&mut self, id: u64, frame: &Value, text: &str) {
        let (actor, Some(link)) = (&self.actor, &mut self.link) else {
            return;
        };
        let is_it = |due: &Due| matches!(due, Due::Answer { id: other, .. } if *other == id);
        let Some(Due::Answer { room, answer, .. }) = link.take(is_it, text) else {
            panic!("I17: {actor} got an answer to nothing: {text}");
        };
        let said = |data: &str| text.ends_with(&format!(r#","data":{data}}}"#));
        match answer {
            Answer::Rejected(code) => {
                assert_eq!(frame["error"]["code"], code, "I17, I19: {actor} got {text}");
            }
            Answer::Data(data) => {
                assert!(said(&data), "I17, I28: {actor} got {text}, not {data}");
                let view = self.views.get_mut(&room).filter(|view| view.member);
                if frame["event"] == "$leave" {
                    self.views.remove(&room);
                } else if frame["event"] == "$history" {
                    // Reading the history does not prove that it has every message.
                } else if let (Some(offset), Some(view)) = (frame["data"]["offset"].as_u64(), view)
                {
                    view.moved_to(offset);
                }
            }
            Answer::Joined {
                epoch,
                top,
                missed,
                data,
            } => {
                assert!(said(&data), "I30, I31: {actor} got {text}, not {data}");
                if data.contains("recovered") {
                    // The client asked for the lost messages, or knows that they are unavailable.
                    link.unmarked.remove(&room);
                }
                let view = self.views.entry(room).or_default();
                (view.member, view.gap) = (true, false);
                let (offset, to_come) = missed.filter(|missed| missed.1 > 0).unwrap_or((top, 0));
                view.position = Some(Position {
                    epoch,
                    offset,
                    to_come: (to_come, top),
                });
            }
            Answer::Members { list, users, conns } => {
                let data = &frame["data"];
                let counts = (data["users"].as_u64(), data["conns"].as_u64());
                assert_eq!(
                    counts,
                    (Some(users), Some(conns)),
                    "I36: {actor} got {text}"
                );
                let members = data["members"].as_array().into_iter().flatten();
                let listed: BTreeSet<_> = members.map(name_of).collect();
                assert_eq!(
                    listed,
                    list.clone().unwrap_or_default(),
                    "I36: {actor} got {text}"
                );
                self.views.entry(room).or_default().list = list;
            }
        }
    }

    /// A message.
    fn got(&mut self, room: &str, frame: &Value, text: &str) {
        let (actor, Some(link)) = (&self.actor, &mut self.link) else {
            return;
        };
        let said = frame["data"][0].as_u64();
        let is_it = |due: &Due| matches!(due, Due::Said(due) if Some(due.said) == said);
        let Some(Due::Said(due)) = link.take(is_it, text) else {
            panic!("I10, I11, I12, I14, I15: {actor} is not owed {text}");
        };
        assert_eq!(text, due.frame, "I14, I18, I28: {actor} got the first");
        if let Some(first) = link.unmarked.get(room) {
            panic!("I13: {actor} was not told what it lost from {first} on, before {text}");
        }
        let view = self.views.get_mut(room).filter(|view| view.member);
        let (Some(offset), Some(view)) = (due.offset, view) else {
            assert!(
                due.room.is_none() || due.offset.is_none(),
                "I10, I11: {actor} got {text}"
            );
            return;
        };
        if !due.replayed {
            return view.moved_to(offset);
        }
        let position = view.position.as_mut().expect("it was told where it stands");
        assert!(
            position.to_come.0 > 0,
            "I30: {actor} got {text}, one too many"
        );
        assert!(
            offset > position.offset,
            "I12, I30: {actor} got {text} late"
        );
        position.offset = offset;
        position.to_come.0 -= 1;
        if position.to_come.0 == 0 {
            // The rest was not for it.
            position.offset = position.to_come.1;
        }
    }

    /// Handles a notice that the client lost messages.
    fn gap(&mut self, room: &str, data: &Value) {
        let Some(link) = &mut self.link else {
            return;
        };
        let after = data["after"].as_u64().expect("an offset");
        if let Some(first) = link.unmarked.remove(room) {
            assert!(
                first == 0 || after < first,
                "I13: {} was told of {after} in {room}, and lost {first}",
                self.actor
            );
        }
        // This notice covers all later drops until the client joins again.
        for due in &mut link.due {
            match due {
                Due::Said(said) => said.told |= said.room.as_deref() == Some(room),
                Due::Answer {
                    room: other,
                    answer: Answer::Joined { .. },
                    ..
                } if *other == room => break,
                Due::Answer { .. } => {}
            }
        }
        let view = self.views.entry(room.into()).or_default();
        (view.gap, view.list) = (true, None);
        if let Some(position) = &mut view.position {
            position.offset = position.offset.min(after);
        }
    }

    fn i35_told(&mut self, room: &str, event: &str, data: &Value) {
        let actor = &self.actor;
        let Some(view) = self.views.get_mut(room).filter(|view| view.member) else {
            panic!("I10, I11: {actor} is told of {room}: {data}");
        };
        let Some(list) = &mut view.list else {
            return;
        };
        let name = name_of(data);
        match event {
            "$joined" => {
                assert!(list.insert(name), "I35: {actor} is told twice: {data} came");
            }
            "$left" => {
                let was = list.remove(&name);
                assert!(was, "I35: {actor} is told: {data} left, who was not there");
            }
            _ => view.list = None,
        }
    }
}

impl View {
    /// Moves on: it got the next message that is for it, or said it.
    fn moved_to(&mut self, offset: u64) {
        if let Some(position) = &mut self.position
            && !self.gap
        {
            position.offset = position.offset.max(offset);
        }
    }
}

fn name_of(member: &Value) -> String {
    let conn = member["conn"].as_str().unwrap_or_default();
    format!("{} {conn}", member["user"].as_str().unwrap_or_default())
}
