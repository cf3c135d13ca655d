//! Sessions of clients that nobody here wrote, over TLS.
//!
//! `tests/run` installs what these need.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use super::{client::start, pair::Pairs};

/// The folder of this package.
const HERE: &str = env!("CARGO_MANIFEST_DIR");

/// Runs a script of sessions, with the variable by which it takes the authority.
fn session(program: impl AsRef<Path>, script: &str, variable: &str) {
    let pairs = Pairs::new();
    let flags = ["--inbound-rate=off", "--api-key=test-key", "--threads=2"];
    let process = start(&pairs, &flags);
    let url = |scheme| format!("{scheme}://{}", process.authority);
    let output = Command::new(program.as_ref())
        .args([script, &url("wss"), &url("https"), "test-key"])
        .env(variable, pairs.path("ca.pem"))
        .current_dir(Path::new(HERE).join("clients"))
        .output()
        .unwrap_or_else(|fault| panic!("{}: {fault}: see tests/run", program.as_ref().display()));
    let said = String::from_utf8_lossy(&output.stdout);
    let fault = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{fault}");
}

#[test]
fn npm_ws_holds_its_sessions_over_tls() {
    session("node", "ws_session.mjs", "NODE_EXTRA_CA_CERTS");
}

#[test]
fn python_websockets_holds_its_sessions_over_tls() {
    let python: PathBuf = Path::new(HERE).join(".venv/bin/python");
    session(python, "websockets_session.py", "SSL_CERT_FILE");
}
