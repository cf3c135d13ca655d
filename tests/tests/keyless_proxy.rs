//! Access to a server that has no key or is on loopback, behind a real nginx and without, and
//! what its operator sees of refusals.

use std::{path::Path, process::Command};

use roomcast_tests::server_binary;

/// The folder of this package.
const HERE: &str = env!("CARGO_MANIFEST_DIR");

/// The cases are in `clients/keyless_proxy.py`. They need Python and nginx, which `tests/run`
/// installs.
#[test]
fn strangers_get_no_further_than_they_may() {
    let output = Command::new("python3")
        .arg("keyless_proxy.py")
        .arg("--binary")
        .arg(server_binary().canonicalize().expect("it exists"))
        .current_dir(Path::new(HERE).join("clients"))
        .output()
        .expect("python3 runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let fault = String::from_utf8_lossy(&output.stderr);
    // Seen when the runner is asked for it.
    eprintln!("{text}{fault}");
    assert!(output.status.success(), "{}\n{text}{fault}", output.status);
}
