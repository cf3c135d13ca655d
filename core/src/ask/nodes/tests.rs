use alloc::{string::ToString, vec};

use super::*;
use crate::hub::UnknownConn;

fn gather(ask: Ask, answers: &[(&str, Option<Result<Answer, AskError>>)]) -> (bool, Gathered) {
    let nodes = answers.iter().map(|(node, _)| (*node).into());
    let mut gathering = Gathering::new(ask, nodes);
    let mut is_done = false;
    for (node, answer) in answers {
        if let Some(answer) = answer {
            is_done = gathering.add(node, answer.clone());
        }
    }
    (is_done, gathering.end())
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
fn connections_that_were_closed_are_added_up() {
    let ask = Ask::DisconnectUser {
        user: "ann".into(),
        code: crate::wire::CloseCode::REMOVED,
        reason: String::new(),
    };
    let closed = |count| Some(Ok(Answer::Disconnected(count)));
    let failed = Some(Err(AskError::NotRunning));
    let answers = [("a", closed(2)), ("b", failed), ("c", closed(1))];
    assert_eq!(gather(ask, &answers).1.answer, Ok(Answer::Disconnected(3)));
}

#[test]
fn requests_and_answers_travel_as_bytes() {
    let ask = BusMessage::Ask {
        number: 7,
        ask: Box::new(ask_rooms(3)),
    };
    let bytes = ask.write().expect("short");
    let text = r#"1q{"number":7,"ask":{"rooms":{"prefix":"","after":null,"limit":3}}}"#;
    assert_eq!(bytes, text.as_bytes());
    let Some(BusMessage::Ask { number: 7, ask }) = BusMessage::read(&bytes) else {
        panic!("{text}");
    };
    assert!(matches!(*ask, Ask::Rooms { limit: 3, .. }));
    for answer in [Ok(Answer::Left(true)), Err(AskError::NotRunning)] {
        let number = 8;
        let bytes = BusMessage::Answer {
            number,
            answer: answer.clone(),
        }
        .write()
        .expect("short");
        let Some(BusMessage::Answer {
            number: 8,
            answer: read,
        }) = BusMessage::read(&bytes)
        else {
            panic!("{answer:?}");
        };
        assert_eq!(read, answer);
    }
}

#[test]
fn anything_else_on_the_bus_is_foreign() {
    let long = vec![b'1'; BusMessage::BYTES_MAX + 1];
    for bytes in [
        &b""[..],
        b"1",
        b"2q{}",
        b"1q{}",
        b"1x",
        b"1a",
        b"1a7",
        b"1q\xff",
        &long,
    ] {
        assert!(BusMessage::read(bytes).is_none(), "{} bytes", bytes.len());
    }
    let garbled = BusMessage::read(b"1a7 ?");
    assert!(matches!(
        garbled,
        Some(BusMessage::Answer {
            number: 7,
            answer: Err(AskError::Unavailable(_))
        })
    ));
}

#[test]
fn an_answer_that_is_too_long_says_so() {
    let name = "r".repeat(BusMessage::BYTES_MAX);
    let answer = Ok(Answer::RoomsOfUser(vec![name]));
    let bytes = BusMessage::Answer { number: 1, answer }
        .write()
        .expect("an error is short");
    let Some(BusMessage::Answer { answer, .. }) = BusMessage::read(&bytes) else {
        panic!("{} bytes", bytes.len());
    };
    let error = answer.expect_err("it is too long").to_string();
    assert!(error.contains("ask for fewer"), "{error}");
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
    let read = ask.read().expect("a read");
    assert_eq!((read.after, read.before, read.limit), (Some(4), None, 9));
    assert_eq!(
        (ask.scope(), ask_rooms(1).scope()),
        (Scope::Relay, Scope::All)
    );
    assert!(ask_rooms(1).read().is_none());
}
