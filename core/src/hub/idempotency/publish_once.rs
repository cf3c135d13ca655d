//! Publishes with an idempotency key: delivered once, with the same answer to each retry.

use alloc::boxed::Box;

use super::{Known, client_keys::client_name, publish_fingerprint};
use crate::hub::{Delivery, Hub, error::RequestError, send::answer_publish};
use crate::wire::{Message, Once};
use crate::{outbox::Outbox, time::Timestamp};

impl Hub {
    /// The part of [`publish`](Self::publish) for a message with a key. A refused message uses up
    /// no key.
    ///
    /// A key belongs to the sender's user, or without a user to its connection. A retry after a
    /// reconnect names the connections that may have sent the message: it finds their keys, and
    /// never adds to them. A client that names another's connection, and guesses its key and its
    /// message, therefore gets the answer that the other got. It sends nothing, and changes nothing
    /// for others.
    ///
    /// Work: a publish, and the keys of each named client.
    #[cold]
    #[inline(never)]
    pub(crate) fn publish_once(
        &mut self,
        now: Timestamp,
        message: &Message<'_>,
        (room, once): (&str, &Once<'_>),
        out: &mut Outbox,
    ) -> Delivery {
        let (conn, key) = (message.conn, &*once.key);
        if let Some(policy) = self.policy_of(room)
            && !self.config.policies.get(policy).publish
        {
            // Refused even if the key is known, as without the right by a grant.
            return self.publish_by_policy(now, message, room, policy, out);
        }
        let user = self.conns.get(conn).and_then(|conn| conn.user.as_deref());
        let client = client_name(user, conn);
        let fingerprint = publish_fingerprint(room, &message.event, message.data);
        let earlier = once.conns.0.iter().map(|&conn| client_name(None, conn));
        let known = self.client_keys.find(now, &client, key).or_else(|| {
            let mut earlier = earlier.filter_map(|was| self.client_keys.find(now, &was, key));
            earlier.next()
        });
        let delivery = match known {
            Some(known) if known.fingerprint == fingerprint => known.delivery,
            Some(_) => {
                out.error(conn, message.address(), &RequestError::KeyReused);
                return Delivery::default();
            }
            None => {
                let plain = Message {
                    id: None,
                    once: None,
                    ..message.clone()
                };
                let Ok(delivery) = self.publish(now, &plain, out) else {
                    return Delivery::default();
                };
                let known = Known {
                    expires: now + self.config.limits.idempotency,
                    fingerprint,
                    delivery,
                };
                self.remember(now, &client, key, known, out);
                delivery
            }
        };
        if message.id.is_some() {
            answer_publish(conn, message.address(), delivery, out);
        }
        delivery
    }

    fn remember(
        &mut self,
        now: Timestamp,
        client: &str,
        key: &str,
        known: Known,
        out: &mut Outbox,
    ) {
        let limits = &self.config.limits;
        let forgotten = self.client_keys.insert(now, limits, client, key, known);
        if self.config.durable {
            out.persist_key(client, key);
        }
        self.persist_forgotten(&forgotten, out);
    }

    fn persist_forgotten(&self, forgotten: &[(Box<str>, Box<str>)], out: &mut Outbox) {
        if self.config.durable {
            for (client, key) in forgotten {
                out.persist_key(client, key);
            }
        }
    }

    /// The number of idempotency keys of clients that are remembered.
    pub fn client_keys(&self) -> usize {
        self.client_keys.len()
    }

    /// Evicts idempotency keys of clients until at most `keys_max` are left: expired keys first,
    /// then the oldest key of the client with the most. It is for a host with several hubs under
    /// one limit.
    ///
    /// Work: the evicted keys.
    pub fn trim_client_keys(&mut self, now: Timestamp, keys_max: usize, out: &mut Outbox) {
        let forgotten = self.client_keys.trim(now, keys_max);
        self.persist_forgotten(&forgotten, out);
    }
}
