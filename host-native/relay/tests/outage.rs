//! Servers that stop, die and forget.

use std::time::{Duration, Instant};

use roomcast_relay::{Lineage, Loss, Read, Relay, RelayError, State};

use crate::{
    node::{Node, message, once, room},
    proxy::Proxy,
    server::{PATIENCE, Server},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stands_still_fails_publishes_in_time_and_comes_back() {
    let server = Server::start(&[]);
    let room = room("r");
    let mut node = Node::start(&server).await;
    node.relay
        .subscribe(std::slice::from_ref(&room))
        .await
        .unwrap();
    server.stop();
    let began = Instant::now();
    let mut publish = message(&room, "hi");
    publish.once = Some(once("k", 1));
    assert_eq!(node.relay.publish(&publish).await, Err(RelayError::InDoubt));
    let took = began.elapsed();
    assert!(took < Duration::from_millis(2_500), "{took:?}");
    assert_eq!(node.until_lost().await, Loss::Silent);
    assert_eq!(*node.relay.state().borrow(), State::Lost);
    let began = Instant::now();
    let refused = node.relay.publish(&publish).await;
    assert!(
        matches!(refused, Err(RelayError::Unavailable(_))),
        "{refused:?}"
    );
    assert!(began.elapsed() < Duration::from_millis(500), "at once");
    server.go_on();
    node.until_ready().await;

    // The publish was in doubt. Its key tells, and it is published once.
    assert_eq!(node.publish_surely(&room, "next").await.offset, 1 + 1);
    let retried = node.relay.publish(&publish).await.unwrap();
    assert_eq!((retried.offset, retried.is_repeated), (1, true));
    let page = Read::after(room, retried.epoch, 0);
    let page = node.relay.read(&page).await.unwrap();
    assert_eq!((page.messages.len(), page.is_whole), (2, true));
    let counted = node.relay.counters().snapshot();
    assert!(
        counted.in_doubt >= 1 && counted.losses == 1 && counted.connects == 2,
        "{counted:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_in_line_fail_in_time_too() {
    let server = Server::start(&[]);
    let node = Node::start_with(&server.url(), |settings| settings.limits.calls_max = 2).await;
    server.stop();
    let began = Instant::now();
    let call = async |number: u32| {
        let publish = message(&room("r"), &number.to_string());
        node.relay.publish(&publish).await
    };
    let (a, b, c, d) = tokio::join!(call(1), call(2), call(3), call(4));
    assert!(began.elapsed() < Duration::from_millis(3_000));
    let errors = [a, b, c, d].map(|answer| answer.unwrap_err());
    let in_doubt = errors.iter().filter(|error| **error == RelayError::InDoubt);
    assert_eq!(
        in_doubt.count(),
        2,
        "the others were never sent: {errors:?}"
    );
    server.go_on();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_dies_without_a_disk_begins_new_epochs() {
    let mut server = Server::start(&[]);
    let room = room("r");
    let mut node = Node::start(&server).await;
    let before = node.publish(&room, "lost").await;
    server.kill();
    assert_eq!(node.until_lost().await, Loss::Disconnected);
    server.start_again();
    node.until_ready().await;
    let after = node.publish_surely(&room, "new").await;
    assert_ne!(after.epoch, before.epoch);
    assert_eq!(after.offset, 1);
    let read = Read::after(room, before.epoch, before.offset);
    assert!(
        !node.relay.read(&read).await.unwrap().is_whole,
        "it is told"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_syncs_each_write_loses_nothing_and_keeps_epochs() {
    let disk = ["--appendonly", "yes", "--appendfsync", "always"];
    let mut server = Server::start(&disk);
    let room = room("r");
    let mut node = Node::start_with(&server.url(), |settings| {
        settings.lineage = Lineage::Data;
    })
    .await;
    let mut acknowledged = Vec::new();
    for round in 0..3 {
        for count in 0..20 {
            let body = format!("{round}.{count}");
            acknowledged.push((node.publish_surely(&room, &body).await, body));
        }
        server.kill();
        node.until_lost().await;
        server.start_again();
        node.until_ready().await;
    }
    let epoch = acknowledged[0].0.epoch.clone();
    let page = Read::after(room, epoch.clone(), 0);
    let page = node.relay.read(&page).await.unwrap();
    assert!(page.is_whole);
    assert_eq!(page.messages.len(), acknowledged.len());
    for (published, body) in acknowledged {
        assert_eq!(published.epoch, epoch);
        let at = usize::try_from(published.offset - 1).unwrap();
        assert_eq!(page.messages[at].body, body);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flushed_data_is_a_gap_and_not_a_silence() {
    let server = Server::start(&[]);
    let room = room("r");
    let mut node = Node::start(&server).await;
    let before = node.publish(&room, "lost").await;
    server.run::<()>("FLUSHALL");
    // The lease is gone as well: a heartbeat notices, and the node enters its users again.
    node.until("registration", |event| {
        matches!(event, roomcast_relay::Event::Registered { .. }).then_some(())
    })
    .await;
    let read = Read::after(room.clone(), before.epoch.clone(), before.offset);
    let page = node.relay.read(&read).await.unwrap();
    assert!(!page.is_whole && page.position.epoch != before.epoch);
    let after = node.publish(&room, "new").await;
    assert_eq!((after.epoch, after.offset), (page.position.epoch, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_is_half_open_is_noticed() {
    let server = Server::start(&[]);
    let proxy = Proxy::start(server.port).await;
    let mut node = Node::start_with(&proxy.url(), |_| {}).await;
    proxy.set_mute(true);
    assert_eq!(node.until_lost().await, Loss::Silent);
    proxy.set_mute(false);
    node.until_ready().await;
    node.publish_surely(&room("r"), "hi").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn probes_keep_an_idle_relay_ready() {
    let server = Server::start(&[]);
    let node = Node::start_with(&server.url(), |settings| {
        settings.timing.probe = Duration::from_millis(20);
    })
    .await;
    let probes = || -> u64 {
        let stats: String = server.run("INFO commandstats");
        let line = stats
            .lines()
            .find(|line| line.starts_with("cmdstat_spublish:"));
        let calls = line.and_then(|line| line.split(['=', ',']).nth(1));
        calls.map_or(0, |calls| calls.parse().unwrap())
    };
    let began = Instant::now();
    while probes() < 20 {
        assert!(began.elapsed() < PATIENCE, "no probes");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let counted = node.relay.counters().snapshot();
    assert_eq!(
        (counted.losses, counted.connects, counted.foreign),
        (0, 1, 0)
    );
}
