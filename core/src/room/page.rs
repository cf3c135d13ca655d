//! Owned pages of a room's history and of its users.

use alloc::{borrow::Cow, borrow::ToOwned, boxed::Box, string::String, vec::Vec};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::DeserializeOwned};
use serde_json::value::RawValue;

use super::presence::{Listed, Who};
use crate::wire::conn_id::ConnId;

/// A place in the sequence of a room's messages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Position<'a> {
    /// The history of the room that the offset counts in.
    pub epoch: Cow<'a, str>,
    /// The last message's offset; 0 before the first, and always without history.
    pub offset: u64,
}

impl Position<'static> {
    /// A position, by its epoch and offset.
    pub fn new(epoch: impl Into<Cow<'static, str>>, offset: u64) -> Self {
        let epoch = epoch.into();
        Self { epoch, offset }
    }
}

impl Position<'_> {
    /// The same, borrowing nothing.
    pub fn into_owned(self) -> Position<'static> {
        let (epoch, offset) = (self.epoch.into_owned().into(), self.offset);
        Position { epoch, offset }
    }
}

/// A page of a room's history. In JSON it is what `$history` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct HistoryPage {
    /// The history of the room that the offsets count in: another one is another sequence.
    pub epoch: String,
    /// The offset of the room's last message; 0 before the first.
    pub offset: u64,
    /// Oldest first.
    pub messages: Vec<PastMessage>,
    /// The offset of the oldest message that the room has kept; that of the next one when it has
    /// kept none. A client that has everything below it misses nothing.
    pub first: u64,
}

/// A message of a room's history. In JSON it is the envelope that was sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PastMessage {
    /// The event name.
    pub event: String,
    /// The room.
    pub room: String,
    /// The label that the application gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The client that published it; `None` when it was sent by the application or the HTTP API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Publisher>,
    /// The place of the message in the history.
    pub offset: u64,
    data: Json,
}

/// The publisher of a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Publisher {
    /// The connection.
    pub conn: ConnId,
    /// The user of the connection; `None` is anonymous.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
}

/// A page of the users in a room. In JSON it is what `$members` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PresencePage {
    /// Users by name, then connections without a user by age. Empty where the policy gives counts
    /// alone, and while there are more users than `Limits::presence_list`.
    pub members: Vec<Present>,
    /// The total number of users; a connection without a user counts as one. An absent user who may
    /// return still counts.
    pub users: usize,
    /// The number of connections in all.
    pub conns: usize,
    /// The cursor to ask for the next page with; `None` at the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// True when users are listed, and their joins and leaves are announced. In JSON it is present
    /// only when it is `false`.
    #[serde(default = "yes", skip_serializing_if = "Clone::clone")]
    pub listed: bool,
}

const fn yes() -> bool {
    true
}

/// A user in a room, or a connection without a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Present {
    /// The user; `None` for a connection without one.
    #[serde(
        serialize_with = "name_or_nothing",
        deserialize_with = "nothing_or_name"
    )]
    pub user: Option<String>,
    /// The connection, where there is no user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conn: Option<ConnId>,
    /// The number of connections of the user in the room; 0 for an absent user who may return.
    pub conns: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    meta: Option<Json>,
}

/// JSON as the text it came as.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
struct Json(Box<RawValue>);

impl PartialEq for Json {
    fn eq(&self, other: &Self) -> bool {
        self.0.get() == other.0.get()
    }
}

impl Eq for Json {}

/// The reason why there is no page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(remote = "Self", rename_all = "snake_case")]
#[non_exhaustive]
pub enum PageError {
    /// The room's policy keeps no history, or there is no policy for it.
    #[error("this room keeps no history: give it a policy with `history`")]
    NoHistory,
    /// The room's policy shows nobody, or there is no policy for it.
    #[error("this room shows nobody: give it a policy with `presence`")]
    NoPresence,
    /// Not the `next` of a page.
    #[error("`after` must be the `next` of the page before")]
    Cursor,
    /// The room's messages are with the host, which did not load them, or returned them changed.
    #[error("the messages of this room are not available")]
    Unavailable,
    /// The room has no member on this node, which therefore does not know the users on the others.
    #[error("nobody of this room is on this node: ask one that has a member")]
    Unfollowed,
}

impl PresencePage {
    /// The page of a room that nobody is in.
    pub(crate) const fn empty() -> Self {
        Self {
            members: Vec::new(),
            users: 0,
            conns: 0,
            next: None,
            listed: true,
        }
    }
}

impl PastMessage {
    /// The payload, as a type.
    ///
    /// # Errors
    ///
    /// When it is of another type.
    pub fn data<T: DeserializeOwned>(&self) -> serde_json::Result<T> {
        serde_json::from_str(self.json())
    }

    /// The payload as the JSON text it came as.
    pub fn json(&self) -> &str {
        self.data.0.get()
    }
}

impl Present {
    /// Returns the metadata that is shown of the user: the `meta` that its first connection joined
    /// with, as a type.
    ///
    /// # Errors
    ///
    /// When it is of another type.
    pub fn meta<T: DeserializeOwned>(&self) -> serde_json::Result<Option<T>> {
        let meta = self.meta.as_ref().map(|Json(meta)| meta.get());
        meta.map(serde_json::from_str).transpose()
    }
}

impl From<Listed<'_>> for Present {
    fn from(listed: Listed<'_>) -> Self {
        let (user, conn) = match listed.who {
            Who::User(user) => (Some(user.to_owned()), None),
            Who::Guest(conn) => (None, Some(conn)),
        };
        let meta = listed.meta.map(ToOwned::to_owned);
        Self {
            user,
            conn,
            conns: listed.conns,
            meta: meta.and_then(|meta| RawValue::from_string(meta).ok().map(Json)),
        }
    }
}

/// The protocol uses an empty name for no user.
#[allow(clippy::ref_option)] // serde's signature
fn name_or_nothing<S: Serializer>(user: &Option<String>, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(user.as_deref().unwrap_or_default())
}

fn nothing_or_name<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    let user = String::deserialize(from)?;
    Ok(Some(user).filter(|user| !user.is_empty()))
}
