//! `roomcast explain` asks a server, on one thread and on two.

use std::process::Command;

use roomcast_tests::{Actor, Driver, Server, Url, server_binary};
use serde_json::{Value, json};

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
