//! `$join` in a clustered hub: missed messages are with the relay.

use alloc::{string::String, vec::Vec};

use super::{SincePosition, join_data, write_joined};
use crate::hub::{Hub, RequestError};
use crate::policy::Right;
use crate::relay::{Asked, Read, Topic, TopicPage, TopicPosition};
use crate::room::{pending_read::PendingRead, recovery::RecoveryOutcome};
use crate::verb::answer;
use crate::wire::{ConnId, Message};
use crate::{outbox::Outbox, time::Timestamp};

impl Hub {
    /// Answers a join, or holds it until the relay has answered. `page` has the missed messages,
    /// when the relay was asked for them.
    pub(crate) fn verb_join_relayed(
        &mut self,
        now: Timestamp,
        request: &Message<'_>,
        page: Option<&TopicPage>,
        out: &mut Outbox,
    ) -> Result<(), RequestError> {
        let (conn, room) = (request.conn, self.room_of(request)?);
        self.check_right(now, conn, Right::Join, room)?;
        let (since, meta) = join_data(request.data.as_str())?;
        let shown = meta.is_none().then(|| self.default_meta(conn)).flatten();
        let meta = meta.or(shown.as_deref());
        let topic = Topic::room(room);
        let Some(at) = self.topic_position(&topic).cloned() else {
            return self.wait_for_topic(room, request, out);
        };
        let may_recover = since.is_some() && self.allows(now, conn, Right::History, room);
        let keeps = self.keeps(room);
        let is_there = since
            .as_ref()
            .is_some_and(|since| *since.epoch == *at.epoch && since.offset == at.offset);
        if let Some(since) = &since
            && may_recover
            && keeps
            && !is_there
        {
            let is_behind = *since.epoch != *at.epoch || since.offset > at.offset;
            if !self.is_live(&topic) && (page.is_none() || is_behind) {
                // The node's own page comes first: on another node the client may have seen more
                // than this node.
                return self.wait_for_topic(room, request, out);
            }
            if page.is_none() {
                return self.ask_missed(&topic, request, (since, &at), out);
            }
        }
        let (slot, already) = self.enter(now, conn, room, meta, out)?;
        let missed = since.as_ref().map(|since| match page {
            _ if !may_recover => Err(RecoveryOutcome::Right),
            _ if !keeps => Err(RecoveryOutcome::NoHistory),
            _ if is_there => Ok(Vec::new()),
            Some(page) => self.missed_of(page, conn, since, &at),
            None => Err(RecoveryOutcome::Dropped),
        });
        let position = self.position(room);
        let kind = self.position_kind(slot, out);
        let count = missed
            .as_ref()
            .map(|missed| missed.as_ref().ok().map(Vec::len));
        answer(kind, request, out, |text| {
            write_joined(text, &position, already, count);
        });
        if let Some(missed) = &missed {
            for frame in missed.iter().flatten() {
                out.replay(conn, frame);
            }
            let outcome = missed.as_ref().err().copied();
            self.count_recovery(outcome.unwrap_or(RecoveryOutcome::Recovered));
        }
        Ok(())
    }

    /// Asks the relay for the messages that were missed since a position, or since this node's
    /// position if that is earlier: then the node has everything that the client has.
    fn ask_missed(
        &mut self,
        topic: &Topic,
        request: &Message<'_>,
        (since, at): (&SincePosition<'_>, &TopicPosition),
        out: &mut Outbox,
    ) -> Result<(), RequestError> {
        let read = Read {
            token: 0,
            topic: topic.clone(),
            after: Some(since.offset.min(at.offset)),
            before: None,
            limit: self.limits().recovery_messages + 1,
            // Some are for others, and are not counted below.
            bytes: 2 * self.limits().recovery_bytes,
            age_ms: topic.as_room().map_or(0, |room| self.kept_ms(room)),
        };
        let asked = Asked::Join(topic.clone(), PendingRead::new(request));
        self.ask_relay(asked, read, out)
    }

    /// The frames that a member missed between its position and this node's, from a page of the
    /// relay and the messages delivered here since.
    fn missed_of(
        &self,
        page: &TopicPage,
        conn: ConnId,
        since: &SincePosition<'_>,
        at: &TopicPosition,
    ) -> Result<Vec<String>, RecoveryOutcome> {
        let limits = self.limits();
        if page.position.epoch != at.epoch || *since.epoch != *at.epoch {
            return Err(RecoveryOutcome::Epoch);
        }
        if since.offset > at.offset {
            return Err(RecoveryOutcome::Ahead);
        }
        let room = page.topic.as_room().unwrap_or_default();
        let reader = self.reader(conn, &since.conn);
        let messages = page.messages.iter().map(|it| (it.offset, &*it.body));
        let recent = self.recent_of(&page.topic);
        let (mut next, mut bytes, mut frames) = (since.offset + 1, 0, Vec::new());
        for (offset, body) in messages.chain(recent) {
            if offset < next {
                continue;
            }
            if offset > next || offset > at.offset {
                break;
            }
            next += 1;
            let frame = self.kept_frame(room, (offset, body), Some(reader));
            if let Some(frame) = frame.map_err(|_| RecoveryOutcome::Dropped)? {
                bytes += frame.len();
                frames.push(frame);
            }
            if frames.len() > limits.recovery_messages || bytes > limits.recovery_bytes {
                return Err(RecoveryOutcome::TooMany);
            }
        }
        if next == at.offset + 1 {
            Ok(frames)
        } else if page.messages.len() > limits.recovery_messages || page.is_cut_off() {
            Err(RecoveryOutcome::TooMany)
        } else {
            Err(RecoveryOutcome::Dropped)
        }
    }
}
