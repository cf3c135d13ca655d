//! Actions of the application: join, leave, send, close.

use roomcast_core::{
    App, Audience, CloseCode, Config, ConnId, DisconnectReason, EncodeError, Handshake, Input,
    JoinError, Limits, Outbox, Payload, SendError, Timestamp, UnknownConn, hub::HubState,
};

use super::harness::{Harness, NOBODY, lines, queued, stranger};

#[test]
fn join_and_leave() {
    let (mut harness, [a]) = Harness::connected();
    let joined = harness
        .hub
        .join(harness.now, a, "r", &mut harness.out)
        .expect("a join");
    let position = joined.position;
    assert_eq!(
        (&*position.epoch, position.offset, joined.already),
        ("e", 0, false)
    );
    harness.assert_commands(["persist a"]);
    assert!(
        harness
            .hub
            .join(harness.now, a, "r", &mut harness.out)
            .expect("a join")
            .already
    );
    harness.assert_commands([]);
    assert_eq!(harness.hub.members("r"), [a]);
    assert_eq!(
        harness.hub.leave(harness.now, a, "r", &mut harness.out),
        Ok(true)
    );
    harness.assert_commands(["persist a"]);
    assert_eq!(
        harness.hub.leave(harness.now, a, "r", &mut harness.out),
        Ok(false)
    );
    assert_eq!(
        harness.hub.leave(harness.now, a, "never", &mut harness.out),
        Ok(false)
    );
    harness.assert_commands([]);
    assert!(harness.hub.members("r").is_empty());
}

#[test]
fn join_and_leave_that_fail() {
    let mut limits = Limits::default();
    limits.rooms_per_connection = 1;
    let mut harness = Harness::with(limits);
    let a = harness.connect(Handshake::new()).expect("room for it");
    harness.join(a, "r");
    let over = harness
        .hub
        .join(harness.now, a, "q", &mut harness.out)
        .map(|_| ());
    assert_eq!(over, Err(JoinError::RoomLimit { limit: 1 }));
    let bad = harness
        .hub
        .join(harness.now, a, "", &mut harness.out)
        .map(|_| ());
    assert!(matches!(bad, Err(JoinError::Room(_))));
    let dead = stranger();
    let unknown = harness
        .hub
        .join(harness.now, dead, "r", &mut harness.out)
        .map(|_| ());
    assert_eq!(unknown, Err(JoinError::UnknownConn(UnknownConn(dead))));
    let unknown = harness.hub.leave(harness.now, dead, "r", &mut harness.out);
    assert_eq!(unknown, Err(UnknownConn(dead)));
    harness.assert_commands([]);
    assert_eq!(harness.hub.members("r"), [a]);
}

#[test]
fn send_to_every_kind_of_audience() {
    let mut harness = Harness::new();
    let mut connect = |user: &str| {
        harness
            .connect(Handshake::new().with_user(user))
            .expect("room")
    };
    let (a, b, c) = (connect("ann"), connect("ben"), connect("ann"));
    harness.out.clear();
    harness.join(a, "r");
    harness.join(b, "r");
    harness.join(b, "q");
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
        // Sources overlap: each connection receives the message once.
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
        assert_eq!(
            harness.send(&audience, "1"),
            Ok(queued(count)),
            "{audience:?}"
        );
        harness.assert_commands([expected]);
    }
    for nobody in [
        Audience::none(),
        Audience::room("empty"),
        Audience::conn(stranger()),
        Audience::user("nobody"),
        Audience::room("r").except_room("r"),
    ] {
        assert_eq!(harness.send(&nobody, "1"), Ok(NOBODY), "{nobody:?}");
        harness.assert_commands([]);
    }
}

#[test]
fn send_that_cannot_be_encoded() {
    let (mut harness, [_a]) = Harness::connected();
    let long = "x".repeat(129);
    for event in ["", "$bye", &long] {
        let all = Audience::all();
        let sent = harness
            .hub
            .send(harness.now, &all, event, Payload::NULL, &mut harness.out);
        assert_eq!(sent, Err(EncodeError::Event));
    }
    for audience in [Audience::room(""), Audience::all().except_room("\n")] {
        assert!(matches!(
            harness.send(&audience, "1"),
            Err(EncodeError::Room(_))
        ));
    }
    harness.assert_commands([]);
}

#[test]
fn send_once() {
    let (mut harness, [a]) = Harness::connected();
    harness.join(a, "r");
    let mut once = |at: u64, key: &str, event: &str| {
        let (now, room) = (Timestamp::from_millis(at), Audience::room("r"));
        let Harness { hub, out, .. } = &mut harness;
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
    let (mut harness, []) = Harness::connected();
    let (all, mut saved) = (Audience::all(), HubState::from_serial(0));
    for (at, key) in [(0, "k1"), (1, "k2")] {
        let (now, Harness { hub, out, .. }) = (Timestamp::from_millis(at), &mut harness);
        assert_eq!(hub.key_state(now, key), None);
        hub.send_once(now, key, &all, "x", Payload::NULL, out)
            .expect("a send");
        let state = hub.key_state(now, key).expect("known");
        let expires = Timestamp::from_millis(at + 300_000);
        assert_eq!((state.key(), state.expires()), (key, expires));
        let json = serde_json::to_string(&state).expect("data");
        saved = saved.with_keys([serde_json::from_str(&json).expect("a state")]);
    }
    assert_eq!(saved, harness.hub.state());
    assert_eq!(
        harness.hub.key_state(Timestamp::from_millis(300_000), "k1"),
        None
    );
}

#[test]
fn keys_are_bounded() {
    let mut limits = Limits::default();
    limits.idempotency_keys = 2;
    let mut harness = Harness::with(limits);
    let mut send = |at, key| {
        let (now, all) = (Timestamp::from_millis(at), Audience::all());
        let Harness { hub, out, .. } = &mut harness;
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
    let (mut harness, [a, b, c]) = Harness::connected();
    harness.join(a, "r");
    harness
        .hub
        .close(
            harness.now,
            a,
            CloseCode::REMOVED,
            "so long",
            &mut harness.out,
        )
        .expect("alive");
    harness.assert_commands([
        r#"send a {"event":"$bye","data":{"code":4410,"reconnect":false,"after_ms":0}}"#,
        "close a 4410 so long",
    ]);
    assert!(harness.hub.members("r").is_empty() && harness.hub.connection(a).is_none());
    harness
        .hub
        .close(harness.now, b, CloseCode::AWAY, "", &mut harness.out)
        .expect("alive");
    harness.assert_commands([
        r#"send b {"event":"$bye","data":{"code":1001,"reconnect":true,"after_ms":0}}"#,
        "close b 1001 ",
    ]);
    // A peer that broke the framing gets the close frame only.
    harness
        .hub
        .close(harness.now, c, CloseCode::PROTOCOL, "why", &mut harness.out)
        .expect("alive");
    harness.assert_commands(["close c 1002 why"]);
    let again = harness
        .hub
        .close(harness.now, a, CloseCode::REMOVED, "", &mut harness.out);
    assert_eq!(again, Err(UnknownConn(a)));
    harness.assert_commands([]);
}

#[test]
fn apply_does_what_the_methods_do() {
    let mut app = App::new(Config::new("e"), ());
    let mut apply = |input: &Input<'_>| {
        let mut out = Outbox::new();
        let _ = app.apply(Timestamp::ZERO, input, &mut out);
        lines(&out)
    };
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
        assert_eq!(apply(&input), [expected]);
    }
    // Errors change nothing and are dropped.
    let dead = stranger();
    for input in [
        Input::Timeout,
        Input::Activity(dead),
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
        assert_eq!(apply(&input), [""; 0]);
    }
}
