//! The fan-out: sends a message to an audience, as one command.

mod delivery;
mod outcome;
mod relayed;

use alloc::{boxed::Box, string::String, vec::Vec};

use super::error::{KEY_BYTES_MAX, RequestError, SendError, UnknownConn};
use super::{Hub, audience::Audience, audience::Delivery, idempotency};
use crate::outbox::{Draft, Kind, Outbox};
use crate::policy::Right;
use crate::room::{Except, Excepted, RoomName};
use crate::time::Timestamp;
use crate::wire::{
    Address, ConnId, EncodeError, Event, Frame, Message, Payload, write_from, write_head,
    write_number, write_room_message,
};

impl Hub {
    /// Publishes a message that no application handles: to the members of its room, with an answer
    /// when it has an `id`. Without a room it is an `unknown_event`.
    ///
    /// The sender need not be a member. A member gets its own message only with `echo`. If the
    /// message's key is known for this sender, nothing is sent, and the earlier answer is repeated.
    ///
    /// Work: the room's members; nothing is allocated once the outbox is warm.
    ///
    /// # Errors
    ///
    /// When the sender is not alive; nothing is sent then.
    pub fn publish(
        &mut self,
        now: Timestamp,
        message: &Message<'_>,
        out: &mut Outbox,
    ) -> Result<Delivery, UnknownConn> {
        let conn = message.conn;
        let sender = self.conns.get(conn).ok_or(UnknownConn(conn))?;
        let Some(room) = message.room.as_deref() else {
            out.error(conn, message.address(), &RequestError::UnknownEvent);
            return Ok(Delivery::default());
        };
        if sender.access.is_some()
            && let Err(error) = self.check_right_of(now, sender, Right::Publish, room)
        {
            out.error(conn, message.address(), &error);
            return Ok(Delivery::default());
        }
        if let Some(once) = &message.once
            && !self.is_clustered()
        {
            return Ok(self.publish_once(now, message, (room, once), out));
        }
        if self.config.has_extras() {
            if self.is_clustered() {
                return Ok(self.publish_relayed(message, room, out));
            }
            if let Some(policy) = self.policy_of(room) {
                return Ok(self.publish_by_policy(now, message, room, policy, out));
            }
        }
        let (text, draft) = out.frame();
        write_head(text, &message.event, None, Some(room));
        write_from(text, conn, sender.user.as_deref());
        text.push_str(r#","data":"#);
        text.push_str(message.data.as_str());
        text.push('}');
        if let Some((_, room)) = self.rooms.find(room) {
            let to = out.recipients();
            match room.members.binary_search(&conn) {
                Ok(at) if message.echo != Some(true) => {
                    to.extend_from_slice(&room.members[..at]);
                    to.extend_from_slice(&room.members[at + 1..]);
                }
                _ => to.extend_from_slice(&room.members),
            }
        }
        let delivery = Delivery::queued(out.send(draft, Kind::MESSAGE));
        if self.tells() {
            self.tell_published(message, room, out);
        }
        if message.id.is_some() {
            answer_publish(conn, message.address(), delivery, out);
        }
        Ok(delivery)
    }

    /// Sends a message of the application to an audience. It has no `from`; it names its room when
    /// the audience is one room, and its label when the event has one.
    ///
    /// Work: the connections named, sorted once when there are several sources; `all` walks every
    /// connection. Nothing is allocated once the outbox is warm.
    ///
    /// # Errors
    ///
    /// When the event, its label or a room name is not valid; nothing is sent then.
    pub fn send<'e>(
        &mut self,
        now: Timestamp,
        audience: &Audience,
        event: impl Into<Event<'e>>,
        data: Payload<'_>,
        out: &mut Outbox,
    ) -> Result<Delivery, EncodeError> {
        self.push(now, audience, event.into(), data, out)
    }

    fn push(
        &mut self,
        now: Timestamp,
        audience: &Audience,
        event: Event<'_>,
        data: Payload<'_>,
        out: &mut Outbox,
    ) -> Result<Delivery, EncodeError> {
        event.check()?;
        self.check_rooms(audience)?;
        if self.config.has_extras() {
            if self.is_clustered() {
                let content = (event, data);
                return self.send_relayed(audience, content, out);
            }
            if let Some(room) = audience.as_room() {
                return Ok(self.send_with_extras(now, audience, room, (event, data), out));
            }
        }
        Ok(self.send_plain(audience, (event, data), out))
    }

    /// Sends a message of the application, except to a room with a policy.
    #[inline(always)] // into the way of every send, and the way of those that are told
    fn send_plain(
        &mut self,
        audience: &Audience,
        content: (Event<'_>, Payload<'_>),
        out: &mut Outbox,
    ) -> Delivery {
        let (text, draft) = out.frame();
        write_plain(text, audience.as_room(), content);
        self.resolve(audience, draft, out);
        Delivery::queued(out.send(draft, Kind::MESSAGE))
    }

    #[inline]
    fn check_rooms(&self, audience: &Audience) -> Result<(), EncodeError> {
        let bytes_max = self.limits().room_name_bytes;
        for rooms in [&audience.rooms, &audience.except_rooms] {
            for room in rooms {
                RoomName::check(room, bytes_max)?;
            }
        }
        Ok(())
    }

    /// Sends a raw frame, text or binary, to an audience, for clients without envelopes.
    ///
    /// Work: as for [`send`](Self::send).
    ///
    /// # Errors
    ///
    /// When a room name is not valid; nothing is sent then.
    pub fn send_frame(
        &mut self,
        _now: Timestamp,
        audience: &Audience,
        frame: Frame<'_>,
        out: &mut Outbox,
    ) -> Result<Delivery, EncodeError> {
        self.check_rooms(audience)?;
        if self.is_clustered() {
            return self.send_frame_relayed(audience, frame, out);
        }
        let (text, draft) = out.frame();
        let bytes = match frame {
            Frame::Text(whole) => {
                text.push_str(whole);
                None
            }
            Frame::Binary(bytes) => Some(bytes),
        };
        self.resolve(audience, draft, out);
        let count = match bytes {
            Some(bytes) => out.send_binary(draft, bytes),
            None => out.send(draft, Kind::MESSAGE),
        };
        Ok(Delivery::queued(count))
    }

    /// Sends like [`send`](Self::send), but only once per key: a repetition within
    /// `Limits::idempotency` returns the outcome of the first call, and sends nothing.
    ///
    /// # Errors
    ///
    /// As for `send`; also when the key is not valid or was used for another message.
    pub fn send_once<'e>(
        &mut self,
        now: Timestamp,
        key: &str,
        audience: &Audience,
        event: impl Into<Event<'e>>,
        data: Payload<'_>,
        out: &mut Outbox,
    ) -> Result<Delivery, SendError> {
        let event = event.into();
        if !(1..=KEY_BYTES_MAX).contains(&key.len()) {
            return Err(SendError::Key);
        }
        let limits = &self.config.limits;
        let fingerprint = idempotency::fingerprint(audience, event, data);
        if let Some(known) = self.keys.find(now, key) {
            return if known.fingerprint == fingerprint {
                Ok(known.delivery)
            } else {
                Err(SendError::KeyReused)
            };
        }
        let (expires, keys_max) = (now + limits.idempotency, limits.idempotency_keys);
        let delivery = self.push(now, audience, event, data, out)?;
        self.keys
            .insert(keys_max, expires, key, fingerprint, delivery);
        Ok(delivery)
    }

    /// Sets the outcome that a key returns from now on. A host that found some queues full calls
    /// this after [`send_once`](Self::send_once). An unknown key is ignored. Nothing is sent to
    /// clients.
    pub fn set_delivery(&mut self, key: &str, delivery: Delivery) {
        self.keys.set_delivery(key, delivery);
    }

    /// Appends the audience's connections to the recipients: sorted, each once.
    pub(crate) fn resolve(&mut self, audience: &Audience, draft: Draft, out: &mut Outbox) {
        let to = out.recipients();
        let first = draft.first_recipient();
        if audience.all {
            // The order of slots is not the order of ids.
            to.extend(self.conns.iter().map(|conn| conn.id));
            to[first..].sort_unstable();
        } else {
            let mut sources = 0;
            for room in &audience.rooms {
                if let Some((_, room)) = self.rooms.find(room) {
                    to.extend_from_slice(&room.members);
                    sources += 1;
                }
            }
            for user in &audience.users {
                to.extend_from_slice(self.conns.of_user(user));
                sources += 1;
            }
            for &conn in &audience.conns {
                if self.conns.get(conn).is_some() {
                    to.push(conn);
                    sources += 1;
                }
            }
            if sources > 1 {
                to[first..].sort_unstable();
                dedup_from(to, first);
            }
        }
        if audience.has_exceptions() {
            let mut except = core::mem::take(&mut self.scratch);
            for room in &audience.except_rooms {
                except.extend_from_slice(self.members(room));
            }
            for user in &audience.except_users {
                except.extend_from_slice(self.conns.of_user(user));
            }
            except.extend_from_slice(&audience.except_conns);
            except.sort_unstable();
            retain_from(to, first, |conn| except.binary_search(&conn).is_err());
            except.clear();
            self.scratch = except;
        }
        if !self.opening.is_empty() {
            retain_from(to, first, |conn| !self.opening.contains(&conn));
        }
    }
}

/// Messages in a hub with policies of rooms or subscriptions to events.
impl Hub {
    #[cold]
    #[inline(never)]
    fn tell_published(&self, message: &Message<'_>, room: &str, out: &mut Outbox) {
        let content = (Event::new(&message.event), message.data);
        let from = (message.conn, self.conns.user_of(message.conn));
        self.tell_message(room, Some(from), None, content, out);
    }

    /// The part of [`send`](Self::send) for such a hub.
    #[inline(never)]
    fn send_with_extras(
        &mut self,
        now: Timestamp,
        audience: &Audience,
        room: &str,
        content: (Event<'_>, Payload<'_>),
        out: &mut Outbox,
    ) -> Delivery {
        if let Some(policy) = self.policy_of(room) {
            return self.send_by_policy(now, audience, room, policy, content, out);
        }
        let delivery = self.send_plain(audience, content, out);
        if self.tells() {
            self.tell_message(room, None, None, content, out);
        }
        delivery
    }
}

/// Messages to rooms with a policy.
impl Hub {
    /// The part of [`publish`](Self::publish) for such a room.
    #[inline(never)]
    pub(crate) fn publish_by_policy(
        &mut self,
        now: Timestamp,
        message: &Message<'_>,
        room: &str,
        index: usize,
        out: &mut Outbox,
    ) -> Delivery {
        let policy = self.config.policies.get(index);
        let (conn, event, id) = (message.conn, &message.event, message.id.as_ref());
        if !policy.publish {
            out.error(conn, message.address(), &RequestError::PublishForbidden);
            return Delivery::default();
        }
        let echo = message.echo.unwrap_or(policy.echo);
        let content = (Event::new(event), message.data);
        let delivery = self.send_and_keep(
            now,
            (room, index),
            Some(conn),
            content,
            out,
            |hub, _, out| {
                if let Some((_, room)) = hub.rooms.find(room) {
                    room.push_members((!echo).then_some(conn), out.recipients());
                }
                if echo {
                    Except::Nobody
                } else {
                    Except::Conn(conn)
                }
            },
        );
        if id.is_some() {
            answer_publish(conn, message.address(), delivery, out);
        }
        delivery
    }

    /// The part of [`send`](Self::send) for such a room, perhaps without some of its members.
    #[inline(never)]
    pub(crate) fn send_by_policy(
        &mut self,
        now: Timestamp,
        audience: &Audience,
        room: &str,
        index: usize,
        content: (Event<'_>, Payload<'_>),
        out: &mut Outbox,
    ) -> Delivery {
        self.send_and_keep(now, (room, index), None, content, out, |hub, draft, out| {
            hub.resolve(audience, draft, out);
            if !audience.has_exceptions() {
                return Except::Nobody;
            }
            let to = &out.recipients()[draft.first_recipient()..];
            let left_out = |conn: &&ConnId| to.binary_search(conn).is_err();
            let conns = hub.members(room).iter().filter(left_out).copied();
            let mut conns: Vec<_> = conns.chain(audience.except_conns.iter().copied()).collect();
            conns.sort_unstable();
            conns.dedup();
            let users = audience.except_users.clone();
            Except::These(Box::new(Excepted { conns, users }))
        })
    }

    /// Sends a message to a room with a policy, and adds it to the room's history if there is one.
    /// `recipients` adds the recipients, and returns those that are excluded for good.
    fn send_and_keep(
        &mut self,
        now: Timestamp,
        (room, index): (&str, usize),
        from: Option<ConnId>,
        (event, data): (Event<'_>, Payload<'_>),
        out: &mut Outbox,
        recipients: impl FnOnce(&mut Self, Draft, &mut Outbox) -> Except,
    ) -> Delivery {
        let policy = self.config.policies.get(index);
        let (overflow, (keeps, _)) = (policy.overflow, self.wants(policy));
        let found = self.rooms.find(room).map(|(slot, _)| slot);
        let slot = match found {
            None if keeps => Some(self.open(now, room, Some(index))),
            found => found,
        };
        let history = slot.and_then(|slot| self.rooms.get(slot).history());
        let place = history.map(|history| (history.number(), history.position().offset + 1));
        let offset = place.map(|(_, offset)| offset);
        let kind = out.shedding(room, event.name, place.unwrap_or_default(), overflow);
        let name = self.config.durable && offset.is_some();
        let name = name.then(|| out.note(room));
        let (text, draft) = out.frame();
        let publisher = from.map(|conn| (conn, self.conns.user_of(conn)));
        write_room_message(text, room, (event, data), publisher, offset);
        let except = recipients(self, draft, out);
        let reached = match slot.zip(offset) {
            None => out.send(draft, kind),
            Some((slot, offset)) => {
                self.append(now, slot, out.drafted(draft), except.clone());
                let reached = match name {
                    Some(name) => out.send_and_append(draft, kind, name, (offset, now, except)),
                    None => out.send(draft, kind),
                };
                self.load_if_large(slot, out);
                self.evict(out);
                reached
            }
        };
        if self.tells() {
            let from = from.map(|conn| (conn, self.conns.user_of(conn)));
            self.tell_message(room, from, offset, (event, data), out);
        }
        Delivery {
            offset,
            ..Delivery::queued(reached)
        }
    }
}

/// Tells the sender of a message how many connections it reached.
#[inline(never)]
pub(super) fn answer_publish(conn: ConnId, to: Address<'_>, delivery: Delivery, out: &mut Outbox) {
    out.send_to(conn, |text| {
        write_head(text, to.event, to.id, to.room);
        write_number(text, r#","data":{"reached":"#, delivery.queued);
        if let Some(offset) = delivery.offset {
            write_number(text, r#","offset":"#, offset);
        }
        text.push_str("}}");
    });
}

/// `dedup` of the part of a sorted vector from `first` on.
fn dedup_from(list: &mut Vec<ConnId>, first: usize) {
    let mut last = None;
    retain_from(list, first, |conn| last.replace(conn) != Some(conn));
}

/// Writes a message of the application's.
#[inline(always)] // into the way of every send
fn write_plain(text: &mut String, room: Option<&str>, (event, data): (Event<'_>, Payload<'_>)) {
    write_head(text, event.name, None, room);
    event.write_path(text);
    text.push_str(r#","data":"#);
    text.push_str(data.as_str());
    text.push('}');
}

/// `retain` of the part of a vector from `first` on.
pub(super) fn retain_from(
    list: &mut Vec<ConnId>,
    first: usize,
    mut keep: impl FnMut(ConnId) -> bool,
) {
    let mut kept = first;
    for at in first..list.len() {
        let conn = list[at];
        if keep(conn) {
            list[kept] = conn;
            kept += 1;
        }
    }
    list.truncate(kept);
}
