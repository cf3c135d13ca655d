//! Many handshakes at once, each a byte at a time: of HTTP, or of TLS.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustls::ClientConnection;
use serde_json::{Value, json};

use crate::arguments::Arguments;
use crate::secure;

/// Between two bytes of a peer.
const INTERVAL: Duration = Duration::from_millis(100);
/// No first line is as long.
const PATH_BYTES: usize = 1_000;

/// So many peers for so many seconds, each again once the server has ended it.
pub fn run(arguments: &Arguments) -> Value {
    let server = SocketAddrV4::new(Ipv4Addr::LOCALHOST, arguments.number("port"));
    let seconds = Duration::from_secs_f64(arguments.number("seconds"));
    let connections = arguments.number::<usize>("connections");
    let greeting = arguments.text_or_none("certificate").map_or_else(
        || format!("GET /{} HTTP/1.1\r\n", "x".repeat(PATH_BYTES)).into_bytes(),
        hello,
    );
    let mut peers: Vec<_> = (0..connections).map(|_| Peer::new(server)).collect();
    let (mut ended, mut answered) = (0_u64, 0_u64);
    let begun = Instant::now();
    let mut turn = begun;
    while begun.elapsed() < seconds {
        for (at, peer) in peers.iter_mut().enumerate() {
            if peer.step(&greeting) {
                continue;
            }
            ended += 1;
            answered += u64::from(peer.heard.starts_with(b"HTTP/1.1 408"));
            *peer = Peer::new(server);
            // Spread over the interval: all at once would be another flood.
            if at % 10 == 0 {
                sleep(INTERVAL / connections.max(10) as u32);
            }
        }
        turn += INTERVAL;
        sleep(turn.saturating_duration_since(Instant::now()));
    }
    json!({ "peers": connections, "ended": ended, "answered_408": answered })
}

/// The first message of a client of TLS.
fn hello(certificate: &str) -> Vec<u8> {
    let config = Arc::new(secure::config(certificate));
    let session = ClientConnection::new(config, secure::name());
    let mut bytes = Vec::new();
    let written = session.expect("a session").write_tls(&mut bytes);
    written.expect("a greeting");
    bytes
}

struct Peer {
    stream: TcpStream,
    at: usize,
    heard: Vec<u8>,
}

impl Peer {
    fn new(server: SocketAddrV4) -> Self {
        let stream = TcpStream::connect(server).expect("the server listens");
        stream.set_nonblocking(true).expect("a socket option");
        stream.set_nodelay(true).expect("a socket option");
        let (at, heard) = (0, Vec::new());
        Self { stream, at, heard }
    }

    /// Writes a byte, but for the last; false when the server has ended it.
    fn step(&mut self, greeting: &[u8]) -> bool {
        let mut bytes = [0; 1024];
        loop {
            match self.stream.read(&mut bytes) {
                Ok(0) => return false,
                Ok(read) => self.heard.extend(&bytes[..read]),
                Err(fault) if fault.kind() == ErrorKind::WouldBlock => break,
                Err(_) => return false,
            }
        }
        if let Some(byte) = greeting.get(self.at..=self.at)
            && self.at + 1 < greeting.len()
        {
            self.at += self.stream.write(byte).unwrap_or_default();
        }
        true
    }
}
