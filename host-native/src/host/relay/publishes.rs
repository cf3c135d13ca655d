//! Batches of publishes.

use std::{mem, sync::Arc};

use bytes::Bytes;
use roomcast_core::relay::{Publish, Published, RelayEvent, TopicPosition};
use roomcast_relay::{self as relay, Once, Owner, Relay, RelayError, Retention};

use super::{call::address, queue::Answer};
use crate::clock::millis;

/// The maximum number of body bytes in a batch: the whole call has one response timeout.
const BYTES_MAX: usize = 1 << 20;
/// The maximum number of messages in a batch.
const MESSAGES_MAX: usize = 256;

/// A batch of publishes, of any namespaces, in their order.
#[derive(Debug, Default)]
pub(super) struct Publishes {
    calls: Vec<relay::Publish>,
    sources: Vec<Source>,
    bytes: usize,
}

/// The destination of an answer.
#[derive(Debug)]
struct Source {
    namespace: Arc<str>,
    instance: u64,
    token: u64,
}

impl Publishes {
    /// Adds a publish. If the batch is full, the previous publishes are returned, to be sent first.
    pub(super) fn add(
        &mut self,
        namespace: Arc<str>,
        instance: u64,
        publish: Publish,
        attempt_id: String,
    ) -> Option<Self> {
        let bytes = self.bytes + publish.body.len();
        let is_full = self.calls.len() >= MESSAGES_MAX || bytes > BYTES_MAX;
        let full = if is_full { self.take() } else { None };
        self.bytes += publish.body.len();
        let (call, token) = call_of(&namespace, publish, attempt_id);
        self.calls.push(call);
        self.sources.push(Source {
            namespace,
            instance,
            token,
        });
        full
    }

    /// Takes all publishes, if there are any.
    pub(super) fn take(&mut self) -> Option<Self> {
        let has_some = !self.calls.is_empty();
        has_some.then(|| mem::take(self))
    }

    /// Sends all publishes. After a failure other than a refusal a message is in doubt: its hub
    /// repeats it under its key, or gives up when the relay is lost.
    pub(super) async fn send(self, relay: &impl Relay) -> Vec<Answer> {
        let answers = relay.publish_all(&self.calls).await;
        let calls = self.sources.into_iter().zip(&self.calls);
        let answers = calls.zip(answers).map(|((source, call), answer)| Answer {
            namespace: source.namespace,
            instance: source.instance,
            event: RelayEvent::Published {
                token: source.token,
                outcome: outcome(call, answer),
            },
        });
        answers.collect()
    }
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn call_of(namespace: &Arc<str>, publish: Publish, attempt_id: String) -> (relay::Publish, u64) {
    let retention = publish.keep.map(|keep| Retention {
        messages: number(keep.messages),
        // Zero means no limit to the relay, but no space for any message to the hub.
        bytes: u64::try_from(keep.bytes.max(1)).unwrap_or(u64::MAX),
        age_ms: millis(keep.age),
    });
    let call = relay::Publish {
        address: address(namespace, &publish.topic),
        body: Bytes::from(publish.body),
        retention: retention.unwrap_or_default(),
        once: Some(Once {
            key: publish.key,
            owner: publish.owner.map(|owner| Owner {
                name: owner.name,
                earlier: owner.earlier,
                keys_max: number(owner.keys_max),
                all_max: owner.all_max.map(number),
            }),
            fingerprint: publish.fingerprint,
            expiry_ms: publish.key_ms,
            attempt_id: attempt_id.into(),
        }),
    };
    (call, publish.token)
}

fn outcome(call: &relay::Publish, answer: Result<relay::Published, RelayError>) -> Published {
    match answer {
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
    }
}

#[cfg(test)]
mod tests {
    use roomcast_core::relay::Topic;

    use super::*;

    fn publish(token: u64, bytes: usize) -> Publish {
        Publish {
            token,
            topic: Topic::room("r"),
            key: "k".into(),
            owner: None,
            fingerprint: 0,
            key_ms: 1,
            keep: None,
            body: vec![0; bytes].into(),
        }
    }

    #[test]
    fn those_that_leave_together_are_bounded_in_number_and_bytes() {
        let mut publishes = Publishes::default();
        assert!(publishes.take().is_none());
        let mut add = |token, bytes| {
            let full = publishes.add("n".into(), 1, publish(token, bytes), String::new());
            full.map(|full| full.calls.len())
        };
        assert_eq!(add(1, BYTES_MAX + 1), None, "a long one leaves alone");
        assert_eq!(add(2, 1), Some(1));
        assert_eq!(add(3, BYTES_MAX - 1), None);
        assert_eq!(add(4, 1), Some(2));
        for token in 5..4 + MESSAGES_MAX as u64 {
            assert_eq!(add(token, 1), None);
        }
        assert_eq!(add(300, 1), Some(MESSAGES_MAX));
        assert_eq!(publishes.take().map(|rest| rest.calls.len()), Some(1));
    }
}
