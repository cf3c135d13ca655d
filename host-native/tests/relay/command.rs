//! `roomcast cluster` beside servers that share a relay.

use std::process::{Command, Output};

use serde_json::{Value, json};

use super::{
    cluster::{Cluster, Redis},
    node::Node,
    wait_for,
};

/// Runs the command, with nothing from the environment of whoever runs the test.
fn run(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_roomcast"));
    command.arg("cluster").args(arguments).env_clear();
    command.output().expect("a process")
}

/// Its answer in JSON.
fn answer(arguments: &[&str]) -> Value {
    let output = run(&[arguments, &["--json"]].concat());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// Its lines.
fn lines(arguments: &[&str]) -> String {
    let output = run(arguments);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    String::from_utf8(output.stdout).expect("text")
}

/// Runs a command that fails; returns its exit code and its message.
fn failure(arguments: &[&str]) -> (Option<i32>, String) {
    let output = run(arguments);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), said)
}

#[tokio::test]
async fn servers_and_rooms_are_shown_as_the_relay_has_them() {
    let cluster = Cluster::start(2, &[]);
    let url = cluster.redis.url();
    let relay = ["--relay", &*url];
    let (_ann, _) = cluster.nodes[0].join("log:a").await;
    let (_ben, _) = cluster.nodes[1].join("log:a").await;
    let (_cid, _) = cluster.nodes[1].join("quiet").await;
    for (node, key, data) in [(0, "k1", 1), (1, "k2", 2)] {
        let sent = cluster.nodes[node].send_surely(key, "log:a", &json!(data));
        assert_eq!(sent.0, 200, "{sent:?}");
    }
    // Servers report their number of connections with the next heartbeat.
    let connections = |seen: &Value| {
        let nodes = seen["nodes"].as_array().expect("servers").iter();
        let mut each: Vec<_> = nodes.map(|node| node["connections"].as_u64()).collect();
        each.sort_unstable();
        each
    };
    wait_for("the servers do not say who is connected", || {
        connections(&answer(&relay)) == [Some(1), Some(2)]
    })
    .await;
    let seen = answer(&relay);
    assert_eq!(seen["server"]["role"], "primary");
    assert_eq!(seen["server"]["eviction"], "noeviction");
    let replication = seen["server"]["lineage"]["replication"].as_str();
    assert_eq!(replication.map(str::len), Some(40), "{seen}");
    for node in seen["nodes"].as_array().expect("servers") {
        assert_eq!(
            (&node["state"], &node["namespaces"]),
            (&json!("up"), &json!(1))
        );
        assert_eq!(node["version"], env!("CARGO_PKG_VERSION"));
        assert!(node["lease_left_ms"].as_u64() <= Some(10_000), "{node}");
        assert!(
            node["listen"]
                .as_str()
                .is_some_and(|it| it.starts_with("127.0.0.1:"))
        );
        assert!(
            node["host"].is_string() && node["since_ms"].is_u64(),
            "{node}"
        );
    }
    let text = lines(&relay);
    let parts = ["noeviction", "LEASE LEFT", "127.0.0.1:", "it keeps"];
    for part in parts {
        assert!(text.contains(part), "{part}: {text}");
    }

    // A `room.occupied` hook makes servers register under such a name.
    let counted = "roomcast:{default}:m:\u{1}quiet";
    cluster.redis.run(&["HSET", counted, "e", "x"]);
    let rooms = answer(&[&["rooms", "default"], &relay[..]].concat());
    assert_eq!(rooms["rooms"].as_array().map(Vec::len), Some(2), "{rooms}");
    let room = |name: &str| {
        let mut all = rooms["rooms"].as_array().expect("rooms").iter();
        all.find(|room| room["room"] == name).cloned().expect(name)
    };
    let kept = room("log:a");
    assert_eq!((&kept["offset"], &kept["kept"]), (&json!(2), &json!(2)));
    assert!(kept["epoch"].is_string() && kept["current"] == json!(true));
    assert_eq!(
        (&room("quiet")["offset"], &room("quiet")["kept"]),
        (&json!(0), &json!(0))
    );
    let one = [&["rooms", "default", "log:a", "nowhere"], &relay[..]].concat();
    let text = lines(&one);
    assert!(
        text.contains("log:a") && text.lines().count() == 2,
        "{text}"
    );
    let few = answer(&[&["rooms", "default", "--limit", "1"], &relay[..]].concat());
    assert_eq!(
        (&few["more"], few["rooms"].as_array().map(Vec::len)),
        (&json!(true), Some(1))
    );
}

#[tokio::test]
async fn a_server_that_is_gone_is_not_up() {
    let redis = Redis::start(&[]);
    let url = redis.url();
    let flags = ["--relay-prefix", "chat:"];
    let (stays, goes) = (
        Node::start_with(&url, "", &flags),
        Node::start_with(&url, "", &flags),
    );
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("roomcast.toml");
    let text = format!("relay = \"{url}\"\nrelay_prefix = \"chat:\"\n");
    std::fs::write(&file, text).expect("written");
    let config = ["--config", file.to_str().expect("a path")];
    let nodes = || answer(&config)["nodes"].as_array().map(Vec::len);
    assert_eq!(nodes(), Some(2));
    // Another prefix is another cluster.
    let other = lines(&["--relay", &url]);
    assert!(other.contains("no servers"), "{other}");
    goes.kill();
    wait_for("the dead server is still there", || nodes() == Some(1)).await;
    assert_eq!(answer(&config)["nodes"][0]["state"], "up");
    drop(stays);
}

#[test]
fn a_relay_that_cannot_be_asked_is_named_with_the_cure() {
    let (code, said) = failure(&[]);
    assert_eq!(code, Some(2));
    assert!(
        said.contains("--relay redis://") && said.contains("ROOMCAST_RELAY"),
        "{said}"
    );
    // A free port might be another test's by then.
    let nowhere = "redis://ann:s3cret@127.0.0.1:1";
    let (code, said) = failure(&["--relay", nowhere]);
    assert_eq!(code, Some(3), "{said}");
    assert!(
        said.contains("127.0.0.1") && said.contains("Check --relay"),
        "{said}"
    );
    assert!(!said.contains("s3cret"), "{said}");
    let (code, said) = failure(&["--relay", "http://ann:s3cret@x"]);
    assert_eq!(code, Some(2));
    assert!(
        said.contains("--relay") && !said.contains("s3cret"),
        "{said}"
    );
    let redis = Redis::start(&[]);
    redis.run(&["CONFIG", "SET", "requirepass", "s3cret"]);
    let (code, said) = failure(&["--relay", &redis.url()]);
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("NOAUTH") && said.contains("USER:PASSWORD"),
        "{said}"
    );
}
