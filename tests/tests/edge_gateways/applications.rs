//! The example applications, with their objects out of memory before every step.

use roomcast_tests::Sockets;
use tokio_tungstenite::tungstenite::Message;

use crate::world::World;

#[test]
fn a_chat_keeps_its_history_while_it_sleeps() {
    let world = World::sleepless();
    let mut ann = world.connect("chat");
    ann.asks(
        r#"{"event":"history","data":null}"#,
        r#"{"event":"history","data":[]}"#,
    );
    let mut bob = world.connect("chat");
    let message = r#"{"event":"message","data":{"author":"ann","text":"hi"}}"#;
    ann.asks(message, message);
    bob.gets(message);
    bob.asks(
        r#"{"event":"presence"}"#,
        r#"{"event":"presence","data":2}"#,
    );
    bob.send(r#"{"event":"typing","data":"bob"}"#);
    ann.gets(r#"{"event":"typing","data":"bob"}"#);
    for member in [&mut ann, &mut bob] {
        member.asks(
            r#"{"event":"join","data":{"room":"lobby"}}"#,
            r#"{"event":"join","data":"lobby"}"#,
        );
    }
    ann.send(r#"{"event":"say","data":{"room":"lobby","text":"hello"}}"#);
    for member in [&mut ann, &mut bob] {
        member.gets(r#"{"event":"say","room":"lobby","data":"hello"}"#);
    }
    bob.asks(
        r#"{"event":"leave","data":{"room":"lobby"}}"#,
        r#"{"event":"leave","data":"lobby"}"#,
    );
    bob.close();
    ann.asks(
        r#"{"event":"say","id":1,"data":{"room":"kitchen","text":"hello"}}"#,
        r#"{"event":"say","id":1,"error":{"code":"forbidden","message":"join the room before you say something in it"}}"#,
    );
    ann.asks(
        r#"{"event":"presence","id":2}"#,
        r#"{"event":"presence","id":2,"data":1}"#,
    );
    // Not even a deployment loses what was said.
    let closed = world.edge.evict(0, "chat", Sockets::Close);
    assert_eq!(closed, Ok(true));
    let mut cid = world.connect("chat");
    cid.asks(
        r#"{"event":"history"}"#,
        r#"{"event":"history","data":[{"author":"ann","text":"hi"}]}"#,
    );
    world.is_calm();
}

/// Each connection has its own, in its socket.
#[test]
fn a_session_outlives_sleep() {
    let world = World::sleepless();
    let mut ann = world.connect("trials");
    let mut bob = world.connect("trials");
    ann.asks(
        r#"{"event":"remember","id":1,"data":"blue"}"#,
        r#"{"event":"remember","id":1,"data":null}"#,
    );
    bob.asks(
        r#"{"event":"remember","id":1,"data":"red"}"#,
        r#"{"event":"remember","id":1,"data":null}"#,
    );
    ann.asks(
        r#"{"event":"recall"}"#,
        r#"{"event":"recall","data":"blue"}"#,
    );
    bob.asks(
        r#"{"event":"recall"}"#,
        r#"{"event":"recall","data":"red"}"#,
    );
    // All that fits, and a byte more.
    let most = "\\\"".repeat(511);
    let set = format!(r#"{{"event":"remember","id":2,"data":"{most}"}}"#);
    ann.asks(&set, r#"{"event":"remember","id":2,"data":null}"#);
    ann.asks(
        r#"{"event":"recall"}"#,
        &format!(r#"{{"event":"recall","data":"{most}"}}"#),
    );
    let set = format!(r#"{{"event":"remember","id":3,"data":"{most}x"}}"#);
    ann.send(&set);
    let refused = ann.next().expect("an answer").to_string();
    assert!(
        refused.contains(r#""id":3,"error":{"code":"internal""#),
        "{refused}"
    );
    ann.asks(
        r#"{"event":"recall"}"#,
        &format!(r#"{{"event":"recall","data":"{most}"}}"#),
    );
}

/// The beats go on where they were, while the object is in memory for hardly anything else.
#[test]
fn a_schedule_beats_through_sleep() {
    let world = World::sleepless();
    let mut ann = world.connect("heartbeat");
    for number in 1..=3 {
        let beat = format!(r#"{{"event":"beat","data":{{"number":{number},"connections":1}}}}"#);
        world.evict("heartbeat");
        ann.gets(&beat);
    }
    // It stops with the last connection, and goes on with the next one.
    ann.close();
    let mut bob = world.connect("heartbeat");
    let beat = r#"{"event":"beat","data":{"number":4,"connections":1}}"#;
    bob.gets(beat);
    world.is_calm();
}

#[test]
fn rooms_by_path() {
    let world = World::sleepless();
    let mut ann = world.connect("rooms");
    ann.asks(
        r#"{"event":"join","id":1,"room":"/chat/rust"}"#,
        r#"{"event":"join","id":1,"room":"/chat/rust","data":"rust"}"#,
    );
    let mut bob = world.connect("rooms");
    bob.asks(
        r#"{"event":"say","id":1,"room":"/chat/rust","data":"hi"}"#,
        r#"{"event":"say","id":1,"room":"/chat/rust","data":1}"#,
    );
    ann.gets(r#"{"event":"said","room":"/chat/rust","data":"hi"}"#);
    bob.asks(
        r#"{"event":"join","room":"/table/7/seat/2"}"#,
        r#"{"event":"join","room":"/table/7/seat/2","data":{"table":7,"seat":2}}"#,
    );
    world.is_calm();
}

/// What is sent in text comes in text, what is sent in bytes in bytes.
#[test]
fn frames_without_envelopes() {
    let world = World::sleepless();
    let mut ann = world.connect("raw");
    let mut bob = world.connect("raw");
    ann.asks("join:r", "joined:r");
    bob.asks("join:r", "joined:r");
    ann.send("msg:r:hello");
    ann.gets("r:hello");
    bob.gets("r:hello");
    let bytes = Message::binary(vec![0, 159, 146, 150, 255]);
    ann.send_message(bytes.clone());
    assert_eq!(bob.next(), Some(bytes));
    // Nothing is answered by the platform.
    ann.asks(r#"{"event":"$ping"}"#, "error:unknown word");
    ann.asks("ping:", "pong:");
    bob.send("bye");
    bob.is_closed(1000);
    let gone = ann.next().expect("a frame").to_string();
    assert!(
        gone.starts_with("gone:") && gone.ends_with(":closed"),
        "{gone}"
    );
    world.is_calm();
}

/// Another namespace sends what clients without envelopes understand.
#[test]
fn frames_without_envelopes_from_outside() {
    let world = World::sleepless();
    let mut ann = world.connect("trials-raw");
    ann.asks("here", "here");
    let mut bob = world.connect("trials");
    bob.asks(
        r#"{"event":"raw","data":"hi"}"#,
        r#"{"event":"raw","data":2}"#,
    );
    ann.gets("hi");
    assert_eq!(ann.next(), Some(Message::binary(b"hi".to_vec())));
    world.is_calm();
}

/// Two namespaces with the same application share nothing.
#[test]
fn namespaces_share_nothing() {
    let world = World::sleepless();
    let mut ann = world.connect("default");
    let mut bob = world.connect("chat");
    let message = r#"{"event":"message","data":{"author":"ann","text":"hi"}}"#;
    ann.asks(message, message);
    bob.asks(r#"{"event":"history"}"#, r#"{"event":"history","data":[]}"#);
    bob.asks(
        r#"{"event":"presence"}"#,
        r#"{"event":"presence","data":1}"#,
    );
    // A namespace without an application is there as well.
    let mut cid = world.connect("elsewhere");
    cid.asks(
        r#"{"event":"history","id":1}"#,
        r#"{"event":"history","id":1,"error":{"code":"unknown_event","message":"no handler for this event: add a `room` to publish to one"}}"#,
    );
}

/// An application in one namespace tells people in another one: another object.
#[test]
fn one_namespace_tells_another_one() {
    let world = World::sleepless();
    let mut ann = world.connect_as("notify", "?user=ann");
    let mut bob = world.connect("notify");
    bob.asks(
        r#"{"event":"follow","data":"orders"}"#,
        r#"{"event":"follow","data":"orders"}"#,
    );
    let mut till = world.connect("orders");
    till.asks(
        r#"{"event":"paid","id":1,"data":{"order":7,"by":"ann"}}"#,
        r#"{"event":"paid","id":1,"data":2}"#,
    );
    ann.gets(r#"{"event":"notice","data":{"text":"order 7 is paid"}}"#);
    bob.gets(r#"{"event":"notice","room":"orders","data":{"text":"order 7 is paid"}}"#);
    world.is_calm();
}
