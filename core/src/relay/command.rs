//! Commands of a clustered hub for the relay.

use alloc::{boxed::Box, format, vec::Vec};
use core::time::Duration;

use serde::{Deserialize, Serialize};

use super::{
    topic::{Topic, TopicPosition},
    users::PresentUser,
};
use crate::policy::HistoryPolicy;

/// The part of [`Topic::All`] that the relay keeps: enough for the messages that a node misses
/// while it reconnects.
pub(crate) const KEEP_ALL: HistoryPolicy = HistoryPolicy {
    messages: 1_000,
    bytes: 1 << 20,
    age: Duration::from_secs(60),
};

/// The time in milliseconds for which the relay knows the key of a publish without a client key:
/// longer than any retry of a node takes, and not longer, as there is a key per publish.
pub(crate) const KEY_MS: u64 = 10_000;

/// A command for the relay.
///
/// A host sends the publishes of a namespace in their order, on one connection. It answers each but
/// [`Unsubscribe`](Self::Unsubscribe) once, by a [`RelayEvent`](super::RelayEvent), or says that
/// the relay is [down](super::RelayEvent::Down), which answers all.
///
/// Exhaustive on purpose: a new variant must break every host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RelayCommand {
    /// Give a message the next offset of its topic, keep it, and send it to all nodes that
    /// subscribe to the topic. Answered by [`Published`](super::RelayEvent::Published).
    Publish(Publish),
    /// Subscribe to topics; when that is confirmed, read their positions, and the first messages
    /// kept behind the known positions. Answered by
    /// [`Subscribed`](super::RelayEvent::Subscribed).
    Subscribe {
        /// The token of the command.
        token: u64,
        /// The topics, at most 256.
        topics: Vec<Wanted>,
    },
    /// End a subscription.
    Unsubscribe {
        /// The topic, of a room.
        topic: Topic,
    },
    /// Read the position of a topic, and messages that were kept. Answered by
    /// [`Page`](super::RelayEvent::Page).
    Read(Read),
    /// Set the number of a user's connections in a room on this node, and whether the user may
    /// return.
    /// Answered by [`Present`](super::RelayEvent::Present).
    SetPresent {
        /// The token of the command.
        token: u64,
        /// The room. One whose name begins with U+0001 counts the nodes that have members of the
        /// room of the rest of the name. It has no topic.
        room: Box<str>,
        /// The user; one without connections who may not return has left the room.
        user: PresentUser,
    },
    /// Make the users that the relay has of this node in a room those given. Answered by
    /// [`Reconciled`](super::RelayEvent::Reconciled).
    Reconcile {
        /// The token of the command.
        token: u64,
        /// The room, as in [`SetPresent`](Self::SetPresent).
        room: Box<str>,
        /// All users with a connection on this node.
        users: Vec<PresentUser>,
    },
    /// List users of a room on all nodes. Answered by [`Users`](super::RelayEvent::Users).
    ListUsers {
        /// The token of the command.
        token: u64,
        /// The room.
        room: Box<str>,
        /// The number of users above which only counts are returned.
        limit: usize,
    },
}

/// A message for the relay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publish {
    /// The token of the command; a retry has the same.
    pub token: u64,
    /// The topic.
    pub topic: Topic,
    /// The idempotency key: when the relay knows it, it does nothing and answers as before.
    pub key: Box<str>,
    /// The owner of the key, which other owners may have too; `None` for one of the node's own.
    pub owner: Option<KeyOwner>,
    /// A fingerprint of the message: a key that is known of another one is
    /// [`KeyReused`](super::Published::KeyReused).
    #[serde(rename = "print")]
    pub fingerprint: u64,
    /// The time for which the relay knows the key, in milliseconds.
    pub key_ms: u64,
    /// The part of the topic that is kept; `None` when it is only counted.
    pub keep: Option<HistoryPolicy>,
    /// The message, in a form that only hubs interpret.
    pub body: Box<[u8]>,
}

/// An owner of idempotency keys: a client, or all backends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyOwner {
    /// The name.
    pub name: Box<str>,
    /// Other owners under whose name the message may have been published: their keys are looked for
    /// too.
    pub earlier: Vec<Box<str>>,
    /// Keys of the owner that the relay knows, the newest.
    pub keys_max: usize,
    /// The limit on the keys of all owners that have this limit: past it the owner with the most
    /// keys loses its oldest. `None` for an owner that is counted separately.
    pub all_max: Option<usize>,
}

impl KeyOwner {
    /// The names of a key with its owner, and with those of before.
    pub(crate) fn names(&self, key: &str) -> impl Iterator<Item = Box<str>> {
        let owners = core::iter::once(&self.name).chain(&self.earlier);
        owners.map(move |owner| format!("{}:{owner}:{key}", owner.len()).into())
    }
}

/// A topic to subscribe to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// The topic.
    pub topic: Topic,
    /// The position up to which the node has all messages: those behind it are wanted, when the
    /// epoch is still the same.
    pub after: Option<TopicPosition>,
}

/// A read of what a topic has kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Read {
    /// The token of the command.
    pub token: u64,
    /// The topic.
    pub topic: Topic,
    /// The offset that the messages come after: then the oldest of them are read, else the newest.
    pub after: Option<u64>,
    /// The offset that the messages come before.
    pub before: Option<u64>,
    /// The largest number of messages.
    pub limit: usize,
    /// Bytes of their bodies: the message that passes them is the last.
    pub bytes: usize,
    /// The age of the oldest message that is wanted, in milliseconds; 0 for all that are kept.
    #[serde(default, skip_serializing_if = "crate::time::is_zero")]
    pub age_ms: u64,
}
