//! Storage and attachments that cannot be written or read.

use super::world::{CROWD, World, start, whichever_call_fails};

#[test]
fn what_a_client_asks_for_and_cannot_be_saved_has_not_happened() {
    let (edge, settings) = start("");
    for (namespace, head, rest) in [
        ("join", r#"{"event":"$join","id":1,"room":"kitchen""#, "}"),
        ("leave", r#"{"event":"$leave","id":1,"room":"lobby""#, "}"),
        // The time of the connection's last activity is saved.
        (
            "publish",
            r#"{"event":"said","id":1,"room":"lobby""#,
            r#","data":1}"#,
        ),
    ] {
        let mut world = World::new(&edge, &settings, namespace);
        world.play(&CROWD);
        world.fail("serializeAttachment", 1);
        assert!(world.declines(head, &format!("alice sends {head}{rest}")));
        world.nothing_happened();
    }
}

#[test]
fn what_the_application_asks_for_and_cannot_be_saved_has_not_happened() {
    let (edge, settings) = start("");
    for (namespace, line) in [
        ("join", "server joins alice to kitchen"),
        ("leave", "server removes alice from lobby"),
        ("close", r#"server closes alice 4410 """#),
    ] {
        let mut world = World::new(&edge, &settings, namespace);
        world.play(&CROWD);
        world.fail("serializeAttachment", 1);
        assert!(world.refuses(line, 503));
        world.nothing_happened();
    }
}

/// A send that was refused can be sent again under its key.
#[test]
fn an_idempotency_key_that_cannot_be_saved_is_not_remembered() {
    let (edge, settings) = start("");
    let send =
        r#"server with key k sends {"audience":{"rooms":["lobby"]},"event":"said","data":1}"#;
    whichever_call_fails(|call| {
        let mut world = World::new(&edge, &settings, format!("key-{call}"));
        world.play(&CROWD);
        world.fail("exec", call);
        let refused = world.refuses(send, 503);
        if refused {
            world.play(&[send, send]);
            world.nothing_happened();
            world.play(&[send]);
        }
        refused
    });
}

/// The first connection of a namespace, and a later one.
#[test]
fn a_connection_that_cannot_be_saved_is_refused() {
    // With a heartbeat every message is a reason to save, those of the driver too.
    let (edge, settings) = start("heartbeat_ms=off");
    for (which, before) in [("first", &CROWD[..0]), ("later", &CROWD[..])] {
        for method in ["exec", "serializeAttachment", "acceptWebSocket"] {
            whichever_call_fails(|call| {
                let namespace = format!("{which}-{method}-{call}");
                let mut world = World::new(&edge, &settings, namespace);
                world.play(before);
                // Makes it read what it has saved: that fails in another test.
                world.play(&["server lists rooms"]);
                world.fail(method, call);
                let refused = world.refuses("dave connects with welcome", 503);
                if refused {
                    world.play(&CROWD[before.len()..]);
                    world.nothing_happened();
                }
                refused
            });
        }
    }
}

/// An object that cannot read its saved state closes the connection that woke it, which it does not
/// know; it reads again with the next input.
#[test]
fn who_wakes_an_object_that_cannot_be_read_is_closed() {
    whichever_read_fails(|world| {
        let (_, events) = world.perform(r#"alice sends {"event":"said","room":"lobby"}"#);
        let failed = world.has_failed();
        if failed {
            world.closed_for_a_fault("alice", &events);
            world.play(&["alice disconnects"]);
        }
        failed
    });
}

/// The same when it is the application that wakes it.
#[test]
fn an_object_that_cannot_be_read_is_unavailable() {
    whichever_read_fails(|world| world.refuses("server joins alice to kitchen", 503));
}

/// Lets each read of what an object has saved fail in turn: `wake` wakes it, says whether its read
/// failed, and has no other effect then.
fn whichever_read_fails(wake: impl Fn(&mut World<'_>) -> bool) {
    let (edge, settings) = start("");
    for method in ["exec", "deserializeAttachment"] {
        whichever_call_fails(|call| {
            let mut world = World::new(&edge, &settings, format!("{method}-{call}"));
            world.play(&CROWD);
            world.evict();
            world.fail(method, call);
            let failed = wake(&mut world);
            if failed {
                world.nothing_happened();
            }
            failed
        });
    }
}
