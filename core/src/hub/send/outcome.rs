//! Outcomes of messages that were published through the relay.

use alloc::{boxed::Box, vec::Vec};

use super::{answer_publish, delivery::content};
use crate::hub::{
    Delivery, Hub,
    error::{RequestError, SendError},
};
use crate::relay::{
    Ack, Answered, Body, Pending, Publish, Published, RelayCommand, Replier, Topic, TopicPosition,
    Track,
};
use crate::{outbox::Outbox, time::Timestamp};

impl Hub {
    /// Applies the relay's answer to a publish.
    pub(crate) fn take_published(
        &mut self,
        now: Timestamp,
        token: u64,
        outcome: &Published,
        out: &mut Outbox,
    ) {
        let Some(relay) = self.relay.as_mut() else {
            return;
        };
        match outcome {
            Published::TimedOut => {
                relay.stats.in_doubt += 1;
                if let Some(pending) = relay.publishes.doubt(token) {
                    match pending.placed().cloned() {
                        Some(position) => self.accepted(now, pending, (position, false), out),
                        None => self.failed(now, pending, outcome, out),
                    }
                }
            }
            Published::Accepted { position, repeated } => {
                if let Some(pending) = relay.publishes.take(token) {
                    self.accepted(now, pending, (position.clone(), *repeated), out);
                }
            }
            Published::KeyReused | Published::Rejected => {
                if let Some(pending) = relay.publishes.take(token) {
                    self.failed(now, pending, outcome, out);
                }
            }
        }
        if let Some(relay) = self.relay.as_mut() {
            for publish in relay.publishes.resume() {
                out.relay(RelayCommand::Publish(publish));
            }
        }
    }

    /// Handles a publish that has its position. If it is `repeated`, the relay knew its key from an
    /// earlier one: it gets the first answer, as far as this node knows it. Backends are told,
    /// unless this node knows that it has told them. Another node may have told them too.
    pub(crate) fn accepted(
        &mut self,
        now: Timestamp,
        mut pending: Pending,
        (position, repeated): (TopicPosition, bool),
        out: &mut Outbox,
    ) {
        let is_back = pending.seen.is_some();
        let known = match repeated && !is_back {
            true => self.known(now, &pending.publish),
            false => None,
        };
        match known {
            Some(known) => pending.reached = known.queued,
            None => self.tell_relayed(&pending, &position, out),
        }
        self.remember_key(now, &pending);
        self.await_topic(now, pending, position, out);
    }

    /// Answers a publish when this node has delivered its topic up to there, if it follows it: an
    /// answered member has received everything before its message.
    fn await_topic(
        &mut self,
        now: Timestamp,
        pending: Pending,
        position: TopicPosition,
        out: &mut Outbox,
    ) {
        let publish = pending.publish;
        let key = key_of(&publish);
        let topic = publish.topic;
        let ack = Ack {
            token: publish.token,
            replier: pending.replier,
            key,
            position,
            reached: pending.reached,
            until: now + Track::ACK_WAIT,
        };
        let at = self.relay.as_ref().and_then(|relay| {
            let at = relay.track(&topic)?.position()?;
            Some((at.epoch == ack.position.epoch, at.offset))
        });
        let Some((relay, (is_same, at))) = self.relay.as_mut().zip(at) else {
            return self.acknowledge(&topic, ack, true, out);
        };
        if is_same && ack.position.offset <= at {
            return self.acknowledge(&topic, ack, true, out);
        }
        let is_behind = !is_same;
        let mut asks = false;
        if let Some(track) = relay.track_mut(&topic) {
            asks = is_behind && track.is_live();
            track.push_ack(ack);
        }
        relay.arm(&topic);
        if asks {
            self.fill(&topic, out);
        }
    }

    /// Answers a publish that has its position. Without the offset in the answer, the client keeps
    /// waiting for the messages before it.
    pub(crate) fn acknowledge(&mut self, topic: &Topic, ack: Ack, placed: bool, out: &mut Outbox) {
        let kept = topic.as_room().is_some_and(|room| self.keeps(room));
        let offset = (kept && placed).then_some(ack.position.offset);
        let delivery = Delivery {
            offset,
            ..Delivery::queued(ack.reached)
        };
        if let Some(key) = ack.key {
            self.keys.set_delivery(&key, delivery);
        }
        match ack.replier {
            Replier::Nobody => {}
            Replier::Backend => {
                if let Some(relay) = self.relay.as_mut() {
                    relay.answered.push((ack.token, Ok(delivery_of(delivery))));
                }
            }
            Replier::Client(conn, address) => {
                let to = address.borrow();
                if to.id.is_some() && self.conns.get(conn).is_some() {
                    answer_publish(conn, to, delivery, out);
                }
            }
        }
    }

    /// Answers a publish that failed, or whose outcome is unknown.
    pub(crate) fn failed(
        &mut self,
        now: Timestamp,
        pending: Pending,
        outcome: &Published,
        out: &mut Outbox,
    ) {
        if let Some(position) = &pending.seen {
            // Members have received it, although the relay may lose it.
            self.tell_relayed(&pending, position, out);
            self.remember_key(now, &pending);
        }
        let Some(relay) = self.relay.as_mut() else {
            return;
        };
        relay.stats.failed += 1;
        let reused = *outcome == Published::KeyReused;
        match pending.replier {
            Replier::Nobody => {}
            Replier::Backend => {
                let token = pending.publish.token;
                relay.answered.push((token, Err(reused)));
            }
            Replier::Client(conn, address) => {
                let error = match reused {
                    true => RequestError::KeyReused,
                    false => RequestError::Relay,
                };
                if self.conns.get(conn).is_some() {
                    out.error(conn, address.borrow(), &error);
                }
            }
        }
    }

    /// Takes the outcomes of backends' messages.
    pub(crate) fn take_send_outcomes(&mut self) -> Vec<(u64, Result<Delivery, SendError>)> {
        let Some(relay) = self.relay.as_mut() else {
            return Vec::new();
        };
        let answered = core::mem::take(&mut relay.answered).into_iter();
        let outcome = |(token, outcome): (u64, Answered)| {
            let outcome = match outcome {
                Ok((reached, offset)) => Ok(Delivery {
                    offset,
                    ..Delivery::queued(reached)
                }),
                Err(true) => Err(SendError::KeyReused),
                Err(false) => Err(SendError::Unavailable),
            };
            (token, outcome)
        };
        answered.map(outcome).collect()
    }

    /// The answer that this node knows of a key.
    fn known(&self, now: Timestamp, publish: &Publish) -> Option<Delivery> {
        let owner = publish.owner.iter();
        let mut names = owner.flat_map(|owner| owner.names(&publish.key));
        names.find_map(|name| {
            let known = self.keys.find(now, &name)?;
            (known.fingerprint == publish.fingerprint).then_some(known.delivery)
        })
    }

    /// Remembers the key of a message, of which backends have been told.
    fn remember_key(&mut self, now: Timestamp, pending: &Pending) {
        let publish = &pending.publish;
        if let Some(key) = key_of(publish) {
            let limits = &self.config.limits;
            let expires = now + Track::ACK_WAIT + limits.idempotency;
            let delivery = Delivery::queued(pending.reached);
            let keys_max = limits.idempotency_keys;
            self.keys
                .insert(keys_max, expires, &key, publish.fingerprint, delivery);
        }
    }

    /// Tells backends of a message. Only the publishing node does, as only it gets the answer.
    fn tell_relayed(&self, pending: &Pending, position: &TopicPosition, out: &mut Outbox) {
        let publish = &pending.publish;
        if self.tells()
            && let Some(room) = publish.topic.as_room()
            && let Some(body) = Body::decode(&publish.body)
            && let Some(content) = content(&body)
        {
            let offset = self.keeps(room).then_some(position.offset);
            let from = body.conn.map(|conn| (conn, body.user));
            self.tell_message(room, from, offset, content, out);
        }
    }
}

/// The key of a publish with its present owner, if it has one.
fn key_of(publish: &Publish) -> Option<Box<str>> {
    publish.owner.as_ref()?.names(&publish.key).next()
}

const fn delivery_of(delivery: Delivery) -> (usize, Option<u64>) {
    (delivery.queued, delivery.offset)
}
