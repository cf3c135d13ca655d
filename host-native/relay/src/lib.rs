//! The relay between Roomcast servers: rooms, presence and leases that many nodes share.
//!
//! With a relay, a publish is a command to it. The relay gives the message its offset and publishes
//! it, and each node delivers what comes back, its own included. So all nodes have one order, and
//! each member gets a message once.
//!
//! [`Relay`] is the interface. [`RedisRelay`] implements it over Redis or Valkey, [`MemoryRelay`]
//! within a process, for tests, where it can be broken on command. Bodies of messages are opaque.
//!
//! # How a host drives it
//!
//! 1. [`RedisRelay::start`] checks the server and answers with the relay and its [`Events`].
//! 2. A namespace that begins [subscribes](Relay::subscribe) to its audiences, and reads who is
//!    [withdrawn](Relay::withdrawn). A room with its first member here is subscribed; then its
//!    position and history are [read](Relay::read). Messages that come meanwhile wait, and those up
//!    to the position are dropped.
//! 3. Messages come by [`Events::next`], in order. The next message of a room has the next offset
//!    of its epoch. After a jump the missing ones are [read](Relay::read). Those that are no longer
//!    there, and a new epoch, are a gap that members are told of.
//! 4. After [`Event::Lost`] publishes fail, and members stay. The host ends its subscriptions, and
//!    after [`Event::Ready`] subscribes to what is open and [reads](Relay::read) on from its
//!    positions.
//! 5. After [`Event::Registered`] the node has a new incarnation without users: it
//!    [enters](Relay::set_present) all of its own again.
//! 6. A publish that [is in doubt](RelayError::InDoubt) is repeated with its key, or reported.
//! 7. Once a minute all open rooms are [compared](Relay::positions), which keeps quiet ones alive,
//!    and their users [reconciled](Relay::reconcile).
//! 8. Questions to which other nodes have part of the answer are sent [over the bus](Relay::send).
//!    [`Relay::nodes`] says whose answers to expect.
//! 9. At its end the node [retires](Relay::retire).
//!
//! # Promises
//!
//! An acknowledged message reaches every node, or the node learns of a gap: by an offset that is
//! not the next, or by a new epoch. A failover may lose acknowledged messages. The loss is
//! reported, as long as the [lineage](Lineage) is read.
//!
//! # Costs
//!
//! - The default lineage ends the epochs of all rooms at a failover, at a restart, and when a
//!   primary gets its first replica: Redis begins another replication then. Offsets go on, and what
//!   streams have stays. `repl-backlog-ttl 0` keeps it from doing so again after an hour without a
//!   replica.
//! - Between a failover there and back and the next heartbeat (3 s) a node may still write with the
//!   old lineage. [`Settings::asks_lineage`] closes that time.
//! - All namespaces below a prefix share one core of Redis. With Redis Cluster they are in one
//!   slot.

mod broker;
mod counters;
mod error;
mod event;
mod inspector;
mod memory;
mod position;
mod presence;
mod publish;
mod relay;
mod ring;
mod wire;
mod withdrawn;

pub use self::{
    broker::{Limits, Lineage, RedisRelay, RelayUrl, Settings, StartError, Timing, UrlError},
    counters::{Counters, LATENCY_BOUNDS_US, Snapshot},
    error::RelayError,
    event::{Event, Loss},
    inspector::{Inspector, RoomFacts, ServerFacts},
    memory::{MemoryBroker, MemoryRelay, Replica, Trouble},
    position::{Address, Channel, Kept, Page, Position, Read, RoomList, Start},
    presence::{Arrival, Change, Corrections, Member, Members, Node, Presence},
    publish::{Once, Owner, Publish, Published, Retention},
    relay::{Answer, Answers, Destination, Relay, State},
    ring::{Backlog, Events},
    wire::{Envelope, Kind, WireError},
    withdrawn::Withdrawn,
};
