//! Stories that end in the same way, wherever the object slept or failed.

use roomcast_core::Limits;

use super::bench::{Alarm, Bench, Call, Connect, Gone, Op, Setup, Text, User, Wait, keeping};
use crate::mount::Application;

#[path = "../../../../core/examples/gateways/chat.rs"]
mod chat;

const STORY: &[Op] = &[
    Connect,
    Connect,
    Connect,
    Text(0, r#"{"event":"$join","id":1,"room":"r"}"#),
    Text(1, r#"{"event":"$join","id":1,"room":"r"}"#),
    Text(2, r#"{"event":"said","id":1,"room":"r","data":1}"#),
    Text(
        2,
        r#"{"event":"said","id":2,"room":"r","key":"k","data":2}"#,
    ),
    Text(
        2,
        r#"{"event":"said","id":3,"room":"r","key":"k","data":2}"#,
    ),
    Text(
        1,
        r#"{"event":"said","id":4,"room":"r","key":"k","conn":"0","data":3}"#,
    ),
    Call("PUT", "/api/v1/d/rooms/q/members/0", "", ""),
    Text(0, r#"{"event":"$rooms","id":2}"#),
    Call(
        "POST",
        "/api/v1/d/send",
        "k",
        r#"{"audience":{"all":true},"event":"e"}"#,
    ),
    Call(
        "POST",
        "/api/v1/d/send",
        "k",
        r#"{"audience":{"all":true},"event":"e"}"#,
    ),
    Call(
        "POST",
        "/api/v1/d/send",
        "k",
        r#"{"audience":{"all":true},"event":"f"}"#,
    ),
    Gone(1),
    Connect,
    Call("GET", "/api/v1/d/connections", "", ""),
    Text(1, r#"{"event":"$rooms"}"#),
    Call(
        "DELETE",
        "/api/v1/d/connections/0?code=3000&reason=x",
        "",
        "",
    ),
    Call("GET", "/api/v1/d/rooms", "", ""),
    Text(2, r#"{"event":"$join","room":"r"}"#),
    Wait(1000),
    Text(2, "not an envelope"),
    Text(2, r#"{"event":"$leave","room":"r"}"#),
    Connect,
    Call("GET", "/api/v1/d/connections", "", ""),
];

/// A chat with its history, its members, and sends to them.
const CHAT: &[Op] = &[
    Connect,
    Connect,
    Text(
        0,
        r#"{"event":"message","id":1,"data":{"author":"ann","text":"one"}}"#,
    ),
    Text(1, r#"{"event":"history","data":null}"#),
    Text(0, r#"{"event":"join","id":2,"data":{"room":"r"}}"#),
    Text(
        0,
        r#"{"event":"say","id":3,"data":{"room":"r","text":"hi"}}"#,
    ),
    Text(1, r#"{"event":"presence","id":1}"#),
    Text(1, r#"{"event":"message","data":{"author":"bob"}}"#),
    Gone(0),
    Text(1, r#"{"event":"presence","id":2}"#),
    Connect,
    Text(
        0,
        r#"{"event":"message","data":{"author":"cid","text":"two"}}"#,
    ),
    Text(1, r#"{"event":"history","id":"h"}"#),
];

/// Messages and users where rooms keep them.
const KEPT: &[Op] = &[
    User("ann"),
    User("bob"),
    Text(
        0,
        r#"{"event":"$join","id":1,"room":"log","data":{"meta":{"a":1}}}"#,
    ),
    Text(1, r#"{"event":"$join","id":1,"room":"log"}"#),
    Text(0, r#"{"event":"said","id":2,"room":"log","data":1}"#),
    Text(1, r#"{"event":"said","id":2,"room":"log","data":2}"#),
    Text(
        1,
        r#"{"event":"said","id":3,"room":"log","key":"k","data":0}"#,
    ),
    Text(
        1,
        r#"{"event":"said","id":4,"room":"log","key":"k","data":0}"#,
    ),
    Call(
        "POST",
        "/api/v1/d/send",
        "k",
        r#"{"audience":{"rooms":["log"]},"event":"told","data":3}"#,
    ),
    Call(
        "POST",
        "/api/v1/d/send",
        "k",
        r#"{"audience":{"rooms":["log"]},"event":"told","data":3}"#,
    ),
    Text(0, r#"{"event":"$history","id":3,"room":"log"}"#),
    Call("GET", "/api/v1/d/rooms/log/history?after=1&limit=1", "", ""),
    Call("GET", "/api/v1/d/rooms/log", "", ""),
    Call("GET", "/api/v1/d/rooms/log/members", "", ""),
    // No connected client misses this message.
    Call(
        "POST",
        "/api/v1/d/send",
        "",
        r#"{"audience":{"rooms":["log.empty"]},"event":"told"}"#,
    ),
    Gone(0),
    Wait(1000),
    Alarm,
    Text(1, r#"{"event":"$members","id":4,"room":"log"}"#),
    Text(1, r#"{"event":"said","id":5,"room":"log","data":4}"#),
    Text(1, r#"{"event":"said","id":6,"room":"log","data":5}"#),
    User("ann"),
    Text(
        0,
        r#"{"event":"$join","id":7,"room":"log","data":{"since":{"epoch":"e.1","offset":3}}}"#,
    ),
    Text(1, r#"{"event":"$leave","room":"log"}"#),
    Text(
        1,
        r#"{"event":"$join","room":"log","data":{"since":{"epoch":"e.1","offset":1}}}"#,
    ),
    Gone(0),
    Wait(4999),
    Alarm,
    Wait(1),
    Alarm,
    Text(1, r#"{"event":"$history","id":8,"room":"log"}"#),
    Gone(1),
    Wait(9999),
    Alarm,
    Call("GET", "/api/v1/d/rooms", "", ""),
    Wait(1),
    Alarm,
    Call("GET", "/api/v1/d/rooms", "", ""),
    User("ann"),
    Text(
        0,
        r#"{"event":"$join","room":"log","data":{"since":{"epoch":"e.1","offset":5}}}"#,
    ),
    Text(0, r#"{"event":"said","id":9,"room":"log","data":6}"#),
    Text(0, r#"{"event":"$history","room":"log"}"#),
];

/// Each story, with what it is about.
fn cases() -> [(Setup, &'static [Op]); 4] {
    let plain = Setup::default();
    let narrow = Setup {
        limits: narrow(),
        ..Setup::default()
    };
    let chat = Setup {
        application: Application::new(|_| Box::new(chat::chat())),
        ..Setup::default()
    };
    [
        (plain, STORY),
        (narrow, STORY),
        (chat, CHAT),
        (keeping(), KEPT),
    ]
}

/// Limits under which the story meets each kind of refusal.
fn narrow() -> Limits {
    let mut limits = Limits::default();
    limits.connections = 3;
    limits.inbound_messages = Some(roomcast_core::Rate {
        per_second: 1,
        burst: 2,
    });
    limits
}

#[test]
fn nobody_can_tell_where_it_slept() {
    for (setup, story) in cases() {
        let bench = || Bench::new(&setup);
        let (mut awake, mut asleep) = (bench(), bench());
        for &op in story {
            asleep.evict();
            assert_eq!(asleep.run(op), awake.run(op), "{op:?}");
        }
    }
}

#[test]
fn what_cannot_be_saved_has_not_happened() {
    for (setup, story) in cases() {
        for at in 0..story.len() {
            for writes in 0..3 {
                let bench = || Bench::new(&setup);
                let (mut calm, mut shaken) = (bench(), bench());
                for &op in &story[..at] {
                    assert_eq!(shaken.run(op), calm.run(op));
                }
                shaken.fake.0.borrow_mut().writes_left = Some(writes);
                let told = shaken.run(story[at]);
                shaken.fake.0.borrow_mut().writes_left = None;
                let failed = told != calm.run(story[at]);
                if failed {
                    let [told] = &told[..] else {
                        panic!("{:?}: {told:?}", story[at])
                    };
                    assert!(
                        told.contains("\"unavailable\"") || told.starts_with("a write failed"),
                        "{told}"
                    );
                    // The same again.
                    calm = bench();
                    story[..at].iter().for_each(|&op| drop(calm.run(op)));
                    assert_eq!(shaken.run(story[at]), calm.run(story[at]), "{at} {writes}");
                }
                for &op in &story[at + 1..] {
                    assert_eq!(shaken.run(op), calm.run(op), "{at} {writes} {op:?}");
                }
            }
        }
    }
}
