use alloc::{string::ToString, vec};

use super::*;

fn ask_rooms(limit: usize) -> Ask {
    let (prefix, after) = (String::new(), None);
    Ask::Rooms {
        prefix,
        after,
        limit,
    }
}

#[test]
fn requests_and_answers_travel_as_bytes() {
    let ask = BusMessage::Ask {
        number: 7,
        ask: Box::new(ask_rooms(3)),
        detailed: false,
    };
    let bytes = ask.write().expect("short");
    let text = r#"1q7 {"ask":{"rooms":{"prefix":"","after":null,"limit":3}}}"#;
    assert_eq!(bytes, text.as_bytes());
    let Some(BusMessage::Ask {
        number: 7,
        ask,
        detailed: false,
    }) = BusMessage::read(&bytes)
    else {
        panic!("{text}");
    };
    assert!(matches!(*ask, Ask::Rooms { limit: 3, .. }));
    let details = ConnectionDetails {
        conn: "7".parse().expect("an id"),
        rooms: vec!["a\nb".into()],
        queued_bytes: 5,
    };
    let found = NodeAnswer {
        answer: Ok(Answer::Connection(None)),
        connections: vec![details],
    };
    let left = NodeAnswer::from(Ok(Answer::Left(true)));
    for answer in [left, Err(AskError::NotRunning).into(), found] {
        let number = 8;
        let message = BusMessage::Answer {
            number,
            answer: answer.clone(),
        };
        let bytes = message.write().expect("short");
        assert_eq!(BusMessage::head(&bytes), Some(BusHead::Answer(number)));
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
        b"1q7 {}",
        b"1q{}",
        b"1x7 ",
        b"1a",
        b"1a7",
        b"1a7 ?\n?",
        b"1q7 \xff",
        b"1q1234567890123456789012 ",
        &long,
    ] {
        assert!(BusMessage::read(bytes).is_none(), "{} bytes", bytes.len());
    }
    let garbled = BusMessage::read(b"1a7 ?");
    assert!(matches!(
        garbled,
        Some(BusMessage::Answer {
            number: 7,
            answer: NodeAnswer {
                answer: Err(AskError::Unavailable(_)),
                ..
            }
        })
    ));
}

#[test]
fn an_answer_that_is_too_long_says_so() {
    let name = "r".repeat(BusMessage::BYTES_MAX);
    let answer = Ok(Answer::RoomsOfUser(vec![name])).into();
    let bytes = BusMessage::Answer { number: 1, answer }
        .write()
        .expect("an error is short");
    let Some(BusMessage::Answer { answer, .. }) = BusMessage::read(&bytes) else {
        panic!("{} bytes", bytes.len());
    };
    let error = answer.answer.expect_err("it is too long").to_string();
    assert!(error.contains("ask for fewer"), "{error}");
}
