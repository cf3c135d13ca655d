//! Calls of the API, and their answers as JSON.

use alloc::{borrow::ToOwned, boxed::Box, string::String, string::ToString, vec::Vec};
use core::ops::Bound;

use roomcast_core::{
    ConnId, Delivery, Explained, Explanation, Hub, Timestamp,
    ask::{self, Ask, Asked},
    hub::RoomInfo,
    queue::{AtQueue, QueueFate},
    room::{PageError, Position, PresencePage},
};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::{problem::Problem, response::Response};

/// A request of the API that is right in itself. It owns what it needs: it can be run on another
/// thread, or somewhere else.
#[derive(Debug)]
pub struct ApiCall {
    pub(super) namespace: String,
    pub(super) ask: Ask,
}

impl ApiCall {
    /// The name of the namespace that the call is about.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The request that the namespace is to answer.
    pub const fn ask(&self) -> &Ask {
        &self.ask
    }

    /// Does what the call asks for, in that namespace.
    ///
    /// Work: as the hub says for what is done. A list of rooms costs its page; one of connections
    /// walks all of them, or all of the user.
    ///
    /// # Errors
    ///
    /// The answer when it cannot be done.
    pub fn run(&self, now: Timestamp, namespace: &mut impl Asked) -> Result<Answer, Problem> {
        if let Some(found) = namespace.hub(|hub| Found::look(&self.ask, hub)) {
            return found.map(Answer);
        }
        let found = match (self.ask.run(now, namespace)?, &self.ask) {
            (ask::Answer::Sent(delivery), _) => Found::Sent(delivery),
            (ask::Answer::Joined(already), Ask::Join { room, .. }) => {
                let position = namespace.hub(|hub| hub.position(room).into_owned());
                Found::Joined { position, already }
            }
            (ask::Answer::Left(was), _) => Found::Left { was },
            (ask::Answer::Disconnected(disconnected), _) => Found::Disconnected { disconnected },
            // The API does not ask anything else.
            (_, _) => return Err(Problem::NoCall),
        };
        Ok(Answer(found))
    }
}

/// Result of a call: the things that it found or did. A [`Response`] is made of it.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct Answer(Found);

impl Answer {
    /// The connections that the answer describes.
    pub fn conns(&mut self) -> impl Iterator<Item = ConnId> {
        self.views().iter().map(|view| view.conn)
    }

    /// Fills in what is queued for a connection, in bytes; 0 is what an answer says without.
    /// Nothing happens when the answer does not describe the connection. Work: a look-up.
    pub fn set_queued_bytes(&mut self, conn: ConnId, bytes: usize) {
        let views = self.views();
        // They are sorted by id.
        if let Ok(at) = views.binary_search_by_key(&conn, |view| view.conn) {
            views[at].queued_bytes = bytes;
        }
    }

    /// The connection and the message that its queue is to be asked for, when the answer explains
    /// one of which the queue alone knows whether it dropped it.
    pub fn at_queue(&self) -> Option<(ConnId, AtQueue)> {
        let Found::Explained(view) = &self.0 else {
            return None;
        };
        let past = Explained::past(&*view.room, view.offset?);
        Some((view.conn, view.explanation.at_queue(&past)?))
    }

    /// Completes an explanation by what the queue knows.
    pub fn resolve(&mut self, fate: QueueFate) {
        if let Found::Explained(view) = &mut self.0 {
            view.explanation.resolve(fate);
            view.received = view.received.map(|_| view.explanation.reason.received());
            view.text = view.explanation.to_string();
        }
    }

    #[allow(clippy::wildcard_enum_match_arm)] // the others name no connections
    fn views(&mut self) -> &mut [ConnectionView] {
        match &mut self.0 {
            Found::Connections { connections, .. } => connections,
            Found::Connection(view) => core::slice::from_mut(view),
            _ => &mut [],
        }
    }
}

impl From<Answer> for Response {
    fn from(answer: Answer) -> Self {
        match serde_json::to_vec(&answer) {
            Ok(body) => Self::new(200, "application/json", body),
            Err(_) => Problem::Answer.into(),
        }
    }
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Found {
    Sent(Delivery),
    Rooms {
        rooms: Vec<RoomView>,
        #[serde(skip_serializing_if = "Option::is_none")]
        next: Option<String>,
    },
    Room(RoomView),
    Members(PresencePage),
    History {
        #[serde(flatten)]
        position: Position<'static>,
        messages: Vec<Box<RawValue>>,
        first: u64,
    },
    Joined {
        #[serde(flatten)]
        position: Position<'static>,
        already: bool,
    },
    Left {
        was: bool,
    },
    Connections {
        /// Sorted by id.
        connections: Vec<ConnectionView>,
        #[serde(skip_serializing_if = "Option::is_none")]
        next: Option<ConnId>,
    },
    Connection(ConnectionView),
    Disconnected {
        disconnected: usize,
    },
    Explained(ExplainedView),
}

#[derive(Debug, Serialize)]
struct RoomView {
    room: String,
    members: usize,
    #[serde(flatten)]
    position: Position<'static>,
}

#[derive(Debug, Serialize)]
struct ConnectionView {
    conn: ConnId,
    user: String,
    rooms: Vec<String>,
    since_ms: u64,
    queued_bytes: usize,
}

#[derive(Debug, Serialize)]
struct ExplainedView {
    room: String,
    /// The offset of a message; there is a right in its place otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<u64>,
    /// The connection that would publish.
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<ConnId>,
    conn: ConnId,
    /// `null` when the server does not know. Absent for a right.
    #[serde(skip_serializing_if = "Option::is_none")]
    received: Option<Option<bool>>,
    /// True for a right that the connection has; absent for a message.
    #[serde(skip_serializing_if = "Option::is_none")]
    allowed: Option<bool>,
    #[serde(flatten)]
    explanation: Explanation,
    text: String,
}

impl RoomView {
    fn of(hub: &Hub, room: &RoomInfo<'_>) -> Self {
        Self {
            room: room.name.to_owned(),
            members: room.members,
            position: hub.position(room.name).into_owned(),
        }
    }
}

impl ConnectionView {
    fn of(hub: &Hub, conn: ConnId) -> Option<Self> {
        let info = hub.connection(conn)?;
        let rooms = hub.rooms_of(conn)?.into_iter().map(str::to_owned);
        Some(Self {
            conn,
            user: info.user.unwrap_or_default().to_owned(),
            rooms: rooms.collect(),
            since_ms: hub.unix_time(info.since).as_millis(),
            queued_bytes: 0,
        })
    }
}

impl Found {
    /// Answers a question; `None` when it is none that has a view of its own.
    #[allow(clippy::wildcard_enum_match_arm)] // the others have none
    fn look(ask: &Ask, hub: &Hub) -> Option<Result<Self, Problem>> {
        Some(match ask {
            Ask::Rooms {
                prefix,
                after,
                limit,
            } => {
                let mut page = hub.rooms(prefix, after.as_deref());
                let rooms = page.by_ref().take(*limit);
                let rooms: Vec<_> = rooms.map(|room| RoomView::of(hub, &room)).collect();
                let last = rooms.last().filter(|_| page.next().is_some());
                let next = last.map(|room| room.room.clone());
                Ok(Self::Rooms { rooms, next })
            }
            Ask::Room { room } => {
                let view = hub.room(room).map(|room| RoomView::of(hub, &room));
                view.map(Self::Room).ok_or(Problem::NoRoom)
            }
            Ask::Presence { room, after, limit } => {
                let found = hub.room(room).ok_or(Problem::NoRoom);
                match hub.presence(room, after.as_deref(), *limit) {
                    Err(fault @ PageError::Cursor) => Err(fault.into()),
                    page => found.and_then(|_| Ok(Self::Members(page?))),
                }
            }
            Ask::History {
                room,
                offsets,
                limit,
            } => Self::history(hub, room, *offsets, *limit),
            Ask::Connections { user, after, limit } => {
                let mut ids: Vec<ConnId> = match user {
                    Some(user) => hub.connections_of(user).to_vec(),
                    None => hub.connections().map(|conn| conn.id).collect(),
                };
                ids.retain(|id| after.as_ref().is_none_or(|after| id > after));
                ids.sort_unstable();
                let more = ids.len() > *limit;
                ids.truncate(*limit);
                let next = ids.last().copied().filter(|_| more);
                let views = ids.iter().filter_map(|id| ConnectionView::of(hub, *id));
                let connections = views.collect();
                Ok(Self::Connections { connections, next })
            }
            Ask::Connection { conn } => {
                let view = ConnectionView::of(hub, *conn);
                view.map(Self::Connection).ok_or(Problem::NoConnection)
            }
            Ask::Explain { send, conn } => {
                let (room, offset, from) = match send {
                    Explained::Past { room, offset } => (room, Some(*offset), None),
                    Explained::Publish { room, from, .. } => (room, None, Some(*from)),
                    Explained::Right { room, .. } => (room, None, None),
                    _ => return None,
                };
                let is_message = offset.is_some() || from.is_some();
                let explanation = hub.explain(send, *conn);
                let received = explanation.reason.received();
                Ok(Self::Explained(ExplainedView {
                    room: room.clone(),
                    offset,
                    from,
                    conn: *conn,
                    received: is_message.then_some(received),
                    allowed: received.filter(|_| !is_message),
                    text: explanation.to_string(),
                    explanation,
                }))
            }
            _ => return None,
        })
    }

    /// A page of what was said in a room.
    fn history(
        hub: &Hub,
        room: &str,
        (after, before): (Bound<u64>, Bound<u64>),
        limit: usize,
    ) -> Result<Self, Problem> {
        let edge = |bound| match bound {
            Bound::Excluded(offset) | Bound::Included(offset) => Some(offset),
            Bound::Unbounded => None,
        };
        hub.room(room).ok_or(Problem::NoRoom)?;
        let page = hub.history(room, edge(after), edge(before), limit);
        let page = page.zip(hub.history_first(room));
        let (page, first) = page.ok_or(PageError::NoHistory)?;
        // JSON that is passed on as it is.
        let raw = |json: &str| RawValue::from_string(json.to_owned()).ok();
        Ok(Self::History {
            position: hub.position(room).into_owned(),
            messages: page.into_iter().filter_map(raw).collect(),
            first,
        })
    }
}
