//! `roomcast top` beside servers that share a relay.

use std::{process::Command, time::Instant};

use serde_json::{Value, json};

use super::{
    PATIENCE,
    cluster::Redis,
    node::{KEY, Node},
    wait_for,
};

/// The figures of an interval.
fn figures(node: &Node) -> Value {
    let mut command = Command::new(env!("CARGO_BIN_EXE_roomcast"));
    let url = format!("http://{}", node.address());
    command.env_clear().args(["top", &url, "--api-key", KEY]);
    command.args(["--json", "--count", "1", "--interval-ms", "100"]);
    let output = command.output().expect("a process");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[tokio::test]
async fn slow_readers_of_all_servers_are_listed_at_each() {
    let mut redis = Redis::start(&[]);
    // However long it takes, the reader stays.
    let stays = ["--write-stall-ms=3600000", "--heartbeat-ms=off"];
    let flags = ["--api-key", KEY, "--outbox-bytes-max=100000000"];
    let flags = [&flags[..], &stays].concat();
    let start = || Node::start_with(&redis.url(), "", &flags);
    let (one, other) = (start(), start());
    // It reads nothing more.
    let (_slow, _) = one.join("hall").await;
    let mut publisher = one.connect().await;
    let said = json!({"event": "said", "room": "hall", "data": "x".repeat(60_000)});
    let (mut seen, began) = (figures(&one), Instant::now());
    while seen["slow_readers"] != 1 || seen["slowest_readers"][0]["queued_bytes"].is_null() {
        assert!(began.elapsed() < PATIENCE, "{seen}");
        let many = std::iter::repeat_n(said.clone(), 50);
        publisher.send_all(many).await;
        seen = figures(&one);
    }
    let elsewhere = figures(&other);
    assert_eq!(elsewhere["slow_readers"], 0, "{elsewhere}");
    let conn = |figures: &Value| figures["slowest_readers"][0]["conn"].clone();
    assert_eq!(conn(&elsewhere), conn(&seen), "{elsewhere}");
    for figures in [seen, elsewhere] {
        assert_eq!(figures["cluster"], true);
        assert_eq!(figures["missing"], json!([]));
    }
    redis.kill();
    wait_for("/readyz stays 200", || !one.is_ready()).await;
    let alone = figures(&one);
    assert_eq!(alone["missing"], json!(["relay"]), "{alone}");
    assert!(conn(&alone).is_string(), "{alone}");
}
