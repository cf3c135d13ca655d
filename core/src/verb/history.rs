//! `$history`: pages of past messages, and requests that wait for the host to load them.

mod relayed;

use alloc::string::String;
use core::num::NonZeroU64;

use serde::Deserialize;

use super::{answer, object, page_limit};
use crate::hub::{Hub, RequestError};
use crate::policy::Right;
use crate::room::{HistoryMessage, PageError, Position, history::Reader, rooms::Rooms};
use crate::wire::{ConnId, Message, PreviousConns, write_number, write_string};
use crate::{outbox::Outbox, time::Timestamp};

/// The `data` of `$history`.
#[derive(Default, Deserialize)]
#[serde(expecting = "an object")]
struct HistoryData {
    after: Option<u64>,
    before: Option<u64>,
    limit: Option<NonZeroU64>,
    /// The client's previous connections, as in a position.
    #[serde(default)]
    conn: PreviousConns,
}

impl Hub {
    pub(super) fn verb_history(
        &mut self,
        now: Timestamp,
        request: &Message<'_>,
        out: &mut Outbox,
    ) -> Result<(), RequestError> {
        if self.is_clustered() {
            return self.verb_history_relayed(now, request, None, out);
        }
        let room = self.room_of(request)?;
        self.check_right(now, request.conn, Right::History, room)?;
        let data: HistoryData = object(request.data.as_str()).ok_or(RequestError::HistoryData)?;
        if !data.conn.are_few() {
            return Err(RequestError::PreviousConns);
        }
        let slot = self.member_of(request)?;
        let history = self.table().get(slot).history();
        if history.ok_or(PageError::NoHistory)?.is_away() {
            return self.wait_for_history(request, out);
        }
        self.trim_told(now, slot, out);
        let reader = Some(self.reader(request.conn, &data.conn));
        let kind = self.position_kind(slot, out);
        let history = self.table().get(slot).history();
        let history = history.ok_or(PageError::NoHistory)?;
        let (span, limit) = ((data.after, data.before), page_limit(data.limit));
        let page = self.page(history, span, data.after.is_some(), limit, reader);
        answer(kind, request, out, |text| {
            let frames = page.iter().map(|(_, frame)| *frame);
            write_page(text, &history.position(), frames, history.first());
        });
        if let (Some((first, _)), Some((last, _))) = (page.first(), page.last()) {
            let span = (*first, *last);
            self.log_page(now, slot, request.conn, (span, &data.conn.0));
        }
        Ok(())
    }

    /// A member as the reader of a history.
    pub(crate) fn reader<'a>(&'a self, conn: ConnId, was: &'a PreviousConns) -> Reader<'a> {
        let user = self.connection(conn).and_then(|conn| conn.user);
        let was = &was.0;
        Reader { conn, was, user }
    }

    /// Holds a request until the host has loaded the messages of its room, and asks for them.
    pub(super) fn wait_for_history(
        &mut self,
        request: &Message<'_>,
        out: &mut Outbox,
    ) -> Result<(), RequestError> {
        let room = self.room_of(request)?;
        if !self.add_pending_read(request) {
            let limit = Rooms::PENDING_READS_MAX;
            return Err(RequestError::Reads { limit });
        }
        out.load_history(room);
        Ok(())
    }

    /// Takes the messages of a room's history that the host stored: after
    /// [`Command::LoadHistory`](crate::Command::LoadHistory), before the next input; or all at once
    /// at the start. They are the messages of [`Command::Append`](crate::Command::Append), oldest
    /// first. Missing messages count as dropped: clients that need them are told that they are
    /// lost. Messages that the hub still has are not taken twice.
    ///
    /// Work: these messages, and the requests that waited for them.
    pub fn history_loaded(
        &mut self,
        now: Timestamp,
        room: &str,
        messages: impl IntoIterator<Item = HistoryMessage>,
        out: &mut Outbox,
    ) {
        self.take_back(now, room, messages, out);
        for read in self.take_pending_reads(room) {
            if self.connection(read.conn).is_some() {
                self.verb(now, &read.request(), out);
            }
        }
    }
}

/// Writes the `data` of the answer.
fn write_page<'a>(
    text: &mut String,
    position: &Position<'_>,
    frames: impl Iterator<Item = &'a str>,
    first: u64,
) {
    text.push_str(r#"{"epoch":"#);
    write_string(text, &position.epoch);
    write_number(text, r#","offset":"#, position.offset);
    text.push_str(r#","messages":["#);
    for (at, frame) in frames.enumerate() {
        if at > 0 {
            text.push(',');
        }
        text.push_str(frame);
    }
    write_number(text, r#"],"first":"#, first);
    text.push('}');
}
