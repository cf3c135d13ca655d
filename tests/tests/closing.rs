//! Requests before a close are answered before the close, however it ends.
#![allow(clippy::print_stdout)] // the figures

use crate::applications::Application;
use crate::peer::{CLOSE, Peer, Said, close, frame, text};
use crate::served::Served;
use roomcast_core::{Audience, Context, Router};
use roomcast_tests::{Server, Settings};

/// Rounds of each ending, on each number of threads.
const ROUNDS: usize = 40;

const JOIN: &str = r#"{"event":"$join","id":1,"room":"r"}"#;
const ECHO: &str = r#"{"event":"m","room":"r","echo":true,"data":7}"#;
const ASK: &str = r#"{"event":"m","id":2,"room":"r","data":8}"#;
const BOTH: &str = r#"{"event":"m","id":3,"room":"r","echo":true,"data":9}"#;
const PING: &str = r#"{"event":"$ping"}"#;
const NOBODY: &str = r#"{"event":"nobody","id":4}"#;
const ROOMS: &str = r#"{"event":"$rooms","id":5}"#;
const LEAVE: &str = r#"{"event":"$leave","id":6,"room":"r"}"#;

/// Requests, and a part of each answer.
type Asked = (&'static [&'static str], &'static [&'static str]);

const ASKED: [Asked; 4] = [
    (&[JOIN, ECHO], &[r#""id":1"#, r#""data":7"#]),
    (
        &[JOIN, PING, ECHO, ECHO],
        &[r#""id":1"#, "$pong", r#""data":7"#, r#""data":7"#],
    ),
    (
        &[JOIN, ECHO, ASK, ROOMS, LEAVE],
        &[
            r#""id":1"#,
            r#""data":7"#,
            r#""id":2"#,
            r#""id":5"#,
            r#""id":6"#,
        ],
    ),
    (
        &[JOIN, NOBODY, ECHO, BOTH, PING],
        &[
            r#""id":1"#,
            r#""id":4"#,
            r#""data":7"#,
            r#""data":9"#,
            r#""id":3"#,
            "$pong",
        ],
    ),
];

/// Bytes that end a connection, whether the stream ends behind them, and the close that answers.
fn endings() -> Vec<(&'static str, Vec<u8>, bool, Option<u16>)> {
    let mut large = frame(0x81, &[b'x'; 300]);
    large[2..4].copy_from_slice(&u16::MAX.to_be_bytes());
    vec![
        ("a close", close(1000), false, Some(1000)),
        (
            "a close without a code",
            frame(CLOSE, &[]),
            false,
            Some(1005),
        ),
        (
            "a close and the end of the stream",
            close(3001),
            true,
            Some(3001),
        ),
        ("the end of the stream", Vec::new(), true, None),
        ("broken framing", frame(0x83, &[]), false, Some(1002)),
        ("a frame too large", large.clone(), false, Some(1009)),
        (
            "a frame too large, and the end of the stream",
            large,
            true,
            Some(1009),
        ),
        ("no UTF-8", frame(0x81, &[0xff]), false, Some(1007)),
        ("a binary message", frame(0x82, &[1]), false, Some(1003)),
        (
            "a binary message and a close",
            [frame(0x82, &[1]), close(1000)].concat(),
            false,
            Some(1003),
        ),
    ]
}

/// True when the answers are there, each once and in order, and then the close.
fn is_whole(said: &[Said], answers: &[&str], code: Option<u16>) -> bool {
    let is_bye = |said: &&Said| matches!(said, Said::Text(text) if text.contains("$bye"));
    let mut said = said.iter().filter(|said| !is_bye(said));
    let all = answers
        .iter()
        .all(|answer| matches!(said.next(), Some(Said::Text(text)) if text.contains(answer)));
    all && said.next().cloned() == code.map(Said::Close) && said.next().is_none()
}

fn lost(server: &Server, namespaces: usize) -> Vec<String> {
    let mut lost = Vec::new();
    let mut others: Vec<_> = (0..namespaces)
        .map(|namespace| {
            let mut other = Peer::connect(server.authority(), &format!("n{namespace}"));
            other.join("r");
            other
        })
        .collect();
    for (name, bytes, finishes, code) in endings() {
        let mut count = 0;
        let mut example = String::new();
        for round in 0..ROUNDS {
            let (asked, answers) = ASKED[round % 4];
            let at = round / 4 % namespaces;
            let mut peer = Peer::connect(server.authority(), &format!("n{at}"));
            let mut segment: Vec<u8> = asked.iter().flat_map(|ask| text(ask)).collect();
            segment.extend(&bytes);
            peer.write(&segment);
            if finishes {
                peer.finish();
            }
            let said = peer.rest();
            if !is_whole(&said, answers, code) {
                count += 1;
                example = format!("{said:?}");
            }
        }
        println!("{name}: {count} of {ROUNDS} not whole");
        if count > 0 {
            lost.push(format!("{name}: {count} of {ROUNDS}, such as {example}"));
        }
    }
    for other in &mut others {
        other.write(&close(1000));
        // Everything is read up to the close, so no reader was slow.
        assert!(other.rest().contains(&Said::Close(1000)));
    }
    lost
}

fn on_threads(threads: usize) {
    let threads_flag = format!("--threads={threads}");
    let rate = "--inbound-rate=off".to_owned();
    let bytes = "--inbound-bytes-rate=off".to_owned();
    let server = Server::start(&[threads_flag, rate, bytes, "--message-bytes-max=1000".into()]);
    let lost = lost(&server, 2 * threads);
    assert!(lost.is_empty(), "{threads} threads: {lost:#?}");
}

#[test]
fn answers_come_before_the_close_on_one_thread() {
    on_threads(1);
}

#[test]
fn answers_come_before_the_close_on_two_threads() {
    on_threads(2);
}

#[test]
fn answers_come_before_the_close_on_three_threads() {
    on_threads(3);
}

/// Answers and pushes of an application come before the close as well.
#[test]
fn answers_of_an_application_come_before_the_close() {
    const ASK: &str = r#"{"event":"ask","id":1,"data":7}"#;
    const TELL: &str = r#"{"event":"tell","data":8}"#;
    let application = Application {
        name: "asked",
        gateway: || {
            Box::new(
                Router::default()
                    .on("ask", |_: &mut Context, asked: u32| asked)
                    .on("tell", |cx: &mut Context, told: u32| {
                        let sent = cx.to(Audience::all()).emit("told", &told);
                        sent.map_or_else(|fault| cx.report("tell", fault), |_| ());
                    }),
            )
        },
        is_raw: false,
    };
    for threads in 1..=2 {
        let served = Served::start(&application, &Settings::default(), threads);
        let address = served.address();
        let authority = address.trim_start_matches("ws://").trim_end_matches("/ws");
        for round in 0..ROUNDS {
            let namespace = format!("n{}", round % 4);
            let mut other = Peer::connect(authority, &namespace);
            for (ending, finishes, code) in
                [(close(1000), false, Some(1000)), (Vec::new(), true, None)]
            {
                let mut peer = Peer::connect(authority, &namespace);
                peer.write(&[text(ASK), text(TELL), ending].concat());
                if finishes {
                    peer.finish();
                }
                let said = peer.rest();
                let answers = [r#""id":1"#, r#""data":8"#];
                assert!(
                    is_whole(&said, &answers, code),
                    "{threads} threads: {said:?}"
                );
                assert!(matches!(other.next(), Said::Text(told) if told.contains("told")));
            }
            other.write(&close(1000));
            assert_eq!(other.rest(), [Said::Close(1000)]);
        }
    }
}
