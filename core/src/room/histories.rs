//! All histories of a hub: their total size and their order by age.

use alloc::collections::BTreeMap;

use super::history::{History, NUMBER_MAX};
use crate::time::Timestamp;

/// Rooms are identified by slot, and ordered by the number that each got when it was last touched:
/// by a message, by its start or by the leaving of its last member.
#[derive(Debug, Clone, Default)]
pub(crate) struct Histories {
    /// Bytes of memory that all messages take.
    bytes: usize,
    next: u64,
    /// Rooms that hold messages.
    held: BTreeMap<u64, u32>,
    /// Rooms without members.
    idle: BTreeMap<u64, u32>,
    /// Rooms without members that never had a message.
    blank: BTreeMap<u64, u32>,
    /// The number of those that have begun.
    opened: u64,
    /// True when `opened` changed since it was last saved.
    unsaved: bool,
}

impl Histories {
    /// The next history of the hub.
    pub(super) fn begin(&mut self, now: Timestamp, epoch: &str) -> History {
        self.opened += 1;
        self.unsaved = true;
        History::new(epoch, self.opened, now)
    }

    /// Replaces the history that has just begun with the saved history of a room without members.
    pub(super) fn wake(&mut self, fresh: &mut History, mut saved: History, slot: u32) {
        self.remove(fresh.seq);
        // The number of the fresh history is not used.
        self.opened = saved.number.max(fresh.number - 1);
        let all = [&self.held, &self.idle, &self.blank];
        let taken = all.iter().any(|rooms| rooms.contains_key(&saved.seq));
        if taken || !(1..NUMBER_MAX).contains(&saved.seq) {
            // No room gets 0, and no two rooms get the same number, so one of the two is damaged.
            // The number just given belongs to no other room.
            saved.seq = fresh.seq;
        }
        *fresh = saved;
        self.insert(fresh, slot, true);
    }

    pub(super) fn end(&mut self, history: History) {
        self.bytes -= history.cost();
        self.remove(history.seq);
    }

    /// Changes the history of a room, which is `idle` without members.
    pub(super) fn change(
        &mut self,
        history: &mut History,
        slot: u32,
        idle: bool,
        newest: bool,
        change: impl FnOnce(&mut History),
    ) {
        let before = history.cost();
        change(history);
        self.bytes = self.bytes + history.cost() - before;
        // The newest gets a new number in place of the one it had, unless it is that already.
        if newest && (history.seq == 0 || history.seq != self.next) {
            self.remove(history.seq);
            self.next += 1;
            history.seq = self.next;
        }
        self.insert(history, slot, idle);
    }

    /// Adds a room under its number.
    fn insert(&mut self, history: &History, slot: u32, idle: bool) {
        let (seq, blank) = (history.seq, history.top == 0);
        self.next = self.next.max(seq);
        for (rooms, is_one) in [
            (&mut self.held, history.len() > 0),
            (&mut self.idle, idle && !blank),
            (&mut self.blank, idle && blank),
        ] {
            if is_one {
                rooms.insert(seq, slot);
            } else {
                rooms.remove(&seq);
            }
        }
    }

    fn remove(&mut self, seq: u64) {
        for rooms in [&mut self.held, &mut self.idle, &mut self.blank] {
            rooms.remove(&seq);
        }
    }

    /// Bytes of memory that all messages take.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// The number of those that have begun: each is a part of an epoch.
    pub(crate) const fn opened(&self) -> u64 {
        self.opened
    }

    /// Says how many have begun before the hub slept.
    pub(super) fn set_opened(&mut self, opened: u64) {
        self.opened = opened.min(NUMBER_MAX);
    }

    /// True when the number of those that have begun changed since this was last asked.
    pub(super) const fn take_unsaved(&mut self) -> bool {
        core::mem::replace(&mut self.unsaved, false)
    }

    /// The room that holds messages and was touched longest ago.
    pub(crate) fn oldest_held(&self) -> Option<u32> {
        self.held.values().next().copied()
    }

    /// The least recently touched room without members; rooms without messages come first.
    pub(crate) fn oldest_idle(&self) -> Option<u32> {
        let mut rooms = self.blank.values().chain(self.idle.values());
        rooms.next().copied()
    }

    /// The number of rooms without members.
    pub(crate) fn idle(&self) -> usize {
        self.idle.len() + self.blank.len()
    }

    /// Checks the sums over all histories and whether their rooms have no members; for tests.
    pub(super) fn assert_consistent<'a>(
        &self,
        histories: impl Iterator<Item = (&'a History, bool)>,
    ) {
        let (mut bytes, mut held, mut idle) = (0, 0, 0);
        for (history, is_idle) in histories {
            bytes += history.cost();
            held += usize::from(history.len() > 0);
            idle += usize::from(is_idle);
        }
        assert_eq!(bytes, self.bytes, "bytes of histories");
        assert_eq!(held, self.held.len(), "histories with messages");
        assert_eq!(idle, self.idle(), "rooms without members");
    }
}
