//! Rooms: positions, members, histories and presence.

mod histories;
pub(crate) mod history;
pub(crate) mod membership_log;
pub(crate) mod page;
pub(crate) mod page_log;
pub(crate) mod pending_read;
pub(crate) mod presence;
pub(crate) mod recovery;
pub(crate) mod rooms;

use alloc::{boxed::Box, string::String, vec::Vec};

use serde::{Deserialize, Serialize};

use self::{history::History, presence::Presence};
pub use self::{
    history::{Except, Excepted, HistoryMessage},
    page::{HistoryPage, PageError, PastMessage, Position, PresencePage, Present, Publisher},
    recovery::{Recoveries, RecoveryOutcome},
};
pub use crate::wire::room_name::{RoomName, RoomNameError};
use crate::{time::Timestamp, wire::ConnId};

/// The answer to a join.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Joined<'a> {
    /// The position of the room.
    pub position: Position<'a>,
    /// True when the connection was a member before.
    pub already: bool,
}

/// A room with members, with a history, or with absent users who may return.
#[derive(Debug, Clone)]
pub(crate) struct Room {
    pub(crate) name: Box<str>,
    /// Sorted by id, that is by age: a newcomer usually goes to the end.
    pub(crate) members: Vec<ConnId>,
    /// `None` for a room that no policy matches.
    pub(crate) extra: Option<Box<Extra>>,
}

/// The parts of a room that its policy gives it.
#[derive(Debug, Clone)]
pub(crate) struct Extra {
    /// The index of the policy.
    pub(crate) policy: usize,
    history: Option<History>,
    presence: Option<Presence>,
    /// The time of its only timer, and the key of that. The timer may fire too early.
    due: Option<Timestamp>,
    /// True when the room exists only for absent users who may return.
    vacant: bool,
}

// There is one per room; the parts that most rooms lack are separate, and cost such rooms only a
// pointer.
const _: () = assert!(size_of::<Room>() <= 48 && size_of::<Extra>() <= 232);

impl Room {
    /// True when a connection is a member.
    #[inline]
    pub(crate) fn has(&self, conn: ConnId) -> bool {
        // A newcomer is younger than all members.
        self.members.last().is_some_and(|&last| conn <= last)
            && self.members.binary_search(&conn).is_ok()
    }

    /// Appends its members, except for one.
    pub(crate) fn push_members(&self, but: Option<ConnId>, to: &mut Vec<ConnId>) {
        match but.map(|conn| self.members.binary_search(&conn)) {
            Some(Ok(at)) => {
                to.extend_from_slice(&self.members[..at]);
                to.extend_from_slice(&self.members[at + 1..]);
            }
            Some(Err(_)) | None => to.extend_from_slice(&self.members),
        }
    }

    pub(crate) fn history(&self) -> Option<&History> {
        self.extra.as_ref()?.history.as_ref()
    }

    fn history_mut(&mut self) -> Option<&mut History> {
        self.extra.as_mut()?.history.as_mut()
    }

    pub(crate) fn presence(&self) -> Option<&Presence> {
        self.extra.as_ref()?.presence.as_ref()
    }

    /// True while absent users may return.
    pub(crate) fn waits(&self) -> bool {
        self.presence().is_some_and(Presence::waits)
    }

    /// True when the room has a member, or an absent user who may return.
    #[inline]
    pub(crate) fn is_occupied(&self) -> bool {
        !self.members.is_empty() || self.waits()
    }

    /// True when the room exists only for absent users who may return.
    pub(crate) fn is_vacant(&self) -> bool {
        self.extra.as_ref().is_some_and(|extra| extra.vacant)
    }

    /// True when it has a timer.
    pub(crate) fn is_armed(&self) -> bool {
        self.extra.as_ref().is_some_and(|extra| extra.due.is_some())
    }
}

/// A room with members, or with a history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RoomInfo<'a> {
    /// The name of the room.
    pub name: &'a str,
    /// The number of connections in it.
    pub members: usize,
}

impl<'a> From<&'a Room> for RoomInfo<'a> {
    fn from(room: &'a Room) -> Self {
        Self {
            name: &room.name,
            members: room.members.len(),
        }
    }
}

/// Owned data of a room; see [`RoomInfo`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RoomSummary {
    /// The name of the room.
    pub name: String,
    /// The number of connections in it.
    pub members: usize,
}

impl RoomSummary {
    /// A room, by its name and the number of its members.
    pub fn new(name: impl Into<String>, members: usize) -> Self {
        let name = name.into();
        Self { name, members }
    }
}

impl From<RoomInfo<'_>> for RoomSummary {
    fn from(info: RoomInfo<'_>) -> Self {
        Self {
            name: info.name.into(),
            members: info.members,
        }
    }
}
