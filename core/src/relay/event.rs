//! Events of a relay for a clustered hub.

use alloc::{boxed::Box, vec::Vec};
use core::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{
    topic::{Topic, TopicPosition},
    users::{Notice, PresenceChange, RoomUsers},
};

/// An event of the relay, or an event that the host reports about it: the content of
/// [`Input::Relay`](crate::Input::Relay).
///
/// Exhaustive on purpose: a new variant must break every replay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RelayEvent {
    /// The relay can be reached, by new connections: requests from before are not answered any
    /// more, and nothing is subscribed to.
    Up,
    /// The relay cannot be reached, or messages may have been lost on the way: all pending requests
    /// have failed.
    Down,
    /// The answer to a publish.
    Published {
        /// The token of the command.
        token: u64,
        /// The outcome.
        outcome: Published,
    },
    /// A message of a topic that is subscribed to.
    Message {
        /// The topic.
        topic: Topic,
        /// The epoch of the offset.
        epoch: Box<str>,
        /// The offset.
        offset: u64,
        /// The message as it was published.
        #[serde(with = "bytes")]
        body: Box<[u8]>,
    },
    /// Topics are subscribed to: a page for each, read behind that.
    Subscribed {
        /// The token of the command.
        token: u64,
        /// The pages.
        pages: Vec<TopicPage>,
    },
    /// The answer to a read.
    Page {
        /// The token of the command.
        token: u64,
        /// The page.
        page: TopicPage,
    },
    /// The answer to [`SetPresent`](super::RelayCommand::SetPresent).
    Present {
        /// The token of the command.
        token: u64,
        /// The change that it made, counted over all nodes: no other answer has it.
        change: Option<PresenceChange>,
        /// The room of the command, for a change that comes when the command has failed, as the
        /// relay was [down](Self::Down); empty without a change.
        #[serde(default, skip_serializing_if = "str::is_empty")]
        room: Box<str>,
        /// The user of the command, for the same; empty without a change.
        #[serde(default, skip_serializing_if = "str::is_empty")]
        name: Box<str>,
    },
    /// The answer to [`Reconcile`](super::RelayCommand::Reconcile).
    Reconciled {
        /// The token of the command.
        token: u64,
        /// The room; empty without changes.
        #[serde(default, skip_serializing_if = "str::is_empty")]
        room: Box<str>,
        /// Users who came to the room or left it by this, counted over all nodes: no other answer
        /// has them.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        changes: Vec<(Box<str>, PresenceChange)>,
    },
    /// The answer to [`ListUsers`](super::RelayCommand::ListUsers).
    Users {
        /// The token of the command.
        token: u64,
        /// The users.
        page: RoomUsers,
    },
    /// A user came to a room whose topic is subscribed to, or left it.
    Notice(Notice),
    /// The relay registered this node under a new name, without users: its lease had ended, or the
    /// relay may have lost newer data. Users of the old name are removed when its lease ends.
    Registered,
    /// The relay removed users of a dead node from a room. Only this node is told, to tell
    /// backends; members are told by [notices](Self::Notice).
    Reaped {
        /// The room, as in [`SetPresent`](super::RelayCommand::SetPresent).
        room: Box<str>,
        /// The users who have no connection any more.
        names: Vec<Box<str>>,
    },
    /// Users who are withdrawn on any node, as far as the relay knows: see
    /// [`Hub::withdraw`](crate::Hub::withdraw). It answers no command. A host reads it when a
    /// namespace starts, and whenever the relay is [reachable again](Self::Up) or the node is
    /// [under a new name](Self::Registered), since withdrawals on other nodes may have been missed
    /// meanwhile.
    Withdrawn {
        /// Users, each with a time in seconds since 1970.
        users: Vec<(Box<str>, u64)>,
        /// The time that holds for all users; 0 for none.
        everyone_s: u64,
    },
    /// A connection is about to be put into a room from outside: the room's topic is subscribed to
    /// early, so that nothing is missed. It answers no command.
    Wanted {
        /// The room.
        room: Box<str>,
    },
    /// A command other than a publish failed, or was not answered in time.
    Failed {
        /// The token of the command.
        token: u64,
    },
    /// Serials for future connections, which no other node has: the previous ones are running out.
    Serials {
        /// The first of them, above all that the node was given before.
        first: u64,
        /// The number of them.
        count: u64,
    },
}

/// The outcome of a publish.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Published {
    /// The message has its place.
    Accepted {
        /// The place.
        position: TopicPosition,
        /// True when it had that before: its key was known.
        #[serde(default, skip_serializing_if = "core::ops::Not::not")]
        repeated: bool,
    },
    /// The key is known of another message.
    KeyReused,
    /// The relay did not take the message, and is not to be asked again.
    Rejected,
    /// There was no answer in time: the message may have been accepted or not. All commands behind
    /// it on its connection get the same answer before anything else is sent.
    TimedOut,
}

/// The position of a topic, and messages that it has kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicPage {
    /// The topic.
    pub topic: Topic,
    /// The position when the page was read.
    pub position: TopicPosition,
    /// The offset of the oldest message that is kept; that of the next one when there is none.
    pub first: u64,
    /// The messages, oldest first. A host may give fewer than it was asked for, but one if there is
    /// any.
    pub messages: Vec<StreamMessage>,
}

impl TopicPage {
    /// True when a page of the oldest messages ends before the last.
    pub(crate) fn is_cut_off(&self) -> bool {
        let last = self.messages.last();
        last.is_some_and(|last| last.offset < self.position.offset)
    }
}

/// A message that a topic has kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamMessage {
    /// The offset.
    pub offset: u64,
    /// The message as it was published.
    #[serde(with = "bytes")]
    pub body: Box<[u8]>,
}

/// Bytes that are nearly always a text: as one, so that a journal can be read.
mod bytes {
    use super::{Box, Deserializer, Serializer, Vec, de, fmt};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        match core::str::from_utf8(bytes) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => serializer.collect_seq(bytes),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Box<[u8]>, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Box<[u8]>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, or an array of bytes")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(text.as_bytes().into())
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut bytes = Vec::new();
                while let Some(byte) = seq.next_element()? {
                    bytes.push(byte);
                }
                Ok(bytes.into())
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_shows_texts_and_keeps_bytes() {
        for (body, json) in [
            (&b"1m2:ab,"[..], r#"{"offset":7,"body":"1m2:ab,"}"#),
            (&[0xff, 0][..], r#"{"offset":7,"body":[255,0]}"#),
        ] {
            let body = body.into();
            let message = StreamMessage { offset: 7, body };
            assert_eq!(serde_json::to_string(&message).expect("JSON"), json);
            let read: StreamMessage = serde_json::from_str(json).expect("what was written");
            assert_eq!(read, message);
        }
    }
}
