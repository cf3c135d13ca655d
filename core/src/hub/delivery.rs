//! The outcome of one send.

use serde::{Deserialize, Serialize};

/// How many connections a send was meant for, and how many it went to.
///
/// The hub queues for everybody it matches. A host whose queue for a connection is over its limit
/// moves that one from `queued` to `dropped`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// Connections in the audience, each counted once.
    pub matched: usize,
    /// Connections that the message was queued for.
    pub queued: usize,
    /// Connections that lost the message; each of them is told, or closed.
    pub dropped: usize,
    /// The message's place in its room's history, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
}

impl Delivery {
    pub(crate) const fn queued(count: usize) -> Self {
        Self {
            matched: count,
            queued: count,
            dropped: 0,
            offset: None,
        }
    }
}
