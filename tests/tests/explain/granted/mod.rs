//! Explanations are true where clients have grants: of each right, of each send before it is done,
//! of each recovery, and of each message of a history after it.

#![allow(clippy::print_stdout)] // the figures

mod facts;
mod story;

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
};

use proptest::{prelude::*, test_runner::TestRunner};
use roomcast_core::{ConnId, Explained, Explanation, Hub, explain::Reason, policy::Right};
use roomcast_tests::{Actor, Core, Driver, Event, Known, Op};
use serde_json::Value;

pub(super) use self::story::stories;
use self::{
    facts::{Facts, check_sentence},
    story::core,
};
use super::{ACTORS, Delivered, Explain, ROOMS, check_claims, conn, deliver, send_of};
use crate::stories::config;

const RIGHTS: [Right; 4] = [Right::Join, Right::Publish, Right::Presence, Right::History];

/// A core, and all that is known of it from outside.
struct World {
    core: Core,
    known: Known,
    facts: Facts,
    story: Vec<String>,
    delivered: Delivered,
    conns: BTreeSet<ConnId>,
}

/// A join that asks for what was missed.
struct Asking {
    actor: Actor,
    room: String,
    epoch: String,
    offset: u64,
    /// The explanation of the right to read the history, before the join.
    history: Explanation,
}

impl World {
    fn new() -> Self {
        Self {
            core: core(),
            known: Known::default(),
            facts: Facts::default(),
            story: Vec::new(),
            delivered: Delivered::new(),
            conns: BTreeSet::new(),
        }
    }

    fn fault(&self, what: impl std::fmt::Display) -> TestCaseError {
        TestCaseError::fail(format!("{what}\n{}", self.story.join("\n")))
    }

    fn hub(&self) -> Option<&Hub> {
        self.core.hub("default")
    }

    /// The last connection of each actor.
    fn last_conns(&self) -> Vec<(ConnId, Actor)> {
        let actors = ACTORS.map(Actor::new).into_iter();
        let conns = actors.filter_map(|actor| Some((conn(&self.core, &actor)?, actor)));
        conns.collect()
    }

    /// The op with what its placeholders stand for: the first epoch of a room is its epoch.
    fn addressed(&self, op: &Op) -> Op {
        let mut op = self.known.address(op);
        if let (Op::Text { text, .. }, Some(hub)) = (&mut op, self.hub()) {
            for room in ROOMS {
                let epoch = &hub.position(room).epoch;
                *text = text.replace(&format!("<epoch 1 of {room}>"), epoch);
            }
        }
        op
    }

    /// Does what the op says; gives the events of each actor.
    fn perform(&mut self, op: &Op) -> Result<Vec<(Actor, Event)>, TestCaseError> {
        self.story.push(op.to_string());
        let performed = self.core.perform(op);
        performed.map_err(|fault| self.fault(fault))?;
        let mut events = Vec::new();
        for (id, actor) in self.last_conns() {
            let got = self.core.take(&actor).into_iter();
            events.extend(got.map(|event| (actor.clone(), event)));
            if let Op::Connect {
                actor: who, user, ..
            } = op
                && *who == actor
                && self.conns.insert(id)
            {
                self.known.connected(&actor, "default", id.to_string());
                self.facts.connected(id, user.as_deref());
            }
            if self.hub().is_none_or(|hub| hub.connection(id).is_none()) {
                self.known.ended(&actor);
            }
        }
        if let Op::Authenticate { actor, claim } = op
            && is_answered(&events, actor, "$auth")
            && let Some(id) = conn(&self.core, actor)
        {
            self.facts.authenticated(self.core.now(), id, claim);
        }
        Ok(events)
    }

    /// The join that an op is, if it asks for what was missed.
    fn asking(&self, op: &Op, explain: Explain<'_>) -> Option<Asking> {
        let (Op::Text { actor, text, .. }, Some(hub)) = (op, self.hub()) else {
            return None;
        };
        let id = conn(&self.core, actor)?;
        let json: Value = serde_json::from_str(text).ok()?;
        let since = &json["data"]["since"];
        let right = Right::History;
        let room = json["room"].as_str()?.to_owned();
        let asked = Explained::Right {
            right,
            room: room.clone(),
        };
        Some(Asking {
            actor: actor.clone(),
            room,
            epoch: since["epoch"].as_str()?.to_owned(),
            offset: since["offset"].as_u64()?,
            history: explain(hub, &asked, id),
        })
    }

    /// Checks what is explained of every right of every connection that lives.
    fn check_rights(&self, explain: Explain<'_>) -> Result<(), TestCaseError> {
        let Some(hub) = self.hub() else {
            return Ok(());
        };
        let at = (self.core.now(), hub);
        for (id, actor) in self.last_conns() {
            for (room, right) in ROOMS.iter().flat_map(|room| RIGHTS.map(|it| (*room, it))) {
                let asked = Explained::Right {
                    right,
                    room: room.into(),
                };
                let told = explain(hub, &asked, id);
                let expected = self.facts.right(at, id, right, room);
                if told != expected {
                    let what = format!("{actor} to {right} in {room}");
                    return Err(self.fault(format!("{what}: {told:?}, but it is {expected:?}")));
                }
                check_sentence(&told).map_err(|fault| self.fault(fault))?;
            }
        }
        Ok(())
    }

    /// Checks that a recovery was refused exactly if the client may not read the history, or the
    /// history does not reach back.
    fn check_recovery(
        &self,
        asking: &Asking,
        events: &[(Actor, Event)],
    ) -> Result<(), TestCaseError> {
        let answers = frames(events).filter(|(to, _)| **to == asking.actor);
        let mut answers = answers.filter_map(|(_, text)| serde_json::from_str::<Value>(text).ok());
        let answer = answers.find(|json| json["event"] == "$join");
        let recovered = answer.and_then(|json| json["data"]["recovered"].as_bool());
        let (Some(recovered), Some(hub)) = (recovered, self.hub()) else {
            return Ok(());
        };
        let position = hub.position(&asking.room);
        let reaches = hub.history_first(&asking.room).is_some_and(|first| {
            *position.epoch == *asking.epoch
                && (first..=position.offset + 1).contains(&(asking.offset + 1))
        });
        let may = !matches!(asking.history.reason, Reason::NotGranted { .. });
        if recovered != (may && reaches) {
            let reason = &asking.history.reason;
            return Err(self.fault(format!("recovered: {recovered}, explained by {reason:?}")));
        }
        Ok(())
    }

    /// Checks what is explained before an op, does it, and checks what is explained after it.
    fn step(&mut self, op: &Op, explain: Explain<'_>) -> Result<(), TestCaseError> {
        let op = self.addressed(op);
        let send = send_of(&self.core, &op);
        let mut explained = Vec::new();
        if let (Some((send, _)), Some(hub)) = (&send, self.hub()) {
            let at = (self.core.now(), hub);
            for (id, actor) in self.last_conns() {
                let told = explain(hub, send, id);
                let checked = self.facts.check_send(at, send, id, &told);
                let checked = checked.and_then(|()| check_sentence(&told));
                checked.map_err(|fault| self.fault(format!("{actor}, {op}: {fault}")))?;
                explained.push((told, actor));
            }
        }
        let asking = self.asking(&op, explain);
        let events = self.perform(&op)?;
        if let Some((_, data)) = send {
            self.check_delivery(&op, &data, &explained, &events)?;
        }
        if let Some(asking) = asking {
            self.check_recovery(&asking, &events)?;
        }
        deliver(&self.core, frames(&events), &mut self.delivered);
        self.check_rights(explain)?;
        let told = (&self.core, &*self.story);
        check_claims(told, &self.delivered, &self.conns, explain, true)
    }

    /// Checks that the explained recipients got a message, and that its publisher was told of a
    /// refusal.
    fn check_delivery(
        &self,
        op: &Op,
        data: &str,
        explained: &[(Explanation, Actor)],
        events: &[(Actor, Event)],
    ) -> Result<(), TestCaseError> {
        let told = format!(r#","data":{data}}}"#);
        for (Explanation { reason, .. }, actor) in explained {
            let got = frames(events).any(|(to, text)| to == actor && text.ends_with(&told));
            if reason.received() != Some(got) {
                return Err(self.fault(format!("{actor}, got: {got}, explained by {reason:?}")));
            }
            if let Op::Publish { actor, .. } = op {
                let refused = frames(events).find_map(|(to, text)| {
                    let json: Value = serde_json::from_str(text).ok()?;
                    let code = json["error"]["code"].as_str()?;
                    (to == actor).then(|| code.to_owned())
                });
                if refused.as_deref() != refusal(reason) {
                    let what = format!("{actor}, refused: {refused:?}, explained by {reason:?}");
                    return Err(self.fault(what));
                }
            }
        }
        Ok(())
    }
}

/// The code of the error that a publisher gets for such a reason.
#[allow(clippy::wildcard_enum_match_arm)] // no other refuses
const fn refusal(reason: &Reason) -> Option<&'static str> {
    match reason {
        Reason::NotGranted { .. } | Reason::PublishForbidden => Some("forbidden"),
        Reason::Expired => Some("expired"),
        Reason::Unidentified => Some("unauthorized"),
        _ => None,
    }
}

/// The text messages among events.
fn frames(events: &[(Actor, Event)]) -> impl Iterator<Item = (&Actor, &str)> {
    events.iter().filter_map(|(actor, event)| match event {
        Event::Text(text) => Some((actor, &**text)),
        Event::Binary(_) | Event::Ping | Event::Closed { .. } | Event::Lost => None,
    })
}

/// True when a request of an actor was answered without an error.
fn is_answered(events: &[(Actor, Event)], actor: &Actor, event: &str) -> bool {
    frames(events).any(|(to, text)| {
        let json: Value = serde_json::from_str(text).expect("JSON");
        to == actor && json["event"] == event && json.get("data").is_some()
    })
}

/// Checks all explanations of a story.
pub(super) fn check_granted(story: &[Op], explain: Explain<'_>) -> Result<(), TestCaseError> {
    let mut world = World::new();
    story.iter().try_for_each(|op| world.step(op, explain))
}

/// Reasons that have to be seen, by what is explained.
const REASONS: [(&str, &[&str]); 4] = [
    (
        "right",
        &[
            "every_right",
            "expired",
            "for_members",
            "granted",
            "granted_to_users",
            "keeps_no_history",
            "no_presence",
            "not_connected",
            "not_granted",
            "publish_forbidden",
            "room_full",
            "unidentified",
        ],
    ),
    (
        "send",
        &[
            "all",
            "except_conn",
            "except_room",
            "except_user",
            "member",
            "named_conn",
            "named_user",
            "not_a_member",
            "not_connected",
            "not_in_audience",
        ],
    ),
    (
        "publish",
        &[
            "expired",
            "member",
            "no_publisher",
            "not_a_member",
            "not_connected",
            "not_granted",
            "own_without_echo",
            "publish_forbidden",
            "unidentified",
        ],
    ),
    (
        "past",
        &[
            "connected_after",
            "ended_before",
            "ended_since",
            "excepted",
            "history_trimmed",
            "joined_after",
            "left_before",
            "not_a_member",
            "own_without_echo",
            "paged",
            "recovered",
            "sent",
            "sent_unless_dropped",
        ],
    ),
];

/// Runs of the property after which every reason has been seen, with a chance of failure of one in
/// a million.
const RUNS_MAX: usize = 20;

#[test]
fn grants_and_recoveries_are_explained_as_they_are() {
    let seen = RefCell::new(BTreeMap::<(&str, String), u64>::new());
    let explain = |hub: &Hub, send: &Explained, conn: ConnId| {
        let told = hub.explain(send, conn);
        let json = serde_json::to_value(&told.reason).expect("plain data");
        let kind = match send {
            Explained::Send(_) => "send",
            Explained::Publish { .. } => "publish",
            Explained::Right { .. } => "right",
            _ => "past",
        };
        let reason = json["reason"].as_str().expect("a code").to_owned();
        *seen.borrow_mut().entry((kind, reason)).or_default() += 1;
        told
    };
    // Some reasons are rare: more stories are told until each was seen.
    for _ in 0..RUNS_MAX {
        let mut runner = TestRunner::new(config(0));
        let told = runner.run(&stories(1..=60), |story| check_granted(&story, &explain));
        told.unwrap_or_else(|fault| panic!("{fault}"));
        let seen = seen.borrow();
        let mut reasons = REASONS.iter().flat_map(|(kind, reasons)| {
            let keys = reasons.iter();
            keys.map(|reason| (*kind, (*reason).to_owned()))
        });
        if reasons.all(|key| seen.contains_key(&key)) {
            break;
        }
    }
    let seen = seen.into_inner();
    for (kind, reasons) in REASONS {
        let of_kind = seen.iter().filter(|((of, _), _)| *of == kind);
        let total: u64 = of_kind.clone().map(|(_, count)| count).sum();
        let counts = of_kind.map(|((_, reason), count)| format!("{reason} {count}"));
        println!(
            "{kind}: {total} explained: {}",
            counts.collect::<Vec<_>>().join(", ")
        );
        for reason in reasons {
            let key = (kind, (*reason).to_owned());
            assert!(
                seen.contains_key(&key),
                "{kind}: {reason} was never explained"
            );
        }
    }
}

/// The exception did not apply yet when the message was sent.
#[test]
fn a_user_who_was_left_out_before_it_said_who_it_is_is_explained() {
    let story = [
        "alice connects",
        "server joins alice to log",
        r#"server sends {"audience":{"rooms":["log"],"except_users":["ann"]},"event":"told","data":1}"#,
        "server removes alice from log",
        "alice authenticates as ann for 60 s with []",
    ];
    let story: Vec<Op> = story
        .iter()
        .map(|line| line.parse().expect("an op"))
        .collect();
    let unknown = Cell::new(false);
    let explain = |hub: &Hub, send: &Explained, conn| {
        let told = hub.explain(send, conn);
        unknown.set(unknown.get() || matches!(told.reason, Reason::NamedSince { .. }));
        told
    };
    check_granted(&story, &explain).unwrap_or_else(|fault| panic!("{fault}"));
    assert!(unknown.get(), "the last explanation is not known");
}
