//! The relay between Roomcast servers: rooms, presence and leases that many nodes share.
//!
//! With a relay, a publish is a command to it. The relay gives the message its offset and publishes
//! it, and every node, including the sender's, delivers the messages that it receives from the
//! relay. So all nodes have one order, and each member gets a message once.
//!
//! [`Relay`] is the interface. [`RedisRelay`] implements it over Redis or Valkey. [`MemoryRelay`]
//! implements it within a process, for tests, and can be broken on command. Message bodies are
//! opaque.
//!
//! # How a host drives it
//!
//! 1. [`RedisRelay::start`] checks the server and returns the relay and its [`Events`].
//! 2. At its start a namespace [subscribes](Relay::subscribe) to its audiences, and reads its
//!    [withdrawn](Relay::withdrawn) users. With the first local member of a room, the host
//!    subscribes to it, then [reads](Relay::read) its position and history. Messages that arrive
//!    meanwhile wait, and those up to the position are dropped.
//! 3. [`Events::next`] returns messages in order. The next message of a room has the next offset of
//!    its epoch. After a jump the missing messages are [read](Relay::read). If some are no longer
//!    kept, or the epoch is new, members are notified of a gap.
//! 4. After [`Event::Lost`] publishes fail, and members stay. The host ends its subscriptions.
//!    After [`Event::Ready`] it subscribes to the open rooms again, and [reads](Relay::read) from
//!    its positions.
//! 5. After [`Event::Registered`] the node has a new incarnation without users: it
//!    [enters](Relay::set_present) all of its own again.
//! 6. A publish that [is in doubt](RelayError::InDoubt) is retried with its key, or reported.
//! 7. Once a minute all open rooms are [compared](Relay::positions), which keeps quiet ones alive,
//!    and their users [reconciled](Relay::reconcile).
//! 8. Questions that other nodes can answer in part are sent [over the bus](Relay::send).
//!    [`Relay::nodes`] lists the nodes that are expected to answer.
//! 9. At shutdown the node [retires](Relay::retire).
//!
//! # Promises
//!
//! An acknowledged message reaches every node, or the node learns of a gap: by an offset that is
//! not the next, or by a new epoch. A failover may lose acknowledged messages. The loss is
//! reported, provided that the [lineage](Lineage) is read.
//!
//! # Costs
//!
//! - The default lineage ends the epochs of all rooms at a failover, at a restart, and when a
//!   primary gets its first replica, because Redis then changes its replication id. Offsets
//!   continue, and streams stay. `repl-backlog-ttl 0` prevents a further change after an hour
//!   without a replica.
//! - After a failover there and back, a node may write with the old lineage until its next
//!   heartbeat (3 s). [`Settings::asks_lineage`] closes that window.
//! - All namespaces under a prefix share one core of Redis. With Redis Cluster they are in one
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
