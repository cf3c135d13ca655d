//! Applications that fail, and a platform that fails under one.

use tokio_tungstenite::tungstenite::Message;

use super::world::World;

const FAILED: &str = r#""error":{"code":"internal","message":"internal server error (logged)"}}"#;

/// A handler counts, joins a room, notifies everybody, and then panics: none of it takes effect.
#[test]
fn who_made_a_handler_panic_is_told_and_nobody_else() {
    let world = World::start();
    let (mut ann, mut bob) = world.connect_two("trials");
    // In another object, of the same module.
    let mut cid = world.connect("chat");
    ann.asks_for("count", "1");
    ann.asks(
        r#"{"event":"panic","id":7,"room":"r"}"#,
        &format!(r#"{{"event":"panic","id":7,"room":"r",{FAILED}"#),
    );
    ann.asks_for("$rooms", "[]");
    bob.asks_for("count", "2");
    cid.asks_for("presence", "1");
    // Also without an id, and again.
    ann.asks(
        r#"{"event":"panic"}"#,
        &format!(r#"{{"event":"panic",{FAILED}"#),
    );
    ann.asks_for("count", "3");
    world.has_logged(&["the handler was told to"]);
    world.has_logged(&[r#"trials: "panic" of connection 0 panicked"#]);
}

#[test]
fn an_error_is_told_to_the_log_alone() {
    let world = World::start();
    let mut ann = world.connect("trials");
    ann.asks(
        r#"{"event":"fail"}"#,
        &format!(r#"{{"event":"fail",{FAILED}"#),
    );
    world.has_logged(&["trials", "fail of connection 0", "invalid digit"]);
}

#[test]
fn a_door_that_panics_stays_shut_and_the_room_behind_it_stands() {
    let world = World::start();
    let mut ann = world.connect("trials");
    ann.asks_for("count", "1");
    for query in ["?door=panics", "?user=panics"] {
        let refused = world.try_connect("trials", query, &[]);
        let refused = refused.err().expect("it is refused");
        assert_eq!(refused.status, 500, "{query}");
        let mut refused = world.connect_as("trials", &format!("{query}&refuse=close"));
        let error = refused.next().expect("a frame").to_string();
        assert!(error.contains(r#""code":"internal""#), "{error}");
        refused.is_closed(1011);
    }
    ann.asks_for("count", "2");
    ann.releases("nobody", 1, false);
}

/// A protocol without envelopes has no error frame.
#[test]
fn who_made_a_frame_handler_panic_goes_on() {
    let world = World::start();
    let mut ann = world.connect("trials-raw");
    ann.asks("one", "one");
    ann.send("panic");
    ann.asks("two", "two");
    let bytes = Message::binary(vec![0, 255]);
    ann.send_message(bytes.clone());
    assert_eq!(ann.next(), Some(bytes));
    ann.send("bye");
    ann.is_closed(1000);
}

/// The others go on, and the one that panics is tried again at its next time.
#[test]
fn a_schedule_that_panics_waits_for_its_next_time() {
    let world = World::start();
    let mut ann = world.connect("trials");
    ann.asks(r#"{"event":"$join","room":"ticks"}"#, &{
        let mut probe = world.connect("trials");
        probe.send(r#"{"event":"$join","room":"probe"}"#);
        let joined = probe.next().expect("an answer").to_string();
        joined.replace("probe", "ticks")
    });
    ann.gets(r#"{"event":"tick","room":"ticks","data":0}"#);
    ann.send(r#"{"event":"set","id":1,"data":13}"#);
    let mut answered = false;
    while !answered {
        let next = ann.next().expect("a frame").to_string();
        answered = next.contains(r#""event":"set""#);
    }
    world.has_logged(&["the schedule was told to"]);
    ann.send(r#"{"event":"set","id":2,"data":5}"#);
    let ticks = Message::text(r#"{"event":"tick","room":"ticks","data":5}"#);
    while ann.next().expect("a tick") != ticks {}
}

/// State, session, room, and the frames for everybody: all of them take effect, or none.
#[test]
fn what_cannot_be_saved_has_not_happened() {
    let world = World::faulty();
    let (mut ann, mut bob) = world.connect_two("trials");
    bob.asks_for("count", "1");
    ann.asks(
        r#"{"event":"remember","id":0,"data":"red"}"#,
        r#"{"event":"remember","id":0,"data":null}"#,
    );
    for (number, method) in [(2, "exec"), (4, "serializeAttachment")] {
        world.fail(method, 1);
        ann.send(r#"{"event":"all","id":1,"data":"blue"}"#);
        let told = ann.next().expect("an answer").to_string();
        let unavailable = r#"{"event":"all","id":1,"error":{"code":"unavailable","message":"#;
        assert!(told.starts_with(unavailable), "{method}: {told}");
        assert!(world.has_failed(), "{method}");
        // In memory, and in what is saved.
        for number in [number, number + 1] {
            bob.asks_for("count", &number.to_string());
            ann.asks_for("recall", r#""red""#);
            ann.asks_for("$rooms", "[]");
            world.evict("trials");
        }
    }
    ann.send(r#"{"event":"all","id":2,"data":"blue"}"#);
    ann.gets(r#"{"event":"told","data":"blue"}"#);
    ann.gets(r#"{"event":"all","id":2,"data":null}"#);
    bob.gets(r#"{"event":"told","data":"blue"}"#);
    world.evict("trials");
    ann.asks_for("recall", r#""blue""#);
    bob.asks_for("count", "7");
}

/// A connection that its application admits, but that cannot be saved, never existed.
#[test]
fn a_connection_that_cannot_be_saved_is_refused() {
    let world = World::faulty();
    let mut ann = world.connect("trials");
    ann.asks_for("count", "1");
    for method in ["exec", "serializeAttachment", "acceptWebSocket"] {
        world.fail(method, 1);
        let refused = world.try_connect("trials", "?user=bob", &[]);
        assert!(
            refused.is_err_and(|refused| refused.status == 503),
            "{method}"
        );
        assert!(world.has_failed(), "{method}");
    }
    ann.asks_for("count", "2");
    world.evict("trials");
    ann.asks_for("count", "3");
}

/// Each panic costs all objects of the module something, and no rate is charged for it.
#[test]
fn who_makes_handlers_panic_again_and_again_is_closed() {
    let world = World::start();
    let (mut ann, mut bob) = world.connect_two("trials");
    let failed = format!(r#"{{"event":"panic",{FAILED}"#);
    for _ in 0..16 {
        ann.asks(r#"{"event":"panic"}"#, &failed);
    }
    ann.send(r#"{"event":"panic"}"#);
    ann.gets(r#"{"event":"$bye","data":{"code":1011,"reconnect":true,"after_ms":0}}"#);
    ann.is_closed(1011);
    bob.asks(r#"{"event":"panic"}"#, &failed);
    bob.asks_for("count", "1");
}
