//! Paths that a Worker hides, its notices of refused origins, and its keys.

use std::{
    io::{Read, Write},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use roomcast_tests::Edge;

use crate::api_keys::{NewKey, assert_scopes, hashes};

/// Time that the worker may take for anything: a fault when it passes, never a way to decide.
const PATIENCE: Duration = Duration::from_secs(40);

/// A whole answer: its status line, its fields and its body.
fn get(edge: &Edge, path: &str, fields: &str) -> String {
    let authority = edge.authority(0);
    let mut stream = TcpStream::connect(&authority).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time");
    let head =
        format!("GET {path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n{fields}\r\n");
    stream.write_all(head.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("text");
    answer
}

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").expect("a head").1
}

#[test]
fn page_and_metrics_that_are_off_are_unknown_paths() {
    let edge = Edge::start_with_vars(&[("ROOMCAST_PAGE", "off"), ("ROOMCAST_METRICS", "off")]);
    let unknown = get(&edge, "/nothing", "");
    assert!(unknown.starts_with("HTTP/1.1 404 "), "{unknown}");
    assert!(!unknown.contains("/metrics"), "{unknown}");
    for path in ["/", "/server", "/metrics"] {
        let off = get(&edge, path, "");
        assert!(off.starts_with("HTTP/1.1 404 "), "{off}");
        assert_eq!(body(&off), body(&unknown), "{path}");
    }
    assert!(get(&edge, "/readyz", "").starts_with("HTTP/1.1 200 "));
    let on = Edge::start_with_vars(&[("ROOMCAST_PAGE", "on")]);
    assert!(get(&on, "/", "").starts_with("HTTP/1.1 200 "));
    let facts = get(&on, "/server", "");
    assert!(facts.starts_with("HTTP/1.1 200 "), "{facts}");
    let facts: serde_json::Value = serde_json::from_str(body(&facts)).expect("JSON");
    let expected = serde_json::json!({
        "version": env!("CARGO_PKG_VERSION"), "host": "worker", "threads": 1,
        "store": "durable_object", "metrics": false
    });
    assert_eq!(facts, expected);
}

#[test]
fn a_refused_origin_is_logged_once_with_the_variable_to_set() {
    let edge = Edge::start_with_vars(&[]);
    let upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";
    let refused = |origin: &str| {
        let answer = get(&edge, "/ws", &format!("{upgrade}Origin: {origin}\r\n"));
        assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    };
    for _ in 0..3 {
        refused("https://app.example");
    }
    refused("https://last.example");
    let about = |origin: &str| {
        let log = edge.log().join("\n");
        log.matches(&format!("refused the origin \"{origin}\""))
            .count()
    };
    let begun = Instant::now();
    // Lines come in order: the last one is behind any second one about the first origin.
    while about("https://last.example") == 0 {
        assert!(begun.elapsed() < PATIENCE, "{:#?}", edge.log());
        thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(about("https://app.example"), 1, "{:#?}", edge.log());
    let log = edge.log().join("\n");
    assert!(log.contains("ROOMCAST_ALLOW_ORIGIN"), "{log}");
}

#[test]
fn a_key_does_on_the_worker_what_its_scope_allows() {
    let keys = NewKey::two_of_each_scope();
    let edge = Edge::start_with_vars(&[("ROOMCAST_API_KEY", &hashes(&keys))]);
    assert_scopes(&edge.authority(0), &keys);
    let log = edge.log().join("\n");
    assert!(!keys.iter().any(|key| log.contains(&key.text)), "{log}");
}
