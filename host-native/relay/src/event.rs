//! Events that a relay reports to a node.

use std::sync::Arc;

use bytes::Bytes;

use crate::{position::Address, presence::Change};

/// An event of the relay. Messages of a room come in the room's order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A message for local members.
    Message {
        /// The recipients, as far as the relay distinguishes them.
        address: Address,
        /// The epoch.
        epoch: Box<str>,
        /// The offset.
        offset: u64,
        /// The message as it was published.
        body: Bytes,
    },
    /// A user joined a room or left it, counted over all nodes.
    Presence {
        /// The room.
        address: Address,
        /// The epoch.
        epoch: Box<str>,
        /// The number of the notice, one above the last notice's.
        notice: u64,
        /// The change.
        change: Change,
        /// The user.
        user: Box<str>,
        /// Data that others see with the user.
        meta: Bytes,
    },
    /// A message of another node, or of this one, over the bus.
    Bus {
        /// The namespace that it is about.
        namespace: Arc<str>,
        /// The node that sent it.
        from: Arc<str>,
        /// Its content.
        body: Bytes,
    },
    /// The relay is lost: messages may be missing from here on, and publishes fail.
    Lost(Loss),
    /// The relay works through both connections, and all topics are subscribed. The host must
    /// compare the positions of open rooms.
    Ready,
    /// The node has a new incarnation without users. The host must enter its own users again.
    Registered {
        /// The incarnation.
        incarnation: Arc<str>,
    },
    /// Users of a dead node were removed from a room. Members are notified by events of their own;
    /// this one is for backends, and only one node receives it.
    Reaped {
        /// The room.
        address: Address,
        /// The users who are gone.
        users: Vec<Box<str>>,
    },
}

/// A reason for the loss of the relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Loss {
    /// A connection ended.
    #[error("a connection to the relay ended")]
    Disconnected,
    /// Messages arrived faster than the host took them.
    #[error("messages came faster than they were delivered: the ring is full")]
    Overflow,
    /// Nothing came for too long, not even a probe.
    #[error("the relay is silent")]
    Silent,
    /// The server became a replica, or another one has the slot of the relay.
    #[error(
        "the server of the relay takes no writes: it is a replica, loads its data, or another one has \
         its slot"
    )]
    ReadOnly,
    /// The lineage of the server's data changed: there was a failover, a restart or a loss of data.
    #[error("the data of the relay has another lineage: there was a failover or a restart")]
    Lineage,
    /// The node retires.
    #[error("the node retires")]
    Retired,
}

impl Loss {
    /// All reasons, in the order of counters.
    pub const ALL: [Self; 6] = [
        Self::Disconnected,
        Self::Overflow,
        Self::Silent,
        Self::ReadOnly,
        Self::Lineage,
        Self::Retired,
    ];

    /// The reason as a label of metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Disconnected => "disconnected",
            Self::Overflow => "overflow",
            Self::Silent => "silent",
            Self::ReadOnly => "read_only",
            Self::Lineage => "lineage",
            Self::Retired => "retired",
        }
    }
}
