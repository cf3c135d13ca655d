//! The link to a connection: its socket, on this shard or another.

use std::rc::Rc;

use crate::socket::Socket;

/// The link to a connection: its socket, on this shard or another.
#[derive(Debug, Clone)]
pub(crate) enum Link {
    /// The socket is on this shard.
    Local(Rc<Socket>),
    /// The socket is on another shard, under this key.
    Remote { shard: usize, key: u32 },
}
