//! `$history` in a clustered hub: the messages are with the relay.

use alloc::{string::String, vec::Vec};

use super::{HistoryData, write_page};
use crate::hub::{Hub, RequestError};
use crate::policy::Right;
use crate::relay::{Asked, Read, Topic, TopicPage};
use crate::room::{PageError, Position, pending_read::PendingRead};
use crate::verb::{answer, object, page_limit};
use crate::wire::Message;
use crate::{outbox::Outbox, time::Timestamp};

impl Hub {
    /// Asks the relay for a page, or answers with the page that it returned.
    pub(crate) fn verb_history_relayed(
        &mut self,
        now: Timestamp,
        request: &Message<'_>,
        page: Option<&TopicPage>,
        out: &mut Outbox,
    ) -> Result<(), RequestError> {
        let room = self.room_of(request)?;
        self.check_right(now, request.conn, Right::History, room)?;
        let data: HistoryData = object(request.data.as_str()).ok_or(RequestError::HistoryData)?;
        if !data.conn.are_few() {
            return Err(RequestError::PreviousConns);
        }
        let slot = self.member_of(request)?;
        if !self.keeps(room) {
            return Err(PageError::NoHistory.into());
        }
        let limit = page_limit(data.limit).min(self.limits().page_entries);
        let span = (data.after, data.before);
        let Some(page) = page else {
            return self.ask_page(request, span, limit, out);
        };
        let reader = self.reader(request.conn, &data.conn);
        let mut frames: Vec<String> = Vec::new();
        for message in &page.messages {
            // Foreign messages were not published by a hub.
            let kept = (message.offset, &*message.body);
            frames.extend(self.kept_frame(room, kept, Some(reader)).ok().flatten());
        }
        if frames.is_empty()
            && let Some(span) = further(span, page)
        {
            // The whole page is for others: an empty answer would end the client's paging.
            return self.ask_page(request, span, limit, out);
        }
        let bytes_max = self.limits().page_bytes;
        let mut bytes = 0;
        let mut fits = |frame: &String| {
            bytes += frame.len();
            bytes <= bytes_max || bytes == frame.len()
        };
        let frames = if data.after.is_some() {
            let end = frames.iter().take_while(|frame| fits(frame)).count();
            &frames[..end]
        } else {
            let count = frames.iter().rev().take_while(|frame| fits(frame)).count();
            &frames[frames.len() - count..]
        };
        let kind = self.position_kind(slot, out);
        let mut position: Position<'_> = self.position(room);
        position.epoch = (&*page.position.epoch).into();
        position.offset = page.position.offset;
        answer(kind, request, out, |text| {
            let frames = frames.iter().map(String::as_str);
            write_page(text, &position, frames, page.first);
        });
        Ok(())
    }

    fn ask_page(
        &mut self,
        request: &Message<'_>,
        (after, before): (Option<u64>, Option<u64>),
        limit: usize,
        out: &mut Outbox,
    ) -> Result<(), RequestError> {
        let room = self.room_of(request)?;
        let read = Read {
            token: 0,
            topic: Topic::room(room),
            after,
            before,
            limit,
            bytes: self.limits().page_bytes,
            age_ms: self.kept_ms(room),
        };
        self.ask_relay(Asked::History(PendingRead::new(request)), read, out)
    }
}

/// The offsets to read after a page with nothing for the reader; `None` when there are no more.
fn further(
    (after, before): (Option<u64>, Option<u64>),
    page: &TopicPage,
) -> Option<(Option<u64>, Option<u64>)> {
    let (first, last) = (page.messages.first()?.offset, page.messages.last()?.offset);
    match after {
        Some(_) => (last < page.position.offset).then_some((Some(last), before)),
        None => (first > page.first).then_some((None, Some(first))),
    }
}
