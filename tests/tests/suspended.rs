//! A server that is suspended, as by a lid that is closed: what arrived meanwhile, and what could
//! have been written, counts before a deadline is called passed.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::peer::{Peer, Said, close, frame, text};
use roomcast_tests::Server;

/// Longer than the deadlines of these servers. A stopped process cannot report that time has
/// passed, so the test waits.
const SUSPENDED: Duration = Duration::from_millis(1500);
const PING: &str = r#"{"event":"$ping"}"#;
const PONG: &str = r#"{"event":"$pong"}"#;

/// Suspends the server while something is done.
fn suspended(server: &Server, act: impl FnOnce()) {
    server.signal("STOP");
    act();
    thread::sleep(SUSPENDED);
    server.signal("CONT");
}

/// On one thread and on two, where a namespace may be at home on the other.
fn servers(flags: &[&str]) -> impl Iterator<Item = Server> {
    let flags: Vec<String> = flags.iter().map(|&flag| flag.into()).collect();
    (1..=2).map(move |threads| {
        let mut flags = flags.clone();
        flags.push(format!("--threads={threads}"));
        flags.push("--inbound-rate=off".into());
        flags.push("--inbound-bytes-rate=off".into());
        Server::start(&flags)
    })
}

fn namespaces() -> impl Iterator<Item = String> {
    (0..4).map(|number| format!("n{number}"))
}

#[test]
fn a_frame_whose_rest_came_meanwhile_is_read() {
    for server in servers(&["--message-time-ms=600"]) {
        let mut peers: Vec<_> = namespaces()
            .map(|namespace| Peer::connect(server.authority(), &namespace))
            .collect();
        let whole = text(PING);
        let (head, rest) = whole.split_at(9);
        for peer in &mut peers {
            peer.write(head);
            // It was read: what follows it on another connection is answered.
            peer.write(&[]);
        }
        let mut other = Peer::connect(server.authority(), "n0");
        other.say(PING);
        assert_eq!(other.next(), Said::Text(PONG.into()));
        suspended(&server, || {
            peers.iter_mut().for_each(|peer| peer.write(rest));
        });
        for peer in &mut peers {
            assert_eq!(peer.next(), Said::Text(PONG.into()));
        }
        // A message that never comes still misses its deadline.
        peers[0].write(head);
        assert_eq!(peers[0].next(), Said::Close(1008));
    }
}

#[test]
fn a_pong_that_came_meanwhile_is_heard() {
    for server in servers(&["--heartbeat-ms=1000", "--heartbeat-wait-ms=1000"]) {
        let mut peers: Vec<_> = namespaces()
            .map(|namespace| Peer::connect(server.authority(), &namespace))
            .collect();
        for peer in &mut peers {
            assert_eq!(peer.next(), Said::Ping);
        }
        suspended(&server, || {
            for peer in &mut peers {
                peer.write(&frame(0x8a, b""));
            }
        });
        for peer in &mut peers {
            peer.say(PING);
            assert_eq!(peer.next(), Said::Text(PONG.into()));
        }
        // Who says nothing is still closed.
        assert_eq!(peers[0].next(), Said::Ping);
        assert!(matches!(peers[0].next(), Said::Text(bye) if bye.contains("4408")));
    }
}

#[test]
fn a_request_whose_rest_came_meanwhile_is_answered() {
    for server in servers(&["--handshake-time-ms=600", "--message-time-ms=600"]) {
        let mut shaking = Peer::silent(server.authority());
        shaking.write(b"GET /healthz HTTP/1.1\r\nHost: loc");
        let mut sending = Peer::silent(server.authority());
        let body = r#"{"to":{"room":"r"},"event":"e","data":1}"#;
        let (first, last) = body.split_at(20);
        let length = body.len();
        let key = Server::API_KEY;
        let head = format!(
            "POST /api/v1/default/send HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{first}"
        );
        sending.write(head.as_bytes());
        // Both were read by then.
        let mut other = Peer::connect(server.authority(), "n0");
        other.say(PING);
        assert_eq!(other.next(), Said::Text(PONG.into()));
        suspended(&server, || {
            shaking.write(b"alhost\r\n\r\n");
            sending.write(last.as_bytes());
        });
        let head = shaking.head();
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        let head = sending.head();
        assert!(!head.starts_with("HTTP/1.1 408"), "{head}");
        // A request that is never completed still gets 408.
        let mut never = Peer::silent(server.authority());
        never.write(b"GET /healthz HTTP/1.1\r\nHost: loc");
        let head = never.head();
        assert!(head.starts_with("HTTP/1.1 408"), "{head}");
    }
}

/// Such a stop makes no timer very late.
#[test]
fn what_came_before_a_deadline_is_read_after_a_short_stop() {
    const LIMIT: Duration = Duration::from_millis(600);
    let whole = text(PING);
    let (head, rest) = whole.split_at(9);
    for server in servers(&["--message-time-ms=600", "--handshake-time-ms=600"]) {
        let mut in_time = 0;
        for stop in [60, 120, 180, 230].map(Duration::from_millis) {
            // Their deadlines are within the stop and after it.
            let mut peers: Vec<_> = (0..8)
                .map(|number| Peer::connect(server.authority(), &format!("n{}", number % 4)))
                .collect();
            let first = Instant::now();
            let mut asked = Vec::new();
            for peer in &mut peers {
                let begun = Instant::now();
                let mut request = Peer::silent(server.authority());
                request.write(b"GET /healthz HTTP/1.1\r\nHost: loc");
                peer.write(head);
                asked.push((begun, peer, request));
                thread::sleep(Duration::from_millis(20));
            }
            thread::sleep((LIMIT - stop / 2).saturating_sub(first.elapsed()));
            server.signal("STOP");
            asked.retain_mut(|(begun, peer, request)| {
                peer.write(rest);
                request.write(b"alhost\r\n\r\n");
                begun.elapsed() < LIMIT
            });
            thread::sleep(stop);
            server.signal("CONT");
            for (_, peer, mut request) in asked {
                assert_eq!(peer.next(), Said::Text(PONG.into()), "{stop:?}");
                let head = request.head();
                assert!(head.starts_with("HTTP/1.1 200"), "{stop:?}: {head}");
                in_time += 1;
            }
        }
        assert!(in_time > 16, "{in_time} came in time: nothing was tried");
    }
}

/// More than the kernel takes for one that does not read and for which it takes little.
const BYTES: usize = 2 << 20;

#[test]
fn a_reader_that_made_room_meanwhile_is_written_to() {
    let queue = format!("--outbox-bytes-max={}", 2 * BYTES);
    for server in servers(&["--write-stall-ms=1200", &queue]) {
        let pad = "x".repeat(60_000);
        let ask = format!(r#"{{"event":"m","id":1,"room":"r","data":"{pad}"}}"#);
        let mut reader = Peer::connect_small(server.authority(), "");
        reader.join("r");
        let mut publisher = Peer::connect(server.authority(), "");
        publisher.join("r");
        let count = BYTES / pad.len();
        for _ in 0..count {
            publisher.say(&ask);
            assert!(matches!(publisher.next(), Said::Text(_)));
        }
        suspended(&server, || reader.take_in(Duration::from_millis(100)));
        for _ in 0..count {
            assert!(matches!(reader.next(), Said::Text(text) if text.len() > pad.len()));
        }
        reader.write(&close(1000));
        assert_eq!(reader.rest(), [Said::Close(1000)]);
    }
}

/// The server goes away: a client that answered the close meanwhile is not cut off, and a client
/// that was to be closed is closed in order.
#[test]
fn a_server_that_ends_waits_for_nobody_while_it_is_suspended() {
    for server in servers(&["--drain-window-ms=400", "--close-wait-ms=400"]) {
        let mut peers: Vec<_> = (0..60)
            .map(|number| Peer::connect(server.authority(), &format!("n{}", number % 4)))
            .collect();
        server.signal("TERM");
        let is_away = |said: Said| matches!(said, Said::Text(bye) if bye.contains("1001"));
        assert!(is_away(peers[0].next()));
        suspended(&server, || peers[0].write(&close(1001)));
        for (at, peer) in peers.iter_mut().enumerate() {
            assert!(at == 0 || is_away(peer.next()), "{at} is told");
            assert_eq!(peer.next(), Said::Close(1001), "{at}");
            if at > 0 {
                peer.write(&close(1001));
            }
        }
        assert_eq!(server.wait(), Some(0));
    }
}
