//! Users in rooms on all nodes, as the relay counts them.

use alloc::{boxed::Box, vec::Vec};

use serde::{Deserialize, Serialize};

/// The connections that a user has in a room: on a node, or on all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PresentUser {
    /// The name, in a form that only hubs interpret. A connection without a user has its own name.
    pub name: Box<str>,
    /// Connections.
    pub conns: u64,
    /// True for a user without connections who still counts as present on a node: the connection
    /// was lost, and the user may return.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub waits: bool,
    /// JSON that is shown of the user, when there is any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meta: Option<Box<str>>,
}

/// A change that is counted over all nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PresenceChange {
    /// The first connection of a user.
    Joined,
    /// The end of the last.
    Left,
}

/// A notice of a change, in the order of its room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// The room.
    pub room: Box<str>,
    /// The epoch of the number.
    pub epoch: Box<str>,
    /// The number, one above the last notice's. Messages are numbered separately.
    pub number: u64,
    /// The change.
    pub change: PresenceChange,
    /// The name of the user.
    pub name: Box<str>,
    /// JSON that is shown of the user, when there is any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meta: Option<Box<str>>,
}

/// Users of a room, with the notice behind which later ones apply.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomUsers {
    /// The room.
    pub room: Box<str>,
    /// The epoch of notices.
    pub epoch: Box<str>,
    /// The number of the last notice that is included.
    pub number: u64,
    /// Users in all.
    pub total: usize,
    /// Connections in all.
    pub conns: usize,
    /// Users, in no order; none when there are too many for a list.
    pub users: Vec<PresentUser>,
}
