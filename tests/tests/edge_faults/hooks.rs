//! Webhooks at the edge.

use std::path::Path;

use roomcast_tests::{Edge, Sockets};

use crate::{
    hooks::{KEY, Receiver, chat, receiver, settings},
    process::child::LONGEST,
    tokens::KEY as TOKEN_KEY,
};

/// A worker that tells this endpoint everything.
fn telling(url: &str) -> Edge {
    Edge::start_with_vars(&[
        ("ROOMCAST_CONFIG", &*settings(url, &["env:HOOK_KEY"])),
        ("ROOMCAST_TOKEN_KEY", TOKEN_KEY),
        ("HOOK_KEY", KEY),
    ])
}

#[test]
fn the_receiver_in_node_takes_what_standardwebhooks_of_npm_verifies() {
    let mut receiver = Receiver::start("node".into(), "js", "receiver.mjs");
    let edge = telling(&format!("http://127.0.0.1:{}/", receiver.port));
    chat(&edge.authority(0));
    receiver.check_chat();
}

#[test]
fn the_receiver_in_python_takes_what_standardwebhooks_of_pypi_verifies() {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join(".venv/bin/python");
    let mut receiver = Receiver::start(python, "python", "receiver.py");
    let edge = telling(&format!("http://127.0.0.1:{}/", receiver.port));
    chat(&edge.authority(0));
    receiver.check_chat();
}

/// Nobody but the alarm wakes it.
#[test]
fn what_waits_outlives_the_object_and_is_repeated_until_it_is_accepted() {
    let answers: &[&str] = &[
        "500 No",
        "302 Found\r\nLocation: http://127.0.0.1:1/",
        "200 OK",
    ];
    let (url, told) = receiver(answers);
    let edge = telling(&url);
    chat(&edge.authority(0));
    edge.evict(0, "default", Sockets::Close).expect("not busy");
    let next = || told.recv_timeout(LONGEST).expect("told");
    let mut requests = Vec::new();
    for _ in answers {
        requests.push(next());
        let _ = edge.evict(0, "default", Sockets::Close); // or it is busy
    }
    let first = requests.remove(2);
    // A chat that took over a second is told in several requests.
    let (mut all, mut last) = (first.body.clone(), first.id);
    while !all.contains("connection.closed") {
        let more = next();
        all.push_str(&more.body);
        last = more.id;
    }
    assert!(all.contains("message.published"), "{all}");
    // The numbers go on.
    chat(&edge.authority(0));
    // An object that is evicted before it notes an answer tells the same once more.
    let others = std::iter::repeat_with(next).find(|it| it.id != last);
    let others = others.expect("no end").body;
    let epoch = |body: &str| body[..body.find("events").expect("events")].to_owned();
    assert_eq!(epoch(&others), epoch(&first.body));
    assert!(others.contains(r#""seq":8,"#), "{others}");
    let log = edge.log().join("\n");
    assert!(
        log.contains("failed, 1 in a row, and is tried again: status 500"),
        "{log}"
    );
    assert!(!log.contains("secret"), "{log}");
}
