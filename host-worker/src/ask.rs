//! What is asked of a namespace from outside of its handlers, and answered; also between objects.

use std::ops::Bound;

use roomcast_core::{
    App, Audience, CloseCode, ConnId, Delivery, EncodeError, Event, Frame, Gateway, JoinError,
    Outbox, Payload, RoomName, Timestamp, UnknownConn,
    hub::{ConnectionInfo, ConnectionSummary, Counts, RoomSummary},
    room::{HistoryPage, PageError, Position, PresencePage},
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// One question or wish.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Ask {
    Send {
        audience: Audience,
        event: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        path: Option<String>,
        data: Box<RawValue>,
    },
    SendText {
        audience: Audience,
        text: String,
    },
    SendBinary {
        audience: Audience,
        bytes: Vec<u8>,
    },
    Join {
        conn: ConnId,
        room: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        meta: Option<Box<RawValue>>,
    },
    Leave {
        conn: ConnId,
        room: String,
    },
    Disconnect {
        conn: ConnId,
        code: CloseCode,
        reason: String,
    },
    Rooms {
        prefix: String,
    },
    Members {
        room: String,
    },
    Position {
        room: String,
    },
    History {
        room: String,
        offsets: (Bound<u64>, Bound<u64>),
        limit: usize,
    },
    Presence {
        room: String,
        after: Option<String>,
        limit: usize,
    },
    RoomsOf {
        conn: ConnId,
    },
    Connection {
        conn: ConnId,
    },
    Connections,
    Counts,
}

/// What comes back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    Sent(Delivery),
    /// Whether it made a difference.
    Changed(bool),
    Disconnected,
    Rooms(Vec<RoomSummary>),
    Members(Vec<ConnId>),
    Position(Position<'static>),
    History(HistoryPage),
    Presence(PresencePage),
    RoomsOf(Option<Vec<String>>),
    Connection(Option<ConnectionSummary>),
    Connections(Vec<ConnectionSummary>),
    Counts(Counts),
}

impl Ask {
    /// Whether it may change anything.
    pub(crate) const fn changes(&self) -> bool {
        matches!(
            self,
            Self::Send { .. }
                | Self::SendText { .. }
                | Self::SendBinary { .. }
                | Self::Join { .. }
                | Self::Leave { .. }
                | Self::Disconnect { .. }
        )
    }

    /// The room whose history it reads.
    pub(crate) fn reads(&self) -> Option<&str> {
        let Self::History { room, .. } = self else {
            return None;
        };
        Some(room)
    }

    /// Does it.
    pub(crate) fn run<G: Gateway>(
        self,
        now: Timestamp,
        app: &mut App<G>,
        out: &mut Outbox,
    ) -> Result<Answer, ServerError> {
        let hub = app.hub();
        Ok(match self {
            Self::Send {
                audience,
                event,
                path,
                data,
            } => {
                let event = Event::new(&event).with_path(path.as_deref());
                let data = Payload::parse(data.get()).map_err(EncodeError::from)?;
                Answer::Sent(app.send(now, &audience, event, data, out)?)
            }
            Self::SendText { audience, text } => {
                Answer::Sent(app.send_frame(now, &audience, Frame::Text(&text), out)?)
            }
            Self::SendBinary { audience, bytes } => {
                Answer::Sent(app.send_frame(now, &audience, Frame::Binary(&bytes), out)?)
            }
            Self::Join { conn, room, meta } => {
                let meta = meta.as_deref().map_or("null", RawValue::get);
                let meta = Payload::parse(meta).map_err(EncodeError::from)?;
                Answer::Changed(!app.join_with(now, conn, &room, meta, out)?.already)
            }
            Self::Leave { conn, room } => Answer::Changed(app.leave(now, conn, &room, out)?),
            Self::Disconnect { conn, code, reason } => {
                app.close(now, conn, code, &reason, out)?;
                Answer::Disconnected
            }
            Self::Rooms { prefix } => {
                Answer::Rooms(hub.rooms(&prefix, None).map(Into::into).collect())
            }
            Self::Members { room } => Answer::Members(hub.members(&room).to_vec()),
            Self::Position { room } => Answer::Position(hub.position(&room).into_owned()),
            Self::History {
                room,
                offsets,
                limit,
            } => Answer::History(hub.history_page(now, &room, offsets, limit)?),
            Self::Presence { room, after, limit } => {
                Answer::Presence(hub.presence(&room, after.as_deref(), limit)?)
            }
            Self::RoomsOf { conn } => {
                let owned = |rooms: Vec<&str>| rooms.into_iter().map(Into::into).collect();
                Answer::RoomsOf(hub.rooms_of(conn).map(owned))
            }
            Self::Connection { conn } => Answer::Connection(hub.connection(conn).map(summary)),
            Self::Connections => {
                let mut all: Vec<_> = hub.connections().map(summary).collect();
                all.sort_unstable_by_key(|conn| conn.id);
                Answer::Connections(all)
            }
            Self::Counts => Answer::Counts(hub.counts()),
        })
    }
}

/// The platform's clock counts from 1970.
fn summary(info: ConnectionInfo<'_>) -> ConnectionSummary {
    ConnectionSummary::new(info, info.since.as_millis())
}

/// Something that a [`Server`](crate::Server) could not do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// The message cannot be encoded.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The connection cannot join.
    #[error(transparent)]
    Join(#[from] JoinError),
    /// No such connection.
    #[error(transparent)]
    UnknownConn(#[from] UnknownConn),
    /// There is no such page.
    #[error(transparent)]
    Page(#[from] PageError),
    /// The namespace could not save its state, or its object cannot be reached: nothing was done, or
    /// nobody knows.
    #[error("the namespace is not available: {0}")]
    Unavailable(String),
}

/// A fault on its way between objects. Errors have no form of their own: a handler that returned
/// one would be taken for one that returns a value.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WireError {
    /// The limit.
    Room(usize),
    JoinRoom(usize),
    RoomLimit(usize),
    RoomNames(usize),
    MemberLimit(usize),
    Meta(usize),
    Metas(usize),
    UnknownConn(ConnId),
    NoHistory,
    NoPresence,
    Cursor,
    /// Any other in its words: what only the asked namespace can know is above.
    Unavailable(String),
}

impl From<ServerError> for WireError {
    fn from(error: ServerError) -> Self {
        match error {
            ServerError::Encode(EncodeError::Room(fault)) => Self::Room(fault.bytes_max),
            ServerError::Join(JoinError::Room(fault)) => Self::JoinRoom(fault.bytes_max),
            ServerError::Join(JoinError::RoomLimit { limit }) => Self::RoomLimit(limit),
            ServerError::Join(JoinError::RoomNames { limit }) => Self::RoomNames(limit),
            ServerError::UnknownConn(UnknownConn(conn))
            | ServerError::Join(JoinError::UnknownConn(UnknownConn(conn))) => {
                Self::UnknownConn(conn)
            }
            ServerError::Join(JoinError::MemberLimit { limit }) => Self::MemberLimit(limit),
            ServerError::Join(JoinError::Meta { bytes_max }) => Self::Meta(bytes_max),
            ServerError::Join(JoinError::Metas { bytes_max }) => Self::Metas(bytes_max),
            ServerError::Page(PageError::NoHistory) => Self::NoHistory,
            ServerError::Page(PageError::NoPresence) => Self::NoPresence,
            ServerError::Page(PageError::Cursor) => Self::Cursor,
            other @ (ServerError::Encode(_)
            | ServerError::Join(_)
            | ServerError::Page(_)
            | ServerError::Unavailable(_)) => Self::Unavailable(other.to_string()),
        }
    }
}

impl From<WireError> for ServerError {
    fn from(error: WireError) -> Self {
        // A name that no limit allows.
        let room = |bytes_max| RoomName::check("", bytes_max).err();
        let unclear = || Self::Unavailable("an error of another version".to_owned());
        match error {
            WireError::Room(max) => {
                room(max).map_or_else(unclear, |fault| Self::Encode(fault.into()))
            }
            WireError::JoinRoom(max) => {
                room(max).map_or_else(unclear, |fault| Self::Join(fault.into()))
            }
            WireError::RoomLimit(limit) => Self::Join(JoinError::RoomLimit { limit }),
            WireError::RoomNames(limit) => Self::Join(JoinError::RoomNames { limit }),
            WireError::MemberLimit(limit) => Self::Join(JoinError::MemberLimit { limit }),
            WireError::Meta(bytes_max) => Self::Join(JoinError::Meta { bytes_max }),
            WireError::Metas(bytes_max) => Self::Join(JoinError::Metas { bytes_max }),
            WireError::NoHistory => Self::Page(PageError::NoHistory),
            WireError::NoPresence => Self::Page(PageError::NoPresence),
            WireError::Cursor => Self::Page(PageError::Cursor),
            WireError::UnknownConn(conn) => Self::UnknownConn(UnknownConn(conn)),
            WireError::Unavailable(why) => Self::Unavailable(why),
        }
    }
}
