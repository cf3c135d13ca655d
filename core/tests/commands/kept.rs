//! Rooms with policies from the host's side: the messages that it stores, loads and drops, and the
//! commands that it gets.

use roomcast_core::{
    Audience, Command, Config, ConnId, DisconnectReason, Handshake, Hub, Limits, Outbox, Payload,
    Policies, Timestamp,
    hub::{HubState, RestoreError},
    room::{Except, HistoryMessage},
};

use super::harness::Harness;

const SAID: &str = r#"{"event":"said","room":"log","data":1}"#;

pub(super) fn harness(limits: Limits, durable: bool, policies: &str) -> Harness {
    let mut harness = Harness::new();
    harness.hub = Hub::new(config(limits, durable, policies));
    harness
}

pub(super) fn config(limits: Limits, durable: bool, policies: &str) -> Config {
    let policies: Policies = serde_json::from_str(policies).expect("policies");
    let config = Config::new("e").with_limits(limits);
    config.with_policies(policies).with_durable(durable)
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
        | Command::PersistKey { .. }
        | Command::LoadHistory { .. }
        | Command::Relay(_)
        | Command::Tell { .. } => None,
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
    // A namespace is not idle while a client may still reconnect.
    assert!(!harness.hub.is_idle(harness.now));
    harness.wait(10_000);
    assert!(harness.hub.is_idle(harness.now));
    harness.assert_commands([]);
}

/// Returns the hub of a process that starts from the state of another one.
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

/// A host that stores every message also returns those sent after the restart.
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
    // The policy keeps three messages.
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
        // The hub sleeps after each message.
        let state = HubState::from_serial(1)
            .with_histories_opened(harness.hub.histories_opened())
            .with_rooms([state]);
        harness.hub = Hub::restore(config(), state, []).expect("a state");
    }
    assert_eq!(stored.last().map(|message| message.offset), Some(20));
}

/// Torn or missing messages are never delivered, and no recovery crosses a gap.
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

/// A store that may have lost its newest messages starts a new epoch, so no offset is reused.
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

/// Numbers that no hub assigns count as damage: the room gets a new sequence number, or its history
/// restarts.
#[test]
fn a_damaged_number_is_given_anew() {
    let (mut harness, a) = log(true);
    harness.text(a, SAID);
    let good = serde_json::to_string(&harness.hub.room_state("log")).expect("data");
    for (member, opened, epoch, first) in [
        ("seq", 5, "e.1", 2),
        ("life", 5, "e.6", 1),
        ("life", u64::MAX, "e.9007199254740993", 1),
    ] {
        let damage = format!(r#""{member}":{}"#, u64::MAX);
        let bad = good.replace(&format!(r#""{member}":1"#), &damage);
        assert_ne!(bad, good);
        let room = serde_json::from_str(&bad).expect("a state");
        let state = HubState::from_serial(1).with_histories_opened(opened);
        let policies = r#"{"rooms":[{"match":"log","history":{"messages":300}}]}"#;
        let policies = serde_json::from_str(policies).expect("policies");
        let config = Config::new("e").with_policies(policies);
        let mut hub = Hub::restore(config, state.with_rooms([room]), []).expect("mended");
        for offset in [first, first + 1] {
            let (log, out) = (Audience::room("log"), &mut Outbox::new());
            let sent = hub.send(Timestamp::ZERO, &log, "said", Payload::NULL, out);
            assert_eq!(sent.expect("valid").offset, Some(offset));
            hub.assert_consistent();
        }
        assert_eq!(hub.position("log").epoch, epoch);
    }
}
