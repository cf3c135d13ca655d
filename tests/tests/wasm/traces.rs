//! Every trace holds on a server for Node that drives the core as WebAssembly.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Stdio},
    thread,
};

use roomcast_tests::{Settings, Trace, Url};

use super::{node, options};
use crate::stories::{for_servers, in_time, tell};

const API_KEY: &str = "test-key";

/// The server of the package's examples, as a process; it ends with this value.
struct NodeServer {
    child: Child,
    address: String,
}

impl NodeServer {
    fn start(settings: &Settings) -> Self {
        let (limits, policies) = options(settings);
        let mut node = node("core/wasm/examples/server.mjs");
        node.env("PORT", "0")
            .env("ROOMCAST_API_KEY", API_KEY)
            .env("ROOMCAST_SETTINGS", limits)
            .env("ROOMCAST_POLICIES", policies)
            .stderr(Stdio::piped());
        if let Some(key) = settings.token_key() {
            let secret = key.strip_prefix("hs256:").expect("a secret");
            node.env("ROOMCAST_TOKEN_SECRET", secret);
        }
        let mut child = node.spawn().expect("node is installed");
        let mut log = BufReader::new(child.stderr.take().expect("piped"));
        let mut line = String::new();
        log.read_line(&mut line).expect("text");
        let address = line.trim().strip_prefix("listening on http://");
        let address = address.map(|authority| format!("ws://{authority}/ws"));
        // What it says later is a fault.
        thread::spawn(move || log.lines().for_each(|line| eprintln!("node: {line:?}")));
        let address = address.unwrap_or_else(|| panic!("node did not start listening: {line}"));
        Self { child, address }
    }

    fn run(&self, trace: &Trace) -> Result<(), String> {
        let mut url = Url::new(&*self.address)
            .map_err(|fault| fault.to_string())?
            .with_api(Some(API_KEY))
            .with_namespace(trace.name())
            .with_users()
            .with_waits();
        trace.run(&mut url).map_err(|fault| fault.to_string())
    }
}

impl Drop for NodeServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Traces without settings share a server, in a namespace of their own each.
#[test]
fn on_a_node_server() {
    let shared = NodeServer::start(&Settings::default());
    tell(&for_servers(), |trace| {
        if trace.settings().is_empty() {
            shared.run(trace)
        } else {
            let start = |_| NodeServer::start(trace.settings());
            in_time(trace, start, |server| server.run(trace))
        }
    });
}
