//! Publishes with keys over connections that are cut at every byte, and to servers that are killed:
//! each is delivered once.

use std::{path::Path, process::Command};

use roomcast_tests::server_binary;

/// The cases are in `clients/exactly_once.py`. They need Python.
#[test]
fn keyed_publishes_are_delivered_once() {
    let output = Command::new("python3")
        .arg("exactly_once.py")
        .arg("--binary")
        .arg(server_binary().canonicalize().expect("it exists"))
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("clients"))
        .output()
        .expect("python3 runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let fault = String::from_utf8_lossy(&output.stderr);
    // Seen when the runner is asked for it.
    eprintln!("{text}{fault}");
    assert!(output.status.success(), "{}\n{text}{fault}", output.status);
}
