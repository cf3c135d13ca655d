//! Rooms with policies, as a host sees them: what it keeps, gives back, drops and is told.

use roomcast_core::{
    Audience, Command, Config, ConnId, DisconnectReason, Handshake, Hub, JoinError, Limits,
    Policies, Timestamp,
    hub::{HubState, RestoreError},
    outbox::Class,
    policy::Overflow,
    room::{Except, HistoryMessage},
};

use crate::desk::Desk;

const SAID: &str = r#"{"event":"said","room":"log","data":1}"#;

fn desk(limits: Limits, durable: bool, policies: &str) -> Desk {
    let policies: Policies = serde_json::from_str(policies).expect("policies");
    let config = Config::new("e").with_limits(limits);
    let mut desk = Desk::new();
    desk.hub = Hub::new(config.with_policies(policies).with_durable(durable));
    desk
}

fn log(durable: bool) -> (Desk, ConnId) {
    let policies = r#"{"rooms":[{"match":"log","history":{"messages":3,"age_s":10}}]}"#;
    let mut desk = desk(Limits::default(), durable, policies);
    let a = desk.connect(Handshake::new()).expect("room for it");
    desk.out.clear();
    (desk, a)
}

/// What a host does with the command.
fn message(desk: &Desk) -> HistoryMessage {
    let mut messages = desk.out.iter().filter_map(|command| match command {
        Command::Append {
            offset,
            at,
            frame,
            except,
            ..
        } => Some(HistoryMessage::new(offset, at, frame, except.clone())),
        Command::Send { .. }
        | Command::Close { .. }
        | Command::Ping { .. }
        | Command::Persist { .. }
        | Command::PersistRoom { .. }
        | Command::Recall { .. } => None,
    });
    messages.next().expect("something to keep")
}

#[test]
fn a_durable_host_keeps_a_message_before_it_is_sent() {
    let (mut desk, a) = log(true);
    desk.text(a, r#"{"event":"$join","room":"log"}"#);
    desk.assert_commands([
        "persist a",
        "persist log",
        r#"send a {"event":"$join","room":"log","data":{"epoch":"e.1","offset":0,"already":false}}"#,
    ]);
    desk.text(a, r#"{"event":"said","id":1,"room":"log","data":1}"#);
    assert_eq!(message(&desk).except, Except::Conn(a));
    desk.assert_commands([
        r#"append log 1 {"event":"said","room":"log","from":{"conn":"0"},"offset":1,"data":1}"#,
        r#"send a {"event":"said","id":1,"room":"log","data":{"reached":0,"offset":1}}"#,
    ]);
    desk.text(a, r#"{"event":"$leave","room":"log"}"#);
    desk.assert_commands([
        "persist a",
        "persist log",
        r#"send a {"event":"$leave","room":"log","data":{"was":true}}"#,
    ]);
    let state = desk.hub.room_state("log").expect("it is kept");
    assert_eq!((state.room(), state.first(), state.offset()), ("log", 1, 1));
    desk.wait(9_999);
    desk.assert_commands([]);
    desk.wait(1);
    desk.assert_commands(["persist log"]);
    assert_eq!(desk.hub.room_state("log"), None);
    assert!(!desk.hub.is_idle(desk.now), "somebody is connected");
}

#[test]
fn a_host_that_keeps_nothing_is_not_told() {
    let (mut desk, a) = log(false);
    desk.text(a, SAID);
    desk.assert_commands([]);
    assert_eq!(desk.hub.position("log").offset, 1);
    let gone = desk
        .hub
        .disconnect(desk.now, a, DisconnectReason::Lost, &mut desk.out);
    assert_eq!(gone, Ok(()));
    // A namespace that a client may come back to is not idle.
    assert!(!desk.hub.is_idle(desk.now));
    desk.wait(10_000);
    assert!(desk.hub.is_idle(desk.now));
    desk.assert_commands([]);
}

/// The hub of a process that starts with what another one kept.
fn restarted(epoch: &str, messages: &[HistoryMessage], ahead: bool) -> Desk {
    let (mut old, a) = log(true);
    for _ in 0..3 {
        old.text(a, SAID);
    }
    let state = old.hub.room_state("log").expect("it is kept");
    assert_eq!(old.hub.lives(), 1);
    let mut desk = Desk::new();
    let policies = r#"{"rooms":[{"match":"log","history":{"messages":3,"age_s":10}}]}"#;
    let policies: Policies = serde_json::from_str(policies).expect("policies");
    let config = Config::new(epoch).with_policies(policies);
    let state = HubState::from_serial(1)
        .with_lives(old.hub.lives())
        .with_rooms([state]);
    desk.hub = Hub::restore(config, state, []).expect("a state");
    assert!(desk.hub.is_away("log"));
    if ahead {
        let messages = messages.iter().cloned();
        desk.hub.give_back(desk.now, "log", messages, &mut desk.out);
        assert!(!desk.hub.is_away("log"));
    }
    let b = desk.connect(Handshake::new()).expect("room for it");
    assert_eq!(b.serial(), 1);
    desk.out.clear();
    desk
}

fn frames() -> Vec<HistoryMessage> {
    let message = |offset: u64| {
        let frame = format!(r#"{{"event":"said","offset":{offset}}}"#);
        HistoryMessage::new(offset, Timestamp::ZERO, frame, Except::Nobody)
    };
    (1..=3).map(message).collect()
}

const SINCE_1: &str =
    r#"{"event":"$join","room":"log","data":{"since":{"epoch":"e.1","offset":1}}}"#;

fn joins(desk: &mut Desk) {
    let b = desk.hub.connections().next().expect("somebody is there").id;
    desk.text(b, SINCE_1);
}

#[test]
fn histories_are_given_back_at_the_start() {
    let mut desk = restarted("e", &frames(), true);
    joins(&mut desk);
    desk.assert_commands([
        "persist b",
        r#"send b {"event":"$join","room":"log","data":{"epoch":"e.1","offset":3,"already":false,"recovered":true,"missed":2}}"#,
        r#"send b {"event":"said","offset":2}"#,
        r#"send b {"event":"said","offset":3}"#,
    ]);
}

#[test]
fn histories_are_given_back_when_somebody_asks() {
    let mut desk = restarted("e", &[], false);
    joins(&mut desk);
    desk.assert_commands(["recall log"]);
    let (now, out) = (desk.now, &mut desk.out);
    desk.hub.give_back(now, "log", frames(), out);
    desk.assert_commands([
        "persist b",
        r#"send b {"event":"$join","room":"log","data":{"epoch":"e.1","offset":3,"already":false,"recovered":true,"missed":2}}"#,
        r#"send b {"event":"said","offset":2}"#,
        r#"send b {"event":"said","offset":3}"#,
    ]);
}

/// A host that keeps every message gives back those too that came since it slept.
#[test]
fn what_came_since_is_not_taken_twice() {
    let mut desk = restarted("e", &frames(), false);
    desk.send(&Audience::room("log"), "4").expect("sent");
    desk.out.clear();
    joins(&mut desk);
    desk.assert_commands(["recall log"]);
    let newest = desk.hub.history("log", None, None, 1);
    let newest = newest.and_then(|page| page.first().copied().map(str::to_owned));
    let newest = HistoryMessage::new(4, desk.now, newest.expect("sent"), Except::Nobody);
    let messages = frames().into_iter().chain([newest]);
    desk.hub.give_back(desk.now, "log", messages, &mut desk.out);
    let offsets = desk.hub.history("log", None, None, 9).expect("kept");
    // As many as the policy keeps.
    assert_eq!(offsets.len(), 3, "{offsets:?}");
    assert!(offsets[0].contains(r#""offset":2"#), "{offsets:?}");
    desk.hub.assert_consistent();
}

/// What is with the host counts too: when it is too much, it is asked for, and the oldest go.
#[test]
fn bytes_are_bounded_over_sleep() {
    let policies = r#"{"rooms":[{"match":"log","history":{"messages":100,"bytes":1000}}]}"#;
    let mut desk = desk(Limits::default(), true, policies);
    let config = || {
        let policies: Policies = serde_json::from_str(policies).expect("policies");
        let config = Config::new("e").with_policies(policies);
        config.with_durable(true)
    };
    let text = format!("\"{}\"", "x".repeat(200));
    let mut stored: Vec<HistoryMessage> = Vec::new();
    for _ in 0..20 {
        desk.out.clear();
        desk.send(&Audience::room("log"), &text).expect("sent");
        stored.push(message(&desk));
        let mut commands = desk.out.iter();
        if commands.any(|command| matches!(command, Command::Recall { .. })) {
            desk.out.clear();
            let (now, out) = (desk.now, &mut desk.out);
            desk.hub.give_back(now, "log", stored.clone(), out);
            desk.assert_commands(["persist log"]);
        }
        let state = desk.hub.room_state("log").expect("it is kept");
        stored.retain(|message| message.offset >= state.first());
        assert!(stored.len() <= 4, "{} messages", stored.len());
        // It sleeps after each message.
        let state = HubState::from_serial(1)
            .with_lives(desk.hub.lives())
            .with_rooms([state]);
        desk.hub = Hub::restore(config(), state, []).expect("a state");
    }
    assert_eq!(stored.last().map(|message| message.offset), Some(20));
}

/// Torn or missing messages are never given out, and what is behind a gap is not either.
#[test]
fn what_a_host_lost_is_not_recovered() {
    let all = frames();
    let kept: [&[HistoryMessage]; 4] = [&[], &all[..2], &all[2..], &all[..1]];
    for messages in kept {
        for ahead in [true, false] {
            let mut desk = restarted("e", messages, ahead);
            joins(&mut desk);
            if !ahead {
                desk.assert_commands(["recall log"]);
                let (now, out) = (desk.now, &mut desk.out);
                desk.hub
                    .give_back(now, "log", messages.iter().cloned(), out);
            }
            desk.assert_commands([
                "persist b",
                r#"send b {"event":"$join","room":"log","data":{"epoch":"e.1","offset":3,"already":false,"recovered":false}}"#,
            ]);
        }
    }
}

/// A store that may have lost the newest messages begins with a new epoch: offsets are not reused.
#[test]
fn i32_lost_history_means_a_new_epoch() {
    let mut desk = restarted("f", &frames(), true);
    joins(&mut desk);
    desk.assert_commands([
        "persist b",
        r#"send b {"event":"$join","room":"log","data":{"epoch":"f.1","offset":3,"already":false,"recovered":false}}"#,
    ]);
}

#[test]
fn a_request_that_waits_dies_with_its_connection() {
    let mut desk = restarted("e", &[], false);
    joins(&mut desk);
    let b = desk.hub.connections().next().expect("somebody is there").id;
    let gone = desk
        .hub
        .disconnect(desk.now, b, DisconnectReason::Lost, &mut desk.out);
    assert_eq!(gone, Ok(()));
    desk.assert_commands(["recall log"]);
    let (now, out) = (desk.now, &mut desk.out);
    desk.hub.give_back(now, "log", frames(), out);
    desk.assert_commands([]);
}

#[test]
fn the_oldest_histories_go_when_memory_is_short() {
    let mut limits = Limits::default();
    limits.history_bytes = 500;
    let mut desk = desk(limits, true, r#"{"rooms":[{"match":"*","history":{}}]}"#);
    let data = format!("\"{}\"", "x".repeat(150));
    for room in ["a", "b", "c", "a"] {
        desk.send(&Audience::room(room), &data).expect("sent");
        assert!(desk.hub.counts().history_bytes <= 500);
    }
    // The first of `a` went for the room of `b`, then all of `b` for that of `a`.
    let kept = |room| desk.hub.history(room, None, None, 9).map(|page| page.len());
    assert_eq!(
        (kept("a"), kept("b"), kept("c")),
        (Some(1), Some(0), Some(1))
    );
    assert_eq!(desk.hub.position("a").offset, 2);
    assert_eq!(desk.hub.position("b").offset, 1);
    desk.hub.assert_consistent();
    desk.out.clear();
    desk.hub.trim_histories(0, &mut desk.out);
    desk.assert_commands(["persist c", "persist a"]);
    assert_eq!(desk.hub.counts().history_bytes, 0);
}

#[test]
fn rooms_without_members_are_bounded() {
    let mut limits = Limits::default();
    limits.history_rooms = 2;
    let mut desk = desk(limits, false, r#"{"rooms":[{"match":"*","history":{}}]}"#);
    let a = desk.connect(Handshake::new()).expect("room for it");
    desk.join(a, "a");
    for room in ["a", "b", "c", "b", "d"] {
        desk.send(&Audience::room(room), "1").expect("sent");
    }
    let names: Vec<_> = desk
        .hub
        .rooms("", None)
        .map(|room| room.name.to_owned())
        .collect();
    assert_eq!(names, ["a", "b", "d"]);
    desk.hub.assert_consistent();
}

#[test]
fn a_room_that_sheds_says_so_with_each_message() {
    let policies = r#"{"rooms":[{"match":"map","overflow":"latest","history":{}},
                                {"match":"den","overflow":"drop-oldest","presence":"members"}]}"#;
    let mut desk = desk(Limits::default(), false, policies);
    let [a, b] = [(); 2].map(|()| desk.connect(Handshake::new()).expect("room for it"));
    let classes = |desk: &Desk| -> Vec<String> {
        let sends = desk.out.iter().filter_map(|command| match command {
            Command::Send { class, .. } => Some(class),
            Command::Close { .. }
            | Command::Ping { .. }
            | Command::Persist { .. }
            | Command::Append { .. }
            | Command::PersistRoom { .. }
            | Command::Recall { .. } => None,
        });
        let name = |class| match class {
            Class::Control => "control".to_owned(),
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
    desk.join(a, "map");
    desk.join(a, "den");
    desk.text(b, r#"{"event":"moved","room":"map","id":1}"#);
    assert_eq!(classes(&desk), ["map moved 1 Latest", "control"]);
    desk.out.clear();
    desk.text(b, r#"{"event":"said","room":"den"}"#);
    desk.text(b, r#"{"event":"$join","room":"den"}"#);
    let shed = [
        "den said 0 DropOldest",
        "den $joined 0 DropOldest",
        "control",
    ];
    assert_eq!(classes(&desk), shed);
    desk.out.clear();
    // A replay is a message: what it lacks could not be told.
    desk.text(
        a,
        r#"{"event":"$join","room":"map","data":{"since":{"epoch":"e.1","offset":0}}}"#,
    );
    assert_eq!(classes(&desk), ["control", "message"]);
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
    // Each counts for 8 bytes more.
    limits.metas_bytes = Some(5 + 2 * 8);
    let mut desk = desk(
        limits,
        false,
        r#"{"rooms":[{"match":"*","presence":"members"}]}"#,
    );
    let ann = || Handshake::new().with_user("ann");
    let [a, b] = [(); 2].map(|()| desk.connect(ann()).expect("room for it"));
    desk.out.clear();
    desk.text(a, r#"{"event":"$join","room":"a","data":{"meta":1234}}"#);
    desk.out.clear();
    desk.text(a, r#"{"event":"$join","room":"b","data":{"meta":12}}"#);
    desk.assert_error(r#"send a {"event":"$join","room":"b""#, "too_large");
    // What is shown of a user counts for each of its connections.
    desk.text(b, r#"{"event":"$join","room":"c","data":{"meta":12}}"#);
    desk.out.clear();
    let refused = desk.hub.join(desk.now, b, "a", &mut desk.out).map(|_| ());
    assert_eq!(refused, Err(JoinError::Metas { bytes_max: 21 }));
    desk.assert_commands([]);
}

#[test]
fn welcome_tells_what_policies_bring() {
    let mut desk = desk(Limits::default(), false, r#"{"rooms":[{"match":"log"}]}"#);
    desk.connect(Handshake::new().with_welcome(true))
        .expect("room for it");
    desk.assert_commands([
        r#"send a {"event":"$welcome","data":{"conn":"0","user":"","heartbeat_ms":25000,"limits":{"message_bytes":65536,"rooms_per_connection":128,"room_name_bytes":200,"inbound_messages_per_s":50,"inbound_burst_messages":100,"page_entries":100,"meta_bytes":2048}}}"#,
        "persist a",
    ]);
}

#[test]
fn a_room_state_that_cannot_have_been_is_refused() {
    let (mut desk, a) = log(true);
    desk.text(a, SAID);
    let good = serde_json::to_string(&desk.hub.room_state("log")).expect("data");
    let restore = |states: &[String]| {
        let states = states.iter().map(|state| serde_json::from_str(state));
        let states: Result<Vec<_>, _> = states.collect();
        let state = HubState::from_serial(1).with_rooms(states.expect("states"));
        let policies = r#"{"rooms":[{"match":"log","history":{}}]}"#;
        let policies = serde_json::from_str(policies).expect("policies");
        Hub::restore(Config::new("e").with_policies(policies), state, []).map(|_| ())
    };
    assert_eq!(restore(std::slice::from_ref(&good)), Ok(()));
    for bad in [
        good.replace(r#""top":1"#, r#""top":18446744073709551615"#),
        good.replace(r#""first":1"#, r#""first":3"#),
        good.replace(r#""first":1"#, r#""first":0"#),
        good.replace("log", "lo\\ng"),
    ] {
        assert_ne!(bad, good);
        assert_eq!(restore(&[bad]), Err(RestoreError::RoomState));
    }
    assert_eq!(restore(&[good.clone(), good]), Err(RestoreError::RoomState));
}

/// Bytes that `history.bytes` counts, from the outside: the frames as members get them, and 48
/// bytes for each message that left others out than its publisher, with 8 for each connection and
/// 16 and the name for each user.
#[test]
fn history_bytes_are_what_the_documentation_says() {
    let kept = |bytes: usize| {
        let policies = format!(r#"{{"rooms":[{{"match":"log","history":{{"bytes":{bytes}}}}}]}}"#);
        let mut desk = desk(Limits::default(), false, &policies);
        let ann = Handshake::new().with_user("ann");
        let [a, b, c] = [ann, Handshake::new(), Handshake::new()]
            .map(|handshake| desk.connect(handshake).expect("room for it"));
        for conn in [a, b, c] {
            desk.join(conn, "log");
        }
        let mut frames = 0;
        let mut count = |desk: &mut Desk| {
            for command in &desk.out {
                if let Command::Send { to, frame, .. } = command
                    && to.contains(&c)
                {
                    frames += frame.as_bytes().len();
                }
            }
            desk.out.clear();
        };
        desk.text(a, r#"{"event":"said","room":"log","data":"\u00e9 \"x\""}"#);
        count(&mut desk);
        let without_conn = Audience::room("log").except_conn(b);
        desk.send(&without_conn, "[1]").expect("valid");
        count(&mut desk);
        let without_user = Audience::room("log")
            .except_user("ann")
            .except_user("b\u{e9}n");
        desk.send(&without_user, "2").expect("valid");
        count(&mut desk);
        let history = desk.hub.history("log", None, None, 9).expect("a history");
        (frames, history.len())
    };
    let (frames, all) = kept(1_000_000);
    assert_eq!(all, 3);
    let users = (16 + "ann".len()) + (16 + "b\u{e9}n".len());
    // A member that is left out as a user is left out as a connection, too.
    let exact = frames + (48 + 8) + (48 + 8 + users);
    assert_eq!(kept(exact), (frames, 3));
    assert_eq!(kept(exact - 1), (frames, 2));
}
