use alloc::string::ToString;

use super::*;
use crate::hub::UnknownConn;

fn gather(ask: Ask, answers: &[(&str, Option<Result<Answer, AskError>>)]) -> (bool, Gathered) {
    let nodes = answers.iter().map(|(node, _)| (*node).into());
    let mut gathering = Gathering::new(ask, nodes);
    for (node, answer) in answers {
        if let Some(answer) = answer {
            gathering.add(node, answer.clone().into());
        }
    }
    (gathering.is_done(), gathering.end())
}

fn rooms(rooms: &[(&str, usize)]) -> Option<Result<Answer, AskError>> {
    let summary = |&(name, members): &(&str, usize)| RoomSummary {
        name: name.to_string(),
        members,
    };
    Some(Ok(Answer::Rooms(rooms.iter().map(summary).collect())))
}

fn ask_rooms(limit: usize) -> Ask {
    let (prefix, after) = (String::new(), None);
    Ask::Rooms {
        prefix,
        after,
        limit,
    }
}

fn conn() -> ConnId {
    "7".parse().expect("an id")
}

#[test]
fn rooms_of_all_nodes_are_one_list() {
    let answers = [
        ("a", rooms(&[("x", 1), ("z", 2)])),
        ("b", rooms(&[("x", 3), ("y", 1)])),
    ];
    let (is_done, gathered) = gather(ask_rooms(2), &answers);
    assert_eq!((is_done, gathered.missing.len()), (true, 0));
    assert_eq!(Some(gathered.answer), rooms(&[("x", 4), ("y", 1)]));
}

#[test]
fn a_part_names_the_nodes_that_are_missing() {
    let (is_done, gathered) = gather(ask_rooms(9), &[("a", rooms(&[("x", 1)])), ("b", None)]);
    assert!(!is_done);
    assert_eq!(Some(gathered.answer), rooms(&[("x", 1)]));
    assert_eq!(gathered.missing, ["b".into()]);
}

#[test]
fn the_node_that_has_the_connection_answers_for_all() {
    let room = "r".to_string();
    let leave = Ask::Leave { conn: conn(), room };
    let unknown = Some(Err(AskError::UnknownConn(UnknownConn(conn()))));
    let left = Some(Ok(Answer::Left(true)));
    let answers = [("a", unknown.clone()), ("b", left), ("c", None)];
    let (is_done, gathered) = gather(leave.clone(), &answers);
    assert!(is_done && gathered.missing.is_empty());
    assert_eq!(gathered.answer, Ok(Answer::Left(true)));
    let (is_done, gathered) = gather(leave.clone(), &[("a", unknown.clone()), ("b", None)]);
    assert!(!is_done);
    assert_eq!(
        gathered.answer,
        Err(AskError::Unavailable("no answer of b: ask again".into()))
    );
    let (is_done, gathered) = gather(leave, &[("a", unknown.clone()), ("b", unknown.clone())]);
    assert_eq!((is_done, Some(gathered.answer)), (true, unknown));
}

#[test]
fn a_node_that_could_not_answer_is_missing() {
    let full = || Some(Err(AskError::Unavailable("too many questions".into())));
    let (_, gathered) = gather(ask_rooms(9), &[("a", rooms(&[("x", 1)])), ("b", full())]);
    assert_eq!(Some(gathered.answer), rooms(&[("x", 1)]));
    assert_eq!(gathered.missing, ["b".into()]);
    let unknown = Some(Ok(Answer::Connection(None)));
    let ask = Ask::Connection { conn: conn() };
    let (is_done, gathered) = gather(ask, &[("a", unknown), ("b", full())]);
    assert_eq!((is_done, Some(gathered.answer)), (true, full()));
}

#[test]
fn a_room_without_a_member_on_any_node_is_empty() {
    let (room, after) = ("den".to_string(), None);
    let ask = Ask::Presence {
        room,
        after,
        limit: 9,
    };
    let nobody = || Some(Err(AskError::Page(PageError::Unfollowed)));
    let (is_done, gathered) = gather(ask.clone(), &[("a", nobody()), ("b", nobody())]);
    assert!(is_done);
    let empty = PresencePage::empty();
    assert_eq!(gathered.answer, Ok(Answer::Presence(empty.clone())));
    let (is_done, gathered) = gather(ask.clone(), &[("a", nobody()), ("b", None)]);
    assert!(!is_done);
    let expected = AskError::Unavailable("no answer of b: ask again".into());
    assert_eq!(gathered.answer, Err(expected));
    let page = || Some(Ok(Answer::Presence(empty.clone())));
    let (is_done, gathered) = gather(ask, &[("a", nobody()), ("b", page()), ("c", None)]);
    assert_eq!((is_done, Some(gathered.answer)), (true, page()));
}

#[test]
fn a_room_may_be_on_a_node_that_did_not_answer() {
    let ask = Ask::Room { room: "x".into() };
    let (_, gathered) = gather(ask, &[("a", Some(Ok(Answer::Room(None)))), ("b", None)]);
    let expected = AskError::Unavailable("no answer of b: ask again".into());
    assert_eq!(gathered.answer, Err(expected));
}

#[test]
fn details_come_with_their_connections() {
    let ask = Ask::Connections {
        user: None,
        after: None,
        limit: 9,
    };
    let mut gathering = Gathering::new(ask, ["a".into(), "b".into()]);
    for (node, conn) in [("b", 3), ("a", 7), ("a", 8), ("c", 9)] {
        let mut answer = NodeAnswer::from(Ok(Answer::Connections(Vec::new())));
        answer.connections.push(ConnectionDetails {
            conn: conn.to_string().parse().expect("an id"),
            rooms: Vec::new(),
            queued_bytes: conn,
        });
        gathering.add(node, answer);
    }
    let details = gathering.end().connections.into_iter();
    let queued: Vec<_> = details.map(|it| it.queued_bytes).collect();
    assert_eq!(queued, [3, 7], "the first of each node that was asked");
}

#[test]
fn connections_that_were_closed_are_added_up() {
    let ask = Ask::DisconnectUser {
        user: "ann".into(),
        code: crate::wire::CloseCode::REMOVED,
        reason: String::new(),
    };
    let closed = |count| Some(Ok(Answer::Disconnected(count)));
    let failed = Some(Err(AskError::NotRunning));
    let answers = [("a", closed(2)), ("b", failed), ("c", closed(1))];
    let (_, gathered) = gather(ask.clone(), &answers);
    assert_eq!(gathered.into_answer(&ask), Ok(Answer::Disconnected(3)));
    let (_, gathered) = gather(ask.clone(), &[("a", closed(2)), ("b", None)]);
    let expected = AskError::Unavailable("no answer of b: ask again".into());
    assert_eq!(gathered.into_answer(&ask), Err(expected));
}

#[test]
fn a_part_says_so_and_a_withdrawal_is_caught_up_with() {
    let part = |ask: Ask, answer: Option<Result<Answer, AskError>>| {
        let (_, gathered) = gather(ask.clone(), &[("a", answer.clone()), ("b", None)]);
        let expected = Answer::Part {
            answer: Box::new(answer.expect("one").expect("no error")),
            missing: ["b".into()].into(),
        };
        assert_eq!(gathered.into_answer(&ask), Ok(expected));
    };
    part(ask_rooms(9), rooms(&[("x", 1)]));
    let (user, not_before_s) = ("ann".to_string(), 7);
    let ask = Ask::Withdraw { user, not_before_s };
    part(ask, Some(Ok(Answer::Disconnected(1))));
}

#[test]
fn pages_of_histories_are_read_from_the_relay() {
    use core::ops::Bound::{Included, Unbounded};
    let room = "log".to_string();
    let ask = Ask::History {
        room,
        offsets: (Included(5), Unbounded),
        limit: 9,
    };
    let hub = Hub::new(crate::Config::new("epoch"));
    let read = ask.read(&hub).expect("a read");
    assert_eq!((read.after, read.before, read.limit), (Some(4), None, 9));
    assert_eq!(
        (ask.scope(), ask_rooms(1).scope()),
        (Scope::Relay, Scope::All)
    );
    assert!(ask_rooms(1).read(&hub).is_none());
}
