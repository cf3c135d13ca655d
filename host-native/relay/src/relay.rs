//! The interface between a host and its relay.

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

/// A future of the answer to a call. If it is dropped early, the call may or may not be carried
/// out.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, RelayError>> + Send + 'a>>;

/// The answers to several calls, in their order.
pub type Answers<'a, T> = Pin<Box<dyn Future<Output = Vec<Result<T, RelayError>>> + Send + 'a>>;

/// A relay as a host sees it. Any thread may call it. The response timeout applies to each exchange
/// with the server; `positions`, `rooms`, `withdraw` and `retire` may make several.
///
/// The order of calls is in the documentation of the crate.
///
/// # Errors
///
/// Each call may be [`Unavailable`](RelayError::Unavailable), [in doubt](RelayError::InDoubt) or
/// [refused](RelayError::Refusal).
pub trait Relay: fmt::Debug + Send + Sync + 'static {
    /// Publishes a message. The answer may come before or after the message itself comes back.
    ///
    /// # Errors
    ///
    /// [`RelayError::KeyReused`] for a key of another message.
    fn publish<'a>(&'a self, publish: &'a Publish) -> Answer<'a, Published> {
        let answers = self.publish_all(slice::from_ref(publish));
        let missing = || Err(RelayError::Foreign("no answer".into()));
        Box::pin(async move { answers.await.pop().unwrap_or_else(missing) })
    }

    /// Publishes messages in order, in one write. Each has its own answer; if the relay does not
    /// answer in time, all of them are in doubt.
    fn publish_all<'a>(&'a self, publishes: &'a [Publish]) -> Answers<'a, Published>;

    /// Reads the position of a room, and messages that are kept.
    ///
    /// Work: the messages of the answer.
    fn read<'a>(&'a self, read: &'a Read) -> Answer<'a, Page>;

    /// Reads the positions of many rooms, in batches, in the order of the rooms. A room without a
    /// position gets one. Called once a minute for all open rooms, it keeps quiet rooms from being
    /// forgotten.
    fn positions<'a>(&'a self, rooms: &'a [Address]) -> Answer<'a, Vec<Position>>;

    /// Subscribes to rooms: every message published after the answer is received. A subscription
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

    /// Replaces the users that the relay has of this node in a room by those given, in one step,
    /// and returns the corrections. If the answer is lost, backends are not notified of them.
    ///
    /// Work: the users of this node in the room.
    fn reconcile<'a>(
        &'a self,
        room: &'a Address,
        present: &'a [Presence],
    ) -> Answer<'a, Corrections>;

    /// Lists the users of a room on all nodes; a room of more than `users_max` has only counts.
    ///
    /// Work: the users of the answer; all users of the room when it is asked for the first time.
    fn members<'a>(&'a self, room: &'a Address, users_max: u32) -> Answer<'a, Members>;

    /// Lists, in order, rooms that have messages, or that the relay still remembers after their
    /// last member left.
    ///
    /// Work: the index entries of the rooms of the answer, and those of other rooms between them.
    fn rooms<'a>(&'a self, list: &'a RoomList) -> Answer<'a, Vec<Box<str>>>;

    /// Sends a message to nodes, and returns the number of connected nodes that it went to. It is
    /// not kept: a disconnected node misses it.
    fn send<'a>(&'a self, to: &'a Destination, body: Bytes) -> Answer<'a, usize>;

    /// Adds withdrawn users of a namespace. When there are more than `users_max`, the earliest
    /// times become one time that holds for all users.
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

    /// Takes a block of `count` connection serials that no other node has, and returns the first,
    /// which is `floor` or above. A counter that was lost with its data restarts at random above
    /// `floor`, and each node that renews its lease raises it above the node's own serials.
    fn take_serials(&self, count: u64, floor: u64) -> Answer<'_, u64>;

    /// Gives the lease back: removes all users of this node, and ends the connections.
    ///
    /// Work: the users of this node.
    fn retire(&self) -> Answer<'_, ()>;

    /// Gives the lease back, but leaves users `time` to return on another node: the lease ends
    /// after `time`, or after its usual time if that is shorter, and another node then removes the
    /// users who have not returned. Lists of nodes leave this one out at once.
    fn retire_after(&self, time: Duration) -> Answer<'_, ()>;

    /// The id of this node, under which the bus reaches it; it never changes.
    fn node(&self) -> Arc<str>;

    /// A receiver of the state and its changes.
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

/// Recipients of a message over the bus, and the namespace that the message is about.
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
