//! Idempotency keys of owners, and their limits.

use std::time::Instant;

use roomcast_relay::{MemoryBroker, Once, Owner, Relay};

use crate::{
    node::{Node, message, once, room},
    server::{PATIENCE, Server, wait_for},
};

fn owned(owner: &str, key: &str, all_max: u32) -> Once {
    Once {
        owner: Some(Owner {
            name: owner.into(),
            earlier: Vec::new(),
            keys_max: 2,
            all_max: Some(all_max),
        }),
        ..once(key, 1)
    }
}

/// Publishes under a key; returns true if the key was known.
async fn is_known(relay: &dyn Relay, once: Once) -> bool {
    let mut publish = message(&room("r"), "hi");
    publish.once = Some(once);
    relay.publish(&publish).await.unwrap().is_repeated
}

/// The newest keys of an owner are known. When there are too many keys, the owner with the most
/// loses its oldest.
async fn tell(relay: &dyn Relay) {
    for (owner, key, known) in [
        ("bob", "k1", false),
        ("ann", "k1", false),
        ("ann", "k2", false),
        ("ann", "k3", false),
        ("ann", "k2", true),
        ("ann", "k1", false),
        ("dan", "k1", false),
        ("bob", "k1", true),
        ("dan", "k1", true),
        ("ann", "k1", true),
        ("ann", "k3", false),
    ] {
        let is_known = is_known(relay, owned(owner, key, 3)).await;
        assert_eq!(is_known, known, "{key} of {owner}");
    }
    let mut renamed = owned("eve", "k1", 3);
    if let Some(owner) = &mut renamed.owner {
        owner.earlier = vec!["dan".into(), "bob".into()];
    }
    assert!(is_known(relay, renamed).await, "under another name");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_has_its_newest_keys() {
    let server = Server::start(&[]);
    tell(&Node::start(&server).await.relay).await;
    tell(&MemoryBroker::new().join().0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_of_an_owner_knows_its_attempt_and_outlives_an_epoch() {
    let server = Server::start(&[]);
    let node = Node::start(&server).await;
    for (attempt, known) in [("x", false), ("x", false), ("y", true), ("", true)] {
        let mut once = owned("ann", "k", 9);
        once.attempt_id = attempt.into();
        assert_eq!(is_known(&node.relay, once).await, known, "{attempt}");
    }
    let first = node.position(&room("r")).await;
    server.run::<u64>("HSET roomcast:{ns}:m:r l another");
    assert!(is_known(&node.relay, owned("ann", "k", 9)).await, "kept");
    let again = node.position(&room("r")).await;
    assert_ne!(again.epoch, first.epoch);
    // The message is in no history any more.
    server.run::<u64>("DEL roomcast:{ns}:h:r");
    for known in [false, true] {
        assert_eq!(is_known(&node.relay, owned("ann", "k", 9)).await, known);
    }
    let keys: Vec<String> = server.run("HKEYS roomcast:{ns}:o:ann");
    assert!(!keys.contains(&"n1".to_owned()), "it is remembered once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn owners_whose_keys_have_ended_count_no_more() {
    let server = Server::start(&[]);
    let node = Node::start(&server).await;
    for owner in ["ann", "bob"] {
        let mut short = owned(owner, "k", 2);
        short.expiry_ms = 1;
        is_known(&node.relay, short).await;
    }
    // The indexes of owners expire after the keys.
    assert!(!is_known(&node.relay, owned("cat", "k", 9)).await);
    let exist = "EXISTS roomcast:{ns}:o:ann roomcast:{ns}:o:bob";
    wait_for("indexes stay", || server.run::<u64>(exist) == 0);
    assert!(!is_known(&node.relay, owned("dan", "k", 2)).await);
    for owner in ["cat", "dan"] {
        assert!(is_known(&node.relay, owned(owner, "k", 2)).await, "{owner}");
    }
    let owners: u64 = server.run("ZCARD roomcast:{ns}:oe");
    assert_eq!(owners, 2, "those who are gone are in no index");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn indexes_of_owners_end_with_their_keys() {
    let server = Server::start(&[]);
    let node = Node::start(&server).await;
    is_known(&node.relay, owned("ann", "k", 9)).await;
    for index in ["oc", "oe"] {
        let left_ms: i64 = server.run(&format!("PTTL roomcast:{{ns}}:{index}"));
        assert!(left_ms > 0, "{index}: {left_ms}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_steady_owner_keeps_no_keys_that_have_ended() {
    let server = Server::start(&[]);
    let node = Node::start(&server).await;
    let steady = |key: u32, expiry_ms: u64| {
        let mut once = owned("ann", &format!("k{key}"), 1_000);
        once.expiry_ms = expiry_ms;
        if let Some(owner) = &mut once.owner {
            owner.keys_max = 20;
        }
        once
    };
    // The other keys expire before their index.
    is_known(&node.relay, steady(0, 600_000)).await;
    let mut key = 0;
    let mut fields = 0;
    let began = Instant::now();
    while key < 30 || fields >= 2 * 20 {
        assert!(began.elapsed() < PATIENCE, "{fields} fields of {key} keys");
        key += 1;
        is_known(&node.relay, steady(key, 1)).await;
        fields = server.run::<u64>("HLEN roomcast:{ns}:o:ann");
    }
}
