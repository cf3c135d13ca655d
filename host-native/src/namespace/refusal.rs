//! Refusals of connections.

use std::borrow::Cow;

use roomcast_core::{
    CloseCode, Rejection, gateway::ConnectError, hub::RestoreError, outbox::CLOSE_REASON_BYTES_MAX,
};
use roomcast_http::{Problem, Reason};

use super::gateways::FactoryError;
use crate::store::StoreError;

/// The refusal of a connection through an open socket: a text frame and a close frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The text frame with the reason.
    pub(crate) frame: Option<String>,
    /// The code of the close frame.
    pub(crate) code: CloseCode,
    reason: Cow<'static, str>,
    /// The reason under which the refusal is counted; `None` for a fault.
    pub(crate) counted: Option<Reason>,
}

impl Refusal {
    /// The refusal of a connection by its namespace. Without envelopes, clients understand only the
    /// close frame.
    pub(crate) fn new(fault: ConnectError, raw: bool) -> Self {
        let told = Self::from(Problem::from(fault));
        Self {
            frame: told.frame.filter(|_| !raw),
            ..told
        }
    }

    /// The refusal when the namespace gives no answer because its shard has ended.
    pub(crate) fn unanswered() -> Self {
        Problem::DrainingSocket.into()
    }

    /// The reason in the close frame, truncated to fit.
    pub(crate) fn reason(&self) -> &str {
        &self.reason[..self.reason.floor_char_boundary(CLOSE_REASON_BYTES_MAX)]
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        let (frame, code, counted) = (problem.frame(), problem.close_code(), problem.reason());
        let reason = if let Problem::Rejected(rejection) = problem {
            rejection.reason().to_owned().into()
        } else {
            problem.close_reason().into()
        };
        Self {
            frame: Some(frame),
            code,
            reason,
            counted,
        }
    }
}

impl From<OpenError> for Refusal {
    fn from(fault: OpenError) -> Self {
        Problem::from(fault).into()
    }
}

impl From<OpenError> for Problem {
    fn from(fault: OpenError) -> Self {
        match fault {
            OpenError::Full { limit } => Self::Namespaces(limit),
            OpenError::Factory(_) | OpenError::State(_) | OpenError::Store(_) => {
                Rejection::internal().into()
            }
        }
    }
}

/// The reason why a namespace cannot start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    #[error("namespace limit of {limit} reached: raise --namespaces-max")]
    Full {
        /// The limit.
        limit: usize,
    },
    #[error(transparent)]
    Factory(#[from] FactoryError),
    #[error(transparent)]
    State(#[from] RestoreError),
    #[error(transparent)]
    Store(#[from] StoreError),
}
