//! The broker in memory, broken on command.

use roomcast_relay::{
    Address, Change, Event, Events, Loss, MemoryBroker, Publish, Read, Relay, RelayError, State,
    Trouble,
};

use crate::{
    node::{message, once, room},
    presence::{notice, present},
};

fn drain(events: &mut Events) -> Vec<Event> {
    std::iter::from_fn(|| events.try_next()).collect()
}

fn offsets(events: &mut Events) -> Vec<u64> {
    let offset = |event| match event {
        Event::Message { offset, .. } => Some(offset),
        _ => None,
    };
    drain(events).into_iter().filter_map(offset).collect()
}

fn keyed(room: &Address, body: &str) -> Publish {
    let mut publish = message(room, body);
    publish.once = Some(once(body, 1));
    publish
}

#[tokio::test]
async fn a_publish_in_doubt_was_carried_out_or_not_and_its_key_tells() {
    let broker = MemoryBroker::new();
    let (node, mut events) = broker.join();
    let room = room("r");
    node.subscribe(std::slice::from_ref(&room)).await.unwrap();
    for (trouble, is_repeated) in [(Trouble::AnswerLost, true), (Trouble::PublishLost, false)] {
        let publish = keyed(&room, &format!("{trouble:?}"));
        broker.trouble(&node.node(), trouble);
        assert_eq!(node.publish(&publish).await, Err(RelayError::InDoubt));
        let again = node.publish(&publish).await.unwrap();
        assert_eq!(again.is_repeated, is_repeated);
    }
    assert_eq!(offsets(&mut events), [1, 2], "each once");
    broker.trouble(&node.node(), Trouble::Refusal);
    let refused = node.publish(&keyed(&room, "no")).await;
    assert!(matches!(refused, Err(RelayError::Refusal(_))));
    let counted = node.counters().snapshot();
    let answered: u64 = counted.latencies.iter().sum();
    assert_eq!((answered, counted.in_doubt, counted.failed), (2, 2, 1));
}

#[tokio::test]
async fn a_deaf_node_misses_what_the_stream_still_has() {
    let broker = MemoryBroker::new();
    let ((node, mut events), (other, _)) = (broker.join(), broker.join());
    let room = room("r");
    node.subscribe(std::slice::from_ref(&room)).await.unwrap();
    let first = other.publish(&message(&room, "1")).await.unwrap();
    broker.trouble(&node.node(), Trouble::Deaf);
    other.publish(&message(&room, "2")).await.unwrap();
    broker.relieve(&node.node());
    broker.trouble(&node.node(), Trouble::Twice);
    other.publish(&message(&room, "3")).await.unwrap();
    assert_eq!(offsets(&mut events), [1, 3, 3]);
    let page = node.read(&Read::after(room, first.epoch, 1)).await.unwrap();
    assert_eq!((page.messages.len(), page.is_whole), (2, true));
}

#[tokio::test]
async fn an_outage_is_told_and_calls_fail() {
    let broker = MemoryBroker::new();
    let (node, mut events) = broker.join();
    let room = room("r");
    drain(&mut events);
    broker.lose(&node.node());
    broker.lose(&node.node());
    assert_eq!(*node.state().borrow(), State::Lost);
    let refused = node.publish(&message(&room, "no")).await;
    assert!(matches!(refused, Err(RelayError::Unavailable(_))));
    broker.restore(&node.node());
    let told = [Event::Lost(Loss::Disconnected), Event::Ready];
    assert_eq!(drain(&mut events), told);
    assert_eq!(
        node.publish(&message(&room, "yes")).await.unwrap().offset,
        1
    );
}

#[tokio::test]
async fn a_stale_replica_is_seen_by_the_lineage_alone() {
    for is_lineage_read in [true, false] {
        let broker = MemoryBroker::new();
        let (node, _events) = broker.join();
        let room = room("r");
        node.publish(&message(&room, "kept")).await.unwrap();
        let replica = broker.replica();
        let before = node.publish(&message(&room, "lost")).await.unwrap();
        broker.promote(replica, is_lineage_read);
        let after = node.publish(&message(&room, "new")).await.unwrap();
        assert_eq!(after.epoch == before.epoch, !is_lineage_read);
        assert_eq!(after.offset, before.offset);
        let read = Read::after(room, before.epoch, before.offset);
        let is_hidden = node.read(&read).await.unwrap().is_whole;
        assert_eq!(is_hidden, !is_lineage_read);
    }
}

#[tokio::test]
async fn a_lease_that_ends_takes_the_users_along() {
    let broker = MemoryBroker::new();
    let ((dead, mut of_dead), (node, mut events)) = (broker.join(), broker.join());
    let room = room("r");
    node.subscribe(std::slice::from_ref(&room)).await.unwrap();
    dead.set_present(&present(&room, "ann", 1)).await.unwrap();
    dead.set_present(&present(&room, "bob", 1)).await.unwrap();
    node.set_present(&present(&room, "bob", 1)).await.unwrap();
    drain(&mut events);
    drain(&mut of_dead);
    broker.lose(&dead.node());
    broker.expire(&dead.node());
    let told = drain(&mut events);
    assert_eq!(notice(&told[0]), Some((3, Change::Left, "ann".to_owned())));
    let reaped = Event::Reaped {
        address: room.clone(),
        users: vec!["ann".into()],
    };
    assert_eq!(told[1..], [reaped]);
    broker.restore(&dead.node());
    let back = drain(&mut of_dead);
    assert!(matches!(&back[1], Event::Registered { .. }), "{back:?}");
    assert_eq!(node.members(&room, 9).await.unwrap().total, 1);
    dead.retire().await.unwrap();
    assert_eq!(of_dead.next().await, None);
}

#[tokio::test]
async fn flushed_data_begins_new_epochs() {
    let broker = MemoryBroker::new();
    let (node, _events) = broker.join();
    let room = room("r");
    let before = node.publish(&message(&room, "lost")).await.unwrap();
    broker.flush();
    let after = node.publish(&message(&room, "new")).await.unwrap();
    assert_eq!(after.offset, 1);
    assert_ne!(after.epoch, before.epoch);
}
