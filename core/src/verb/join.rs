//! `$join`: joining a room, and recovering missed messages.

mod relayed;

use alloc::{borrow::Cow, string::String, vec::Vec};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{answer, object};
use crate::hub::{Hub, RequestError};
use crate::policy::Right;
use crate::room::{
    Position,
    history::{History, Since},
    recovery::RecoveryOutcome,
};
use crate::wire::{ConnId, Message, PreviousConns, write_bool, write_number, write_string};
use crate::{outbox::Outbox, time::Timestamp};

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
    /// The client's previous connections since then.
    #[serde(default)]
    conn: PreviousConns,
}

impl Hub {
    pub(super) fn verb_join(
        &mut self,
        now: Timestamp,
        request: &Message<'_>,
        out: &mut Outbox,
    ) -> Result<(), RequestError> {
        if self.is_clustered() {
            return self.verb_join_relayed(now, request, None, out);
        }
        let (conn, room) = (request.conn, self.room_of(request)?);
        self.check_right(now, conn, Right::Join, room)?;
        let (since, meta) = join_data(request.data.as_str())?;
        let shown = meta.is_none().then(|| self.default_meta(conn)).flatten();
        let meta = meta.or(shown.as_deref());
        // Without this right a client could read the whole history by a join.
        let may_recover = since.is_some() && self.allows(now, conn, Right::History, room);
        if let Some(since) = &since
            && may_recover
            && self.waits_for(room, since)
        {
            return self.wait_for_history(request, out);
        }
        let (slot, already) = self.enter(now, conn, room, meta, out)?;
        if since.is_some() {
            self.trim_told(now, slot, out);
        }
        // Without a history nothing is replayed: a recovery is never partial.
        let missed = since.as_ref().map(|since| {
            if may_recover {
                self.missed(slot, conn, since)
            } else {
                Err(RecoveryOutcome::Right)
            }
        });
        let position = self.position_at(slot);
        let kind = self.position_kind(slot, out);
        let count = missed
            .as_ref()
            .map(|missed| missed.as_ref().ok().map(Vec::len));
        answer(kind, request, out, |text| {
            write_joined(text, &position, already, count);
        });
        let outcome = missed.as_ref().map(|missed| missed.as_ref().err().copied());
        let (missed, offset) = (missed.and_then(Result::ok), position.offset);
        let recovered = since
            .as_ref()
            .filter(|since| missed.is_some() && since.offset < offset);
        for frame in missed.unwrap_or_default() {
            out.replay(conn, frame);
        }
        if let Some(since) = recovered {
            self.log_recovery(now, slot, conn, (since.offset, &since.conn.0));
        }
        if let Some(failed) = outcome {
            self.count_recovery(failed.unwrap_or(RecoveryOutcome::Recovered));
        }
        Ok(())
    }

    /// The frames that a member missed since a position, or the reason why it cannot have them.
    // Out of line, so that its loop over the history is compiled into one.
    #[inline(never)]
    fn missed<'a>(
        &'a self,
        slot: u32,
        conn: ConnId,
        since: &'a SincePosition<'_>,
    ) -> Result<Vec<&'a str>, RecoveryOutcome> {
        let limits = self.limits();
        let history = self.table().get(slot).history();
        let history = history.ok_or(RecoveryOutcome::NoHistory)?;
        if !matches!(history.since(&since.epoch, since.offset), Since::Missed) {
            return Err(RecoveryOutcome::lost(history, &since.epoch, since.offset));
        }
        let reader = Some(self.reader(conn, &since.conn));
        let missed =
            usize::try_from(history.position().offset - since.offset).unwrap_or(usize::MAX);
        let mut frames = Vec::with_capacity(missed.min(limits.recovery_messages));
        let mut bytes = 0;
        for frame in history.read_between(Some(since.offset), None, reader) {
            frames.push(frame);
            bytes += frame.len();
            if frames.len() > limits.recovery_messages || bytes > limits.recovery_bytes {
                return Err(RecoveryOutcome::TooMany);
            }
        }
        Ok(frames)
    }

    /// True when a join at this position has to wait for the host.
    fn waits_for(&self, room: &str, since: &SincePosition<'_>) -> bool {
        let since = |history: &History| history.since(&since.epoch, since.offset);
        matches!(self.history_of(room).map(since), Some(Since::Away))
    }
}

/// Writes the `data` of the answer. A join with a position has `missed`: the number of messages
/// that follow, or `None` when they cannot be recovered.
fn write_joined(
    text: &mut String,
    position: &Position<'_>,
    already: bool,
    missed: Option<Option<usize>>,
) {
    text.push_str(r#"{"epoch":"#);
    write_string(text, &position.epoch);
    write_number(text, r#","offset":"#, position.offset);
    write_bool(text, r#","already":"#, already);
    match missed {
        None => {}
        Some(None) => text.push_str(r#","recovered":false"#),
        Some(Some(count)) => {
            write_number(text, r#","recovered":true,"missed":"#, count);
        }
    }
    text.push('}');
}

/// Reads the `data` of `$join`, with all nested values checked.
fn join_data(json: &str) -> Result<(Option<SincePosition<'_>>, Option<&str>), RequestError> {
    let data: JoinData<'_> = object(json).ok_or(RequestError::JoinData)?;
    let since = data.since.map_or(Some(None), |since| object(since.get()));
    let since: Option<SincePosition<'_>> = since.ok_or(RequestError::JoinData)?;
    if since.as_ref().is_some_and(|since| !since.conn.are_few()) {
        return Err(RequestError::PreviousConns);
    }
    Ok((since, data.meta.map(RawValue::get)))
}
