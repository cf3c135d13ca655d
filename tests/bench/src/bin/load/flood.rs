//! Floods of frames, by peers that read nothing while they write.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::scope;
use std::time::{Duration, Instant};

use roomcast_load::frame;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use serde_json::{Value, json};

use crate::arguments::Arguments;
use crate::secure;

const HEAD: &str = "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n";
/// Longer than a server waits for a peer that is to go.
const WRITE_TIME_MAX: Duration = Duration::from_secs(15);
const PEERS: usize = 4;
const CONTINUATIONS: usize = 1_000_000;
/// Frames in one write: a long one would keep the members from the core that they share.
const FRAMES: usize = 100;

/// The first bytes of a peer, then a piece that it writes so often.
struct Flood {
    begin: Vec<u8>,
    piece: Vec<u8>,
    pieces: usize,
}

impl Flood {
    fn named(name: &str) -> Self {
        let mut pings = Vec::new();
        frame::from_client(0x9, &[b'x'; 125], &mut pings);
        let pings = pings.repeat(FRAMES);
        match name {
            // Until the server ends it.
            "pings" => Self {
                begin: Vec::new(),
                piece: pings,
                pieces: usize::MAX,
            },
            "continuations" => Self {
                begin: vec![0x01, 0x80, 0, 0, 0, 0],
                piece: [0x00, 0x80, 0, 0, 0, 0].repeat(FRAMES),
                pieces: CONTINUATIONS / FRAMES,
            },
            "length" => Self {
                begin: [&[0x81, 0xff][..], &(1_u64 << 63).to_be_bytes(), &[0; 4]].concat(),
                piece: pings,
                pieces: 50,
            },
            other => panic!("no flood {other}"),
        }
    }
}

/// Some peers for so many seconds, each again once it has ended.
pub fn run(name: &str, arguments: &Arguments) -> Value {
    let flood = Flood::named(name);
    let server = SocketAddrV4::new(Ipv4Addr::LOCALHOST, arguments.number("port"));
    let tls = arguments.text_or_none("certificate").map(secure::config);
    let tls = tls.map(Arc::new);
    let end = Instant::now() + Duration::from_secs_f64(arguments.number("seconds"));
    let (peers, bytes) = (AtomicU64::new(0), AtomicU64::new(0));
    scope(|threads| {
        for _ in 0..PEERS {
            threads.spawn(|| {
                while Instant::now() < end {
                    let written = attack(&flood, server, tls.clone(), end);
                    bytes.fetch_add(written, Ordering::Relaxed);
                    peers.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    json!({ "peers": peers.into_inner(), "mib": bytes.into_inner() as f64 / 1_048_576.0 })
}

/// Plays a peer from its upgrade to its end; gives the bytes that it wrote.
fn attack(
    flood: &Flood,
    server: SocketAddrV4,
    tls: Option<Arc<ClientConfig>>,
    end: Instant,
) -> u64 {
    let stream = TcpStream::connect(server).expect("the server listens");
    stream
        .set_write_timeout(Some(WRITE_TIME_MAX))
        .expect("a socket option");
    match tls {
        None => write(flood, stream, end),
        Some(config) => {
            let session = ClientConnection::new(config, secure::name()).expect("a session");
            write(flood, StreamOwned::new(session, stream), end)
        }
    }
}

fn write(flood: &Flood, mut stream: impl Read + Write, end: Instant) -> u64 {
    stream.write_all(HEAD.as_bytes()).expect("it is open");
    stream.flush().expect("it is open");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("an answer");
        head.push(byte[0]);
    }
    assert!(head.starts_with(b"HTTP/1.1 101"), "upgraded");
    let mut written = flood.begin.len() as u64;
    if stream.write_all(&flood.begin).is_err() {
        return 0;
    }
    for _ in 0..flood.pieces {
        if Instant::now() > end || stream.write_all(&flood.piece).is_err() {
            break;
        }
        written += flood.piece.len() as u64;
    }
    written
}
