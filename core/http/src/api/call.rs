//! Calls of the API, and their answers as JSON.

use alloc::{borrow::ToOwned, string::String, string::ToString, vec::Vec};

use roomcast_core::{
    ConnId, Delivery, Explained, Explanation, Hub, Timestamp,
    ask::{self, Ask, AskError, Asked},
    hub::{ConnectionSummary, RoomSummary},
    queue::{AtQueue, QueueFate},
    room::{HistoryPage, PageError, Position, PresencePage},
};
use serde::Serialize;

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
        let answer = self.ask.run(now, namespace);
        let found = namespace.hub(|hub| Found::new(&self.ask, answer, hub));
        found.map(Answer)
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

    /// The number under which the relay of a clustered namespace tells the outcome of a send;
    /// `None` for an answer that is whole.
    pub const fn relayed(&self) -> Option<u64> {
        if let Found::Relayed(number) = &self.0 {
            Some(*number)
        } else {
            None
        }
    }

    /// Completes the answer to a send by its outcome.
    pub fn set_delivery(&mut self, delivery: Delivery) {
        self.0 = Found::Sent(delivery);
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
    fn of(hub: &Hub, room: RoomSummary) -> Self {
        Self {
            position: hub.position(&room.name).into_owned(),
            room: room.name,
            members: room.members,
        }
    }
}

impl ConnectionView {
    fn of(hub: &Hub, found: ConnectionSummary) -> Self {
        let rooms = hub.rooms_of(found.id).unwrap_or_default();
        Self {
            conn: found.id,
            user: found.user.unwrap_or_default(),
            rooms: rooms.into_iter().map(str::to_owned).collect(),
            since_ms: found.since_ms,
            queued_bytes: 0,
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
    /// The view of an answer, completed from the hub.
    fn new(ask: &Ask, answer: Result<ask::Answer, AskError>, hub: &Hub) -> Result<Self, Problem> {
        if let Ask::History { room, .. } | Ask::Presence { room, .. } = ask
            && !matches!(answer, Err(AskError::Page(PageError::Cursor)))
        {
            hub.room(room).ok_or(Problem::NoRoom)?;
        }
        Ok(match (answer?, ask) {
            (ask::Answer::Sent(delivery), _) => Self::Sent(delivery),
            (ask::Answer::Relayed(number), _) => Self::Relayed(number),
            (ask::Answer::Joined(already), Ask::Join { room, .. }) => {
                let position = hub.position(room).into_owned();
                Self::Joined { position, already }
            }
            (ask::Answer::Left(was), _) => Self::Left { was },
            (ask::Answer::Disconnected(disconnected), _) => Self::Disconnected { disconnected },
            (ask::Answer::Rooms(rooms), Ask::Rooms { prefix, .. }) => {
                let last = rooms.last().map(|room| &*room.name);
                let next = last.filter(|last| hub.rooms(prefix, Some(last)).next().is_some());
                let next = next.map(str::to_owned);
                let rooms = rooms.into_iter().map(|room| RoomView::of(hub, room));
                let rooms = rooms.collect();
                Self::Rooms { rooms, next }
            }
            (ask::Answer::Room(room), _) => {
                Self::Room(RoomView::of(hub, room.ok_or(Problem::NoRoom)?))
            }
            (ask::Answer::Presence(page), _) => Self::Members(page),
            (ask::Answer::History(page), _) => Self::History(page),
            (ask::Answer::Connections(found), Ask::Connections { user, .. }) => {
                let is_behind = |last: &ConnId| match user {
                    Some(user) => hub.connections_of(user).iter().any(|conn| conn > last),
                    None => hub.connections().any(|conn| conn.id > *last),
                };
                let next = found.last().map(|conn| conn.id).filter(is_behind);
                let views = found.into_iter().map(|conn| ConnectionView::of(hub, conn));
                let connections = views.collect();
                Self::Connections { connections, next }
            }
            (ask::Answer::Connection(found), _) => {
                let found = found.ok_or(Problem::NoConnection)?;
                Self::Connection(ConnectionView::of(hub, found))
            }
            (ask::Answer::Explanation(explanation), Ask::Explain { send, conn }) => {
                Self::Explained(ExplainedView::of(send, *conn, explanation)?)
            }
            // The API does not ask anything else.
            (_, _) => return Err(Problem::NoCall),
        })
    }
}
