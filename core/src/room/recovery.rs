//! What members missed: a join that goes on where another ended, pages of a history, gaps.

use alloc::{borrow::Cow, boxed::Box, string::String, vec, vec::Vec};
use core::fmt;

use serde::{Deserialize, Deserializer, de};

use crate::{
    hub::Hub,
    hub::conn::ConnId,
    hub::error::RequestError,
    outbox::Outbox,
    room::PageError,
    room::history::{History, HistoryMessage, Reader, Since},
    time::Timestamp,
    verb::{answer_as, object},
    wire::envelope::{Envelope, RequestId, write_head, write_string},
    wire::payload::Payload,
};

/// The position that a client has seen.
#[derive(Debug, Deserialize)]
#[serde(expecting = "an object")]
pub(crate) struct SincePosition<'a> {
    #[serde(borrow)]
    epoch: Cow<'a, str>,
    offset: u64,
    /// The connections that it was since then.
    #[serde(default)]
    conn: PreviousConns,
}

/// One connection id, or some.
#[derive(Debug, Default)]
struct PreviousConns(Vec<ConnId>);

impl PreviousConns {
    /// More lost connections than these between two positions are no honest client's.
    const MAX: usize = 16;
}

impl<'de> Deserialize<'de> for PreviousConns {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = PreviousConns;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(
                    f,
                    "a connection id, or at most {} of them",
                    PreviousConns::MAX
                )
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<PreviousConns, E> {
                let conn = text.parse().map_err(E::custom)?;
                Ok(PreviousConns(vec![conn]))
            }

            /// As if it were not there.
            fn visit_unit<E: de::Error>(self) -> Result<PreviousConns, E> {
                Ok(PreviousConns::default())
            }

            fn visit_seq<A: de::SeqAccess<'de>>(
                self,
                mut ids: A,
            ) -> Result<PreviousConns, A::Error> {
                let mut conns = Vec::new();
                while let Some(conn) = ids.next_element()? {
                    if conns.len() == PreviousConns::MAX {
                        return Err(de::Error::invalid_length(PreviousConns::MAX + 1, &self));
                    }
                    conns.push(conn);
                }
                Ok(PreviousConns(conns))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// The `data` of `$history`.
#[derive(Default, Deserialize)]
#[serde(expecting = "an object")]
struct HistoryData {
    after: Option<u64>,
    before: Option<u64>,
    limit: Option<u64>,
    /// The connections that it was, as in a position.
    #[serde(default)]
    conn: PreviousConns,
}

/// A request that waits for a room's messages.
#[derive(Debug, Clone)]
pub(crate) struct PendingRead {
    conn: ConnId,
    event: Box<str>,
    id: Option<RequestId<'static>>,
    room: Box<str>,
    data: Box<str>,
}

/// Requests that may wait: a host gives messages back at once, so there is one.
const PENDING_READS_MAX: usize = 1_024;

impl Hub {
    /// What a member missed since a position: the index of the first such message, and how many;
    /// `None` when it cannot have them.
    pub(crate) fn missed(
        &mut self,
        now: Timestamp,
        slot: u32,
        conn: ConnId,
        since: &SincePosition<'_>,
        out: &mut Outbox,
    ) -> Option<(usize, usize)> {
        self.trim_told(now, slot, out);
        let limits = &self.config.limits;
        let history = self.rooms.get(slot).history()?;
        let Since::Missed(from) = history.since(&since.epoch, since.offset) else {
            return None;
        };
        let (mut count, mut bytes) = (0, 0);
        for (_, frame) in history.read(from, self.reader(conn, &since.conn.0)) {
            (count, bytes) = (count + 1, bytes + frame.len());
            if count > limits.recovery_messages || bytes > limits.recovery_bytes {
                return None;
            }
        }
        Some((from, count))
    }

    /// Sends a member what it missed.
    pub(crate) fn replay(
        &self,
        slot: u32,
        conn: ConnId,
        since: &SincePosition<'_>,
        from: usize,
        out: &mut Outbox,
    ) {
        if let Some(history) = self.rooms.get(slot).history() {
            for (_, frame) in history.read(from, self.reader(conn, &since.conn.0)) {
                out.replay(conn, frame);
            }
        }
    }

    fn reader<'a>(&'a self, conn: ConnId, was: &'a [ConnId]) -> Reader<'a> {
        let user = self.conns.get(conn).and_then(|conn| conn.user.as_deref());
        Reader { conn, was, user }
    }

    /// Whether a join at this position has to wait for the host.
    pub(crate) fn waits_for(&self, room: &str, since: &SincePosition<'_>) -> bool {
        let history = self.rooms.find(room).and_then(|(_, room)| room.history());
        history
            .is_some_and(|history| matches!(history.since(&since.epoch, since.offset), Since::Away))
    }

    pub(crate) fn verb_history(
        &mut self,
        now: Timestamp,
        conn: ConnId,
        request: &Envelope<'_>,
        out: &mut Outbox,
    ) -> Result<(), RequestError> {
        let name = self.room_of(request)?;
        let data: Option<HistoryData> =
            object(request.data.as_str()).ok_or(RequestError::HistoryData)?;
        let data = data.unwrap_or_default();
        if data.limit == Some(0) {
            return Err(RequestError::HistoryData);
        }
        let found = self.rooms.find(name).filter(|(_, room)| room.has(conn));
        let (slot, room) = found.ok_or(RequestError::NotAMember)?;
        if room.history().ok_or(PageError::NoHistory)?.is_away() {
            return self.park(conn, request, name, out);
        }
        self.trim_told(now, slot, out);
        let limit = data.limit.and_then(|limit| usize::try_from(limit).ok());
        let reader = self.reader(conn, &data.conn.0);
        let kind = self.position_kind(slot, out);
        let history = self.rooms.get(slot).history().ok_or(PageError::NoHistory)?;
        let (after, before) = (data.after, data.before);
        let page = self.page(
            history,
            (after, before),
            after.is_some(),
            limit,
            Some(reader),
        );
        answer_as(kind, conn, request, out, |text| {
            text.push_str(r#"{"epoch":"#);
            write_string(text, &history.epoch);
            text.push_str(r#","offset":"#);
            text.push_str(itoa::Buffer::new().format(history.top));
            text.push_str(r#","messages":["#);
            for (at, frame) in page.iter().enumerate() {
                if at > 0 {
                    text.push(',');
                }
                text.push_str(frame);
            }
            text.push_str(r#"],"first":"#);
            text.push_str(itoa::Buffer::new().format(history.first()));
            text.push('}');
        });
        Ok(())
    }

    /// Keeps a request until the host gave a room's messages back, and asks it to.
    pub(crate) fn park(
        &mut self,
        conn: ConnId,
        request: &Envelope<'_>,
        room: &str,
        out: &mut Outbox,
    ) -> Result<(), RequestError> {
        if self.pending_reads.len() >= PENDING_READS_MAX {
            let limit = PENDING_READS_MAX;
            return Err(RequestError::Reads { limit });
        }
        self.pending_reads.push(PendingRead {
            conn,
            event: request.event.as_ref().into(),
            id: request.id.clone().map(RequestId::into_owned),
            room: room.into(),
            data: request.data.as_str().into(),
        });
        out.load_history(room);
        Ok(())
    }

    /// The host gives back what it kept of a room's history: after
    /// [`Command::LoadHistory`](crate::Command::LoadHistory), before the next input; or all at once when it
    /// starts. The messages are those of [`Command::Append`](crate::Command::Append), oldest first.
    /// Those that are missing are as if they had been dropped: whoever needs them is told that they
    /// are lost. Messages that the hub did not forget are not taken twice.
    ///
    /// Work: these messages, and the requests that waited for them.
    pub fn history_loaded(
        &mut self,
        now: Timestamp,
        room: &str,
        messages: impl IntoIterator<Item = HistoryMessage>,
        out: &mut Outbox,
    ) {
        if let Some((slot, _)) = self.rooms.find(room) {
            let first = |hub: &Self| hub.rooms.get(slot).history().map(History::first);
            let before = first(self);
            self.change(slot, |history| history.history_loaded(messages));
            self.trim(now, slot);
            if first(self) != before {
                self.persist_room(slot, out);
            }
            self.evict(out);
        }
        let waited = |pending: &mut PendingRead| *pending.room == *room;
        let waited: Vec<_> = self.pending_reads.extract_if(.., waited).collect();
        for pending in waited {
            if self.conns.get(pending.conn).is_none() {
                continue;
            }
            let data = Payload::from_written(&pending.data).unwrap_or(Payload::NULL);
            let request = Envelope {
                event: Cow::Borrowed(&*pending.event),
                id: pending.id.clone(),
                room: Some(Cow::Borrowed(&*pending.room)),
                echo: None,
                data,
            };
            self.verb(now, pending.conn, &request, out);
        }
    }

    /// Whether messages of a room are with the host, which has to
    /// [give them back](Self::history_loaded) before the room's history can be asked for.
    pub fn is_away(&self, room: &str) -> bool {
        let history = self.rooms.find(room).and_then(|(_, room)| room.history());
        history.is_some_and(History::is_away)
    }

    /// A page of a room's history, for the application: frames, oldest first; `None` when the room
    /// keeps none. With `after` those that follow this offset, else the last ones, `before` an
    /// offset; at most `limit`, `Limits::page_entries` and `Limits::page_bytes`, but one if there is
    /// any. What is [away](Self::is_away) is not in it, and what is older than the policy wants may
    /// be until the room is used.
    ///
    /// Work: the page.
    pub fn history(
        &self,
        room: &str,
        after: Option<u64>,
        before: Option<u64>,
        limit: usize,
    ) -> Option<Vec<&str>> {
        let (_, room) = self.rooms.find(room)?;
        let history = room.history()?;
        Some(self.page(history, (after, before), after.is_some(), Some(limit), None))
    }

    /// The offset of the oldest message that a room has kept; that of the next one when it has kept
    /// none; `None` when it keeps no history. Who has everything below it misses nothing.
    pub fn history_first(&self, room: &str) -> Option<u64> {
        let (_, room) = self.rooms.find(room)?;
        room.history().map(History::first)
    }

    /// The frames between two offsets: the first of them, or else the last, oldest first.
    pub(crate) fn page<'a>(
        &self,
        history: &'a History,
        (after, before): (Option<u64>, Option<u64>),
        first: bool,
        limit: Option<usize>,
        reader: Option<Reader<'a>>,
    ) -> Vec<&'a str> {
        let limits = self.limits();
        let limit = limit.unwrap_or(usize::MAX).min(limits.page_entries);
        let messages = history.read_between(after, before, reader);
        let mut bytes = 0;
        let mut fits = |frame: &str| {
            bytes += frame.len();
            bytes <= limits.page_bytes || bytes == frame.len()
        };
        if first {
            messages
                .take(limit)
                .take_while(|frame| fits(frame))
                .collect()
        } else {
            let messages = messages.rev().take(limit);
            let mut page: Vec<_> = messages.take_while(|frame| fits(frame)).collect();
            page.reverse();
            page
        }
    }
}

/// The text of a `$gap`: messages of a room behind this offset were dropped for who reads it, because
/// it reads too slowly; see [`Shed`](crate::outbox::Shed). The offset is 0 where there is no history.
///
/// It stands where the first of them was, so that nobody needs to be asked for it: whatever the reader
/// was told before, it was a member there.
pub fn gap_notice(room: &str, after: u64) -> String {
    let mut text = String::new();
    write_head(&mut text, "$gap", None, Some(room));
    text.push_str(r#","data":{"after":"#);
    text.push_str(itoa::Buffer::new().format(after));
    text.push_str("}}");
    text
}
