//! The core as WebAssembly, in Node: `core/wasm`.

use std::{path::PathBuf, process::Command};

use roomcast_tests::Settings;
use serde_json::{Map, Value};

mod stories;
mod traces;

/// A program for Node, in the folder of the package or below `tests`.
fn node(path: &str) -> Command {
    let root = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    for built in ["dist/roomcast.wasm", "node_modules/ws"] {
        let is_there = root.join("core/wasm").join(built).exists();
        assert!(
            is_there,
            "no core/wasm/{built}: run `npm ci && npm run build` in core/wasm"
        );
    }
    let mut node = Command::new("node");
    node.arg(root.join(path));
    node
}

/// Limits by their names in the file of settings, and policies, both JSON.
fn options(settings: &Settings) -> (String, String) {
    let flags = settings.flags();
    let flags = flags
        .iter()
        .filter_map(|flag| flag.strip_prefix("--")?.split_once('='));
    // Those of other hosts.
    let limits = flags.filter(|(name, _)| !["control-rate", "token-key"].contains(name));
    let limits = limits.map(|(name, value)| (name.replace('-', "_"), Value::from(value)));
    let limits = Value::from(limits.collect::<Map<_, _>>());
    let policies = serde_json::to_string(&settings.policies()).expect("plain data");
    (limits.to_string(), policies)
}
