//! Publishes with keys over connections that are cut at every byte, and to servers that are killed:
//! each is delivered once, on both hosts, with and without users.
#![allow(clippy::print_stdout)] // the figures

use std::{path::Path, process::Command};

use roomcast_tests::{Edge, Sockets, server_binary};

/// Runs a script with its cases. They need Python.
fn run(script: &str, arguments: &[&str]) {
    let output = Command::new("python3")
        .arg(script)
        .args(arguments)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("clients"))
        .output()
        .expect("python3 runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let fault = String::from_utf8_lossy(&output.stderr);
    println!("{text}{fault}");
    assert!(output.status.success(), "{}\n{text}{fault}", output.status);
}

#[test]
fn keyed_publishes_are_delivered_once() {
    let binary = server_binary().canonicalize().expect("it exists");
    run(
        "exactly_once.py",
        &["--binary", binary.to_str().expect("UTF-8")],
    );
}

/// The same policies, and the same key, as in the script.
fn on_the_worker(arguments: &[&str]) {
    let rooms = "[[rooms]]\nmatch = \"chat:*\"\nhistory.messages = 100000\n";
    let mut vars = vec![("ROOMCAST_CONFIG", rooms), ("ROOMCAST_HEARTBEAT_MS", "off")];
    if !arguments.is_empty() {
        let key = "hs256:a secret of thirty-two bytes or more";
        vars.push(("ROOMCAST_TOKEN_KEY", key));
    }
    let edge = Edge::start_with_vars(&vars);
    let authority = edge.authority(0);
    let (_, port) = authority.split_once(':').expect("a port");
    let evict = edge.evict_url(0, "default", Sockets::Hibernate);
    let all = [&["--port", port, "--evict", &evict], arguments].concat();
    run("edge_once.py", &all);
    assert_eq!(edge.log(), [""; 0]);
}

#[test]
fn the_worker_delivers_keyed_publishes_once() {
    on_the_worker(&[]);
}

#[test]
fn the_worker_delivers_keyed_publishes_of_users_once() {
    on_the_worker(&["--users"]);
}
