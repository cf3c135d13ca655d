//! A shard: one I/O thread with its sockets, its namespaces, and its turns.
//!
//! A turn reads all input that is ready, then flushes each socket with new output once. Mail to
//! another shard is sent as one batch per turn.

mod ask;
mod batch;
mod egress;
mod fan_out;
mod home;
mod hosted;
mod input;
mod mail;
mod namespaces;
mod relayed;
mod state;
mod sweep;
mod tasks;
mod totals;
mod trim;
mod turn;

#[cfg(feature = "relay")]
pub(crate) use self::mail::{home_of, post_batch};
pub(crate) use self::{
    ask::Reached,
    egress::Link,
    home::Home,
    hosted::Hosted,
    mail::Switchboard,
    state::{Mail, MailBatch, Posts, Shard},
    sweep::SWEEP,
    turn::newcomers::Cost,
};
