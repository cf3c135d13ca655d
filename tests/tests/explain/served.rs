//! `roomcast explain` asks a server, on one thread and on two.

use std::{collections::BTreeSet, process::Command};

use roomcast_tests::{Actor, Driver, Server, Settings, Url, server_binary};
use serde_json::{Value, json};

use crate::{
    crowd::policies,
    peer::{Peer, Said},
};

/// The exit code of the command, and both of its outputs.
fn explain(server: &Server, arguments: &[&str]) -> (Option<i32>, String, String) {
    let url = format!("http://{}", server.authority());
    let output = Command::new(server_binary())
        .args(["explain", "--api-key", Server::API_KEY, "--url", &url])
        .args(arguments)
        .env_clear()
        .output()
        .expect("a process");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

fn check(flags: &[&str]) {
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("rooms.toml");
    let rooms = "[[rooms]]\nmatch = \"chat:*\"\nhistory.messages = 3\n";
    std::fs::write(&config, rooms).expect("written");
    let mut all = vec![format!("--config={}", config.display())];
    all.extend(flags.iter().map(|&flag| flag.into()));
    let server = Server::start(&all);
    let url = Url::new(server.address()).expect("an address");
    let mut url = url.with_api(Some(Server::API_KEY));
    let mut perform = |line: &str| {
        let answer = url.perform(&line.parse().expect("an op"));
        answer.expect("a server");
        // All of it has arrived then.
        for actor in ["alice", "bob"] {
            let _ = url.take(&Actor::new(actor));
        }
        ["alice", "bob"].map(|actor| url.conn(&Actor::new(actor)))
    };
    perform("alice connects");
    let [alice, bob] = perform("bob connects");
    let (alice, bob) = (alice.expect("an id"), bob.expect("an id"));
    perform("server joins alice to chat:1");
    perform(r#"server sends {"audience":{"rooms":["chat:1"]},"event":"said","data":1}"#);
    perform("server joins bob to chat:1");
    let ask = |offset, conn| {
        let arguments = ["--room", "chat:1", "--offset", offset, "--conn", conn];
        let (code, out, said) = explain(&server, &arguments);
        assert_eq!((code, &*said), (Some(0), ""), "{out}");
        out
    };
    assert!(ask("1", &alice).starts_with("received (sent): "));
    let late = ask("1", &bob);
    assert!(late.starts_with("not received (joined_after): "), "{late}");
    assert!(ask("2", &bob).starts_with("not received (not_sent): "));

    let arguments = ["--room=chat:1", "--offset=1", "--conn", &bob, "--json"];
    let (code, out, _) = explain(&server, &arguments);
    let mut answer: Value = serde_json::from_str(&out).expect("JSON");
    let text = answer
        .as_object_mut()
        .and_then(|answer| answer.remove("text"));
    assert!(text.is_some_and(|text| text.is_string()), "{out}");
    let expected = json!({
        "room": "chat:1",
        "offset": 1,
        "conn": bob,
        "received": false,
        "reason": "joined_after",
        "joined": 1,
    });
    assert_eq!((code, answer), (Some(0), expected));

    let arguments = ["--room=lobby", "--offset=1", "--conn", &alice];
    let (code, out, _) = explain(&server, &arguments);
    assert!(code == Some(0) && out.starts_with("unknown (no_history): "));
    // A namespace that is not there knows of nobody.
    let arguments = ["--namespace=red", "--room=chat:1", "--offset=1", "--conn=7"];
    let (code, out, _) = explain(&server, &arguments);
    assert!(code == Some(0) && out.starts_with("unknown (no_history): "));
    let (code, out, said) = explain(&server, &["--room=", "--offset=1", "--conn=7"]);
    assert_eq!((code, &*out), (Some(1), ""), "{said}");
}

#[test]
fn the_command_explains() {
    check(&[]);
}

#[test]
fn the_command_explains_what_another_thread_knows() {
    check(&["--threads=2"]);
}

/// A reader that does not read, and then all of it: what it got is what was explained.
fn check_slow(threads: usize) {
    let folder = tempfile::tempdir().expect("a folder");
    let rooms = "[[rooms]]\nmatch = \"*\"\nhistory.messages = 4000\nhistory.bytes = 33554432\noverflow = \"drop-oldest\"\n";
    let mut flags = Settings::default().flags();
    flags.extend([
        format!("--threads={threads}"),
        policies(folder.path(), rooms),
        "--outbox-frames-max=20".into(),
        "--write-stall-ms=600000".into(),
        "--heartbeat-ms=off".into(),
    ]);
    let server = Server::start(&flags);
    let (mut reader, welcome) = Peer::connect_with(server.authority(), "");
    let welcome: Value = serde_json::from_str(&welcome).expect("JSON");
    let reader_id = welcome["data"]["conn"].as_str().expect("an id").to_owned();
    reader.join("log");
    let mut publisher = Peer::connect(server.authority(), "");
    publisher.join("log");
    let pad = "x".repeat(8000);
    let messages = 2000;
    for _ in 0..messages {
        publisher.say(&format!(
            r#"{{"event":"m","room":"log","id":1,"data":"{pad}"}}"#
        ));
        assert!(matches!(publisher.next(), Said::Text(_)));
    }
    let mut claims = Vec::new();
    for offset in (1..=messages).step_by(97).chain([messages]) {
        let number = offset.to_string();
        let arguments = ["--room=log", "--offset", &number, "--conn", &reader_id];
        let (_, out, _) = explain(&server, &arguments);
        claims.push((offset, out));
    }
    let mut read = BTreeSet::new();
    while !read.contains(&messages) {
        let Said::Text(text) = reader.next() else {
            panic!("the reader was closed");
        };
        let frame: Value = serde_json::from_str(&text).expect("JSON");
        read.extend(frame["offset"].as_u64());
    }
    let limit = "and 20 frames wait";
    for (offset, said) in &claims {
        if read.contains(offset) {
            assert!(said.starts_with("received (sent): "), "{offset}: {said}");
        } else {
            let dropped = said.starts_with("not received (dropped): ");
            assert!(dropped && said.contains(limit), "{offset}: {said}");
        }
    }
    assert!(claims.iter().any(|(offset, _)| !read.contains(offset)));
}

#[test]
fn a_dropped_message_is_explained() {
    check_slow(1);
}

#[test]
fn a_dropped_message_is_explained_by_another_thread() {
    check_slow(2);
}
