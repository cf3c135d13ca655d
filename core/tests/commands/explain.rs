//! Explanations: each reason, for hypothetical sends and for messages in histories.

use roomcast_core::{
    Audience, CloseCode, ConnId, DisconnectReason, Explained, Handshake, Hub, Limits, Policies,
    explain::Reason, room::HistoryMessage,
};

use super::{harness::Harness, harness::stranger, kept::harness};

const POLICIES: &str = r#"{"rooms":[
    {"match":"lo*","history":{"messages":3,"age_s":10}},
    {"match":"map","history":{"messages":300},"overflow":"latest"},
    {"match":"stage","history":{"messages":300},"publish":false},
    {"match":"den","history":{"messages":300},"echo":true}
]}"#;

fn code(harness: &Harness, send: &Explained, conn: ConnId) -> String {
    let explanation = harness.hub.explain(send, conn);
    let json = serde_json::to_string(&explanation).expect("plain data");
    let text = explanation.reason.to_string();
    assert!(text.len() > 20, "{json}: {text}");
    json
}

#[track_caller]
fn assert_past(harness: &Harness, (room, offset): (&str, u64), conn: ConnId, expected: &str) {
    let code = code(harness, &Explained::past(room, offset), conn);
    assert_eq!(code, expected, "{room} {offset} {conn}");
}

/// Connections a, b, ... of these users.
fn connected<const N: usize>(users: [&str; N]) -> (Harness, [ConnId; N]) {
    let mut harness = harness(Limits::default(), false, POLICIES);
    let conns = users.map(|user| {
        let handshake = match user {
            "" => Handshake::new(),
            user => Handshake::new().with_user(user),
        };
        harness.connect(handshake).expect("room for it")
    });
    (harness, conns)
}

#[test]
fn a_send_is_explained_by_the_part_of_the_audience_that_decides() {
    let (mut harness, [a, b]) = connected(["ann", ""]);
    harness.join(a, "lobby");
    harness.join(a, "muted");
    for (audience, of_a, of_b) in [
        (
            Audience::all(),
            r#"{"reason":"all"}"#,
            r#"{"reason":"all"}"#,
        ),
        (
            Audience::rooms(["attic", "lobby"]),
            r#"{"reason":"member","room":"lobby"}"#,
            r#"{"reason":"not_in_audience"}"#,
        ),
        (
            Audience::room("lobby"),
            r#"{"reason":"member","room":"lobby"}"#,
            r#"{"reason":"not_a_member"}"#,
        ),
        (
            Audience::user("ann").and_conn(b),
            r#"{"reason":"named_user","user":"ann"}"#,
            r#"{"reason":"named_conn"}"#,
        ),
        (
            Audience::all().except_room("muted").except_conn(b),
            r#"{"reason":"except_room","room":"muted"}"#,
            r#"{"reason":"except_conn"}"#,
        ),
        (
            Audience::room("lobby").except_user("ann"),
            r#"{"reason":"except_user","user":"ann"}"#,
            r#"{"reason":"not_a_member"}"#,
        ),
    ] {
        let send = audience.into();
        assert_eq!(code(&harness, &send, a), of_a, "{send:?}");
        assert_eq!(code(&harness, &send, b), of_b, "{send:?}");
        let never = code(&harness, &send, stranger());
        assert_eq!(never, r#"{"reason":"never_connected"}"#);
    }
    let now = harness.now;
    let lost = harness
        .hub
        .disconnect(now, a, DisconnectReason::Lost, &mut harness.out);
    lost.expect("alive");
    let send = Audience::all().into();
    assert_eq!(code(&harness, &send, a), r#"{"reason":"not_connected"}"#);
}

#[test]
fn a_publish_is_explained_by_echo_and_the_policy() {
    let (mut harness, [a, b]) = connected(["ann", ""]);
    for room in ["log", "den", "stage"] {
        harness.join(a, room);
    }
    let publish = |from, room: &str, echo| Explained::Publish {
        from,
        room: room.into(),
        echo,
    };
    for (send, of_a) in [
        (
            publish(a, "log", None),
            r#"{"reason":"own_without_echo","rule":"lo*"}"#,
        ),
        (
            publish(a, "log", Some(true)),
            r#"{"reason":"member","room":"log"}"#,
        ),
        (
            publish(b, "log", None),
            r#"{"reason":"member","room":"log"}"#,
        ),
        (
            publish(a, "den", None),
            r#"{"reason":"member","room":"den"}"#,
        ),
        (
            publish(a, "den", Some(false)),
            r#"{"reason":"own_without_echo","rule":"den"}"#,
        ),
        (
            publish(b, "stage", None),
            r#"{"reason":"publish_forbidden","rule":"stage"}"#,
        ),
        (publish(a, "attic", None), r#"{"reason":"not_a_member"}"#),
    ] {
        assert_eq!(code(&harness, &send, a), of_a, "{send:?}");
    }
    let gone = code(&harness, &publish(stranger(), "log", None), a);
    assert_eq!(
        gone,
        r#"{"reason":"no_publisher","from":"9007199254740991"}"#
    );
}

#[test]
fn a_past_message_is_explained_by_who_was_in_the_room() {
    let (mut harness, [a, b, c, d]) = connected(["ann", "ben", "cat", ""]);
    for conn in [a, b] {
        harness.join(conn, "log");
    }
    harness.text(a, r#"{"event":"said","room":"log","data":1}"#);
    harness.wait(1);
    let e = harness.connect(Handshake::new()).expect("room for it");
    let audience = Audience::room("log").except_user("ben").except_conn(d);
    harness.send(&audience, "2").expect("valid");
    let now = harness.now;
    let left = harness.hub.leave(now, b, "log", &mut harness.out);
    assert_eq!(left, Ok(true));
    harness.text(
        c,
        r#"{"event":"$join","room":"log","data":{"since":{"epoch":"e.1","offset":0,"conn":"0"}}}"#,
    );
    for (offset, conn, expected) in [
        (1, a, r#"{"reason":"own_without_echo"}"#),
        (1, b, r#"{"reason":"sent"}"#),
        // Claims to be `a` after a reconnect.
        (1, c, r#"{"reason":"excepted_before"}"#),
        (1, d, r#"{"reason":"not_a_member"}"#),
        (1, e, r#"{"reason":"connected_after"}"#),
        (1, stranger(), r#"{"reason":"never_connected"}"#),
        (2, a, r#"{"reason":"sent"}"#),
        (2, b, r#"{"reason":"except_user","user":"ben"}"#),
        (2, c, r#"{"reason":"recovered","after":0}"#),
        (2, d, r#"{"reason":"excepted"}"#),
        (3, a, r#"{"reason":"not_sent","newest":2}"#),
        (0, a, r#"{"reason":"not_sent","newest":2}"#),
    ] {
        assert_past(&harness, ("log", offset), conn, expected);
    }
    harness.join(d, "log");
    harness.send(&Audience::room("log"), "3").expect("valid");
    harness
        .hub
        .close(now, a, CloseCode::NORMAL, "", &mut harness.out)
        .expect("alive");
    harness.send(&Audience::room("log"), "4").expect("valid");
    for (offset, conn, expected) in [
        (1, a, r#"{"reason":"history_trimmed","first":2}"#),
        (2, d, r#"{"reason":"excepted"}"#),
        (2, e, r#"{"reason":"not_a_member"}"#),
        (3, a, r#"{"reason":"ended_since"}"#),
        (3, b, r#"{"reason":"left_before","left":2}"#),
        (3, d, r#"{"reason":"sent"}"#),
        (4, a, r#"{"reason":"ended_before","left":3}"#),
    ] {
        assert_past(&harness, ("log", offset), conn, expected);
    }
    harness.join(e, "log");
    assert_past(
        &harness,
        ("log", 3),
        e,
        r#"{"reason":"joined_after","joined":4}"#,
    );
    assert_past(&harness, ("attic", 1), e, r#"{"reason":"no_history"}"#);
}

#[test]
fn what_a_full_queue_dropped_is_not_known() {
    let (mut harness, [a]) = connected([""]);
    harness.join(a, "map");
    harness.send(&Audience::room("map"), "1").expect("valid");
    let expected = r#"{"reason":"sent_unless_dropped","overflow":"latest","rule":"map"}"#;
    assert_past(&harness, ("map", 1), a, expected);
}

#[test]
fn a_hub_that_woke_or_got_other_policies_says_what_it_does_not_know() {
    let (mut harness, [a, b]) = connected(["", ""]);
    harness.join(a, "log");
    harness.text(b, r#"{"event":"said","room":"log","data":1}"#);
    harness.wait(1);
    let mut hub = harness.hub.clone();
    let policies: Policies = serde_json::from_str(POLICIES).expect("policies");
    hub.set_policies(harness.now, Policies::default(), &mut harness.out);
    hub.set_policies(harness.now, policies, &mut harness.out);
    let of = |hub: &Hub, offset, conn| hub.explain(&Explained::past("log", offset), conn).reason;
    // The history restarted.
    assert_eq!(of(&hub, 1, a), Reason::NotSent { newest: 0 });

    let states = [a, b].map(|conn| harness.hub.conn_state(conn).expect("alive"));
    let config = super::kept::config(Limits::default(), true, POLICIES);
    harness.hub = Hub::restore(config, harness.hub.state(), states).expect("valid");
    assert_eq!(of(&harness.hub, 1, a), Reason::HistoryAway);
    let except = serde_json::from_str(&format!(r#"{{"conn":"{b}"}}"#)).expect("an exception");
    let message = HistoryMessage::new(1, roomcast_core::Timestamp::ZERO, "{}", except);
    let now = harness.now;
    harness
        .hub
        .history_loaded(now, "log", [message], &mut harness.out);
    assert_eq!(of(&harness.hub, 1, a), Reason::MembershipUnknown);
    assert_eq!(of(&harness.hub, 1, b), Reason::OwnWithoutEcho);
    harness.text(b, r#"{"event":"said","room":"log","data":2}"#);
    assert_eq!(of(&harness.hub, 2, a), Reason::Sent);
}
