//! Why something that was asked for was not done.

use alloc::string::{String, ToString};

use serde::{Deserialize, Serialize};

use super::Answer;
use crate::hub::{ConnId, JoinError, SendError, UnknownConn};
use crate::wire::{Coded, Details, EncodeError, ErrorCode};
use crate::{room::PageError, room::RoomNameError};

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
    /// The namespace could not save its state, or cannot be reached: nothing was done, or the
    /// outcome is unknown.
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

/// The errors that travel as they are: each in the form that it has on its way.
macro_rules! travelling {
    ($($name:ident $(($member:ident: $type:ty))? = $error:ident($($fault:tt)+),)*) => {
        /// An error on its way. Errors have no form of their own: a handler that returned one would
        /// be taken for one that returns a value.
        #[derive(Debug, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        enum Travelling {
            $($name $(($type))?,)*
            /// Any other in its words: what only the asked namespace can know is above.
            Unavailable(String),
        }

        impl From<AskError> for Travelling {
            #[allow(clippy::wildcard_enum_match_arm)] // all others travel as their text
            fn from(error: AskError) -> Self {
                match error {
                    $(AskError::$error($($fault)+) => Self::$name $(($member))?,)*
                    AskError::Join(JoinError::UnknownConn(UnknownConn(conn))) => {
                        Self::UnknownConn(conn)
                    }
                    other => Self::Unavailable(other.to_string()),
                }
            }
        }

        impl From<Travelling> for AskError {
            fn from(error: Travelling) -> Self {
                match error {
                    $(Travelling::$name $(($member))? => Self::$error($($fault)+),)*
                    Travelling::Unavailable(why) => Self::Unavailable(why),
                }
            }
        }
    };
}

travelling! {
    Room(bytes_max: usize) = Encode(EncodeError::Room(RoomNameError { bytes_max })),
    JoinRoom(bytes_max: usize) = Join(JoinError::Room(RoomNameError { bytes_max })),
    RoomLimit(limit: usize) = Join(JoinError::RoomLimit { limit }),
    RoomNames(limit: usize) = Join(JoinError::RoomNames { limit }),
    MemberLimit(limit: usize) = Join(JoinError::MemberLimit { limit }),
    Meta(bytes_max: usize) = Join(JoinError::Meta { bytes_max }),
    Metas(bytes_max: usize) = Join(JoinError::Metas { bytes_max }),
    UnknownConn(conn: ConnId) = UnknownConn(UnknownConn(conn)),
    NoHistory = Page(PageError::NoHistory),
    NoPresence = Page(PageError::NoPresence),
    Cursor = Page(PageError::Cursor),
}
