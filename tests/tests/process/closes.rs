//! Closes by code, as the metrics count them.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use super::child::Process;
use crate::peer;

/// Opens a WebSocket.
fn open(process: &Process) -> TcpStream {
    let mut stream = TcpStream::connect(&process.authority).expect("the server accepts");
    let request = "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
                   Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(request.as_bytes()).expect("written");
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("an answer");
        answer.push(byte[0]);
    }
    assert!(answer.starts_with(b"HTTP/1.1 101 "), "{answer:?}");
    stream
}

fn metric(process: &Process, name: &str) -> Option<u64> {
    peer::metric(&process.authority, name)
}

#[test]
fn i47_closes_by_code_add_up_to_those_that_are_not_open() {
    let mut process = Process::start(&["--threads=2"]);
    let mut kept: Vec<_> = (0..3).map(|_| open(&process)).collect();
    // Ends of several kinds: without a word, with a close frame, by a broken frame, by one too
    // large.
    for _ in 0..4 {
        drop(open(&process));
    }
    let frames: [&[u8]; 3] = [
        &[0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8],
        &[0xff, 0x80, 0, 0, 0, 0],
        &[0x81, 0xff, 0, 0, 0, 0, 0x7f, 0, 0, 0, 0, 0, 0, 0],
    ];
    for frame in frames {
        let mut stream = open(&process);
        stream.write_all(frame).expect("written");
        kept.push(stream);
    }
    process.until("3 connections are open", |process| {
        metric(process, "roomcast_connections") == Some(3)
    });
    assert_eq!(
        metric(&process, "roomcast_connections_opened_total"),
        Some(10)
    );
    assert_eq!(
        metric(&process, "roomcast_connections_closed_total"),
        Some(7)
    );
    drop(kept);
    process.until("none is open", |process| {
        metric(process, "roomcast_connections") == Some(0)
    });
    assert_eq!(
        metric(&process, "roomcast_connections_closed_total"),
        Some(10)
    );
}
