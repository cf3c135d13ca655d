//! A connection that is not taken.

use roomcast_core::{
    CloseCode, ConnectError, Rejection,
    http::{Problem, Refusal, Response},
};

use crate::shard::OpenError;

const NAMESPACES: Refusal =
    Refusal::overloaded("too many namespaces: raise --namespaces-max, or try later");
pub(crate) const DRAINING: Refusal =
    Refusal::unavailable("the server is shutting down: connect to another, or try again");
const FULL: Refusal = Refusal::overloaded("the server is full: try again later");

/// Why a connection is not taken, by the server or by an application, in all the ways in which it
/// may be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Denial {
    /// By the server.
    Refusal(Refusal),
    /// By the application.
    Rejection(Rejection),
    /// By an application without envelopes, whose clients understand nothing but the close.
    Silent(Rejection),
}

impl Denial {
    /// Of a connection that was to enter a namespace, with envelopes or without.
    pub(crate) fn of(fault: ConnectError, raw: bool) -> Self {
        match fault {
            ConnectError::Rejected(rejection) if raw => Self::Silent(rejection),
            ConnectError::Rejected(rejection) => Self::Rejection(rejection),
            ConnectError::Refused(_) | _ => Self::Refusal(FULL),
        }
    }

    /// The answer to a request that is not upgraded.
    pub(crate) fn response(&self) -> Response {
        match self {
            Self::Refusal(refusal) => Problem::from(*refusal).into(),
            Self::Rejection(rejection) | Self::Silent(rejection) => rejection.into(),
        }
    }

    /// The text frame that tells why through an open socket.
    pub(crate) fn frame(&self) -> Option<String> {
        match self {
            Self::Refusal(refusal) => Some(refusal.frame()),
            Self::Rejection(rejection) => Some(rejection.frame()),
            Self::Silent(_) => None,
        }
    }

    /// The code of the close frame.
    pub(crate) const fn close_code(&self) -> CloseCode {
        match self {
            Self::Refusal(refusal) => refusal.close_code(),
            Self::Rejection(rejection) | Self::Silent(rejection) => rejection.close_code(),
        }
    }

    /// The reason in it.
    pub(crate) fn close_reason(&self) -> &str {
        match self {
            Self::Refusal(refusal) => refusal.close_reason(),
            Self::Rejection(rejection) | Self::Silent(rejection) => {
                let reason = rejection.reason();
                &reason[..reason.floor_char_boundary(123)]
            }
        }
    }
}

impl From<Refusal> for Denial {
    fn from(refusal: Refusal) -> Self {
        Self::Refusal(refusal)
    }
}

impl From<Rejection> for Denial {
    fn from(rejection: Rejection) -> Self {
        Self::Rejection(rejection)
    }
}

impl From<OpenError> for Denial {
    fn from(fault: OpenError) -> Self {
        match fault {
            OpenError::Full => NAMESPACES.into(),
            OpenError::Factory(_) | OpenError::State(_) => Rejection::internal().into(),
        }
    }
}
