//! Queries, which change nothing, and the state that a hub is restored from.

use roomcast_core::{
    Audience, Config, DisconnectReason, Handshake, Hub, Limits, Payload, Timestamp, UnknownConn,
    hub::{ConnState, HubState, RestoreError},
};

use super::harness::{Harness, stranger};

#[test]
fn questions() {
    let mut harness = Harness::new();
    let ann = Handshake::new().with_user("ann");
    harness.now = Timestamp::from_millis(7);
    let (a, b) = (
        harness.connect(ann).expect("room"),
        harness.connect(Handshake::new()).expect("room"),
    );
    for (conn, room) in [(a, "q"), (a, "p1"), (b, "p2"), (b, "p1")] {
        harness.join(conn, room);
    }
    let hub = &harness.hub;
    let names = |prefix, after| {
        hub.rooms(prefix, after)
            .map(|room| room.name)
            .collect::<Vec<_>>()
    };
    assert_eq!(names("", None), ["p1", "p2", "q"]);
    assert_eq!(names("p", None), ["p1", "p2"]);
    assert_eq!(names("p", Some("p1")), ["p2"]);
    assert_eq!(names("p", Some("a")), ["p1", "p2"]);
    assert_eq!(names("p", Some("z")), [""; 0]);
    assert_eq!(
        hub.rooms("p1", None)
            .map(|room| room.members)
            .collect::<Vec<_>>(),
        [2]
    );
    assert_eq!(hub.members("p1"), [a, b]);
    assert_eq!(hub.rooms_of(a), Some(vec!["p1", "q"]));
    assert_eq!(hub.rooms_of(stranger()), None);
    assert_eq!(hub.rooms_of_user("ann"), ["p1", "q"]);
    assert_eq!(hub.rooms_of_user("x"), [""; 0]);
    let info = hub.connection(a).expect("alive");
    assert_eq!((info.id, info.user), (a, Some("ann")));
    assert_eq!((info.since, info.last_activity), (harness.now, harness.now));
    assert!(hub.connection(stranger()).is_none());
    assert_eq!(
        hub.connections().map(|info| info.id).collect::<Vec<_>>(),
        [a, b]
    );
    assert_eq!(
        (hub.connections_of("ann"), hub.connections_of("x")),
        (&[a][..], &[][..])
    );
    let counts = hub.counts();
    assert_eq!(
        (counts.connections, counts.rooms, counts.memberships),
        (2, 3, 4)
    );
    assert_eq!(
        (hub.position("p1").offset, &*hub.position("x").epoch),
        (0, "e")
    );
    assert!(!hub.is_idle(harness.now));
}

#[test]
fn idle_is_nobody_connected_and_no_key_remembered() {
    let mut harness = Harness::new();
    assert!(harness.hub.is_idle(harness.now));
    let (all, data) = (Audience::all(), Payload::NULL);
    harness
        .hub
        .send_once(harness.now, "k", &all, "x", data, &mut harness.out)
        .expect("a send");
    assert!(!harness.hub.is_idle(harness.now));
    assert!(harness.hub.is_idle(Timestamp::from_millis(300_000)));
}

#[test]
fn restore_refuses_what_no_hub_can_have_been() {
    let (mut harness, [a, _b]) = Harness::connected();
    harness.join(a, "room");
    let state = harness.hub.conn_state(a).expect("alive");
    assert_eq!(state.id(), a);
    let restore = |limits: Limits, serial, conns: &[&ConnState]| {
        let config = Config::new("e").with_limits(limits);
        let conns = conns.iter().map(|&conn| conn.clone());
        Hub::restore(config, HubState::from_serial(serial), conns).map(|hub| hub.counts().rooms)
    };
    let whole = Limits::default;
    assert_eq!(restore(whole(), 2, &[&state]), Ok(1));
    assert_eq!(restore(whole(), 0, &[&state]), Err(RestoreError::Conn(a)));
    assert_eq!(
        restore(whole(), 2, &[&state, &state]),
        Err(RestoreError::Conn(a))
    );
    let mut narrow = Limits::default();
    narrow.room_names_bytes = Some(6);
    let refused = restore(narrow, 2, &[&state]);
    assert_eq!(refused, Err(RestoreError::Room(a)));
    let twice = serde_json::to_string(&state).expect("data");
    let twice = twice.replace(r#"["room"]"#, r#"["room","room"]"#);
    let twice: ConnState = serde_json::from_str(&twice).expect("data");
    assert_eq!(restore(whole(), 2, &[&twice]), Err(RestoreError::Room(a)));
    let unknown = harness.hub.conn_state(stranger());
    assert_eq!(unknown, Err(UnknownConn(stranger())));
    assert_eq!(harness.hub.state().next_serial(), 2);
}

/// Shrinking memory has no observable effect.
#[test]
fn shrink_to_fit_is_not_observable() {
    let mut harness = Harness::new();
    let conns: Vec<_> = (0..6)
        .map(|_| harness.connect(Handshake::new()).expect("room"))
        .collect();
    for (at, &conn) in conns.iter().enumerate() {
        harness.join(conn, &format!("room{at}"));
    }
    for at in [1, 4, 5] {
        let (now, reason) = (harness.now, DisconnectReason::Lost);
        let gone = harness
            .hub
            .disconnect(now, conns[at], reason, &mut harness.out);
        gone.expect("alive");
    }
    let mut roomy = Harness::new();
    (roomy.hub, roomy.now) = (harness.hub.clone(), harness.now);
    harness.hub.shrink_to_fit();
    for harness in [&mut harness, &mut roomy] {
        harness.hub.assert_consistent();
        let more: Vec<_> = (0..4)
            .map(|_| harness.connect(Handshake::new()).expect("room").slot())
            .collect();
        assert_eq!(more, [1, 4, 5, 6]);
        assert_eq!(harness.hub.rooms("", None).count(), 3);
        harness.hub.assert_consistent();
    }
    assert_eq!(harness.hub.state(), roomy.hub.state());
}
