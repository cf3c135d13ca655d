//! Why something that was asked for was not done.

use alloc::{
    borrow::ToOwned,
    string::{String, ToString},
};

use serde::{Deserialize, Serialize};

use super::Answer;
use crate::{
    hub::{ConnId, JoinError, SendError, UnknownConn},
    room::{PageError, RoomName},
    wire::{Coded, Details, EncodeError, ErrorCode},
};

/// Something that a namespace was asked for and that was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    /// The server has not started yet, or has ended.
    #[error("the server is not running: it has not started yet, or it has ended")]
    NotRunning,
    /// The namespace is to keep the message, and could not start.
    #[error("the namespace could not start; see the server log")]
    NotOpened,
    /// The namespace is to keep the message, and there are too many others.
    #[error(
        "too many namespaces to remember the message in one more: raise --namespaces-max, or send \
         without Idempotency-Key to a room without history"
    )]
    TooManyNamespaces {
        /// The limit.
        limit: usize,
    },
    /// The message cannot be encoded.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The idempotency key is not valid, or was used for another message.
    #[error(transparent)]
    Key(SendError),
    /// The connection cannot join.
    #[error(transparent)]
    Join(#[from] JoinError),
    /// No such connection.
    #[error(transparent)]
    UnknownConn(#[from] UnknownConn),
    /// There is no such page.
    #[error(transparent)]
    Page(#[from] PageError),
    /// The namespace could not save its state, or cannot be reached: nothing was done, or the outcome
    /// is unknown.
    #[error("the namespace is not available: {0}")]
    Unavailable(String),
}

impl Coded for AskError {
    fn row(&self) -> (ErrorCode, Option<Details>) {
        match *self {
            Self::NotRunning | Self::Unavailable(_) => (ErrorCode::Unavailable, None),
            Self::NotOpened => (ErrorCode::Internal, None),
            Self::TooManyNamespaces { limit } => {
                (ErrorCode::Overloaded, Some(Details::limit(limit)))
            }
            Self::Encode(error) => error.row(),
            Self::Key(error) => error.row(),
            Self::Join(error) => error.row(),
            Self::UnknownConn(error) => error.row(),
            Self::Page(error) => error.row(),
        }
    }
}

impl From<SendError> for AskError {
    fn from(error: SendError) -> Self {
        match error {
            SendError::Encode(fault) => Self::Encode(fault),
            fault @ (SendError::KeyReused | SendError::Key) => Self::Key(fault),
        }
    }
}

/// An answer as JSON, for hosts whose namespaces are on different machines.
pub mod wire {
    use super::{Answer, AskError, String, Travelling};

    /// Writes an answer, or why there is none.
    ///
    /// # Errors
    ///
    /// When it has no form in JSON.
    pub fn write(answer: Result<Answer, AskError>) -> serde_json::Result<String> {
        serde_json::to_string(&answer.map_err(Travelling::from))
    }

    /// Reads what [`write()`] wrote.
    ///
    /// # Errors
    ///
    /// The error that was written; [`AskError::Unavailable`] for a text of something else.
    pub fn read(text: &str) -> Result<Answer, AskError> {
        let answer: Result<Result<Answer, Travelling>, _> = serde_json::from_str(text);
        match answer {
            Ok(answer) => answer.map_err(AskError::from),
            Err(fault) => Err(AskError::Unavailable(super::ToString::to_string(&fault))),
        }
    }
}

/// An error on its way. Errors have no form of their own: a handler that returned one would be taken
/// for one that returns a value.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Travelling {
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

impl From<AskError> for Travelling {
    #[allow(clippy::wildcard_enum_match_arm)] // all others travel as their text
    fn from(error: AskError) -> Self {
        match error {
            AskError::Encode(EncodeError::Room(fault)) => Self::Room(fault.bytes_max),
            AskError::Join(JoinError::Room(fault)) => Self::JoinRoom(fault.bytes_max),
            AskError::Join(JoinError::RoomLimit { limit }) => Self::RoomLimit(limit),
            AskError::Join(JoinError::RoomNames { limit }) => Self::RoomNames(limit),
            AskError::UnknownConn(UnknownConn(conn))
            | AskError::Join(JoinError::UnknownConn(UnknownConn(conn))) => Self::UnknownConn(conn),
            AskError::Join(JoinError::MemberLimit { limit }) => Self::MemberLimit(limit),
            AskError::Join(JoinError::Meta { bytes_max }) => Self::Meta(bytes_max),
            AskError::Join(JoinError::Metas { bytes_max }) => Self::Metas(bytes_max),
            AskError::Page(PageError::NoHistory) => Self::NoHistory,
            AskError::Page(PageError::NoPresence) => Self::NoPresence,
            AskError::Page(PageError::Cursor) => Self::Cursor,
            other => Self::Unavailable(other.to_string()),
        }
    }
}

impl From<Travelling> for AskError {
    fn from(error: Travelling) -> Self {
        // A name that no limit allows.
        let room = |bytes_max| RoomName::check("", bytes_max).err();
        let unclear = || Self::Unavailable("an error of another version".to_owned());
        match error {
            Travelling::Room(max) => room(max).map_or_else(unclear, |f| Self::Encode(f.into())),
            Travelling::JoinRoom(max) => room(max).map_or_else(unclear, |f| Self::Join(f.into())),
            Travelling::RoomLimit(limit) => Self::Join(JoinError::RoomLimit { limit }),
            Travelling::RoomNames(limit) => Self::Join(JoinError::RoomNames { limit }),
            Travelling::MemberLimit(limit) => Self::Join(JoinError::MemberLimit { limit }),
            Travelling::Meta(bytes_max) => Self::Join(JoinError::Meta { bytes_max }),
            Travelling::Metas(bytes_max) => Self::Join(JoinError::Metas { bytes_max }),
            Travelling::NoHistory => Self::Page(PageError::NoHistory),
            Travelling::NoPresence => Self::Page(PageError::NoPresence),
            Travelling::Cursor => Self::Page(PageError::Cursor),
            Travelling::UnknownConn(conn) => Self::UnknownConn(UnknownConn(conn)),
            Travelling::Unavailable(why) => Self::Unavailable(why),
        }
    }
}
