//! Stories of clients with grants: the rooms with their policies, and the grants.

use std::ops::RangeInclusive;

use proptest::{option, prelude::*};
use roomcast_core::{Limits, Policies};
use roomcast_tests::{Cast, Core, Op, Settings};
use serde_json::json;

use super::super::{ACTORS, ROOMS, numbered};

/// The policy of a room, as far as explanations speak of it.
pub(super) struct Policy {
    pub(super) pattern: &'static str,
    pub(super) publish: bool,
    pub(super) presence: bool,
    pub(super) history: bool,
    pub(super) members: Option<usize>,
}

const OPEN: Policy = Policy {
    pattern: "",
    publish: true,
    presence: false,
    history: true,
    members: None,
};
const POLICIES: [Policy; 4] = [
    Policy {
        pattern: "log",
        ..OPEN
    },
    Policy {
        pattern: "den",
        presence: true,
        ..OPEN
    },
    Policy {
        pattern: "live",
        members: Some(2),
        ..OPEN
    },
    Policy {
        pattern: "sta*",
        publish: false,
        history: false,
        ..OPEN
    },
];

/// The policy of one of the rooms.
pub(super) fn policy_of(room: &str) -> &'static Policy {
    let at = ROOMS.iter().position(|name| *name == room);
    &POLICIES[at.expect("a room of the story")]
}

/// A grant of the configuration.
pub(super) struct Rule {
    pub(super) whom: &'static str,
    pub(super) rooms: &'static str,
    pub(super) can: &'static [&'static str],
}

pub(super) const STANDARD: [Rule; 2] = [
    Rule {
        whom: "users",
        rooms: "sta*",
        can: &["join", "publish"],
    },
    Rule {
        whom: "anyone",
        rooms: "den",
        can: &["presence"],
    },
];

/// Grants of tokens: none, all, and such as lack each of the rights somewhere.
const GRANTS: [&str; 6] = [
    "[]",
    r#"[{"rooms":"*","can":["join","publish","presence","history"]}]"#,
    r#"[{"rooms":"log","can":["join","publish"]},{"rooms":"live","can":["join","history"]}]"#,
    r#"[{"rooms":"l*","can":["join","history"]},{"rooms":"den","can":["join"]}]"#,
    r#"[{"rooms":"l*","can":["publish","presence"]},{"rooms":"den","can":["history"]}]"#,
    r#"[{"rooms":"den","can":["join","publish","history"]},{"rooms":"l*","can":["join"]}]"#,
];

/// The place of those that give every right.
const ALL: usize = 1;

fn limits() -> Limits {
    let settings: Settings = "rooms_per_connection=3 heartbeat_ms=off"
        .parse()
        .expect("known settings");
    settings.limits()
}

fn policies() -> Policies {
    let grants = STANDARD
        .iter()
        .map(|Rule { whom, rooms, can }| json!({"for": whom, "rooms": rooms, "can": can}));
    let policies = json!({
        "rooms": [
            {"match": "log", "history": {"messages": 4, "age_s": 20}},
            {"match": "den", "history": {"age_s": 10}, "presence": "members",
             "presence_grace_s": 5, "echo": true},
            {"match": "live", "history": {"messages": 3}, "overflow": "drop-oldest", "members": 2},
            {"match": "sta*", "publish": false},
        ],
        "grants": grants.collect::<Vec<_>>(),
    });
    serde_json::from_value(policies).expect("policies")
}

/// A core in which clients are named by a proxy, or have to show a token.
pub(super) fn core() -> Core {
    let core = Core::new(&limits()).with_policies(policies());
    core.with_tokens(true)
}

/// An op of a scene. A story that fails shrinks to one without most of them.
type Part = Option<Op>;

fn part(op: Op) -> impl Strategy<Value = Part> {
    option::weighted(0.95, Just(op))
}

/// An actor connects, and shows a token with some of the grants.
fn arrival(actor: usize, named: bool, grants: usize) -> (Op, Op) {
    // Two actors are the same user.
    let (actor, user) = (ACTORS[actor], ["ann", "ben"][actor % 2]);
    let connect = if named {
        format!("{actor} connects as {user}")
    } else {
        format!("{actor} connects")
    };
    (line(&connect), shown(actor, user, (3600, GRANTS[grants])))
}

fn shown(actor: &str, user: &str, (left_s, grants): (u32, &str)) -> Op {
    line(&format!(
        "{actor} authenticates as {user} for {left_s} s with {grants}"
    ))
}

fn line(line: &str) -> Op {
    line.parse().expect("an op")
}

fn said(room: &str) -> Op {
    line(&format!(
        r#"server sends {{"audience":{{"rooms":["{room}"]}},"event":"told","data":1}}"#
    ))
}

/// A member gets a token with other grants, and something is said in the room.
fn renewal() -> BoxedStrategy<Vec<Part>> {
    let parts = (
        0..ACTORS.len(),
        0..ROOMS.len(),
        any::<bool>(),
        0..GRANTS.len(),
    );
    let scene = parts.prop_flat_map(|(actor, room, named, grants)| {
        let (connect, all) = arrival(actor, named, ALL);
        let (_, other) = arrival(actor, named, grants);
        let (actor, room) = (ACTORS[actor].into(), ROOMS[room]);
        let join = Op::Join {
            actor,
            room: room.into(),
        };
        [connect, all, join, other, said(room)]
            .map(|op| part(op).boxed())
            .to_vec()
    });
    scene.boxed()
}

/// A member publishes when its token has ended.
fn expiry() -> BoxedStrategy<Vec<Part>> {
    let parts = (0..ACTORS.len(), 0..ROOMS.len(), any::<bool>());
    let scene = parts.prop_flat_map(|(actor, room, named)| {
        let (connect, _) = arrival(actor, named, ALL);
        let short = shown(ACTORS[actor], ["ann", "ben"][actor % 2], (4, GRANTS[ALL]));
        let (actor, room) = (ACTORS[actor], ROOMS[room]);
        let join = Op::Join {
            actor: actor.into(),
            room: room.into(),
        };
        let publish = Op::Publish {
            actor: actor.into(),
            room: room.into(),
            event: "said".into(),
            data: "1".into(),
            echo: false,
            key: None,
            id: None,
        };
        [connect, short, join, Op::Wait { millis: 5_000 }, publish]
            .map(|op| part(op).boxed())
            .to_vec()
    });
    scene.boxed()
}

/// A client with some of the grants joins a room, perhaps as one that comes back, and asks for its
/// history.
fn recovery() -> BoxedStrategy<Vec<Part>> {
    let parts = (
        0..ACTORS.len(),
        0..ROOMS.len(),
        any::<bool>(),
        0..GRANTS.len(),
        0..4_u64,
        any::<bool>(),
    );
    let scene = parts.prop_flat_map(|(actor, room, named, grants, offset, since)| {
        let (connect, show) = arrival(actor, named, grants);
        let (actor, room) = (ACTORS[actor], ROOMS[room]);
        let since = if since {
            format!(r#","data":{{"since":{{"epoch":"<epoch 1 of {room}>","offset":{offset}}}}}"#)
        } else {
            String::new()
        };
        let join = format!(r#"{actor} sends {{"event":"$join","id":1,"room":"{room}"{since}}}"#);
        let page = format!(r#"{actor} sends {{"event":"$history","id":1,"room":"{room}"}}"#);
        [connect, show, said(room), line(&join), line(&page)]
            .map(|op| part(op).boxed())
            .to_vec()
    });
    scene.boxed()
}

/// Stories of so many scenes and ops of all that clients do, with tokens.
pub(crate) fn stories(scenes: RangeInclusive<usize>) -> BoxedStrategy<Vec<Op>> {
    let cast = Cast::new(ACTORS, ROOMS)
        .with_users(["ann", "ben"])
        .with_tokens(GRANTS)
        .with_histories()
        .with_time();
    let op = cast.op().prop_map(|op| vec![Some(op)]);
    let scene = prop_oneof![16 => op, 2 => renewal(), 2 => recovery(), 1 => expiry()];
    let story = prop::collection::vec(scene, scenes);
    let story = story.prop_map(|parts| parts.into_iter().flatten().flatten().collect());
    story.prop_map(numbered).boxed()
}
