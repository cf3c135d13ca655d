//! Translation of a hub's commands to calls of the relay, and of the answers to events.

use std::sync::Arc;

use futures_util::{
    future::ready,
    stream::{self, StreamExt},
};
use roomcast_core::relay::{
    Read, RelayEvent, StreamMessage, Topic, TopicPage, TopicPosition, Wanted,
};
use roomcast_relay::{self as relay, Address, Kept, Page, Relay, Start};

/// The number of rooms of a subscription that are read at once.
const PAGES_AT_ONCE: usize = 8;
/// The maximum number of message bytes read from each room: the hub requests more where it needs
/// more.
const PAGE_BYTES_MAX: u32 = 64 << 10;

/// The address of a topic of a namespace.
pub(super) fn address(namespace: &Arc<str>, topic: &Topic) -> Address {
    match topic {
        Topic::All => Address::all(namespace.clone()),
        Topic::Room(room) => Address::room(namespace.clone(), &**room),
    }
}

pub(super) async fn subscribe(
    relay: &impl Relay,
    namespace: &Arc<str>,
    token: u64,
    topics: Vec<Wanted>,
) -> RelayEvent {
    let addresses: Vec<_> = topics
        .iter()
        .map(|wanted| address(namespace, &wanted.topic))
        .collect();
    if relay.subscribe(&addresses).await.is_err() {
        return RelayEvent::Failed { token };
    }
    let pages = topics.into_iter().zip(addresses);
    let pages = pages.map(async |(wanted, address)| {
        let mut read = relay::Read::position(address);
        read.bytes_max = PAGE_BYTES_MAX;
        if let Some(after) = &wanted.after {
            read.start = Start::Above(after.offset);
        }
        let page = relay.read(&read).await.ok()?;
        let is_known = |after: &TopicPosition| *after.epoch == *page.position.epoch;
        let follows = wanted.after.as_ref().is_some_and(is_known);
        let mut page = topic_page(wanted.topic, page);
        if !follows {
            page.messages.clear();
        }
        Some(page)
    });
    let pages = stream::iter(pages).buffered(PAGES_AT_ONCE);
    // The hub requests failed ones again.
    let pages = pages.filter_map(ready).collect().await;
    RelayEvent::Subscribed { token, pages }
}

/// Reads messages from the history of a topic.
pub(super) async fn read(relay: &impl Relay, namespace: &Arc<str>, read: Read) -> RelayEvent {
    let Read {
        token,
        topic,
        after,
        before,
        limit,
        bytes,
        age_ms,
    } = read;
    let mut call = relay::Read::position(address(namespace, &topic));
    call.messages_max = u32::try_from(limit).unwrap_or(u32::MAX);
    call.bytes_max = u32::try_from(bytes).unwrap_or(u32::MAX);
    call.start = after.map_or(Start::Before(before), Start::Above);
    call.age_ms = age_ms;
    match relay.read(&call).await {
        Ok(page) => {
            let mut page = topic_page(topic, page);
            if after.is_none() {
                page.messages.reverse();
            }
            let is_before = |it: &StreamMessage| before.is_none_or(|before| it.offset < before);
            page.messages.retain(is_before);
            RelayEvent::Page { token, page }
        }
        Err(_) => RelayEvent::Failed { token },
    }
}

fn topic_page(topic: Topic, page: Page) -> TopicPage {
    let messages = page.messages.into_iter();
    let message = |Kept { offset, body, .. }| StreamMessage {
        offset,
        body: Vec::from(body).into(),
    };
    TopicPage {
        topic,
        position: TopicPosition::new(&*page.position.epoch, page.position.offset),
        first: page.first,
        messages: messages.map(message).collect(),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use roomcast_relay::{MemoryBroker, Retention};

    use super::*;

    const ROOMS: usize = 256;

    fn topic(room: usize) -> Topic {
        Topic::room(&format!("r{room}"))
    }

    #[tokio::test]
    async fn a_subscription_reads_a_part_of_each_room_in_order() {
        let broker = MemoryBroker::new();
        let (relay, _events) = broker.join();
        let namespace = Arc::from("ns");
        let body = Bytes::from(vec![b'x'; PAGE_BYTES_MAX as usize / 2]);
        let mut wanted = Vec::new();
        for room in 0..ROOMS {
            let address = address(&namespace, &topic(room));
            let mut publish = relay::Publish {
                address: address.clone(),
                body: body.clone(),
                retention: Retention::default(),
                once: None,
            };
            publish.retention.messages = 10;
            for _ in 0..4 {
                relay.publish(&publish).await.expect("it is there");
            }
            let read = relay::Read::position(address);
            let at = relay.read(&read).await.expect("it is there").position;
            let after = TopicPosition::new(&*at.epoch, 1);
            let (topic, after) = (topic(room), Some(after));
            wanted.push(Wanted { topic, after });
        }
        let subscribed = subscribe(&relay, &namespace, 7, wanted).await;
        let RelayEvent::Subscribed { token: 7, pages } = subscribed else {
            panic!("{subscribed:?}");
        };
        let of: Vec<_> = pages.iter().map(|page| page.topic.clone()).collect();
        assert_eq!(of, (0..ROOMS).map(topic).collect::<Vec<_>>());
        for page in pages {
            let offsets: Vec<_> = page.messages.iter().map(|it| it.offset).collect();
            assert_eq!((offsets, page.position.offset), (vec![2, 3], 4));
        }
    }
}
