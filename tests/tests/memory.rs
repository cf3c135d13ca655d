//! A crowd leaves no memory in use after it has disconnected.
#![cfg(target_os = "linux")]

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use crate::peer::metric;
use roomcast_tests::{Server, Settings};

/// Few enough for a limit of 1,024 open files.
const CROWD: usize = 900;
/// The connections of a warm-up, for everything that the server allocates once.
const FEW: usize = 100;
/// Time in which the server has noticed that they are gone; a fault when it passes.
const PATIENCE: Duration = Duration::from_secs(20);
const UPGRADE: &str = "GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// Comes, joins a room of its own, and goes with all the others.
fn come_and_go(authority: &str, count: usize) {
    let crowd: Vec<_> = (0..count)
        .map(|at| {
            let mut socket = TcpStream::connect(authority).expect("the server accepts");
            let join = format!(r#"{{"event":"$join","room":"room {at}"}}"#);
            // Masked with zeros, which changes nothing.
            let length = u8::try_from(join.len()).expect("it is short");
            let mut bytes = UPGRADE.as_bytes().to_vec();
            bytes.extend([0x81, 0x80 | length, 0, 0, 0, 0]);
            bytes.extend(join.bytes());
            socket.write_all(&bytes).expect("the socket is open");
            let (mut answer, mut chunk) = (Vec::new(), [0; 1024]);
            while !String::from_utf8_lossy(&answer).contains(r#""already":false"#) {
                let read = socket.read(&mut chunk).expect("the socket is open");
                assert!(read > 0, "the server ended it");
                answer.extend_from_slice(&chunk[..read]);
            }
            socket
        })
        .collect();
    drop(crowd);
}

fn resident_kib(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    number
        .and_then(|number| number.parse().ok())
        .expect("a number")
}

/// Waits until the server counts no connection any more, and holds no more memory than that.
fn wait_until_gone(server: &Server, kib_max: u64) -> u64 {
    let begun = Instant::now();
    loop {
        let open = metric(server.authority(), "roomcast_connections");
        let kib = resident_kib(server.process());
        if open == Some(0) && kib <= kib_max {
            return kib;
        }
        assert!(
            begun.elapsed() < PATIENCE,
            "{kib} KiB resident, {kib_max} at most; {open:?} connections are open"
        );
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_crowd_that_has_gone_leaves_no_memory() {
    let server = Server::start(&Settings::default().flags());
    come_and_go(server.authority(), FEW);
    let first = wait_until_gone(&server, u64::MAX);
    for _ in 0..10 {
        come_and_go(server.authority(), CROWD);
    }
    // Allows a tenth more. If nothing were freed it would be a third; on a quiet machine, where
    // `tests/bench` allows a twentieth, it is close to zero.
    wait_until_gone(&server, first + first / 10);
}
