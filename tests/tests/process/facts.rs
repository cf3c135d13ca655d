//! `/server`, by which the server says what it is.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use super::child::Process;
use crate::nodes::redis::Redis;

fn facts(process: &Process) -> serde_json::Value {
    let mut stream = TcpStream::connect(&process.authority).expect("the server accepts");
    let request = "GET /server HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).expect("it is open");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("text");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(head.contains("content-type: application/json"), "{head}");
    serde_json::from_str(body).expect("JSON")
}

#[test]
fn facts_are_those_that_the_flags_ask_for() {
    let plain = Process::start(&[]);
    let version = env!("CARGO_PKG_VERSION");
    let expected = serde_json::json!({
        "version": version, "host": "native", "threads": 1, "store": "memory", "metrics": true
    });
    assert_eq!(facts(&plain), expected);
    let folder = tempfile::tempdir().expect("a folder");
    let store = format!("--store={}", folder.path().display());
    let other = Process::start(&["--threads=3", "--metrics=off", &store]);
    let expected = serde_json::json!({
        "version": version, "host": "native", "threads": 3, "store": "disk", "metrics": false
    });
    assert_eq!(facts(&other), expected);
    let hidden = Process::start(&["--page=off"]);
    assert_eq!(hidden.get("/server"), Some(404));
}

#[test]
fn histories_of_a_relay_are_with_it() {
    let redis = Redis::start();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("rooms.toml");
    std::fs::write(&file, "[[rooms]]\nmatch = \"*\"\nhistory.messages = 9\n").expect("written");
    let config = format!("--config={}", file.display());
    let mut process = Process::start(&["--relay", &redis.url(), &config]);
    let line = process.logged("mounted: ");
    assert!(line.contains("histories=\"with the relay\""), "{line}");
    assert_eq!(facts(&process)["store"], "relay");
}
