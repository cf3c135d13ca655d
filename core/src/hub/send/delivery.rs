//! Delivery of messages that come back from the relay.

use alloc::string::String;

use super::{retain_from, write_plain};
use crate::hub::{Audience, Hub};
use crate::outbox::{Draft, Kind, Outbox};
use crate::policy::Overflow;
use crate::queue::gap_notice;
use crate::relay::{Body, BodyKind, Effect, Relay, Topic, TopicPosition};
use crate::room::history::Reader;
use crate::wire::{Event, Payload, write_head, write_number, write_room_message};

/// The event and the payload of a message between nodes; `None` when no hub would send it.
pub(super) fn content<'a>(body: &Body<'a>) -> Option<(Event<'a>, Payload<'a>)> {
    let event = Event::new(body.event).with_path(body.path);
    event.check().ok()?;
    let payload = core::str::from_utf8(body.payload).ok()?;
    Some((event, Payload::parse(payload).ok()?))
}

impl Hub {
    /// Carries out the effects of a topic's order for its members.
    pub(crate) fn carry_out(
        &mut self,
        topic: &Topic,
        epoch: &str,
        effects: impl IntoIterator<Item = Effect>,
        out: &mut Outbox,
    ) {
        for effect in effects {
            match effect {
                Effect::Gap { after } => self.tell_gap(topic, after, out),
                Effect::Deliver { offset, body } => {
                    self.deliver_relayed(topic, (epoch, offset), &body, out);
                }
            }
        }
    }

    /// Delivers a message that has its position.
    pub(crate) fn deliver_relayed(
        &mut self,
        topic: &Topic,
        (epoch, offset): (&str, u64),
        bytes: &[u8],
        out: &mut Outbox,
    ) {
        let body = Body::decode(bytes);
        let reached = body.and_then(|body| self.fan_out(topic, offset, &body, out));
        let Some(relay) = self.relay.as_mut() else {
            return;
        };
        if let Some(track) = relay.track_mut(topic) {
            track.remember(offset, bytes);
        }
        let Some((body, reached)) = body.zip(reached) else {
            relay.stats.foreign += 1;
            return self.tell_gap(topic, offset - 1, out);
        };
        relay.stats.delivered += 1;
        if *body.node != *relay.node {
            return;
        }
        // The sender is told how many connections the message reached on this node.
        if let Some(pending) = relay.publishes.get_mut(body.token) {
            pending.seen = Some(TopicPosition::new(epoch, offset));
            pending.reached = reached;
        } else if let Some(track) = relay.track_mut(topic)
            && let Some(ack) = track.ack_mut(body.token)
        {
            ack.reached = reached;
        }
    }

    /// Sends a message to its recipients on this node, and returns their number; `None` when the
    /// message is foreign.
    fn fan_out(
        &mut self,
        topic: &Topic,
        offset: u64,
        body: &Body<'_>,
        out: &mut Outbox,
    ) -> Option<usize> {
        let audience = match body.audience {
            Some(json) => Some(serde_json::from_str::<Audience>(json).ok()?),
            None => None,
        };
        match body.kind {
            BodyKind::Event => {
                let content = content(body)?;
                match topic.as_room() {
                    Some(room) => self.fan_out_in(room, offset, (body, content), audience, out),
                    None => {
                        let audience = audience?;
                        let (text, draft) = out.frame();
                        write_plain(text, audience.as_room(), content);
                        self.resolve_followers(&audience, draft, out);
                        Some(out.send(draft, Kind::MESSAGE))
                    }
                }
            }
            BodyKind::Text => {
                let whole = core::str::from_utf8(body.payload).ok()?;
                let audience = audience?;
                let (text, draft) = out.frame();
                text.push_str(whole);
                self.resolve_followers(&audience, draft, out);
                Some(out.send(draft, Kind::MESSAGE))
            }
            BodyKind::Binary => {
                let audience = audience?;
                let (_, draft) = out.frame();
                self.resolve_followers(&audience, draft, out);
                Some(out.send_binary(draft, body.payload))
            }
        }
    }

    /// The part of [`resolve`](Self::resolve) for a message of the topic of all. It leaves out
    /// connections that opened while that topic was not followed.
    fn resolve_followers(&mut self, audience: &Audience, draft: Draft, out: &mut Outbox) {
        self.resolve(audience, draft, out);
        let newcomers = self.relay.as_ref().and_then(Relay::newcomers);
        // Clients without envelopes cannot be told of a gap.
        if let Some(newcomers) = newcomers.filter(|_| !self.config.raw) {
            let (to, first) = (out.recipients(), draft.first_recipient());
            retain_from(to, first, |conn| !self.is_since(conn, newcomers));
        }
    }

    fn fan_out_in(
        &mut self,
        room: &str,
        offset: u64,
        (body, content): (&Body<'_>, (Event<'_>, Payload<'_>)),
        audience: Option<Audience>,
        out: &mut Outbox,
    ) -> Option<usize> {
        let offset = self.keeps(room).then_some(offset);
        let overflow = self
            .policy(room)
            .map_or(Overflow::Close, |policy| policy.overflow);
        let place = (0, offset.unwrap_or_default());
        let kind = out.shedding(room, content.0.name(), place, overflow);
        let (text, draft) = out.frame();
        let publisher = body.conn.map(|conn| (conn, body.user));
        write_room_message(text, room, content, publisher, offset);
        match audience {
            Some(audience) => self.resolve(&audience, draft, out),
            None => {
                let left_out = body.conn.filter(|_| !body.echo);
                if let Some((_, room)) = self.rooms.find(room) {
                    room.push_members(left_out, out.recipients());
                }
            }
        }
        Some(out.send(draft, kind))
    }

    /// Tells the members of a topic that messages behind an offset are lost.
    fn tell_gap(&mut self, topic: &Topic, after: u64, out: &mut Outbox) {
        if self.config.raw {
            // Raw clients cannot be told.
            return;
        }
        let Some(room) = topic.as_room() else {
            return self.tell_gap_to_all(0, out);
        };
        let (text, draft) = out.frame();
        let after = if self.keeps(room) { after } else { 0 };
        text.push_str(&gap_notice(room, after));
        if let Some((_, room)) = self.rooms.find(room) {
            room.push_members(None, out.recipients());
        }
        self.send_gap(draft, out);
    }

    /// Tells connections from a serial on that messages beside those of rooms are lost.
    pub(crate) fn tell_gap_to_all(&mut self, serial: u64, out: &mut Outbox) {
        if self.config.raw {
            return;
        }
        let (text, draft) = out.frame();
        write_head(text, "$gap", None, None);
        write_number(text, r#","data":{"after":"#, 0);
        text.push_str("}}");
        self.resolve(&Audience::all(), draft, out);
        let (to, first) = (out.recipients(), draft.first_recipient());
        retain_from(to, first, |conn| self.is_since(conn, serial));
        self.send_gap(draft, out);
    }

    fn send_gap(&mut self, draft: Draft, out: &mut Outbox) {
        if out.send(draft, Kind::CONTROL) > 0
            && let Some(relay) = self.relay.as_mut()
        {
            relay.stats.gaps += 1;
        }
    }

    /// The frame of a stored message, for one reader or for anybody; `None` when the message is not
    /// for the reader.
    ///
    /// # Errors
    ///
    /// When the message is foreign.
    pub(crate) fn kept_frame(
        &self,
        room: &str,
        (offset, bytes): (u64, &[u8]),
        reader: Option<Reader<'_>>,
    ) -> Result<Option<String>, Foreign> {
        let body = Body::decode(bytes).ok_or(Foreign)?;
        let content = content(&body).ok_or(Foreign)?;
        let hidden = match (reader, body.audience) {
            (None, _) => false,
            (Some(reader), None) => body.conn.is_some_and(|conn| reader.is(conn)) && !body.echo,
            (Some(reader), Some(json)) => {
                let audience: Audience = serde_json::from_str(json).map_err(|_| Foreign)?;
                let left_out = |user: &str| audience.except_users.iter().any(|it| **it == *user);
                let muted = |room: &str| self.members(room).contains(&reader.conn);
                audience.except_conns.iter().any(|conn| reader.is(*conn))
                    || reader.user.is_some_and(left_out)
                    || audience.except_rooms.iter().any(|room| muted(room))
            }
        };
        if hidden {
            return Ok(None);
        }
        let mut text = String::new();
        let publisher = body.conn.map(|conn| (conn, body.user));
        write_room_message(&mut text, room, content, publisher, Some(offset));
        Ok(Some(text))
    }
}

/// A message that no hub of this version wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Foreign;
