//! Checks of what actors see against what they were told: without a model, from the frames alone.

use std::collections::{BTreeMap, BTreeSet};

use roomcast_tests::{Actor, Answer, Event, Op};
use serde::Deserialize;
use serde_json::value::RawValue;

/// A frame, as far as the onlooker looks.
#[derive(Deserialize)]
struct Frame<'a> {
    event: String,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    room: Option<String>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

/// An onlooker. It believes what the server answers, and checks that everything else fits.
#[derive(Default)]
pub(crate) struct Watch {
    /// The rooms that each connected actor was told to be in.
    rooms: BTreeMap<Actor, BTreeSet<String>>,
    /// The users of those that have one.
    users: BTreeMap<Actor, Box<str>>,
    /// For each room and actor the payloads that arrived, in order.
    heard: BTreeMap<String, BTreeMap<Actor, Vec<u64>>>,
    everybody: BTreeSet<Actor>,
}

impl Watch {
    /// An op was performed; `take` gives what each actor got since.
    pub(crate) fn step(
        &mut self,
        op: &Op,
        answer: &Answer,
        mut take: impl FnMut(&Actor) -> Vec<Event>,
    ) {
        self.moves(op, answer);
        // The expected recipients, from the earlier frames: the op itself changes no membership.
        let members = self.rooms.clone();
        let mut heard = BTreeSet::new();
        for actor in self.everybody.clone() {
            let events = take(&actor);
            self.i17_answers_match_requests(op, &actor, &events);
            for event in events {
                match event {
                    Event::Text(text) => {
                        if self.frame(op, &actor, &text) {
                            assert!(heard.insert(actor.clone()), "I14: {actor} got {text} twice");
                        }
                    }
                    Event::Closed { .. } | Event::Lost => {
                        self.rooms.remove(&actor);
                    }
                    Event::Binary(_) | Event::Ping => {}
                }
            }
        }
        self.i13_no_gap(op, answer, &members, &heard);
    }

    /// Updates the rooms of each actor by an op and its answer, without the frames.
    fn moves(&mut self, op: &Op, answer: &Answer) {
        if let Op::Connect { actor, user, .. } = op
            && !self.rooms.contains_key(actor)
        {
            self.everybody.insert(actor.clone());
            self.rooms.insert(actor.clone(), BTreeSet::new());
            self.users.remove(actor);
            let user = user.clone().map(|user| (actor.clone(), user));
            self.users.extend(user);
        }
        if let Op::Disconnect { actor } | Op::Vanish { actor } = op {
            self.rooms.remove(actor);
        }
        if answer.status != 200 {
            return;
        }
        if let Op::ServerJoin { actor, room } = op {
            let rooms = self.rooms.entry(actor.clone()).or_default();
            rooms.insert(room.to_string());
        }
        if let Op::ServerLeave { actor, room } = op {
            let rooms = self.rooms.entry(actor.clone()).or_default();
            rooms.remove(&**room);
        }
    }

    /// Takes note of a frame; true when it is the message that the op sent.
    fn frame(&mut self, op: &Op, actor: &Actor, text: &str) -> bool {
        let frame: Frame<'_> = serde_json::from_str(text).expect(text);
        let room = frame.room.unwrap_or_default();
        let rooms = self
            .rooms
            .get_mut(actor)
            .expect("only the connected get frames");
        match &*frame.event {
            "$join" if frame.error.is_none() => {
                rooms.insert(room);
            }
            "$leave" if frame.error.is_none() => {
                rooms.remove(&room);
            }
            "said" | "told" if frame.id.is_none() && frame.error.is_none() => {
                if !room.is_empty() {
                    assert!(
                        rooms.contains(&room),
                        "I10, I11: {actor} is not in {room}: {text}"
                    );
                }
                // A raw text is not one of the numbered messages.
                let (Op::Publish { data: number, .. } | Op::Send { data: number, .. }) = op else {
                    return false;
                };
                let got = frame.data.map(RawValue::get);
                assert_eq!(got, Some(&**number), "I18: the payload of {op}");
                let number: u64 = number.parse().expect("a number");
                if let Op::Publish {
                    actor: from, echo, ..
                } = op
                {
                    assert!(*echo || from != actor, "I15: {actor} hears itself: {text}");
                }
                let heard = self.heard.entry(room).or_default();
                let heard = heard.entry(actor.clone()).or_default();
                assert!(!heard.contains(&number), "I12: {actor} got {text} twice");
                // The numbers rise with the story, so this is the publishers' order as well.
                assert!(
                    heard.last().is_none_or(|last| *last < number),
                    "I16: {text}"
                );
                heard.push(number);
                return true;
            }
            _ => {}
        }
        false
    }

    /// Members of the room heard the message, and nobody else did.
    fn i13_no_gap(
        &self,
        op: &Op,
        answer: &Answer,
        members: &BTreeMap<Actor, BTreeSet<String>>,
        heard: &BTreeSet<Actor>,
    ) {
        let is_in = |actor: &Actor, room: &str| {
            members.get(actor).is_some_and(|rooms| rooms.contains(room))
        };
        let any = |actor: &Actor, rooms: &[Box<str>], conns: &[Actor], users: &[Box<str>]| {
            rooms.iter().any(|room| is_in(actor, room))
                || conns.contains(actor)
                || self
                    .users
                    .get(actor)
                    .is_some_and(|user| users.contains(user))
        };
        let meant: BTreeSet<Actor> = if let Op::Publish {
            actor: from,
            room,
            echo,
            ..
        } = op
            && members.contains_key(from)
        {
            let others = members.keys().filter(|actor| is_in(actor, room));
            others
                .filter(|actor| *echo || *actor != from)
                .cloned()
                .collect()
        } else if let Op::Send { to, .. } = op
            && answer.status == 200
        {
            let meant = members.keys().filter(|actor| {
                (to.all || any(actor, &to.rooms, &to.conns, &to.users))
                    && !any(actor, &to.except_rooms, &to.except_conns, &to.except_users)
            });
            meant.cloned().collect()
        } else {
            return;
        };
        assert_eq!(*heard, meant, "I13, I14, I15: {op}");
    }

    /// A request with an id has one answer with that id, and only who asked has it.
    fn i17_answers_match_requests(&self, op: &Op, actor: &Actor, events: &[Event]) {
        let Op::Publish {
            actor: from,
            id: Some(id),
            ..
        } = op
        else {
            return;
        };
        let answers = events.iter().filter(|event| match event {
            Event::Text(text) => text.contains(&format!(r#","id":{id},"#)),
            Event::Binary(_) | Event::Ping | Event::Closed { .. } | Event::Lost => false,
        });
        let asked = from == actor && self.rooms.contains_key(from);
        assert_eq!(answers.count(), usize::from(asked), "I17: {op}");
    }

    /// Messages of a room that two members both heard came to them in the same order.
    pub(crate) fn i12_one_order_for_all_members(&self) {
        for (room, members) in &self.heard {
            for (one, first) in members {
                for (other, second) in members {
                    let common = |of: &[u64], with: &[u64]| {
                        let common = of.iter().filter(|number| with.contains(number));
                        common.copied().collect::<Vec<_>>()
                    };
                    let both = (common(first, second), common(second, first));
                    assert_eq!(both.0, both.1, "I12: {one} and {other} in {room}");
                }
            }
        }
    }
}
