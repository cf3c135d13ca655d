//! All histories of a hub: what they take together, and whose is the oldest.

use alloc::collections::BTreeMap;

use crate::room::history::History;

/// Rooms are known by their slots, and ordered by the number that each was given when it was last
/// touched: by a message, by its beginning or by its last member's leaving.
#[derive(Debug, Clone, Default)]
pub(crate) struct Histories {
    /// What all messages take in memory.
    pub(crate) bytes: usize,
    next: u64,
    /// Rooms that hold messages.
    held: BTreeMap<u64, u32>,
    /// Rooms without members.
    idle: BTreeMap<u64, u32>,
    /// Rooms without members in which nothing was ever said.
    blank: BTreeMap<u64, u32>,
}

impl Histories {
    /// A room was touched: its new number, in place of the one it had.
    pub(crate) fn touch(&mut self, old: u64) -> u64 {
        self.remove(old);
        self.next += 1;
        self.next
    }

    /// Takes a room in under the number it has.
    pub(crate) fn insert(&mut self, history: &History, slot: u32, idle: bool) {
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

    /// True when a room is known by this number.
    pub(crate) fn has(&self, seq: u64) -> bool {
        let mut rooms = [&self.held, &self.idle, &self.blank].into_iter();
        rooms.any(|rooms| rooms.contains_key(&seq))
    }

    pub(crate) fn remove(&mut self, seq: u64) {
        for rooms in [&mut self.held, &mut self.idle, &mut self.blank] {
            rooms.remove(&seq);
        }
    }

    /// The room that holds messages and was touched longest ago.
    pub(crate) fn oldest_held(&self) -> Option<u32> {
        self.held.values().next().copied()
    }

    /// The room without members that was touched longest ago; those where nothing was said come first.
    pub(crate) fn oldest_idle(&self) -> Option<u32> {
        self.blank
            .values()
            .chain(self.idle.values())
            .next()
            .copied()
    }

    /// How many rooms have no members.
    pub(crate) fn idle(&self) -> usize {
        self.idle.len() + self.blank.len()
    }

    pub(crate) fn held(&self) -> usize {
        self.held.len()
    }
}
