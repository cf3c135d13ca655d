//! The alphabet of stories: all actions of clients, of the application and of time.

use roomcast_core::Event;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::Actor;

mod claim;
mod line;
mod to;

pub(crate) use self::claim::{KEY, unix_s};
pub use self::{claim::Claim, to::To};

/// An action in a story.
///
/// Ops name their actors, and every op is legal at any time, so that a story still makes sense when
/// a part of it is removed. Connecting twice does nothing, and neither does an op of an actor that
/// is not connected. So a failing story can shrink to its shortest form.
///
/// An op prints as the line of a trace, and is parsed from it.
///
/// ```
/// use roomcast_tests::Op;
///
/// let op = Op::Join { actor: "alice".into(), room: "lobby".into() };
/// let line = r#"alice sends {"event":"$join","room":"lobby"}"#;
/// assert_eq!(op.to_string(), line);
/// assert_eq!(line.parse::<Op>()?.text(), op.text());
/// # Ok::<(), roomcast_tests::OpError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub enum Op {
    /// A client connects.
    Connect {
        /// The client that connects.
        actor: Actor,
        /// The namespace; the default one when `None`.
        namespace: Option<Box<str>>,
        /// The user; anonymous when `None`.
        user: Option<Box<str>>,
        /// The query string in the address, for the application; none when `None`.
        query: Option<Box<str>>,
        /// Header fields, for the application. The cookies of a client are one field,
        /// `cookie`, as a browser sends them: `sid=1; theme=dark`.
        headers: Vec<(Box<str>, Box<str>)>,
        /// True when the client asks for `$welcome`, by the subprotocol `roomcast.v1`.
        welcome: bool,
    },
    /// A client shows a token, by `$auth`. Needs the setting `tokens=on`.
    Authenticate {
        /// The client that sends.
        actor: Actor,
        /// The claims of the token.
        claim: Claim,
    },
    /// A client sends `$join`.
    Join {
        /// The client that sends.
        actor: Actor,
        /// The room.
        room: Box<str>,
    },
    /// A client sends `$leave`.
    Leave {
        /// The client that sends.
        actor: Actor,
        /// The room.
        room: Box<str>,
    },
    /// A client sends `$rooms`.
    Rooms {
        /// The client that sends.
        actor: Actor,
    },
    /// A client publishes to a room.
    Publish {
        /// The client that publishes.
        actor: Actor,
        /// The room that it publishes to.
        room: Box<str>,
        /// The event name.
        event: Box<str>,
        /// The payload, JSON.
        data: Box<str>,
        /// True when the client wants its own message too.
        echo: bool,
        /// The idempotency key.
        key: Option<Box<str>>,
        /// The request id, when it wants an answer.
        id: Option<u32>,
    },
    /// A client sends any text message, so many times.
    Text {
        /// The client that sends.
        actor: Actor,
        /// The message.
        text: String,
        /// The number of times that the client sends the message.
        times: u32,
    },
    /// A client sends a binary message.
    Binary {
        /// The client that sends.
        actor: Actor,
        /// The message.
        bytes: Vec<u8>,
    },
    /// A client sends a WebSocket pong. Only the in-process driver does this on its own.
    Pong {
        /// The client that sends.
        actor: Actor,
    },
    /// A client closes its connection.
    Disconnect {
        /// The client that closes its connection.
        actor: Actor,
    },
    /// A client's connection ends without a close frame.
    Vanish {
        /// The client whose connection ends.
        actor: Actor,
    },
    /// The application sends.
    Send {
        /// The namespace.
        namespace: Option<Box<str>>,
        /// The idempotency key.
        key: Option<Box<str>>,
        /// The recipients.
        to: To,
        /// The event name.
        event: Box<str>,
        /// The label.
        path: Option<Box<str>>,
        /// The payload, JSON.
        data: Box<str>,
    },
    /// The application puts a connection into a room.
    ServerJoin {
        /// The client whose connection joins.
        actor: Actor,
        /// The room.
        room: Box<str>,
    },
    /// The application takes a connection out of a room.
    ServerLeave {
        /// The client whose connection leaves.
        actor: Actor,
        /// The room.
        room: Box<str>,
    },
    /// The application closes a connection.
    Close {
        /// The client whose connection is closed.
        actor: Actor,
        /// The close code.
        code: u16,
        /// The reason.
        reason: Box<str>,
    },
    /// The application withdraws a user: tokens issued before are no longer valid.
    Withdraw {
        /// The user.
        user: Box<str>,
    },
    /// The application lists the rooms of a namespace.
    ListRooms {
        /// The namespace.
        namespace: Option<Box<str>>,
    },
    /// The application lists the connections of a namespace.
    ListConnections {
        /// The namespace.
        namespace: Option<Box<str>>,
    },
    /// A client stops reading: its frames wait in the server's queue. Only the in-process driver
    /// supports this op and the next two: elsewhere the kernel buffers the frames.
    Stall {
        /// The client that stops reading.
        actor: Actor,
    },
    /// A client reads what waits for it.
    Read {
        /// The client that reads.
        actor: Actor,
        /// The number of bytes to read, after which the client stops again. With `None` it reads
        /// everything, and goes on reading.
        bytes: Option<u32>,
    },
    /// The server crashes: every connection ends without a close frame, and everything not stored
    /// is lost. It restarts at once from what it stored.
    Crash,
    /// Time passes. The in-process driver moves its clock; others wait, and only for short times.
    Wait {
        /// The time that passes, in milliseconds.
        millis: u64,
    },
}

/// The error for a line that is not an op.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an op: {0}")]
pub struct OpError(pub(crate) String);

/// The JSON in the line of [`Op::Send`], and in the body of the HTTP call.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sent<T> {
    audience: T,
    event: Box<str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    path: Option<Box<str>>,
    data: Box<RawValue>,
}

impl Op {
    /// The client that acts; `None` for the application and for time.
    pub const fn client(&self) -> Option<&Actor> {
        match self {
            Self::Connect { actor, .. }
            | Self::Authenticate { actor, .. }
            | Self::Join { actor, .. }
            | Self::Leave { actor, .. }
            | Self::Rooms { actor }
            | Self::Publish { actor, .. }
            | Self::Text { actor, .. }
            | Self::Binary { actor, .. }
            | Self::Pong { actor }
            | Self::Disconnect { actor }
            | Self::Vanish { actor }
            | Self::Stall { actor }
            | Self::Read { actor, .. } => Some(actor),
            Self::Send { .. }
            | Self::ServerJoin { .. }
            | Self::ServerLeave { .. }
            | Self::Close { .. }
            | Self::Withdraw { .. }
            | Self::ListRooms { .. }
            | Self::ListConnections { .. }
            | Self::Crash
            | Self::Wait { .. } => None,
        }
    }

    /// All actors that the op names, in order.
    pub fn actors_mut(&mut self) -> Vec<&mut Actor> {
        if let Self::Send { to, .. } = self {
            return to.conns.iter_mut().chain(&mut to.except_conns).collect();
        }
        if let Self::Connect { actor, .. }
        | Self::Authenticate { actor, .. }
        | Self::Join { actor, .. }
        | Self::Leave { actor, .. }
        | Self::Rooms { actor }
        | Self::Publish { actor, .. }
        | Self::Text { actor, .. }
        | Self::Binary { actor, .. }
        | Self::Pong { actor }
        | Self::Disconnect { actor }
        | Self::Vanish { actor }
        | Self::Stall { actor }
        | Self::Read { actor, .. }
        | Self::ServerJoin { actor, .. }
        | Self::ServerLeave { actor, .. }
        | Self::Close { actor, .. } = self
        {
            return vec![actor];
        }
        Vec::new()
    }

    /// All rooms that the op names, in order; none of raw texts.
    pub fn rooms_mut(&mut self) -> Vec<&mut Box<str>> {
        if let Self::Send { to, .. } = self {
            return to.rooms.iter_mut().chain(&mut to.except_rooms).collect();
        }
        if let Self::Join { room, .. }
        | Self::Leave { room, .. }
        | Self::Publish { room, .. }
        | Self::ServerJoin { room, .. }
        | Self::ServerLeave { room, .. } = self
        {
            return vec![room];
        }
        Vec::new()
    }

    /// The namespace that the op names, or the default one.
    pub fn namespace(&self) -> &str {
        let named = if let Self::Connect { namespace, .. }
        | Self::Send { namespace, .. }
        | Self::ListRooms { namespace }
        | Self::ListConnections { namespace } = self
        {
            namespace.as_deref()
        } else {
            None
        };
        named.unwrap_or("default")
    }

    /// The text message that a client sends; `None` when the op is something else.
    pub fn text(&self) -> Option<String> {
        let verb = |event: &str, room: &str| {
            format!(r#"{{"event":"{event}","room":{}}}"#, json_string(room))
        };
        Some(match self {
            Self::Join { room, .. } => verb("$join", room),
            Self::Leave { room, .. } => verb("$leave", room),
            Self::Rooms { .. } => r#"{"event":"$rooms"}"#.into(),
            Self::Publish {
                room,
                event,
                data,
                echo,
                key,
                id,
                ..
            } => {
                let id = id.map_or(String::new(), |id| format!(r#","id":{id}"#));
                let echo = if *echo { r#","echo":true"# } else { "" };
                let key = key.as_deref().map(json_string);
                let key = key.map_or(String::new(), |key| format!(r#","key":{key}"#));
                let (event, room) = (json_string(event), json_string(room));
                format!(r#"{{"event":{event}{id},"room":{room}{echo}{key},"data":{data}}}"#)
            }
            Self::Text { text, .. } => text.clone(),
            Self::Connect { .. }
            | Self::Authenticate { .. }
            | Self::Withdraw { .. }
            | Self::Binary { .. }
            | Self::Pong { .. }
            | Self::Disconnect { .. }
            | Self::Vanish { .. }
            | Self::Stall { .. }
            | Self::Read { .. }
            | Self::Send { .. }
            | Self::ServerJoin { .. }
            | Self::ServerLeave { .. }
            | Self::Close { .. }
            | Self::ListRooms { .. }
            | Self::ListConnections { .. }
            | Self::Crash
            | Self::Wait { .. } => return None,
        })
    }
}

/// A JSON string.
pub(crate) fn json_string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Makes the JSON of a send. Its audience has the names of actors, or their ids.
pub(crate) fn sent_json<T: Serialize>(audience: T, event: Event<'_>, data: &str) -> String {
    let data = RawValue::from_string(data.into()).unwrap_or_default();
    serde_json::to_string(&Sent {
        audience,
        event: event.name().into(),
        path: event.path().map(Into::into),
        data,
    })
    .unwrap_or_default()
}
