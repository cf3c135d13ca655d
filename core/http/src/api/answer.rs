//! What the API shows: the JSON of its answers.

use alloc::{borrow::ToOwned, boxed::Box, string::String, vec::Vec};

use serde::Serialize;
use serde_json::value::RawValue;

use super::no_room;
use crate::{Problem, Response};
use roomcast_core::{
    ConnId, Delivery, ErrorCode, Hub,
    room::{PageError, PresencePage},
};

/// What a call found or did; a [`Response`] is made of it.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct Answer(pub(super) Found);

impl Answer {
    /// The connections that the answer describes.
    #[allow(clippy::wildcard_enum_match_arm)] // the others name no connections
    pub fn conns(&self) -> impl Iterator<Item = ConnId> {
        let views = match &self.0 {
            Found::Connections(view) => &*view.connections,
            Found::Connection(view) => core::slice::from_ref(view),
            _ => &[],
        };
        views.iter().map(|view| view.conn)
    }

    /// Fills in what is queued for a connection, in bytes; 0 is what an answer says without. Nothing
    /// happens when the answer does not describe the connection. Work: a look-up.
    #[allow(clippy::wildcard_enum_match_arm)] // the others name no connections
    pub fn set_queued_bytes(&mut self, conn: ConnId, bytes: usize) {
        let views = match &mut self.0 {
            Found::Connections(view) => &mut *view.connections,
            Found::Connection(view) => core::slice::from_mut(view),
            _ => return,
        };
        // They are sorted by id.
        if let Ok(at) = views.binary_search_by_key(&conn, |view| view.conn) {
            views[at].queued_bytes = bytes;
        }
    }
}

impl From<Answer> for Response {
    fn from(answer: Answer) -> Self {
        match serde_json::to_vec(&answer) {
            Ok(body) => Self::new(200, "application/json", body),
            Err(_) => Problem::new(ErrorCode::Internal, "the answer could not be encoded").into(),
        }
    }
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Found {
    Sent(Delivery),
    Rooms(RoomsView),
    Room(RoomView),
    Members(PresencePage),
    History(HistoryView),
    Joined(JoinedView),
    Left(LeftView),
    Connections(ConnectionsView),
    Connection(ConnectionView),
    Disconnected(DisconnectedView),
}

#[derive(Debug, Serialize)]
pub(super) struct RoomView {
    pub(super) room: String,
    pub(super) members: usize,
    pub(super) epoch: String,
    pub(super) offset: u64,
}

impl RoomView {
    pub(super) fn of(hub: &Hub, name: &str, members: usize) -> Self {
        let position = hub.position(name);
        Self {
            room: name.to_owned(),
            members,
            epoch: position.epoch.into_owned(),
            offset: position.offset,
        }
    }
}

/// A page of those who are in a room.
pub(super) fn members(
    hub: &Hub,
    room: &str,
    after: Option<&str>,
    limit: usize,
) -> Result<PresencePage, Problem> {
    let found = hub.room(room);
    match hub.presence(room, after, limit) {
        Err(fault @ PageError::Cursor) => Err(fault.into()),
        _ if found.is_none() => Err(no_room()),
        Err(fault) => Err(fault.into()),
        Ok(page) => Ok(page),
    }
}

#[derive(Debug, Serialize)]
pub(super) struct HistoryView {
    epoch: String,
    offset: u64,
    messages: Vec<Box<RawValue>>,
    first: u64,
}

impl HistoryView {
    pub(super) fn of(
        hub: &Hub,
        room: &str,
        (after, before): (Option<u64>, Option<u64>),
        limit: usize,
    ) -> Result<Self, Problem> {
        hub.room(room).ok_or_else(no_room)?;
        let page = hub.history(room, after, before, limit);
        let page = page.zip(hub.history_first(room));
        let (page, first) = page.ok_or(PageError::NoHistory)?;
        let position = hub.position(room);
        Ok(Self {
            epoch: position.epoch.into_owned(),
            offset: position.offset,
            messages: page.into_iter().filter_map(raw).collect(),
            first,
        })
    }
}

/// JSON that is passed on as it is.
fn raw(json: &str) -> Option<Box<RawValue>> {
    RawValue::from_string(json.to_owned()).ok()
}

#[derive(Debug, Default, Serialize)]
pub(super) struct RoomsView {
    pub(super) rooms: Vec<RoomView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next: Option<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct JoinedView {
    epoch: String,
    offset: u64,
    already: bool,
}

impl JoinedView {
    pub(super) fn of(hub: &Hub, room: &str, already: bool) -> Self {
        let position = hub.position(room);
        Self {
            epoch: position.epoch.into_owned(),
            offset: position.offset,
            already,
        }
    }
}

#[derive(Debug, Serialize)]
pub(super) struct LeftView {
    pub(super) was: bool,
}

#[derive(Debug, Serialize)]
pub(super) struct ConnectionView {
    pub(super) conn: ConnId,
    pub(super) user: String,
    pub(super) rooms: Vec<String>,
    pub(super) since_ms: u64,
    pub(super) queued_bytes: usize,
}

#[derive(Debug, Default, Serialize)]
pub(super) struct ConnectionsView {
    /// Sorted by id.
    pub(super) connections: Vec<ConnectionView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next: Option<ConnId>,
}

#[derive(Debug, Serialize)]
pub(super) struct DisconnectedView {
    pub(super) disconnected: usize,
}
