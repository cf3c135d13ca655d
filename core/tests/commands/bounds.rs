//! Limits of rooms with policies, and what clients are told about them.

use roomcast_core::{
    Audience, Command, Handshake, JoinError, Limits, outbox::Class, policy::Overflow,
};

use super::{harness::Harness, kept::harness};

#[test]
fn the_oldest_histories_go_when_memory_is_short() {
    let mut limits = Limits::default();
    limits.history_bytes = 500;
    let mut harness = harness(
        limits,
        true,
        r#"{"rooms":[{"match":"*","history":{"messages":300}}]}"#,
    );
    let data = format!("\"{}\"", "x".repeat(150));
    for room in ["a", "b", "c", "a"] {
        harness.send(&Audience::room(room), &data).expect("sent");
        assert!(harness.hub.counts().history_bytes <= 500);
    }
    // The first message of `a` was dropped for the message of `b`, then all of `b` for the second
    // message of `a`.
    let kept = |room| {
        harness
            .hub
            .history(room, None, None, 9)
            .map(|page| page.len())
    };
    assert_eq!(
        (kept("a"), kept("b"), kept("c")),
        (Some(1), Some(0), Some(1))
    );
    assert_eq!(harness.hub.position("a").offset, 2);
    assert_eq!(harness.hub.position("b").offset, 1);
    harness.hub.assert_consistent();
    harness.out.clear();
    harness.hub.trim_histories(0, &mut harness.out);
    harness.assert_commands(["persist c", "persist a"]);
    assert_eq!(harness.hub.counts().history_bytes, 0);
}

#[test]
fn rooms_without_members_are_bounded() {
    let mut limits = Limits::default();
    limits.history_rooms = 2;
    let mut harness = harness(
        limits,
        false,
        r#"{"rooms":[{"match":"*","history":{"messages":300}}]}"#,
    );
    let a = harness.connect(Handshake::new()).expect("room for it");
    harness.join(a, "a");
    for room in ["a", "b", "c", "b", "d"] {
        harness.send(&Audience::room(room), "1").expect("sent");
    }
    let names: Vec<_> = harness
        .hub
        .rooms("", None)
        .map(|room| room.name.to_owned())
        .collect();
    assert_eq!(names, ["a", "b", "d"]);
    harness.hub.assert_consistent();
}

#[test]
fn a_room_that_sheds_says_so_with_each_message() {
    let policies = r#"{"rooms":[{"match":"map","overflow":"latest","history":{"messages":300}},
                                {"match":"den","overflow":"drop-oldest","presence":"members"}]}"#;
    let mut harness = harness(Limits::default(), false, policies);
    let [a, b] = [(); 2].map(|()| harness.connect(Handshake::new()).expect("room for it"));
    let classes = |harness: &Harness| -> Vec<String> {
        let sends = harness.out.iter().filter_map(|command| match command {
            Command::Send { class, .. } => Some(class),
            Command::Close { .. }
            | Command::Ping { .. }
            | Command::Persist { .. }
            | Command::Append { .. }
            | Command::PersistRoom { .. }
            | Command::PersistKey { .. }
            | Command::LoadHistory { .. }
            | Command::Relay(_)
            | Command::Tell { .. } => None,
        });
        let name = |class| match class {
            Class::Control => "control".to_owned(),
            Class::Position(shed) => format!("position in {}", shed.room()),
            Class::Message => "message".to_owned(),
            Class::Sheddable(shed) => {
                assert_ne!(shed.overflow(), Overflow::Close);
                format!(
                    "{} {} {} {:?}",
                    shed.room(),
                    shed.event(),
                    shed.offset(),
                    shed.overflow()
                )
            }
        };
        sends.map(name).collect()
    };
    harness.join(a, "map");
    harness.join(a, "den");
    harness.text(b, r#"{"event":"moved","room":"map","id":1}"#);
    assert_eq!(classes(&harness), ["map moved 1 Latest", "control"]);
    harness.out.clear();
    harness.text(b, r#"{"event":"said","room":"den"}"#);
    harness.text(b, r#"{"event":"$join","room":"den"}"#);
    let shed = [
        "den said 0 DropOldest",
        "den $joined 0 DropOldest",
        "position in den",
    ];
    assert_eq!(classes(&harness), shed);
    harness.out.clear();
    // A replay is queued as a message: after it is shed, clients could not be told what they
    // missed.
    harness.text(
        a,
        r#"{"event":"$join","room":"map","data":{"since":{"epoch":"e.1","offset":0}}}"#,
    );
    assert_eq!(classes(&harness), ["control", "message"]);
}

#[test]
fn a_gap_names_the_room_and_the_offset() {
    let notice = roomcast_core::queue::gap_notice("den \"1\"", 41);
    let expected = r#"{"event":"$gap","room":"den \"1\"","data":{"after":41}}"#;
    assert_eq!(notice, expected);
}

#[test]
fn what_presence_shows_is_bounded_over_all_rooms() {
    let mut limits = Limits::default();
    // Each meta counts 8 bytes extra.
    limits.metas_bytes = Some(5 + 2 * 8);
    let mut harness = harness(
        limits,
        false,
        r#"{"rooms":[{"match":"*","presence":"members"}]}"#,
    );
    let ann = || Handshake::new().with_user("ann");
    let [a, b] = [(); 2].map(|()| harness.connect(ann()).expect("room for it"));
    harness.out.clear();
    harness.text(a, r#"{"event":"$join","room":"a","data":{"meta":1234}}"#);
    harness.out.clear();
    harness.text(a, r#"{"event":"$join","room":"b","data":{"meta":12}}"#);
    harness.assert_error(r#"send a {"event":"$join","room":"b""#, "too_large");
    // The meta of a user counts once for each connection.
    harness.text(b, r#"{"event":"$join","room":"c","data":{"meta":12}}"#);
    harness.out.clear();
    let refused = harness
        .hub
        .join(harness.now, b, "a", &mut harness.out)
        .map(|_| ());
    assert_eq!(refused, Err(JoinError::Metas { bytes_max: 21 }));
    harness.assert_commands([]);
}

#[test]
fn welcome_tells_what_policies_bring() {
    let mut harness = harness(Limits::default(), false, r#"{"rooms":[{"match":"log"}]}"#);
    harness
        .connect(Handshake::new().with_welcome(true))
        .expect("room for it");
    harness.assert_commands([
        r#"send a {"event":"$welcome","data":{"conn":"0","user":"","heartbeat_ms":25000,"limits":{"message_bytes":65536,"rooms_per_connection":128,"room_name_bytes":200,"inbound_messages_per_s":50,"inbound_burst_messages":100,"page_entries":100,"meta_bytes":2048}}}"#,
        "persist a",
    ]);
}

/// `history.bytes` as seen from outside: the frames as members receive them, and 48 bytes for each
/// message that excludes more than its publisher, with 8 for each excluded connection, and 16 and
/// the name for each excluded user.
#[test]
fn history_bytes_are_what_the_documentation_says() {
    let kept = |bytes: usize| {
        let policies = format!(r#"{{"rooms":[{{"match":"log","history":{{"bytes":{bytes}}}}}]}}"#);
        let mut harness = harness(Limits::default(), false, &policies);
        let ann = Handshake::new().with_user("ann");
        let [a, b, c] = [ann, Handshake::new(), Handshake::new()]
            .map(|handshake| harness.connect(handshake).expect("room for it"));
        for conn in [a, b, c] {
            harness.join(conn, "log");
        }
        let mut frames = 0;
        let mut count = |harness: &mut Harness| {
            for command in &harness.out {
                if let Command::Send { to, frame, .. } = command
                    && to.contains(&c)
                {
                    frames += frame.as_bytes().len();
                }
            }
            harness.out.clear();
        };
        harness.text(a, r#"{"event":"said","room":"log","data":"\u00e9 \"x\""}"#);
        count(&mut harness);
        let without_conn = Audience::room("log").except_conn(b);
        harness.send(&without_conn, "[1]").expect("valid");
        count(&mut harness);
        let without_user = Audience::room("log")
            .except_user("ann")
            .except_user("b\u{e9}n");
        harness.send(&without_user, "2").expect("valid");
        count(&mut harness);
        let history = harness
            .hub
            .history("log", None, None, 9)
            .expect("a history");
        (frames, history.len())
    };
    let (frames, all) = kept(1_000_000);
    assert_eq!(all, 3);
    let users = (16 + "ann".len()) + (16 + "b\u{e9}n".len());
    // Excluding a user also excludes each of its connections.
    let exact = frames + (48 + 8) + (48 + 8 + users);
    assert_eq!(kept(exact), (frames, 3));
    assert_eq!(kept(exact - 1), (frames, 2));
}
