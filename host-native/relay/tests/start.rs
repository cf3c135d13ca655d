//! Servers that the relay rejects, with its messages.

use roomcast_relay::{Lineage, RedisRelay, Settings, StartError};

use crate::{
    node::{Node, room, settings},
    server::Server,
};

async fn error(url: &str, set: impl FnOnce(&mut Settings)) -> StartError {
    let started = RedisRelay::start(settings(url, set)).await;
    started.expect_err("it is refused")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_evicts_is_refused() {
    let server = Server::start(&["--maxmemory-policy", "allkeys-lru"]);
    let error = error(&server.url(), |_| {}).await;
    assert!(matches!(error, StartError::Eviction(_)), "{error}");
    assert!(
        error.to_string().contains("maxmemory-policy noeviction"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_and_a_cluster_are_refused() {
    let (primary, replica) = (Server::start(&[]), Server::start(&[]));
    replica.follow(&primary);
    let found = error(&replica.url(), |_| {}).await;
    assert!(matches!(found, StartError::Replica), "{found}");
    let cluster = Server::start(&["--cluster-enabled", "yes"]);
    let found = error(&cluster.url(), |_| {}).await;
    assert!(matches!(found, StartError::Cluster), "{found}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_hides_itself_is_refused_unless_it_was_checked_by_hand() {
    let server = Server::start(&[]);
    server.run::<()>("ACL SETUSER ann on >s3cret ~* &* +@all -info -config");
    let url = format!("redis://ann:s3cret@127.0.0.1:{}", server.port);
    let found = error(&url, |_| {}).await;
    assert!(matches!(found, StartError::Hidden), "{found}");
    assert!(found.to_string().contains("+info"), "{found}");
    let found = error(&url, |settings| settings.is_checked_by_hand = true).await;
    assert!(
        matches!(found, StartError::Hidden),
        "the lineage cannot be read: {found}"
    );
    let node = Node::start_with(&url, |settings| {
        settings.is_checked_by_hand = true;
        settings.lineage = Lineage::Data;
    })
    .await;
    node.publish(&room("r"), "hi").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_the_command_is_refused_in_the_same_way() {
    let server = Server::start(&["--rename-command", "INFO", ""]);
    let found = error(&server.url(), |_| {}).await;
    assert!(matches!(found, StartError::Hidden), "{found}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_lineage_of_data_needs_a_disk_and_no_replica() {
    let data = |settings: &mut Settings| settings.lineage = Lineage::Data;
    let lazy = Server::start(&["--appendonly", "yes"]);
    for (server, text) in [
        (&Server::start(&[]), "appendonly is off"),
        (&lazy, "appendfsync is not always"),
    ] {
        let found = error(&server.url(), data).await.to_string();
        assert!(found.contains(text), "{found}");
    }
    lazy.run::<()>("CONFIG SET appendfsync always");
    Node::start_with(&lazy.url(), data).await;
    let replica = Server::start(&[]);
    replica.follow(&lazy);
    let found = error(&lazy.url(), data).await.to_string();
    assert!(found.contains("it has a replica"), "{found}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_is_in_no_error() {
    let server = Server::start(&["--requirepass", "right"]);
    let url = format!("redis://:s3cret@127.0.0.1:{}", server.port);
    let found = error(&url, |_| {}).await;
    let shown = format!("{found} {found:?}");
    assert!(matches!(found, StartError::Unreachable { .. }), "{shown}");
    assert!(!shown.contains("s3cret"), "{shown}");
    let url = format!("redis://:right@127.0.0.1:{}", server.port);
    let node = Node::start_with(&url, |_| {}).await;
    assert!(!format!("{:?}", node.relay).contains("right"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_not_there_is_told_with_its_address() {
    let mut server = Server::start(&[]);
    let url = server.url();
    server.kill();
    let found = error(&url, |_| {}).await.to_string();
    assert!(found.contains(&url), "{found}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_that_contradict_each_other_are_refused() {
    let server = Server::start(&[]);
    let found = error(&server.url(), |settings| {
        settings.timing.lease = settings.timing.heartbeat;
    })
    .await;
    assert!(matches!(found, StartError::Settings(_)), "{found}");
    let found = error(&server.url(), |settings| {
        settings.asks_lineage = true;
        settings.lineage = Lineage::Data;
    })
    .await;
    assert!(matches!(found, StartError::Settings(_)), "{found}");
}
