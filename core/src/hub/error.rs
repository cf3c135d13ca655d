//! Errors of the hub's methods and of client messages, each with its text, its code and its
//! `details`.

use serde::{Deserialize, Serialize};

use crate::wire::{
    Coded, ConnId, Counted, Details, EncodeError, EnvelopeError, ErrorCode, PREVIOUS_CONNS_MAX,
};
use crate::{policy::Right, room::PageError, room::RoomNameError};

/// The text of an error whose cause is not told to the client.
pub(crate) const INTERNAL: &str = "internal server error (logged)";

/// The maximum length of a backend's idempotency key, in bytes.
pub const KEY_BYTES_MAX: usize = 128;

/// The reason why a client's message was refused; its sender is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// Not an envelope.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// Not a room name.
    #[error(transparent)]
    Room(#[from] RoomNameError),
    /// A verb that needs a room came without one.
    #[error("this verb needs a `room`: {0}")]
    RoomMissing(RoomNameError),
    /// A message without a room, and no handler takes it.
    #[error("no handler for this event: add a `room` to publish to one")]
    UnknownEvent,
    /// The protocol has no such verb.
    #[error(
        "no such verb: events that start with $ belong to the protocol; use $join, $leave, $rooms, \
         $members, $history or $ping, and $auth where the server takes tokens"
    )]
    UnknownVerb,
    /// The `data` of `$join` has another shape.
    #[error(
        "`data` of $join must be an object: {{\"since\":{{\"epoch\":string,\"offset\":integer,\
         \"conn\":string, or an array of them}},\"meta\":any}}, each member optional but `epoch` and \
         `offset`"
    )]
    JoinData,
    /// The `data` of `$members` has another shape.
    #[error(
        "`data` of $members must be an object: {{\"after\":\"the `next` of the page before\",\
         \"limit\":at least 1}}, each member optional"
    )]
    MembersData,
    /// The `data` of `$history` has another shape.
    #[error(
        "`data` of $history must be an object: {{\"after\":offset,\"before\":offset,\
         \"limit\":at least 1,\"conn\":string, or an array of them}}, each member optional"
    )]
    HistoryData,
    /// The `conn` in the `data` of `$join` or `$history` names too many connections.
    #[error(
        "`conn` names at most {}: leave out the oldest",
        Counted(PREVIOUS_CONNS_MAX, "earlier connection")
    )]
    PreviousConns,
    /// No grant gives the right.
    #[error(
        "no grant gives the right to {right} here: neither those of the token nor the server's"
    )]
    Right {
        /// The right.
        right: Right,
    },
    /// The rights to a room are gone; the connection has left it.
    #[error("no grant gives the right to be in this room any more")]
    RightLost,
    /// The identity has expired.
    #[error("the token expired: send $auth with a new one")]
    Expired,
    /// The token was refused.
    #[error("the token is not valid: the server's log says why")]
    Token,
    /// The host has no keys to verify the token with yet.
    #[error("the server has no keys to verify tokens with yet: try again")]
    TokenUnavailable,
    /// The token is for another user.
    #[error("the token is for another user: connect anew with it")]
    OtherUser,
    /// The connection, which has no user, is in rooms already.
    #[error("a connection without a user gets one before it joins: leave the rooms first")]
    LateUser,
    /// The client has yet to identify itself.
    #[error("send $auth with a token first: {{\"event\":\"$auth\",\"data\":{{\"token\":string}}}}")]
    Unidentified,
    /// The verb is for members.
    #[error("this is for members of the room: join it first")]
    NotAMember,
    /// The room's policy lets no client publish.
    #[error("clients may not publish to this room: its policy has `publish = false`")]
    PublishForbidden,
    /// The idempotency key was used for another message.
    #[error("`key` was used with another message: choose a new key for each message")]
    KeyReused,
    /// The connection did not join.
    #[error(transparent)]
    Join(#[from] JoinError),
    /// The page is not available.
    #[error(transparent)]
    Page(#[from] PageError),
    /// A rate limit of the connection is reached.
    #[error(
        "rate limit of {} per second reached: send slower; this message was not processed",
        Counted(*.per_second as usize, .noun)
    )]
    Rate {
        /// The rate in force.
        per_second: u32,
        /// The noun of the limit: a message or a byte.
        noun: &'static str,
        /// Milliseconds to wait; `None` if the message never passes.
        after_ms: Option<u64>,
    },
    /// A rate limit over all connections of the user is reached.
    #[error(
        "rate limit of {} per second over all connections of this user reached: send slower; this \
         message was not processed",
        Counted(*.per_second as usize, .noun)
    )]
    UserRate {
        /// The rate in force.
        per_second: u32,
        /// The noun of the limit: a message or a byte.
        noun: &'static str,
        /// Milliseconds to wait; `None` if the message never passes.
        after_ms: Option<u64>,
    },
    /// The user named by the token of an `$auth` has as many connections as allowed.
    #[error("too many connections of this user, who may have {limit}: close others first")]
    UserConnections {
        /// The limit.
        limit: usize,
    },
    /// Too many messages wait for the answer to an earlier one.
    #[error(
        "at most {} may wait for the answer to an earlier message: wait for that answer; this message \
         was not processed",
        Counted(*.limit, .noun)
    )]
    Queued {
        /// The limit.
        limit: usize,
        /// The noun of the limit: a message or a byte.
        noun: &'static str,
    },
    /// Too many requests of the connection wait for the application.
    #[error("at most {} of a connection may wait for their answers: wait for some of them", Counted(*.limit, "request"))]
    Pending {
        /// The limit.
        limit: usize,
    },
    /// Too many requests wait for the host to load histories.
    #[error("at most {} may wait for histories: try again later", Counted(*.limit, "request"))]
    Reads {
        /// The limit.
        limit: usize,
    },
    /// The host could not save what the message changes.
    #[error(
        "the server could not save what this message changes, and did not process it: send it again"
    )]
    Unsaved,
    /// The relay between the nodes cannot be reached, or may not have taken the message.
    #[error(
        "the server cannot reach its other nodes: send it again, a publish with the same `key`"
    )]
    Relay,
    /// The connection left the room before its join was done.
    #[error("the connection left the room before this was answered")]
    JoinEnded,
    /// The server failed.
    #[error("{INTERNAL}")]
    Internal,
}

/// The id names no live connection: it ended, or never was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(remote = "Self")]
#[error("no live connection has the id {0}")]
pub struct UnknownConn(pub ConnId);

/// The reason why the hub refused a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The limit `Limits::connections` is reached.
    #[error("the namespace is full: it takes {} at a time", Counted(*.limit, "connection"))]
    Full {
        /// The limit.
        limit: usize,
    },
    /// All connection ids were given out. A hub of its own gets no more, one in a cluster does.
    #[error("no connection ids are left")]
    Exhausted,
    /// The client did not identify itself, and cannot do so later: its messages have no envelopes.
    #[error("a token is needed to connect here")]
    Unidentified,
    /// The identity has expired.
    #[error("the token expired")]
    Expired,
    /// The user's earlier identities are refused.
    #[error("the token was withdrawn")]
    Withdrawn,
}

/// The reason why a join failed; it changed nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(remote = "Self", rename_all = "snake_case")]
#[non_exhaustive]
pub enum JoinError {
    /// No such connection.
    #[error(transparent)]
    #[serde(with = "UnknownConn")]
    UnknownConn(#[from] UnknownConn),
    /// Not a room name.
    #[error(transparent)]
    #[serde(with = "RoomNameError")]
    Room(#[from] RoomNameError),
    /// The `meta` for presence has no form in JSON.
    #[error(transparent)]
    #[serde(with = "EncodeError")]
    Encode(#[from] EncodeError),
    /// The connection is in as many rooms as allowed.
    #[error("room limit of {limit} reached: leave a room first")]
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
        "the room is full: its policy allows {}",
        Counted(*.limit, "member")
    )]
    MemberLimit {
        /// The limit.
        limit: usize,
    },
    /// The `meta` for presence is too large.
    #[error(
        "`meta` has at most {} of JSON: keep a key to the rest in it",
        Counted(*.bytes_max, "byte")
    )]
    Meta {
        /// The limit.
        bytes_max: usize,
    },
    /// The `meta` of all rooms of the connection together is too large.
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

/// The reason why an idempotent send failed, or may have failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(remote = "Self", rename_all = "snake_case")]
#[non_exhaustive]
pub enum SendError {
    /// The message cannot be encoded.
    #[error(transparent)]
    #[serde(with = "EncodeError")]
    Encode(#[from] EncodeError),
    /// The idempotency key was used for another message.
    #[error("the idempotency key was used with another message: choose a new key")]
    KeyReused,
    /// The idempotency key is empty or over 128 bytes.
    #[error("an idempotency key has 1 to {KEY_BYTES_MAX} bytes")]
    Key,
    /// The relay between the nodes cannot be reached, or it is not known whether it took the
    /// message.
    #[error("the server cannot reach its other nodes: send it again, with the same key")]
    Unavailable,
}

/// The reason why the user of a connection could not be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SetUserError {
    /// No such connection.
    #[error(transparent)]
    UnknownConn(#[from] UnknownConn),
    /// Not the name of a user.
    #[error("a user has 1 to 200 bytes without control characters")]
    Invalid,
    /// The connection has another user.
    #[error("the connection has another user: its user can be set once, where it has none")]
    Named,
    /// The connection is in a room, whose members know it as anonymous.
    #[error("the connection is in a room already: set its user in `on_connect`, before it joins")]
    Joined,
    /// The identities of the user were withdrawn.
    #[error("the identities of this user were withdrawn")]
    Withdrawn,
}

/// The reason why a session cannot be read or stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// No such connection.
    #[error(transparent)]
    UnknownConn(#[from] UnknownConn),
    /// The value has no form in JSON.
    #[error("the session cannot be written as JSON")]
    Value,
    /// The stored session has another type, or is from another version of the application.
    #[error("the stored session does not fit the requested type")]
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

/// The reason why saved state was rejected: no hub can have produced it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// Two connections with one slot, or an id that was not given out yet.
    #[error("the state of connection {0} contradicts the rest: restore from one snapshot only")]
    Conn(ConnId),
    /// A room name that the limits do not allow, or a room named twice.
    #[error("the state of connection {0} holds a room that the limits refuse")]
    Room(ConnId),
    /// Two states of one room, or the state of a room that the limits do not allow.
    #[error("the state of a room contradicts the rest: restore from one snapshot only")]
    RoomState,
    /// The application rejects its own saved state.
    #[error(
        "the application does not take the state that was saved for it: was it another version?"
    )]
    Gateway,
}

impl Coded for RequestError {
    fn row(&self) -> (ErrorCode, Option<Details>) {
        use ErrorCode as Code;
        match *self {
            Self::Envelope(error) => error.row(),
            Self::Room(error) | Self::RoomMissing(error) => error.row(),
            Self::UnknownEvent => (Code::UnknownEvent, None),
            Self::UnknownVerb => (Code::UnknownVerb, None),
            Self::JoinData | Self::MembersData | Self::HistoryData => (Code::BadPayload, None),
            Self::PreviousConns => (Code::BadPayload, Some(Details::limit(PREVIOUS_CONNS_MAX))),
            Self::NotAMember
            | Self::PublishForbidden
            | Self::Right { .. }
            | Self::RightLost
            | Self::OtherUser
            | Self::LateUser
            | Self::JoinEnded => (Code::Forbidden, None),
            Self::Expired => (Code::Expired, None),
            Self::Token | Self::Unidentified => (Code::Unauthorized, None),
            Self::KeyReused => (Code::KeyReused, None),
            Self::Join(error) => error.row(),
            Self::Page(error) => error.row(),
            Self::Rate {
                per_second,
                after_ms,
                ..
            }
            | Self::UserRate {
                per_second,
                after_ms,
                ..
            } => (Code::RateLimited, Some(Details::rate(per_second, after_ms))),
            Self::UserConnections { limit }
            | Self::Queued { limit, .. }
            | Self::Pending { limit }
            | Self::Reads { limit } => (Code::Overloaded, Some(Details::limit(limit))),
            Self::TokenUnavailable | Self::Unsaved | Self::Relay => (Code::Unavailable, None),
            Self::Internal => (Code::Internal, None),
        }
    }
}

impl Coded for UnknownConn {
    fn row(&self) -> (ErrorCode, Option<Details>) {
        (ErrorCode::NotFound, None)
    }
}

impl Coded for Refusal {
    fn row(&self) -> (ErrorCode, Option<Details>) {
        match *self {
            Self::Full { limit } => (ErrorCode::Overloaded, Some(Details::limit(limit))),
            Self::Exhausted => (ErrorCode::Overloaded, None),
            Self::Unidentified | Self::Withdrawn => (ErrorCode::Unauthorized, None),
            Self::Expired => (ErrorCode::Expired, None),
        }
    }
}

impl Coded for JoinError {
    fn row(&self) -> (ErrorCode, Option<Details>) {
        let (code, limit) = match *self {
            Self::UnknownConn(error) => return error.row(),
            Self::Room(error) => return error.row(),
            Self::Encode(error) => return error.row(),
            Self::RoomLimit { limit } | Self::RoomNames { limit } => (ErrorCode::RoomLimit, limit),
            Self::MemberLimit { limit } => (ErrorCode::MemberLimit, limit),
            Self::Meta { bytes_max } | Self::Metas { bytes_max } => {
                (ErrorCode::TooLarge, bytes_max)
            }
        };
        (code, Some(Details::limit(limit)))
    }
}

impl Coded for SessionError {
    fn row(&self) -> (ErrorCode, Option<Details>) {
        match *self {
            Self::UnknownConn(error) => error.row(),
            Self::Value | Self::Type => (ErrorCode::Internal, None),
            Self::TooLarge { bytes_max } => (ErrorCode::TooLarge, Some(Details::limit(bytes_max))),
        }
    }
}

impl Coded for SendError {
    fn row(&self) -> (ErrorCode, Option<Details>) {
        match *self {
            Self::Encode(error) => error.row(),
            Self::KeyReused => (ErrorCode::KeyReused, None),
            Self::Key => (ErrorCode::BadRequest, Some(Details::limit(KEY_BYTES_MAX))),
            Self::Unavailable => (ErrorCode::Unavailable, None),
        }
    }
}

impl Coded for PageError {
    fn row(&self) -> (ErrorCode, Option<Details>) {
        let code = match self {
            Self::NoHistory | Self::NoPresence => ErrorCode::Forbidden,
            Self::Cursor => ErrorCode::BadRequest,
            Self::Unavailable | Self::Unfollowed => ErrorCode::Unavailable,
        };
        (code, None)
    }
}

impl Coded for RestoreError {
    fn row(&self) -> (ErrorCode, Option<Details>) {
        (ErrorCode::Internal, None)
    }
}

#[cfg(test)]
mod tests;
