//! Answers to requests, and the reasons why requests failed.

use alloc::{boxed::Box, string::String, vec::Vec};

use serde::{Deserialize, Serialize};

use crate::explain::Explanation;
use crate::hub::{
    ConnId, ConnectionSummary, Counts, Delivery, JoinError, RoomSummary, SendError, UnknownConn,
};
use crate::room::{HistoryPage, PageError, Position, PresencePage};
use crate::wire::{Coded, Details, EncodeError, ErrorCode};

/// The answer to an [`Ask`](super::Ask).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Answer {
    /// The outcome of a send.
    Sent(Delivery),
    /// The token under which a clustered namespace tells the outcome of a send; see
    /// [`App::take_send_outcomes`](crate::App::take_send_outcomes).
    Relayed(u64),
    /// True when the connection was already in the room that it joined.
    Joined(bool),
    /// True when the connection was in the room that it left.
    Left(bool),
    /// The number of closed connections.
    Disconnected(usize),
    /// Rooms, sorted by name.
    Rooms(Vec<RoomSummary>),
    /// A room; `None` when there is none of this name.
    Room(Option<RoomSummary>),
    /// The connections in a room, sorted.
    Members(Vec<ConnId>),
    /// The position of a room.
    Position(Position<'static>),
    /// A page of a history.
    History(HistoryPage),
    /// A page of the users in a room.
    Presence(PresencePage),
    /// The rooms of a connection, sorted; `None` when it is not alive.
    RoomsOf(Option<Vec<String>>),
    /// The rooms of all connections of a user, sorted.
    RoomsOfUser(Vec<String>),
    /// A connection; `None` when it is not alive.
    Connection(Option<ConnectionSummary>),
    /// Connections, the oldest first.
    Connections(Vec<ConnectionSummary>),
    /// Totals of the namespace.
    Counts(Counts),
    /// The reason why a connection gets a message or does not.
    Explanation(Explanation),
    /// An answer that lacks those of some nodes.
    Part {
        /// The answer of the others.
        answer: Box<Self>,
        /// The nodes.
        missing: Vec<Box<str>>,
    },
}

/// Seconds by which the time of a withdrawal may be ahead of the server's clock. This allows for
/// clock skew only, since past a limit the earliest of these times applies to all users.
pub const WITHDRAW_AHEAD_S: usize = 60;

/// The reason why a request to a namespace failed, or may have failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(remote = "Self", rename_all = "snake_case")]
#[non_exhaustive]
pub enum AskError {
    /// The server has not started yet, or has ended.
    #[error("the server is not running: it has not started yet, or it has ended")]
    NotRunning,
    /// The namespace must remember the message, and could not start.
    #[error("the namespace could not start; see the server log")]
    NotOpened,
    /// The namespace must remember the message, and there are too many others.
    #[error(
        "namespace limit of {limit} reached, and one more would remember the message: send without \
         Idempotency-Key to a room without history"
    )]
    TooManyNamespaces {
        /// The limit.
        limit: usize,
    },
    /// The message cannot be encoded.
    #[error(transparent)]
    #[serde(with = "EncodeError")]
    Encode(#[from] EncodeError),
    /// The idempotency key is not valid, or was used for another message.
    #[error(transparent)]
    #[serde(with = "SendError")]
    Key(SendError),
    /// The connection cannot join.
    #[error(transparent)]
    #[serde(with = "JoinError")]
    Join(#[from] JoinError),
    /// No such connection.
    #[error(transparent)]
    #[serde(with = "UnknownConn")]
    UnknownConn(#[from] UnknownConn),
    /// The time of a withdrawal is further ahead than [`WITHDRAW_AHEAD_S`].
    #[error(
        "not_before is at most {WITHDRAW_AHEAD_S} s ahead of the server's clock: a withdrawal is \
         never taken back"
    )]
    Ahead,
    /// The page is not available.
    #[error(transparent)]
    #[serde(with = "PageError")]
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
            Self::Ahead => {
                let limit = Details::limit(WITHDRAW_AHEAD_S);
                (ErrorCode::BadRequest, Some(limit))
            }
            Self::Page(error) => error.row(),
        }
    }
}

impl From<SendError> for AskError {
    fn from(error: SendError) -> Self {
        match error {
            SendError::Encode(fault) => Self::Encode(fault),
            fault @ (SendError::KeyReused | SendError::Key | SendError::Unavailable) => {
                Self::Key(fault)
            }
        }
    }
}

/// An answer as JSON, for hosts whose namespaces are on different machines.
pub mod wire {
    use alloc::string::{String, ToString};

    use serde::{Deserialize, Serialize};

    use crate::ask::answer::{Answer, AskError};

    /// A result in transit. [`AskError`] is not serializable by itself: a handler that returned one
    /// would be taken for a handler that returns a value.
    #[derive(Serialize, Deserialize)]
    enum Outcome {
        Ok(Answer),
        #[serde(with = "AskError")]
        Err(AskError),
    }

    /// Writes an answer or an error.
    ///
    /// # Errors
    ///
    /// When it has no form in JSON.
    pub fn write(answer: Result<Answer, AskError>) -> serde_json::Result<String> {
        serde_json::to_string(&answer.map_or_else(Outcome::Err, Outcome::Ok))
    }

    /// Reads the output of [`write()`].
    ///
    /// # Errors
    ///
    /// The error that was written; [`AskError::Unavailable`] for any other text.
    pub fn read(text: &str) -> Result<Answer, AskError> {
        match serde_json::from_str(text) {
            Ok(Outcome::Ok(answer)) => Ok(answer),
            Ok(Outcome::Err(error)) => Err(error),
            Err(fault) => Err(AskError::Unavailable(fault.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{explain::Reason, room::RoomNameError, wire::PayloadError};

    #[test]
    fn every_error_travels_as_what_it_is() {
        let (limit, bytes_max) = (7, 7);
        let name = RoomNameError { bytes_max };
        let encode = [
            EncodeError::Event,
            EncodeError::Path,
            EncodeError::Payload(PayloadError::Depth),
            EncodeError::Value,
            EncodeError::Room(name),
        ];
        let join = [
            JoinError::UnknownConn(UnknownConn("7".parse().expect("an id"))),
            JoinError::Room(name),
            JoinError::Encode(EncodeError::Value),
            JoinError::RoomLimit { limit },
            JoinError::RoomNames { limit },
            JoinError::MemberLimit { limit },
            JoinError::Meta { bytes_max },
            JoinError::Metas { bytes_max },
        ];
        let page = [
            PageError::NoHistory,
            PageError::NoPresence,
            PageError::Cursor,
            PageError::Unavailable,
            PageError::Unfollowed,
        ];
        let others = [
            AskError::NotRunning,
            AskError::NotOpened,
            AskError::TooManyNamespaces { limit },
            AskError::Key(SendError::KeyReused),
            AskError::Key(SendError::Key),
            AskError::Key(SendError::Encode(EncodeError::Event)),
            AskError::UnknownConn(UnknownConn("7".parse().expect("an id"))),
            AskError::Unavailable("it sleeps".into()),
        ];
        let all = others.into_iter().chain(encode.map(AskError::Encode));
        let all = all
            .chain(join.map(AskError::Join))
            .chain(page.map(AskError::Page));
        for error in all {
            let text = wire::write(Err(error.clone())).expect("plain data");
            assert_eq!(wire::read(&text), Err(error), "{text}");
        }
        let text = wire::write(Ok(Answer::Left(true))).expect("plain data");
        assert_eq!(
            (&*text, wire::read(&text)),
            (r#"{"Ok":{"left":true}}"#, Ok(Answer::Left(true)))
        );
        let explained = Explanation::from(Reason::JoinedAfter { joined: 7 });
        let text = wire::write(Ok(Answer::Explanation(explained.clone()))).expect("plain data");
        assert_eq!(
            text,
            r#"{"Ok":{"explanation":{"reason":"joined_after","joined":7}}}"#
        );
        assert_eq!(wire::read(&text), Ok(Answer::Explanation(explained)));
        assert!(matches!(wire::read("?"), Err(AskError::Unavailable(_))));
    }
}
