//! Actions of clients: connect, send, disconnect.

use roomcast_core::{
    Config, ConnId, DisconnectReason, Frame, Handshake, Hub, Limits, Outbox, Rate, Timestamp,
    UnknownConn,
    hub::{HubState, Refusal, RequestError},
};

use super::harness::{Harness, stranger};

#[test]
fn connect() {
    let mut harness = Harness::new();
    let a = harness.connect(Handshake::new()).expect("room for it");
    harness.assert_commands(["persist a"]);
    assert_eq!((a.serial(), a.slot()), (0, 0));

    harness
        .connect(Handshake::new().with_user("ann \"x\"").with_welcome(true))
        .expect("room");
    harness.assert_commands([
        r#"send b {"event":"$welcome","data":{"conn":"1048577","user":"ann \"x\"","heartbeat_ms":25000,"limits":{"message_bytes":65536,"rooms_per_connection":128,"room_name_bytes":200,"inbound_messages_per_s":50,"inbound_burst_messages":100}}}"#,
        "persist b",
    ]);
    assert_eq!(harness.hub.connections_of("ann \"x\"").len(), 1);
}

#[test]
fn connect_when_full() {
    let mut limits = Limits::default();
    limits.connections = 1;
    let mut harness = Harness::with(limits);
    let a = harness.connect(Handshake::new()).expect("room for it");
    harness.out.clear();
    let refused = harness.connect(Handshake::new().with_welcome(true));
    assert_eq!(refused, Err(Refusal::Full { limit: 1 }));
    harness.assert_commands([]);
    harness
        .hub
        .disconnect(harness.now, a, DisconnectReason::Lost, &mut harness.out)
        .expect("alive");
    let b = harness.connect(Handshake::new()).expect("room for it");
    // Same slot as the first connection, but a new serial number.
    assert_eq!((b.serial(), b.slot()), (1, 0));
    harness.assert_commands(["persist b"]);
}

#[test]
fn connect_when_all_ids_are_used_up() {
    let state = HubState::from_serial(ConnId::SERIALS - 1);
    let mut hub = Hub::restore(Config::new("e"), state, []).expect("a state");
    let mut out = Outbox::new();
    let last = hub
        .connect(Timestamp::ZERO, Handshake::new(), &mut out)
        .expect("the last id");
    assert_eq!(last.as_u64() >> 20, ConnId::SERIALS - 1);
    out.clear();
    let refused = hub.connect(Timestamp::ZERO, Handshake::new(), &mut out);
    assert_eq!(refused, Err(Refusal::Exhausted));
    assert!(out.is_empty());
}

#[test]
fn receive_verbs() {
    let (mut harness, [a]) = Harness::connected();
    harness.text(a, r#"{"event":"$join","id":1,"room":"r"}"#);
    harness.assert_commands([
        "persist a",
        r#"send a {"event":"$join","id":1,"room":"r","data":{"epoch":"e","offset":0,"already":false}}"#,
    ]);
    harness.text(
        a,
        r#"{"event":"$join","room":"r","data":{"since":{"epoch":"x","offset":3}}}"#,
    );
    harness.assert_commands([
        r#"send a {"event":"$join","room":"r","data":{"epoch":"e","offset":0,"already":true,"recovered":false}}"#,
    ]);
    harness.text(a, r#"{"event":"$rooms","id":"x"}"#);
    harness.assert_commands([r#"send a {"event":"$rooms","id":"x","data":["r"]}"#]);
    harness.text(a, r#"{"event":"$leave","room":"r"}"#);
    harness.assert_commands([
        "persist a",
        r#"send a {"event":"$leave","room":"r","data":{"was":true}}"#,
    ]);
    harness.text(a, r#"{"event":"$leave","id":2,"room":"r"}"#);
    harness
        .assert_commands([r#"send a {"event":"$leave","id":2,"room":"r","data":{"was":false}}"#]);
    harness.text(a, r#"{"event":"$ping"}"#);
    harness.assert_commands([r#"send a {"event":"$pong"}"#]);
    harness.text(a, r#"{"event":"$ping","id":5,"room":"r"}"#);
    harness.assert_commands([r#"send a {"event":"$pong","id":5}"#]);
}

#[test]
fn receive_what_is_refused() {
    let (mut harness, [a]) = Harness::connected();
    for (text, head, code) in [
        ("", r#"{"event":"$error""#, "bad_envelope"),
        (r#"{"id":1}"#, r#"{"event":"$error","id":1"#, "bad_envelope"),
        (
            r#"{"event":"x","id":{}}"#,
            r#"{"event":"x""#,
            "bad_envelope",
        ),
        (
            r#"{"event":"x","id":1,"room":"r","data":"\ud800"}"#,
            r#"{"event":"x","id":1,"room":"r""#,
            "bad_payload",
        ),
        (r#"{"event":"x","room":""}"#, r#"{"event":"x""#, "bad_room"),
        (
            r#"{"event":"x","id":2}"#,
            r#"{"event":"x","id":2"#,
            "unknown_event",
        ),
        (
            r#"{"event":"$x","room":"r"}"#,
            r#"{"event":"$x","room":"r""#,
            "unknown_verb",
        ),
        (
            r#"{"event":"$join","id":3}"#,
            r#"{"event":"$join","id":3"#,
            "bad_room",
        ),
        (r#"{"event":"$leave"}"#, r#"{"event":"$leave""#, "bad_room"),
        (
            r#"{"event":"$join","room":"r","data":1}"#,
            r#"{"event":"$join","room":"r""#,
            "bad_payload",
        ),
    ] {
        harness.text(a, text);
        harness.assert_error(&format!("send a {head}"), code);
    }
    assert_eq!(harness.hub.rooms_of(a), Some(vec![]));
}

#[test]
fn receive_over_the_room_limit() {
    let mut limits = Limits::default();
    limits.rooms_per_connection = 1;
    let mut harness = Harness::with(limits);
    let a = harness.connect(Handshake::new()).expect("room for it");
    harness.join(a, "r");
    harness.text(a, r#"{"event":"$join","id":1,"room":"q"}"#);
    harness.assert_error(r#"send a {"event":"$join","id":1,"room":"q""#, "room_limit");
    assert_eq!(harness.hub.counts().rooms, 1);
}

#[test]
fn receive_over_the_limit_of_room_names() {
    let mut limits = Limits::default();
    limits.room_names_bytes = Some(r#""a","b\"","#.len());
    let mut harness = Harness::with(limits);
    let a = harness.connect(Handshake::new()).expect("room for it");
    harness.join(a, "a");
    harness.text(a, r#"{"event":"$join","id":1,"room":"b\\\\"}"#);
    harness.assert_error(
        r#"send a {"event":"$join","id":1,"room":"b\\\\""#,
        "room_limit",
    );
    assert_eq!(harness.hub.rooms_of(a), Some(vec!["a"]));
    harness.join(a, "b\"");
    harness.join(a, "b\"");
    assert_eq!(harness.hub.rooms_of(a), Some(vec!["a", "b\""]));
}

#[test]
fn decline() {
    let (mut harness, [a]) = Harness::connected();
    for (frame, head) in [
        (
            Frame::Text(r#"{"event":"$join","id":1,"room":"r"}"#),
            r#"send a {"event":"$join","id":1,"room":"r""#,
        ),
        (
            Frame::Text(r#"{"event":"e","id":"x","room":7}"#),
            r#"send a {"event":"e","id":"x""#,
        ),
        (Frame::Text("["), r#"send a {"event":"$error""#),
        (Frame::Binary(b"["), r#"send a {"event":"$error""#),
    ] {
        let (error, out) = (RequestError::Unsaved, &mut harness.out);
        let declined = harness.hub.decline(a, frame, error, out);
        assert_eq!(declined, Ok(()));
        harness.assert_error(head, "unavailable");
    }
    assert_eq!(harness.hub.counts().rooms, 0);
    let (gone, out) = (stranger(), &mut harness.out);
    let (frame, error) = (Frame::Text("{}"), RequestError::Unsaved);
    let declined = harness.hub.decline(gone, frame, error, out);
    assert_eq!(declined, Err(UnknownConn(gone)));
    harness.assert_commands([]);
}

#[test]
fn receive_what_closes() {
    let (mut harness, [a, b, c]) = Harness::connected();
    let received = harness
        .hub
        .receive(harness.now, a, Frame::Binary(b"x"), &mut harness.out);
    assert_eq!(received, Ok(None));
    harness.assert_commands(["close a 1003 messages are text"]);
    harness.text(b, &"x".repeat(65_537));
    harness.assert_commands(["close b 1009 message of more than 65536 bytes"]);
    harness.text(c, &"x".repeat(65_536));
    harness.assert_error(r#"send c {"event":"$error""#, "bad_envelope");
    assert_eq!(harness.hub.counts().connections, 1);
}

#[test]
fn receive_over_the_rate() {
    let mut limits = Limits::default();
    let rate = |per_second, burst| Rate { per_second, burst };
    limits.inbound_messages = Some(rate(10, 1));
    limits.inbound_refusals = rate(1, 1);
    let mut harness = Harness::with(limits);
    let a = harness.connect(Handshake::new()).expect("room for it");
    harness.out.clear();
    let ping = r#"{"event":"$ping","id":1}"#;
    harness.text(a, ping);
    harness.assert_commands([r#"send a {"event":"$pong","id":1}"#]);
    harness.text(a, ping);
    harness.assert_error(r#"send a {"event":"$ping","id":1"#, "rate_limited");
    harness.now = Timestamp::from_millis(100);
    harness.text(a, ping);
    harness.assert_commands([r#"send a {"event":"$pong","id":1}"#]);
    harness.text(a, ping);
    harness.assert_commands([
        r#"send a {"event":"$bye","data":{"code":4429,"reconnect":true,"after_ms":0}}"#,
        "close a 4429 over the inbound rate for too long",
    ]);
}

#[test]
fn receive_from_the_dead() {
    let (mut harness, []) = Harness::connected();
    let dead = stranger();
    let received = harness
        .hub
        .receive(harness.now, dead, Frame::Text("{}"), &mut harness.out);
    assert_eq!(received, Err(UnknownConn(dead)));
    harness.assert_commands([]);
}

#[test]
fn receive_leaves_the_rest_to_the_application() {
    let (mut harness, [a]) = Harness::connected();
    let text = r#"{"event":"said","id":"i","room":"r","echo":true,"data":[ 1 ]}"#;
    let received = harness
        .hub
        .receive(harness.now, a, Frame::Text(text), &mut harness.out);
    let message = received.expect("alive").expect("a message");
    assert_eq!((message.conn, &*message.event), (a, "said"));
    assert_eq!(
        (message.room.as_deref(), message.echo),
        (Some("r"), Some(true))
    );
    assert_eq!(message.data.as_str(), "[ 1 ]");
    harness.assert_commands([]);
}

#[test]
fn publish() {
    let (mut harness, [a, b, c]) = Harness::connected();
    harness.join(a, "r");
    harness.join(c, "r");
    harness.text(a, r#"{"event":"said","id":1,"room":"r","data":{"x":1}}"#);
    harness.assert_commands([
        r#"send c {"event":"said","room":"r","from":{"conn":"0"},"data":{"x":1}}"#,
        r#"send a {"event":"said","id":1,"room":"r","data":{"reached":1}}"#,
    ]);
    harness.text(a, r#"{"event":"said","id":2,"room":"r","echo":true}"#);
    harness.assert_commands([
        r#"send a,c {"event":"said","room":"r","from":{"conn":"0"},"data":null}"#,
        r#"send a {"event":"said","id":2,"room":"r","data":{"reached":2}}"#,
    ]);
    harness.text(b, r#"{"event":"said","room":"r","echo":true,"data":1}"#);
    harness.assert_commands([
        r#"send a,c {"event":"said","room":"r","from":{"conn":"1048577"},"data":1}"#,
    ]);
    harness.text(b, r#"{"event":"said","room":"empty"}"#);
    harness.assert_commands([]);
    harness.text(b, r#"{"event":"said","id":3,"room":"empty"}"#);
    harness
        .assert_commands([r#"send b {"event":"said","id":3,"room":"empty","data":{"reached":0}}"#]);
}

#[test]
fn publish_of_the_dead() {
    let (mut harness, [a, b]) = Harness::connected();
    harness.join(b, "r");
    let text = Frame::Text(r#"{"event":"said","id":1,"room":"r"}"#);
    let message = harness.hub.receive(harness.now, a, text, &mut harness.out);
    let message = message.expect("alive").expect("a message");
    harness
        .hub
        .disconnect(harness.now, a, DisconnectReason::Lost, &mut harness.out)
        .expect("alive");
    let published = harness.hub.publish(harness.now, &message, &mut harness.out);
    assert_eq!(published, Err(UnknownConn(a)));
    harness.assert_commands([]);
}

#[test]
fn disconnect() {
    let (mut harness, [a, b]) = Harness::connected();
    harness.join(a, "r");
    harness.join(b, "r");
    let lost = DisconnectReason::Lost;
    assert_eq!(
        harness
            .hub
            .disconnect(harness.now, a, lost, &mut harness.out),
        Ok(())
    );
    harness.assert_commands([]);
    assert_eq!(harness.hub.members("r"), [b]);
    let again = harness
        .hub
        .disconnect(harness.now, a, lost, &mut harness.out);
    assert_eq!(again, Err(UnknownConn(a)));
    harness.assert_commands([]);
}
