//! Messages to a room that a policy matches.

use alloc::{boxed::Box, vec::Vec};

use crate::wire::{ConnId, Event, Message, Payload, write_from, write_head, write_number};
use crate::{
    hub::Hub, hub::audience::Audience, hub::delivery::Delivery, hub::error::RequestError,
    hub::send::answer_publish, outbox::Draft, outbox::Outbox, room::Except, room::Excepted,
    time::Timestamp,
};

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
            out.error(conn, event, id, Some(room), &RequestError::PublishForbidden);
            return Delivery::default();
        }
        let echo = message.echo.unwrap_or(policy.echo);
        let content = (Event::new(event), message.data);
        let delivery = self.relay(
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
            answer_publish(message, room, delivery, out);
        }
        delivery
    }

    /// The part of [`send`](Self::send) for such a room, some of its members perhaps left out.
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
        self.relay(now, (room, index), None, content, out, |hub, draft, out| {
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

    /// Sends a message to a room and puts it into its history. `recipients` names those who get it,
    /// and gives those who never do.
    fn relay(
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
        let offset = history.map(|history| history.top + 1);
        let kind = out.shedding(room, event.name, offset.unwrap_or(0), overflow);
        let noted = self.config.durable && offset.is_some();
        let noted = noted.then(|| out.note(room));
        let (text, draft) = out.frame();
        write_head(text, event.name, None, Some(room));
        event.write_path(text);
        if let Some(conn) = from {
            let user = self.conns.get(conn).and_then(|conn| conn.user.as_deref());
            write_from(text, conn, user);
        }
        if let Some(offset) = offset {
            write_number(text, r#","offset":"#, offset);
        }
        text.push_str(r#","data":"#);
        text.push_str(data.as_str());
        text.push('}');
        let except = recipients(self, draft, out);
        let reached = match slot.zip(offset) {
            None => out.send(draft, kind),
            Some((slot, offset)) => {
                self.append(now, slot, out.drafted(draft), except.clone());
                let reached = match noted {
                    Some(noted) => out.send_and_append(draft, kind, noted, (offset, now, except)),
                    None => out.send(draft, kind),
                };
                self.recall_if_large(slot, out);
                self.evict(out);
                reached
            }
        };
        Delivery {
            offset,
            ..Delivery::queued(reached)
        }
    }
}
