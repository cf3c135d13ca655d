//! The histories of rooms: appending, trimming and reading.

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
    /// The position of a room, whether or not the room exists.
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

    /// The history of a room, if there is one.
    pub(crate) fn history_of(&self, room: &str) -> Option<&History> {
        self.rooms.find(room)?.1.history()
    }

    /// The history policy of an existing room.
    pub(super) fn history_policy(&self, slot: u32) -> Option<&HistoryPolicy> {
        self.room_policy(slot)?.history.as_ref()
    }

    /// The kind of an answer that tells a member its room's position.
    pub(crate) fn position_kind(&self, slot: u32, out: &mut Outbox) -> Kind {
        match self.room_policy(slot) {
            Some(policy) if policy.overflow == Overflow::DropOldest => {
                let offset = self.position_at(slot).offset;
                out.position(&self.rooms.get(slot).name, offset)
            }
            Some(_) | None => Kind::CONTROL,
        }
    }

    /// Appends a message to a room's history. The caller then calls [`evict`](Self::evict), which
    /// emits the commands that this leads to.
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

    /// Changes a room's history and trims it by its policy. The host is told which messages it may
    /// delete.
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

    /// Trims a room's history by its policy.
    pub(crate) fn trim_told(&mut self, now: Timestamp, slot: u32, out: &mut Outbox) {
        self.change_told(now, slot, out, |_| {});
    }

    /// Takes the messages of a room that the host has loaded.
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

    /// The number of recoveries since the hub started, by outcome.
    pub const fn recoveries(&self) -> &Recoveries {
        &self.recoveries
    }

    /// Counts a recovery.
    pub(crate) const fn count_recovery(&mut self, outcome: RecoveryOutcome) {
        self.recoveries.add(outcome);
    }

    /// Records that a member was sent the messages it had missed after an offset. `was` are the
    /// previous connections of the client.
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

    /// Records that a member was sent a page of a history, from one offset to another.
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

    /// Holds a request until the messages of its room are loaded; returns false when too many wait.
    pub(crate) fn add_pending_read(&mut self, request: &Message<'_>) -> bool {
        self.rooms.add_pending_read(PendingRead::new(request))
    }

    /// The requests that waited for the messages of a room.
    pub(crate) fn take_pending_reads(&mut self, room: &str) -> Vec<PendingRead> {
        self.rooms.take_pending_reads(room)
    }

    /// Asks the host to load a room's messages when the whole history is larger than its policy
    /// allows: only loaded messages can be trimmed.
    pub(super) fn load_if_large(&self, slot: u32, out: &mut Outbox) {
        let history = self.rooms.get(slot).history();
        if let (Some(history), Some(policy)) = (history, self.history_policy(slot))
            && history.is_away()
            && history.kept_bytes() > policy.bytes
        {
            out.load_history(&self.rooms.get(slot).name);
        }
    }

    /// Enforces the limits on all histories together.
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

    /// Drops messages when the histories take more than `bytes_max` bytes of memory: from the room
    /// whose last message is the oldest, and in each room the oldest messages first. It is for a
    /// host with several hubs under one limit. Rooms keep their positions.
    ///
    /// Work: the dropped messages.
    pub fn trim_histories(&mut self, bytes_max: usize, out: &mut Outbox) {
        if self.rooms.histories().bytes() <= bytes_max {
            return;
        }
        // With some space to spare, or each further message would make a room drop some.
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

    /// True while messages of a room are only with the host, which has to [load
    /// them](Self::history_loaded) before the room's history can be read.
    pub fn is_away(&self, room: &str) -> bool {
        self.history_of(room).is_some_and(History::is_away)
    }

    /// A page of a room's history, for the application: frames, oldest first; `None` when the room
    /// keeps no history. With `after` it begins behind this offset, otherwise it holds the last
    /// messages; all are below `before`, if given. It has at most `limit` and
    /// `Limits::page_entries` messages and `Limits::page_bytes` bytes, but at least one if there is
    /// any. It lacks messages that are [away](Self::is_away), and may have some that are too old
    /// for the policy until the room is used.
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

    /// The offset of the oldest message that a room keeps; the next offset when it keeps no
    /// messages; `None` when it has no history. A client that has everything below it has missed
    /// nothing.
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
    /// When the room keeps no history. When its messages are [away](Self::is_away): the host loads
    /// them first. When they are with the relay: see [`relayed_page`](Self::relayed_page).
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
        // Messages that are too old are dropped when the room is used next: a query changes
        // nothing.
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

    /// The frames between two offsets, each with its offset, oldest first: the first ones that fit,
    /// or else the last ones.
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
