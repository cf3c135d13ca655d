//! The border between a host and its relay.

use std::{fmt, pin::Pin, slice, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::sync::watch;

use crate::{
    counters::Counters,
    error::RelayError,
    position::{Address, Page, Position, Read, RoomList},
    presence::{Arrival, Corrections, Members, Node, Presence},
    publish::{Publish, Published},
    withdrawn::Withdrawn,
};

/// The answer to a call, when it is there. Dropped early, the call may be carried out or not.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, RelayError>> + Send + 'a>>;

/// The answers to several calls, in their order.
pub type Answers<'a, T> = Pin<Box<dyn Future<Output = Vec<Result<T, RelayError>>> + Send + 'a>>;

/// A relay as a host sees it. Any thread may call. Each exchange with the server has the response
/// timeout; `positions`, `rooms`, `withdraw` and `retire` may make several.
///
/// The order of calls is in the documentation of the crate.
///
/// # Errors
///
/// Each call may be [`Unavailable`](RelayError::Unavailable), [in doubt](RelayError::InDoubt) or
/// [refused](RelayError::Refusal).
pub trait Relay: fmt::Debug + Send + Sync + 'static {
    /// Publishes a message. The answer may come before the message comes back, and after it.
    ///
    /// # Errors
    ///
    /// [`RelayError::KeyReused`] for a key of another message.
    fn publish<'a>(&'a self, publish: &'a Publish) -> Answer<'a, Published> {
        let answers = self.publish_all(slice::from_ref(publish));
        let missing = || Err(RelayError::Foreign("no answer".into()));
        Box::pin(async move { answers.await.pop().unwrap_or_else(missing) })
    }

    /// Publishes messages in their order, at once: they leave in one write, and a relay that does
    /// not answer in time leaves all of them in doubt. Each has an answer of its own.
    fn publish_all<'a>(&'a self, publishes: &'a [Publish]) -> Answers<'a, Published>;

    /// Reads the position of a room, and messages that are kept.
    ///
    /// Work: the messages of the answer.
    fn read<'a>(&'a self, read: &'a Read) -> Answer<'a, Page>;

    /// Reads the positions of many rooms, in batches, in the order of the rooms. A room that has
    /// none gets one. Called once a minute for all open rooms, it keeps quiet ones from being
    /// forgotten.
    fn positions<'a>(&'a self, rooms: &'a [Address]) -> Answer<'a, Vec<Position>>;

    /// Begins to receive messages of rooms. When it is answered, each later message comes. It
    /// outlives outages.
    fn subscribe<'a>(&'a self, rooms: &'a [Address]) -> Answer<'a, ()>;

    /// Ends subscriptions to rooms. Messages in flight may still come.
    fn unsubscribe<'a>(&'a self, rooms: &'a [Address]) -> Answer<'a, ()>;

    /// Sets the connections of a user in a room on this node: an absolute number, so it may be
    /// repeated. It is kept as long as the node has its lease.
    ///
    /// # Errors
    ///
    /// [`RelayError::Fenced`] when the lease was taken away.
    fn set_present<'a>(&'a self, presence: &'a Presence) -> Answer<'a, Arrival>;

    /// Makes the users that the relay has of this node in a room those given, in one step, and
    /// answers with the corrections. Without an answer, backends are not told of them.
    ///
    /// Work: the users of this node in the room.
    fn reconcile<'a>(
        &'a self,
        room: &'a Address,
        present: &'a [Presence],
    ) -> Answer<'a, Corrections>;

    /// Lists the users of a room on all nodes; above a number of them there are only counts.
    ///
    /// Work: the users of the answer; those of the room where nobody has asked before.
    fn members<'a>(&'a self, room: &'a Address, users_max: u32) -> Answer<'a, Members>;

    /// Lists rooms that have messages, or had members: sorted, as long as the relay remembers them.
    ///
    /// Work: the rooms of the answer, and as many that have ended.
    fn rooms<'a>(&'a self, list: &'a RoomList) -> Answer<'a, Vec<Box<str>>>;

    /// Sends something to nodes, and answers with the number of those that are connected. It is not
    /// kept: a node that is away misses it.
    fn send<'a>(&'a self, to: &'a Destination, body: Bytes) -> Answer<'a, usize>;

    /// Adds withdrawn users of a namespace. Past the largest number of them the earliest times
    /// become one that holds for all users.
    ///
    /// Work: the users.
    fn withdraw<'a>(
        &'a self,
        namespace: &'a str,
        users: &'a Withdrawn,
        users_max: u32,
    ) -> Answer<'a, ()>;

    /// Lists the withdrawn users of a namespace.
    ///
    /// Work: the users.
    fn withdrawn<'a>(&'a self, namespace: &'a str) -> Answer<'a, Withdrawn>;

    /// Lists the nodes with a lease.
    fn nodes(&self) -> Answer<'_, Vec<Node>>;

    /// Takes so many serials of connections in a row that no other node has, and answers with the
    /// first: `floor` or above it. A counter that was lost with its data begins again at random
    /// above `floor`, and each node that renews its lease has it go on above its own.
    fn take_serials(&self, count: u64, floor: u64) -> Answer<'_, u64>;

    /// Gives the lease back: removes all users of this node, and ends the connections.
    ///
    /// Work: the users of this node.
    fn retire(&self) -> Answer<'_, ()>;

    /// Gives the lease back for users who may return on another node within `time`: the lease ends
    /// after that, or after its usual time if that is shorter, and another node then removes the
    /// users who have not returned. In lists of nodes this one is gone at once.
    fn retire_after(&self, time: Duration) -> Answer<'_, ()>;

    /// The id of this node, the address of its bus: the same until the process ends.
    fn node(&self) -> Arc<str>;

    /// The state, and a way to wait for another one.
    fn state(&self) -> watch::Receiver<State>;

    /// Counters for metrics.
    fn counters(&self) -> &Counters;
}

/// States of a relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Publishes fail: there is no connection, or it does not answer.
    Lost,
    /// A probe went through both connections.
    Ready,
}

/// Recipients of a message over the bus, with the namespace that it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// All nodes, this one included, whether they have the namespace or not.
    Nodes(Arc<str>),
    /// A single node.
    Node {
        /// The namespace.
        namespace: Arc<str>,
        /// The id of the node.
        node: Arc<str>,
    },
}
