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
    /// The number of connections on this node; 0 when the last has left.
    pub connections: u32,
    /// True for a user who counts as present without a connection.
    pub is_awaited: bool,
    /// Data that others see with the user.
    pub meta: Bytes,
}

/// The weight of a user who is awaited on a node. It is above any number of connections, so that
/// one number holds both, and is 0 only for a user who is not present.
const AWAITED: u64 = 1 << 32;

impl Presence {
    /// The number that the relay sums over all nodes; 0 for a user who is not on this one.
    pub(crate) const fn weight(&self) -> u64 {
        let awaited = if self.is_awaited { AWAITED } else { 0 };
        awaited + self.connections as u64
    }
}

/// The number of connections in a weight.
pub(crate) const fn connections_of(weight: u64) -> u64 {
    weight % AWAITED
}

/// The answer to a change of [`Presence`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival {
    /// The change in the room, if any. It is reported to exactly one caller, which notifies
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
    /// The number of users whose entries were corrected.
    pub count: usize,
    /// Users who joined the room or left it by a correction. Each is reported to exactly one
    /// caller, which notifies backends.
    pub changes: Vec<(Box<str>, Change)>,
}

/// A change in the users of a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The first connection of a user on any node.
    Joined,
    /// The end of the user's last connection.
    Left,
}

/// The users of a room, and the notice after which later notices apply.
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
    /// The id of the node, under which the bus reaches it.
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
