//! Sockets that take nothing, and a module that breaks.

use roomcast_tests::Event;

use super::world::{CROWD, World, start};

/// A member that cannot be sent a message is closed: it would miss the message without knowing.
#[test]
fn a_member_that_cannot_be_sent_a_message_is_closed() {
    let (edge, settings) = start("");
    let mut world = World::new(&edge, &settings, "send");
    world.play(&CROWD);
    world.fail("send", 1);
    let (_, events) = world.perform(r#"carol sends {"event":"said","room":"lobby","data":1}"#);
    assert!(world.has_failed());
    let (of_bob, of_alice): (Vec<_>, Vec<_>) = events
        .into_iter()
        .partition(|(actor, _)| *actor == "bob".into());
    world.closed_for_a_fault("alice", &of_alice);
    assert!(matches!(&*of_bob, [(_, Event::Text(_))]), "{of_bob:#?}");
    world.play(&["alice disconnects"]);
    world.nothing_happened();
}

/// The module is instantiated again after a fault of its own, regardless of the frame of the input
/// at which it broke.
#[test]
fn a_module_that_breaks_in_the_middle_of_an_input_begins_anew() {
    let (edge, settings) = start("");
    // To the members, and the answer.
    let text = r#"{"event":"said","id":1,"room":"lobby","echo":true}"#;
    for frame in [1, 2] {
        let mut world = World::new(&edge, &settings, format!("frame-{frame}"));
        world.play(&CROWD);
        world.fail("frame", frame);
        let (_, events) = world.perform(&format!("alice sends {text}"));
        assert!(world.has_failed());
        world.closed_for_a_fault("alice", &events);
        world.play(&["alice disconnects"]);
        world.nothing_happened();
    }
}

#[test]
fn a_module_that_breaks_in_the_middle_of_a_call_begins_anew() {
    let (edge, settings) = start("");
    let message = r#"{"audience":{"rooms":["lobby"]},"event":"said","data":1}"#;
    let send = format!("server with key k sends {message}");
    for (name, line) in [("send", &*send), ("close", r#"server closes bob 4410 """#)] {
        let mut world = World::new(&edge, &settings, name);
        world.play(&CROWD);
        world.fail("frame", 1);
        assert!(world.refuses(line, 500), "{name}");
        world.nothing_happened();
        world.play(&[line]);
    }
}
