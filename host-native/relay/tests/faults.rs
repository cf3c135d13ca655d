//! Lost subscriptions, full buffers and full memory.

use roomcast_relay::{Event, Lineage, Loss, Read, Relay, RelayError, Withdrawn};

use crate::{
    node::{Node, message, room, text},
    server::Server,
};

/// Reads the messages after the last one that a node has, as its host does when the relay is back.
async fn missed(node: &Node, epoch: &str, offset: u64) -> Vec<(u64, String)> {
    let read = Read::after(room("r"), epoch, offset);
    let page = node.relay.read(&read).await.unwrap();
    assert!(page.is_whole);
    let messages = page.messages.iter();
    messages
        .map(|kept| (kept.offset, text(&kept.body)))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_subscription_is_told_and_what_it_missed_is_read() {
    let server = Server::start(&[]);
    let room = room("r");
    let mut node = Node::start(&server).await;
    node.relay
        .subscribe(std::slice::from_ref(&room))
        .await
        .unwrap();
    let first = node.publish(&room, "one").await;
    assert_eq!(node.messages(&room, 1).await, [(1, "one".to_owned())]);

    // The other node starts later, so that its subscription is not killed.
    assert_eq!(server.run::<u64>("CLIENT KILL TYPE pubsub"), 1);
    let other = Node::start(&server).await;
    other.publish(&room, "two").await;
    assert_eq!(node.until_lost().await, Loss::Disconnected);
    node.until_ready().await;
    let epoch = first.epoch;
    assert_eq!(missed(&node, &epoch, 1).await, [(2, "two".to_owned())]);
    other.publish(&room, "three").await;
    let mut messages = node.messages(&room, 1).await;
    if messages[0].0 == 2 {
        // The subscription was back before the second message.
        messages = node.messages(&room, 1).await;
    }
    assert_eq!(
        messages,
        [(3, "three".to_owned())],
        "it is subscribed again"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_with_a_tiny_output_buffer_costs_a_reconnect_and_no_message() {
    let server = Server::start(&[]);
    let room = room("r");
    let mut node = Node::start(&server).await;
    node.relay
        .subscribe(std::slice::from_ref(&room))
        .await
        .unwrap();
    let other = Node::start(&server).await;
    let mut limit = redis::cmd("CONFIG");
    limit.arg("SET").arg("client-output-buffer-limit");
    limit.arg("pubsub 65536 0 0");
    let client = redis::Client::open(server.url()).unwrap();
    limit
        .query::<()>(&mut client.get_connection().unwrap())
        .unwrap();
    let body = "x".repeat(1 << 20);
    let published = other.publish(&room, &body).await;
    assert_eq!(node.until_lost().await, Loss::Disconnected);
    node.until_ready().await;
    assert_eq!(missed(&node, &published.epoch, 0).await, [(1, body)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_ring_is_a_lost_relay() {
    let server = Server::start(&[]);
    let room = room("r");
    let mut slow = Node::start_with(&server.url(), |settings| {
        settings.limits.ring_events_max = 10;
    })
    .await;
    slow.relay
        .subscribe(std::slice::from_ref(&room))
        .await
        .unwrap();
    let other = Node::start(&server).await;
    let mut state = slow.relay.state();
    // Together: a message that came when the relay is back would find the ring still full, and lose
    // it again.
    let publishes = (1..=50).map(|count| message(&room, &format!("m{count}")));
    let publishes: Vec<_> = publishes.collect();
    let mut epoch = "".into();
    for published in other.relay.publish_all(&publishes).await {
        epoch = published.unwrap().epoch;
    }
    let is_lost = |counted: roomcast_relay::Snapshot| counted.losses > 0;
    while !is_lost(slow.relay.counters().snapshot()) {
        state.changed().await.unwrap();
    }
    // Every message before the loss arrives; none after it does.
    let mut last = 0;
    loop {
        match slow.events.next().await.unwrap() {
            Event::Message { offset, .. } => {
                assert_eq!(offset, last + 1);
                last = offset;
            }
            Event::Lost(loss) => {
                assert_eq!(loss, Loss::Overflow);
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(last >= 10, "{last}");
    slow.until_ready().await;
    let missed = missed(&slow, &epoch, last).await;
    assert_eq!(missed.len() as u64, 50 - last);
    assert_eq!(missed.last().unwrap().1, "m50");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_memory_refuses_publishes_and_keeps_the_lease() {
    full_memory(&[], Lineage::Replication).await;
    let disk = ["--appendonly", "yes", "--appendfsync", "always"];
    full_memory(&disk, Lineage::Data).await;
}

async fn full_memory(arguments: &[&str], lineage: Lineage) {
    let server = Server::start(arguments);
    let room = room("r");
    let mut node = Node::start_with(&server.url(), |settings| settings.lineage = lineage).await;
    let first = node.publish(&room, "one").await;
    server.run::<()>("CONFIG SET maxmemory 1");
    let refused = node.relay.publish(&message(&room, "two")).await;
    let Err(RelayError::Refusal(text)) = refused else {
        panic!("{refused:?}");
    };
    assert!(text.contains("OOM"), "{text}");
    // Reads, users and heartbeats go on.
    assert_eq!(node.position(&room).await.offset, 1);
    let ann = Withdrawn {
        users: vec![("ann".into(), 7)],
        everyone_s: 0,
    };
    node.relay.withdraw("ns", &ann, 9).await.unwrap();
    assert_eq!(node.relay.withdrawn("ns").await, Ok(ann));
    let beats = || {
        server
            .info("total_commands_processed")
            .parse::<u64>()
            .unwrap()
    };
    let before = beats();
    while beats() < before + 100 {
        assert!(
            node.events.try_next().is_none(),
            "the relay is ready all the time"
        );
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    server.run::<u64>("CLIENT KILL TYPE pubsub");
    node.until_lost().await;
    node.until_ready().await;
    server.run::<()>("CONFIG SET maxmemory 0");
    let second = node.publish(&room, "two").await;
    assert_eq!(
        (second.epoch, second.offset),
        (first.epoch, 2),
        "nothing was done"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn foreign_bytes_on_a_topic_are_counted_and_dropped() {
    let server = Server::start(&[]);
    let room = room("r");
    let mut node = Node::start(&server).await;
    node.relay
        .subscribe(std::slice::from_ref(&room))
        .await
        .unwrap();
    assert_eq!(
        server.run::<u64>("SPUBLISH roomcast:{ns}:ws:room:r rubbish"),
        1
    );
    node.publish(&room, "hi").await;
    assert_eq!(node.messages(&room, 1).await, [(1, "hi".to_owned())]);
    let counted = node.relay.counters().snapshot();
    assert_eq!(
        (counted.foreign, counted.received, counted.losses),
        (1, 1, 0)
    );
}
