//! The client of `client/`: against the real binary and the worker, and in each runtime.
#![allow(clippy::print_stdout)] // the runtimes that are not there

use std::path::Path;

use roomcast_tests::{Edge, Sockets};

use super::{HERE, Server, binary, check};

/// The same key as in the scripts.
const TOKEN_KEY: (&str, &str) = (
    "ROOMCAST_TOKEN_KEY",
    "hs256:0123456789abcdef0123456789abcdef",
);

fn on_the_binary(script: &str) {
    let binary = binary().canonicalize().expect("it exists");
    check("clients", "node", &[script, &binary.to_string_lossy()]);
}

/// Reconnects, losses, gaps, restarts with a store and without.
#[test]
fn the_javascript_client_recovers() {
    on_the_binary("client_recovery.mjs");
}

/// 200 seeded scripts of faults: what was acknowledged is received by all, once and in order.
#[test]
fn the_javascript_client_survives_broken_lines() {
    on_the_binary("client_faults.mjs");
}

/// Tokens that are renewed, bad, withdrawn, ended, of another user, and none.
#[test]
fn the_javascript_client_renews_its_tokens() {
    on_the_binary("client_tokens.mjs");
}

/// The same of the worker, which takes nobody without a token.
#[test]
fn the_javascript_client_renews_its_tokens_of_the_worker() {
    let edge = Edge::start_with_vars(&[TOKEN_KEY]);
    let url = format!("http://{}", edge.authority(0));
    check("clients", "node", &["client_tokens.mjs", &url]);
}

/// The same against the worker, whose object is evicted meanwhile. More scripts at one time would
/// keep it busy, and a busy object is not evicted.
#[test]
fn the_javascript_client_survives_broken_lines_to_the_worker() {
    // The same policies as in the script.
    let rooms = "[[rooms]]\nmatch = \"feed:*\"\nhistory.messages = 1000\npresence = \"members\"\n";
    let edge = Edge::start_with_vars(&[("ROOMCAST_CONFIG", rooms), TOKEN_KEY]);
    let authority = edge.authority(0);
    let (_, port) = authority.split_once(':').expect("a port");
    let faults = |scripts, first, sockets| {
        let evict = edge.evict_url(0, "default", sockets);
        let args = ["client_faults.mjs", port, scripts, first, &evict];
        check("clients", "node", &args);
    };
    for first in ["1", "51", "101"] {
        faults("50", first, Sockets::Hibernate);
    }
    for first in ["151", "161", "171", "181", "191"] {
        faults("10", first, Sockets::Close);
    }
    assert_eq!(edge.log(), [""; 0]);
}

/// Programs by the name of their runtime, below this package, with arguments before those of the
/// script.
const RUNTIMES: [(&str, &str, &[&str]); 4] = [
    (
        "Node 22, with its own WebSocket",
        "../host-worker/node_modules/.bin/node",
        &["process.mjs"],
    ),
    (
        "Deno",
        "runtimes/node_modules/.bin/deno",
        &["run", "--no-lock", "--no-config", "-A", "process.mjs"],
    ),
    (
        "Bun",
        "runtimes/node_modules/.bin/bun",
        &["run", "process.mjs"],
    ),
    (
        "workerd",
        "../host-worker/node_modules/.bin/workerd",
        &["workerd.mjs"],
    ),
];

/// Connects, joins, publishes, reconnects and recovers.
#[test]
fn the_javascript_client_runs_in_every_runtime() {
    let here = Path::new(HERE);
    let config = here.join("runtimes/rooms.toml");
    let config = config.to_str().expect("UTF-8");
    let server = Server::start(&["--api-key=test-key", "--config", config]);
    let url = format!("http://{}", server.address);
    check("runtimes", "node", &["process.mjs", &url, "test-key"]);
    for (name, path, args) in RUNTIMES {
        let program = here.join(path);
        if !program.exists() {
            println!("SKIPPED: {name}: npm could not install {path}");
            continue;
        }
        let arguments = [args, &[&url, "test-key"]].concat();
        if name == "workerd" {
            // It runs no scripts: Node gives it one.
            let program = program.to_str().expect("UTF-8");
            let (script, rest) = arguments.split_first().expect("a script");
            let arguments = [&[*script, program], rest].concat();
            check("runtimes", "node", &arguments);
        } else {
            check("runtimes", &program, &arguments);
        }
        println!("{name}: ok");
    }
}
