//! A connection that is not taken.

use std::borrow::Cow;

use roomcast_core::{CloseCode, ErrorCode, Rejection, gateway::ConnectError, hub::RestoreError};
use roomcast_http::{Problem, Reason, Refusal, Response};

use crate::{gateways::FactoryFault, store::StoreError};

const NAMESPACES: Refusal =
    Refusal::overloaded("too many namespaces: raise --namespaces-max, or try later")
        .with_reason(Reason::Namespaces);

/// Why a request is not upgraded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Denial {
    /// By the server.
    Refusal(Refusal),
    /// By the application.
    Rejection(Rejection),
}

impl Denial {
    /// The answer to the request.
    pub(crate) fn response(&self) -> Response {
        match self {
            Self::Refusal(refusal) => Problem::from(*refusal).into(),
            Self::Rejection(rejection) => rejection.into(),
        }
    }

    /// The reason under which it is counted; `None` for a fault of the application.
    pub(crate) fn reason(&self) -> Option<Reason> {
        match self {
            Self::Refusal(refusal) => Problem::from(*refusal).reason(),
            Self::Rejection(rejection) => reason_of(rejection),
        }
    }
}

fn reason_of(rejection: &Rejection) -> Option<Reason> {
    (rejection.code() != ErrorCode::Internal).then_some(Reason::Application)
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
            OpenError::Full { limit } => NAMESPACES.with_limit(limit).into(),
            OpenError::Factory(_) | OpenError::State(_) | OpenError::Store(_) => {
                Rejection::internal().into()
            }
        }
    }
}

/// What is said through an open socket to a connection that is not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Farewell {
    /// A text frame that tells why.
    pub(crate) frame: Option<String>,
    /// The code of the close frame.
    pub(crate) code: CloseCode,
    reason: Cow<'static, str>,
    /// The reason under which it is counted; `None` for a fault.
    pub(crate) counted: Option<Reason>,
}

impl Farewell {
    /// Full since the upgrade was granted.
    pub(crate) const FULL: Self = Self {
        frame: None,
        code: CloseCode::OVERLOADED,
        reason: Cow::Borrowed("the server is full: try again later"),
        counted: Some(Reason::Connections),
    };

    /// To one that a namespace did not take. Where messages have no envelopes, clients understand
    /// nothing but the close.
    pub(crate) fn new(fault: ConnectError, raw: bool) -> Self {
        match fault {
            ConnectError::Rejected(rejection) => {
                let told = Self::from(rejection);
                Self {
                    frame: told.frame.filter(|_| !raw),
                    ..told
                }
            }
            ConnectError::Refused(_) | _ => Self::FULL,
        }
    }

    /// The reason in the close frame, cut to what it can hold.
    pub(crate) fn reason(&self) -> &str {
        &self.reason[..self.reason.floor_char_boundary(123)]
    }
}

impl From<Rejection> for Farewell {
    fn from(rejection: Rejection) -> Self {
        Self {
            frame: Some(rejection.frame()),
            code: rejection.close_code(),
            counted: reason_of(&rejection),
            reason: rejection.reason().to_owned().into(),
        }
    }
}

impl From<Denial> for Farewell {
    fn from(denial: Denial) -> Self {
        match denial {
            Denial::Rejection(rejection) => rejection.into(),
            Denial::Refusal(refusal) => Self {
                frame: Some(refusal.frame()),
                code: refusal.close_code(),
                reason: refusal.close_reason().into(),
                counted: Problem::from(refusal).reason(),
            },
        }
    }
}

impl From<OpenError> for Farewell {
    fn from(fault: OpenError) -> Self {
        match fault {
            OpenError::Full { .. } => Self {
                counted: Some(Reason::Namespaces),
                ..Self::FULL
            },
            OpenError::Factory(_) | OpenError::State(_) | OpenError::Store(_) => {
                Rejection::internal().into()
            }
        }
    }
}

/// A namespace that cannot begin.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    #[error("namespace limit of {limit} reached: raise --namespaces-max")]
    Full {
        /// The limit.
        limit: usize,
    },
    #[error(transparent)]
    Factory(#[from] FactoryFault),
    #[error(transparent)]
    State(#[from] RestoreError),
    #[error(transparent)]
    Store(#[from] StoreError),
}
