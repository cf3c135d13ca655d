//! `--admin-listen`: the API, the metrics and the page on a listener of their own.

use std::net::TcpListener;

use super::child::{Process, run};
use crate::peer::{self, Peer, Said};

/// A server with a listener for administration, and that one's address.
fn start(flags: &[&str]) -> (Process, String) {
    let flags = [&["--admin-listen=127.0.0.1:0"], flags].concat();
    let mut process = Process::start(&flags);
    let line = process.logged("administration at http://");
    let (_, rest) = line.split_once("http://").expect("an address");
    let admin = rest.split_once(": ").expect("an address").0.to_owned();
    (process, admin)
}

/// The status of the answer to a request without a key.
fn status(authority: &str, method: &str, path: &str, fields: &str) -> u16 {
    let mut peer = Peer::silent(authority);
    peer.write(format!("{method} {path} HTTP/1.1\r\nHost: {authority}\r\n{fields}\r\n").as_bytes());
    let head = peer.head();
    let status = head.split(' ').nth(1).expect("a status");
    status.parse().expect("a status")
}

#[test]
fn each_listener_has_its_paths() {
    let (process, admin) = start(&[]);
    for path in ["/", "/metrics", "/api/v1/default/rooms", "/api/v2/"] {
        for method in ["GET", "OPTIONS", "POST"] {
            let fields = "Content-Length: 0\r\n";
            let found = status(&process.authority, method, path, fields);
            assert_eq!(found, 404, "{method} {path}");
        }
    }
    for path in ["/", "/metrics", "/api/v1/default/rooms"] {
        assert_eq!(status(&admin, "GET", path, ""), 200, "{path}");
    }
    for authority in [&process.authority, &admin] {
        for path in ["/client.js", "/healthz", "/readyz"] {
            assert_eq!(status(authority, "GET", path, ""), 200, "{path}");
        }
        // The page connects to the listener that it came from.
        Peer::connect(authority, "").join("r");
    }
}

#[test]
fn a_proxy_before_the_public_listener_does_not_end_the_api_of_the_other() {
    let (process, admin) = start(&[]);
    let fields = "X-Forwarded-For: 203.0.113.7\r\n";
    assert_eq!(status(&process.authority, "GET", "/healthz", fields), 200);
    assert_eq!(status(&admin, "GET", "/api/v1/default/rooms", ""), 200);
    assert_eq!(status(&admin, "GET", "/api/v1/default/rooms", fields), 403);
    assert_eq!(status(&admin, "GET", "/api/v1/default/rooms", ""), 403);
}

#[test]
fn a_server_that_is_full_or_ending_can_be_looked_at() {
    let (mut process, admin) = start(&["--connections-max=1", "--close-wait-ms=60000"]);
    let mut peer = Peer::connect(&process.authority, "");
    assert_eq!(peer::metric(&admin, "roomcast_connections"), Some(1));
    let mut kept = Peer::silent(&process.authority);
    let request = format!(
        "HEAD /readyz HTTP/1.1\r\nHost: {}\r\n\r\n",
        process.authority
    );
    kept.write(request.as_bytes());
    let head = kept.head();
    assert!(
        head.starts_with("HTTP/1.1 200") && !head.contains("connection: close"),
        "{head}"
    );
    process.signal("TERM");
    let ends = |_: &mut Process| status(&admin, "GET", "/readyz", "") == 503;
    process.until("it says that it ends", ends);
    kept.write(request.as_bytes());
    let head = kept.head();
    assert!(
        head.starts_with("HTTP/1.1 503") && head.contains("connection: close"),
        "{head}"
    );
    assert!(matches!(peer.rest().last(), Some(Said::Close(_))));
    assert_eq!(status(&admin, "GET", "/readyz", ""), 503);
    assert_eq!(status(&admin, "GET", "/api/v1/default/rooms", ""), 503);
    assert_eq!(peer::metric(&admin, "roomcast_connections"), Some(1));
    peer.write(&peer::close(1001));
    assert_eq!(process.ended().code(), Some(0));
}

/// A connection with the head of a call and a part of its body.
fn half_sent(authority: &str, call: &str) -> Peer {
    let mut peer = Peer::silent(authority);
    let len = call.len();
    let head = format!("POST /api/v1/default/send HTTP/1.1\r\nHost: {authority}\r\n");
    let part = &call[..len - 1];
    peer.write(format!("{head}Content-Length: {len}\r\n\r\n{part}").as_bytes());
    peer
}

#[test]
fn a_probe_is_answered_beside_connections_that_are_kept() {
    let (mut process, admin) = start(&[]);
    let get = format!("GET /healthz HTTP/1.1\r\nHost: {admin}\r\n\r\n");
    let kept = (0..40).map(|_| {
        let mut peer = Peer::silent(&admin);
        peer.write(get.as_bytes());
        assert!(peer.head().starts_with("HTTP/1.1 200"));
        peer
    });
    let kept: Vec<Peer> = kept.collect();
    let silent: Vec<Peer> = (0..40).map(|_| Peer::silent(&admin)).collect();
    for _ in 0..3 {
        assert_eq!(status(&admin, "GET", "/healthz", ""), 200);
    }
    let line = process.logged("connections of --admin-listen are taken");
    assert!(line.contains("--keep-alive-ms"), "{line}");
    drop((kept, silent));
}

#[test]
fn a_request_in_work_is_not_ended_for_another() {
    const CALL: &str = r#"{"audience":{"rooms":["r"]},"event":"e"}"#;
    let (mut process, admin) = start(&[]);
    let head = format!("HEAD /server HTTP/1.1\r\nHost: {admin}\r\n\r\n");
    let mut idle = Peer::silent(&admin);
    idle.write(head.as_bytes());
    assert!(idle.head().starts_with("HTTP/1.1 200"));
    let mut calls: Vec<Peer> = (0..31).map(|_| half_sent(&admin, CALL)).collect();
    assert_eq!(status(&admin, "GET", "/healthz", ""), 200);
    assert_eq!(idle.rest().last(), None, "the idle one has ended");
    calls.push(half_sent(&admin, CALL));
    process.logged("connections of --admin-listen are taken");
    let mut waiting: Vec<Peer> = (0..calls.len()).map(|_| Peer::silent(&admin)).collect();
    for peer in &mut waiting {
        peer.write(head.as_bytes());
    }
    let ends = calls.iter_mut().map(|call| {
        call.write(&CALL.as_bytes()[CALL.len() - 1..]);
        let head = call.head();
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        head.contains("connection: close")
    });
    let ends = ends.filter(|ends| *ends).count();
    assert!(ends > 0, "a place that others wait for is not kept");
    for mut peer in waiting {
        assert!(peer.head().starts_with("HTTP/1.1 200"));
    }
}

#[test]
fn a_wrong_address_says_what_to_change() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = taken.local_addr().expect("an address").to_string();
    for (flags, code, says) in [
        (["--admin-listen", "0.0.0.0:0"], 2, "--api-key KEY"),
        (
            ["--admin-listen", "nowhere"],
            2,
            "must be an IP address and a port",
        ),
        (
            ["--admin-listen", &taken],
            1,
            "choose another --admin-listen",
        ),
    ] {
        let flags = [&["--listen", "127.0.0.1:0"], &flags[..]].concat();
        let (found, said) = run(&flags);
        assert_eq!(found, Some(code), "{says}: {said}");
        assert!(said.contains(says), "{says}: {said}");
    }
}
