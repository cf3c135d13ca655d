//! Messages that are published through the relay, and their outcomes.

use alloc::{boxed::Box, format, string::String, vec::Vec};

use super::answer_publish;
use crate::hub::{
    Audience, Delivery, Hub,
    error::{KEY_BYTES_MAX, RequestError, SendError},
    idempotency::{client_keys::client_name, fingerprint, publish_fingerprint},
};
use crate::relay::{
    Ack, Answered, Body, BodyKind, KEEP_ALL, KEY_MS, KeyOwner, Pending, Publish, Published,
    RelayCommand, Replier, Topic, TopicPosition, Track,
};
use crate::time::{Timestamp, whole_millis};
use crate::wire::{EncodeError, Event, Frame, Message, Payload};
use crate::{outbox::Outbox, policy::HistoryPolicy};

/// The owner of all keys of backends.
const BACKENDS: &str = "b";

/// The names under which the relay knows a publish.
struct Keys {
    key: Box<str>,
    owner: Option<KeyOwner>,
    fingerprint: u64,
    key_ms: u64,
}

impl Hub {
    /// The part of [`publish`](Self::publish) for a clustered hub: the sender is answered when the
    /// relay has taken the message.
    #[cold]
    #[inline(never)]
    pub(super) fn publish_relayed(
        &mut self,
        message: &Message<'_>,
        room: &str,
        out: &mut Outbox,
    ) -> Delivery {
        let conn = message.conn;
        let policy = self.policy(room);
        if policy.is_some_and(|policy| !policy.publish) {
            out.error(conn, message.address(), &RequestError::PublishForbidden);
            return Delivery::default();
        }
        let echo = message
            .echo
            .or(policy.map(|policy| policy.echo))
            .unwrap_or_default();
        let keep = policy.and_then(|policy| policy.history);
        let user: Option<Box<str>> = self.conns.user_of(conn).map(Into::into);
        let user = user.as_deref();
        let keys = message.once.as_ref().map(|once| Keys {
            key: (*once.key).into(),
            owner: Some(KeyOwner {
                name: client_owner(&client_name(user, conn)),
                earlier: {
                    let conns = once.conns.0.iter().map(|&was| client_name(None, was));
                    conns.map(|client| client_owner(&client)).collect()
                },
                keys_max: self.config.limits.idempotency_keys_per_client,
                all_max: Some(self.config.limits.idempotency_keys),
            }),
            fingerprint: publish_fingerprint(room, &message.event, message.data),
            key_ms: whole_millis(self.config.limits.idempotency),
        });
        let body = Body {
            kind: BodyKind::Event,
            node: "",
            token: 0,
            conn: Some(conn),
            user,
            echo,
            audience: None,
            event: &message.event,
            path: None,
            payload: message.data.as_str().as_bytes(),
        };
        let replier = Replier::Client(conn, message.address().to_owned());
        let topic = Topic::room(room);
        if self
            .relay_out(topic, (keep, keys), body, replier, out)
            .is_none()
        {
            out.error(conn, message.address(), &RequestError::Relay);
        }
        Delivery::default()
    }

    /// The part of [`send`](Self::send) for a clustered hub. The number of reached connections is
    /// not reported.
    #[cold]
    #[inline(never)]
    pub(super) fn send_relayed(
        &mut self,
        audience: &Audience,
        content: (Event<'_>, Payload<'_>),
        out: &mut Outbox,
    ) -> Result<Delivery, EncodeError> {
        let sent = self.relay_event(audience, content, None, Replier::Nobody, out);
        sent.map_or(Err(EncodeError::Unavailable), |_| Ok(Delivery::default()))
    }

    /// The same for a raw frame.
    pub(super) fn send_frame_relayed(
        &mut self,
        audience: &Audience,
        frame: Frame<'_>,
        out: &mut Outbox,
    ) -> Result<Delivery, EncodeError> {
        let sent = self.relay_frame(audience, frame, Replier::Nobody, out);
        sent.map_or(Err(EncodeError::Unavailable), |_| Ok(Delivery::default()))
    }

    /// Publishes a backend's message, only once if it has a key. The outcome is taken by the
    /// returned token.
    pub(crate) fn submit(
        &mut self,
        key: Option<&str>,
        audience: &Audience,
        content: (Event<'_>, Payload<'_>),
        out: &mut Outbox,
    ) -> Result<u64, SendError> {
        let (event, data) = content;
        if key.is_some_and(|key| !(1..=KEY_BYTES_MAX).contains(&key.len())) {
            return Err(SendError::Key);
        }
        event.check()?;
        self.check_rooms(audience)?;
        let keys = key.map(|key| Keys {
            key: key.into(),
            owner: Some(KeyOwner {
                name: BACKENDS.into(),
                earlier: Vec::new(),
                keys_max: self.config.limits.idempotency_keys,
                all_max: None,
            }),
            fingerprint: fingerprint(audience, event, data),
            key_ms: whole_millis(self.config.limits.idempotency),
        });
        let sent = self.relay_event(audience, content, keys, Replier::Backend, out);
        sent.ok_or(SendError::Unavailable)
    }

    /// The same for a raw frame.
    pub(crate) fn submit_frame(
        &mut self,
        audience: &Audience,
        frame: Frame<'_>,
        out: &mut Outbox,
    ) -> Result<u64, SendError> {
        self.check_rooms(audience)?;
        let sent = self.relay_frame(audience, frame, Replier::Backend, out);
        sent.ok_or(SendError::Unavailable)
    }

    fn relay_event(
        &mut self,
        audience: &Audience,
        (event, data): (Event<'_>, Payload<'_>),
        keys: Option<Keys>,
        replier: Replier,
        out: &mut Outbox,
    ) -> Option<u64> {
        let room = audience.as_room();
        let plain = room.is_some() && !audience.has_exceptions();
        let json = (!plain).then(|| to_json(audience));
        let policy = room.and_then(|room| self.policy(room));
        let keep = match room {
            Some(_) => policy.and_then(|policy| policy.history),
            None => Some(KEEP_ALL),
        };
        let body = Body {
            kind: BodyKind::Event,
            node: "",
            token: 0,
            conn: None,
            user: None,
            echo: true,
            audience: json.as_deref(),
            event: event.name(),
            path: event.path(),
            payload: data.as_str().as_bytes(),
        };
        let topic = room.map_or(Topic::All, Topic::room);
        self.relay_out(topic, (keep, keys), body, replier, out)
    }

    // Never in the topic of a room: histories have no raw frames.
    fn relay_frame(
        &mut self,
        audience: &Audience,
        frame: Frame<'_>,
        replier: Replier,
        out: &mut Outbox,
    ) -> Option<u64> {
        let (kind, payload) = match frame {
            Frame::Text(text) => (BodyKind::Text, text.as_bytes()),
            Frame::Binary(bytes) => (BodyKind::Binary, bytes),
        };
        let body = Body {
            kind,
            node: "",
            token: 0,
            conn: None,
            user: None,
            echo: true,
            audience: Some(&to_json(audience)),
            event: "",
            path: None,
            payload,
        };
        self.relay_out(Topic::All, (Some(KEEP_ALL), None), body, replier, out)
    }

    /// Hands a message to the relay; `None` when the relay is down or too far behind.
    fn relay_out(
        &mut self,
        topic: Topic,
        (keep, keys): (Option<HistoryPolicy>, Option<Keys>),
        body: Body<'_>,
        replier: Replier,
        out: &mut Outbox,
    ) -> Option<u64> {
        let raw = self.config.raw;
        let relay = self.relay.as_mut()?;
        if !relay.is_up() || relay.publishes.are_full() {
            relay.stats.failed += 1;
            relay.stats.refused += 1;
            return None;
        }
        let token = relay.token();
        let node = &*relay.node;
        let body = Body {
            node,
            token,
            ..body
        }
        .encode();
        let keys = keys.unwrap_or_else(|| Keys {
            key: ["n:", node, ":", itoa::Buffer::new().format(token)]
                .concat()
                .into(),
            owner: None,
            fingerprint: 0,
            key_ms: KEY_MS,
        });
        let publish = Publish {
            token,
            keep: keep.filter(|_| !raw || topic == Topic::All),
            topic,
            key: keys.key,
            owner: keys.owner,
            fingerprint: keys.fingerprint,
            key_ms: keys.key_ms,
            body,
        };
        relay.stats.published += 1;
        if let Some(publish) = relay.publishes.add(publish, replier) {
            out.relay(RelayCommand::Publish(publish));
        }
        Some(token)
    }

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
                        Some(position) => self.accepted_once(now, pending, position, out),
                        None => self.failed(pending, outcome, out),
                    }
                }
            }
            Published::Accepted { position, repeated } => {
                if let Some(pending) = relay.publishes.take(token) {
                    let position = position.clone();
                    match *repeated && !pending.may_be_new() {
                        true => self.accepted_again(now, pending, position, out),
                        false => self.accepted_once(now, pending, position, out),
                    }
                }
            }
            Published::KeyReused | Published::Rejected => {
                if let Some(pending) = relay.publishes.take(token) {
                    self.failed(pending, outcome, out);
                }
            }
        }
        if let Some(relay) = self.relay.as_mut() {
            for publish in relay.publishes.resume() {
                out.relay(RelayCommand::Publish(publish));
            }
        }
    }

    /// Handles a publish that has its position. It is answered when this node has delivered the
    /// topic up to there, if it follows it: an answered member has received everything before its
    /// message.
    fn accepted(
        &mut self,
        now: Timestamp,
        pending: Pending,
        position: TopicPosition,
        out: &mut Outbox,
    ) {
        let publish = pending.publish;
        let topic = publish.topic;
        let names = publish
            .owner
            .and_then(|owner| owner.names(&publish.key).next());
        let ack = Ack {
            token: publish.token,
            replier: pending.replier,
            once: names.map(|name| (name, publish.fingerprint)),
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

    /// The same for a new message: backends are told of it.
    pub(crate) fn accepted_once(
        &mut self,
        now: Timestamp,
        pending: Pending,
        position: TopicPosition,
        out: &mut Outbox,
    ) {
        self.tell_relayed(&pending, &position, out);
        self.accepted(now, pending, position, out);
    }

    /// Accepts a publish whose key is known to the relay: it gets the first answer, as far as this
    /// node knows it. If the node knows nothing of that answer, it may have been lost, and with it
    /// the event for backends: they get the event now, perhaps for the second time.
    fn accepted_again(
        &mut self,
        now: Timestamp,
        mut pending: Pending,
        position: TopicPosition,
        out: &mut Outbox,
    ) {
        if pending.seen.is_none() {
            let publish = &pending.publish;
            let owner = publish.owner.iter();
            let mut names = owner.flat_map(|owner| owner.names(&publish.key));
            let known = names.find_map(|name| {
                let known = self.keys.find(now, &name);
                known.filter(|known| known.fingerprint == publish.fingerprint)
            });
            match known {
                Some(known) => pending.reached = known.delivery.queued,
                None => self.tell_relayed(&pending, &position, out),
            }
        }
        self.accepted(now, pending, position, out);
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
        if let Some((key, fingerprint)) = ack.once {
            let limits = &self.config.limits;
            let (expires, keys_max) = (ack.until + limits.idempotency, limits.idempotency_keys);
            self.keys
                .insert(keys_max, expires, &key, fingerprint, delivery);
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
    pub(crate) fn failed(&mut self, pending: Pending, outcome: &Published, out: &mut Outbox) {
        if let Some(position) = &pending.seen {
            // Members have received it, although the relay may lose it.
            self.tell_relayed(&pending, position, out);
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

    /// Tells backends of a message. Only the publishing node does, as only it gets the answer.
    fn tell_relayed(&self, pending: &Pending, position: &TopicPosition, out: &mut Outbox) {
        let publish = &pending.publish;
        if self.tells()
            && let Some(room) = publish.topic.as_room()
            && let Some(body) = Body::decode(&publish.body)
            && let Some(content) = super::delivery::content(&body)
        {
            let offset = self.keeps(room).then_some(position.offset);
            let from = body.conn.map(|conn| (conn, body.user));
            self.tell_message(room, from, offset, content, out);
        }
    }
}

const fn delivery_of(delivery: Delivery) -> (usize, Option<u64>) {
    (delivery.queued, delivery.offset)
}

/// The name of a client as an owner of keys.
fn client_owner(client: &str) -> Box<str> {
    format!("c:{client}").into()
}

fn to_json(audience: &Audience) -> String {
    // Fails only for maps with keys that are no strings; there is none.
    serde_json::to_string(audience).unwrap_or_default()
}
