//! Relays that a server cannot use: it says so, and what to change.

use std::io::Read;

use super::{
    cluster::Redis,
    node::{Node, serve},
};

/// The words of a server that does not start.
fn refused(relay: &str, flags: &[&str]) -> String {
    let mut process = serve(relay, flags);
    let mut said = String::new();
    let mut stderr = process.stderr.take().expect("a pipe");
    stderr.read_to_string(&mut said).expect("text");
    assert!(!process.wait().expect("it ends").success(), "{said}");
    said
}

#[test]
fn a_relay_that_cannot_be_used_is_named_with_the_cure() {
    let redis = Redis::start(&["--maxmemory-policy", "allkeys-lru"]);
    let said = refused(&redis.url(), &[]);
    assert!(
        said.contains("--relay") && said.contains("noeviction"),
        "{said}"
    );
    // A free port might be another test's by then.
    let said = refused("redis://ann:s3cret@127.0.0.1:1", &[]);
    assert!(
        said.contains("--relay") && said.contains("127.0.0.1"),
        "{said}"
    );
    assert!(!said.contains("s3cret"), "{said}");
    let said = refused("127.0.0.1:6379", &[]);
    assert!(said.contains("redis://host:6379"), "{said}");
    let folder = tempfile::tempdir().expect("a folder");
    let store = folder.path().to_str().expect("a path");
    let said = refused(&redis.url(), &["--store", store]);
    assert!(said.contains("leave --store out"), "{said}");
}

/// A server that loses nothing may keep its epochs, another one may not.
#[test]
fn the_lineage_of_data_is_for_a_relay_that_loses_nothing() {
    let lineage = ["--relay-lineage", "data"];
    let redis = Redis::start(&["--appendonly", "yes"]);
    let said = refused(&redis.url(), &lineage);
    for word in ["--relay-lineage data", "appendfsync", "replication"] {
        assert!(said.contains(word), "{word}: {said}");
    }
    let redis = Redis::start(&["--appendonly", "yes", "--appendfsync", "always"]);
    let flags = [&lineage[..], &["--relay-prefix", "chat:"]].concat();
    let node = Node::start_with(&redis.url(), "", &flags);
    assert!(node.is_ready());
    assert_eq!(redis.run(&["EXISTS", "chat:lineage"]), "1");
    assert_eq!(redis.run(&["EXISTS", "roomcast:leases"]), "0");
}
