//! Users who are withdrawn through one server, on the others.

use std::time::{SystemTime, UNIX_EPOCH};

use rustix::process::Signal;
use serde_json::json;

use super::{inquiries::enter, inquiries::start, inquiries::start_one, node::Node};

/// Withdraws a user for most of the next minute, since a user named by a proxy is identified anew
/// with each connection.
fn withdraw(node: &Node, user: &str) -> (u16, serde_json::Value) {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("a clock");
    let path = format!("users/{user}/connections?not_before={}", now.as_secs() + 55);
    node.api("DELETE", &path)
}

#[tokio::test]
async fn a_withdrawn_user_is_refused_by_servers_that_were_not_there() {
    let mut cluster = start(2);
    let (ann, _) = enter(&cluster.nodes[0], "ann", &["den"]).await;
    assert_eq!(
        withdraw(&cluster.nodes[1], "ann"),
        (200, json!({"disconnected": 1}))
    );
    assert_eq!(ann.close_code().await, 4401);
    cluster.nodes.push(start_one(&cluster.redis));
    for node in &cluster.nodes {
        // At the time of the withdrawal one server had the namespace, one had not, and one was not
        // running.
        assert_eq!(node.connect_as("ann").await.close_code().await, 4401);
    }
    let ahead = cluster.nodes[1].api("DELETE", "users/bob/connections?not_before=9999999999");
    assert_eq!(ahead.0, 400, "{ahead:?}");
    let bob = cluster.nodes[0].connect_as("bob").await;
    // The data is lost, and servers tell the relay again.
    cluster.redis.kill();
    cluster.redis.start_again();
    cluster.ready().await;
    cluster.nodes.push(start_one(&cluster.redis));
    let node = cluster.nodes.last().expect("a server");
    let ask = ["ZSCORE", "roomcast:{default}:w", "ann"];
    super::wait_for("it is not told again", || {
        !cluster.redis.run(&ask).is_empty()
    })
    .await;
    assert_eq!(node.connect_as("ann").await.close_code().await, 4401);
    assert!(bob.end().await.iter().all(|frame| frame["error"].is_null()));
}

#[tokio::test]
async fn a_server_that_stood_still_ends_connections_of_a_withdrawn_user() {
    let cluster = start(2);
    let (ann, _) = enter(&cluster.nodes[0], "ann", &["den"]).await;
    cluster.nodes[0].signal(Signal::STOP);
    let expected = json!({"disconnected": 0, "missing": [cluster.nodes[0].id]});
    assert_eq!(withdraw(&cluster.nodes[1], "ann"), (200, expected));
    // What was sent to it is lost.
    cluster.redis.run(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    cluster.nodes[0].signal(Signal::CONT);
    assert_eq!(ann.close_code().await, 4401);
}
