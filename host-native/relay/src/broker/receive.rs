//! The path of pushed messages from the connection into the ring.

use std::sync::Arc;

use bytes::Bytes;
use redis::{PushInfo, PushKind, Value};

use super::{session::Signals, topics::Topic, topics::Topics};
use crate::{
    counters::Counters,
    event::{Event, Loss},
    position::Channel,
    presence::Change,
    ring::Ring,
    wire::{Envelope, Kind},
};

/// The receiver of one session. It runs in the task of the connection, and never blocks.
#[derive(Debug)]
pub(crate) struct Receiver {
    pub(crate) topics: Arc<Topics>,
    pub(crate) ring: Arc<Ring>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) signals: Arc<Signals>,
    pub(crate) envelope_bytes_max: usize,
}

impl Receiver {
    pub(crate) fn receive(&self, push: PushInfo) {
        if push.kind == PushKind::Disconnection {
            self.signals.fail(Loss::Disconnected);
        } else if push.kind == PushKind::SMessage {
            self.receive_message(push.data);
        } else if push.kind == PushKind::SUnsubscribe && self.is_wanted(&push.data) {
            // A slot of Redis Cluster moved to another server.
            self.signals.fail(Loss::ReadOnly);
        }
    }

    /// True when this node still wants the topic.
    fn is_wanted(&self, data: &[Value]) -> bool {
        match data.first() {
            Some(Value::BulkString(topic)) => self.topics.find(topic).is_some(),
            _ => false,
        }
    }

    fn receive_message(&self, data: Vec<Value>) {
        // Nothing may follow a loss: the host would take the message for the next one.
        if self.signals.loss().is_some() {
            return;
        }
        let now = self.signals.note_heard();
        let mut data = data.into_iter();
        let (Some(Value::BulkString(topic)), Some(Value::BulkString(body))) =
            (data.next(), data.next())
        else {
            self.counters.count_foreign();
            return;
        };
        let Some(topic) = self.topics.find(&topic) else {
            // The subscription has ended on this node.
            return;
        };
        let envelope = Envelope::decode(Bytes::from(body), self.envelope_bytes_max);
        let Some(event) = envelope
            .ok()
            .and_then(|envelope| self.event(topic, envelope))
        else {
            self.counters.count_foreign();
            return;
        };
        let Some(event) = event else {
            self.signals.probed.notify_one();
            return;
        };
        self.counters.count_received();
        if self.ring.push(now, event).is_err() {
            self.signals.fail(Loss::Overflow);
        }
    }

    /// Makes the event of an envelope; `None` for an envelope that does not belong to its topic,
    /// and `Some(None)` for a probe.
    fn event(&self, topic: Topic, envelope: Envelope) -> Option<Option<Event>> {
        let Envelope {
            kind,
            epoch,
            number,
            user,
            body,
        } = envelope;
        let event = match (topic, kind) {
            (Topic::Messages(address), Kind::Message | Kind::Audience) => {
                let is_audience = address.channel == Channel::All;
                if is_audience != (kind == Kind::Audience) {
                    return None;
                }
                Event::Message {
                    address,
                    epoch,
                    offset: number,
                    body,
                }
            }
            (Topic::Messages(address), Kind::Joined | Kind::Left) => Event::Presence {
                address,
                epoch,
                notice: number,
                change: if kind == Kind::Joined {
                    Change::Joined
                } else {
                    Change::Left
                },
                user,
                meta: body,
            },
            (Topic::Bus, Kind::Bus) => Event::Bus {
                namespace: user.into(),
                from: epoch.into(),
                body,
            },
            (Topic::Probe, Kind::Probe) => return Some(None),
            _ => return None,
        };
        Some(Some(event))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::position::Address;

    fn push(topic: &str, kind: Kind) -> PushInfo {
        let envelope = Envelope {
            kind,
            epoch: "e".into(),
            number: 3,
            user: Box::default(),
            body: Bytes::from_static(b"hi"),
        };
        let data = [topic.as_bytes().to_vec(), envelope.encode().unwrap()];
        PushInfo {
            kind: PushKind::SMessage,
            data: data.map(Value::BulkString).into(),
        }
    }

    #[test]
    fn foreign_bytes_are_counted_and_unwanted_ones_dropped() {
        let (ring, mut events) = Ring::new(2, 10_000);
        let receiver = Receiver {
            topics: Arc::default(),
            ring,
            counters: Arc::default(),
            signals: Arc::new(Signals::new()),
            envelope_bytes_max: 100,
        };
        let topic = Topic::Messages(Address::room("n", "r"));
        receiver.topics.add(vec![("t".into(), topic)]);
        receiver.receive(push("t", Kind::Audience));
        receiver.receive(push("t", Kind::Bus));
        receiver.receive(PushInfo {
            kind: PushKind::SMessage,
            data: vec![
                Value::BulkString(b"t".to_vec()),
                Value::BulkString(b"{}".to_vec()),
            ],
        });
        receiver.receive(PushInfo {
            kind: PushKind::SMessage,
            data: vec![Value::Nil],
        });
        receiver.receive(push("other", Kind::Message));
        let counted = receiver.counters.snapshot();
        assert_eq!((counted.foreign, counted.received), (4, 0));
        assert_eq!(events.try_next(), None);

        for _ in 0..3 {
            receiver.receive(push("t", Kind::Message));
        }
        assert_eq!(receiver.signals.loss(), Some(Loss::Overflow));
        assert!(events.try_next().is_some());
        receiver.receive(push("t", Kind::Message));
        assert!(
            events.try_next().is_some(),
            "what came before the loss is taken"
        );
        assert_eq!(events.try_next(), None, "nothing comes behind a loss");
    }
}
