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
    /// Data that others see with the user.
    pub meta: Bytes,
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
    /// Users in all; more than are listed when the list was cut.
    pub total: u64,
    /// Their connections, also those of users who are not listed.
    pub connections: u64,
    /// Users, in no order.
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
