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

/// Suspends the server while something is done. Gives `None` when this machine was too slow: a
/// deadline that begins at that time or later may have passed before the server was stopped.
/// Otherwise gives the time from which on the server runs again.
fn suspended(
    server: &Server,
    (begun, deadline): (Instant, Duration),
    act: impl FnOnce(),
) -> Option<Instant> {
    server.signal("STOP");
    if begun.elapsed() >= deadline {
        return None;
    }
    act();
    thread::sleep(SUSPENDED);
    let runs = Instant::now();
    server.signal("CONT");
    Some(runs)
}

/// On one thread and on two, where a namespace may be at home on the other.
fn servers(flags: &[&str]) -> impl Iterator<Item = Server> {
    let flags: Vec<String> = flags.iter().map(|&flag| flag.into()).collect();
    (1..=2).map(move |threads| start(&flags, threads))
}

fn start(flags: &[String], threads: u32) -> Server {
    let mut flags = flags.to_vec();
    flags.push(format!("--threads={threads}"));
    flags.push("--inbound-rate=off".into());
    flags.push("--inbound-bytes-rate=off".into());
    Server::start(&flags)
}

/// Runs a test with such servers, each anew where this machine was too slow, which `test` says by
/// `None`.
fn in_time(flags: &[&str], test: impl Fn(&Server) -> Option<()>) {
    let flags: Vec<String> = flags.iter().map(|&flag| flag.into()).collect();
    for threads in 1..=2 {
        let done = (0..20).find_map(|_| test(&start(&flags, threads)));
        done.expect("a machine that is quick enough at some time");
    }
}

fn namespaces() -> impl Iterator<Item = String> {
    (0..4).map(|number| format!("n{number}"))
}

#[test]
fn a_frame_whose_rest_came_meanwhile_is_read() {
    in_time(&["--message-time-ms=1200"], |server| {
        let mut peers: Vec<_> = namespaces()
            .map(|namespace| Peer::connect(server.authority(), &namespace))
            .collect();
        let mut other = Peer::connect(server.authority(), "n0");
        let whole = text(PING);
        let (head, rest) = whole.split_at(9);
        let begun = Instant::now();
        peers.iter_mut().for_each(|peer| peer.write(head));
        // It was read: what follows it on another connection is answered.
        other.say(PING);
        assert_eq!(other.next(), Said::Text(PONG.into()));
        suspended(server, (begun, Duration::from_millis(1200)), || {
            peers.iter_mut().for_each(|peer| peer.write(rest));
        })?;
        for peer in &mut peers {
            assert_eq!(peer.next(), Said::Text(PONG.into()));
        }
        // A message that never comes still misses its deadline.
        peers[0].write(head);
        assert_eq!(peers[0].next(), Said::Close(1008));
        Some(())
    });
}

#[test]
fn a_pong_that_came_meanwhile_is_heard() {
    // Who says nothing gets a ping after a second, and is closed a second later.
    const SILENT: Duration = Duration::from_secs(2);
    in_time(
        &["--heartbeat-ms=1000", "--heartbeat-wait-ms=1000"],
        |server| {
            let begun = Instant::now();
            let mut peers: Vec<_> = namespaces()
                .map(|namespace| Peer::connect(server.authority(), &namespace))
                .collect();
            for peer in &mut peers {
                assert_eq!(peer.next(), Said::Ping);
            }
            let pong = frame(0x8a, b"");
            let runs = suspended(server, (begun, SILENT), || {
                peers.iter_mut().for_each(|peer| peer.write(&pong));
            })?;
            for peer in &mut peers {
                peer.say(PING);
                let mut said = peer.next();
                // The next one comes when this test is slow.
                while said == Said::Ping {
                    peer.write(&pong);
                    said = peer.next();
                }
                if said != Said::Text(PONG.into()) {
                    assert!(runs.elapsed() >= SILENT, "{said:?}");
                    return None;
                }
            }
            // Who says nothing is still closed.
            assert_eq!(peers[0].next(), Said::Ping);
            assert!(matches!(peers[0].next(), Said::Text(bye) if bye.contains("4408")));
            Some(())
        },
    );
}

#[test]
fn a_request_whose_rest_came_meanwhile_is_answered() {
    let flags = ["--handshake-time-ms=1200", "--message-time-ms=1200"];
    in_time(&flags, |server| {
        let mut other = Peer::connect(server.authority(), "n0");
        let begun = Instant::now();
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
        other.say(PING);
        assert_eq!(other.next(), Said::Text(PONG.into()));
        suspended(server, (begun, Duration::from_millis(1200)), || {
            shaking.write(b"alhost\r\n\r\n");
            sending.write(last.as_bytes());
        })?;
        let head = shaking.head();
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        let head = sending.head();
        assert!(!head.starts_with("HTTP/1.1 408"), "{head}");
        // A request that is never completed still gets 408.
        let mut never = Peer::silent(server.authority());
        never.write(b"GET /healthz HTTP/1.1\r\nHost: loc");
        let head = never.head();
        assert!(head.starts_with("HTTP/1.1 408"), "{head}");
        Some(())
    });
}

/// Such a stop makes no timer very late.
#[test]
fn what_came_before_a_deadline_is_read_after_a_short_stop() {
    const LIMIT: Duration = Duration::from_millis(600);
    let whole = text(PING);
    let (head, rest) = whole.split_at(9);
    for server in servers(&["--message-time-ms=600", "--handshake-time-ms=600"]) {
        let mut in_time = 0;
        let stops = [60, 120, 180, 230].map(Duration::from_millis);
        // Each once, and again where this machine was too slow for most of the peers.
        for (round, stop) in stops.into_iter().cycle().take(40).enumerate() {
            if round >= stops.len() && in_time > 16 {
                break;
            }
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
    const STALL: Duration = Duration::from_millis(1200);
    let queue = format!("--outbox-bytes-max={}", 2 * BYTES);
    in_time(&["--write-stall-ms=1200", &queue], |server| {
        let pad = "x".repeat(60_000);
        let ask = format!(r#"{{"event":"m","id":1,"room":"r","data":"{pad}"}}"#);
        let mut reader = Peer::connect_small(server.authority(), "");
        reader.join("r");
        let mut publisher = Peer::connect(server.authority(), "");
        publisher.join("r");
        let count = BYTES / pad.len();
        let begun = Instant::now();
        for _ in 0..count {
            publisher.say(&ask);
            assert!(matches!(publisher.next(), Said::Text(_)));
        }
        let runs = suspended(server, (begun, STALL), || {
            reader.take_in(Duration::from_millis(100));
        })?;
        for _ in 0..count {
            let said = reader.next();
            if !matches!(&said, Said::Text(text) if text.len() > pad.len()) {
                // It may have stood still itself.
                assert!(runs.elapsed() >= STALL, "{said:?}");
                return None;
            }
        }
        reader.write(&close(1000));
        assert_eq!(reader.rest(), [Said::Close(1000)]);
        Some(())
    });
}

/// The server goes away: a client that answered the close meanwhile is not cut off, and a client
/// that was to be closed is closed in order.
#[test]
fn a_server_that_ends_waits_for_nobody_while_it_is_suspended() {
    // Much sooner than anybody is cut off: a server that ends excuses few pauses of a busy machine.
    const SOON: Duration = Duration::from_millis(400);
    let flags = ["--drain-window-ms=400", "--close-wait-ms=1200"].map(str::to_owned);
    'threads: for threads in 1..=2 {
        for _ in 0..20 {
            let server = start(&flags, threads);
            let mut peers: Vec<_> = (0..60)
                .map(|number| Peer::connect(server.authority(), &format!("n{}", number % 4)))
                .collect();
            let begun = Instant::now();
            server.signal("TERM");
            let is_away = |said: Said| matches!(said, Said::Text(bye) if bye.contains("1001"));
            assert!(is_away(peers[0].next()));
            let stopped = suspended(&server, (begun, SOON), || peers[0].write(&close(1001)));
            if stopped.is_none() {
                continue;
            }
            for (at, peer) in peers.iter_mut().enumerate() {
                assert!(at == 0 || is_away(peer.next()), "{at} is told");
                assert_eq!(peer.next(), Said::Close(1001), "{at}");
                if at > 0 {
                    peer.write(&close(1001));
                }
            }
            assert_eq!(server.wait(), Some(0));
            continue 'threads;
        }
        panic!("this machine was never quick enough");
    }
}
