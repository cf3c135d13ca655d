//! All rooms of a hub, with their histories, timers and pending requests.

use alloc::{boxed::Box, collections::BTreeMap, collections::BTreeSet, vec::Vec};
use core::ops::Bound;

use slab::Slab;

use super::{
    Extra, Room, histories::Histories, history::History, membership_log::Around,
    membership_log::ChangeKind, membership_log::MembershipLog, page_log::PageLog,
    page_log::PageRead, pending_read::PendingRead, presence::Presence,
};
use crate::{time::Timestamp, wire::ConnId};

/// All rooms of a hub.
///
/// Names are found in an ordered tree rather than a hash table: names that clients choose cannot
/// make it slow, listing in pages comes for free, and no order depends on a hash.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rooms {
    by_name: BTreeMap<Box<str>, u32>,
    slots: Slab<Room>,
    memberships: usize,
    histories: Histories,
    /// An entry for each room that has something to do later.
    dues: BTreeSet<(Timestamp, Box<str>)>,
    /// Rooms without connections whose absent users may still come back.
    vacant: usize,
    log: MembershipLog,
    pages: PageLog,
    pending_reads: Vec<PendingRead>,
}

impl Rooms {
    /// The limit on pending requests. A host loads messages at once, so usually there is one.
    pub(crate) const PENDING_READS_MAX: usize = 1_024;

    #[inline]
    pub(crate) fn find(&self, name: &str) -> Option<(u32, &Room)> {
        let slot = *self.by_name.get(name)?;
        Some((slot, &self.slots[slot as usize]))
    }

    pub(crate) fn get(&self, slot: u32) -> &Room {
        &self.slots[slot as usize]
    }

    fn get_mut(&mut self, slot: u32) -> &mut Room {
        &mut self.slots[slot as usize]
    }

    /// Opens a room and returns its slot. No room may have the name. Unless the room gets a
    /// history, the caller adds a member at once.
    pub(crate) fn open(&mut self, name: &str) -> u32 {
        let room = Room {
            name: name.into(),
            members: Vec::new(),
            extra: None,
        };
        // At most 2^20 connections in at most 2^12 rooms each at any sane limit.
        let slot = u32::try_from(self.slots.insert(room)).unwrap_or(u32::MAX);
        let before = self.by_name.insert(name.into(), slot);
        debug_assert!(before.is_none(), "a room was opened twice");
        slot
    }

    /// Adds a member that is not in.
    ///
    /// Work: a move of the members that are younger than this one.
    pub(crate) fn add(&mut self, slot: u32, conn: ConnId) {
        let members = &mut self.slots[slot as usize].members;
        match members.last() {
            Some(&last) if conn <= last => match members.binary_search(&conn) {
                Ok(_) => {
                    debug_assert!(false, "a member was added twice");
                    return;
                }
                Err(at) => members.insert(at, conn),
            },
            _ => members.push(conn),
        }
        self.memberships += 1;
    }

    /// Removes a member. A room ends with its last member, unless it has a policy: then true is
    /// returned, and the caller decides about its end.
    #[must_use]
    pub(crate) fn remove(&mut self, slot: u32, conn: ConnId) -> bool {
        let room = &mut self.slots[slot as usize];
        let Ok(at) = room.members.binary_search(&conn) else {
            debug_assert!(false, "a room without its member");
            return false;
        };
        room.members.remove(at);
        self.memberships -= 1;
        let extra = room.extra.is_some();
        if room.members.is_empty() {
            if extra {
                room.members = Vec::new();
            } else {
                self.end(slot);
            }
        } else if room.members.capacity() > 64 && room.members.len() < room.members.capacity() / 4 {
            room.members.shrink_to(room.members.len() * 2);
        }
        extra
    }

    /// Ends a room that nobody is in, with all that it has.
    pub(crate) fn end(&mut self, slot: u32) {
        let room = self.slots.remove(slot as usize);
        debug_assert!(room.members.is_empty(), "a room ended with members");
        self.by_name.remove(&room.name);
        if let Some(extra) = room.extra {
            self.forget(room.name, *extra);
            if self.slots.is_empty() {
                self.log.clear();
                self.pages.clear();
            }
        }
        if self.slots.is_empty() {
            self.slots = Slab::new();
        }
    }

    fn forget(&mut self, name: Box<str>, extra: Extra) {
        self.vacant -= usize::from(extra.vacant);
        if let Some(history) = extra.history {
            self.histories.end(history);
        }
        if let Some(due) = extra.due {
            self.dues.remove(&(due, name));
        }
    }

    /// Sets the index of the policy that matches a room. With `None` the room loses everything that
    /// it had by a policy.
    pub(crate) fn set_policy(&mut self, slot: u32, policy: Option<usize>) {
        let room = self.get_mut(slot);
        match (policy, &mut room.extra) {
            (Some(policy), Some(extra)) => extra.policy = policy,
            (Some(policy), extra) => {
                *extra = Some(Box::new(Extra {
                    policy,
                    history: None,
                    presence: None,
                    due: None,
                    vacant: false,
                }));
            }
            (None, extra) => {
                if let Some(extra) = extra.take() {
                    let name = room.name.clone();
                    self.forget(name, *extra);
                }
            }
        }
    }

    /// True when a policy matches the room of a slot; false also where there is no room.
    pub(crate) fn has_extra(&self, slot: u32) -> bool {
        self.slots
            .get(slot as usize)
            .is_some_and(|room| room.extra.is_some())
    }

    /// Frees the slots above the last that is taken.
    pub(crate) fn shrink_to_fit(&mut self) {
        self.slots.shrink_to_fit();
    }

    /// The number of rooms, vacant ones included.
    pub(crate) fn len(&self) -> usize {
        self.by_name.len()
    }

    pub(crate) const fn memberships(&self) -> usize {
        self.memberships
    }

    /// Rooms whose name comes after `after`, or at or after `from`, in the order of names.
    pub(crate) fn range(&self, from: Bound<&str>) -> impl Iterator<Item = (u32, &Room)> {
        self.by_name
            .range::<str, _>((from, Bound::Unbounded))
            .map(|(_, &slot)| (slot, &self.slots[slot as usize]))
    }
}

/// Histories.
impl Rooms {
    /// Begins the history of a room that a policy matches.
    pub(crate) fn begin_history(&mut self, now: Timestamp, slot: u32, epoch: &str) {
        let room = &mut self.slots[slot as usize];
        if let Some(extra) = &mut room.extra {
            let mut history = self.histories.begin(now, epoch);
            history.set_emptied(room.members.is_empty().then_some(now));
            extra.history = Some(history);
        }
        self.change_newest_history(slot, |_| {});
    }

    /// Replaces the history that has just begun with a saved one.
    pub(crate) fn wake_history(&mut self, slot: u32, saved: History) {
        self.log.set_missing_until(saved.touched());
        if let Some(fresh) = self.slots[slot as usize].history_mut() {
            self.histories.wake(fresh, saved, slot);
        }
    }

    pub(crate) fn end_history(&mut self, slot: u32) {
        let extra = self.slots[slot as usize].extra.as_mut();
        if let Some(history) = extra.and_then(|extra| extra.history.take()) {
            self.histories.end(history);
        }
    }

    /// Changes a room's history, and what depends on it.
    pub(crate) fn change_history(&mut self, slot: u32, change: impl FnOnce(&mut History)) {
        self.change(slot, false, change);
    }

    /// The same, and the room is the newest of all.
    pub(crate) fn change_newest_history(&mut self, slot: u32, change: impl FnOnce(&mut History)) {
        self.change(slot, true, change);
    }

    fn change(&mut self, slot: u32, newest: bool, change: impl FnOnce(&mut History)) {
        let room = &mut self.slots[slot as usize];
        let idle = room.members.is_empty();
        if let Some(history) = room.history_mut() {
            self.histories.change(history, slot, idle, newest, change);
        }
    }

    /// All histories, to be asked.
    pub(crate) const fn histories(&self) -> &Histories {
        &self.histories
    }

    /// Says how many histories have begun before the hub slept.
    pub(crate) fn set_histories_opened(&mut self, opened: u64) {
        self.histories.set_opened(opened);
    }

    /// True when the number of histories that have begun changed since this was last asked.
    pub(crate) const fn take_unsaved(&mut self) -> bool {
        self.histories.take_unsaved()
    }

    /// Holds a request until the messages of its room are loaded; returns false when too many wait.
    pub(crate) fn add_pending_read(&mut self, read: PendingRead) -> bool {
        let few = self.pending_reads.len() < Self::PENDING_READS_MAX;
        if few {
            self.pending_reads.push(read);
        }
        few
    }

    /// The requests that waited for the messages of a room.
    pub(crate) fn take_pending_reads(&mut self, room: &str) -> Vec<PendingRead> {
        let waited = self.pending_reads.extract_if(.., |read| read.is_for(room));
        waited.collect()
    }
}

/// The log of members.
impl Rooms {
    /// Remembers a change of a member, where the room has a history.
    pub(crate) fn log(&mut self, now: Timestamp, slot: u32, conn: ConnId, kind: ChangeKind) {
        if let Some(history) = self.slots[slot as usize].history() {
            let place = (history.number, history.top);
            self.log.push(now, place, conn, kind);
        }
    }

    /// Remembers a page that a member was given.
    pub(crate) fn log_page(&mut self, page: PageRead) {
        self.pages.push(page);
    }

    /// The pages of a connection that reach over an offset of a history. Work: the log of pages.
    pub(crate) fn pages_over(
        &self,
        history: &History,
        offset: u64,
        conn: ConnId,
    ) -> impl Iterator<Item = &PageRead> {
        self.pages.over(history.number, offset, conn)
    }

    /// True when all pages are known that anybody was given since this time.
    pub(crate) fn knows_pages_since(&self, at: Timestamp) -> bool {
        self.pages.is_complete_since(at)
    }

    /// Marks the changes up to this time as unknown: other policies were in force.
    pub(crate) fn forget_changes(&mut self, now: Timestamp) {
        self.log.set_missing_until(now);
    }

    /// The changes of a connection around the message at an offset of a history, which was sent at
    /// this time; `None` when some of them may be forgotten. Work: the log.
    pub(crate) fn changes_around(
        &self,
        history: &History,
        (offset, at): (u64, Timestamp),
        conn: ConnId,
    ) -> Option<Around<'_>> {
        let is_complete = self.log.is_complete_since(at);
        is_complete.then(|| self.log.around(history.number, offset, conn))
    }
}

/// Presence, and rooms that exist only for absent users.
impl Rooms {
    pub(crate) fn presence_mut(&mut self, slot: u32) -> Option<&mut Presence> {
        self.get_mut(slot).extra.as_mut()?.presence.as_mut()
    }

    /// Begins or ends the presence of a room that a policy matches; gives the one that it had.
    pub(crate) fn set_presence(
        &mut self,
        slot: u32,
        presence: Option<Presence>,
    ) -> Option<Presence> {
        let extra = self.get_mut(slot).extra.as_mut()?;
        core::mem::replace(&mut extra.presence, presence)
    }

    /// The number of rooms that exist only for absent users.
    pub(crate) const fn vacant(&self) -> usize {
        self.vacant
    }

    pub(crate) fn set_vacant(&mut self, slot: u32, vacant: bool) {
        if let Some(extra) = &mut self.slots[slot as usize].extra
            && extra.vacant != vacant
        {
            extra.vacant = vacant;
            self.vacant = self.vacant + usize::from(vacant) - usize::from(!vacant);
        }
    }
}

/// Timers.
impl Rooms {
    /// Arms the timer of a room for this time, or leaves an earlier one.
    pub(crate) fn arm(&mut self, slot: u32, at: Timestamp) {
        let room = &mut self.slots[slot as usize];
        let Some(extra) = &mut room.extra else {
            return;
        };
        if extra.due.is_some_and(|due| due <= at) {
            return;
        }
        if let Some(later) = extra.due.replace(at) {
            self.dues.remove(&(later, room.name.clone()));
        }
        self.dues.insert((at, room.name.clone()));
    }

    /// The time of the next timer of any room.
    pub(crate) fn next_due(&self) -> Option<Timestamp> {
        self.dues.first().map(|&(due, _)| due)
    }

    /// Takes the timer of a room that is due.
    pub(crate) fn take_due(&mut self, now: Timestamp) -> Option<u32> {
        self.dues.first().filter(|(due, _)| *due <= now)?;
        let (_, name) = self.dues.pop_first()?;
        let slot = *self.by_name.get(&name)?;
        self.get_mut(slot).extra.as_mut()?.due = None;
        Some(slot)
    }

    /// Checks that everything derived agrees with what it is derived from; for tests.
    pub(crate) fn assert_consistent(&self) {
        let rooms = || self.range(Bound::Unbounded).map(|(_, room)| room);
        let (mut members, mut vacant, mut dues) = (0, 0, 0);
        for room in rooms() {
            members += room.members.len();
            let sorted = room.members.is_sorted_by(|a, b| a < b);
            assert!(sorted, "members not sorted");
            let kept = room.history().is_some();
            let there = kept || room.is_vacant() || !room.members.is_empty();
            assert!(there, "an empty room");
            let alone = room.members.is_empty() && !kept;
            assert_eq!(room.is_vacant(), alone && room.waits(), "{}", room.name);
            vacant += usize::from(room.is_vacant());
            if let Some(presence) = room.presence() {
                presence.assert_consistent(room.members.len());
            }
            if let Some(due) = room.extra.as_ref().and_then(|extra| extra.due) {
                let key = (due, room.name.clone());
                assert!(self.dues.contains(&key), "a lost timer");
                dues += 1;
            }
        }
        assert_eq!(members, self.memberships);
        assert_eq!(vacant, self.vacant, "vacant rooms");
        assert_eq!(dues, self.dues.len(), "timers without rooms");
        assert_eq!(self.slots.len(), self.len(), "rooms without a name");
        let histories = rooms().filter_map(|room| Some((room.history()?, room.members.is_empty())));
        self.histories.assert_consistent(histories);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_lives_while_it_has_a_member() {
        let (a, b) = (ConnId::new(1, 0), ConnId::new(2, 1));
        let mut rooms = Rooms::default();
        let slot = rooms.open("r");
        rooms.add(slot, b);
        assert!(!rooms.get(slot).has(a));
        rooms.add(slot, a);
        assert_eq!(rooms.get(slot).members, [a, b]);
        assert!(rooms.get(slot).has(a) && rooms.get(slot).has(b));
        assert_eq!(rooms.find("r").map(|(slot, _)| slot), Some(slot));
        assert_eq!((rooms.len(), rooms.memberships()), (1, 2));
        assert!(!rooms.remove(slot, a) && !rooms.remove(slot, b));
        assert_eq!((rooms.len(), rooms.memberships()), (0, 0));
        assert!(rooms.find("r").is_none());
    }
}
