//! Pages of what a room keeps and of who is in it, to be taken away from the hub.

use alloc::{borrow::ToOwned, boxed::Box, string::String, vec::Vec};
use core::ops::{Bound, RangeBounds};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::DeserializeOwned};
use serde_json::value::RawValue;

use crate::{
    hub::Hub, hub::conn::ConnId, policy::PresencePolicy, room::notices::Page, room::presence::Who,
    time::Timestamp,
};

/// A page of a room's history. In JSON it is what `$history` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct HistoryPage {
    /// The life of the room that the offsets count in: another one is another sequence.
    pub epoch: String,
    /// The offset of the room's last message; 0 before the first.
    pub offset: u64,
    /// Oldest first.
    pub messages: Vec<PastMessage>,
    /// The offset of the oldest message that the room has kept; that of the next one when it has kept
    /// none. Who has everything below it misses nothing.
    pub first: u64,
}

/// A message of a room's history. In JSON it is the envelope that was sent.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PastMessage {
    /// What happened.
    pub event: String,
    /// The room.
    pub room: String,
    /// The label that the application gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Which client published it; `None` when it was sent by the application or the HTTP API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Publisher>,
    /// Its place in the history.
    pub offset: u64,
    data: Box<RawValue>,
}

/// Who published a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Publisher {
    /// The connection.
    pub conn: ConnId,
    /// Whose it was; `None` is anonymous.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
}

/// A page of those who are in a room. In JSON it is what `$members` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PresencePage {
    /// Users by name, then connections without a user by age. Empty where the policy gives counts
    /// alone, and while there are more users than `Limits::presence_list`.
    pub members: Vec<Present>,
    /// How many users there are in all; a connection without a user counts as one. Who is waited for
    /// to come back is still there.
    pub users: usize,
    /// How many connections there are in all.
    pub conns: usize,
    /// What to ask for the next page with; `None` at the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// True when there is a list, and single users who come and go are told. In JSON it is there
    /// only when it is `false`.
    #[serde(default = "yes", skip_serializing_if = "Clone::clone")]
    pub listed: bool,
}

const fn yes() -> bool {
    true
}

/// One who is in a room.
#[derive(Debug, Clone, Serialize, Deserialize)]
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
    /// How many connections of the user are in the room; 0 for one that is waited for.
    pub conns: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    meta: Option<Box<RawValue>>,
}

/// A page that there is none of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
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
    /// The room's messages are with the host, and it did not give them back, or not as they were.
    #[error("the messages of this room are not available")]
    Unavailable,
}

impl PastMessage {
    /// The payload, as a type.
    ///
    /// # Errors
    ///
    /// When it is of another type.
    pub fn data<T: DeserializeOwned>(&self) -> serde_json::Result<T> {
        serde_json::from_str(self.data.get())
    }

    /// The payload as the JSON text it came as.
    pub fn json(&self) -> &str {
        self.data.get()
    }
}

impl PartialEq for PastMessage {
    fn eq(&self, other: &Self) -> bool {
        let Self {
            event,
            room,
            path,
            from,
            offset,
            data,
        } = self;
        let other_head = (&other.event, &other.room, &other.path);
        let rest = (&other.from, &other.offset);
        (event, room, path) == other_head
            && (from, offset) == rest
            && data.get() == other.data.get()
    }
}

impl Eq for PastMessage {}

impl Present {
    /// What is shown of the user: the `meta` that its first connection joined with, as a type.
    ///
    /// # Errors
    ///
    /// When it is of another type.
    pub fn meta<T: DeserializeOwned>(&self) -> serde_json::Result<Option<T>> {
        let meta = self.meta.as_deref().map(RawValue::get);
        meta.map(serde_json::from_str).transpose()
    }
}

impl PartialEq for Present {
    fn eq(&self, other: &Self) -> bool {
        let meta = |present: &Self| {
            present
                .meta
                .as_deref()
                .map(RawValue::get)
                .map(str::to_owned)
        };
        (&self.user, self.conn, self.conns) == (&other.user, other.conn, other.conns)
            && meta(self) == meta(other)
    }
}

impl Eq for Present {}

/// The protocol has an empty name where there is no user.
#[allow(clippy::ref_option)] // serde's signature
fn name_or_nothing<S: Serializer>(user: &Option<String>, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(user.as_deref().unwrap_or_default())
}

fn nothing_or_name<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    let user = String::deserialize(from)?;
    Ok(Some(user).filter(|user| !user.is_empty()))
}

impl Hub {
    /// A page of a room's history, as [`NamespaceContext::history`](crate::NamespaceContext::history) gives it; empty when
    /// there is no such room.
    ///
    /// Work: the page.
    ///
    /// # Errors
    ///
    /// When the room keeps no history. When its messages are [away](Self::is_away): the host gives
    /// them back first.
    pub fn history_page(
        &self,
        now: Timestamp,
        room: &str,
        offsets: impl RangeBounds<u64>,
        limit: usize,
    ) -> Result<HistoryPage, PageError> {
        let policy = self
            .policy_of(room)
            .map(|index| self.config.policies.get(index));
        let policy = policy.and_then(|policy| policy.history.as_ref());
        let policy = policy
            .filter(|_| !self.config.raw)
            .ok_or(PageError::NoHistory)?;
        let position = self.position(room);
        let (epoch, offset) = (position.epoch.into_owned(), position.offset);
        let found = self.rooms.find(room);
        let Some(history) = found.and_then(|(_, room)| room.history()) else {
            let messages = Vec::new();
            return Ok(HistoryPage {
                epoch,
                offset,
                messages,
                first: offset + 1,
            });
        };
        if history.is_away() {
            return Err(PageError::Unavailable);
        }
        let after = match offsets.start_bound() {
            Bound::Included(&first) => Some(first.saturating_sub(1)),
            Bound::Excluded(&before) => Some(before),
            Bound::Unbounded => None,
        };
        let before = match offsets.end_bound() {
            Bound::Included(&last) => Some(last.saturating_add(1)),
            Bound::Excluded(&end) => Some(end),
            Bound::Unbounded => None,
        };
        // What is too old is dropped when the room is used next; a question changes nothing.
        let fresh = history.first_since(now, policy.age);
        let oldest = after.unwrap_or(0).max(fresh.saturating_sub(1));
        let span = (Some(oldest), before);
        let frames = self.page(history, span, after.is_some(), Some(limit), None);
        let read = |frame: &str| serde_json::from_str(frame).map_err(|_| PageError::Unavailable);
        let messages = frames.into_iter().map(read).collect::<Result<_, _>>()?;
        Ok(HistoryPage {
            epoch,
            offset,
            messages,
            first: history.first().max(fresh),
        })
    }

    /// A page of those who are in a room, as [`NamespaceContext::presence`](crate::NamespaceContext::presence) gives it;
    /// empty when there is no such room.
    ///
    /// Work: the page.
    ///
    /// # Errors
    ///
    /// When the room shows nobody, or `after` is not the `next` of a page.
    pub fn presence(
        &self,
        room: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<PresencePage, PageError> {
        let parse = |after| Who::parse(after).ok_or(PageError::Cursor);
        let after = after.map(parse).transpose()?;
        let page = match self.rooms.find(room) {
            Some((slot, _)) => self.presence_page(slot, after, limit),
            None => self.empty_page(room),
        };
        let page = page.ok_or(PageError::NoPresence)?;
        let members = page.members.iter().map(|member| {
            let (user, conn) = match member.who {
                Who::User(user) => (Some(user.to_owned()), None),
                Who::Guest(conn) => (None, Some(conn)),
            };
            let meta = member.meta.map(ToOwned::to_owned);
            Present {
                user,
                conn,
                conns: member.conns,
                meta: meta.and_then(|meta| RawValue::from_string(meta).ok()),
            }
        });
        Ok(PresencePage {
            members: members.collect(),
            users: page.users,
            conns: page.conns,
            next: page.next,
            listed: page.listed,
        })
    }

    /// Members of a room that does not exist: nobody; `None` when its policy would show nobody.
    fn empty_page(&self, room: &str) -> Option<Page<'_>> {
        let policy = self.config.policies.get(self.policy_of(room)?);
        let shown = policy.presence != PresencePolicy::Off && !self.config.raw;
        shown.then(|| Page {
            listed: policy.presence == PresencePolicy::Members,
            ..Page::default()
        })
    }
}
