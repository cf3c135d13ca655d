//! The histories of rooms: what is put into them, what is dropped, what is read.

mod relayed;

use alloc::{borrow::Cow, boxed::Box, vec::Vec};
use core::ops::{Bound, RangeBounds};

use super::Hub;
use crate::outbox::{Kind, Outbox};
use crate::policy::{HistoryPolicy, Overflow};
use crate::room::membership_log::{ChangeKind, Recovery};
use crate::room::page_log::PageRead;
use crate::room::{Except, HistoryMessage, HistoryPage, PageError, Position};
use crate::room::{
    history::{History, Reader},
    pending_read::PendingRead,
    recovery::{Recoveries, RecoveryOutcome},
};
use crate::{time::Timestamp, wire::ConnId, wire::Message};

impl Hub {
    /// The position of a room, members or not.
    pub fn position(&self, room: &str) -> Position<'_> {
        if self.is_clustered() {
            return self.relayed_position(room);
        }
        match self.rooms.find(room) {
            Some((slot, _)) => self.position_at(slot),
            None => self.nowhere(),
        }
    }

    #[inline]
    pub(crate) fn position_at(&self, slot: u32) -> Position<'_> {
        match self.rooms.get(slot).history() {
            Some(history) => history.position(),
            None => self.nowhere(),
        }
    }

    pub(super) fn nowhere(&self) -> Position<'_> {
        Position {
            epoch: Cow::Borrowed(&self.config.epoch),
            offset: 0,
        }
    }

    /// The history of a room, where there is one.
    pub(crate) fn history_of(&self, room: &str) -> Option<&History> {
        self.rooms.find(room)?.1.history()
    }

    /// The history policy of a room that there is.
    pub(super) fn history_policy(&self, slot: u32) -> Option<&HistoryPolicy> {
        self.room_policy(slot)?.history.as_ref()
    }

    /// The kind of an answer that says where a member of a room stands.
    pub(crate) fn position_kind(&self, slot: u32, out: &mut Outbox) -> Kind {
        match self.room_policy(slot) {
            Some(policy) if policy.overflow == Overflow::DropOldest => {
                let offset = self.position_at(slot).offset;
                out.position(&self.rooms.get(slot).name, offset)
            }
            Some(_) | None => Kind::CONTROL,
        }
    }

    /// Puts a message behind a room's history. Commands that this leads to are left to
    /// [`evict`](Self::evict).
    pub(super) fn append(&mut self, now: Timestamp, slot: u32, frame: &str, except: Except) {
        let Some(policy) = self.history_policy(slot).copied() else {
            return;
        };
        self.rooms.change_newest_history(slot, |history| {
            history.push(now, frame, except);
            history.trim(now, &policy);
        });
        self.rooms.arm(slot, now + policy.age);
    }

    /// Changes a room's history and drops what its policy does not keep; the host is told what it
    /// need not keep any more.
    fn change_told(
        &mut self,
        now: Timestamp,
        slot: u32,
        out: &mut Outbox,
        change: impl FnOnce(&mut History),
    ) {
        let Some(policy) = self.history_policy(slot).copied() else {
            return;
        };
        let mut dropped = false;
        self.rooms.change_history(slot, |history| {
            let first = history.first();
            change(history);
            history.trim(now, &policy);
            dropped = history.first() != first;
        });
        if dropped {
            self.persist_room(slot, out);
        }
    }

    /// Drops what a room's policy does not keep.
    pub(crate) fn trim_told(&mut self, now: Timestamp, slot: u32, out: &mut Outbox) {
        self.change_told(now, slot, out, |_| {});
    }

    /// Takes the messages of a room that the host gives back.
    pub(crate) fn take_back(
        &mut self,
        now: Timestamp,
        room: &str,
        messages: impl IntoIterator<Item = HistoryMessage>,
        out: &mut Outbox,
    ) {
        if let Some((slot, _)) = self.rooms.find(room) {
            self.change_told(now, slot, out, |history| history.history_loaded(messages));
            self.evict(out);
        }
    }

    /// Recoveries since the hub began, by outcome.
    pub const fn recoveries(&self) -> &Recoveries {
        &self.recoveries
    }

    /// Counts a recovery.
    pub(crate) const fn count_recovery(&mut self, outcome: RecoveryOutcome) {
        self.recoveries.add(outcome);
    }

    /// Remembers that a member was sent what it had missed behind an offset. `was` are the previous
    /// connections of the client.
    #[cold]
    #[inline(never)]
    pub(crate) fn log_recovery(
        &mut self,
        now: Timestamp,
        slot: u32,
        conn: ConnId,
        (after, was): (u64, &[ConnId]),
    ) {
        let was = was.into();
        let recovery = Box::new(Recovery { after, was });
        self.rooms
            .log(now, slot, conn, ChangeKind::Recovered(recovery));
    }

    /// Remembers that a member was given a page of a history, from one offset to another.
    #[cold]
    #[inline(never)]
    pub(crate) fn log_page(
        &mut self,
        at: Timestamp,
        slot: u32,
        conn: ConnId,
        ((first, last), was): ((u64, u64), &[ConnId]),
    ) {
        if let Some(history) = self.rooms.get(slot).history() {
            let history = history.number();
            self.rooms.log_page(PageRead {
                history,
                conn,
                first,
                last,
                was: was.into(),
                at,
            });
        }
    }

    /// Keeps a request until the messages of its room are there; false when too many wait.
    pub(crate) fn add_pending_read(&mut self, request: &Message<'_>) -> bool {
        self.rooms.add_pending_read(PendingRead::new(request))
    }

    /// The requests that waited for the messages of a room.
    pub(crate) fn take_pending_reads(&mut self, room: &str) -> Vec<PendingRead> {
        self.rooms.take_pending_reads(room)
    }

    /// Asks the host for the messages that it has of a room, when all together are more than the
    /// policy keeps: which of them are too many can be said only of those that are here.
    pub(super) fn load_if_large(&self, slot: u32, out: &mut Outbox) {
        let history = self.rooms.get(slot).history();
        if let (Some(history), Some(policy)) = (history, self.history_policy(slot))
            && history.is_away()
            && history.kept_bytes() > policy.bytes
        {
            out.load_history(&self.rooms.get(slot).name);
        }
    }

    /// Holds the limits on all histories together.
    pub(super) fn evict(&mut self, out: &mut Outbox) {
        let limits = &self.config.limits;
        let (bytes_max, rooms_max) = (limits.history_bytes, limits.history_rooms);
        self.trim_histories(bytes_max, out);
        while self.rooms.histories().idle() > rooms_max
            && let Some(slot) = self.rooms.histories().oldest_idle()
        {
            self.forget(slot, out);
        }
    }

    /// Drops messages of histories when those take more than so many bytes of memory: of the room
    /// with the oldest last message first, and of each the oldest first. For a host that has
    /// several hubs and one limit. Rooms keep their positions.
    ///
    /// Work: what is dropped.
    pub fn trim_histories(&mut self, bytes_max: usize, out: &mut Outbox) {
        if self.rooms.histories().bytes() <= bytes_max {
            return;
        }
        // Not to the brim, or each further message would cost a room something.
        let left = bytes_max - bytes_max / 32;
        while self.rooms.histories().bytes() > left
            && let Some(slot) = self.rooms.histories().oldest_held()
        {
            let over = self.rooms.histories().bytes() - left;
            self.rooms
                .change_history(slot, |history| history.shed(over));
            self.persist_room(slot, out);
        }
    }

    /// True while messages of a room are with the host, which has to
    /// [give them back](Self::history_loaded) before the room's history can be asked for.
    pub fn is_away(&self, room: &str) -> bool {
        self.history_of(room).is_some_and(History::is_away)
    }

    /// A page of a room's history, for the application: frames, oldest first; `None` when the room
    /// keeps none. With `after` those that follow this offset, else the last ones, `before` an
    /// offset; at most `limit`, `Limits::page_entries` and `Limits::page_bytes`, but one if there
    /// is any. What is [away](Self::is_away) is not in it, and what is older than the policy wants
    /// may be until the room is used.
    ///
    /// Work: the page.
    pub fn history(
        &self,
        room: &str,
        after: Option<u64>,
        before: Option<u64>,
        limit: usize,
    ) -> Option<Vec<&str>> {
        let history = self.history_of(room)?;
        let page = self.page(history, (after, before), after.is_some(), limit, None);
        Some(page.into_iter().map(|(_, frame)| frame).collect())
    }

    /// The offset of the oldest message that a room has kept; that of the next one when it has kept
    /// none; `None` when it keeps no history. Who has everything below it misses nothing.
    pub fn history_first(&self, room: &str) -> Option<u64> {
        self.history_of(room).map(History::first)
    }

    /// A page of a room's history; see
    /// [`NamespaceContext::history`](crate::NamespaceContext::history). It is empty when there is
    /// no such room.
    ///
    /// Work: the page.
    ///
    /// # Errors
    ///
    /// When the room keeps no history. When its messages are [away](Self::is_away): the host gives
    /// them back first. When they are the relay's: see [`relayed_page`](Self::relayed_page).
    pub fn history_page(
        &self,
        now: Timestamp,
        room: &str,
        offsets: impl RangeBounds<u64>,
        limit: usize,
    ) -> Result<HistoryPage, PageError> {
        let policy = self.policy_of(room).filter(|_| !self.config.raw);
        let policy = policy.and_then(|index| self.config.policies.get(index).history.as_ref());
        let policy = policy.ok_or(PageError::NoHistory)?;
        if self.is_clustered() {
            return Err(PageError::Unavailable);
        }
        let position = self.position(room);
        let (epoch, offset) = (position.epoch.into_owned(), position.offset);
        let Some(history) = self.history_of(room) else {
            return Ok(HistoryPage {
                epoch,
                offset,
                messages: Vec::new(),
                first: offset + 1,
            });
        };
        if history.is_away() {
            return Err(PageError::Unavailable);
        }
        let after = match offsets.start_bound() {
            Bound::Included(&first) => Some(first.saturating_sub(1)),
            Bound::Excluded(&before) => Some(before),
            Bound::Unbounded => None,
        };
        let before = match offsets.end_bound() {
            Bound::Included(&last) => Some(last.saturating_add(1)),
            Bound::Excluded(&end) => Some(end),
            Bound::Unbounded => None,
        };
        // What is too old is dropped when the room is used next; a question changes nothing.
        let fresh = history.first_since(now, policy.age);
        let oldest = after.unwrap_or(0).max(fresh.saturating_sub(1));
        let span = (Some(oldest), before);
        let frames = self.page(history, span, after.is_some(), limit, None);
        let read = |(_, frame): (u64, &str)| {
            serde_json::from_str(frame).map_err(|_| PageError::Unavailable)
        };
        let messages = frames.into_iter().map(read).collect::<Result<_, _>>()?;
        Ok(HistoryPage {
            epoch,
            offset,
            messages,
            first: history.first().max(fresh),
        })
    }

    /// The frames between two offsets, with theirs: the first of them, or else the last, oldest
    /// first.
    pub(crate) fn page<'a>(
        &self,
        history: &'a History,
        (after, before): (Option<u64>, Option<u64>),
        first: bool,
        limit: usize,
        reader: Option<Reader<'a>>,
    ) -> Vec<(u64, &'a str)> {
        let limits = self.limits();
        let limit = limit.min(limits.page_entries);
        let messages = history.read_numbered(after, before, reader);
        let mut bytes = 0;
        let mut fits = |frame: &str| {
            bytes += frame.len();
            bytes <= limits.page_bytes || bytes == frame.len()
        };
        if first {
            messages
                .take(limit)
                .take_while(|(_, frame)| fits(frame))
                .collect()
        } else {
            let messages = messages.rev().take(limit);
            let mut page: Vec<_> = messages.take_while(|(_, frame)| fits(frame)).collect();
            page.reverse();
            page
        }
    }
}
