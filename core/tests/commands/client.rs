//! What clients do: connect, send, and go.

use roomcast_core::{
    Config, ConnId, DisconnectReason, ErrorCode, Frame, Handshake, Hub, Limits, Outbox, Rate,
    Timestamp, UnknownConn,
    hub::{HubState, Refused},
};

use crate::desk::{Desk, stranger};

#[test]
fn connect() {
    let mut desk = Desk::new();
    let a = desk.connect(Handshake::new()).expect("room for it");
    desk.assert_commands(["persist a"]);
    assert_eq!((a.serial(), a.slot()), (0, 0));

    desk.connect(Handshake::new().with_user("ann \"x\"").with_welcome(true))
        .expect("room");
    desk.assert_commands([
        r#"send b {"event":"$welcome","data":{"conn":"1048577","user":"ann \"x\"","heartbeat_ms":25000,"limits":{"message_bytes":65536,"rooms_per_connection":128,"room_name_bytes":200,"inbound_messages_per_s":50,"inbound_burst_messages":100}}}"#,
        "persist b",
    ]);
    assert_eq!(desk.hub.connections_of("ann \"x\"").len(), 1);
}

#[test]
fn connect_when_full() {
    let mut limits = Limits::default();
    limits.connections = 1;
    let mut desk = Desk::with(limits);
    let a = desk.connect(Handshake::new()).expect("room for it");
    desk.out.clear();
    let refused = desk.connect(Handshake::new().with_welcome(true));
    assert_eq!(refused, Err(Refused::Full { limit: 1 }));
    desk.assert_commands([]);
    desk.hub
        .disconnect(desk.now, a, DisconnectReason::Lost, &mut desk.out)
        .expect("alive");
    let b = desk.connect(Handshake::new()).expect("room for it");
    // The slot of the first, under another number.
    assert_eq!((b.serial(), b.slot()), (1, 0));
    desk.assert_commands(["persist b"]);
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
    assert_eq!(refused, Err(Refused::Exhausted));
    assert!(out.is_empty());
}

#[test]
fn receive_verbs() {
    let (mut desk, [a]) = Desk::connected();
    desk.text(a, r#"{"event":"$join","id":1,"room":"r"}"#);
    desk.assert_commands([
        "persist a",
        r#"send a {"event":"$join","id":1,"room":"r","data":{"epoch":"e","offset":0,"already":false}}"#,
    ]);
    desk.text(
        a,
        r#"{"event":"$join","room":"r","data":{"since":{"epoch":"x","offset":3}}}"#,
    );
    desk.assert_commands([
        r#"send a {"event":"$join","room":"r","data":{"epoch":"e","offset":0,"already":true,"recovered":false}}"#,
    ]);
    desk.text(a, r#"{"event":"$rooms","id":"x"}"#);
    desk.assert_commands([r#"send a {"event":"$rooms","id":"x","data":["r"]}"#]);
    desk.text(a, r#"{"event":"$leave","room":"r"}"#);
    desk.assert_commands([
        "persist a",
        r#"send a {"event":"$leave","room":"r","data":{"was":true}}"#,
    ]);
    desk.text(a, r#"{"event":"$leave","id":2,"room":"r"}"#);
    desk.assert_commands([r#"send a {"event":"$leave","id":2,"room":"r","data":{"was":false}}"#]);
    desk.text(a, r#"{"event":"$ping"}"#);
    desk.assert_commands([r#"send a {"event":"$pong"}"#]);
    desk.text(a, r#"{"event":"$ping","id":5,"room":"r"}"#);
    desk.assert_commands([r#"send a {"event":"$pong","id":5}"#]);
}

#[test]
fn receive_what_is_refused() {
    let (mut desk, [a]) = Desk::connected();
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
        desk.text(a, text);
        desk.assert_error(&format!("send a {head}"), code);
    }
    assert_eq!(desk.hub.rooms_of(a), Some(vec![]));
}

#[test]
fn receive_over_the_room_limit() {
    let mut limits = Limits::default();
    limits.rooms_per_connection = 1;
    let mut desk = Desk::with(limits);
    let a = desk.connect(Handshake::new()).expect("room for it");
    desk.join(a, "r");
    desk.text(a, r#"{"event":"$join","id":1,"room":"q"}"#);
    desk.assert_error(r#"send a {"event":"$join","id":1,"room":"q""#, "room_limit");
    assert_eq!(desk.hub.counts().rooms, 1);
}

#[test]
fn receive_over_the_limit_of_room_names() {
    let mut limits = Limits::default();
    limits.room_names_bytes = Some(r#""a","b\"","#.len());
    let mut desk = Desk::with(limits);
    let a = desk.connect(Handshake::new()).expect("room for it");
    desk.join(a, "a");
    desk.text(a, r#"{"event":"$join","id":1,"room":"b\\\\"}"#);
    desk.assert_error(
        r#"send a {"event":"$join","id":1,"room":"b\\\\""#,
        "room_limit",
    );
    assert_eq!(desk.hub.rooms_of(a), Some(vec!["a"]));
    desk.join(a, "b\"");
    desk.join(a, "b\"");
    assert_eq!(desk.hub.rooms_of(a), Some(vec!["a", "b\""]));
}

#[test]
fn decline() {
    let (mut desk, [a]) = Desk::connected();
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
        let (code, out) = (ErrorCode::Unavailable, &mut desk.out);
        let declined = desk.hub.decline(a, frame, code, "try again", out);
        assert_eq!(declined, Ok(()));
        desk.assert_error(head, "unavailable");
    }
    assert_eq!(desk.hub.counts().rooms, 0);
    let (gone, out) = (stranger(), &mut desk.out);
    let (frame, code) = (Frame::Text("{}"), ErrorCode::Unavailable);
    let declined = desk.hub.decline(gone, frame, code, "try again", out);
    assert_eq!(declined, Err(UnknownConn(gone)));
    desk.assert_commands([]);
}

#[test]
fn receive_what_closes() {
    let (mut desk, [a, b, c]) = Desk::connected();
    let received = desk
        .hub
        .receive(desk.now, a, Frame::Binary(b"x"), &mut desk.out);
    assert_eq!(received, Ok(None));
    desk.assert_commands(["close a 1003 messages are text"]);
    desk.text(b, &"x".repeat(65_537));
    desk.assert_commands(["close b 1009 message over the size limit"]);
    desk.text(c, &"x".repeat(65_536));
    desk.assert_error(r#"send c {"event":"$error""#, "bad_envelope");
    assert_eq!(desk.hub.counts().connections, 1);
}

#[test]
fn receive_over_the_rate() {
    let mut limits = Limits::default();
    let rate = |per_second, burst| Rate { per_second, burst };
    limits.inbound_messages = Some(rate(10, 1));
    limits.inbound_refusals = rate(1, 1);
    let mut desk = Desk::with(limits);
    let a = desk.connect(Handshake::new()).expect("room for it");
    desk.out.clear();
    let ping = r#"{"event":"$ping","id":1}"#;
    desk.text(a, ping);
    desk.assert_commands([r#"send a {"event":"$pong","id":1}"#]);
    desk.text(a, ping);
    desk.assert_error(r#"send a {"event":"$ping","id":1"#, "rate_limited");
    desk.now = Timestamp::from_millis(100);
    desk.text(a, ping);
    desk.assert_commands([r#"send a {"event":"$pong","id":1}"#]);
    desk.text(a, ping);
    desk.assert_commands([
        r#"send a {"event":"$bye","data":{"code":4429,"reconnect":true,"after_ms":0}}"#,
        "close a 4429 over the inbound rate for too long",
    ]);
}

#[test]
fn receive_from_the_dead() {
    let (mut desk, []) = Desk::connected();
    let dead = stranger();
    let received = desk
        .hub
        .receive(desk.now, dead, Frame::Text("{}"), &mut desk.out);
    assert_eq!(received, Err(UnknownConn(dead)));
    desk.assert_commands([]);
}

#[test]
fn receive_leaves_the_rest_to_the_application() {
    let (mut desk, [a]) = Desk::connected();
    let text = r#"{"event":"said","id":"i","room":"r","echo":true,"data":[ 1 ]}"#;
    let received = desk
        .hub
        .receive(desk.now, a, Frame::Text(text), &mut desk.out);
    let message = received.expect("alive").expect("a message");
    assert_eq!((message.conn, &*message.event), (a, "said"));
    assert_eq!(
        (message.room.as_deref(), message.echo),
        (Some("r"), Some(true))
    );
    assert_eq!(message.data.as_str(), "[ 1 ]");
    desk.assert_commands([]);
}

#[test]
fn publish() {
    let (mut desk, [a, b, c]) = Desk::connected();
    desk.join(a, "r");
    desk.join(c, "r");
    desk.text(a, r#"{"event":"said","id":1,"room":"r","data":{"x":1}}"#);
    desk.assert_commands([
        r#"send c {"event":"said","room":"r","from":{"conn":"0"},"data":{"x":1}}"#,
        r#"send a {"event":"said","id":1,"room":"r","data":{"reached":1}}"#,
    ]);
    desk.text(a, r#"{"event":"said","id":2,"room":"r","echo":true}"#);
    desk.assert_commands([
        r#"send a,c {"event":"said","room":"r","from":{"conn":"0"},"data":null}"#,
        r#"send a {"event":"said","id":2,"room":"r","data":{"reached":2}}"#,
    ]);
    desk.text(b, r#"{"event":"said","room":"r","echo":true,"data":1}"#);
    desk.assert_commands([
        r#"send a,c {"event":"said","room":"r","from":{"conn":"1048577"},"data":1}"#,
    ]);
    desk.text(b, r#"{"event":"said","room":"empty"}"#);
    desk.assert_commands([]);
    desk.text(b, r#"{"event":"said","id":3,"room":"empty"}"#);
    desk.assert_commands([r#"send b {"event":"said","id":3,"room":"empty","data":{"reached":0}}"#]);
}

#[test]
fn publish_of_the_dead() {
    let (mut desk, [a, b]) = Desk::connected();
    desk.join(b, "r");
    let text = Frame::Text(r#"{"event":"said","id":1,"room":"r"}"#);
    let message = desk.hub.receive(desk.now, a, text, &mut desk.out);
    let message = message.expect("alive").expect("a message");
    desk.hub
        .disconnect(desk.now, a, DisconnectReason::Lost, &mut desk.out)
        .expect("alive");
    let published = desk.hub.publish(desk.now, &message, &mut desk.out);
    assert_eq!(published, Err(UnknownConn(a)));
    desk.assert_commands([]);
}

#[test]
fn disconnect() {
    let (mut desk, [a, b]) = Desk::connected();
    desk.join(a, "r");
    desk.join(b, "r");
    let lost = DisconnectReason::Lost;
    assert_eq!(
        desk.hub.disconnect(desk.now, a, lost, &mut desk.out),
        Ok(())
    );
    desk.assert_commands([]);
    assert_eq!(desk.hub.members("r"), [b]);
    let again = desk.hub.disconnect(desk.now, a, lost, &mut desk.out);
    assert_eq!(again, Err(UnknownConn(a)));
    desk.assert_commands([]);
}
