//! The example applications, with their objects out of memory before every step.

use roomcast_tests::Sockets;
use tokio_tungstenite::tungstenite::Message;

use super::world::{Client, World};

/// A frame whose time is not known beforehand: the text before it, and the text behind it.
fn timed(client: &mut Client, before: &str, behind: &str) -> String {
    let frame = client.next().expect("a frame").to_string();
    let time = frame
        .strip_prefix(before)
        .and_then(|rest| rest.strip_suffix(behind));
    let time = time.unwrap_or_else(|| panic!("{frame}"));
    assert_eq!(time.len(), "2026-06-08T10:23:14Z".len(), "{frame}");
    time.to_owned()
}

#[test]
fn a_chat_keeps_its_history_while_it_sleeps() {
    let world = World::sleepless();
    let mut ann = world.connect("chat");
    ann.asks(
        r#"{"event":"history","data":null}"#,
        r#"{"event":"history","data":[]}"#,
    );
    let mut bob = world.connect("chat");
    ann.send(r#"{"event":"message","data":{"author":"ann","text":"hi"}}"#);
    let before = r#"{"event":"message","data":{"author":"ann","text":"hi","at":""#;
    let at = timed(&mut ann, before, r#""}}"#);
    assert_eq!(timed(&mut bob, before, r#""}}"#), at);
    bob.asks_for("presence", "2");
    bob.send(r#"{"event":"typing","data":{"author":"bob","text":"..."}}"#);
    ann.gets(r#"{"event":"typing","data":{"author":"bob","text":"..."}}"#);
    for member in [&mut ann, &mut bob] {
        member.asks(
            r#"{"event":"join","id":1,"data":"dev"}"#,
            r#"{"event":"join","id":1,"data":null}"#,
        );
    }
    ann.send(r#"{"event":"say","data":{"author":"ann","text":"hello"}}"#);
    bob.gets(r#"{"event":"said","data":{"author":"ann","text":"hello"}}"#);
    bob.asks(
        r#"{"event":"leave","id":2,"data":"dev"}"#,
        r#"{"event":"leave","id":2,"data":null}"#,
    );
    bob.close();
    ann.asks(
        r#"{"event":"presence","id":2}"#,
        r#"{"event":"presence","id":2,"data":1}"#,
    );
    // Not even a deployment loses what was said.
    let closed = world.edge.evict(0, "chat", Sockets::Close);
    assert_eq!(closed, Ok(true));
    let mut cid = world.connect("chat");
    let history =
        format!(r#"{{"event":"history","data":[{{"author":"ann","text":"hi","at":"{at}"}}]}}"#);
    cid.asks(r#"{"event":"history"}"#, &history);
    cid.asks_for("presence", "1");
    world.is_calm();
}

/// Each connection has its own, in its socket.
#[test]
fn a_session_outlives_sleep() {
    let world = World::sleepless();
    let (mut ann, mut bob) = world.connect_two("trials");
    ann.asks(
        r#"{"event":"remember","id":1,"data":"blue"}"#,
        r#"{"event":"remember","id":1,"data":null}"#,
    );
    bob.asks(
        r#"{"event":"remember","id":1,"data":"red"}"#,
        r#"{"event":"remember","id":1,"data":null}"#,
    );
    ann.asks_for("recall", r#""blue""#);
    bob.asks_for("recall", r#""red""#);
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

/// The schedule tells the time of each beat, while the object is in memory for hardly anything
/// else.
#[test]
fn a_schedule_beats_through_sleep() {
    let world = World::sleepless();
    let (before, behind) = (r#"{"event":"heartbeat","data":""#, r#""}"#);
    let mut ann = world.connect("heartbeat");
    let mut beats = Vec::new();
    for _ in 1..=3 {
        world.evict("heartbeat");
        beats.push(timed(&mut ann, before, behind));
    }
    assert!(beats.is_sorted_by(|earlier, later| earlier < later));
    // It stops with the last connection, and goes on with the next one.
    ann.close();
    let mut bob = world.connect("heartbeat");
    let next = timed(&mut bob, before, behind);
    assert!(beats.last().is_some_and(|last| *last < next), "{next}");
    world.is_calm();
}

#[test]
fn rooms_by_path() {
    let world = World::sleepless();
    let (mut ann, mut bob) = world.connect_two("rooms-by-path");
    for (member, name) in [(&mut bob, "Bob"), (&mut ann, "Ann")] {
        member.asks(
            &format!(r#"{{"event":"join","id":1,"room":"/chat/rust","data":{{"name":"{name}"}}}}"#),
            r#"{"event":"join","id":1,"room":"/chat/rust","data":{"joined":true,"room":"rust","rooms":["/chat/rust"]}}"#,
        );
    }
    bob.gets(r#"{"event":"system","room":"/chat/rust","data":{"text":"Ann joined"}}"#);
    bob.send(r#"{"event":"message","room":"/chat/rust","data":{"from":"Bob","text":"hi"}}"#);
    ann.gets(r#"{"event":"message","room":"/chat/rust","data":{"from":"Bob","text":"hi"}}"#);
    ann.asks(
        r#"{"event":"notify","room":"/self"}"#,
        r#"{"event":"notification","path":"/alerts","data":{"text":"Just for you"}}"#,
    );
    world.is_calm();
}

/// Text is the application's own, and the platform answers nothing for it.
#[test]
fn frames_without_envelopes() {
    let world = World::sleepless();
    let hello = "Connected. Send 'join:<room>' to join a room.";
    let mut ann = world.connect("raw");
    ann.gets(hello);
    ann.asks("join:r", "Joined room: r");
    let id = ann.next().expect("a frame").to_string();
    let id = id.strip_suffix(" joined").expect("its id").to_owned();
    let mut bob = world.connect("raw");
    bob.gets(hello);
    bob.asks("join:r", "Joined room: r");
    let joined = bob.next().expect("a frame").to_string();
    ann.gets(&joined);
    ann.send("msg:r:a:b");
    for member in [&mut ann, &mut bob] {
        member.gets(&format!("[r] {id}: a:b"));
    }
    ann.send_message(Message::binary(vec![0, 159, 146, 150, 255]));
    let advice = "Error: send join:<room>, leave:<room> or msg:<room>:<text>";
    ann.asks(r#"{"event":"$ping"}"#, advice);
    bob.close();
    ann.asks("msg:r:alone", &format!("[r] {id}: alone"));
    ann.asks("leave:r", "Left room: r");
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
    ann.send(r#"{"event":"message","data":{"author":"ann","text":"hi"}}"#);
    let before = r#"{"event":"message","data":{"author":"ann","text":"hi","at":""#;
    timed(&mut ann, before, r#""}}"#);
    bob.asks_for("history", "[]");
    bob.asks_for("presence", "1");
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
