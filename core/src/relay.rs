//! Many nodes, one namespace: messages that take their order from a relay behind all nodes.
//!
//! A clustered hub is not its own sequencer. It commands the host to publish a message, and
//! delivers what comes back: its own messages and those of other nodes alike, in the order of the
//! relay, each once. The same holds for users who join and leave. Nothing here knows the hub or its
//! tables.

mod body;
mod command;
mod event;
mod optional;
mod publishes;
mod roster;
mod state;
mod stats;
mod topic;
mod track;
mod users;

pub(crate) use self::{
    body::{Body, BodyKind},
    command::{KEEP_ALL, KEY_MS},
    optional::OptionalRelay,
    publishes::{Pending, Publishes, Replier},
    roster::{Roster, Turn},
    state::{Answered, Asked, Relay, WAITING_MAX},
    track::{Ack, Effect, Taken, Track},
};
pub use self::{
    command::{KeyOwner, Publish, Read, RelayCommand, Wanted},
    event::{Published, RelayEvent, StreamMessage, TopicPage},
    stats::RelayStats,
    topic::{Topic, TopicPosition},
    users::{Notice, PresenceChange, PresentUser, RoomUsers},
};
