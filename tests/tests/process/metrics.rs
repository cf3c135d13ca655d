//! `/metrics`, as monitoring reads it.

use std::{
    env, fs,
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    process::{Command, Stdio},
};

use tempfile::TempDir;

use super::child::Process;
use crate::peer::{self, Peer, Said};

const HERE: &str = env!("CARGO_MANIFEST_DIR");

/// A folder, and the flag for a file in it: rooms that begin with `kept:` keep three messages.
fn kept() -> (TempDir, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("rooms.toml");
    let policy = "[[rooms]]\nmatch = \"kept:*\"\nhistory.messages = 3\n";
    fs::write(&path, policy).expect("written");
    let flag = format!("--config={}", path.display());
    (folder, flag)
}

fn publish(peer: &mut Peer, room: &str, data: &str) {
    peer.say(&format!(
        r#"{{"event":"said","id":"p","room":"{room}","data":"{data}"}}"#
    ));
    peer.answer(r#""id":"p""#);
}

/// Joins with a position, and reads the answer.
fn recover(process: &Process, room: &str, (epoch, offset): (&str, u64)) -> String {
    let mut peer = Peer::connect(&process.authority, "");
    peer.say(&format!(
        r#"{{"event":"$join","id":"j","room":"{room}","data":{{"since":{{"epoch":"{epoch}","offset":{offset}}}}}}}"#
    ));
    let Said::Text(answer) = peer.next() else {
        panic!("no answer");
    };
    answer
}

fn text(process: &Process) -> String {
    let mut stream = TcpStream::connect(&process.authority).expect("the server accepts");
    let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).expect("it is open");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("text");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    assert!(head.contains("text/plain; version=0.0.4"), "{head}");
    body.to_owned()
}

/// Gives a text to a program, which must not complain.
fn check(mut program: Command, text: &str) {
    let mut child = program
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|fault| panic!("{program:?}: {fault}"));
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(text.as_bytes()).expect("it reads");
    drop(stdin);
    let output = child.wait_with_output().expect("a process");
    let said = [&*output.stdout, &*output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success() && said.is_empty(), "{said}\n{text}");
}

#[test]
fn metrics_are_those_that_prometheus_reads() {
    let (folder, config) = kept();
    let store = format!("--store={}", folder.path().join("store").display());
    let mut process = Process::start(&[&config, &store, "--threads=2"]);
    let mut peers: Vec<_> = (0..6)
        .map(|_| Peer::connect(&process.authority, ""))
        .collect();
    for peer in &mut peers {
        peer.join("kept:a");
    }
    for _ in 0..5 {
        publish(&mut peers[0], "kept:a", "hi");
    }
    let mut chooser = Peer::connect(&process.authority, "");
    chooser.write(&peer::close(3999));
    assert_eq!(process.get("/nothing"), Some(404));
    let closed = r#"roomcast_connections_closed_total{code="client"}"#;
    process.until("the close is counted", |process| {
        peer::metric(&process.authority, closed) == Some(1)
    });
    let metric = |name: &str| peer::metric(&process.authority, name).unwrap_or_default();
    // The publisher's answers are no fan-out.
    assert_eq!(metric("roomcast_fan_out_recipients_count"), 5);
    assert_eq!(metric("roomcast_fan_out_recipients_sum"), 25);
    assert_eq!(metric(r#"roomcast_fan_out_recipients_bucket{le="4"}"#), 0);
    assert_eq!(metric(r#"roomcast_fan_out_recipients_bucket{le="16"}"#), 5);
    assert!(metric("roomcast_store_commit_seconds_count") >= 5);
    let writes = metric("roomcast_fan_out_seconds_count");
    assert!(writes >= 5 && metric("roomcast_turn_seconds_count") >= writes);
    assert_eq!(metric(r#"roomcast_http_responses_total{class="1xx"}"#), 7);
    assert_eq!(metric(r#"roomcast_http_responses_total{class="4xx"}"#), 1);
    let text = text(&process);
    let mut parser = Command::new(Path::new(HERE).join(".venv/bin/python"));
    parser.arg(Path::new(HERE).join("clients/metrics.py"));
    check(parser, &text);
    // `tests/run` says where it cannot be had.
    if env::var_os("ROOMCAST_NO_PROMTOOL").is_none() {
        let mut promtool = Command::new("promtool");
        promtool.args(["check", "metrics"]);
        check(promtool, &text);
    }
}

#[test]
fn recoveries_are_counted_by_outcome() {
    let (_folder, config) = kept();
    let process = Process::start(&[&config]);
    let mut peer = Peer::connect(&process.authority, "");
    let joined = peer.join("kept:a");
    let (_, epoch) = joined.split_once(r#""epoch":""#).expect("an epoch");
    let (epoch, _) = epoch.split_once('"').expect("an epoch");
    for _ in 0..5 {
        publish(&mut peer, "kept:a", "hi");
    }
    for (room, since, outcome) in [
        ("kept:a", (epoch, 3), "recovered"),
        ("kept:a", (epoch, 5), "recovered"),
        ("kept:a", (epoch, 1), "dropped"),
        ("kept:a", (epoch, 6), "ahead"),
        ("kept:a", ("another", 5), "epoch"),
        ("other", (epoch, 0), "no_history"),
    ] {
        let name = format!(r#"roomcast_recoveries_total{{outcome="{outcome}"}}"#);
        let count = || peer::metric(&process.authority, &name).expect("a counter");
        let before = count();
        let answer = recover(&process, room, since);
        let recovered = format!(r#""recovered":{}"#, outcome == "recovered");
        assert!(answer.contains(&recovered), "{outcome}: {answer}");
        assert_eq!(count(), before + 1, "{outcome}");
    }
    assert_eq!(
        peer::metric(&process.authority, "roomcast_recoveries_total"),
        Some(6)
    );
}

#[test]
fn a_slow_turn_is_named_in_the_log() {
    let flags = [
        "--slow-turn-ms=1",
        "--message-bytes-max=16777216",
        "--outbox-bytes-max=33554432",
        "--inbound-bytes-rate=off",
        "--log-format=json",
    ];
    let mut process = Process::start(&flags);
    let mut peer = Peer::connect(&process.authority, "");
    peer.join("a");
    // No machine checks and parses so many bytes in a millisecond.
    publish(&mut peer, "a", &"x".repeat(16_000_000));
    let line = process.logged("slow turn");
    let line: serde_json::Value = serde_json::from_str(&line).expect("an object");
    assert_eq!(line["level"], "WARN");
    let fields = &line["fields"];
    assert_eq!(fields["shard"], 0);
    assert!(fields["took_ms"].as_u64() >= Some(1), "{line}");
    assert!(
        fields["inputs"].is_u64() && fields["sends"].is_u64(),
        "{line}"
    );
}
