//! Events that backends are told of.

use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

use super::Pattern;

/// The kind of an event that backends can be told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[non_exhaustive]
pub enum EventKind {
    /// A room has its first member.
    #[serde(rename = "room.occupied")]
    RoomOccupied,
    /// A room has no members left, nor absent users who may return.
    #[serde(rename = "room.vacated")]
    RoomVacated,
    /// A user entered a room with a first connection. Only in rooms whose policy has presence.
    #[serde(rename = "user.joined")]
    UserJoined,
    /// A user has left a room with the last connection, and the policy's grace is over.
    #[serde(rename = "user.left")]
    UserLeft,
    /// A connection opened and is identified.
    #[serde(rename = "connection.opened")]
    ConnectionOpened,
    /// A connection ended.
    #[serde(rename = "connection.closed")]
    ConnectionClosed,
    /// A message was published to a room, by a client or by the application.
    #[serde(rename = "message.published")]
    MessagePublished,
}

impl EventKind {
    /// All kinds.
    pub const ALL: [Self; 7] = [
        Self::RoomOccupied,
        Self::RoomVacated,
        Self::UserJoined,
        Self::UserLeft,
        Self::ConnectionOpened,
        Self::ConnectionClosed,
        Self::MessagePublished,
    ];

    /// The name, as in `user.joined`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RoomOccupied => "room.occupied",
            Self::RoomVacated => "room.vacated",
            Self::UserJoined => "user.joined",
            Self::UserLeft => "user.left",
            Self::ConnectionOpened => "connection.opened",
            Self::ConnectionClosed => "connection.closed",
            Self::MessagePublished => "message.published",
        }
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Kinds of events, and the rooms for which they are reported. Events of connections have no room,
/// and are reported whatever the pattern.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscription {
    events: Vec<EventKind>,
    rooms: Pattern,
}

impl Subscription {
    /// A subscription to events of rooms that match.
    pub fn new(events: impl IntoIterator<Item = EventKind>, rooms: Pattern) -> Self {
        let mut events: Vec<_> = events.into_iter().collect();
        events.sort_unstable();
        events.dedup();
        Self { events, rooms }
    }

    /// True when no event is subscribed.
    pub const fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// True when an event is subscribed. Work: the lengths of the pattern and of the room's name.
    pub fn wants(&self, kind: EventKind, room: Option<&str>) -> bool {
        self.events.contains(&kind) && room.is_none_or(|room| self.rooms.matches(room))
    }
}

/// The subscriptions of all backends: a hub reports an event if one of them matches.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Subscriptions(Vec<Subscription>);

impl Subscriptions {
    /// True when there are no subscriptions.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// True when some subscription matches an event. Work: all subscriptions.
    pub fn wants(&self, kind: EventKind, room: Option<&str>) -> bool {
        self.0.iter().any(|one| one.wants(kind, room))
    }
}

impl FromIterator<Subscription> for Subscriptions {
    fn from_iter<T: IntoIterator<Item = Subscription>>(subscriptions: T) -> Self {
        Self(subscriptions.into_iter().collect())
    }
}
