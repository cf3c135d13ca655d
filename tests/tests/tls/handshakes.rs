//! Handshakes that fail, or take their time.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use super::{
    client::{Client, Trust, block_on, start},
    pair::Pairs,
};
use crate::process::child::LONGEST;

fn connect(authority: &str) -> TcpStream {
    let stream = TcpStream::connect(authority).expect("a listener");
    stream.set_read_timeout(Some(LONGEST)).expect("a time");
    stream
}

fn answer(mut stream: TcpStream) -> Vec<u8> {
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("its end");
    answer
}

#[test]
fn http_without_tls_is_told_to_use_https() {
    let pairs = Pairs::new();
    let process = start(&pairs, &[]);
    for request in [
        "GET / HTTP/1.1\r\nhost: localhost\r\n\r\n",
        "POST /api/v1/default/send HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2\r\n\r\n{}",
    ] {
        let mut stream = connect(&process.authority);
        stream.write_all(request.as_bytes()).expect("written");
        stream.shutdown(std::net::Shutdown::Write).expect("open");
        let answer = String::from_utf8(answer(stream)).expect("text");
        let (head, body) = answer.split_once("\r\n\r\n").expect("an answer");
        assert!(head.starts_with("HTTP/1.1 400 "), "{head}");
        assert!(
            head.contains(&format!("content-length: {}", body.len())),
            "{answer}"
        );
        assert!(
            body.contains("https://") && body.contains("wss://"),
            "{body}"
        );
    }
}

/// A greeting of a client that speaks TLS 1.1 at most.
fn hello_1_1() -> Vec<u8> {
    let mut body = vec![3, 2];
    body.extend([7; 32]);
    // No session, two suites, no compression.
    body.extend([0, 0, 4, 0xc0, 0x13, 0x00, 0x2f, 1, 0]);
    // Groups, points, and how signatures are made.
    let extensions = [
        0, 10, 0, 4, 0, 2, 0, 23, 0, 11, 0, 2, 1, 0, 0, 13, 0, 4, 0, 2, 4, 3,
    ];
    let lengths = |len: usize| u16::try_from(len).expect("short").to_be_bytes();
    body.extend(lengths(extensions.len()));
    body.extend(extensions);
    let mut record = vec![22, 3, 1];
    record.extend(lengths(body.len() + 4));
    record.extend([1, 0]);
    record.extend(lengths(body.len()));
    record.extend(body);
    record
}

#[test]
fn tls_1_1_is_refused() {
    let pairs = Pairs::new();
    let process = start(&pairs, &[]);
    let mut stream = connect(&process.authority);
    stream.write_all(&hello_1_1()).expect("written");
    let answer = answer(stream);
    // A fatal alert: the version of the protocol.
    assert_eq!((answer[0], &answer[5..]), (21, &[2, 70][..]), "{answer:?}");
}

#[test]
fn bytes_that_are_no_tls_end_the_connection() {
    let pairs = Pairs::new();
    let process = start(&pairs, &[]);
    let mut stream = connect(&process.authority);
    stream.write_all(&[0; 64]).expect("written");
    let answer = answer(stream);
    assert!(answer.is_empty() || answer[0] == 21, "{answer:?}");
    block_on(Client::connect(&Trust::new(&pairs), &process.authority));
}

#[test]
fn a_slow_handshake_ends_in_time_and_holds_nobody_up() {
    let pairs = Pairs::new();
    // Long enough for the one that is not slow, also on a busy machine.
    let process = start(&pairs, &["--handshake-time-ms=6000"]);
    let whole = hello_1_1();
    let slow: Vec<TcpStream> = [0, 1, 5, whole.len() - 1]
        .into_iter()
        .cycle()
        .take(40)
        .map(|len| {
            let mut stream = connect(&process.authority);
            stream.write_all(&whole[..len]).expect("written");
            stream
        })
        .collect();
    block_on(Client::connect(&Trust::new(&pairs), &process.authority));
    for stream in slow {
        assert!(answer(stream).is_empty());
    }
}
