//! `$join`: a member, and what it missed since it was one before.

use alloc::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{answer, history::PreviousConns, object};
use crate::wire::{ConnId, Envelope, write_bool, write_number, write_string};
use crate::{hub::Hub, hub::RequestError, outbox::Outbox, room::history::Since, time::Timestamp};

/// The `data` of `$join`.
#[derive(Default, Deserialize)]
#[serde(expecting = "an object")]
struct JoinData<'a> {
    /// The position that the client has seen: a [`SincePosition`].
    #[serde(borrow)]
    since: Option<&'a RawValue>,
    /// The value that presence shows of the client: any JSON.
    #[serde(borrow)]
    meta: Option<&'a RawValue>,
}

/// The position that a client has seen.
#[derive(Debug, Deserialize)]
#[serde(expecting = "an object")]
struct SincePosition<'a> {
    #[serde(borrow)]
    epoch: Cow<'a, str>,
    offset: u64,
    /// The connections that it was since then.
    #[serde(default)]
    conn: PreviousConns,
}

impl Hub {
    pub(super) fn verb_join(
        &mut self,
        now: Timestamp,
        conn: ConnId,
        request: &Envelope<'_>,
        out: &mut Outbox,
    ) -> Result<(), RequestError> {
        let room = self.room_of(request)?;
        let (since, meta) = join_data(request.data.as_str()).ok_or(RequestError::JoinData)?;
        if let Some(since) = &since
            && self.waits_for(room, since)
        {
            return self.park_read(conn, request, out);
        }
        let (slot, already) = self.enter(now, conn, room, meta, out)?;
        let missed = since.as_ref().map(|since| {
            // Without a history there is nothing to replay from: never partial.
            self.missed(now, slot, conn, since, out)
        });
        let position = self.position_at(slot);
        let kind = self.position_kind(slot, out);
        answer(kind, conn, request, out, |text| {
            text.push_str(r#"{"epoch":"#);
            write_string(text, &position.epoch);
            write_number(text, r#","offset":"#, position.offset);
            write_bool(text, r#","already":"#, already);
            match missed {
                None => {}
                Some(None) => text.push_str(r#","recovered":false"#),
                Some(Some((_, count))) => {
                    write_number(text, r#","recovered":true,"missed":"#, count);
                }
            }
            text.push('}');
        });
        if let Some((since, (from, _))) = since.zip(missed.flatten()) {
            self.replay(slot, conn, &since, from, out);
        }
        Ok(())
    }

    /// Looks up what a member missed since a position: the index of the first such message, and how
    /// many; `None` when it cannot have them.
    fn missed(
        &mut self,
        now: Timestamp,
        slot: u32,
        conn: ConnId,
        since: &SincePosition<'_>,
        out: &mut Outbox,
    ) -> Option<(usize, usize)> {
        self.trim_told(now, slot, out);
        let limits = self.limits();
        let history = self.table().get(slot).history()?;
        let Since::Missed(from) = history.since(&since.epoch, since.offset) else {
            return None;
        };
        let (mut count, mut bytes) = (0, 0);
        for (_, frame) in history.read(from, self.reader(conn, &since.conn)) {
            (count, bytes) = (count + 1, bytes + frame.len());
            if count > limits.recovery_messages || bytes > limits.recovery_bytes {
                return None;
            }
        }
        Some((from, count))
    }

    /// Sends a member what it missed.
    fn replay(
        &self,
        slot: u32,
        conn: ConnId,
        since: &SincePosition<'_>,
        from: usize,
        out: &mut Outbox,
    ) {
        if let Some(history) = self.table().get(slot).history() {
            for (_, frame) in history.read(from, self.reader(conn, &since.conn)) {
                out.replay(conn, frame);
            }
        }
    }

    /// True when a join at this position has to wait for the host.
    fn waits_for(&self, room: &str, since: &SincePosition<'_>) -> bool {
        let history = self.table().find(room).and_then(|(_, room)| room.history());
        history
            .is_some_and(|history| matches!(history.since(&since.epoch, since.offset), Since::Away))
    }
}

/// The `data` of `$join`, checked to the bottom.
fn join_data(json: &str) -> Option<(Option<SincePosition<'_>>, Option<&str>)> {
    let data: JoinData<'_> = object(json)?.unwrap_or_default();
    let since = match data.since {
        Some(since) => object(since.get())?,
        None => None,
    };
    Some((since, data.meta.map(RawValue::get)))
}
