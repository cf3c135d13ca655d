//! Rooms with policies, as a host sees them: the messages that it stores, gives back and drops, and
//! the commands that it gets.

use roomcast_core::{
    Audience, Command, Config, ConnId, DisconnectReason, Handshake, Hub, JoinError, Limits,
    Policies, Timestamp,
    hub::{HubState, RestoreError},
    outbox::Class,
    policy::Overflow,
    room::{Except, HistoryMessage},
};

use super::harness::Harness;

const SAID: &str = r#"{"event":"said","room":"log","data":1}"#;

fn harness(limits: Limits, durable: bool, policies: &str) -> Harness {
    let policies: Policies = serde_json::from_str(policies).expect("policies");
    let config = Config::new("e").with_limits(limits);
    let mut harness = Harness::new();
    harness.hub = Hub::new(config.with_policies(policies).with_durable(durable));
    harness
}

fn log(durable: bool) -> (Harness, ConnId) {
    let policies = r#"{"rooms":[{"match":"log","history":{"messages":3,"age_s":10}}]}"#;
    let mut harness = harness(Limits::default(), durable, policies);
    let a = harness.connect(Handshake::new()).expect("room for it");
    harness.out.clear();
    (harness, a)
}

/// Returns the message that a host would store for the append command.
fn message(harness: &Harness) -> HistoryMessage {
    let mut messages = harness.out.iter().filter_map(|command| match command {
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
        | Command::LoadHistory { .. } => None,
    });
    messages.next().expect("something to keep")
}

#[test]
fn a_durable_host_keeps_a_message_before_it_is_sent() {
    let (mut harness, a) = log(true);
    harness.text(a, r#"{"event":"$join","room":"log"}"#);
    harness.assert_commands([
        "persist a",
        "persist log",
        r#"send a {"event":"$join","room":"log","data":{"epoch":"e.1","offset":0,"already":false}}"#,
    ]);
    harness.text(a, r#"{"event":"said","id":1,"room":"log","data":1}"#);
    assert_eq!(message(&harness).except, Except::Conn(a));
    harness.assert_commands([
        r#"append log 1 {"event":"said","room":"log","from":{"conn":"0"},"offset":1,"data":1}"#,
        r#"send a {"event":"said","id":1,"room":"log","data":{"reached":0,"offset":1}}"#,
    ]);
    harness.text(a, r#"{"event":"$leave","room":"log"}"#);
    harness.assert_commands([
        "persist a",
        "persist log",
        r#"send a {"event":"$leave","room":"log","data":{"was":true}}"#,
    ]);
    let state = harness.hub.room_state("log").expect("it is kept");
    assert_eq!((state.room(), state.first(), state.offset()), ("log", 1, 1));
    harness.wait(9_999);
    harness.assert_commands([]);
    harness.wait(1);
    harness.assert_commands(["persist log"]);
    assert_eq!(harness.hub.room_state("log"), None);
    assert!(!harness.hub.is_idle(harness.now), "somebody is connected");
}

#[test]
fn a_host_that_keeps_nothing_is_not_told() {
    let (mut harness, a) = log(false);
    harness.text(a, SAID);
    harness.assert_commands([]);
    assert_eq!(harness.hub.position("log").offset, 1);
    let gone = harness
        .hub
        .disconnect(harness.now, a, DisconnectReason::Lost, &mut harness.out);
    assert_eq!(gone, Ok(()));
    // A namespace that a client may come back to is not idle.
    assert!(!harness.hub.is_idle(harness.now));
    harness.wait(10_000);
    assert!(harness.hub.is_idle(harness.now));
    harness.assert_commands([]);
}

/// The hub of a process that starts with what another one kept.
fn restarted(epoch: &str, messages: &[HistoryMessage], ahead: bool) -> Harness {
    let (mut old, a) = log(true);
    for _ in 0..3 {
        old.text(a, SAID);
    }
    let state = old.hub.room_state("log").expect("it is kept");
    assert_eq!(old.hub.histories_opened(), 1);
    let mut harness = Harness::new();
    let policies = r#"{"rooms":[{"match":"log","history":{"messages":3,"age_s":10}}]}"#;
    let policies: Policies = serde_json::from_str(policies).expect("policies");
    let config = Config::new(epoch).with_policies(policies);
    let state = HubState::from_serial(1)
        .with_histories_opened(old.hub.histories_opened())
        .with_rooms([state]);
    harness.hub = Hub::restore(config, state, []).expect("a state");
    assert!(harness.hub.is_away("log"));
    if ahead {
        let messages = messages.iter().cloned();
        harness
            .hub
            .history_loaded(harness.now, "log", messages, &mut harness.out);
        assert!(!harness.hub.is_away("log"));
    }
    let b = harness.connect(Handshake::new()).expect("room for it");
    assert_eq!(b.serial(), 1);
    harness.out.clear();
    harness
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

fn joins(harness: &mut Harness) {
    let b = harness
        .hub
        .connections()
        .next()
        .expect("somebody is there")
        .id;
    harness.text(b, SINCE_1);
}

#[test]
fn histories_are_given_back_at_the_start() {
    let mut harness = restarted("e", &frames(), true);
    joins(&mut harness);
    harness.assert_commands([
        "persist b",
        r#"send b {"event":"$join","room":"log","data":{"epoch":"e.1","offset":3,"already":false,"recovered":true,"missed":2}}"#,
        r#"send b {"event":"said","offset":2}"#,
        r#"send b {"event":"said","offset":3}"#,
    ]);
}

#[test]
fn histories_are_given_back_when_somebody_asks() {
    let mut harness = restarted("e", &[], false);
    joins(&mut harness);
    harness.assert_commands(["recall log"]);
    let (now, out) = (harness.now, &mut harness.out);
    harness.hub.history_loaded(now, "log", frames(), out);
    harness.assert_commands([
        "persist b",
        r#"send b {"event":"$join","room":"log","data":{"epoch":"e.1","offset":3,"already":false,"recovered":true,"missed":2}}"#,
        r#"send b {"event":"said","offset":2}"#,
        r#"send b {"event":"said","offset":3}"#,
    ]);
}

/// A host that keeps every message gives back those too that came since it slept.
#[test]
fn what_came_since_is_not_taken_twice() {
    let mut harness = restarted("e", &frames(), false);
    harness.send(&Audience::room("log"), "4").expect("sent");
    harness.out.clear();
    joins(&mut harness);
    harness.assert_commands(["recall log"]);
    let newest = harness.hub.history("log", None, None, 1);
    let newest = newest.and_then(|page| page.first().copied().map(str::to_owned));
    let newest = HistoryMessage::new(4, harness.now, newest.expect("sent"), Except::Nobody);
    let messages = frames().into_iter().chain([newest]);
    harness
        .hub
        .history_loaded(harness.now, "log", messages, &mut harness.out);
    let offsets = harness.hub.history("log", None, None, 9).expect("kept");
    // As many as the policy keeps.
    assert_eq!(offsets.len(), 3, "{offsets:?}");
    assert!(offsets[0].contains(r#""offset":2"#), "{offsets:?}");
    harness.hub.assert_consistent();
}

/// Messages stored by the host count towards the byte limit: above it, the hub asks for them and
/// drops the oldest.
#[test]
fn bytes_are_bounded_over_sleep() {
    let policies = r#"{"rooms":[{"match":"log","history":{"messages":100,"bytes":1000}}]}"#;
    let mut harness = harness(Limits::default(), true, policies);
    let config = || {
        let policies: Policies = serde_json::from_str(policies).expect("policies");
        let config = Config::new("e").with_policies(policies);
        config.with_durable(true)
    };
    let text = format!("\"{}\"", "x".repeat(200));
    let mut stored: Vec<HistoryMessage> = Vec::new();
    for _ in 0..20 {
        harness.out.clear();
        harness.send(&Audience::room("log"), &text).expect("sent");
        stored.push(message(&harness));
        let mut commands = harness.out.iter();
        if commands.any(|command| matches!(command, Command::LoadHistory { .. })) {
            harness.out.clear();
            let (now, out) = (harness.now, &mut harness.out);
            harness.hub.history_loaded(now, "log", stored.clone(), out);
            harness.assert_commands(["persist log"]);
        }
        let state = harness.hub.room_state("log").expect("it is kept");
        stored.retain(|message| message.offset >= state.first());
        assert!(stored.len() <= 4, "{} messages", stored.len());
        // It sleeps after each message.
        let state = HubState::from_serial(1)
            .with_histories_opened(harness.hub.histories_opened())
            .with_rooms([state]);
        harness.hub = Hub::restore(config(), state, []).expect("a state");
    }
    assert_eq!(stored.last().map(|message| message.offset), Some(20));
}

/// Torn or missing messages are never given out, and neither are the messages behind a gap.
#[test]
fn what_a_host_lost_is_not_recovered() {
    let all = frames();
    let kept: [&[HistoryMessage]; 4] = [&[], &all[..2], &all[2..], &all[..1]];
    for messages in kept {
        for ahead in [true, false] {
            let mut harness = restarted("e", messages, ahead);
            joins(&mut harness);
            if !ahead {
                harness.assert_commands(["recall log"]);
                let (now, out) = (harness.now, &mut harness.out);
                harness
                    .hub
                    .history_loaded(now, "log", messages.iter().cloned(), out);
            }
            harness.assert_commands([
                "persist b",
                r#"send b {"event":"$join","room":"log","data":{"epoch":"e.1","offset":3,"already":false,"recovered":false}}"#,
            ]);
        }
    }
}

/// A store that may have lost the newest messages begins with a new epoch: offsets are not reused.
#[test]
fn i32_lost_history_means_a_new_epoch() {
    let mut harness = restarted("f", &frames(), true);
    joins(&mut harness);
    harness.assert_commands([
        "persist b",
        r#"send b {"event":"$join","room":"log","data":{"epoch":"f.1","offset":3,"already":false,"recovered":false}}"#,
    ]);
}

#[test]
fn a_request_that_waits_dies_with_its_connection() {
    let mut harness = restarted("e", &[], false);
    joins(&mut harness);
    let b = harness
        .hub
        .connections()
        .next()
        .expect("somebody is there")
        .id;
    let gone = harness
        .hub
        .disconnect(harness.now, b, DisconnectReason::Lost, &mut harness.out);
    assert_eq!(gone, Ok(()));
    harness.assert_commands(["recall log"]);
    let (now, out) = (harness.now, &mut harness.out);
    harness.hub.history_loaded(now, "log", frames(), out);
    harness.assert_commands([]);
}

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
    // The first of `a` went for the room of `b`, then all of `b` for that of `a`.
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
            | Command::LoadHistory { .. } => None,
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
    // A replay is a message: what it lacks could not be told.
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
    // Each counts for 8 bytes more.
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
    // What is shown of a user counts for each of its connections.
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

#[test]
fn a_room_state_that_cannot_have_been_is_refused() {
    let (mut harness, a) = log(true);
    harness.text(a, SAID);
    let good = serde_json::to_string(&harness.hub.room_state("log")).expect("data");
    let restore = |states: &[String]| {
        let states = states.iter().map(|state| serde_json::from_str(state));
        let states: Result<Vec<_>, _> = states.collect();
        let state = HubState::from_serial(1).with_rooms(states.expect("states"));
        let policies = r#"{"rooms":[{"match":"log","history":{"messages":300}}]}"#;
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
    // A member that is left out as a user is left out as a connection, too.
    let exact = frames + (48 + 8) + (48 + 8 + users);
    assert_eq!(kept(exact), (frames, 3));
    assert_eq!(kept(exact - 1), (frames, 2));
}
