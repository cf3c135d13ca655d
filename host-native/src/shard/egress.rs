//! The output of a shard: its sockets, the mail to other shards, and the commit before both.
//!
//! Egress does not depend on namespaces or hubs. A queue over its limit is reported to the caller
//! that pushed.

mod cork;
mod durable;
mod flow;
mod letter;
mod link;
mod post;
mod sockets;
mod state;

pub(super) use self::{flow::Cost, sockets::SLICE_SOCKETS};
pub(crate) use self::{
    letter::{Mail, MailBatch, Posts},
    link::Link,
    state::Egress,
};
