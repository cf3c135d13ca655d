//! Histories that cannot be written or read: no offset is told for a message that is not kept, and
//! no offset is told twice.

use roomcast_tests::{Edge, Settings};

use super::world::{World, start_with, whichever_call_fails};

/// Two members of a room that keeps three messages, and a client outside of the room.
const CROWD: [&str; 6] = [
    "alice connects",
    "bob connects",
    "carol connects",
    r#"alice sends {"event":"$join","room":"log","data":{"meta":{"name":"Ann"}}}"#,
    r#"bob sends {"event":"$join","room":"log"}"#,
    r#"bob sends {"event":"said","id":1,"room":"log","data":1}"#,
];

/// Lines that show which messages are kept, and that the next message gets the next offset.
const AFTERWARDS: [&str; 6] = [
    r#"bob sends {"event":"$history","id":1,"room":"log"}"#,
    r#"bob sends {"event":"$members","id":1,"room":"log"}"#,
    r#"bob sends {"event":"said","id":2,"room":"log","data":"next"}"#,
    r#"carol sends {"event":"$join","room":"log","data":{"since":{"epoch":"<epoch 1 of log>","offset":1}}}"#,
    r#"carol sends {"event":"$leave","room":"log"}"#,
    r#"server sends {"audience":{"rooms":["log"]},"event":"told","data":2}"#,
];

fn world_of() -> (Edge, Settings) {
    let rooms = "log history.messages=3 presence=members presence_grace_s=0";
    // With a heartbeat every message is a reason to save, those of the driver too.
    let settings: Settings = "heartbeat_ms=off".parse().expect("known settings");
    start_with(settings.with_rooms(rooms).expect("a policy"))
}

fn nothing_happened(world: &mut World<'_>) {
    world.play(&AFTERWARDS);
    world.evict();
    world.play(&AFTERWARDS);
}

/// Fails each statement in turn: for the first message of a history, and for one that replaces
/// another.
#[test]
fn a_message_that_cannot_be_kept_is_not_sent() {
    let (edge, settings) = world_of();
    let more = r#"bob sends {"event":"said","id":1,"room":"log","data":"more"}"#;
    for (which, before) in [("early", &[][..]), ("full", &[more, more, more])] {
        whichever_call_fails(|call| {
            let mut world = World::new(&edge, &settings, format!("{which}-{call}"));
            world.play(&CROWD);
            world.play(before);
            world.fail("exec", call);
            let head = r#"{"event":"said","id":7,"room":"log""#;
            let declined = world.declines(head, &format!(r#"alice sends {head},"data":1}}"#));
            if declined {
                nothing_happened(&mut world);
            }
            declined
        });
    }
}

#[test]
fn a_push_that_cannot_be_kept_is_refused() {
    let (edge, settings) = world_of();
    let push = r#"server with key k sends {"audience":{"rooms":["log"]},"event":"told","data":1}"#;
    whichever_call_fails(|call| {
        let mut world = World::new(&edge, &settings, format!("push-{call}"));
        world.play(&CROWD);
        world.fail("exec", call);
        let refused = world.refuses(push, 503);
        if refused {
            world.play(&[push, push]);
            nothing_happened(&mut world);
        }
        refused
    });
}

/// A room that is begun by a join, and one that is forgotten with its last member.
#[test]
fn a_room_that_cannot_be_saved_is_not_joined_and_not_left() {
    let (edge, settings) = world_of();
    for (which, head) in [
        ("join", r#"{"event":"$join","id":1,"room":"log""#),
        ("leave", r#"{"event":"$leave","id":1,"room":"log""#),
    ] {
        whichever_call_fails(|call| {
            let mut world = World::new(&edge, &settings, format!("{which}-{call}"));
            world.play(&CROWD[..3]);
            if which == "leave" {
                world.play(&CROWD[3..4]);
            }
            world.fail("exec", call);
            let declined = world.declines(head, &format!("alice sends {head}}}"));
            if declined {
                world.play(&CROWD[4..]);
                nothing_happened(&mut world);
            }
            declined
        });
    }
}

/// The last member of a room goes: the server reports this once, and nobody waits for an answer.
#[test]
fn who_goes_while_nothing_can_be_saved_has_gone() {
    let (edge, settings) = world_of();
    whichever_call_fails(|call| {
        let mut world = World::new(&edge, &settings, format!("gone-{call}"));
        world.play(&CROWD);
        world.play(&[r#"bob sends {"event":"$leave","room":"log"}"#]);
        world.fail("exec", call);
        world.play(&["alice disconnects"]);
        let failed = world.has_failed();
        world.play(&[r#"bob sends {"event":"$join","room":"log"}"#]);
        nothing_happened(&mut world);
        failed
    });
}

/// A client whose request for a history fails is told to try again, and gets it the second time.
#[test]
fn a_history_that_cannot_be_read_is_asked_for_again() {
    let (edge, settings) = world_of();
    for (which, head, data) in [
        ("page", r#"{"event":"$history","id":1,"room":"log""#, "}"),
        (
            "since",
            r#"{"event":"$join","id":1,"room":"log""#,
            r#","data":{"since":{"epoch":"<epoch 1 of log>","offset":0}}}"#,
        ),
    ] {
        let mut world = World::new(&edge, &settings, which);
        world.play(&CROWD);
        if which == "since" {
            world.play(&[r#"alice sends {"event":"$leave","room":"log"}"#]);
        }
        world.evict();
        // Wakes it without a need for the history.
        world.play(&[r#"alice sends {"event":"$rooms"}"#]);
        world.fail("exec", 1);
        let line = world.addressed(&format!("alice sends {head}{data}"));
        assert!(world.declines(head, &line), "{which}");
        world.play(&[&format!("alice sends {head}{data}")]);
        nothing_happened(&mut world);
    }
}

/// Checks that the tests of this file fail if nothing is stored.
#[test]
fn a_message_that_is_not_written_is_noticed() {
    let (edge, settings) = world_of();
    let mut world = World::new(&edge, &settings, "lost");
    world.play(&CROWD);
    world.post("/-/fail?call=exec&calls=1&how=skip");
    let (_, events) = world.perform(r#"bob sends {"event":"said","id":2,"room":"log"}"#);
    assert!(world.has_failed());
    assert_eq!(events.len(), 2, "{events:#?}");
    world.evict();
    let (_, events) = world.perform(r#"bob sends {"event":"$history","id":1,"room":"log"}"#);
    let told = format!("{events:?}");
    assert!(!told.contains("said"), "{told}");
}

/// A value that damage made another type of costs its message or its room, and no more.
#[test]
fn a_damaged_row_costs_itself() {
    let (edge, settings) = world_of();
    let history = r#"alice sends {"event":"$history","id":1,"room":"log"}"#;
    for (which, sql, kept) in [
        (
            "frame",
            "UPDATE messages SET frame = x'80' WHERE position = 1",
            &["2"][..],
        ),
        (
            "time",
            "UPDATE messages SET at_ms = 'soon' WHERE position = 1",
            &["2"],
        ),
        ("all", "UPDATE messages SET excepted = x'00'", &[]),
        ("state", "UPDATE rooms SET state = x'80'", &[]),
        (
            "key",
            "INSERT INTO keys VALUES ('k', 9007199254740991, x'80')",
            &["1", "2"],
        ),
        (
            "bad",
            "INSERT INTO keys VALUES ('k', 9007199254740991, '{')",
            &["1", "2"],
        ),
    ] {
        let mut world = World::new(&edge, &settings, which);
        world.play(&CROWD);
        world.play(&[r#"bob sends {"event":"said","id":1,"room":"log","data":2}"#]);
        world.evict();
        let sql = sql
            .replace(' ', "%20")
            .replace('\'', "%27")
            .replace('{', "%7B");
        world.post(&format!("/-/damage?calls=1&sql={sql}"));
        // Wakes it, with the damage done.
        let (_, events) = world.perform(r#"bob sends {"event":"$ping"}"#);
        assert!(world.has_failed(), "{which}");
        assert!(
            format!("{events:?}").contains("$pong"),
            "{which}: {events:?}"
        );
        let (_, events) = world.perform(history);
        let told = format!("{events:?}");
        assert!(told.contains("messages"), "{which}: {told}");
        for data in ["1", "2"] {
            let message = format!(r#"\"data\":{data}}}"#);
            assert_eq!(
                told.contains(&message),
                kept.contains(&data),
                "{which}: {told}"
            );
        }
    }
}
