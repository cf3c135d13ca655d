//! Errors, by whose fault they are: the client's ([`ErrorCode`], sent to it), the caller's (the
//! `Err` types). The hub's own are `debug_assert!`s.

use core::fmt;

use crate::{
    hub::conn::ConnId, room::RoomNameError, wire::counted::Counted, wire::payload::PayloadError,
};

/// The `code` of an error frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorCode {
    /// Not an envelope.
    BadEnvelope,
    /// An envelope, but its `data` does not fit.
    BadPayload,
    /// No room name, or not a valid one.
    BadRoom,
    /// No handler for this event.
    UnknownEvent,
    /// No such `$verb`.
    UnknownVerb,
    /// Credentials missing or bad.
    Unauthorized,
    /// Not allowed.
    Forbidden,
    /// Credentials expired.
    Expired,
    /// In as many rooms as one connection may be.
    RoomLimit,
    /// The room is full.
    MemberLimit,
    /// Over a size limit.
    TooLarge,
    /// Too fast.
    RateLimited,
    /// The server is full.
    Overloaded,
    /// Something behind the server is down.
    Unavailable,
    /// A fault of the server.
    Internal,
}

impl ErrorCode {
    /// The code on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BadEnvelope => "bad_envelope",
            Self::BadPayload => "bad_payload",
            Self::BadRoom => "bad_room",
            Self::UnknownEvent => "unknown_event",
            Self::UnknownVerb => "unknown_verb",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::Expired => "expired",
            Self::RoomLimit => "room_limit",
            Self::MemberLimit => "member_limit",
            Self::TooLarge => "too_large",
            Self::RateLimited => "rate_limited",
            Self::Overloaded => "overloaded",
            Self::Unavailable => "unavailable",
            Self::Internal => "internal",
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The id names no live connection: it ended, or never was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no live connection has the id {0}")]
pub struct UnknownConn(pub ConnId);

/// The hub takes no further connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// As many connections are open as `Limits::connections` allows.
    #[error("the namespace is full: it takes {} at a time", Counted(*.limit, "connection"))]
    Full {
        /// The limit.
        limit: usize,
    },
    /// All connection ids were given out; only a new hub has more.
    #[error("all connection ids of this hub are used up")]
    Exhausted,
}

/// A join that did not happen; nothing changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// No such connection.
    #[error(transparent)]
    UnknownConn(#[from] UnknownConn),
    /// Not a room name.
    #[error(transparent)]
    Room(#[from] RoomNameError),
    /// What presence is to show has no form in JSON.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The connection is in as many rooms as it may be.
    #[error(
        "this connection is in {}, as many as it may be: leave one first",
        Counted(*.limit, "room")
    )]
    RoomLimit {
        /// The limit.
        limit: usize,
    },
    /// The names of the connection's rooms would be too long together.
    #[error(
        "the names of this connection's rooms would pass {} together: leave a room first, or use \
         shorter names",
        Counted(*.limit, "byte")
    )]
    RoomNames {
        /// The limit.
        limit: usize,
    },
    /// The room has as many members as its policy allows.
    #[error(
        "the room is full: it has {}, as many as its policy allows",
        Counted(*.limit, "member")
    )]
    MemberLimit {
        /// The limit.
        limit: usize,
    },
    /// What presence is to show is too large.
    #[error(
        "`meta` has at most {} of JSON: keep a key to the rest in it",
        Counted(*.bytes_max, "byte")
    )]
    Meta {
        /// The limit.
        bytes_max: usize,
    },
    /// What presence is to show is too large, over all rooms of the connection.
    #[error(
        "`meta` has at most {} over all rooms of a connection: use a shorter one, or leave a room \
         first",
        Counted(*.bytes_max, "byte")
    )]
    Metas {
        /// The limit.
        bytes_max: usize,
    },
}

/// A message that cannot be put into an envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The event name is empty, over 128 bytes, or starts with `$`.
    #[error("`event` must have 1 to 128 bytes and must not start with `$`")]
    Event,
    /// The label is empty or over 200 bytes.
    #[error("`path` must have 1 to 200 bytes")]
    Path,
    /// The payload is not JSON that may be relayed.
    #[error(transparent)]
    Payload(#[from] PayloadError),
    /// The value has no form in JSON.
    #[error(
        "the value cannot be written as JSON: its `Serialize` failed, or a map has keys that are no strings"
    )]
    Value,
    /// A room in the audience has no valid name.
    #[error(transparent)]
    Room(#[from] RoomNameError),
}

/// A session that cannot be read or kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// No such connection.
    #[error(transparent)]
    UnknownConn(#[from] UnknownConn),
    /// The value has no form in JSON.
    #[error("the session cannot be written as JSON")]
    Value,
    /// The session is of another type, or of another version of the application.
    #[error("the session that is kept does not fit the type it is asked for as")]
    Type,
    /// Over `Limits::session_bytes`.
    #[error(
        "a session has at most {} of JSON: keep a key to the rest in it",
        Counted(*.bytes_max, "byte")
    )]
    TooLarge {
        /// The limit.
        bytes_max: usize,
    },
}

/// An idempotent send that did not happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The message cannot be encoded.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The idempotency key was used for another message.
    #[error("the idempotency key was used with another message: choose a new key")]
    KeyReused,
    /// The idempotency key is empty or over 128 bytes.
    #[error("an idempotency key has 1 to 128 bytes")]
    Key,
}

/// Ground state that no hub can have had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// Two connections with one slot, or an id that was not given out yet.
    #[error("the state of connection {0} contradicts the rest: restore from one snapshot only")]
    Conn(ConnId),
    /// A room name that the limits do not allow, or one named twice.
    #[error("the state of connection {0} holds a room that the limits refuse")]
    Room(ConnId),
    /// Two states of one room, or of one that the limits refuse.
    #[error("the state of a room contradicts the rest: restore from one snapshot only")]
    RoomState,
    /// The application's own state, which it does not take.
    #[error(
        "the application does not take the state that was saved for it: was it another version?"
    )]
    Gateway,
}
