//! A mistake that is planted in the explanations is found.

#![allow(clippy::wildcard_enum_match_arm)] // the mistakes are about a few reasons

use std::{cell::RefCell, collections::BTreeSet};

use proptest::{prelude::Strategy, strategy::ValueTree, test_runner::TestRunner};
use roomcast_core::{
    ConnId, Explained, Explanation, Hub, explain::Reason, policy::Right, room::RecoveryOutcome,
};
use roomcast_tests::Sleep;

use super::granted::{check_granted, stories};
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

/// Explains the past by the current members.
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
    // There is no message after the newest.
    assert!((2..=3).contains(&story.len()), "{story:#?}");
}

/// True when no grant gives a connection the right.
fn lacks(hub: &Hub, right: Right, room: &str, conn: ConnId) -> bool {
    let room = room.to_owned();
    let told = hub.explain(&Explained::Right { right, room }, conn);
    told.reason == Reason::NotGranted { right }
}

#[test]
fn a_room_left_by_a_renewal_that_is_forgotten_is_found() {
    let story = shortest_of(&stories(1..=40), |story| {
        let was_in = RefCell::new(BTreeSet::new());
        check_granted(story, &|hub: &Hub, send: &Explained, conn| {
            let rooms = hub.rooms_of(conn).unwrap_or_default().into_iter();
            let rooms = rooms.map(|room| (conn, room.to_owned()));
            was_in.borrow_mut().extend(rooms);
            let truth = hub.explain(send, conn);
            let Explained::Send(audience) = send else {
                return truth;
            };
            match (&truth.reason, audience.as_room()) {
                (Reason::NotAMember, Some(room))
                    if was_in.borrow().contains(&(conn, room.to_owned()))
                        && lacks(hub, Right::Join, room, conn) =>
                {
                    let room = room.to_owned();
                    Reason::Member { room }.into()
                }
                _ => truth,
            }
        })
    });
    // A user connects, joins, gets a token without the room, and something is said there.
    assert!((4..=6).contains(&story.len()), "{story:#?}");
    let renewal = &story[story.len() - 2];
    assert!(renewal.contains("authenticates"), "{story:#?}");
}

#[test]
fn a_past_room_left_by_a_renewal_that_is_forgotten_is_found() {
    let story = shortest_of(&stories(1..=40), |story| {
        check_granted(story, &|hub: &Hub, send: &Explained, conn| {
            let truth = hub.explain(send, conn);
            match (&truth.reason, send) {
                (Reason::LeftBefore { .. }, Explained::Past { room, .. })
                    if lacks(hub, Right::Join, room, conn) =>
                {
                    Reason::Sent.into()
                }
                _ => truth,
            }
        })
    });
    assert!((4..=6).contains(&story.len()), "{story:#?}");
    let renewal = &story[story.len() - 2];
    assert!(renewal.contains("authenticates"), "{story:#?}");
}

/// A mistake takes a recovery that was refused for a missing right for a successful one.
#[test]
fn a_recovery_without_the_right_to_the_history_is_found() {
    let story = shortest_of(&stories(1..=40), |story| {
        check_granted(story, &|hub: &Hub, send: &Explained, conn| {
            let truth = hub.explain(send, conn);
            let refused = hub.recoveries().count(RecoveryOutcome::Right) > 0;
            match (&truth.reason, send) {
                (Reason::JoinedAfter { .. }, Explained::Past { room, .. })
                    if refused && lacks(hub, Right::History, room, conn) =>
                {
                    Reason::Recovered { after: 0 }.into()
                }
                _ => truth,
            }
        })
    });
    // Somebody connects, gets a token without it, something is said, and it joins with `since`.
    let joins = story.iter().filter(|line| line.contains("since"));
    assert!(joins.count() == 1 && story.len() <= 6, "{story:#?}");
}

/// An explanation that does not see that the right is lacking is not what the join did.
#[test]
fn a_right_to_the_history_that_is_made_up_is_found() {
    let story = shortest_of(&stories(1..=40), |story| {
        check_granted(story, &|hub: &Hub, send: &Explained, conn| {
            let truth = hub.explain(send, conn);
            let right = Right::History;
            match truth.reason {
                Reason::NotGranted { right: lacking } if lacking == right => {
                    Reason::Granted { right }.into()
                }
                _ => truth,
            }
        })
    });
    assert_eq!(story.len(), 2, "{story:#?}");
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
