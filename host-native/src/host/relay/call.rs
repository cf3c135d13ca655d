//! Commands of a hub as calls of the relay, and the answers as events.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::join_all;
use roomcast_core::relay::{
    Publish, Published, Read, RelayEvent, StreamMessage, Topic, TopicPage, TopicPosition, Wanted,
};
use roomcast_relay::{
    self as relay, Address, Kept, Once, Page, Relay, RelayError, Retention, Start,
};

/// The address of a topic of a namespace.
pub(super) fn address(namespace: &Arc<str>, topic: &Topic) -> Address {
    match topic {
        Topic::All => Address::all(namespace.clone()),
        Topic::Room(room) => Address::room(namespace.clone(), &**room),
    }
}

/// Publishes a message. A failure that is no refusal leaves it in doubt: the hub repeats it under
/// its key, or gives up when the relay is lost.
pub(super) async fn publish(
    relay: &impl Relay,
    namespace: &Arc<str>,
    publish: Publish,
) -> RelayEvent {
    let token = publish.token;
    let retention = publish.keep.map(|keep| Retention {
        messages: u32::try_from(keep.messages).unwrap_or(u32::MAX),
        // 0 is no limit there, and no room for any message here.
        bytes: u64::try_from(keep.bytes.max(1)).unwrap_or(u64::MAX),
        age_ms: u64::try_from(keep.age.as_millis()).unwrap_or(u64::MAX),
    });
    let call = relay::Publish {
        address: address(namespace, &publish.topic),
        body: Bytes::from(publish.body),
        retention: retention.unwrap_or_default(),
        once: Some(Once {
            key: publish.key,
            earlier: publish.earlier,
            print: publish.print,
            expiry_ms: publish.key_ms,
        }),
    };
    let outcome = match relay.publish(&call).await {
        Ok(published) => Published::Accepted {
            position: TopicPosition::new(&*published.epoch, published.offset),
            repeated: published.is_repeated,
        },
        Err(RelayError::KeyReused) => Published::KeyReused,
        Err(RelayError::InDoubt | RelayError::Unavailable(_)) => Published::TimedOut,
        Err(fault) => {
            tracing::debug!(%fault, %call.address, "the relay refused a message");
            Published::Rejected
        }
    };
    RelayEvent::Published { token, outcome }
}

/// Subscribes to topics, and then reads the page of each.
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
    // One that failed is asked for again.
    let pages = join_all(pages).await.into_iter().flatten().collect();
    RelayEvent::Subscribed { token, pages }
}

/// Reads messages that a topic has kept.
pub(super) async fn read(relay: &impl Relay, namespace: &Arc<str>, read: Read) -> RelayEvent {
    let Read {
        token,
        topic,
        after,
        before,
        limit,
        age_ms,
    } = read;
    let mut call = relay::Read::position(address(namespace, &topic));
    call.messages_max = u32::try_from(limit).unwrap_or(u32::MAX);
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
