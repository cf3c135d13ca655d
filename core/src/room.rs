//! Rooms: their names, positions and members.

mod depart;
pub(crate) mod histories;
pub(crate) mod history;
mod lifecycle;
pub(crate) mod notices;
pub(crate) mod page;
pub(crate) mod presence;
pub(crate) mod recovery;

pub use self::{
    history::{Except, Excepted, HistoryMessage},
    page::{HistoryPage, PageError, PastMessage, PresencePage, Present, Publisher},
};
use alloc::{borrow::Cow, boxed::Box, collections::BTreeMap, vec::Vec};
use core::ops::Bound;

use serde::{Deserialize, Serialize};
use slab::Slab;

use crate::{
    hub::conn::ConnId, room::history::History, room::presence::Presence, time::Timestamp,
    wire::counted::Counted,
};

/// The rules for room names.
#[derive(Debug, Clone, Copy)]
pub struct RoomName;

/// A text that is not a room name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a room name has 1 to {} and no control characters", Counted(*.bytes_max, "byte"))]
#[non_exhaustive]
pub struct RoomNameError {
    /// The limit in force.
    pub bytes_max: usize,
}

impl RoomName {
    /// Checks a name: 1 to `bytes_max` bytes, no control characters (Unicode category Cc). Any
    /// other text is a name, byte for byte: there is no normalisation and no reserved word.
    ///
    /// # Errors
    ///
    /// When the name breaks the rules.
    pub fn check(name: &str, bytes_max: usize) -> Result<(), RoomNameError> {
        if (1..=bytes_max).contains(&name.len()) && !name.chars().any(char::is_control) {
            Ok(())
        } else {
            Err(RoomNameError { bytes_max })
        }
    }

    /// The bytes that a name takes in a JSON list: with its escapes, quotes and comma.
    pub(crate) fn listed_bytes(name: &str) -> usize {
        let escapes = name.bytes().filter(|byte| matches!(byte, b'"' | b'\\'));
        name.len() + escapes.count() + r#""","#.len()
    }
}

/// A place in the sequence of a room's messages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Position<'a> {
    /// The life of the room that the offset counts in.
    pub epoch: Cow<'a, str>,
    /// The last message's offset; 0 before the first, and always without history.
    pub offset: u64,
}

impl Position<'_> {
    /// The same, to be taken away from the hub.
    pub fn into_owned(self) -> Position<'static> {
        let (epoch, offset) = (self.epoch.into_owned().into(), self.offset);
        Position { epoch, offset }
    }
}

/// The answer to a join.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Joined<'a> {
    /// Where the room stands.
    pub position: Position<'a>,
    /// Whether the connection was a member before.
    pub already: bool,
}

/// A room that has at least one member, or a history.
#[derive(Debug, Clone)]
pub(crate) struct Room {
    pub(crate) name: Box<str>,
    /// Sorted by id, that is by age: a newcomer usually goes to the end.
    pub(crate) members: Vec<ConnId>,
    /// `None` for a room that no policy matches.
    pub(crate) extra: Option<Box<Extra>>,
}

/// What a room has by its policy.
#[derive(Debug, Clone)]
pub(crate) struct Extra {
    /// The index of the policy.
    pub(crate) policy: usize,
    pub(crate) history: Option<History>,
    pub(crate) presence: Option<Presence>,
    /// When to look at the room next; the key of its one timer. May come too early.
    pub(crate) due: Option<Timestamp>,
    /// Whether the room is there for users alone that are waited for.
    pub(crate) vacant: bool,
}

impl Room {
    /// Whether a connection is a member.
    pub(crate) fn has(&self, conn: ConnId) -> bool {
        // A newcomer is younger than all members.
        self.members.last().is_some_and(|&last| conn <= last)
            && self.members.binary_search(&conn).is_ok()
    }
}

/// All rooms of a hub.
///
/// Names are found in an ordered tree rather than a hash table: names that clients choose cannot
/// make it slow, listing in pages comes for free, and no order depends on a hash.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rooms {
    by_name: BTreeMap<Box<str>, u32>,
    slots: Slab<Room>,
    memberships: usize,
}

impl Rooms {
    #[inline]
    pub(crate) fn find(&self, name: &str) -> Option<(u32, &Room)> {
        let slot = *self.by_name.get(name)?;
        Some((slot, &self.slots[slot as usize]))
    }

    pub(crate) fn get(&self, slot: u32) -> &Room {
        &self.slots[slot as usize]
    }

    pub(crate) fn get_mut(&mut self, slot: u32) -> &mut Room {
        &mut self.slots[slot as usize]
    }

    /// A room without members, for one to be added at once unless it has a history; gives its slot.
    /// There is none of this name.
    pub(crate) fn open(&mut self, name: &str, extra: Option<Box<Extra>>) -> u32 {
        let room = Room {
            name: name.into(),
            members: Vec::new(),
            extra,
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

    /// Removes a member. The room ends with the last, unless a policy matches it: that is for the
    /// caller to look at, who is told.
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

    /// Whether a policy matches the room of a slot; false also where there is no room.
    pub(crate) fn has_extra(&self, slot: u32) -> bool {
        self.slots
            .get(slot as usize)
            .is_some_and(|room| room.extra.is_some())
    }

    /// Ends a room that nobody is in.
    pub(crate) fn end(&mut self, slot: u32) {
        let room = self.slots.remove(slot as usize);
        debug_assert!(room.members.is_empty(), "a room ended with members");
        self.by_name.remove(&room.name);
        if self.slots.is_empty() {
            self.slots = Slab::new();
        }
    }

    /// Frees the slots above the last that is taken.
    pub(crate) fn shrink_to_fit(&mut self) {
        self.slots.shrink_to_fit();
    }

    pub(crate) fn len(&self) -> usize {
        self.by_name.len()
    }

    pub(crate) const fn memberships(&self) -> usize {
        self.memberships
    }

    /// Rooms whose name comes after `after`, or at or after `from`, in the order of names.
    pub(crate) fn range(&self, from: Bound<&str>) -> impl Iterator<Item = &Room> {
        self.by_name
            .range::<str, _>((from, Bound::Unbounded))
            .map(|(_, &slot)| &self.slots[slot as usize])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_bounded_and_free_of_controls() {
        let fits = "x".repeat(200);
        for good in ["a", "__proto__", "\u{202e}rtl", "é", " ", &fits] {
            assert!(RoomName::check(good, 200).is_ok(), "{good:?}");
        }
        let long = "x".repeat(201);
        for bad in ["", "a\n", "\0", "\u{7f}", "\u{85}", &long] {
            assert!(RoomName::check(bad, 200).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_room_lives_while_it_has_a_member() {
        let (a, b) = (ConnId::new(1, 0), ConnId::new(2, 1));
        let mut rooms = Rooms::default();
        let slot = rooms.open("r", None);
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
