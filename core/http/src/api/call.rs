//! Calls of the API, and their answers as JSON.

use alloc::{borrow::ToOwned, boxed::Box, string::String, string::ToString, vec::Vec};

use roomcast_core::{
    ConnId, Delivery, Explained, Explanation, Timestamp,
    ask::{self, Ask, AskError, Asked, Gathered},
    hub::{ConnectionSummary, RoomSummary},
    queue::{AtQueue, QueueFate},
    room::{HistoryPage, PageError, Position, PresencePage},
};
use serde::Serialize;

use super::source::{FromNodes, Source};
use crate::{problem::Problem, response::Response};

/// A valid request of the API. It owns what it needs: it can be run on another thread, or on
/// another machine.
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

    /// Carries out the call in its namespace.
    ///
    /// Work: that of the hub's method. A list of rooms costs its page; a list of connections walks
    /// all connections, or all of the user.
    ///
    /// # Errors
    ///
    /// The answer when the call cannot be carried out.
    pub fn run(&self, now: Timestamp, namespace: &mut impl Asked) -> Result<Answer, Problem> {
        let answer = self.ask.run(now, namespace);
        let found = namespace.hub(|hub| Found::new(&self.ask, answer, hub));
        found.map(Answer::from)
    }

    /// The request to send to several nodes: for one entry more than the page has, which tells
    /// whether there is another page.
    pub fn ask_of_nodes(&self) -> Ask {
        let mut ask = self.ask.clone();
        if let Ask::Rooms { limit, .. } | Ask::Connections { limit, .. } = &mut ask {
            *limit = limit.saturating_add(1);
        }
        ask
    }

    /// Makes the answer from those of nodes to [`ask_of_nodes`](Self::ask_of_nodes), given the
    /// rooms that exist and the position of each. Nodes that did not answer are named.
    ///
    /// # Errors
    ///
    /// The answer when the call could not be carried out.
    pub fn answer_of_nodes(
        &self,
        gathered: Gathered,
        rooms: impl IntoIterator<Item = (String, Position<'static>)>,
    ) -> Result<Answer, Problem> {
        let Gathered {
            answer,
            connections,
            missing,
            ..
        } = gathered;
        let (answer, has_more) = cut(&self.ask, answer);
        let source = FromNodes {
            rooms: rooms.into_iter().collect(),
            connections,
            has_more,
        };
        let found = Found::new(&self.ask, answer, &source)?;
        Ok(Answer { found, missing })
    }
}

/// Removes the entries beyond the page; true when there were any.
#[allow(clippy::wildcard_enum_match_arm)] // the others have no limit
fn cut(
    ask: &Ask,
    mut answer: Result<ask::Answer, AskError>,
) -> (Result<ask::Answer, AskError>, bool) {
    let (Ask::Rooms { limit, .. } | Ask::Connections { limit, .. }) = ask else {
        return (answer, false);
    };
    let has_more = match &mut answer {
        Ok(ask::Answer::Rooms(rooms)) => {
            let has_more = rooms.len() > *limit;
            rooms.truncate(*limit);
            has_more
        }
        Ok(ask::Answer::Connections(connections)) => {
            let has_more = connections.len() > *limit;
            connections.truncate(*limit);
            has_more
        }
        _ => false,
    };
    (answer, has_more)
}

/// The result of a call, from which a [`Response`] is made.
#[derive(Debug, Serialize)]
pub struct Answer {
    #[serde(flatten)]
    found: Found,
    /// Nodes that did not answer: the answer is partial without them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    missing: Vec<Box<str>>,
}

impl From<Found> for Answer {
    fn from(found: Found) -> Self {
        let missing = Vec::new();
        Self { found, missing }
    }
}

impl Answer {
    /// The connections that the answer describes.
    pub fn conns(&mut self) -> impl Iterator<Item = ConnId> {
        self.views().iter().map(|view| view.conn)
    }

    /// The number under which the relay of a clustered namespace reports the outcome of a send;
    /// `None` for a complete answer.
    pub const fn relayed(&self) -> Option<u64> {
        if let Found::Relayed(number) = &self.found {
            Some(*number)
        } else {
            None
        }
    }

    /// Completes the answer to a send with its outcome.
    pub fn set_delivery(&mut self, delivery: Delivery) {
        self.found = Found::Sent(delivery);
    }

    /// Sets the number of bytes queued for a connection, which is 0 otherwise. Nothing happens if
    /// the answer does not describe the connection. Work: a look-up.
    pub fn set_queued_bytes(&mut self, conn: ConnId, bytes: usize) {
        let views = self.views();
        // The views are sorted by id.
        if let Ok(at) = views.binary_search_by_key(&conn, |view| view.conn) {
            views[at].queued_bytes = bytes;
        }
    }

    /// The connection and the message to ask its queue about, if the answer explains a message of
    /// which only the queue knows whether it was dropped.
    pub fn at_queue(&self) -> Option<(ConnId, AtQueue)> {
        let Found::Explained(view) = &self.found else {
            return None;
        };
        let past = Explained::past(&*view.room, view.offset?);
        Some((view.conn, view.explanation.at_queue(&past)?))
    }

    /// Completes an explanation with the answer of the queue.
    pub fn resolve(&mut self, fate: QueueFate) {
        if let Found::Explained(view) = &mut self.found {
            view.explanation.resolve(fate);
            view.received = view.received.map(|_| view.explanation.reason.received());
            view.text = view.explanation.to_string();
        }
    }

    #[allow(clippy::wildcard_enum_match_arm)] // the others name no connections
    fn views(&mut self) -> &mut [ConnectionView] {
        match &mut self.found {
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
    Relayed(u64),
    Rooms {
        rooms: Vec<RoomView>,
        #[serde(skip_serializing_if = "Option::is_none")]
        next: Option<String>,
    },
    Room(RoomView),
    Members(PresencePage),
    History(HistoryPage),
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
    /// The offset of a past message; absent for a publish or a right.
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
    fn of(source: &dyn Source, room: RoomSummary) -> Self {
        Self {
            position: source.position(&room.name),
            room: room.name,
            members: room.members,
        }
    }
}

impl ConnectionView {
    fn of(source: &dyn Source, found: ConnectionSummary) -> Self {
        let (rooms, queued_bytes) = source.details(found.id);
        Self {
            conn: found.id,
            user: found.user.unwrap_or_default(),
            rooms,
            since_ms: found.since_ms,
            queued_bytes,
        }
    }
}

impl ExplainedView {
    #[allow(clippy::wildcard_enum_match_arm)] // the API asks for nothing else
    fn of(send: &Explained, conn: ConnId, explanation: Explanation) -> Result<Self, Problem> {
        let (room, offset, from) = match send {
            Explained::Past { room, offset } => (room, Some(*offset), None),
            Explained::Publish { room, from, .. } => (room, None, Some(*from)),
            Explained::Right { room, .. } => (room, None, None),
            _ => return Err(Problem::NoCall),
        };
        let is_message = offset.is_some() || from.is_some();
        let received = explanation.reason.received();
        Ok(Self {
            room: room.clone(),
            offset,
            from,
            conn,
            received: is_message.then_some(received),
            allowed: received.filter(|_| !is_message),
            text: explanation.to_string(),
            explanation,
        })
    }
}

impl Found {
    /// The view of an answer, completed from the hub or from the answers of nodes.
    fn new(
        ask: &Ask,
        answer: Result<ask::Answer, AskError>,
        source: &dyn Source,
    ) -> Result<Self, Problem> {
        if let Ask::History { room, .. } | Ask::Presence { room, .. } = ask
            && !matches!(
                answer,
                Err(AskError::Page(PageError::Cursor) | AskError::Unavailable(_))
            )
            && !source.has_room(room)
        {
            return Err(Problem::NoRoom);
        }
        Ok(match (answer?, ask) {
            (ask::Answer::Sent(delivery), _) => Self::Sent(delivery),
            (ask::Answer::Relayed(number), _) => Self::Relayed(number),
            (ask::Answer::Joined(already), Ask::Join { room, .. }) => {
                let position = source.position(room);
                Self::Joined { position, already }
            }
            (ask::Answer::Left(was), _) => Self::Left { was },
            (ask::Answer::Disconnected(disconnected), _) => Self::Disconnected { disconnected },
            (ask::Answer::Rooms(rooms), Ask::Rooms { prefix, .. }) => {
                let last = rooms.last().map(|room| &*room.name);
                let next = last.filter(|last| source.has_room_behind(prefix, last));
                let next = next.map(str::to_owned);
                let rooms = rooms.into_iter().map(|room| RoomView::of(source, room));
                let rooms = rooms.collect();
                Self::Rooms { rooms, next }
            }
            (ask::Answer::Room(room), _) => {
                Self::Room(RoomView::of(source, room.ok_or(Problem::NoRoom)?))
            }
            (ask::Answer::Presence(page), _) => Self::Members(page),
            (ask::Answer::History(page), _) => Self::History(page),
            (ask::Answer::Connections(found), Ask::Connections { user, .. }) => {
                let is_behind = |last: &ConnId| source.has_conn_behind(user.as_deref(), *last);
                let next = found.last().map(|conn| conn.id).filter(is_behind);
                let views = found
                    .into_iter()
                    .map(|conn| ConnectionView::of(source, conn));
                let connections = views.collect();
                Self::Connections { connections, next }
            }
            (ask::Answer::Connection(found), _) => {
                let found = found.ok_or(Problem::NoConnection)?;
                Self::Connection(ConnectionView::of(source, found))
            }
            (ask::Answer::Explanation(explanation), Ask::Explain { send, conn }) => {
                Self::Explained(ExplainedView::of(send, *conn, explanation)?)
            }
            // The API does not ask anything else.
            (_, _) => return Err(Problem::NoCall),
        })
    }
}
