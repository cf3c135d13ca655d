//! The state of the model: connections, and rooms that a policy matches.

use std::collections::{BTreeMap, BTreeSet};

use crate::{Actor, Answer, To, op::json_string};

/// A connection with its rooms. Members of a room are not stored, but found by a walk over all
/// connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Conn {
    pub(super) actor: Actor,
    pub(super) namespace: Box<str>,
    pub(super) user: Option<Box<str>>,
    pub(super) rooms: BTreeSet<String>,
    /// The same in the order of joining.
    pub(super) order: Vec<String>,
    /// Presence meta of the user, by room; JSON.
    pub(super) metas: BTreeMap<String, String>,
    /// The number among the connections of the actor, from 1.
    pub(super) number: u32,
    pub(super) heard: u64,
    pub(super) pinged: Option<u64>,
}

/// A send under an idempotency key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sent {
    pub(super) namespace: Box<str>,
    pub(super) key: Box<str>,
    /// The recipients, the event, its label, the payload.
    pub(super) message: (To, Box<str>, Option<Box<str>>, Box<str>),
    pub(super) expires: u64,
    pub(super) answer: Answer,
}

/// The owner of a client's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Publisher {
    User(Box<str>),
    /// The connection, by its actor and its number.
    Conn((Actor, u32)),
}

/// A publish under an idempotency key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Published {
    pub(super) namespace: Box<str>,
    pub(super) publisher: Publisher,
    pub(super) key: String,
    /// The room, the event, the payload.
    pub(super) message: (String, String, String),
    pub(super) expires: u64,
    /// The `data` of the answer.
    pub(super) answer: String,
}

/// A room with a history, which outlives its members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct History {
    pub(super) namespace: Box<str>,
    pub(super) name: String,
    /// The number among the histories of the room, from 1.
    pub(super) number: u32,
    /// True when somebody was told its epoch.
    pub(super) told: bool,
    pub(super) top: u64,
    pub(super) messages: Vec<Message>,
    /// The time of the last message, or of the beginning.
    pub(super) touched: u64,
    pub(super) emptied: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) offset: u64,
    pub(super) at: u64,
    pub(super) text: String,
    /// Connections that never get it: the actor, and the number of its connection.
    pub(super) except: BTreeSet<(Actor, u32)>,
    pub(super) except_users: Vec<Box<str>>,
}

/// A user who lost the last connection in a room, and may come back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Absence {
    pub(super) namespace: Box<str>,
    pub(super) room: String,
    pub(super) user: Box<str>,
    pub(super) until: u64,
    pub(super) meta: Option<String>,
}

impl History {
    pub(super) fn epoch(&self) -> String {
        format!("<epoch {} of {}>", self.number, self.name)
    }

    pub(super) fn expire(&mut self, now: u64, age: u64) {
        self.messages.retain(|message| message.at + age > now);
    }
}

impl Message {
    pub(super) fn is_for(&self, conn: &Conn, was: Option<&(Actor, u32)>) -> bool {
        let left_out = |who: &(Actor, u32)| self.except.contains(who);
        !left_out(&conn.identity())
            && !was.is_some_and(left_out)
            && !conn
                .user
                .as_ref()
                .is_some_and(|user| self.except_users.contains(user))
    }
}

impl Absence {
    pub(super) fn is(&self, namespace: &str, room: &str, user: &str) -> bool {
        *self.namespace == *namespace && self.room == room && *self.user == *user
    }
}

impl Conn {
    pub(super) fn identity(&self) -> (Actor, u32) {
        (self.actor.clone(), self.number)
    }

    pub(super) fn shown_as(&self) -> String {
        match &self.user {
            Some(user) => format!(r#""user":{}"#, json_string(user)),
            None => format!(r#""user":"","conn":"<{}>""#, self.actor),
        }
    }
}

/// Whole milliseconds.
pub(super) fn millis(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
