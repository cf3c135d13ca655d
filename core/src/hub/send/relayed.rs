//! Messages that are published through the relay.

use alloc::{boxed::Box, format, string::String, vec::Vec};

use crate::hub::{
    Audience, Delivery, Hub,
    error::{KEY_BYTES_MAX, RequestError, SendError},
    idempotency::{client_keys::client_name, fingerprint, publish_fingerprint},
};
use crate::relay::{
    Body, BodyKind, KEEP_ALL, KEY_MS, KeyOwner, Publish, RelayCommand, Replier, Topic,
};
use crate::time::whole_millis;
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
}

/// The name of a client as an owner of keys.
fn client_owner(client: &str) -> Box<str> {
    format!("c:{client}").into()
}

fn to_json(audience: &Audience) -> String {
    // Fails only for maps with keys that are no strings; there is none.
    serde_json::to_string(audience).unwrap_or_default()
}
