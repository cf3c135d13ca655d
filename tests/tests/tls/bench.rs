//! The load of `roomcast bench` on a listener with TLS.

use std::process::Output;

use serde_json::Value;

use super::{client::start, pair::Pairs};
use crate::process::child::{Process, roomcast};

fn bench(process: &Process, authorities: &str, flags: &[&str]) -> Output {
    let url = format!("wss://{}/ws", process.authority);
    let output = roomcast()
        .args(["bench", &url, "--json", "--duration-s=1", "--warmup-s=0"])
        .args(flags)
        .env("SSL_CERT_FILE", authorities)
        .output();
    output.expect("the command starts")
}

#[test]
fn a_load_over_tls_is_delivered() {
    let pairs = Pairs::new();
    let process = start(&pairs, &[]);
    for flags in [
        [
            "--connections=20",
            "--rooms=4",
            "--rate=200",
            "--payload-bytes=100",
        ],
        // Several records of TLS for each message.
        [
            "--connections=6",
            "--rooms=2",
            "--rate=20",
            "--payload-bytes=60000",
        ],
    ] {
        let output = bench(&process, &pairs.path("ca.pem"), &flags);
        let said = String::from_utf8_lossy(&output.stderr);
        let summary: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        assert_eq!(output.status.code(), Some(0), "{summary} {said}");
        assert_eq!(summary["ok"], true, "{summary}");
        let deliveries = &summary["deliveries"];
        assert!(deliveries["received"].as_u64() > Some(0), "{summary}");
        assert_eq!(deliveries["received"], deliveries["expected"], "{summary}");
    }
}

#[test]
fn a_load_is_not_put_on_a_server_that_nobody_vouches_for() {
    let (pairs, others) = (Pairs::new(), Pairs::new());
    let process = start(&pairs, &[]);
    let output = bench(
        &process,
        &others.path("ca.pem"),
        &["--connections=2", "--rooms=1"],
    );
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(
        said.contains("certificate") && said.contains("SSL_CERT_FILE"),
        "{said}"
    );
}
