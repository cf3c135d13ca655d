//! What the application does: join, leave, send, close.

use roomcast_core::{
    Audience, CloseCode, ConnId, DisconnectReason, EncodeError, Handshake, Input, JoinError,
    Limits, Payload, SendError, Timestamp, UnknownConn, hub::HubState,
};

use crate::desk::{Desk, NOBODY, queued, stranger};

#[test]
fn join_and_leave() {
    let (mut desk, [a]) = Desk::connected();
    let joined = desk
        .hub
        .join(desk.now, a, "r", &mut desk.out)
        .expect("a join");
    let position = joined.position;
    assert_eq!(
        (&*position.epoch, position.offset, joined.already),
        ("e", 0, false)
    );
    desk.assert_commands(["persist a"]);
    assert!(
        desk.hub
            .join(desk.now, a, "r", &mut desk.out)
            .expect("a join")
            .already
    );
    desk.assert_commands([]);
    assert_eq!(desk.hub.members("r"), [a]);
    assert_eq!(desk.hub.leave(desk.now, a, "r", &mut desk.out), Ok(true));
    desk.assert_commands(["persist a"]);
    assert_eq!(desk.hub.leave(desk.now, a, "r", &mut desk.out), Ok(false));
    assert_eq!(
        desk.hub.leave(desk.now, a, "never", &mut desk.out),
        Ok(false)
    );
    desk.assert_commands([]);
    assert!(desk.hub.members("r").is_empty());
}

#[test]
fn join_and_leave_that_fail() {
    let mut limits = Limits::default();
    limits.rooms_per_connection = 1;
    let mut desk = Desk::with(limits);
    let a = desk.connect(Handshake::new()).expect("room for it");
    desk.join(a, "r");
    let over = desk.hub.join(desk.now, a, "q", &mut desk.out).map(|_| ());
    assert_eq!(over, Err(JoinError::RoomLimit { limit: 1 }));
    let bad = desk.hub.join(desk.now, a, "", &mut desk.out).map(|_| ());
    assert!(matches!(bad, Err(JoinError::Room(_))));
    let dead = stranger();
    let unknown = desk
        .hub
        .join(desk.now, dead, "r", &mut desk.out)
        .map(|_| ());
    assert_eq!(unknown, Err(JoinError::UnknownConn(UnknownConn(dead))));
    let unknown = desk.hub.leave(desk.now, dead, "r", &mut desk.out);
    assert_eq!(unknown, Err(UnknownConn(dead)));
    desk.assert_commands([]);
    assert_eq!(desk.hub.members("r"), [a]);
}

#[test]
fn send_to_every_kind_of_audience() {
    let mut desk = Desk::new();
    let mut connect = |user: &str| {
        desk.connect(Handshake::new().with_user(user))
            .expect("room")
    };
    let (a, b, c) = (connect("ann"), connect("ben"), connect("ann"));
    desk.out.clear();
    desk.join(a, "r");
    desk.join(b, "r");
    desk.join(b, "q");
    for (audience, count, expected) in [
        (
            Audience::all(),
            3,
            r#"send a,b,c {"event":"told","data":1}"#,
        ),
        (
            Audience::room("r"),
            2,
            r#"send a,b {"event":"told","room":"r","data":1}"#,
        ),
        (Audience::conn(c), 1, r#"send c {"event":"told","data":1}"#),
        (
            Audience::user("ann"),
            2,
            r#"send a,c {"event":"told","data":1}"#,
        ),
        // Overlapping sources: each once.
        (
            Audience::rooms(["q", "r"]).and_conn(b).and_user("ben"),
            2,
            r#"send a,b {"event":"told","data":1}"#,
        ),
        (
            Audience::all().and_room("r"),
            3,
            r#"send a,b,c {"event":"told","data":1}"#,
        ),
        (
            Audience::room("r").except_conn(a),
            1,
            r#"send b {"event":"told","room":"r","data":1}"#,
        ),
        (
            Audience::all().except_room("q"),
            2,
            r#"send a,c {"event":"told","data":1}"#,
        ),
        (
            Audience::all().except_user("ann"),
            1,
            r#"send b {"event":"told","data":1}"#,
        ),
    ] {
        assert_eq!(desk.send(&audience, "1"), Ok(queued(count)), "{audience:?}");
        desk.assert_commands([expected]);
    }
    for nobody in [
        Audience::none(),
        Audience::room("empty"),
        Audience::conn(stranger()),
        Audience::user("nobody"),
        Audience::room("r").except_room("r"),
    ] {
        assert_eq!(desk.send(&nobody, "1"), Ok(NOBODY), "{nobody:?}");
        desk.assert_commands([]);
    }
}

#[test]
fn send_that_cannot_be_encoded() {
    let (mut desk, [_a]) = Desk::connected();
    let long = "x".repeat(129);
    for event in ["", "$bye", &long] {
        let all = Audience::all();
        let sent = desk
            .hub
            .send(desk.now, &all, event, Payload::NULL, &mut desk.out);
        assert_eq!(sent, Err(EncodeError::Event));
    }
    for audience in [Audience::room(""), Audience::all().except_room("\n")] {
        assert!(matches!(
            desk.send(&audience, "1"),
            Err(EncodeError::Room(_))
        ));
    }
    desk.assert_commands([]);
}

#[test]
fn send_once() {
    let (mut desk, [a]) = Desk::connected();
    desk.join(a, "r");
    let mut once = |at: u64, key: &str, event: &str| {
        let (now, room) = (Timestamp::from_millis(at), Audience::room("r"));
        let Desk { hub, out, .. } = &mut desk;
        let sent = hub.send_once(now, key, &room, event, Payload::NULL, out);
        let sends = out.len();
        out.clear();
        (sent, sends)
    };
    assert_eq!(once(0, "k", "x"), (Ok(queued(1)), 1));
    assert_eq!(once(1, "k", "x"), (Ok(queued(1)), 0));
    assert_eq!(once(1, "k", "y"), (Err(SendError::KeyReused), 0));
    assert_eq!(once(299_999, "k", "x"), (Ok(queued(1)), 0));
    assert_eq!(once(300_000, "k", "y"), (Ok(queued(1)), 1));
    let encode = SendError::Encode(EncodeError::Event);
    assert_eq!(once(300_000, "k2", "$x"), (Err(encode), 0));
    assert_eq!(once(300_000, "k2", "x"), (Ok(queued(1)), 1));
    assert_eq!(once(300_000, "", "x"), (Err(SendError::Key), 0));
    assert_eq!(
        once(300_000, &"k".repeat(129), "x"),
        (Err(SendError::Key), 0)
    );
}

#[test]
fn a_hub_saved_key_by_key_is_the_same() {
    let (mut desk, []) = Desk::connected();
    let (all, mut saved) = (Audience::all(), HubState::from_serial(0));
    for (at, key) in [(0, "k1"), (1, "k2")] {
        let (now, Desk { hub, out, .. }) = (Timestamp::from_millis(at), &mut desk);
        assert_eq!(hub.key_state(now, key), None);
        hub.send_once(now, key, &all, "x", Payload::NULL, out)
            .expect("a send");
        let state = hub.key_state(now, key).expect("known");
        let expires = Timestamp::from_millis(at + 300_000);
        assert_eq!((state.key(), state.expires()), (key, expires));
        let json = serde_json::to_string(&state).expect("data");
        saved = saved.with_keys([serde_json::from_str(&json).expect("a state")]);
    }
    assert_eq!(saved, desk.hub.state());
    assert_eq!(
        desk.hub.key_state(Timestamp::from_millis(300_000), "k1"),
        None
    );
}

#[test]
fn keys_are_bounded() {
    let mut limits = Limits::default();
    limits.idempotency_keys = 2;
    let mut desk = Desk::with(limits);
    let mut send = |at, key| {
        let (now, all) = (Timestamp::from_millis(at), Audience::all());
        let Desk { hub, out, .. } = &mut desk;
        hub.send_once(now, key, &all, "x", Payload::NULL, out)
            .expect("a send");
        hub.state()
    };
    for (at, key) in [(0, "k1"), (1, "k2"), (2, "k3")] {
        send(at, key);
    }
    let state = serde_json::to_string(&send(3, "k3")).expect("data");
    assert!(
        !state.contains("k1") && state.contains("k2") && state.contains("k3"),
        "{state}"
    );
}

#[test]
fn close() {
    let (mut desk, [a, b, c]) = Desk::connected();
    desk.join(a, "r");
    desk.hub
        .close(desk.now, a, CloseCode::REMOVED, "so long", &mut desk.out)
        .expect("alive");
    desk.assert_commands([
        r#"send a {"event":"$bye","data":{"code":4410,"reconnect":false,"after_ms":0}}"#,
        "close a 4410 so long",
    ]);
    assert!(desk.hub.members("r").is_empty() && desk.hub.connection(a).is_none());
    desk.hub
        .close(desk.now, b, CloseCode::AWAY, "", &mut desk.out)
        .expect("alive");
    desk.assert_commands([
        r#"send b {"event":"$bye","data":{"code":1001,"reconnect":true,"after_ms":0}}"#,
        "close b 1001 ",
    ]);
    // A peer that broke the framing is told by the close frame alone.
    desk.hub
        .close(desk.now, c, CloseCode::PROTOCOL, "why", &mut desk.out)
        .expect("alive");
    desk.assert_commands(["close c 1002 why"]);
    let again = desk
        .hub
        .close(desk.now, a, CloseCode::REMOVED, "", &mut desk.out);
    assert_eq!(again, Err(UnknownConn(a)));
    desk.assert_commands([]);
}

#[test]
fn apply_does_what_the_methods_do() {
    let mut desk = Desk::new();
    let conn: ConnId = "0".parse().expect("an id");
    for (input, expected) in [
        (Input::Connect(Handshake::new()), "persist a"),
        (
            Input::Join {
                conn,
                room: "r".into(),
                meta: None,
            },
            "persist a",
        ),
        (
            Input::Text {
                conn,
                text: r#"{"event":"x","room":"r","echo":true}"#.into(),
            },
            r#"send a {"event":"x","room":"r","from":{"conn":"0"},"data":null}"#,
        ),
        (
            Input::Leave {
                conn,
                room: "r".into(),
            },
            "persist a",
        ),
    ] {
        desk.hub.apply(desk.now, &input, &mut desk.out);
        desk.assert_commands([expected]);
    }
    // Errors change nothing and are dropped.
    let dead = stranger();
    for input in [
        Input::Timeout,
        Input::Heard(dead),
        Input::Join {
            conn,
            room: "".into(),
            meta: None,
        },
        Input::Leave {
            conn: dead,
            room: "r".into(),
        },
        Input::Binary {
            conn: dead,
            bytes: (&[1_u8][..]).into(),
        },
        Input::Disconnect {
            conn: dead,
            reason: DisconnectReason::Lost,
        },
        Input::Close {
            conn: dead,
            code: CloseCode::REMOVED,
            reason: "".into(),
            away_ms: 0,
        },
    ] {
        desk.hub.apply(desk.now, &input, &mut desk.out);
        desk.assert_commands([]);
    }
}
