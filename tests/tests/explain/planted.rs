//! A mistake that is planted in the explanations is found.

#![allow(clippy::wildcard_enum_match_arm)] // the mistakes are about a few reasons

use std::{cell::RefCell, collections::BTreeSet};

use proptest::{prelude::Strategy, strategy::ValueTree, test_runner::TestRunner};
use roomcast_core::{ConnId, Explained, Explanation, Hub, explain::Reason};
use roomcast_tests::Sleep;

use super::{Explain, cast, check_past, check_sends, numbered};
use crate::planted::shortest_of;

/// The shortest story in which a mistake about sends shows.
fn shortest_send(mistake: Explain<'_>) -> Vec<String> {
    let stories = cast().ops(1..=60).prop_map(numbered).boxed();
    shortest_of(&stories, |story| check_sends(story, mistake))
}

/// The shortest story in which a mistake about the past shows.
fn shortest_past(mistake: Explain<'_>) -> Vec<String> {
    let stories = cast().ops(1..=60).prop_map(numbered).boxed();
    shortest_of(&stories, |story| check_past(story, Sleep::Never, mistake))
}

#[test]
fn forgotten_exceptions_are_found() {
    let story = shortest_send(&|hub: &Hub, send: &Explained, conn| {
        let mut send = send.clone();
        if let Explained::Send(audience) = &mut send {
            audience.except_users.clear();
        }
        hub.explain(&send, conn)
    });
    assert_eq!(story.len(), 2, "{story:#?}");
    assert!(story[1].contains("except_users"), "{story:#?}");
}

#[test]
fn a_forgotten_echo_is_found() {
    let story = shortest_send(&|hub: &Hub, send: &Explained, conn| {
        let mut send = send.clone();
        if let Explained::Publish { echo, .. } = &mut send {
            *echo = None;
        }
        hub.explain(&send, conn)
    });
    let last = story.last().expect("a story");
    assert!(story.len() <= 4 && last.contains("echo"), "{story:#?}");
}

/// Members of today in the place of those of then.
fn by_members_of_today(hub: &Hub, send: &Explained, conn: ConnId) -> Explanation {
    let truth = hub.explain(send, conn);
    let Explained::Past { room, .. } = send else {
        return truth;
    };
    match truth.reason {
        Reason::JoinedAfter { .. } if hub.members(room).contains(&conn) => Reason::Sent.into(),
        _ => truth,
    }
}

#[test]
fn members_of_today_in_the_place_of_those_of_then_are_found() {
    let story = shortest_past(&by_members_of_today);
    // Somebody connects, something is said, somebody joins.
    assert_eq!(story.len(), 3, "{story:#?}");
    assert!(story[2].contains("join"), "{story:#?}");
}

#[test]
fn forgotten_recoveries_are_found() {
    let story = shortest_past(&|hub: &Hub, send: &Explained, conn| {
        let truth = hub.explain(send, conn);
        match truth.reason {
            Reason::Recovered { .. } => Reason::JoinedAfter { joined: 0 }.into(),
            _ => truth,
        }
    });
    assert!(
        story.iter().any(|line| line.contains("since")),
        "{story:#?}"
    );
}

#[test]
fn the_message_beside_the_right_one_is_found() {
    let story = shortest_past(&|hub: &Hub, send: &Explained, conn| {
        let mut send = send.clone();
        if let Explained::Past { offset, .. } = &mut send {
            *offset += 1;
        }
        hub.explain(&send, conn)
    });
    // Of the newest there is no next one.
    assert!((2..=3).contains(&story.len()), "{story:#?}");
}

/// Random stories reach the reasons; without them the properties would hold of nothing.
#[test]
fn random_stories_reach_the_reasons() {
    let reached = RefCell::new(BTreeSet::new());
    let explain = |hub: &Hub, send: &Explained, conn| {
        let explanation = hub.explain(send, conn);
        let json = serde_json::to_value(&explanation).expect("plain data");
        let reason = json["reason"].as_str().expect("a code").to_owned();
        reached.borrow_mut().insert(reason);
        explanation
    };
    let mut runner = TestRunner::deterministic();
    for _ in 0..100 {
        let story = cast().ops(80..=80).new_tree(&mut runner).expect("a story");
        let story = numbered(story.current());
        check_sends(&story, &explain).expect("true");
        check_past(&story, Sleep::Never, &explain).expect("true");
    }
    let reached = reached.into_inner();
    for reason in [
        "all",
        "member",
        "named_user",
        "named_conn",
        "sent",
        "recovered",
        "paged",
        "not_a_member",
        "not_in_audience",
        "own_without_echo",
        "except_room",
        "except_user",
        "except_conn",
        "excepted",
        "joined_after",
        "left_before",
        "ended_before",
        "connected_after",
        "not_connected",
        "no_publisher",
        "publish_forbidden",
        "sent_unless_dropped",
        "ended_since",
        "history_trimmed",
    ] {
        assert!(
            reached.contains(reason),
            "{reason} is not among {reached:?}"
        );
    }
}
