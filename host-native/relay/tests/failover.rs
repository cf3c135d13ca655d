//! Failovers to a replica that lacks messages: the epoch ends, so no reader is told that its
//! history is complete.
//!
//! Each story also runs without the lineage, or with a wrong one, and then shows the hole. This
//! proves that the stories would find it.

use std::time::Duration;

use roomcast_relay::{Change, Lineage, Loss, Position, Read, Relay, RelayError, Settings};

use crate::{
    node::{Node, quiet, room, settings},
    outage::wait_for_calls,
    presence::{notice, present},
    proxy::Proxy,
    server::{PATIENCE, Server},
};

/// The findings about a reader that had all messages before a failover.
#[derive(Debug, PartialEq, Eq)]
struct Findings {
    /// True when the reader is told that nothing is missing, although its offsets were assigned
    /// again.
    is_recovered: bool,
    is_same_epoch: bool,
    /// The offset of the first message after the failover.
    offset: u64,
}

const HONEST: Findings = Findings {
    is_recovered: false,
    is_same_epoch: false,
    offset: 11,
};

const HOLE: Findings = Findings {
    is_recovered: true,
    is_same_epoch: true,
    offset: 11,
};

/// Returns a primary with a replica. A primary changes its replication id for its first replica, so
/// the replica attaches before the node starts.
fn pair() -> (Server, Server) {
    let (primary, replica) = (Server::start(&[]), Server::start(&[]));
    replica.follow(&primary);
    (primary, replica)
}

/// Publishes five messages, and reads as a client that had 15.
async fn look(node: &Node, name: &str, before: &Position) -> Findings {
    let room = room(name);
    let published = node.publish_surely(&room, "new 1").await;
    for count in 2..=5 {
        node.publish_surely(&room, &format!("new {count}")).await;
    }
    let read = Read::after(room, before.epoch.clone(), before.offset);
    Findings {
        is_recovered: node.relay.read(&read).await.unwrap().is_whole,
        is_same_epoch: published.epoch == before.epoch,
        offset: published.offset,
    }
}

async fn publish(node: &Node, name: &str, counts: std::ops::RangeInclusive<u64>) -> Position {
    let room = room(name);
    for count in counts {
        let published = node.publish_surely(&room, &format!("{name} {count}")).await;
        assert_eq!(published.offset, count);
    }
    node.position(&room).await
}

/// Promotes a replica that lacks the last five of 15 messages.
async fn promote_a_stale_replica(set: impl FnOnce(&mut Settings)) -> Findings {
    let (mut primary, replica) = pair();
    let proxy = Proxy::start(primary.port).await;
    let mut node = Node::start_with(&proxy.url(), set).await;
    publish(&node, "r", 1..=10).await;
    replica.wait_caught_up(&primary);
    replica.promote();
    let before = publish(&node, "r", 11..=15).await;
    primary.kill();
    proxy.lead_to(replica.port);
    assert_eq!(node.until_lost().await, Loss::Disconnected);
    node.until_ready().await;
    look(&node, "r", &before).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stale_replica_that_is_promoted_begins_a_new_epoch() {
    assert_eq!(promote_a_stale_replica(|_| {}).await, HONEST);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_lineage_a_stale_replica_hides_what_it_lacks() {
    let findings = promote_a_stale_replica(|settings| settings.lineage = Lineage::Off);
    assert_eq!(findings.await, HOLE);
}

/// The promoted replica is asked for serials before the node with the newest ones has registered
/// there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn serials_that_a_promoted_replica_never_saw_are_given_out_once() {
    const COUNT: u64 = 100;
    let (primary, replica) = pair();
    let first = Node::start(&primary).await;
    let taken = first.relay.take_serials(COUNT, 0).await.unwrap();
    replica.wait_caught_up(&primary);
    replica.promote();
    let unseen = first.relay.take_serials(COUNT, 0).await.unwrap();
    assert_eq!(unseen, taken + COUNT);
    let other = Node::start(&replica).await;
    let given = other.relay.take_serials(COUNT, 0).await.unwrap();
    assert!(
        given >= unseen + COUNT,
        "{unseen} is given out again: {given}"
    );
    let next = other.relay.take_serials(COUNT, 0).await;
    assert_eq!(next, Ok(given + COUNT), "the next are in a row");
}

/// Promotes a replica that still lists a user who has left, beside a user who has not.
async fn promote_a_replica_with_a_ghost(set: impl FnOnce(&mut Settings)) -> (Node, Server, Proxy) {
    let (mut primary, replica) = pair();
    let proxy = Proxy::start(primary.port).await;
    let mut node = Node::start_with(&proxy.url(), set).await;
    let (room, relay) = (room("r"), &node.relay);
    for user in ["ann", "bob"] {
        relay.set_present(&present(&room, user, 1)).await.unwrap();
    }
    replica.wait_caught_up(&primary);
    replica.promote();
    let gone = relay.set_present(&present(&room, "ann", 0)).await;
    assert_eq!(gone.unwrap().change, Some(Change::Left));
    primary.kill();
    proxy.lead_to(replica.port);
    node.until_lost().await;
    node.until_ready().await;
    node.relay
        .subscribe(std::slice::from_ref(&room))
        .await
        .unwrap();
    // A node under a new name enters its users again; a node that keeps its name has nothing to
    // add.
    let bob = present(&room, "bob", 1);
    assert_eq!(node.relay.set_present(&bob).await.unwrap().change, None);
    (node, replica, proxy)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_whom_a_stale_replica_has_too_much_go_with_the_old_lease() {
    let node = promote_a_replica_with_a_ghost(|settings| {
        settings.timing.lease = PATIENCE;
        settings.timing.claim_after = Duration::ZERO;
    });
    let (mut node, server, _proxy) = node.await;
    // Simulates the end of the old lease: a short one might end before Bob was entered again.
    let own = node.relay.nodes().await.unwrap().remove(0).incarnation;
    let mut leases: Vec<String> = server.run("ZRANGE roomcast:leases 0 -1");
    leases.retain(|it| **it != *own);
    assert_eq!(leases.len(), 1, "{leases:?} beside {own}");
    let ended: u64 = server.run(&format!("ZADD roomcast:leases XX CH 1 {}", leases[0]));
    assert_eq!(ended, 1);
    let left = node.until("notice", notice).await;
    assert_eq!((left.1, &*left.2), (Change::Left, "ann"));
    let members = node.relay.members(&room("r"), 10).await.unwrap();
    assert_eq!((members.total, members.connections), (1, 1));
    assert_eq!(&*members.users[0].user, "bob");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_lineage_users_whom_a_stale_replica_has_too_much_stay() {
    let node = promote_a_replica_with_a_ghost(|settings| settings.lineage = Lineage::Off);
    let (node, _server, _proxy) = node.await;
    assert_eq!(node.relay.nodes().await.unwrap().len(), 1);
    let members = node.relay.members(&room("r"), 10).await.unwrap();
    assert_eq!((members.total, members.connections), (2, 2));
}

/// Makes the primary a replica of its stale replica, and promotes it again. Its process runs
/// throughout.
async fn go_there_and_back(set: impl FnOnce(&mut Settings)) -> Findings {
    let (primary, replica) = pair();
    let mut node = Node::start_with(&primary.url(), set).await;
    publish(&node, "r", 1..=10).await;
    replica.wait_caught_up(&primary);
    replica.promote();
    let before = publish(&node, "r", 11..=15).await;
    primary.follow(&replica);
    // A heartbeat may have renewed the lease before, and have read the lineage after that.
    let loss = node.until_lost().await;
    assert!(matches!(loss, Loss::Lineage | Loss::ReadOnly), "{loss:?}");
    primary.promote();
    node.until_ready().await;
    look(&node, "r", &before).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_there_and_back_begins_a_new_epoch() {
    assert_eq!(go_there_and_back(|_| {}).await, HONEST);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_run_id_hides_a_failover_there_and_back() {
    let findings = go_there_and_back(|settings| settings.lineage = Lineage::RunId);
    assert_eq!(findings.await, HOLE);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_lineage_a_failover_there_and_back_is_hidden() {
    let findings = go_there_and_back(|settings| settings.lineage = Lineage::Off);
    assert_eq!(findings.await, HOLE);
}

/// Fails over and back between two heartbeats: the node notices nothing, and writes with the
/// earlier lineage.
async fn go_there_and_back_unnoticed(asks_lineage: bool) -> Findings {
    let (primary, replica) = pair();
    let node = Node::start_with(&primary.url(), |settings| {
        settings.asks_lineage = asks_lineage;
        settings.timing.heartbeat = Duration::from_secs(3_600);
        settings.timing.lease = Duration::from_secs(10_000);
        settings.timing.probe = Duration::from_secs(3_600);
        settings.timing.silence = Duration::from_secs(3_600);
    })
    .await;
    // Registration, and the look for dead nodes after it: a replica would refuse that.
    wait_for_calls(&primary, "evalsha", 2).await;
    publish(&node, "r", 1..=10).await;
    replica.wait_caught_up(&primary);
    replica.promote();
    let before = publish(&node, "r", 11..=15).await;
    primary.follow(&replica);
    primary.promote();
    let findings = look(&node, "r", &before).await;
    assert_eq!(node.relay.counters().snapshot().connects, 1, "it noticed");
    findings
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_script_that_asks_for_the_lineage_sees_what_no_heartbeat_saw() {
    assert_eq!(go_there_and_back_unnoticed(true).await, HONEST);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn between_heartbeats_a_failover_there_and_back_is_hidden() {
    assert_eq!(go_there_and_back_unnoticed(false).await, HOLE);
}

/// Fails over and back while the node is stopped; its first publish comes after that.
#[tokio::test]
async fn a_node_that_stood_still_asks_for_the_lineage_by_itself() {
    let (primary, replica) = pair();
    let node = Node::start_with(&primary.url(), |_| {}).await;
    publish(&node, "r", 1..=10).await;
    replica.wait_caught_up(&primary);
    replica.promote();
    let before = publish(&node, "r", 11..=15).await;
    // Without yielding to other tasks of this thread, so no heartbeat runs in between.
    primary.follow(&replica);
    primary.promote();
    std::thread::sleep(Duration::from_secs(1));
    // On a busy machine a heartbeat may be answered sooner, and end the connection meanwhile.
    let published = node.publish_surely(&room("r"), "new").await;
    assert_eq!(published.offset, 11);
    assert_ne!(published.epoch, before.epoch);
}

/// The first replica of a primary changes its lineage, which one of two nodes has not noticed yet.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_with_an_old_and_a_new_lineage_have_one_epoch() {
    let (primary, replica) = (Server::start(&[]), Server::start(&[]));
    let old = Node::start_with(&primary.url(), |settings| {
        settings.timing.heartbeat = Duration::from_secs(3_600);
        settings.timing.lease = Duration::from_secs(10_000);
    })
    .await;
    let before = publish(&old, "r", 1..=3).await;
    replica.follow(&primary);
    let new = Node::start_with(&primary.url(), |_| {}).await;
    let after = publish(&new, "r", 4..=4).await;
    assert_ne!(after.epoch, before.epoch);
    for count in 5..=8 {
        let node = if count % 2 == 0 { &new } else { &old };
        assert_eq!(publish(node, "r", count..=count).await.epoch, after.epoch);
    }
    // The same holds for a room that is opened by the node that has not noticed.
    let begun = publish(&old, "s", 1..=1).await;
    assert_eq!(publish(&new, "s", 2..=2).await.epoch, begun.epoch);
    assert_eq!(old.relay.counters().snapshot().connects, 1, "it noticed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_heartbeat_notices_another_lineage() {
    let (primary, replica) = pair();
    let mut node = Node::start_with(&primary.url(), |settings| {
        // No heartbeat runs while the server takes no writes.
        settings.timing.heartbeat = Duration::from_secs(4);
    })
    .await;
    let before = publish(&node, "r", 1..=3).await;
    replica.wait_caught_up(&primary);
    replica.promote();
    primary.follow(&replica);
    primary.promote();
    let loss = node.until_lost().await;
    assert!(matches!(loss, Loss::Lineage | Loss::ReadOnly), "{loss:?}");
    node.until_ready().await;
    let after = node.position(&room("r")).await;
    assert_ne!(after.epoch, before.epoch);
    assert_eq!(after.offset, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_acknowledge_before_the_relay_does() {
    let (primary, replica) = (Server::start(&[]), Server::start(&[]));
    // Attached before the node starts: the first replica of a primary changes its lineage.
    replica.follow(&primary);
    primary.wait_info("connected_slaves", |count| count == "1");
    let node = Node::start_with(&primary.url(), |settings| {
        quiet(settings, Duration::from_secs(3));
        settings.replicas_ack = 1;
    })
    .await;
    replica.stop();
    let room = room("r");
    let publish = async |key: &str| {
        let mut publish = crate::node::message(&room, key);
        publish.once = Some(crate::node::once(key, 1));
        node.relay.publish(&publish).await
    };
    let alone = tokio::join!(publish("1"), publish("2"), publish("3"));
    let in_doubt = Err(RelayError::InDoubt);
    let expected = (in_doubt.clone(), in_doubt.clone(), in_doubt);
    assert_eq!(alone, expected, "no replica acknowledges");
    assert_eq!(node.position(&room).await.offset, 3, "all is in doubt");
    assert_eq!(
        node.relay.counters().snapshot().losses,
        0,
        "nothing is lost"
    );
    replica.go_on();
    let published = node.publish_surely(&room, "4").await;
    assert_eq!(published.offset, 4);
    let kept: u64 = replica.run("HGET roomcast:{ns}:m:r o");
    assert_eq!(kept, 4, "the replica has what was acknowledged");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sentinels_say_where_the_primary_is() {
    let primary = Server::start(&[]);
    let sentinel = Server::start(&["--sentinel"]);
    let monitor = format!("SENTINEL MONITOR rooms 127.0.0.1 {} 1", primary.port);
    sentinel.run::<()>(&monitor);
    let url = format!(
        "redis+sentinel://127.0.0.1:1,127.0.0.1:{}/rooms",
        sentinel.port
    );
    let node = Node::start_with(&url, |_| {}).await;
    node.publish(&room("r"), "hi").await;
    assert_eq!(primary.run::<u64>("HGET roomcast:{ns}:m:r o"), 1);
    let url = format!("redis+sentinel://127.0.0.1:{}/other", sentinel.port);
    let error = roomcast_relay::RedisRelay::start(settings(&url, |_| {})).await;
    let error = error.expect_err("no such service").to_string();
    assert!(error.contains("cannot be reached"), "{error}");
}
