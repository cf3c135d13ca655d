//! Users in rooms, and the nodes that they are on.

use std::sync::Arc;

use bytes::Bytes;

use crate::position::Address;

/// The connections that a user has in a room on one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presence {
    /// The room.
    pub address: Address,
    /// The user, or the name of a connection without one; at most 65,535 bytes.
    pub user: Box<str>,
    /// Connections on this node, all told; 0 when the last has left.
    pub connections: u32,
    /// True for a user who counts as present without a connection.
    pub is_awaited: bool,
    /// Data that others see with the user.
    pub meta: Bytes,
}

/// The part of a user's number at the relay that stands for being awaited on one node: above all
/// connections, so that one number tells both, and whether the user is there.
const AWAITED: u64 = 1 << 32;

impl Presence {
    /// The number that the relay adds up over all nodes: 0 for a user who is not on this one.
    pub(crate) const fn weight(&self) -> u64 {
        let awaited = if self.is_awaited { AWAITED } else { 0 };
        awaited + self.connections as u64
    }
}

/// The connections in such a number.
pub(crate) const fn connections_of(weight: u64) -> u64 {
    weight % AWAITED
}

/// The answer to a change of [`Presence`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival {
    /// The change that it made for the room. It is reported to one caller alone, which tells
    /// backends.
    pub change: Option<Change>,
    /// The epoch of the notice.
    pub epoch: Arc<str>,
    /// The number of the last notice.
    pub notice: u64,
    /// Connections on all nodes.
    pub connections: u64,
}

/// The answer to a reconciliation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Corrections {
    /// Users of whom the relay had something else.
    pub count: usize,
    /// Users who came to the room or left it by that. Each is reported to one caller alone, which
    /// tells backends.
    pub changes: Vec<(Box<str>, Change)>,
}

/// A change of who is in a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The first connection of a user on any node.
    Joined,
    /// The end of the last.
    Left,
}

/// The users of a room, with the notice behind which later ones apply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Members {
    /// The epoch of notices.
    pub epoch: Arc<str>,
    /// The number of the last notice that is included.
    pub notice: u64,
    /// Users in all.
    pub total: u64,
    /// Their connections.
    pub connections: u64,
    /// Users, in no order; none when there are too many.
    pub users: Vec<Member>,
}

/// A user of a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The user.
    pub user: Box<str>,
    /// Connections on all nodes.
    pub connections: u64,
    /// Data that others see.
    pub meta: Bytes,
}

impl Node {
    /// The id of the node, the address of its bus.
    pub fn id(&self) -> &str {
        let id = self.incarnation.rsplit_once('.');
        id.map_or(&*self.incarnation, |(id, _)| id)
    }
}

/// A node with a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// The incarnation that has the lease.
    pub incarnation: Box<str>,
    /// Milliseconds until the lease ends, if it is not renewed; 0 when it has ended.
    pub lease_ms: u64,
    /// Data that the node gave about itself.
    pub about: Bytes,
}
